"""What a server or a cache compresses on its way without being asked is the file all the same."""

from __future__ import annotations

import gzip
import http.server
import threading
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources.fetch.download import DownloadFailed, DownloadSettings, fetch, identify
from gridmill.sources.fetch.failures import PermanentError, TransientError
from gridmill.sources.fetch.http import _decoded
from gridmill.sources.fetch.responses import CHUNK_NBYTES
from tiny import Provider, Tiny, hours, truth, until

PACKED = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
QUICK = DownloadSettings(attempts=2, wait_initial_s=0.01)


class _Packing(http.server.BaseHTTPRequestHandler):
    """Serves a folder, each file packed as the server says, whatever it is asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path: Path = self.server.root / self.path.lstrip("/").partition("?")[0]
        encoding, cut = self.server.encoding, self.server.cut
        if not path.exists():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = PACKED.get(encoding, bytes)(path.read_bytes())
        body = body[: len(body) - cut]
        self.send_response(200)
        self.send_header("Content-Encoding", encoding)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Packing) as made:
        made.root, made.encoding, made.cut = tmp_path / "source", "gzip", 0
        made.root.mkdir()
        made.url = f"http://127.0.0.1:{made.server_port}"
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("encoding", [*PACKED, "identity"])
def test_the_file_is_what_was_packed(server, tmp_path, encoding):
    """With the server's ETag, its own size and checksum; whoever asks for its identity alike."""
    server.encoding = encoding
    content = bytes(3 * CHUNK_NBYTES) + bytes(range(256))
    (server.root / "a").write_bytes(content)
    got = fetch(f"{server.url}/a", tmp_path / "a", settings=QUICK)
    assert (tmp_path / "a").read_bytes() == content
    assert (got.nbytes, got.etag) == (len(content), '"one"')
    assert identify(f"{server.url}/a", settings=QUICK).etag == '"one"'
    part = fetch(f"{server.url}/a", tmp_path / "b", settings=QUICK, byte_ranges=[(5, 300), (8, 9)])
    assert (tmp_path / "b").read_bytes() == content[5:300] + content[8:9]
    assert part.nbytes == 296


def test_a_file_that_is_compressed_itself_stays_so(server, tmp_path):
    """Some servers call its own form an encoding; it has the size and checksum that it had."""
    content = gzip.compress(b"GRIB")
    server.encoding = "x-gzip"
    with mock.patch.dict(PACKED, {"x-gzip": bytes}):
        (server.root / "a.GZ").write_bytes(content)
        got = fetch(f"{server.url}/a.GZ?b=c", tmp_path / "a.gz", settings=QUICK)
    assert (tmp_path / "a.gz").read_bytes() == content
    assert got.file_nbytes == len(content)


@pytest.mark.parametrize(
    ("encoding", "cut", "cause"),
    [
        ("gzip", 3, "the compressed body ends early"),
        ("br", 0, "which was not asked for, as 'br'"),
    ],
)
def test_what_is_no_file_is_told(server, tmp_path, encoding, cut, cause):
    """Cut off by a cache that counts what it has; or packed as nothing here reads."""
    server.encoding, server.cut = encoding, cut
    (server.root / "a").write_bytes(b"abc" * 100)
    with pytest.raises(DownloadFailed, match=cause):
        fetch(f"{server.url}/a", tmp_path / "a", settings=QUICK)
    assert not (tmp_path / "a").exists()


def test_a_packed_file_without_end_is_refused(server, tmp_path):
    """A few bytes may hold very many."""
    (server.root / "a").write_bytes(bytes(1 << 20))
    few = DownloadSettings(attempts=1, most_unpacked_nbytes=1 << 19)
    with pytest.raises(DownloadFailed, match="more than 524288 bytes unpacked"):
        fetch(f"{server.url}/a", tmp_path / "a", settings=few)


def test_an_archive_is_made_of_such_files(server, tmp_path):
    """Nothing is missing, and no file is read twice."""
    Provider(server.root).publish(hours(4))
    dataset = Tiny(tmp_path / "a", source_base=server.url)
    report = dataset.backfill(until(4), client="none", now=until(4))
    assert dict(report.files) == {"succeeded": 4}
    with dataset.store.open_dataset() as ds:
        assert np.array_equal(ds["a"].values, truth(hours(4)))


contents = st.lists(
    st.one_of(st.binary(max_size=300), st.integers(0, 3 * CHUNK_NBYTES).map(bytes)), max_size=3
)


@given(contents, st.sampled_from([gzip.compress, zlib.compress]), st.data())
def test_however_it_comes_it_is_what_was_packed(parts, pack, data):
    """In pieces of any size, in one stream or several; without its end it is none."""
    packed = b"".join(map(pack, parts))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=4)))
    pieces = [packed[a:b] for a, b in pairwise([0, *cuts, len(packed)])]
    assert b"".join(_decoded(iter(pieces), 1 << 30)) == b"".join(parts)
    if parts:
        short = data.draw(st.integers(1, len(pack(parts[-1])) - 1))
        with pytest.raises(TransientError):
            list(_decoded(iter([packed[:-short]]), 1 << 30))


def test_what_is_not_packed_though_it_says_so_is_told():
    """It is asked for again; a file that is too large is not."""
    with pytest.raises(TransientError, match="not compressed as it says"):
        list(_decoded(iter([b"GRIB is not gzip"]), 100))
    with pytest.raises(PermanentError, match="more than 5 bytes"):
        list(_decoded(iter([gzip.compress(b"123456")]), 5))
