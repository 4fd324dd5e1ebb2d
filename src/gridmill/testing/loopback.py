"""An HTTP server on loopback in threads of this process: what the servers for tests share."""

from __future__ import annotations

import http.server
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Self, cast

__all__ = ["LoopbackHandler", "LoopbackServer"]


class LoopbackHandler(http.server.BaseHTTPRequestHandler):
    """Answers one request after the other on a connection."""

    protocol_version = "HTTP/1.1"
    # Header and body go out in two writes: with Nagle's algorithm 40 ms apart.
    disable_nagle_algorithm = True

    @property
    def owner(self) -> LoopbackServer:
        """The server that it answers for."""
        return cast(_HttpServer, self.server).owner

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: the server's `requests` are the log."""

    def reset_connection(self) -> None:
        """Reset the TCP connection."""
        # Lingering for no time at all makes close send RST.
        linger = struct.pack("ii", 1, 0)
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
        self.close_connection = True


class LoopbackServer:
    """A server on 127.0.0.1 for the time of a `with`; subclasses say what answers.

    Parameters
    ----------
    latency_s
        Wait before each answer, as of a distant server.
    """

    handler: ClassVar[type[LoopbackHandler]]

    def __init__(self, *, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._http: _HttpServer | None = None

    def __enter__(self) -> Self:
        self._http = _HttpServer(self)
        # A short poll, because shutdown waits for the next one.
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name="gridmill-server", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._http is not None
        self._stopping.set()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Address, without a slash at its end."""
        if self._http is None:
            raise ValueError("the server has no address before it runs; enter it: with server: ...")
        return f"http://127.0.0.1:{self._http.server_address[1]}"


class _HttpServer(http.server.ThreadingHTTPServer):
    # The default queue of 5 refuses a burst of workers.
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), owner.handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the threads that wait for the next request of a client that keeps its connection."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away in the middle of a body is ordinary.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
