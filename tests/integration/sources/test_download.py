"""What a fetch guarantees, against real servers."""

from __future__ import annotations

import doctest
import email.utils
import errno
import http.server
import itertools
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.files.versions import checksum_of, checksum_of_file
from gridmill.sources.fetch import download
from gridmill.sources.fetch import failures as _failures
from gridmill.sources.fetch import responses as _responses
from gridmill.sources.fetch.download import (
    Download,
    DownloadFailed,
    DownloadSettings,
    FileIdentity,
    NotAvailable,
    coalesce_ranges,
    fetch,
    identify,
    mask_url,
    read,
)
from gridmill.sources.fetch.failures import PermanentError, TransientError
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
)

CONTENT = bytes(range(256)) * 1200


def quick(**changes: Any) -> DownloadSettings:
    values = {"attempts": 3, "wait_initial_s": 0.01, "wait_max_s": 0.02, "read_timeout_s": 5.0}
    return DownloadSettings(**{**values, **changes})


@pytest.fixture
def archive(tmp_path: Path):
    root = tmp_path / "archive"
    root.mkdir()
    (root / "a.bin").write_bytes(CONTENT)
    with ArchiveServer(root) as server:
        server.release_all()
        yield server


@pytest.fixture
def folder(tmp_path: Path):
    """A folder that must hold no partial file when the test ends."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    yield folder
    assert [path.name for path in folder.iterdir() if path.name != "a"] == []


def test_fetch_gives_the_bytes_and_the_identity_of_its_own_response(archive, folder):
    """One GET gives the whole file with its size, ETag and Last-Modified, and no HEAD is sent."""
    result = fetch(f"{archive.url}/a.bin", folder / "a", settings=quick())
    (request,) = archive.requests
    assert (folder / "a").read_bytes() == CONTENT
    assert request.method == "GET"
    assert result == Download(
        path=folder / "a",
        nbytes=len(CONTENT),
        etag=request.etag,
        last_modified=result.last_modified,
        attempts=1,
        file_nbytes=len(CONTENT),
        checksum=checksum_of(google_crc32c.value(CONTENT), [None]),
        url=f"{archive.url}/a.bin",
    )
    assert result.last_modified.endswith("GMT")


@pytest.mark.parametrize(
    "fault",
    [
        Status(status=500),
        Status(status=503, retry_after_s=0),
        Status(status=429),
        Status(status=408),
        Reset(),
        Truncated(nbytes=0),
        Truncated(nbytes=1000),
        EmptyBody(),
        HtmlBody(),
        HtmlBody(content_type="application/octet-stream"),
        Hang(timeout_s=0.1),
    ],
)
def test_a_passing_fault_is_retried(archive, folder, fault):
    """A file that one bad answer hid arrives whole with the next attempt."""
    archive.inject("a.bin", fault)
    done = fetch(f"{archive.url}/a.bin", folder / "a", settings=quick())
    assert done.attempts == 2
    assert (folder / "a").read_bytes() == CONTENT
    assert done.checksum == checksum_of_file(folder / "a")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Status(status=503), "HTTP 503"),
        (Truncated(nbytes=1000), "1000"),
        (EmptyBody(), "empty"),
        (HtmlBody(), "HTML"),
        (Reset(), "ProtocolError"),
        (Hang(), "timed out"),
    ],
)
def test_a_lasting_fault_fails_and_leaves_the_destination_as_it_was(archive, folder, fault, cause):
    """When all attempts fail the error tells the cause and the old destination stays."""
    (folder / "a").write_bytes(b"old")
    archive.inject("a.bin", fault, times=None)
    patience = quick(read_timeout_s=0.1) if isinstance(fault, Hang) else quick()
    with pytest.raises(DownloadFailed, match=cause) as caught:
        fetch(f"{archive.url}/a.bin", folder / "a", settings=patience)
    assert caught.value.attempts == len(archive.requests) == 3
    assert (folder / "a").read_bytes() == b"old"


@pytest.mark.parametrize("status", [404, 410])
def test_absence_is_not_available_and_not_retried(archive, folder, status):
    """404 and 410 say at once that the provider does not have the file."""
    archive.inject("a.bin", Status(status=status))
    with pytest.raises(NotAvailable, match=str(status)):
        fetch(f"{archive.url}/a.bin", folder / "a", settings=quick())
    assert len(archive.requests) == 1


def test_forbidden_means_absent_only_if_the_settings_say_so(archive, folder):
    """403 is a failure unless forbidden_means_absent is set; neither is retried."""
    archive.inject("a.bin", Status(status=403), times=2)
    with pytest.raises(DownloadFailed, match="forbidden_means_absent=True"):
        fetch(f"{archive.url}/a.bin", folder / "a", settings=quick())
    with pytest.raises(NotAvailable):
        fetch(f"{archive.url}/a.bin", folder / "a", settings=quick(forbidden_means_absent=True))
    assert len(archive.requests) == 2


def test_retry_after_is_waited_for(archive, folder):
    """The next attempt comes no sooner than the server asked."""
    archive.inject("a.bin", Status(status=503, retry_after_s=1))
    fetch(f"{archive.url}/a.bin", folder / "a", settings=quick())
    first, second = archive.requests
    assert second.time - first.time >= 1


def test_retry_after_beyond_the_deadline_ends_the_fetch(archive, folder):
    """A server that asks for more time than is left is not asked again."""
    archive.inject("a.bin", Status(status=503, retry_after_s=3600), times=None)
    with pytest.raises(DownloadFailed, match="Retry-After 3600 s"):
        fetch(f"{archive.url}/a.bin", folder / "a", settings=quick(deadline_s=5))
    assert len(archive.requests) == 1


def test_the_deadline_bounds_a_trickling_body(archive, folder):
    """A body that keeps moving, too slowly, is given up when the deadline passes."""
    archive.inject("a.bin", Slow(nbytes_per_s=2000), times=None)
    with pytest.raises(DownloadFailed, match=r"deadline of 0\.3 s"):
        fetch(f"{archive.url}/a.bin", folder / "a", settings=quick(deadline_s=0.3))


def test_a_refused_connection_is_a_failure(folder):
    """A server that is not there gives DownloadFailed after all attempts."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a?token=hunter2"
        with pytest.raises(DownloadFailed, match="refused") as caught:
            fetch(url, folder / "a", settings=quick())
    assert caught.value.attempts == 3
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "byte_ranges",
    [
        [(0, 10)],
        [(5, 10), (10, 300)],
        [(300, 310), (5, 10)],
        [(1000, None)],
        [(0, 1), (len(CONTENT) - 1, None), (0, 1)],
    ],
)
@pytest.mark.parametrize("fault", [None, IgnoredRange()])
def test_byte_ranges_are_concatenated_in_order(archive, folder, byte_ranges, fault):
    """The destination is the ranges in the given order, whether or not the server obeys Range."""
    if fault is not None:
        archive.inject("a.bin", fault, times=None)
    result = fetch(f"{archive.url}/a.bin", folder / "a", settings=quick(), byte_ranges=byte_ranges)
    expected = b"".join(CONTENT[start:stop] for start, stop in byte_ranges)
    assert (folder / "a").read_bytes() == expected
    assert result.nbytes == len(expected)


