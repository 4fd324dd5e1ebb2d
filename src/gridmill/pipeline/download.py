"""The first stage of a chain: source files to this worker's disk.

Idempotent, and safe in several threads of one process. What the provider does not have, or did not
give, is a status of the source file, not an error.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import (
    FAILURES,
    SourceFileCoord,
    address_of,
    addresses,
    first_of,
    given_addresses,
    in_one,
    ranked,
    wrapping_of,
)
from gridmill.model.files.versions import Identity, checksum_of_file, identity_of
from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import mask_url
from gridmill.pipeline.timing import recorded
from gridmill.pipeline.values import Bench, LocalFiles, SourceFile
from gridmill.sources.fetch.credentials.access import using
from gridmill.sources.fetch.download import Download, DownloadFailed, FileIdentity, NotAvailable
from gridmill.sources.racing import NoneWonError, quickest
from gridmill.sources.wholeness import lacks
from gridmill.stores.objects.leftovers import naming

__all__ = ["as_asked", "download", "replace_field"]

# Latency, not bandwidth, is what many small source files wait for.
DOWNLOADS_AT_ONCE = 8
# What is asked of a download; the other fields say what became of it.
ASKED = {"was_final", "only_at", "tried_last", "unread_before"}


def download(bench: Bench, job: RegionJob[Any, Any], files: Sequence[SourceFile]) -> LocalFiles:
    """Download the source files of one group to this worker's disk.

    Raises
    ------
    OSError
        The disk is full.
    Exception
        Whatever else `RegionJob.download_file` raises beside `NotAvailable` and
        `DownloadFailed`: an error in code.
    """
    folder = bench.space.make()
    local_job = replace_field(job, download_dir=folder)
    with naming(folder), recorded("download", bench.space.key, bench.worker) as span:
        keys = [_key(job, at, file) for at, file in enumerate(files)]
        once = dict(reversed([*zip(keys, files, strict=True)]))  # the first of each
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download") as pool:
            came = pool.map(lambda file: _download_one(local_job, file), once.values())
            by_key = dict(zip(once, came, strict=True))
        arrived = tuple(
            by_key[key] if once[key] is file else _with_another(file, by_key[key])
            for key, file in zip(keys, files, strict=True)
        )
        span.append(sum(file.nbytes_fetched for file in arrived))
    return LocalFiles(folder, job, arrived, tuple(span), bench.most_claimed)


def _key(job: RegionJob[Any, Any], at: int, file: SourceFile) -> Hashable:
    """Return what source files have in common of which one download is enough.

    A file of a year that fills its days one by one is fetched once. What a `download_file` of an
    author fetches, or leaves out, may differ for each.
    """
    coord = file.coord
    if file.is_kept or type(job).download_file is not RegionJob.download_file:
        return at
    urls = given_addresses(coord)
    return (
        urls if isinstance(urls, str) else tuple(urls),
        wrapping_of(coord),
        coord.races_mirrors,
        coord.was_final,
        coord.tried_last,
        file.holds,
    )


def _with_another(file: SourceFile, arrived: SourceFile) -> SourceFile:
    """Return a source file that came with another one of the same address."""
    names = {field.name for field in fields(SourceFileCoord)} - ASKED
    coord = replace(file.coord, **{name: getattr(arrived.coord, name) for name in names})
    return replace(file, coord=coord, arrived=arrived.arrived, came_with_another=True)


def _download_one(job: RegionJob[Any, Any], file: SourceFile) -> SourceFile:
    if file.is_kept:
        return file
    if file.holds is not None:
        chosen = tuple(var for var in job.data_vars if var.name in file.holds)
        job = replace_field(job, data_vars=chosen)
    started = perf_counter()
    with using(job.access):
        coord, attempts = _downloaded(job, file.coord)
    arrived = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    seconds = perf_counter() - started
    return replace(file, coord=coord, seconds=seconds, attempts=attempts, arrived=arrived)


def _downloaded(job: RegionJob[Any, Any], coord: SourceFileCoord) -> tuple[SourceFileCoord, int]:
    try:
        done = _fetched(job, coord)
    except NotAvailable as error:
        status = SourceFileStatus.NOT_YET_AVAILABLE
        return replace(coord, status=status, detail=str(error)), 1
    except DownloadFailed as error:
        failed = SourceFileStatus.DOWNLOAD_FAILED
        status = SourceFileStatus.READ_FAILED if error.has_arrived else failed
        return replace(coord, status=status, detail=str(error)), error.attempts
    if not isinstance(done, Download | Path):
        who = type(job).__name__
        raise TypeError(f"{who}.download_file() returns {done!r}: return the path, or the Download")
    if not isinstance(done, Download):
        done = Download(
            path=done,
            nbytes=done.stat().st_size,
            etag=None,
            last_modified=None,
            attempts=1,
            checksum=checksum_of_file(done) if done.is_file() else None,
        )
    if done.url is None and (lacking := _lacking(done.path)):  # nobody looked at it yet
        return replace(coord, status=SourceFileStatus.READ_FAILED, detail=lacking), done.attempts
    return _arrived(job, coord, done), done.attempts


def _lacking(path: Path) -> str:
    """Say what a file that an author's own code fetched lacks; empty if it is whole, or a folder.

    Libraries read the classic netCDF format without an error where its values are not there.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return lacks(file, path.stat().st_size)


