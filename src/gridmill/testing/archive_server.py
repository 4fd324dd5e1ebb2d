"""A provider's server on loopback: files that appear when released, and answers that go wrong.

Covers GET and HEAD over HTTP/1.1 with one range a request. Does not cover TLS, several ranges in
one request and conditional requests.
"""

from __future__ import annotations

import base64
import dataclasses
import email.utils
import fnmatch
import html
import os
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

from gridmill.testing.faults import (
    EmptyBody,
    Fault,
    Hang,
    HtmlBody,
    IgnoredRange,
    Latency,
    Reset,
    Slow,
    Status,
    Truncated,
    WrongContentRange,
)
from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = ["ArchiveServer", "Request"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request that the server answered or is answering.

    Parameters
    ----------
    time
        When it came, seconds since the epoch.
    method
        GET or HEAD.
    path
        Path of the file relative to the served folder, decoded, without the query.
    byte_range
        The Range header as sent, or None.
    status
        What was answered; 0 for no answer (reset, hang).
    nbytes
        Bytes of the body that were sent.
    etag
        ETag that was served with a 200 or 206.
    client_port
        Port of the client; requests that share it came over one connection.
    user
        Who asked: the name before the host in the client's URL, or None. The server lets
        everybody in.
    """

    time: float
    method: str
    path: str
    byte_range: str | None
    status: int = 0
    nbytes: int = 0
    etag: str | None = None
    client_port: int = 0
    user: str | None = None


class _Handler(LoopbackHandler):
    @property
    def _archive(self) -> ArchiveServer:
        return cast(ArchiveServer, self.owner)

    def do_GET(self) -> None:  # noqa: N802
        """Serve a file, or a part of it, or a fault."""
        self._came = time.time()
        self._archive._stopping.wait(self._archive.latency_s)
        self._relative = unquote(urlsplit(self.path).path).lstrip("/")
        file = (self._archive.root / self._relative).resolve()
        is_inside = file.is_relative_to(self._archive.root.resolve())
        if is_inside and self._archive.lists and file.is_dir():
            return self._serve_index(file)
        if not (is_inside and file.is_file() and self._archive._is_released(self._relative)):
            return self._refuse(404)
        with file.open("rb") as source:
            self._serve(source, self._archive._next_fault(self._relative))

    def _serve_index(self, folder: Path) -> None:
        with tempfile.TemporaryFile() as page:
            page.write(self._archive._index_page(folder))
            page.flush()
            self._serve(cast(BinaryIO, page), self._archive._next_fault(self._relative))

    def do_HEAD(self) -> None:  # noqa: N802
        """Serve what GET would, without the body."""
        self.do_GET()

    def _serve(self, source: BinaryIO, fault: Fault | None) -> None:
        match fault:
            case Status(status=status, retry_after_s=retry_after_s):
                seconds = [] if retry_after_s is None else [("Retry-After", str(retry_after_s))]
                self._refuse(status, seconds)
            case Hang(timeout_s=timeout_s):
                self._log(0)
                self._archive._hangs_end.wait(timeout_s)
                self.close_connection = True
            case Reset():
                self._log(0)
                self.reset_connection()
            case EmptyBody():
                self._send(200, b"", [])
            case HtmlBody(content_type=content_type):
                page = b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>\n"
                self._send(200, page, [("Content-Type", content_type)])
            case Latency(seconds=seconds_s):
                self._archive._stopping.wait(seconds_s)
                self._send_file(source, None)
            case _:
                self._send_file(source, fault)

    def _refuse(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._send(status, f"{status}\n".encode(), [("Content-Type", "text/plain"), *headers])

    def _send(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        log = self._log(status)
        self._send_head(status, len(body), headers)
        self._send_bytes(body, log)

    def _send_file(self, source: BinaryIO, fault: Fault | None) -> None:
        stat = os.fstat(source.fileno())
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        asked = None if isinstance(fault, IgnoredRange) else self.headers.get("Range")
        status, start, stop = _answered_range(asked, stat.st_size)
        if status == 416:
            return self._refuse(416, [("Content-Range", f"bytes */{stat.st_size}")])
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Accept-Ranges", "bytes"),
            ("ETag", etag),
            ("Last-Modified", email.utils.formatdate(stat.st_mtime, usegmt=True)),
        ]
        if status == 206:
            shift = fault.shift if isinstance(fault, WrongContentRange) else 0
            told = f"bytes {start + shift}-{stop + shift - 1}/{stat.st_size}"
            headers.append(("Content-Range", told))
        log = self._log(status, etag)
        self._send_head(status, stop - start, headers)
        source.seek(start)
        self._send_body(source, stop - start, fault, log)

    def _send_head(self, status: int, nbytes: int, headers: Sequence[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(nbytes))
        self.end_headers()

    def _send_body(self, source: BinaryIO, nbytes: int, fault: Fault | None, log: int) -> None:
        if isinstance(fault, Truncated):
            nbytes = min(nbytes, fault.nbytes)
            self.close_connection = True
        step = 1 << 20
        if isinstance(fault, Slow):
            step = max(fault.nbytes_per_s // 20, 1)
        while nbytes > 0 and not self._archive._stopping.is_set():
            piece = source.read(min(step, nbytes))
            if not piece:
                self.close_connection = True
                return
            self._send_bytes(piece, log)
            nbytes -= len(piece)
            if isinstance(fault, Slow):
                self._archive._stopping.wait(len(piece) / fault.nbytes_per_s)
        self.close_connection = self.close_connection or nbytes > 0

    def _send_bytes(self, body: bytes, log: int) -> None:
        if self.command == "HEAD":
            return
        # Before the write: a client that has the whole body finds it in the log.
        self._archive._log_sent(log, len(body))
        try:
            self.wfile.write(body)
        except OSError:
            self._archive._log_sent(log, -len(body))
            raise

    def _log(self, status: int, etag: str | None = None) -> int:
        return self._archive._log(
            Request(
                time=self._came,
                method=self.command,
                path=self._relative,
                byte_range=self.headers.get("Range"),
                status=status,
                etag=etag,
                client_port=self.client_address[1],
                user=_user(self.headers.get("Authorization")),
            )
        )


class ArchiveServer(LoopbackServer):
    """An HTTP/1.1 server on 127.0.0.1 over a folder whose files are 404 until released.

    Serves GET and HEAD with Content-Length, ETag, Last-Modified, one range a request (206, 416)
    and keep-alive. It runs in threads of the calling process, and serves any process of the
    machine.

    Parameters
    ----------
    root
        The folder. Files may be added and replaced while it is served; replace them whole.
    latency_s
        Wait before each answer, as of a distant provider.
    lists
        Whether a folder's own URL shows an index page of what is released in it; faults are
        injected there as for a file, with the folder's path.

    Notes
    -----
    All methods are safe to call from several threads, while requests are served.

    Examples
    --------
    >>> import tempfile, urllib.request
    >>> root = Path(tempfile.mkdtemp())
    >>> _ = (root / "a.nc").write_bytes(b"CDF")
    >>> with ArchiveServer(root) as server:
    ...     server.release("*.nc")
    ...     with urllib.request.urlopen(f"{server.url}/a.nc") as response:
    ...         body = response.read()
    >>> body, server.requests[0].status
    (b'CDF', 200)
    """

    handler = _Handler

    def __init__(self, root: Path, *, latency_s: float = 0.0, lists: bool = False) -> None:
        super().__init__(latency_s=latency_s)
        self.root = Path(root)
        self.lists = lists
        self._rules: list[tuple[str, bool]] = []
        self._faults: list[_Injected] = []
        self._requests: list[Request] = []
        self._hangs_end = threading.Event()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hangs_end.set()
        super().__exit__(exc_type, exc, traceback)

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    def release(self, pattern: str) -> None:
        """Serve the files that match: a path relative to the folder, or a glob (`*` crosses `/`).

        It also holds for files that come later. Of several rules for a file the last one counts.
        """
        with self._lock:
            self._rules.append((pattern, True))

    def hold(self, pattern: str) -> None:
        """Answer 404 for the files that match, as before they were released."""
        with self._lock:
            self._rules.append((pattern, False))

    def release_all(self) -> None:
        """Serve every file."""
        with self._lock:
            self._rules = [("*", True)]

    def inject(self, pattern: str, fault: Fault, times: int | None = 1) -> None:
        """Answer the next `times` requests for files that match with a fault; None is for ever.

        A request meets one fault: the first injected that has times left, before those for ever.
        Files that are held are 404 whatever is injected.
        """
        with self._lock:
            self._faults.append(_Injected(pattern, fault, times))

    def clear_faults(self) -> None:
        """Forget all injected faults; requests that already met one continue."""
        with self._lock:
            self._faults.clear()

    def end_hangs(self) -> None:
        """Close the connections that hang now."""
        with self._lock:
            hangs_end, self._hangs_end = self._hangs_end, threading.Event()
        hangs_end.set()

    def _is_released(self, path: str) -> bool:
        with self._lock:
            matching = [released for pattern, released in self._rules if _matches(path, pattern)]
        return bool(matching) and matching[-1]

    def _index_page(self, folder: Path) -> bytes:
        """Return a page as nginx makes them."""
        found = sorted(folder.iterdir())
        root = self.root.resolve()
        names = [f"{path.name}/" for path in found if path.is_dir()]
        files = (path for path in found if path.is_file())
        names += [f.name for f in files if self._is_released(f.relative_to(root).as_posix())]
        title = html.escape(f"Index of /{folder.relative_to(root).as_posix()}")
        links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
        return (
            f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1><hr><pre>"
            f'<a href="../">../</a>\n{links}</pre><hr></body>\n</html>\n'
        ).encode()

    def _next_fault(self, path: str) -> Fault | None:
        with self._lock:
            for injected in sorted(self._faults, key=lambda injected: injected.times is None):
                if injected.times != 0 and _matches(path, injected.pattern):
                    injected.times = None if injected.times is None else injected.times - 1
                    return injected.fault
        return None

    def _log(self, request: Request) -> int:
        with self._lock:
            self._requests.append(request)
            return len(self._requests) - 1

    def _log_sent(self, position: int, nbytes: int) -> None:
        with self._lock:
            request = self._requests[position]
            self._requests[position] = dataclasses.replace(request, nbytes=request.nbytes + nbytes)


@dataclass
class _Injected:
    pattern: str
    fault: Fault
    times: int | None


def _matches(path: str, pattern: str) -> bool:
    return path == pattern or fnmatch.fnmatchcase(path, pattern)


def _user(authorization: str | None) -> str | None:
    """Read the name in an Authorization header (RFC 7617); None without one."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    return base64.b64decode(credentials).decode().partition(":")[0]


def _answered_range(asked: str | None, size: int) -> tuple[int, int, int]:
    """Status, first byte and stop (not included) for a Range header (RFC 9110, 14.1.2)."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if match is None or match[0] == "bytes=-":
        return 200, 0, size
    if not match[1]:
        start, stop = max(size - int(match[2]), 0), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    return (206, start, stop) if start < stop else (416, 0, 0)
