"""What the servers for tests guarantee, seen by plain clients."""

from __future__ import annotations

import doctest
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pytest
import urllib3

from gridmill.testing import (
    ArchiveServer,
    EmptyBody,
    Hang,
    HtmlBody,
    IgnoredRange,
    Latency,
    Reset,
    S3Server,
    Slow,
    Status,
    Truncated,
    WrongContentRange,
    archive_server,
)

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def archive(tmp_path: Path):
    (tmp_path / "2026").mkdir()
    for name in ("a.nc", "2026/b.nc", "2026/c.nc"):
        (tmp_path / name).write_bytes(CONTENT)
    with ArchiveServer(tmp_path) as server:
        yield server


def connect(archive: ArchiveServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(archive.url).netloc, timeout=10)


def get(archive: ArchiveServer, path: str, byte_range: str | None = None, method: str = "GET"):
    headers = {} if byte_range is None else {"Range": byte_range}
    with closing(connect(archive)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def test_files_are_absent_until_released(archive):
    """A file is 404 until a rule releases it, and the last rule for a file counts."""

    def statuses() -> list[int]:
        return [get(archive, path)[0].status for path in ("/a.nc", "/2026/b.nc", "/2026/c.nc")]

    assert statuses() == [404, 404, 404]
    archive.release("2026/*")
    assert statuses() == [404, 200, 200]
    archive.hold("2026/c.nc")
    assert statuses() == [404, 200, 404]
    archive.release("a.nc")
    assert statuses() == [200, 200, 404]
    archive.release_all()
    assert statuses() == [200, 200, 200]
    archive.hold("*.nc")
    assert statuses() == [404, 404, 404]


def test_a_rule_holds_for_files_that_come_later(archive):
    """A file that is added or replaced is served in its new state, with another ETag."""
    archive.release("*")
    assert get(archive, "/new%20file.nc")[0].status == 404
    (archive.root / "new file.nc").write_bytes(b"one")
    first, body = get(archive, "/new%20file.nc?version=1")
    assert body == b"one"
    (archive.root / "new file.nc").write_bytes(b"other")
    second, body = get(archive, "/new%20file.nc")
    assert body == b"other"
    assert first.headers["ETag"] != second.headers["ETag"]


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/2026", "//etc/passwd", "/"])
def test_nothing_but_files_of_the_folder_is_served(tmp_path, path):
    """Paths that leave the folder, and folders themselves, are 404."""
    (tmp_path / "root" / "2026").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    with ArchiveServer(tmp_path / "root") as archive:
        archive.release_all()
        assert get(archive, path)[0].status == 404


@pytest.mark.parametrize(
    ("byte_range", "status", "expected", "content_range"),
    [
        (None, 200, CONTENT, None),
        ("bytes=0-0", 206, CONTENT[:1], "bytes 0-0/10240"),
        ("bytes=10-19", 206, CONTENT[10:20], "bytes 10-19/10240"),
        ("bytes=10200-", 206, CONTENT[10200:], "bytes 10200-10239/10240"),
        ("bytes=10200-99999", 206, CONTENT[10200:], "bytes 10200-10239/10240"),
        ("bytes=-5", 206, CONTENT[-5:], "bytes 10235-10239/10240"),
        ("bytes=10240-", 416, None, "bytes */10240"),
        ("bytes=0-1,4-5", 200, CONTENT, None),
        ("nonsense", 200, CONTENT, None),
    ],
)
def test_ranges_are_those_of_http(archive, byte_range, status, expected, content_range):
    """One range is a 206 with its Content-Range, one past the end a 416, anything else a 200."""
    archive.release_all()
    response, body = get(archive, "/a.nc", byte_range)
    assert (response.status, response.headers["Content-Range"]) == (status, content_range)
    assert expected is None or body == expected
    assert int(response.headers["Content-Length"]) == len(body)


def test_head_gives_the_headers_only(archive):
    """HEAD gives size, ETag and Last-Modified of GET, and no body."""
    archive.release_all()
    head, body = get(archive, "/a.nc", method="HEAD")
    whole, _ = get(archive, "/a.nc")
    assert body == b""
    for name in ("Content-Length", "ETag", "Last-Modified", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]
    assert [(r.method, r.nbytes) for r in archive.requests] == [("HEAD", 0), ("GET", len(CONTENT))]


def test_who_asks_is_in_the_log(archive):
    """The name before the host in a URL tells one client's requests from another's."""
    pool = urllib3.PoolManager()
    headers = urllib3.make_headers(basic_auth="somebody:")
    pool.request("GET", f"{archive.url}/a.nc", headers=headers)
    pool.request("GET", f"{archive.url}/a.nc")
    assert [request.user for request in archive.requests] == ["somebody", None]


def test_a_connection_serves_many_requests(archive):
    """A connection is kept after answers of all kinds."""
    archive.release("a.nc")
    with closing(connect(archive)) as connection:
        for path, status in [("/a.nc", 200), ("/none", 404), ("/a.nc", 200)]:
            connection.request("GET", path)
            sock = connection.sock
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is sock


def test_the_log_tells_what_was_asked_and_answered(archive):
    """Each request is logged with time, path, range, status, bytes and ETag by when it is read."""
    archive.release("a.nc")
    before = time.time()
    response, _ = get(archive, "/a.nc?x=1", "bytes=5-9")
    get(archive, "/2026/b.nc")
    served, absent = archive.requests
    assert before <= served.time <= absent.time <= time.time()
    assert (served.path, served.byte_range, served.status) == ("a.nc", "bytes=5-9", 206)
    assert (served.nbytes, served.etag) == (5, response.headers["ETag"])
    assert (absent.path, absent.status, absent.etag) == ("2026/b.nc", 404, None)


def test_faults_happen_as_often_as_injected_and_where(archive):
    """A fault meets the next n requests for its files; bounded faults go before endless ones."""
    archive.release_all()
    archive.inject("2026/*", Status(status=500), times=None)
    archive.inject("2026/b.nc", Status(status=503, retry_after_s=7), times=2)
    archive.inject("2026/b.nc", Status(status=429))
    seen = [get(archive, "/2026/b.nc")[0] for _ in range(5)]
    assert [response.status for response in seen] == [503, 503, 429, 500, 500]
    assert seen[0].headers["Retry-After"] == "7"
    assert get(archive, "/2026/c.nc")[0].status == 500
    assert get(archive, "/a.nc")[0].status == 200
    archive.clear_faults()
    assert get(archive, "/2026/b.nc")[0].status == 200


def test_broken_bodies_are_broken_as_told(archive):
    """Truncated promises more than it sends; an empty body and an HTML page come with 200."""
    archive.release_all()
    archive.inject("a.nc", Truncated(nbytes=100))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(archive, "/a.nc")
    assert caught.value.partial == CONTENT[:100]
    assert archive.requests[0].nbytes == 100
    archive.inject("a.nc", EmptyBody())
    assert (get(archive, "/a.nc")[1], archive.requests[1].status) == (b"", 200)
    archive.inject("a.nc", HtmlBody())
    response, body = get(archive, "/a.nc")
    assert (response.status, response.headers.get_content_type()) == (200, "text/html")
    assert body.startswith(b"<!DOCTYPE html")


def test_wrong_ranges_are_wrong_as_told(archive):
    """IgnoredRange sends all with 200; WrongContentRange shifts what the header says."""
    archive.release_all()
    archive.inject("a.nc", IgnoredRange())
    response, body = get(archive, "/a.nc", "bytes=5-9")
    assert (response.status, body) == (200, CONTENT)
    archive.inject("a.nc", WrongContentRange(shift=2))
    response, body = get(archive, "/a.nc", "bytes=5-9")
    assert (response.status, response.headers["Content-Range"]) == (206, "bytes 7-11/10240")


def test_a_reset_is_a_reset(archive):
    """Reset ends the connection with RST, not with an orderly close."""
    archive.release_all()
    archive.inject("a.nc", Reset())
    with pytest.raises(ConnectionResetError) as caught:
        get(archive, "/a.nc")
    assert not isinstance(caught.value, http.client.RemoteDisconnected)
    assert archive.requests[0].status == 0


def test_slow_and_late_answers_take_their_time(archive):
    """Slow spreads the body, Latency and latency_s delay the answer; the bytes are right."""
    archive.release_all()
    for fault in (Slow(nbytes_per_s=40 * len(CONTENT) // 10), Latency(seconds=0.2)):
        archive.inject("a.nc", fault)
        began = time.monotonic()
        assert get(archive, "/a.nc")[1] == CONTENT
        assert time.monotonic() - began >= 0.2
    with ArchiveServer(archive.root, latency_s=0.2) as distant:
        began = time.monotonic()
        get(distant, "/a.nc")
        assert time.monotonic() - began >= 0.2


def test_a_hang_ends_when_told(archive):
    """A request that hangs gets no answer, and its connection closes with end_hangs."""
    archive.release_all()
    archive.inject("a.nc", Hang())
    failures: list[Exception] = []

    def ask() -> None:
        try:
            get(archive, "/a.nc")
        except http.client.RemoteDisconnected as e:
            failures.append(e)

    thread = threading.Thread(target=ask)
    thread.start()
    while not archive.requests:
        time.sleep(0.01)
    assert not failures
    archive.end_hangs()
    thread.join(5)
    assert len(failures) == 1
    assert get(archive, "/a.nc")[0].status == 200


def threads_of_servers() -> set[threading.Thread]:
    """Return the threads in which servers run."""
    return {thread for thread in threading.enumerate() if thread.name == "gridmill-server"}


def test_the_server_stops_while_clients_hang_and_wait(archive, tmp_path):
    """Leaving ends hanging, slow and idle connections, and frees the port."""
    earlier = threads_of_servers()  # of `archive`, and of other files' tests
    with ArchiveServer(tmp_path) as other:
        assert len(threads_of_servers() - earlier) == 1
        other.release_all()
        other.inject("a.nc", Hang())
        other.inject("a.nc", Slow(nbytes_per_s=1))
        connections = [connect(other) for _ in range(3)]
        for connection in connections[:2]:
            connection.request("GET", "/a.nc")
        connections[2].connect()
        while len(other.requests) < 2:
            time.sleep(0.01)
    for connection in connections:
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        get(other, "/a.nc")
    deadline = time.monotonic() + 10  # it may take a moment to end
    while threads_of_servers() - earlier and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads_of_servers() - earlier


def test_other_processes_are_served(archive):
    """Several processes read from one server at once."""
    archive.release_all()
    archive.inject("*", Latency(seconds=0.2), times=None)
    script = "import sys, urllib.request as u; print(len(u.urlopen(sys.argv[1]).read()))"
    command = [sys.executable, "-c", script, f"{archive.url}/a.nc"]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert [int(client.communicate(timeout=30)[0]) for client in clients] == [len(CONTENT)] * 3
    assert len(archive.requests) == 3


def test_the_url_is_known_once_it_runs(tmp_path):
    """Before it is entered the server has no address, and says what to do."""
    with pytest.raises(ValueError, match="with server"):
        _ = ArchiveServer(tmp_path).url


def test_the_examples_run():
    """Every example in the docstrings is true."""
    assert doctest.testmod(archive_server).failed == 0


def test_s3_takes_only_its_own_credentials(s3_server):
    """What is written is read back, the wrong secret is refused, and only `public` is open."""
    s3_server.create_bucket("testing-s3")
    filesystem = fsspec.filesystem("s3", **s3_server.storage_options)
    filesystem.pipe("testing-s3/a/b", b"shut")
    filesystem.pipe("public/testing-s3", b"open")
    assert filesystem.cat("testing-s3/a/b") == b"shut"
    anonymous = fsspec.filesystem("s3", anon=True, endpoint_url=s3_server.endpoint_url)
    assert anonymous.cat("public/testing-s3") == b"open"
    wrong = fsspec.filesystem("s3", **{**s3_server.storage_options, "secret": "wrong"})
    for refused in (anonymous, wrong):
        with pytest.raises(PermissionError):
            refused.cat("testing-s3/a/b")


def test_s3_that_cannot_start_says_why(monkeypatch, tmp_path):
    """A server that dies at the start shows the end of its log and leaves nothing behind."""
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    weed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"exit code 3[\s\S]*the disk is on fire"):
        S3Server().__enter__()
    assert not list(tmp_path.glob("gridmill-s3-*"))
