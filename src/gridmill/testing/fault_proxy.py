"""A reverse proxy on loopback that makes a store's answers go wrong.

It stands between a client and a real S3 server, so that the faults are the network's and the
guarantees the server's. Requests are forwarded as they came, signature and all.
"""

from __future__ import annotations

import fnmatch
import http.client
import http.server
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote, urlsplit

from gridmill.testing.faults import DamagedBody, Latency, LostAnswer, Reset, Status, StoreFault
from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = ["FaultProxy", "Forwarded", "Injected"]


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """One request: method, path below the server's root, status (0 for none) and body's bytes.

    `query` is as it was sent. `headers` have names in lower case, and neither they nor their
    values, among them signatures, show in a `repr`.
    """

    time: float
    method: str
    path: str
    status: int
    nbytes: int
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass
class Injected:
    """A fault that waits for requests, and how many met it."""

    method: str
    pattern: str
    fault: StoreFault
    times: int | None
    met: int = 0


class _Handler(LoopbackHandler):
    @property
    def fault_proxy(self) -> FaultProxy:
        """The proxy that it answers for."""
        return cast(FaultProxy, self.owner)

    def do_GET(self) -> None:  # noqa: N802
        """Forward a request, or not."""
        proxy = self.fault_proxy
        path = unquote(urlsplit(self.path).path)
        body = self._body()
        time.sleep(proxy.latency_s)
        match fault := proxy._next_fault(self.command, path):
            case Status(status=status, retry_after_s=retry_after_s):
                waits = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
                self._answer(path, status, waits, _slow_down(status), len(body))
                return
            case Reset():
                self._reset(path)
                return
            case DamagedBody() if body:
                body = bytes([body[0] ^ 1]) + body[1:]
            case Latency(seconds=seconds):
                time.sleep(seconds)
        try:
            status, headers, content = self._forward(body)
        except OSError:
            self._reset(path)
            return
        if isinstance(fault, LostAnswer):
            self._reset(path)
            return
        self._answer(path, status, headers, content, len(body))

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := self._next_chunk_nbytes():
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _next_chunk_nbytes(self) -> int:
        line = self.rfile.readline()
        if not line:
            raise ConnectionError("the client went away within a body")
        return int(line.split(b";")[0], 16)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        server = http.client.HTTPConnection(self.fault_proxy.target, timeout=60)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection", "transfer-encoding"):
                    server.putheader(name, value)
            if "Content-Length" not in self.headers and body:
                server.putheader("Content-Length", str(len(body)))
            server.endheaders(body or None)
            response = server.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            server.close()

    def _answer(
        self, path: str, status: int, headers: dict[str, str], content: bytes, nbytes: int
    ) -> None:
        self._log(path, status, nbytes)
        self.send_response_only(status)
        names = {name.lower() for name in headers}
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        if "content-length" not in names:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self, path: str) -> None:
        self._log(path, 0, 0)
        self.reset_connection()

    def _log(self, path: str, status: int, nbytes: int) -> None:
        self.fault_proxy._log(
            Forwarded(
                time=time.time(),
                method=self.command,
                path=path,
                status=status,
                nbytes=nbytes,
                query=urlsplit(self.path).query,
                headers={name.lower(): value for name, value in self.headers.items()},
            )
        )


class FaultProxy(LoopbackServer):
    """A proxy on 127.0.0.1 in front of an HTTP server, for the time of a `with`.

    Parameters
    ----------
    target
        Address of the server.
    latency_s
        Wait before each answer, as of a distant server.

    Notes
    -----
    All methods are safe while requests are served. Bodies are held in memory.
    """

    handler = _Handler

    def __init__(self, target: str, *, latency_s: float = 0.0) -> None:
        super().__init__(latency_s=latency_s)
        self.target = urlsplit(target).netloc
        self._faults: list[Injected] = []
        self._requests: list[Forwarded] = []

    @property
    def requests(self) -> list[Forwarded]:
        """The requests so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    def inject(
        self, pattern: str, fault: StoreFault, *, method: str = "*", times: int | None = 1
    ) -> Injected:
        """Meet the next `times` requests whose path matches with a fault; None is for ever."""
        injected = Injected(method, pattern, fault, times)
        with self._lock:
            self._faults.append(injected)
        return injected

    def clear_faults(self) -> None:
        """Forget all injected faults."""
        with self._lock:
            self._faults.clear()

    def _next_fault(self, method: str, path: str) -> StoreFault | None:
        with self._lock:
            for injected in self._faults:
                fits = fnmatch.fnmatchcase(path, injected.pattern)
                if injected.times != 0 and fits and fnmatch.fnmatchcase(method, injected.method):
                    injected.times = None if injected.times is None else injected.times - 1
                    injected.met += 1
                    return injected.fault
        return None

    def _log(self, request: Forwarded) -> None:
        with self._lock:
            self._requests.append(request)


def _slow_down(status: int) -> bytes:
    code = "SlowDown" if status == 503 else "InternalError"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
        "<Message>Please reduce your request rate.</Message></Error>"
    ).encode()