def test_the_connection_is_kept_after_files_and_refusals(archive, folder):
    """Fetching and polling for absent files in one thread goes over one connection."""
    for name in ("a.bin", "none", "a.bin", "none"):
        with suppress(NotAvailable):
            fetch(f"{archive.url}/{name}", folder / "a", settings=quick())
    assert [request.status for request in archive.requests] == [200, 404, 200, 404]
    assert len({request.client_port for request in archive.requests}) == 1


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), (" 120 ", 120), ("soon", None), (None, None)]
)
def test_retry_after_is_seconds(value, seconds):
    """A count is taken as it is, and nonsense is as if it were not there."""
    assert _responses._retry_after_s(value) == seconds


@pytest.mark.parametrize(("away", "least", "most"), [(3600, 3000, 3600), (-3600, 0, 0)])
def test_retry_after_is_a_date(away, least, most):
    """A moment to come is waited for, and one that has passed is now."""
    value = email.utils.formatdate(time.time() + away, usegmt=True)
    assert least <= _responses._retry_after_s(value) <= most


def test_adjoining_ranges_are_one_request(archive, folder):
    """Ranges that touch cost one request."""
    fetch(
        f"{archive.url}/a.bin",
        folder / "a",
        settings=quick(),
        byte_ranges=[(0, 10), (10, 20), (30, 40)],
    )
    assert [request.byte_range for request in archive.requests] == ["bytes=0-19", "bytes=30-39"]


