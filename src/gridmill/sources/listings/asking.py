"""Asks a provider what a folder holds: page by page, with the retries and limits of downloads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from gridmill.model.urls import mask_url, split_url
from gridmill.sources.fetch.elsewhere.filesystems import connected, identity_in
from gridmill.sources.fetch.elsewhere.google import over_http
from gridmill.sources.fetch.failures import (
    DownloadFailed,
    NotAvailable,
    PermanentError,
    TransientError,
)
from gridmill.sources.fetch.http import open_http
from gridmill.sources.fetch.responses import Body, ByteRange, Deadline, FileIdentity, OpenBody
from gridmill.sources.fetch.s3 import list_s3
from gridmill.sources.fetch.settings import DownloadSettings
from gridmill.sources.listings.answers import read_answer
from gridmill.sources.listings.listing import Entry, Folder
from gridmill.sources.listings.pages import (
    ListingMalformed,
    Page,
    page_of_bucket,
    page_of_index,
    page_of_s3,
)

__all__ = ["Asked", "Kind", "Limits", "ask_folder"]

Kind: TypeAlias = Literal["by address", "bucket", "index"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a folder is asked for; one that holds more is a failure, never cut.

    Parameters
    ----------
    pages
        Requests for one folder, retries apart.
    entries
        Files of one folder.
    nbytes
        Of all its pages together.
    """

    # A million files of S3, where a page is a thousand: a day's folder of any product has fewer.
    pages: int = 1_000
    # They take some 300 bytes of memory each.
    entries: int = 1_000_000
    # An index page of a million files.
    nbytes: int = 256 << 20


@dataclass
class Asked:
    """What asking cost.

    Parameters
    ----------
    pages
        Pages that were read.
    nbytes
        Bytes of them.
    """

    pages: int = 0
    nbytes: int = 0


def ask_folder(
    url: str, kind: Kind, settings: DownloadSettings, limits: Limits, asked: Asked
) -> Folder:
    """List a folder whole, or say why nobody knows what it holds.

    Parameters
    ----------
    url
        Of the folder; of a bucket, what the keys begin with.
    kind
        How it is listed.
    settings
        How hard to try each page.
    limits
        How much of it.
    asked
        Counts what it cost.

    Returns
    -------
    Folder
        With `failure` where it is not there, a page failed, is truncated or is no listing, or it
        holds more than the limits: what was read of it is then not given.

    Raises
    ------
    ValueError
        The URL is malformed.
    """
    read = _reader(url, kind, settings)
    entries: list[Entry] = []
    folders: list[str] = []
    following: str | None = None
    try:
        for _ in range(limits.pages):
            content, page = read(following, limits.nbytes - asked.nbytes)
            asked.pages, asked.nbytes = asked.pages + 1, asked.nbytes + len(content)
            entries.extend(page.entries)
            folders.extend(page.folders)
            if len(entries) > limits.entries:
                raise ListingMalformed(f"it holds more than {limits.entries} files")
            if page.following is None:
                return _folder(entries, folders)
            if page.following == following:
                raise ListingMalformed("the next page is the same again")
            following = page.following
        raise ListingMalformed(f"it has more than {limits.pages} pages")
    except (NotAvailable, DownloadFailed) as error:
        return Folder(failure=error)
    except ListingMalformed as error:
        return Folder(failure=DownloadFailed(url, str(error), 1))


def _folder(entries: list[Entry], folders: list[str]) -> Folder:
    by_name = {entry.name: entry for entry in entries}
    return Folder(tuple(by_name[name] for name in sorted(by_name)), tuple(sorted(set(folders))))


Read: TypeAlias = Callable[[str | None, int], tuple[bytes, Page]]


def _reader(url: str, kind: Kind, settings: DownloadSettings) -> Read:
    """Return what reads the page of a token, of so many bytes at most."""
    scheme = split_url(url).scheme.lower()
    if scheme in ("http", "https") and (kind == "bucket" or _is_bucket(url, kind)):
        return partial(_read_bucket, *_bucket_of(url), settings)
    if scheme == "gs":
        return partial(_read_bucket, *_bucket_of(over_http(url)), settings)
    if scheme == "s3":
        return partial(_read_s3, url, settings)
    if scheme in ("http", "https"):
        return partial(_read_index, url if url.endswith("/") else f"{url}/", settings)
    if scheme in ("ftp", "sftp"):
        return partial(_read_listed, url, settings, _list_filesystem)
    if scheme in ("", "file"):
        return partial(_read_listed, url, settings, _list_local)
    raise ValueError(
        f"{mask_url(url)}: no folder of scheme {scheme!r} is listed; list http, https, s3, gs, "
        "ftp, sftp, or a local folder"
    )


def _is_bucket(url: str, kind: Kind) -> bool:
    """Whether the host of a URL is known to answer as a bucket does."""
    host = split_url(url).hostname or ""
    is_s3 = host.endswith(".amazonaws.com") and ("s3" in host.split(".") or ".s3-" in f".{host}")
    return kind == "by address" and (is_s3 or host == "storage.googleapis.com")


