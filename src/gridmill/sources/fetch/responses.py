"""What a source answers, whatever the protocol: statuses, ranges and the identity of a file."""

from __future__ import annotations

import datetime as dt
import email.utils
import http.client
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

from gridmill.sources.fetch.failures import NotAvailable, PermanentError, TransientError
from gridmill.sources.fetch.settings import DownloadSettings
from gridmill.sources.racing import stop_of_this

__all__ = [
    "CHUNK_NBYTES",
    "Body",
    "ByteRange",
    "Deadline",
    "FileIdentity",
    "OpenBody",
    "body_of",
    "check_status",
    "coalesce_ranges",
    "range_header",
]

ByteRange: TypeAlias = tuple[int, int | None]
"""Half-open interval of byte offsets, start included and stop not; stop None is the file's end."""

# Large enough that a call costs nothing beside its bytes, small enough to notice the deadline.
CHUNK_NBYTES = 256 * 1024

_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_ABSENT_STATUSES = frozenset({404, 410})


class Deadline:
    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._end = time.monotonic() + deadline_s

    @property
    def remaining_s(self) -> float:
        return self._end - time.monotonic()

    def put_off(self, seconds: float) -> None:
        self._end += seconds

    def check(self) -> None:
        stop = stop_of_this()
        if stop is not None:
            stop.check()
        if self.remaining_s <= 0:
            raise PermanentError(f"the deadline of {self._deadline_s:g} s passed")


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """Which version of a source file an answer is about; None where the server does not say.

    Parameters
    ----------
    nbytes
        Size of the file.
    etag
        ETag as the server wrote it, quotes included. For a local file it is made of modification
        time and size.
    last_modified
        Last-Modified, an HTTP date.
    index
        Which version the file's index is, where that was asked for: it says where parts are.
    url
        Where that was asked, credentials masked; None in the answer of one request.
    """

    nbytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    index: FileIdentity | None = None
    url: str | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a source answered.

    `chunks` begins at the byte `start` of the file and should end before the byte `stop` (None if
    the answer does not say). Unless `is_what_was_asked`, it holds more than the requested bytes.
    A page of HTML is no file, unless `may_be_page`.
    """

    start: int
    stop: int | None
    file: FileIdentity
    content_type: str
    is_what_was_asked: bool
    chunks: Iterator[bytes]
    may_be_page: bool = False


OpenBody: TypeAlias = Callable[
    [str, ByteRange | None, DownloadSettings, Deadline], AbstractContextManager[Body]
]


def coalesce_ranges(byte_ranges: Sequence[ByteRange]) -> list[ByteRange]:
    """Join each run of adjoining ranges; the concatenated bytes stay the same.

    Parameters
    ----------
    byte_ranges
        Half-open `(start, stop)`, start included and stop not; a stop of None is the file's end.

    Raises
    ------
    ValueError
        There is no range, or one is empty or negative.

    Examples
    --------
    >>> coalesce_ranges([(0, 10), (10, 30), (50, 60), (60, None), (5, 10)])
    [(0, 30), (50, None), (5, 10)]
    """
    if not byte_ranges:
        raise ValueError("byte_ranges=[] fetches nothing; give at least one range, or None for all")
    joined: list[ByteRange] = []
    for start, stop in byte_ranges:
        if start < 0 or (stop is not None and stop <= start):
            raise ValueError(
                f"byte range ({start}, {stop}) must have 0 <= start < stop (stop excluded); "
                "correct byte_ranges"
            )
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def range_header(start: int, stop: int | None) -> str:
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def check_status(
    url: str,
    status: int,
    headers: Mapping[str, str],
    settings: DownloadSettings,
    *,
    code: str = "",
) -> None:
    cause = f"HTTP {status} {code or http.client.responses.get(status, '')}".rstrip()
    if status in (200, 206):
        return
    if status in _ABSENT_STATUSES or (status == 403 and settings.forbidden_means_absent):
        raise NotAvailable(url, cause)
    if status in _TRANSIENT_STATUSES or status >= 500:
        retry_after_s = _retry_after_s(headers.get("retry-after"))
        if retry_after_s is not None:
            cause += f", Retry-After {retry_after_s:g} s"
        raise TransientError(cause, retry_after_s)
    if status == 403:
        cause += " (if this provider means that the file is absent: forbidden_means_absent=True)"
    if status == 401:
        cause += (
            " (it asks for a credential and none is declared for it, see RegionJob.credentials)"
        )
    raise PermanentError(cause)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a count or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max((moment - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)


def body_of(
    status: int, headers: Mapping[str, str], request: ByteRange | None, chunks: Iterator[bytes]
) -> Body:
    start: int = 0
    stop = file_nbytes = _content_length(headers)
    if status == 206:
        start, stop, file_nbytes = _content_range(headers.get("content-range"), request)
    return Body(
        start=start,
        stop=stop,
        file=FileIdentity(
            nbytes=file_nbytes,
            etag=headers.get("etag"),
            last_modified=headers.get("last-modified"),
        ),
        is_what_was_asked=status == 206 or request is None,
        content_type=headers.get("content-type") or "",
        chunks=chunks,
    )


def _content_length(headers: Mapping[str, str]) -> int | None:
    value = headers.get("content-length")
    if value is None or "transfer-encoding" in headers:
        return None
    return int(value) if value.isdecimal() else None


def _content_range(value: str | None, request: ByteRange | None) -> tuple[int, int, int | None]:
    """First byte, stop (not included) and file size; raise if they are not those asked for."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", value or "")
    if match is None or request is None:
        raise TransientError(f"HTTP 206 with Content-Range {value!r} for range {request}")
    start, stop = int(match[1]), int(match[2]) + 1
    file_nbytes = None if match[3] == "*" else int(match[3])
    asked_stop = request[1] if request[1] is not None else file_nbytes
    if start == request[0] and file_nbytes is not None and (asked_stop or 0) > file_nbytes:
        raise PermanentError(
            f"bytes {start} to {asked_stop} reach beyond the file's {file_nbytes} bytes"
        )
    if start != request[0] or asked_stop not in (None, stop):
        raise TransientError(f"HTTP 206 with Content-Range {value!r} for range {request}")
    return start, stop, file_nbytes