def test_a_retry_keeps_the_ranges_that_are_whole(archive, folder):
    """After a failure only the ranges that are missing are asked for again."""
    archive.inject("a.bin", Latency(seconds=0))
    archive.inject("a.bin", Truncated(nbytes=3))
    result = fetch(
        f"{archive.url}/a.bin", folder / "a", settings=quick(), byte_ranges=[(0, 10), (20, 30)]
    )
    asked = [request.byte_range for request in archive.requests]
    assert asked == ["bytes=0-9", "bytes=20-29", "bytes=20-29"]
    assert (folder / "a").read_bytes() == CONTENT[0:10] + CONTENT[20:30]
    assert result.attempts == 2


def test_a_wrong_content_range_is_never_written(archive, folder):
    """A 206 for other bytes than those asked for is retried, and fails if it lasts."""
    url, byte_ranges = f"{archive.url}/a.bin", [(10, 20)]
    archive.inject("a.bin", WrongContentRange())
    assert fetch(url, folder / "a", settings=quick(), byte_ranges=byte_ranges).attempts == 2
    assert (folder / "a").read_bytes() == CONTENT[10:20]
    archive.inject("a.bin", WrongContentRange(), times=None)
    with pytest.raises(DownloadFailed, match="Content-Range"):
        fetch(url, folder / "a", settings=quick(), byte_ranges=byte_ranges)


def test_a_range_that_the_file_does_not_reach_fails(archive, folder):
    """A range past the end fails at once, and one that the end cuts off is never taken as whole."""
    url, size = f"{archive.url}/a.bin", len(CONTENT)
    for fault in (None, IgnoredRange()):
        if fault is not None:
            archive.inject("a.bin", fault, times=None)
        for byte_range in [(size, size + 5), (size + 5, None), (size - 5, size + 5)]:
            with pytest.raises(DownloadFailed):
                fetch(url, folder / "a", settings=quick(), byte_ranges=[byte_range])


def test_a_file_that_changes_between_ranges_is_fetched_anew(archive, folder):
    """Ranges of two versions of a file are never put together."""
    new = bytes(len(CONTENT))
    archive.inject("a.bin", Latency(seconds=0))
    archive.inject("a.bin", Hang(timeout_s=0.3))

    def replace() -> None:
        while not archive.requests:
            threading.Event().wait(0.01)
        (archive.root / "new").write_bytes(new)
        (archive.root / "new").replace(archive.root / "a.bin")

    thread = threading.Thread(target=replace)
    thread.start()
    fetch(f"{archive.url}/a.bin", folder / "a", settings=quick(), byte_ranges=[(0, 9), (20, 30)])
    thread.join()
    assert (folder / "a").read_bytes() == bytes(19)


# The least of each format: no dimension, attribute or variable; a superblock; one message.
CLASSIC = b"CDF\x01" + bytes(28)
HDF5 = b"\x89HDF\r\n\x1a\n\x02\x08\x08" + bytes(17) + (40).to_bytes(8, "little") + bytes(4)
GRIB = b"GRIB" + (20).to_bytes(3, "big") + b"\x01" + bytes(8) + b"7777"


@pytest.mark.parametrize(
    ("expect", "content", "is_expected"),
    [
        ("netcdf", CLASSIC, True),
        ("netcdf", HDF5, True),
        ("netcdf", GRIB, False),
        ("grib", GRIB, True),
        ("grib", GRIB[:-1], False),
        ("grib", b"\0" + GRIB, False),
        (None, CLASSIC[:-1], False),
        (None, HDF5[:-1], False),
        (None, GRIB[:-1], True),
        (None, b"anything", True),
    ],
)
def test_the_expected_format_is_checked(archive, folder, expect, content, is_expected):
    """A file of another format, or a cut one, is not a file."""
    (archive.root / "b").write_bytes(content)
    if is_expected:
        fetch(f"{archive.url}/b", folder / "a", settings=quick(expect=expect))
        assert (folder / "a").read_bytes() == content
    else:
        with pytest.raises(DownloadFailed):
            fetch(f"{archive.url}/b", folder / "a", settings=quick(expect=expect))