def _fetched(job: RegionJob[Any, Any], coord: SourceFileCoord) -> Path | Download:
    """Let the author's hook fetch a file; where its mirrors are raced, from several at once.

    Where none wins and one sent what is no whole file, they are tried in order: some of a file is
    better than nothing.
    """
    ranks = ranked(coord, job.source_base) if coord.races_mirrors else []
    if all(len(urls) < 2 for urls in ranks):
        found: Path | Download = job.download_file(coord)
        return found
    try:
        return first_of(partial(_raced, job, coord, urls) for urls in ranks)
    except DownloadFailed as error:
        if not error.has_arrived:
            raise
    found = job.download_file(coord)
    return found


def _raced(
    job: RegionJob[Any, Any], coord: SourceFileCoord, urls: Sequence[str]
) -> Path | Download:
    """Let the author's hook fetch a file from several addresses at once; the first one wins."""
    folders = {url: job.download_path(coord).with_suffix(f".{uuid.uuid4().hex}") for url in urls}

    def fetch(url: str) -> Path | Download:
        folders[url].mkdir(parents=True)
        twin = replace_field(job, download_dir=folders[url])
        found: Path | Download = twin.download_file(replace(coord, only_at=url))
        return found

    def forget(url: str) -> None:
        shutil.rmtree(folders[url], ignore_errors=True)

    try:
        return quickest({url: partial(fetch, url) for url in urls}, FAILURES, forget)
    except NoneWonError as none:
        raise in_one(none.errors) from None


def _arrived(job: RegionJob[Any, Any], coord: SourceFileCoord, done: Download) -> SourceFileCoord:
    """Return a source file that is here, with what is known of it."""
    at = None if done.url is None else address_of(coord, done.url)
    why = done.provisional or (None if at is None else at.provisional)
    if why is not None and coord.was_final:
        # Published values of the final file stay.
        detail = f"there is only a provisional file by now ({why}), and the final one was read"
        return replace(coord, status=SourceFileStatus.NOT_YET_AVAILABLE, detail=detail)
    fetched_from, moved = _told_of_address(job, coord, done)
    of_address = None if at is None else at.remark
    remarks = (done.remark, of_address, f"provisional: {why}" if why else moved)
    return replace(
        coord,
        status=SourceFileStatus.SUCCEEDED,
        settled=why is None,
        downloaded_path=done.path,
        nbytes=done.nbytes,
        etag=done.etag,
        last_modified=done.last_modified,
        checksum=done.checksum,
        index=_identity(done.index),
        unpacked=done.unpacked,
        fetched_from=fetched_from,
        not_final=why,
        detail="; ".join(filter(None, remarks)) or None,
    )


def _told_of_address(
    job: RegionJob[Any, Any], coord: SourceFileCoord, done: Download
) -> tuple[str | None, str | None]:
    """Return which of several addresses gave a file, and what is worth knowing of that."""
    known = [mask_url(url) for url in addresses(coord, job.source_base)]
    if len(known) < 2 or done.url not in known:
        return None, None
    if done.url == known[0] or coord.races_mirrors:
        return done.url, None
    server = urlsplit(done.url)
    return done.url, f"taken from {server.netloc or 'another folder'}, not from its first address"


def _identity(index: FileIdentity | None) -> Identity | None:
    return None if index is None else identity_of(index.nbytes, index.etag, index.last_modified)


def as_asked(files: Sequence[SourceFile]) -> tuple[SourceFile, ...]:
    processing = SourceFileStatus.PROCESSING
    return tuple(
        f
        if f.is_kept
        else replace(f, coord=replace(f.coord, status=processing, settled=False, detail=None))
        for f in files
    )


def replace_field(job: RegionJob[Any, Any], **changes: Any) -> RegionJob[Any, Any]:
    """Return a twin of a job that may already lack its template."""
    twin = object.__new__(type(job))
    vars(twin).update(vars(job), **changes)
    return twin
