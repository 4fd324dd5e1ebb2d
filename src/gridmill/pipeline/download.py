"""The first stage of a chain: source files to this worker's disk.

Idempotent, and safe in several threads of one process. What the provider does not have, or did not
give, is a status of the source file, not an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord, addresses
from gridmill.model.files.versions import Identity, checksum_of_file, identity_of
from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import mask_url
from gridmill.pipeline.timing import recorded
from gridmill.pipeline.values import Bench, LocalFiles, SourceFile
from gridmill.sources.fetch.download import Download, DownloadFailed, FileIdentity, NotAvailable
from gridmill.stores.objects.leftovers import naming

__all__ = ["as_asked", "download", "replace_field"]

# Latency, not bandwidth, is what many small source files wait for.
DOWNLOADS_AT_ONCE = 8


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
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download") as pool:
            arrived = tuple(pool.map(lambda file: _download_one(local_job, file), files))
        span.append(sum(file.nbytes_fetched for file in arrived))
    return LocalFiles(folder, job, arrived, tuple(span), bench.most_claimed)


def _download_one(job: RegionJob[Any, Any], file: SourceFile) -> SourceFile:
    if file.is_kept:
        return file
    if file.holds is not None:
        chosen = tuple(var for var in job.data_vars if var.name in file.holds)
        job = replace_field(job, data_vars=chosen)
    started = perf_counter()
    coord, attempts = _downloaded(job, file.coord)
    return replace(file, coord=coord, seconds=perf_counter() - started, attempts=attempts)


def _downloaded(job: RegionJob[Any, Any], coord: SourceFileCoord) -> tuple[SourceFileCoord, int]:
    try:
        done = job.download_file(coord)
    except NotAvailable as error:
        status = SourceFileStatus.NOT_YET_AVAILABLE
        return replace(coord, status=status, detail=str(error)), 1
    except DownloadFailed as error:
        failed = SourceFileStatus.DOWNLOAD_FAILED
        status = SourceFileStatus.READ_FAILED if error.has_arrived else failed
        return replace(coord, status=status, detail=str(error)), error.attempts
    if not isinstance(done, Download):
        done = Download(
            path=done,
            nbytes=done.stat().st_size,
            etag=None,
            last_modified=None,
            attempts=1,
            checksum=checksum_of_file(done) if done.is_file() else None,
        )
    fetched_from, remark = _told_of_address(job, coord, done)
    arrived = replace(
        coord,
        status=SourceFileStatus.SUCCEEDED,
        settled=True,
        downloaded_path=done.path,
        nbytes=done.nbytes,
        etag=done.etag,
        last_modified=done.last_modified,
        checksum=done.checksum,
        index=_identity(done.index),
        unpacked=done.unpacked,
        fetched_from=fetched_from,
        detail=remark,
    )
    return arrived, done.attempts


def _told_of_address(
    job: RegionJob[Any, Any], coord: SourceFileCoord, done: Download
) -> tuple[str | None, str | None]:
    """Return which of several addresses gave a file, and what is worth knowing of that."""
    known = [mask_url(url) for url in addresses(coord, job.source_base)]
    if len(known) < 2 or done.url not in known:
        return None, done.remark
    if done.url == known[0]:
        return done.url, done.remark
    server = urlsplit(done.url)
    told = f"taken from {server.netloc or 'another folder'}, not from its first address"
    return done.url, f"{done.remark}; {told}" if done.remark else told


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
    """Give a twin of a job that may already lack its template."""
    twin = object.__new__(type(job))
    vars(twin).update(vars(job), **changes)
    return twin