def _bucket_of(url: str) -> tuple[str, str]:
    """Return the URL of a bucket, and what the keys begin with.

    Examples
    --------
    >>> _bucket_of("https://noaa-goes19.s3.amazonaws.com/ABI/2025/")
    ('https://noaa-goes19.s3.amazonaws.com/', 'ABI/2025/')
    >>> _bucket_of("https://storage.googleapis.com/goes-19/ABI/2025/")
    ('https://storage.googleapis.com/goes-19/', 'ABI/2025/')
    """
    parts = split_url(url)
    path = parts.path.lstrip("/")
    host = parts.hostname or ""
    if host.endswith(".amazonaws.com") and not host.startswith(("s3.", "s3-")):
        return f"{parts.scheme}://{parts.netloc}/", path
    bucket, _, prefix = path.partition("/")
    return f"{parts.scheme}://{parts.netloc}/{quote(bucket)}/", prefix


def _read_bucket(
    bucket: str, prefix: str, settings: DownloadSettings, following: str | None, most_nbytes: int
) -> tuple[bytes, Page]:
    query = {"list-type": "2", "delimiter": "/", "prefix": prefix}
    if following is not None:
        query["continuation-token"] = following
    url = f"{bucket}?{urlencode(query)}"
    opened = partial(_open_page, ending=b"</listbucketresult>")
    content = read_answer(url, opened, settings=settings, most_nbytes=most_nbytes)
    return content, page_of_bucket(content, prefix)


def _read_index(
    url: str, settings: DownloadSettings, following: str | None, most_nbytes: int
) -> tuple[bytes, Page]:
    opened = partial(_open_page, ending=b"</html>")
    content = read_answer(url, opened, settings=settings, most_nbytes=most_nbytes)
    return content, page_of_index(content, url)


def _read_s3(
    url: str, settings: DownloadSettings, following: str | None, most_nbytes: int
) -> tuple[bytes, Page]:
    opened = partial(list_s3, following=following)
    content = read_answer(url, opened, settings=settings, most_nbytes=most_nbytes)
    return content, page_of_s3(json.loads(content), url.partition("://")[2].partition("/")[2])


def _read_listed(
    url: str,
    settings: DownloadSettings,
    open_body: OpenBody,
    following: str | None,
    most_nbytes: int,
) -> tuple[bytes, Page]:
    content = read_answer(url, open_body, settings=settings, most_nbytes=most_nbytes)
    told = json.loads(content)
    entries = tuple(Entry(**entry) for entry in told["entries"])
    return content, Page(entries, tuple(told["folders"]))


@contextmanager
def _open_page(
    url: str,
    request: ByteRange | None,
    settings: DownloadSettings,
    deadline: Deadline,
    *,
    ending: bytes,
) -> Iterator[Body]:
    """Open a page that is whole only with its ending: not all servers say how long it is."""
    with open_http(url, request, settings, deadline) as body:
        yield replace(body, chunks=_whole(body.chunks, ending), may_be_page=True)


def _whole(chunks: Iterator[bytes], ending: bytes) -> Iterator[bytes]:
    tail = b""
    for chunk in chunks:
        tail = (tail + chunk)[-1024:]
        yield chunk
    if ending not in tail.lower():
        raise TransientError(f"the listing is truncated: it lacks its {ending.decode()}")


@contextmanager
def _list_filesystem(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> Iterator[Body]:
    with connected(url, settings, deadline) as (filesystem, path):
        found = filesystem.ls(path, detail=True)
        yield _told(
            [_told_file(one) for one in found if one.get("type") != "directory"],
            [_name(one) for one in found if one.get("type") == "directory"],
        )


@contextmanager
def _list_local(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> Iterator[Body]:
    path = split_url(url).path if url.startswith("file://") else url
    try:
        with os.scandir(path) as found:
            every = [(one.name, one.is_dir()) for one in found]
    except FileNotFoundError:
        raise NotAvailable(url, "no such local folder") from None
    except OSError as error:
        raise PermanentError(f"{type(error).__name__}: {error.strerror}") from None
    files = [{"name": name, "href": name} for name, is_dir in every if not is_dir]
    yield _told(files, [name for name, is_dir in every if is_dir])


def _told(entries: list[dict[str, Any]], folders: list[str]) -> Body:
    content = json.dumps({"entries": entries, "folders": folders}).encode()
    return Body(
        start=0,
        stop=len(content),
        file=FileIdentity(nbytes=len(content)),
        is_what_was_asked=True,
        content_type="",
        chunks=iter([content]),
    )


def _told_file(about: dict[str, Any]) -> dict[str, Any]:
    file, name = identity_in(about), _name(about)
    return {
        "name": name,
        "href": quote(name),
        "nbytes": file.nbytes,
        "last_modified": file.last_modified,
    }


def _name(about: dict[str, Any]) -> str:
    return str(about["name"]).rstrip("/").rpartition("/")[2]
