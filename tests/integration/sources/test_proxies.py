"""Where the internet is behind a proxy, as on a supercomputer's nodes, files come through it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gridmill.sources.fetch.download import DownloadSettings, read

URL = "http://data.example.org/a/file.nc"
BODY = b"what the provider has"


class Proxy(ThreadingHTTPServer):
    """A proxy that answers for everybody, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    """One request to a proxy."""

    def do_GET(self) -> None:
        """Give the file, whatever its name."""
        assert isinstance(self.server, Proxy)
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy(monkeypatch) -> Iterator[Proxy]:
    """A proxy on loopback; the environment names none yet."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    with Proxy() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def fetched(url: str) -> bytes:
    """Give what is downloaded from there."""
    return read(url, settings=DownloadSettings(attempts=1, deadline_s=5))


def test_files_come_through_the_proxy_that_the_environment_names(proxy, monkeypatch):
    """The proxy resolves the provider's name, which nobody here can; its user is told to it."""
    monkeypatch.setenv("HTTP_PROXY", "")
    monkeypatch.setenv("http_proxy", f"http://me:a%20secret@{proxy.place}")
    assert fetched(URL) == BODY
    word = base64.b64encode(b"me:a secret").decode()
    assert proxy.asked == [(URL, f"Basic {word}")]


def test_hosts_that_need_no_proxy_are_asked_directly(proxy, monkeypatch):
    """Those that no_proxy names, and this machine."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetched(f"http://{proxy.place}/b.nc") == BODY
    assert [path for path, _ in proxy.asked] == ["/b.nc"]


def test_a_proxy_that_does_not_answer_is_said_without_its_secret(proxy, monkeypatch):
    """The failure is one to be tried again, and holds no password."""
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:1")
    with pytest.raises(Exception, match=r"(?i)proxy") as raised:
        fetched(URL)
    assert "secret" not in str(raised.value)
