"""A plain Zarr store puts whole objects, knows which are gone, and reads what is published."""

from __future__ import annotations

import pickle

import google_crc32c
import numpy as np
import pytest
import xarray as xr
import zarr

from gridmill.model.reports.run_report import RunReport
from gridmill.stores.opening import open_store
from gridmill.stores.state.leases import LeaseLost
from gridmill.stores.zarr_store import ZarrStore


class Proof:
    """The lease's word, for so many objects."""

    def __init__(self, lasts: int = 10**9) -> None:
        self.left = lasts

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise LeaseLost("gone")


@pytest.fixture
def store(tmp_path):
    return ZarrStore(str(tmp_path / "a.zarr"), "tiny")


@pytest.fixture
def folder(tmp_path):
    """Give a local store of four positions."""
    ds = xr.Dataset({"a": (("time", "x"), np.arange(12.0).reshape(4, 3))}, {"time": np.arange(4)})
    path = tmp_path / "tmp"
    ds.to_zarr(path, zarr_format=3, consolidated=True)
    return path


def test_a_receipt_is_of_what_was_put(store, folder):
    """Key, size and checksum are those of the object in the final store."""
    (receipt,) = store.upload(folder, ["a/c/0/0"], Proof()).objects
    content = store.objects.get("a/c/0/0")
    assert content == (folder / "a/c/0/0").read_bytes()
    assert (receipt.key, receipt.nbytes) == ("a/c/0/0", len(content))
    assert receipt.crc32c == google_crc32c.value(content)


def test_the_lease_is_checked_before_every_object(store, folder):
    """Objects from the one at which it was lost are not put."""
    with pytest.raises(LeaseLost):
        store.upload(folder, ["a/c/0/0", "time/c/0"], Proof(lasts=1))
    assert list(store.objects.keys()) == ["a/c/0/0"]


def test_objects_that_are_gone_or_cut_are_missing(store, folder):
    """Sizes count; the content is not read."""
    receipts = store.upload(folder, ["a/c/0/0", "time/c/0"], Proof()).objects
    assert store.missing(receipts) == []
    store.objects.delete("time/c/0")
    store.objects.put("a/c/0/0", b"cut")
    assert store.missing(receipts) == ["a/c/0/0", "time/c/0"]


def test_what_is_published_is_read(store, folder):
    """Length, metadata, values and a dataset, as plain xarray reads them."""
    assert store.metadata() is None
    assert store.published_length("time") is None
    assert store.publish(folder)
    store.upload(folder, ["a/c/0/0"], Proof())
    assert store.published_length("time") == 4
    assert store.metadata()["node_type"] == "group"
    np.testing.assert_array_equal(
        store.read("a", (slice(1, 3), slice(2))), np.arange(12.0).reshape(4, 3)[1:3, :2]
    )
    with xr.open_zarr(store.url) as plain:
        assert plain.identical(store.open_dataset())


def test_publishing_again_changes_nothing(store, folder):
    """Objects that are equal are not written."""
    assert store.publish(folder)
    modified = {p: p.stat().st_mtime_ns for p in store.objects.root.rglob("*") if p.is_file()}
    assert not store.publish(folder)
    assert {p: p.stat().st_mtime_ns for p in modified} == modified


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_publication_that_may_not_go_on_shows_nothing(store, folder, steps):
    """It asks before coordinates, before arrays and before the root, which readers see."""
    asked = []

    def check():
        asked.append(None)
        if len(asked) > steps:
            raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        store.publish(folder, check=check)
    assert store.metadata() is None


def test_records_are_beside_the_store_or_where_they_are_told(tmp_path):
    """Never inside it: readers and sync tools see the archive only."""
    beside = ZarrStore(str(tmp_path / "a.zarr"), "tiny")
    beside.check_writable()
    beside.tracker.reports.write(RunReport.begin("tiny", "update"), "a page")
    assert list((tmp_path / "a.zarr.gridmill" / "runs").glob("*.json"))
    assert [p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()] == []
    elsewhere = ZarrStore(str(tmp_path / "b.zarr"), "tiny", state=str(tmp_path / "state"))
    elsewhere.tracker.reports.write(RunReport.begin("tiny", "update"), "a page")
    assert list((tmp_path / "state" / "runs").glob("*.json"))


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    """check_writable raises where a file is in the way."""
    (tmp_path / "a.zarr").write_bytes(b"a file")
    with pytest.raises(OSError):  # noqa: PT011
        ZarrStore(str(tmp_path / "a.zarr"), "tiny").check_writable()


def test_a_store_travels_to_workers(store, folder):
    """It pickles small, and reads the same there."""
    store.publish(folder)
    content = pickle.dumps(store)
    assert len(content) < 2_000
    assert pickle.loads(content).published_length("time") == 4


def test_a_store_of_another_program_has_no_length(store):
    """A root without consolidated metadata is no archive, and no crash."""
    zarr.open_group(store.objects.root, mode="w", zarr_format=3)
    assert store.published_length("time") == 0


@pytest.mark.parametrize(
    ("url", "state", "versions", "records"),
    [
        ("/a/sst.zarr", None, "/a/sst.v{}.zarr", "/a/sst.v{}.zarr.gridmill"),
        ("s3://b/sst.zarr", None, "s3://b/sst.v{}.zarr", "s3://b/sst.v{}.zarr.gridmill"),
        ("/a/sst", "/own/records", "/a/sst.v{}", "/own/records.v{}"),
    ],
)
def test_each_version_is_staged_at_an_address_of_its_own(url, state, versions, records):
    """With its records: nothing of one is taken for another's."""
    for version in (2, 13):
        staged = open_store(url, "sst", state=state, staged=version)
        assert staged.url == versions.format(version)
        assert staged.state.url == records.format(version)
