"""Fetch one source file, or byte ranges of it, from HTTP, S3 or a local path to a local file.

Covers: retries with a deadline, proof that the body is a file (whole, also by what it says of
itself, not empty, not an HTML page, of the expected format), and destinations that are whole or
absent. Does not cover: resuming a whole-file download in its middle, proxies, redirects of S3
buckets to other accounts, and content decoding (the bytes are kept as the provider stores them).
"""

from __future__ import annotations

import errno
import io
import logging
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import stamina

from gridmill.model.files.versions import checksum_of
from gridmill.sources.fetch.elsewhere.schemes import opener_of
from gridmill.sources.fetch.failures import (
    DownloadFailed,
    NotAFileError,
    NotAvailable,
    PermanentError,
    TransientError,
    mask_url,
)
from gridmill.sources.fetch.hosts import limit_hosts, place_at, turn_at
from gridmill.sources.fetch.proof import HEAD_NBYTES, Summed, check_body, content_fault
from gridmill.sources.fetch.responses import (
    Body,
    ByteRange,
    Deadline,
    FileIdentity,
    OpenBody,
    coalesce_ranges,
)
from gridmill.sources.fetch.settings import DEFAULT_SETTINGS, DownloadSettings
from gridmill.sources.racing import stop_of_this

__all__ = [
    "ByteRange",
    "Download",
    "DownloadFailed",
    "DownloadSettings",
    "FileIdentity",
    "NotAvailable",
    "Transfer",
    "coalesce_ranges",
    "fetch",
    "identify",
    "limit_hosts",
    "mask_url",
    "partial_beside",
    "read",
    "read_version",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that was fetched, with the identity that the download's own response gave it.

    Parameters
    ----------
    path
        The destination, whole.
    nbytes
        Size of the destination: of the file, or of the byte ranges together.
    etag
        ETag of the source file as the server wrote it, quotes included. For a local source it is
        made of modification time and size.
    last_modified
        Last-Modified of the source file, an HTTP date.
    attempts
        How many attempts the fetch took; 1 if the first succeeded.
    file_nbytes
        Size of the source file, also where only ranges of it were fetched; None where the server
        does not say it.
    remark
        What is worth knowing of how it was fetched, the same words for every such file; the run's
        report says of how many files it holds.
    checksum
        Of the bytes as they came, see `gridmill.model.files.versions`; None where nobody took it.
    index
        Which version of the file's index said where its parts are; None where none did.
    unpacked
        Checksum of the destination, where that was taken out of what came.
    url
        Where it came from, credentials masked.
    provisional
        Why it is not final, in a few words, where that shows in the file itself; where the address
        says it see `gridmill.Address`. Such a file is asked for until it is final.
    """

    path: Path
    nbytes: int
    etag: str | None
    last_modified: str | None
    attempts: int
    file_nbytes: int | None = None
    remark: str | None = None
    checksum: str | None = None
    index: FileIdentity | None = None
    unpacked: str | None = None
    url: str | None = None
    provisional: str | None = None


def fetch(
    url: str,
    destination: Path,
    *,
    settings: DownloadSettings = DEFAULT_SETTINGS,
    byte_ranges: Sequence[ByteRange] | None = None,
) -> Download:
    """Fetch a file, or byte ranges of it, to `destination`, which is then whole or untouched.

    Parameters
    ----------
    url
        `http://`, `https://`, `s3://bucket/key`, `gs://bucket/key` (public ones), `ftp://`,
        `sftp://` (with gridmill[sftp]), `file:///path` or a plain local path.
    destination
        Local file to make or replace; its folder must exist.
    settings
        How hard to try, and what counts as a file.
    byte_ranges
        Half-open `(start, stop)` byte offsets, start included and stop not; a stop of None reads
        to the file's end. They are concatenated in the given order, and each run of adjoining
        ranges is one request. A server that ignores Range and sends the whole file costs that
        much traffic, but gives the same bytes.

    Returns
    -------
    Download
        The destination with the identity of the source file.

    Raises
    ------
    NotAvailable
        HTTP 404 or 410, S3 NoSuchKey, no such local file, or HTTP 403 where the settings say that
        this means absence. It is not retried.
    DownloadFailed
        Anything else that the source did: at once if retrying is useless (401, 403, 416, a failed
        certificate), else when the attempts or the deadline are used up. Connection errors,
        timeouts, 408, 425, 429, 5xx, S3 throttling, truncated, empty and HTML bodies, bodies that
        are too small or of another format, a wrong Content-Range, and a file that changes between
        two ranges are retried. A Retry-After beyond the deadline ends the fetch.
    ValueError
        The URL or the byte ranges are malformed.
    OSError
        The destination cannot be written: its folder is missing, the disk is full.

    Notes
    -----
    Safe to call from several threads and after a fork: HTTP connections are pooled per process.
    Idempotent. The bytes go to a hidden `.partial` file beside the destination, which is renamed
    at the end and removed on any error; only SIGKILL leaves one behind. A retry keeps the ranges
    that are whole and asks for the rest.
    """
    open_body = opener_of(url)
    requests = _requests(byte_ranges)
    # Waiting for a place is no part of the fetch's own time.
    with place_at(url, settings.most_at_host), partial_beside(destination) as partial:
        started = time.monotonic()
        with partial.open("x+b") as out:
            transfer = Transfer(url, open_body, requests, out, settings)
            transfer.run()
            download = transfer.download(destination)
        partial.replace(destination)
    logger.debug(
        "download url=%s nbytes=%d attempts=%d seconds=%.3f",
        mask_url(url),
        download.nbytes,
        download.attempts,
        time.monotonic() - started,
    )
    return download


def identify(url: str, *, settings: DownloadSettings = DEFAULT_SETTINGS) -> FileIdentity:
    """Ask which version of a file a source has now: a request for its first byte.

    Not a HEAD request, which some sources refuse and others answer from another cache. Nothing
    is written to disk.

    Parameters
    ----------
    url
        As for `fetch`.
    settings
        How hard to try; `min_nbytes` and `expect` do not apply.

    Returns
    -------
    FileIdentity
        What a `fetch` of the file would say now.

    Raises
    ------
    NotAvailable, DownloadFailed, ValueError
        As by `fetch`.
    """
    settings = replace(settings, expect=None, min_nbytes=1)
    return replace(_into(io.BytesIO(), url, settings, [(0, 1)]).file, url=mask_url(url))


def read(url: str, *, settings: DownloadSettings = DEFAULT_SETTINGS) -> bytes:
    """Fetch a small file into memory.

    Parameters
    ----------
    url, settings
        As for `fetch`.

    Returns
    -------
    bytes
        All of the file, proved to be one as by `fetch`.

    Raises
    ------
    NotAvailable, DownloadFailed, ValueError
        As by `fetch`.
    """
    return read_version(url, settings=settings)[0]


def read_version(
    url: str, *, settings: DownloadSettings = DEFAULT_SETTINGS
) -> tuple[bytes, FileIdentity]:
    """Fetch a small file into memory as `read` does, and say which version of it that is."""
    content = io.BytesIO()
    file = _into(content, url, settings, [None]).file
    return content.getvalue(), file


def _into(
    out: io.BytesIO, url: str, settings: DownloadSettings, requests: Sequence[ByteRange | None]
) -> Transfer:
    with place_at(url, settings.most_at_host):
        transfer = Transfer(url, opener_of(url), requests, out, settings)
        transfer.run()
    return transfer


def _requests(byte_ranges: Sequence[ByteRange] | None) -> Sequence[ByteRange | None]:
    return [None] if byte_ranges is None else coalesce_ranges(byte_ranges)


@contextmanager
def partial_beside(destination: Path) -> Iterator[Path]:
    """Return the path of a hidden file beside a destination; it is removed if it is there after."""
    if not destination.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT,
            "the folder of a download's destination must exist; make it before fetch",
            str(destination.parent),
        )
    partial = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


class Transfer:
    """The state of one fetch across its attempts: which requests are whole in `out`."""

    def __init__(
        self,
        url: str,
        open_body: OpenBody,
        requests: Sequence[ByteRange | None],
        out: BinaryIO,
        settings: DownloadSettings,
    ) -> None:
        self._url = url
        self._open_body = open_body
        self._requests = requests
        self._out = out
        self._settings = settings
        self._deadline = Deadline(settings.deadline_s)
        self._attempts = 0
        self._start_again()

    def _start_again(self) -> None:
        self._whole_requests = 0
        self._whole_nbytes = self._whole_crc32c = 0
        self.file = FileIdentity()

    def run(self) -> None:
        """Make attempts until the destination is whole, or raise."""
        settings = self._settings
        try:
            for attempt in stamina.retry_context(
                on=self._backoff,
                attempts=settings.attempts,
                # `_backoff` knows the deadline, which does not count the wait for a turn.
                timeout=settings.deadline_s if settings.most_a_minute is None else None,
                wait_initial=settings.wait_initial_s,
                wait_max=settings.wait_max_s,
                wait_jitter=settings.wait_initial_s,
            ):
                with attempt:
                    self._attempts = attempt.num
                    self._attempt()
            return
        except (TransientError, PermanentError) as e:
            has_arrived = isinstance(e, NotAFileError)
            failed = DownloadFailed(self._url, str(e), self._attempts, has_arrived)
        # Not in the handler: what goes with the chain to other processes may hold what is masked.
        raise failed

    def download(self, destination: Path) -> Download:
        return Download(
            path=destination,
            nbytes=self._whole_nbytes,
            etag=self.file.etag,
            last_modified=self.file.last_modified,
            attempts=self._attempts,
            file_nbytes=self.file.nbytes,
            checksum=checksum_of(self._whole_crc32c, self._requests),
            url=mask_url(self._url),
        )

    def _backoff(self, error: Exception) -> bool | float:
        """Say whether to try again, and after how many seconds; True leaves that to stamina."""
        found, stop = self._wait_after(error), stop_of_this()
        if stop is None or found is False:
            return found
        doubled = self._settings.wait_initial_s * 2.0 ** (self._attempts - 1)
        stop.wait(min(self._settings.wait_max_s, doubled) if found is True else found)
        return 0.0

    def _wait_after(self, error: Exception) -> bool | float:
        if not isinstance(error, TransientError):
            return False
        settings = self._settings
        if error.retry_after_s is None:
            wait_s = settings.wait_initial_s * 2.0 ** (self._attempts - 1)
            return min(settings.wait_max_s, wait_s) < self._deadline.remaining_s
        if error.retry_after_s >= self._deadline.remaining_s:
            return False
        # All workers were given the same time to come back.
        return error.retry_after_s + random.uniform(0, settings.wait_initial_s)

    def _attempt(self) -> None:
        self._out.seek(self._whole_nbytes)
        self._out.truncate()
        for request in self._requests[self._whole_requests :]:
            self._deadline.check()
            with self._asked(request) as body:
                out = Summed(self._out, self._whole_crc32c)
                nbytes = _copy(body, request, out, self._deadline)
            self._check_unchanged(body.file)
            self._whole_crc32c = out.crc32c
            self._whole_nbytes += nbytes
            self._whole_requests += 1
        self._out.flush()
        is_all = list(self._requests) == [None]
        if fault := content_fault(self._out, self._whole_nbytes, self._settings, is_all=is_all):
            self._start_again()
            raise NotAFileError(fault)

    @contextmanager
    def _asked(self, request: ByteRange | None) -> Iterator[Body]:
        """Send a request when it is its turn, and give its answer."""
        came = time.monotonic()
        with ExitStack() as answer:
            with turn_at(self._url, self._settings.most_a_minute) as turn:
                self._deadline.put_off(time.monotonic() - came)
                try:
                    opened = self._open_body(self._url, request, self._settings, self._deadline)
                    body = answer.enter_context(opened)
                except TransientError as error:
                    turn.hold_s = max(turn.hold_s, error.retry_after_s or 0.0)
                    raise
            yield body

    def _check_unchanged(self, file: FileIdentity) -> None:
        if self._whole_requests == 0:
            self.file = file
        elif self.file != file:
            first = self.file
            self._start_again()
            raise TransientError(
                f"the file changed between two of its ranges: {first}, then {file}"
            )


def _copy(body: Body, request: ByteRange | None, out: Summed, deadline: Deadline) -> int:
    """Write the requested bytes of a body; return their count, or raise if it is not a file's."""
    start, stop = request or (0, None)
    wanted = _wanted_nbytes(body, start, stop)
    written, head = 0, b""
    chunks = body.chunks if body.start == start else _skip(body.chunks, start - body.start)
    for chunk in chunks:
        deadline.check()
        head += chunk[: HEAD_NBYTES - len(head)]
        excess = 0 if wanted is None else written + len(chunk) - wanted
        if excess > 0 and body.is_what_was_asked:
            raise TransientError(f"the body is longer than its {wanted} bytes")
        written += out.write(chunk[: len(chunk) - max(excess, 0)])
        if excess >= 0 and not body.is_what_was_asked:
            break
    check_body(body, head, written, wanted)
    return written


def _wanted_nbytes(body: Body, start: int, stop: int | None) -> int | None:
    if stop is None:
        stop = body.stop if body.file.nbytes is None else body.file.nbytes
    if stop is None:
        return None
    if body.file.nbytes is not None and start >= body.file.nbytes > 0:
        raise PermanentError(f"byte {start} lies beyond the file's {body.file.nbytes} bytes")
    if body.file.nbytes is not None and stop > body.file.nbytes > 0:
        raise PermanentError(f"byte {stop - 1} lies beyond the file's {body.file.nbytes} bytes")
    return stop - start


def _skip(chunks: Iterator[bytes], nbytes: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[nbytes:]
        nbytes = max(nbytes - len(chunk), 0)
