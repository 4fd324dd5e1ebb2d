"""How many clients a process makes: each looks for credentials and connects anew."""

from __future__ import annotations

import pickle
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import s3fs

from gridmill.sources.fetch import s3 as source_s3
from gridmill.sources.fetch.download import fetch
from gridmill.sources.fetch.settings import DownloadSettings
from gridmill.stores.icechunk.settings import storage
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.objects.s3 import requests as s3_requests
from gridmill.stores.opening import open_store
from gridmill.testing import S3Server
from gridmill.testing.contract_archive import REGION, ContractArchive
from tiny import Provider, Tiny, hours, until


@pytest.fixture
def file_systems(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every file system of s3fs that is made."""
    made: list[object] = []
    make = s3fs.S3FileSystem.__init__

    def counted(self: object, *args: Any, **options: Any) -> None:
        made.append(self)
        make(self, *args, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "__init__", counted)
    monkeypatch.setattr(s3_requests, "_connections", {})
    monkeypatch.setattr(source_s3, "_filesystems", {})
    return made


def test_plain_zarr_and_its_records_share_a_client(
    s3_server: S3Server, file_systems: list[object], tmp_path: Path
) -> None:
    """However many stores, threads and copies there are."""
    url, options = f"s3://public/{uuid.uuid4().hex}", s3_server.storage_options
    stores = [open_store(url, "contract", storage_options=options) for _ in range(3)]
    stores += [pickle.loads(pickle.dumps(store)) for store in stores]
    archive = ContractArchive(stores[0], tmp_path)
    archive.upload(0)
    archive.publish(REGION)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda store: (store.metadata(), store.progress()), stores))
    assert len(file_systems) == 1


def test_source_files_share_a_client(
    s3_server: S3Server, file_systems: list[object], tmp_path: Path
) -> None:
    """Whichever threads fetch them."""
    key = f"{uuid.uuid4().hex}/a.bin"
    s3fs.S3FileSystem(**s3_server.storage_options).pipe_file(f"public/{key}", b"content")
    file_systems.clear()
    settings = DownloadSettings(s3_options=s3_server.storage_options)
    with ThreadPoolExecutor(4) as pool:
        to = [tmp_path / str(number) for number in range(8)]
        list(pool.map(lambda path: fetch(f"s3://public/{key}", path, settings=settings), to))
    assert {path.read_bytes() for path in to} == {b"content"}
    assert len(file_systems) == 1


def test_an_icechunk_archive_has_a_client_and_not_one_for_each_upload(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uploads made durable is looked for, read and published without another one."""
    asked: list[str] = []
    find = storage._Credentials.__call__

    def counted(self: storage._Credentials) -> Any:
        asked.append(self.url)
        return find(self)

    monkeypatch.setattr(storage._Credentials, "__call__", counted)
    url, options = f"s3://public/{uuid.uuid4().hex}", s3_server.storage_options
    stores = [
        open_store(url, "contract", format="icechunk", storage_options=options) for _ in range(3)
    ]
    archive = ContractArchive(stores[0], tmp_path)
    assert isinstance(stores[0], IcechunkStore)
    stores[0].repository.forget()  # as in a process that finds the archive there
    asked.clear()
    for number in range(4):
        archive.upload(number)
    for store in [*stores, pickle.loads(pickle.dumps(stores[0]))]:
        assert isinstance(store, IcechunkStore)
        archive.store = store
        assert archive.missing() == []
    archive.publish(4 * REGION)
    archive.store.metadata()
    assert len(asked) == 1


def test_a_repository_is_that_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means another one in another working folder; one that was deleted is gone."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    options = {"format": "icechunk", "source_base": str(provider.root)}
    for folder, length in (("first", 4), ("second", 8)):
        monkeypatch.chdir(tmp_path / folder)
        report = Tiny("a.icechunk", **options).backfill(until(length), client="none")
        assert (report.positions_before, report.positions_after) == (0, length)
    shutil.rmtree("a.icechunk")
    shutil.rmtree("a.icechunk.gridmill")
    assert Tiny("a.icechunk", **options).backfill(until(4), client="none").positions_after == 4
