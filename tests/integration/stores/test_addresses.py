"""Addresses that name a server, an account or another name of a scheme."""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gridmill.stores.final_store import FinalStore, IntendedWork
from gridmill.stores.objects import remote
from gridmill.stores.objects.opening import open_objects, open_state
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.remote import FsspecObjects
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.opening import open_replica, open_store
from gridmill.testing import ObjectsContract, StoreContract
from sshd import Served, files_over_ssh, sshd_missing
from tiny import Provider, Tiny, hours, truth, until


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A folder that a real sshd serves."""
    if missing := sshd_missing():
        pytest.skip(missing)
    with files_over_ssh() as served:
        yield served


class TestFilesOverSsh(ObjectsContract):
    """Files of a real sshd: whole puts, and the first of several writers is the first."""

    @pytest.fixture(autouse=True)
    def _served(self, served: Served) -> None:
        self.served = served

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a folder on the server."""
        url = f"{self.served.address}/{uuid.uuid4().hex}/objects"
        return open_objects(url, storage_options=self.served.storage_options)


class TestZarrOverSsh(StoreContract):
    """Plain Zarr on a real sshd."""

    @pytest.fixture(autouse=True)
    def _served(self, served: Served) -> None:
        self.served = served

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store on the server."""
        url = f"{self.served.address}/{uuid.uuid4().hex}/a.zarr"
        return open_store(url, "contract", storage_options=self.served.storage_options)


def test_an_archive_over_ssh_grows_and_is_read(served: Served, tmp_path: Path) -> None:
    """A backfill, an update that fills a shard, and every value."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    url = f"{served.address}/{uuid.uuid4().hex}/a.zarr"
    options = {"source_base": str(provider.root), "storage_options": served.storage_options}
    dataset = Tiny(url, **options)
    assert dataset.backfill(until(6), client="none").succeeded
    provider.publish(hours(10))
    assert dataset.reformat_operational_update(now=until(10), client="none").succeeded
    ds = dataset.store.open_dataset()
    for name in "ab":
        np.testing.assert_array_equal(ds[name].values, truth(hours(10), name))


def test_a_lost_connection_is_made_again(served: Served) -> None:
    """The next attempt of the same request has another one."""
    url = f"{served.address}/{uuid.uuid4().hex}"
    objects = open_objects(url, storage_options=served.storage_options)
    objects.put("key", b"content")
    # Servers of earlier tests of this process are remembered, too.
    at = urlsplit(served.address).port
    connected = [fs for fs in remote._file_systems.values() if hasattr(fs, "ssh_kwargs")]
    (fs,) = [fs for fs in connected if fs.ssh_kwargs.get("port") == at]
    fs.client.get_transport().sock.close()
    assert objects.get("key") == b"content"


def test_what_killed_writers_left_over_ssh_is_swept(served: Served) -> None:
    """Files that were written aside and never renamed go after a day."""
    url = f"{served.address}/{uuid.uuid4().hex}"
    objects = open_objects(url, storage_options=served.storage_options)
    objects.put("key", b"content")
    (staging,) = [p for p in served.folder.glob("*.staging") if p.name.startswith(url[-32:])]
    for name in ("old", "new"):
        (staging / name).write_bytes(b"cut")
    os.utime(staging / "old", (0, 0))
    assert objects.abort_abandoned_uploads() == 1
    assert [path.name for path in staging.iterdir()] == ["new"]
    assert list(objects.keys()) == ["key"]


class Plain(MemoryFileSystem):
    """A file system that takes nothing but its own arguments, as those that pass them on do."""

    protocol = "plain"
    store: dict = {}
    pseudo_dirs = [""]

    def __init__(self, host: str, port: int = 1) -> None:
        super().__init__()
        self.at = f"{host}:{port}"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.partition("://")[2].partition("/")[2] or path)

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict:
        host, _, port = path.partition("://")[2].partition("/")[0].partition(":")
        return {"host": host, "port": int(port)}