def test_a_stub_is_not_a_file(archive, folder):
    """A body with fewer than min_nbytes is not a file."""
    (archive.root / "stub").write_bytes(b"x" * 48)
    with pytest.raises(DownloadFailed, match="48 bytes are fewer than min_nbytes=49"):
        fetch(f"{archive.url}/stub", folder / "a", settings=quick(min_nbytes=49))


def identity_of(download: Download) -> FileIdentity:
    return FileIdentity(
        nbytes=download.file_nbytes, etag=download.etag, last_modified=download.last_modified
    )


@pytest.mark.parametrize("is_local", [True, False])
def test_a_file_is_identified_by_one_byte_as_its_download_is(archive, folder, is_local):
    """Nothing else is read, and what is asked of whole files is not asked of one byte."""
    url = str(archive.root / "a.bin") if is_local else f"{archive.url}/a.bin"
    settings = quick(min_nbytes=1000, expect="grib")
    known = identify(url, settings=settings)
    assert known == identity_of(fetch(url, folder / "a", settings=quick()))
    if not is_local:
        asked, _ = archive.requests
        assert (asked.method, asked.byte_range, asked.nbytes) == ("GET", "bytes=0-0", 1)
    with pytest.raises(NotAvailable):
        identify(f"{url}.absent", settings=settings)


@pytest.mark.parametrize("is_local", [True, False])
def test_a_small_file_is_read_into_memory_as_hard_as_another_is_fetched(archive, is_local):
    """It is tried again, proved to be whole, and absent where it is absent."""
    url = str(archive.root / "a.bin") if is_local else f"{archive.url}/a.bin"
    archive.inject("a.bin", Truncated(nbytes=3))
    assert read(url, settings=quick()) == CONTENT
    assert len(archive.requests) == (0 if is_local else 2)
    with pytest.raises(NotAvailable):
        read(f"{url}.absent", settings=quick())
    with pytest.raises(DownloadFailed, match="which is not whole GRIB"):
        read(url, settings=quick(expect="grib"))


def test_threads_fetch_at_once(archive, folder):
    """Fetches in several threads, also to one destination, do not disturb each other."""
    archive.inject("a.bin", Latency(seconds=0.05), times=None)
    url = f"{archive.url}/a.bin"
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: fetch(url, folder / "a", settings=quick()), range(16)))
    assert {result.nbytes for result in results} == {len(CONTENT)}
    assert (folder / "a").read_bytes() == CONTENT


def _fetch_in_child(url: str, destination: Path) -> None:
    fetch(url, destination, settings=quick())


def test_a_forked_child_does_not_use_its_parents_connections(archive, folder):
    """After a fork, parent and child both fetch, over different connections."""
    url = f"{archive.url}/a.bin"
    fetch(url, folder / "a", settings=quick())
    (folder / "a").unlink()
    child = multiprocessing.get_context("fork").Process(
        target=_fetch_in_child, args=(url, folder / "a")
    )
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert (folder / "a").read_bytes() == CONTENT
    assert fetch(url, folder / "a", settings=quick()).attempts == 1


class _Redirecting(http.server.BaseHTTPRequestHandler):
    """Redirects /a to another host's /b, and serves /b in chunks, without a length."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        if self.path == "/a":
            self.send_response(302)
            self.send_header(
                "Location", f"http://localhost:{self.server.server_port}/b?sig=hunter2"
            )
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n")
        if not self.server.is_cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def redirecting():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        server.seen, server.is_cut = [], False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_redirects_are_followed_without_credentials(redirecting, folder):
    """A URL's user and secret headers reach the first host only; other headers go along."""
    url = f"http://me:p%40ss@127.0.0.1:{redirecting.server_port}/a"
    headers = {"X-Api-Key": "hunter2", "X-Purpose": "archive"}
    fetch(url, folder / "a", settings=quick(headers=headers))
    assert (folder / "a").read_bytes() == b"abcde"
    (_, first), (_, second) = redirecting.seen
    assert first["Authorization"] == "Basic bWU6cEBzcw=="
    assert first["Accept-Encoding"] == "identity"
    assert first["X-Api-Key"] == "hunter2"
    assert not second.keys() & {"Authorization", "X-Api-Key"}
    assert second["X-Purpose"] == "archive"


