"""A folder over HTTP on loopback: ranges from either end, requests counted, answers late."""

from __future__ import annotations

import json
import mimetypes
import re
import threading
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = ["WebFiles"]


class _Handler(LoopbackHandler):
    @property
    def files(self) -> WebFiles:
        """The server that it answers for."""
        return cast(WebFiles, self.owner)

    def do_GET(self) -> None:  # noqa: N802
        """Give a file, or a part of it."""
        time.sleep(self.files.latency_s)
        path = self.files.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self._send(404, b"", "text/plain")
            return
        content = path.read_bytes()
        kind = "text/javascript" if path.suffix in (".js", ".mjs") else None
        kind = kind or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            self._send(200, content, kind)
            return
        start, stop = found.groups()
        first = int(start) if start else max(0, len(content) - int(stop))
        last = min(int(stop), len(content) - 1) if start and stop else len(content) - 1
        told = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], kind, told)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        """Keep what a page found."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.files.result = json.loads(content)
        self._send(204, b"", "text/plain")
        self.files.answered.set()

    def _send(self, status: int, body: bytes, kind: str, told: str | None = None) -> None:
        with self.files._lock:
            self.files.requests.append((self.command, self.path, len(body)))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        if told:
            self.send_header("Content-Range", told)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class WebFiles(LoopbackServer):
    """Serves a folder for the time of a `with`; `requests` are method, path and bytes sent.

    Parameters
    ----------
    folder
        What is served.
    latency_s
        Wait before each answer, as of a distant server.
    """

    handler = _Handler

    def __init__(self, folder: Path, *, latency_s: float = 0.0) -> None:
        super().__init__(latency_s=latency_s)
        self.folder = folder
        self.requests: list[tuple[str, str, int]] = []
        self.result: Any = None
        self.answered = threading.Event()