fsspec.register_implementation("plain", Plain, clobber=True)


def test_a_url_says_the_host_and_nothing_else_is_passed() -> None:
    """By fsspec's own parsing; options go before it."""
    objects = open_objects("plain://there:77/folder/a.zarr")
    assert isinstance(objects, FsspecObjects)
    assert (objects.root, objects.storage_options) == (
        "/folder/a.zarr",
        {"host": "there", "port": 77},
    )
    objects.put("key", b"content")
    assert objects.get("key") == b"content"
    assert pickle.loads(pickle.dumps(objects)).get("key") == b"content"
    other = open_objects("plain://there:77/a", storage_options={"port": 78})
    assert isinstance(other, FsspecObjects)
    assert other.storage_options["port"] == 78


@pytest.mark.parametrize(
    ("url", "root", "options", "needs"),
    [
        (
            "abfs://container@account.dfs.core.windows.net/a/b.zarr",
            "container/a/b.zarr",
            {"account_name": "account"},
            "adlfs",
        ),
        ("abfs://container/a.zarr", "container/a.zarr", {}, "adlfs"),
        (
            "sftp://me@there:2222/data/a.zarr",
            "/data/a.zarr",
            {"host": "there", "port": 2222, "username": "me"},
            "paramiko",
        ),
        (
            "hdfs://me@namenode:8020/data/a.zarr",
            "/data/a.zarr",
            {"host": "namenode", "port": 8020, "user": "me"},
            "pyarrow",
        ),
    ],
)
def test_known_addresses_mean_what_they_mean_to_fsspec(
    url: str, root: str, options: dict, needs: str
) -> None:
    """Container and account, user and host and port."""
    pytest.importorskip(needs)
    objects = FsspecObjects(url)
    assert (objects.root, objects.storage_options) == (root, options)


def test_a_password_in_a_url_is_refused() -> None:
    """It would be in logs and records; the error does not show it either."""
    pytest.importorskip("paramiko")
    with pytest.raises(ValueError, match=r"holds a password.*storage option") as refused:
        open_objects("sftp://me:hidden@there/a.zarr")
    assert "hidden" not in str(refused.value)


def test_s3a_is_s3() -> None:
    """In the store's address, its records, its replicas and their options."""
    options = {"key": "k", "secret": "s"}
    store = open_store("s3a://bucket/a.zarr", "tiny", state="s3://b/st", storage_options=options)
    assert store.url == "s3://bucket/a.zarr"
    assert isinstance(store.state, S3Objects)
    assert store.state.bucket.storage_options == options
    objects = open_objects("s3a://bucket/a")
    assert isinstance(objects, S3Objects)
    at = objects.bucket
    assert (at.name, at.prefix, objects.url) == ("bucket", "a", "s3://bucket/a")
    with pytest.raises(ValueError, match="is the archive itself"):
        open_replica("s3a://bucket/a.zarr", store, "tiny", options)


def test_another_server_gets_no_options_of_the_first() -> None:
    """A password is not sent to a host that it is not for."""
    pytest.importorskip("paramiko")
    options = {"password": "hidden"}
    near = open_state("sftp://a/x.zarr", "sftp://a/state", storage_options=options)
    far = open_state("sftp://a/x.zarr", "sftp://b/state", storage_options=options)
    assert isinstance(near, FsspecObjects)
    assert isinstance(far, FsspecObjects)
    assert (near.storage_options, far.storage_options) == ({"host": "a", **options}, {"host": "b"})


def test_memory_says_that_it_ends_with_the_process(tmp_path: Path) -> None:
    """Before a run begins, in its plan; a folder says nothing of that kind."""
    work = IntendedWork(regions=1, replaced=0, is_partial=False)
    (line,) = open_store("memory://x/a.zarr", "tiny").warn_of(work)
    assert "is in the memory of this process: it ends with it" in line
    assert open_store(str(tmp_path / "a.zarr"), "tiny").warn_of(work) == []
