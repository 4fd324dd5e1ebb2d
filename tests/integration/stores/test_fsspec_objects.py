"""The contract of objects, over a folder, S3 by its own module, and fsspec in general."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.remote import FsspecObjects
from gridmill.stores.objects.s3 import requests as s3_requests
from gridmill.stores.objects.s3.bucket import MULTIPART_FROM_NBYTES, S3Bucket
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.state.leases import LeaseLost
from gridmill.testing import (
    DamagedBody,
    FaultProxy,
    Latency,
    LostAnswer,
    ObjectsContract,
    Reset,
    S3Server,
    Status,
)


class TestLocalObjects(ObjectsContract):
    """Files in a folder."""

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a folder."""
        return LocalObjects(tmp_path / "objects", tmp_path / "staging")


class TestMemoryObjects(ObjectsContract):
    """fsspec's file system in memory, which asks before it creates."""

    puts_if_absent_atomically = False

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a folder in memory."""
        return open_objects(f"memory://{uuid.uuid4().hex}/objects")


class OnS3(ObjectsContract):
    """A bucket of a real server."""

    secrets = (S3Server.secret_key,)

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server) -> None:
        self.server = s3_server


class TestS3Objects(OnS3):
    """S3 by its own module."""

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a prefix of a bucket."""
        return S3Objects(f"s3://public/objects/{uuid.uuid4().hex}", self.server.storage_options)


class TestBucketsRoot(OnS3):
    """A whole bucket, which the tests share: each begins by emptying it."""

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a bucket without a prefix."""
        objects = S3Objects(f"s3://{root_bucket(self.server)}", self.server.storage_options)
        for key in list(objects.keys()):
            objects.delete(key)
        return objects


@functools.cache
def root_bucket(server: S3Server) -> str:
    """Make a bucket, once: a server has few volumes, and a bucket takes several."""
    server.create_bucket("whole-bucket")
    return "whole-bucket"


class TestFsspecObjects(OnS3):
    """An asynchronous object store through what fsspec promises of any."""

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a prefix of a bucket, without S3's own module."""
        return FsspecObjects(f"s3://public/objects/{uuid.uuid4().hex}", self.server.storage_options)


# -- S3 under faults --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """A bucket for the module: a server has few volumes, and a bucket takes several."""
    s3_server.create_bucket("objects-under-faults")
    return "objects-under-faults"


@pytest.fixture
def folder() -> str:
    """A prefix of the test's own."""
    return uuid.uuid4().hex