def test_a_cut_body_without_a_length_fails(redirecting, folder):
    """A chunked body that ends before its last chunk is truncated, not whole."""
    redirecting.is_cut = True
    with pytest.raises(DownloadFailed, match="ProtocolError") as caught:
        fetch(f"http://127.0.0.1:{redirecting.server_port}/b", folder / "a", settings=quick())
    assert caught.value.attempts == 3


@pytest.mark.parametrize("is_url", [True, False])
def test_local_files_are_fetched_like_others(tmp_path, folder, is_url):
    """A local path or file URL, with spaces too, gives bytes, ranges, identity and absence."""
    source = tmp_path / "a file.bin"
    source.write_bytes(CONTENT)
    url = source.as_uri() if is_url else str(source)
    result = fetch(url, folder / "a", settings=quick())
    assert (folder / "a").read_bytes() == CONTENT
    assert result.nbytes == len(CONTENT)
    assert result.etag
    assert result.last_modified
    fetch(url, folder / "a", settings=quick(), byte_ranges=[(3, 5), (9, None)])
    assert (folder / "a").read_bytes() == CONTENT[3:5] + CONTENT[9:]
    with pytest.raises(DownloadFailed, match="beyond the file's"):
        fetch(url, folder / "a", settings=quick(), byte_ranges=[(0, len(CONTENT) + 1)])
    with pytest.raises(NotAvailable):
        fetch(url + ".none", folder / "a", settings=quick())
    with pytest.raises(DownloadFailed, match="IsADirectory"):
        fetch(str(tmp_path), folder / "a", settings=quick())


@pytest.mark.parametrize(
    "url", ["gopher://host/a", "s3://bucket", "s3:///key", "http://host:port/a", "file://host/a"]
)
def test_a_malformed_url_is_refused(folder, url):
    """A URL that cannot be fetched is the author's mistake, told at once."""
    with pytest.raises(ValueError, match="://"):
        fetch(url, folder / "a", settings=quick())


def test_a_missing_folder_is_told(archive, tmp_path):
    """The destination's folder is not made: a purged work folder must not come back."""
    with pytest.raises(FileNotFoundError, match="must exist"):
        fetch(f"{archive.url}/a.bin", tmp_path / "none" / "a", settings=quick())
    assert archive.requests == []


def test_a_full_disk_is_not_the_providers_failure(archive, folder):
    """An error of the local disk comes through as itself, and no partial file stays."""
    script = (
        "import resource, signal, sys, pathlib, gridmill.sources.fetch.download as d\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: d.fetch(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
        "except OSError as e: sys.exit(e.errno)\n"
    )
    command = [sys.executable, "-c", script, f"{archive.url}/a.bin", str(folder / "a")]
    assert subprocess.run(command, check=False).returncode == errno.EFBIG
    assert len(archive.requests) == 1


def test_importing_download_is_light():
    """The module pulls in neither s3fs, xarray, dask nor botocore."""
    script = "import sys, gridmill.sources.fetch.download; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(result.stdout.decode().split())
    assert not loaded & {"s3fs", "xarray", "dask", "distributed", "botocore", "netCDF4"}


# S3


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    name = f"download-{uuid.uuid4().hex[:8]}"
    s3_server.create_bucket(name)
    filesystem = fsspec.filesystem("s3", **s3_server.storage_options)
    filesystem.pipe(f"{name}/in/a #1?.bin", CONTENT)
    filesystem.pipe("public/a.bin", CONTENT)
    return name


def test_s3_objects_are_fetched_like_others(s3_server, bucket, folder):
    """An S3 object gives bytes, ranges and the ETag of its own response."""
    settings = quick(s3_options=s3_server.storage_options)
    url = f"s3://{bucket}/in/a #1?.bin"
    whole = fetch(url, folder / "a", settings=settings)
    assert (folder / "a").read_bytes() == CONTENT
    assert identify(url, settings=settings) == identity_of(whole)
    parts = fetch(url, folder / "a", settings=settings, byte_ranges=[(7, 9), (900, None)])
    assert (folder / "a").read_bytes() == CONTENT[7:9] + CONTENT[900:]
    assert whole.etag == parts.etag
    info = fsspec.filesystem("s3", **s3_server.storage_options).info(f"{bucket}/in/a #1?.bin")
    assert whole.etag == info["ETag"]
    assert whole.last_modified.endswith("GMT")