@pytest.fixture
def proxy(s3_server: S3Server) -> Any:
    """What lies between the client and the server."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def objects(bucket: str, folder: str, s3_server: S3Server, proxy: FaultProxy) -> S3Objects:
    """Objects whose requests pass the proxy, with little patience."""
    options = {**s3_server.storage_options, "endpoint_url": proxy.url}
    patience = Patience(attempts=4, wait_initial_s=0.01, wait_max_s=0.05)
    return S3Objects(f"s3://{bucket}/{folder}", options, patience=patience)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "fault",
    [Status(status=503), Status(status=500), Status(status=429), Reset(), LostAnswer()],
    ids=["slow down", "internal error", "too many requests", "reset", "lost answer"],
)
def test_a_passing_fault_is_outlived(
    fault: Any, times: int, objects: S3Objects, proxy: FaultProxy
) -> None:
    """Every request is tried again, as often as patience says."""
    for act, result in [
        (lambda: objects.put("key", b"content"), None),
        (lambda: objects.get("key"), b"content"),
        (lambda: objects.nbytes("key"), 7),
        (lambda: list(objects.keys()), ["key"]),
        (lambda: objects.delete("key"), None),
    ]:
        before = len(proxy.requests)
        proxy.inject("*", fault, times=times)
        assert act() == result
        assert len(proxy.requests) - before == times + 1


def test_patience_ends(objects: S3Objects, proxy: FaultProxy) -> None:
    """A fault that lasts is raised after the attempts that were granted, with its code."""
    proxy.inject("*", Status(status=503), times=None)
    with pytest.raises(OSError, match=r"SlowDown \(HTTP 503\) from http://127"):
        objects.put("key", b"content")
    assert len(proxy.requests) == objects.bucket.patience.attempts


def test_a_refusal_is_not_tried_again(objects: S3Objects, proxy: FaultProxy) -> None:
    """What another attempt would not change is raised at once."""
    proxy.inject("*", Status(status=403), times=None)
    with pytest.raises(PermissionError, match="may not do that in bucket"):
        objects.put("key", b"content")
    assert len(proxy.requests) == 1


def test_damage_on_the_way_is_found_and_mended(objects: S3Objects, proxy: FaultProxy) -> None:
    """A body that changes on its way is refused by the server and sent again."""
    proxy.inject("*", DamagedBody(), method="PUT")
    objects.put("key", b"content")
    assert [request.status for request in proxy.requests] == [400, 200]
    assert objects.get("key") == b"content"


def test_an_answer_lost_after_the_deed_is_no_other_writer(
    objects: S3Objects, proxy: FaultProxy
) -> None:
    """Who put if absent and lost the answer is still told that it was the first."""
    assert objects.honours_conditions()
    proxy.inject("*/key", LostAnswer(), method="PUT")
    assert objects.put_if_absent("key", b"ours")
    assert not objects.put_if_absent("key", b"theirs")


@pytest.mark.parametrize("refuses_to_know", ["nothing", "IfMatch", "IfNoneMatch"])
def test_a_store_that_ignores_conditions_is_found_out(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch, refuses_to_know: str
) -> None:
    """Where the condition is not honoured, puts look first instead of relying on it."""
    monkeypatch.setattr(s3_requests, "_connections", {})  # the probe has not run on a new one

    def ignore(self: S3Bucket, key: str, content: bytes, **condition: str) -> bool:
        if refuses_to_know in condition:
            raise NotImplementedError(refuses_to_know)
        self.put(key, content)
        return True

    monkeypatch.setattr(S3Bucket, "put_if", ignore)
    assert not objects.honours_conditions()
    assert objects.put_if_absent("key", b"first")
    assert not objects.put_if_absent("key", b"second")
    assert objects.get("key") == b"first"
    objects.overwrite("key", b"third", lambda: None)
    assert objects.get("key") == b"third"


@pytest.mark.parametrize("looks_first", [False, True])
def test_a_process_that_stood_still_undoes_nothing(objects: S3Objects, looks_first: bool) -> None:
    """What another one puts after the check is kept: the put is refused, and it looks again."""
    objects.put("key", b"old")
    checks = []

    def another_puts_meanwhile() -> None:
        if not checks:
            objects.put("key", b"newer")
        checks.append(objects.get("key"))
        if len(checks) > 1:
            raise LeaseLost("taken for dead")

    put = functools.partial(objects.overwrite, "key", b"ours")
    if looks_first:
        put = objects.change("key", b"ours")
    with pytest.raises(LeaseLost):
        put(another_puts_meanwhile)
    assert checks == [b"newer", b"newer"]
    assert objects.get("key") == b"newer"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_server_that_does_not_answer_in_time_is_asked_again(
    objects: S3Objects, proxy: FaultProxy, method: str
) -> None:
    """A connection that went dead is given up, and the request made on another."""
    options = {**objects.bucket.storage_options, "config_kwargs": {"read_timeout": 0.5}}
    impatient = S3Objects(objects.url, options, patience=objects.bucket.patience)
    impatient.put("key", b"before")
    proxy.inject("*/key", Latency(seconds=2.0), method=method)
    impatient.put("key", b"content")
    assert impatient.get("key") == b"content"
    proxy.inject("*/key", Latency(seconds=1.0), method=method, times=None)
    with pytest.raises(ConnectionError, match="ReadTimeoutError at http"):
        impatient.put("key", b"more") if method == "PUT" else impatient.get("key")


def test_what_is_taken_for_new_is_put_over_nothing_unasked(
    objects: S3Objects, proxy: FaultProxy
) -> None:
    """Where another one came first it is looked at, and asked again; else one request is enough."""
    assert objects.honours_conditions()
    before = len(proxy.requests)
    objects.overwrite("other", b"ours", lambda: None, is_new=True)
    assert [request.method for request in proxy.requests[before:]] == ["PUT"]
    checks = []

    def another_makes_it() -> None:
        if not checks:
            objects.put("key", b"theirs")
        checks.append(objects.get("key"))
        if len(checks) > 1:
            raise LeaseLost("taken for dead")

    with pytest.raises(LeaseLost):
        objects.overwrite("key", b"ours", another_makes_it, is_new=True)
    assert checks == [b"theirs", b"theirs"]
    assert objects.get("key") == b"theirs"


def test_of_two_that_make_an_object_one_is_asked_again(objects: S3Objects) -> None:
    """Also where nothing was there when it looked."""
    checks = []

    def another_makes_it() -> None:
        if not checks:
            objects.put("key", b"theirs")
        checks.append(None)

    objects.overwrite("key", b"ours", another_makes_it)
    assert len(checks) == 2
    assert objects.get("key") == b"ours"


def test_an_object_is_overwritten_also_if_the_answer_is_lost(
    objects: S3Objects, proxy: FaultProxy
) -> None:
    """The second attempt is refused by our own object; the one after that replaces it."""
    objects.put("key", b"old")
    assert objects.honours_conditions()
    proxy.inject("*/key", LostAnswer(), method="PUT")
    objects.overwrite("key", b"new", lambda: None)
    assert objects.get("key") == b"new"


# -- large objects ----------------------------------------------------------------------------


def parts_left(server: S3Server, bucket: str) -> int:
    """Count the multipart uploads that are neither complete nor aborted."""
    return len(server._client().list_multipart_uploads(Bucket=bucket).get("Uploads", ()))


def test_a_large_object_goes_in_parts_that_are_tried_again(
    objects: S3Objects, proxy: FaultProxy
) -> None:
    """A large object arrives whole although parts of it met faults."""
    content = os.urandom(MULTIPART_FROM_NBYTES + 12_345)
    proxy.inject("*", Status(status=503), method="PUT", times=2)
    proxy.inject("*", Reset(), method="PUT", times=1)
    objects.put("large", content)
    # Before it is read: what the proxy counts of an answer it may count a moment later.
    assert max(r.nbytes for r in proxy.requests) < MULTIPART_FROM_NBYTES
    assert objects.get("large") == content


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_large_object_that_fails_leaves_no_part(
    method: str, objects: S3Objects, proxy: FaultProxy, s3_server: S3Server, bucket: str
) -> None:
    """A part or a completion that fails for good leaves neither parts nor an object."""
    content = bytes(MULTIPART_FROM_NBYTES)
    proxy.inject("*", Status(status=400), method="PUT" if method == "PUT" else "nothing")
    if method == "POST":
        proxy.inject("*/large", Status(status=400), method="POST", times=None)
    with pytest.raises(OSError, match="HTTP 400"):
        objects.put("large", content)
    assert parts_left(s3_server, bucket) == 0
    assert objects.get("large") is None


def test_parts_of_killed_processes_are_deleted(
    objects: S3Objects, s3_server: S3Server, bucket: str, folder: str
) -> None:
    """Unfinished uploads below the prefix are aborted once they are old enough, others are not."""
    client = s3_server._client()
    for key in (f"{folder}/large", f"{folder}-other/large"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    assert objects.abort_abandoned_uploads() == 0
    assert objects.abort_abandoned_uploads(timedelta(0)) == 1
    other = S3Objects(f"{objects.url}-other", s3_server.storage_options)
    assert other.abort_abandoned_uploads(timedelta(0)) == 1


# -- places -----------------------------------------------------------------------------------


def test_an_unknown_scheme_is_refused() -> None:
    """A URL that no file system knows is an error that says so."""
    with pytest.raises(ValueError, match="nonsense:// stores are not supported"):
        open_objects("nonsense://a/b")


def test_a_url_without_a_bucket_is_refused() -> None:
    """S3 needs a bucket."""
    with pytest.raises(ValueError, match="names no bucket"):
        open_objects("s3://")


# In a process of its own: of what threads of other tests hold when it forks, nothing is let go.
FORKS = """
import json, os, sys
from gridmill.stores.objects.s3.objects import S3Objects

objects = S3Objects(sys.argv[1], json.loads(sys.argv[2]))
objects.put("parent", b"before")
child = os.fork()
if child == 0:
    objects.put("child", objects.get("parent"))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert objects.get("child") == b"before"
"""


def test_a_process_that_forked_makes_its_own_connection(
    bucket: str, folder: str, s3_server: S3Server
) -> None:
    """After a fork the child reads and writes, and so does the parent."""
    url, options = f"s3://{bucket}/{folder}", json.dumps(dict(s3_server.storage_options))
    command = [sys.executable, "-c", FORKS, url, options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