def test_s3_objects_are_fetched_in_threads(s3_server, bucket, folder):
    """Several threads fetch from S3 at once."""
    settings = quick(s3_options=s3_server.storage_options)
    url = f"s3://{bucket}/in/a #1?.bin"
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fetch(url, folder / "a", settings=settings), range(8)))
    assert {result.nbytes for result in results} == {len(CONTENT)}


def test_s3_is_anonymous_without_credentials(s3_server, bucket, folder, monkeypatch):
    """Without credentials public objects are read, at the endpoint that the environment names."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    script = (
        "import sys, pathlib, gridmill.sources.fetch.download as d\n"
        "d.fetch('s3://public/a.bin', pathlib.Path(sys.argv[1]))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder / "a")], check=True)
    assert (folder / "a").read_bytes() == CONTENT


def test_s3_statuses(s3_server, bucket, folder):
    """NoSuchKey is absence; a missing bucket, a refusal and a wrong secret are failures."""
    options = s3_server.storage_options
    anonymous = {"endpoint_url": s3_server.endpoint_url, "anon": True}

    def attempt(url: str, options: dict[str, Any], **changes: Any) -> None:
        fetch(url, folder / "a", settings=quick(s3_options=options, **changes))

    with pytest.raises(NotAvailable):
        attempt(f"s3://{bucket}/none", options)
    with pytest.raises(DownloadFailed, match="NoSuchBucket"):
        attempt("s3://no-such-bucket/none", options)
    with pytest.raises(DownloadFailed, match="AccessDenied"):
        attempt(f"s3://{bucket}/none", anonymous)
    with pytest.raises(NotAvailable):
        attempt(f"s3://{bucket}/none", anonymous, forbidden_means_absent=True)
    wrong = {**options, "secret": "wrong"}
    with pytest.raises(DownloadFailed, match="SignatureDoesNotMatch") as caught:
        attempt(f"s3://{bucket}/none", wrong, forbidden_means_absent=True)
    assert caught.value.attempts == 1


@pytest.mark.parametrize("fault", [Status(status=503), Truncated(nbytes=1000), Reset()])
def test_s3_faults_are_retried(archive, folder, fault):
    """Throttling, a cut body and a lost connection of an S3 endpoint are retried."""
    (archive.root / "bucket").mkdir()
    (archive.root / "bucket" / "a.bin").write_bytes(CONTENT)
    archive.inject("bucket/a.bin", fault)
    settings = quick(s3_options={"anon": True, "endpoint_url": archive.url})
    fetch("s3://bucket/a.bin", folder / "a", settings=settings)
    assert (folder / "a").read_bytes() == CONTENT
    # Not `attempts`: aiohttp asks again by itself after a reset.
    assert len(archive.requests) == 2


def test_the_deadline_bounds_a_hanging_s3_endpoint(archive, folder):
    """An S3 endpoint that sends nothing is given up when the deadline passes."""
    (archive.root / "bucket").mkdir()
    (archive.root / "bucket" / "a.bin").write_bytes(CONTENT)
    archive.inject("bucket/a.bin", Hang(), times=None)
    settings = quick(s3_options={"anon": True, "endpoint_url": archive.url}, deadline_s=0.5)
    with pytest.raises(DownloadFailed):
        fetch("s3://bucket/a.bin", folder / "a", settings=settings)


# Values


@pytest.mark.parametrize(
    "change",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"deadline_s": 0},
        {"connect_timeout_s": -1},
        {"read_timeout_s": float("nan")},
        {"wait_initial_s": "1"},
        {"wait_max_s": None},
        {"min_nbytes": 0},
        {"expect": "hdf"},
    ],
)
def test_settings_are_checked_when_made(change):
    """A setting out of its range is refused with its name and value."""
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        DownloadSettings(**change)


def test_settings_pickle_and_hide_what_may_be_secret():
    """Settings go to workers, and their repr shows no header and no S3 option."""
    settings = DownloadSettings(headers={"X-Key": "hunter2"}, s3_options={"secret": "hunter3"})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert "hunter" not in repr(settings)
    assert hash(settings) == hash(DownloadSettings())


@pytest.mark.parametrize(
    "error",
    [
        NotAvailable("https://me:hunter2@host/a?sig=hunter2", "HTTP 404"),
        DownloadFailed("https://host/a", "no route to https://host/a?token=hunter2", 3),
    ],
)
def test_errors_pickle_and_hold_no_credential(error):
    """An error comes back from a worker with all its fields, and nothing in it is secret."""
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
    assert "hunter2" not in str(back) + repr(back)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://host/a.nc", "https://host/a.nc"),
        ("s3://bucket/a@b.nc", "s3://bucket/a@b.nc"),
        ("https://me:p@ss@host/a", "https://***@host/a"),
        ("https://token@host", "https://***@host"),
        ("https://h/a?var=t2m&x=1", "https://h/a?var=t2m&x=1"),
        ("https://h/a?api_key=b&x=1", "https://h/a?api_key=***&x=1"),
        (
            "https://h/a?X-Amz-Signature=b&X-Amz-Date=c",
            "https://h/a?X-Amz-Signature=***&X-Amz-Date=***",
        ),
        ("https://h/a?X%2DAmz%2DSignature=b", "https://h/a?X%2DAmz%2DSignature=***"),
        ("https://h/a?next=https://g/?token=b", "https://h/a?next=***"),
        ("https://h/a?x=1;token=b", "https://h/a?x=***"),
        ("https://h/a#access_token=b", "https://h/a#access_token=***"),
    ],
)
def test_credentials_in_a_url_are_masked(url, masked):
    """What may be secret is masked, and all else stays readable."""
    assert mask_url(url) == masked


@pytest.mark.parametrize("kind", [TransientError, PermanentError])
def test_no_attempts_failure_shows_an_addresss_credentials(kind):
    """Also where it is only logged, since another attempt follows."""
    error = pickle.loads(pickle.dumps(kind("no answer from https://me:hush@h/a?token=hush")))
    assert str(error) == "no answer from https://***@h/a?token=***"


SAFE_TEXT = st.text(alphabet="abcdefgh0123456789-._~%", max_size=8)


@given(
    user=SAFE_TEXT,
    name=st.sampled_from(["Signature", "AWSAccessKeyId", "token", "x-amz-security-token", "sig"]),
    before=st.lists(SAFE_TEXT, max_size=3),
    after=st.lists(SAFE_TEXT, max_size=3),
)
def test_no_secret_survives_masking(user, name, before, after):
    """Wherever a secret stands in a URL it is masked, and masking twice changes nothing."""
    parameters = [*(f"b{x}=1" for x in before), f"{name}=HUNTER2", *(f"a{x}=2" for x in after)]
    url = f"https://{user}:HUNTER2@host/path?{'&'.join(parameters)}"
    masked = mask_url(url)
    assert "HUNTER2" not in masked
    assert masked.startswith("https://***@host/path?")
    assert mask_url(masked) == masked


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda r: (r[0], r[0] + r[1])),
        min_size=1,
    )
)
def test_coalesced_ranges_read_the_same_bytes(byte_ranges):
    """Joining adjoining ranges changes no byte, and leaves none that adjoin."""
    joined = coalesce_ranges(byte_ranges)
    read = [byte for start, stop in byte_ranges for byte in range(start, stop)]
    assert [byte for start, stop in joined for byte in range(start, stop)] == read
    assert all(one[1] != other[0] for one, other in itertools.pairwise(joined))


@pytest.mark.parametrize("byte_ranges", [[], [(5, 5)], [(-1, 4)], [(9, 3)]])
def test_impossible_ranges_are_refused(folder, byte_ranges):
    """Empty, negative and reversed ranges are the author's mistake."""
    with pytest.raises(ValueError, match="byte_ranges"):
        fetch("http://127.0.0.1:1/a", folder / "a", settings=quick(), byte_ranges=byte_ranges)


@pytest.mark.parametrize("module", [download, _failures])
def test_the_examples_run(module):
    """Every example in the docstrings is true."""
    assert doctest.testmod(module).failed == 0
