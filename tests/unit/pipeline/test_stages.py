"""The stages as functions of values: what they read, heal, merge and refuse, without Dask."""

from __future__ import annotations

import errno
import pickle
import shutil
import struct
import tracemalloc
import zlib
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import xarray as xr

from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Coordinate, Encoding
from gridmill.pipeline.canvas import slabs_of
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.stores.state.leases import LeaseLost
from gridmill.stores.zarr_store import ZarrStore
from tiny import (
    TinyJob,
    TinyTemplate,
    hours,
    time_coordinate,
    tiny_var,
    truth,
    values_at,
)
from workplace import N, Workplace

OK = SourceFileStatus.SUCCEEDED


@pytest.fixture
def at(tmp_path) -> Workplace:
    return Workplace(tmp_path)


def test_a_chain_puts_the_values_of_its_source_files(at):
    """Every file lands in its place; the receipt lists the objects and the files."""
    for region in (slice(0, 4), slice(4, 8)):
        receipt = at.run(region=region)
        assert [file.coord.status for file in receipt.files] == [OK] * 4
        assert at.store.missing(receipt.objects) == []
        assert (receipt.unread, receipt.healed) == ({}, None)
    np.testing.assert_array_equal(at.values(), truth(hours(N)))
    assert [span.stage for span in receipt.spans] == ["compress", "upload"]


def test_only_chunks_are_uploaded(at):
    """No metadata reaches the store before it is published."""
    at.run()
    assert list(at.store.objects.keys()) == ["a/c/0/0/0"]


def test_an_upload_repeats_the_same_bytes(at):
    """Run again, each stage gives the same object."""
    first = at.run()
    content = at.store.objects.get("a/c/0/0/0")
    assert at.run().objects == first.objects
    assert at.store.objects.get("a/c/0/0/0") == content


@pytest.mark.parametrize("lost", ["downloads", "shards", "both"])
def test_what_vanished_is_made_again(at, lost):
    """Wherever a folder is gone, the stage rebuilds it, and says what it fetched again."""
    source = at.download()
    shards = at.compress(source)
    before = at.workspace.owned()
    if lost in ("downloads", "both"):
        shutil.rmtree(source.folder)
    if lost in ("shards", "both"):
        shutil.rmtree(shards.folder)
    receipt = at.upload(shards)
    assert (receipt.healed is not None) == (lost == "both")
    np.testing.assert_array_equal(at.values()[:4], truth(hours(4)))
    # What healing made is deleted; what the keys own is theirs.
    assert at.workspace.owned()["download"] == before["download"]
    assert at.workspace.owned().get("upload", []) == []


def test_a_healed_chain_tells_what_it_saw(at):
    """The files in the receipt are those of its own download, not of the first."""
    source = at.download()
    shutil.rmtree(source.folder)
    at.provider.withdraw(hours(4)[1])
    at.provider.publish(hours(1, first=2), version=1)
    receipt = at.upload(at.compress(source))
    assert receipt.files == receipt.healed
    assert [file.coord.status for file in receipt.files] == [
        OK,
        SourceFileStatus.NOT_YET_AVAILABLE,
        OK,
        OK,
    ]
    assert receipt.files[2].coord.etag != source.files[2].coord.etag
    values = at.values()
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[2], values_at(hours(4)[2], 1)[0])


@pytest.mark.parametrize("stage", ["compress", "upload"])
def test_nothing_is_made_again_for_a_driver_that_is_gone(at, stage):
    """A task that outlives its driver asks the provider for nothing."""
    source = at.download()
    shards = at.compress(source)
    shutil.rmtree(source.folder)
    shutil.rmtree(shards.folder)
    shutil.rmtree(at.provider.root)
    at.proof.stands = False
    with pytest.raises(LeaseLost):
        at.compress(source) if stage == "compress" else at.upload(shards)


def test_downloads_that_vanish_while_they_are_read_are_fetched_again(tmp_path):
    """A folder purged in the middle of compress is no unreadable file."""

    class Purges(TinyJob):
        purged: list = []

        def read_data(self, coord, data_var):
            if coord.label == hours(4)[2] and not self.purged:
                self.purged.append(True)
                shutil.rmtree(coord.downloaded_path.parent)
            return super().read_data(coord, data_var)

    at = Workplace(tmp_path, Purges)
    receipt = at.run()
    assert receipt.unread == {}
    assert receipt.healed is not None
    np.testing.assert_array_equal(at.values()[:4], truth(hours(4)))


@pytest.mark.parametrize("says_so", [True, False])
def test_downloads_that_are_being_deleted_are_fetched_again(tmp_path, says_so):
    """Another worker's folder on the same disk may go file by file: none is unreadable for it."""

    class Reads(TinyJob):
        def read_data(self, coord, data_var):
            if not says_so and not coord.downloaded_path.exists():
                raise RuntimeError("the decoder has its own errors")
            return super().read_data(coord, data_var)

    at = Workplace(tmp_path, Reads)
    source = at.download()
    source.files[2].coord.downloaded_path.unlink()
    receipt = at.upload(at.compress(source))
    assert receipt.unread == {}
    assert receipt.healed is not None
    np.testing.assert_array_equal(at.values()[:4], truth(hours(4)))


@pytest.mark.parametrize("n_replicas", [0, 1])
def test_shards_that_are_being_deleted_are_made_again(at, tmp_path, n_replicas):
    """A folder that lacks one of its objects is no error of the final store, nor of a replica."""
    replicas = tuple(ZarrStore(str(tmp_path / "replica"), "tiny") for _ in range(n_replicas))
    at.context = replace(at.context, replicas=replicas)
    source = at.download()
    shards = at.compress(source)
    (shards.folder / shards.keys[0]).unlink()
    receipt = at.upload(shards)
    assert receipt.healed is None
    assert list(receipt.replicated) == [replica.url for replica in replicas]
    np.testing.assert_array_equal(at.values()[:4], truth(hours(4)))


@pytest.mark.parametrize("trouble", ["garbage", "empty array", "wrong shape"])
def test_a_file_that_cannot_be_read_leaves_its_place_empty(at, trouble):
    """It is named with its cause; the other files' values are there."""
    path = at.provider.path(hours(4)[1])
    if trouble == "garbage":
        path.write_bytes(b"no array")
    else:
        np.save(path, np.zeros((4, 0, 3)) if trouble == "empty array" else np.zeros((4, 3, 2)))
    receipt = at.run()
    assert list(receipt.unread) == [1]
    assert receipt.unread[1].startswith("ValueError: ")
    values = at.values()
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[[0, 2, 3]], truth(hours(4))[[0, 2, 3]])


def test_a_file_that_fails_halfway_leaves_its_place_empty(tmp_path):
    """What a decoder wrote into the place before it failed is not taken for values."""

    class Halfway(TinyJob):
        def read_data_into(self, coord, data_var, out):
            if coord.label == hours(4)[1]:
                out[:1] = 7
                raise ValueError("cut off")
            super().read_data_into(coord, data_var, out)

    at = Workplace(tmp_path, Halfway)
    receipt = at.run()
    assert list(receipt.unread) == [1]
    values = at.values()
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[[0, 2, 3]], truth(hours(4))[[0, 2, 3]])


def test_what_is_recorded_of_a_file_names_no_folder_of_a_worker(tmp_path):
    """Its cause is the same wherever it was read, and on the next attempt."""

    class NamesItsPath(TinyJob):
        def read_data(self, coord, data_var):
            raise ValueError(f"cannot open {coord.downloaded_path}")

    at = Workplace(tmp_path, NamesItsPath)
    causes = [at.run().unread, at.run().unread]
    assert causes[0] == causes[1]
    assert str(tmp_path) not in str(causes)
    assert "20200101T00.npy" in causes[0][0]


@pytest.mark.parametrize(
    "error",
    [NotImplementedError("x"), MemoryError("x"), OSError(errno.ENOSPC, "disk full")],
    ids=lambda error: type(error).__name__,
)
def test_what_says_nothing_about_the_file_fails_the_variable(tmp_path, error):
    """So that no place is published as missing that another worker would fill."""

    class Fails(TinyJob):
        def read_data(self, coord, data_var):
            raise error

    at = Workplace(tmp_path, Fails)
    with pytest.raises(type(error)):
        at.run()
    assert list(at.store.objects.keys()) == []


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        TypeError("x"),
        ValueError("x"),
        OSError("x"),
        EOFError("x"),
        zlib.error("x"),
        struct.error("x"),
        NotAvailable("x.nc"),
    ],
)
def test_whatever_a_reader_raises_is_a_failure_to_read(tmp_path, error):
    """A variable that a provider renamed is a KeyError in one reader, an OSError in another."""

    class Fails(TinyJob):
        def read_data(self, coord, data_var):
            raise error

    unread = Workplace(tmp_path, Fails).run().unread
    assert set(unread.values()) == {f"{type(error).__name__}: {error}"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAvailable("http://a/x.nc"), SourceFileStatus.NOT_YET_AVAILABLE),
        (DownloadFailed("http://a/x.nc", "the queue is full"), SourceFileStatus.DOWNLOAD_FAILED),
        (
            DownloadFailed("http://a/x.nc", "it is cut", has_arrived=True),
            SourceFileStatus.READ_FAILED,
        ),
    ],
)
def test_what_a_download_hook_raises_is_the_status_of_its_file(tmp_path, error, status):
    """With as little as an author has to say; it pickles, and its words are kept."""

    class Refuses(TinyJob):
        def download_file(self, coord):
            raise error

    receipt = Workplace(tmp_path, Refuses).run()
    assert {file.coord.status for file in receipt.files} == {status}
    assert {file.coord.detail for file in receipt.files} == {str(error)}
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_where_nothing_arrived_nothing_is_written(at):
    """A region without one readable file has no object, and replaces none."""
    at.run()
    content = at.store.objects.get("a/c/0/0/0")
    for label in hours(3):
        at.provider.withdraw(label)
    at.provider.path(hours(4)[3]).write_bytes(b"no array")
    receipt = at.run()
    assert receipt.objects == ()
    assert list(receipt.unread) == [3]
    assert at.store.objects.get("a/c/0/0/0") == content


def test_published_values_stay_where_this_run_has_none(at):
    """Below the published extent the old values stay, beyond it nothing is merged."""
    at.run()
    at.publish()
    at.context = replace(at.context, published=2)
    for label in (hours(4)[0], hours(4)[3]):
        at.provider.withdraw(label)
    at.provider.publish(hours(2, first=1), version=1)
    at.run()
    values = at.values()
    np.testing.assert_array_equal(values[0], truth(hours(1))[0])
    np.testing.assert_array_equal(values[1:3], truth(hours(2, first=1), version=1))
    assert np.isnan(values[3]).all()


def test_what_is_merged_is_judged_by_provenance_never_by_nan(at):
    """NaN that a source file really holds replaces a published value."""
    at.run()
    at.publish()
    at.context = replace(at.context, published=4)
    np.save(at.provider.path(hours(4)[0]), np.full((4, 2, 3), np.nan, "float32"))
    at.provider.withdraw(hours(4)[1])
    at.run()
    values = at.values()
    assert np.isnan(values[0]).all()
    np.testing.assert_array_equal(values[1:4], truth(hours(3, first=1)))


def test_an_author_widens_what_a_missing_file_spoils(tmp_path):
    """Where provenance says so, a published value stays though its own file arrived."""

    class Differences(TinyJob):
        def get_processing_region(self):
            return slice(self.region.start - 1, self.region.stop)

        def apply_data_transformations(self, data_array, data_var):
            data_array.values[1:] -= data_array.values[:-1].copy()

        def provenance(self, filled, data_var):
            ours = filled.copy()
            ours[1:] &= filled[:-1]
            return ours

    at = Workplace(tmp_path, Differences)
    at.run(region=slice(4, 8))
    at.publish()
    published = at.values()[4:]
    np.testing.assert_allclose(published, np.diff(truth(hours(5, first=3)), axis=0))
    at.context = replace(at.context, published=8)
    at.provider.withdraw(hours(8)[5])
    at.run(region=slice(4, 8))
    np.testing.assert_array_equal(at.values()[4:], published)


def test_a_region_that_splits_an_object_is_refused(at):
    """Two jobs would write one object: nothing is uploaded."""
    with pytest.raises(ValueError, match="splits a stored object"):
        at.run(region=slice(2, 4))
    with pytest.raises(ValueError, match="splits a stored object"):
        at.run(region=slice(0, 3))
    assert list(at.store.objects.keys()) == []


def test_a_shorter_last_region_is_written_whole(tmp_path):
    """The archive may end inside an object."""
    at = Workplace(tmp_path, n=6)
    for region in (slice(0, 4), slice(4, 6)):
        at.run(region=region)
    np.testing.assert_array_equal(at.values(), truth(hours(6)))


def test_no_object_is_put_once_the_lease_is_lost(at):
    """A task that goes on after its driver died uploads nothing."""
    shards = at.compress(at.download())
    at.proof.stands = False
    with pytest.raises(LeaseLost):
        at.upload(shards)
    assert list(at.store.objects.keys()) == []


class Rich(TinyTemplate):
    """Level and member dims, an auxiliary coordinate, and a static variable."""

    coords = (
        *TinyTemplate.coords,
        Coordinate(name="level", dtype="int64"),
        Coordinate(
            name="valid_time",
            dims=("time",),
            dtype="int64",
            units="hours since 2020-01-01",
            calendar=time_coordinate().calendar,
        ),
    )
    data_vars = (
        tiny_var("a"),
        tiny_var(
            "u",
            1,
            dims=("time", "level", "y", "x"),
            encoding=Encoding(chunks=(2, 1, 2, 3), shards=(4, 2, 2, 3)),
        ),
        tiny_var("z", 2, dims=("y", "x"), encoding=Encoding(chunks=(2, 3))),
    )

    def dimension_coordinates(self):
        return {**super().dimension_coordinates(), "level": [850, 500]}

    def derive_coordinates(self, ds):
        return {"valid_time": ds.time + np.timedelta64(6, "h")}


class RichJob(TinyJob):
    """The level variable is the file's array once for each level."""

    seen: dict[str, xr.DataArray] = {}

    def read_data(self, coord, data_var):
        values = super().read_data(coord, data_var)
        return np.stack([values, values + 1]) if "level" in data_var.dims else values

    def apply_data_transformations(self, data_array, data_var):
        self.seen[data_var.name] = data_array.copy(deep=True)
        data_array.values[...] *= 2


def test_a_transformation_gets_the_variable_with_its_coordinates(tmp_path):
    """Append dim, static and auxiliary coordinates are those of the region; it works in place."""
    at = Workplace(tmp_path, RichJob, Rich())
    for region in (slice(0, 4), slice(4, 8)):
        for name in ("a", "u"):
            at.run(name, region)
    seen = RichJob.seen["u"]
    assert seen.dims == ("time", "level", "y", "x")
    assert list(seen.get_index("time")) == hours(4, first=4)
    assert seen["level"].values.tolist() == [850, 500]
    assert seen["x"].values.tolist() == [0, 1, 2]
    assert list(seen["valid_time"].values) == [
        np.datetime64(t) + np.timedelta64(6, "h") for t in hours(4, first=4)
    ]
    assert "level" not in RichJob.seen["a"].coords
    np.testing.assert_array_equal(at.values("a"), truth(hours(N)) * 2)
    level = truth(hours(N), "b")
    np.testing.assert_array_equal(at.values("u"), np.stack([level, level + 1], axis=1) * 2)


def test_a_transformation_must_work_in_place(tmp_path):
    """Values that were replaced would be lost: the author is told."""

    class Replaces(TinyJob):
        def apply_data_transformations(self, data_array, data_var):
            data_array.values = data_array.values * 2

    with pytest.raises(TypeError, match="in place"):
        Workplace(tmp_path, Replaces).run()


def test_static_variables_are_whole_objects(tmp_path):
    """A variable without the append dim is read from its file and written whole."""

    @dataclass(frozen=True, kw_only=True)
    class StaticFile(SourceFileCoord):
        def get_url(self):
            return "static.npy"

        def out_loc(self):
            return {}

    class StaticJob(TinyJob):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            return [StaticFile()]

    at = Workplace(tmp_path, StaticJob, Rich())
    np.save(at.provider.root / "static.npy", values_at("static"))
    receipt = at.run("z", slice(0, 0))
    assert [obj.key for obj in receipt.objects] == ["z/c/0/0"]
    np.testing.assert_array_equal(at.values("z"), values_at("static")[2])


def test_values_are_rounded_by_default(tmp_path):
    """keep_mantissa_bits is applied without an override, and the rest stays as read."""

    class Rounded(TinyTemplate):
        data_vars = (tiny_var("a", keep_mantissa_bits=3), tiny_var("b", 1))

    at = Workplace(tmp_path, config=Rounded())
    for name in "ab":
        at.run(name)
    values = at.values()[:4]
    assert not (values.view("uint32") & (2 ** (23 - 3) - 1)).any()
    np.testing.assert_allclose(values, truth(hours(4)), rtol=2.0**-4)
    np.testing.assert_array_equal(at.values("b")[:4], truth(hours(4), "b"))


def test_what_is_sent_between_tasks_is_small(at):
    """Handles pickle without the template, and tell Dask what moving them costs."""
    source = at.download()
    shards = at.compress(source)
    assert len(pickle.dumps(shards)) < 20_000
    assert (
        source.__sizeof__()
        >= source.nbytes
        == sum(p.stat().st_size for p in source.folder.iterdir())
    )
    assert replace(source, most_claimed=7).__sizeof__() == 7
    with pytest.raises(AttributeError, match="stays with the driver"):
        _ = pickle.loads(pickle.dumps(source)).job.template_ds.sizes


# -- memory -----------------------------------------------------------------------------------

SIDE = 256


class WideJob(TinyJob):
    """Gives fields of 256 kB, whatever is in the files."""

    def read_data(self, coord, data_var):
        return np.full((SIDE, SIDE), coord.label.day_of_year, "float32")


def peak_of_compress(tmp_path, steps: int) -> int:
    """Give the most bytes that compress holds at once, for a region of `steps` fields."""
    var = tiny_var("a", 0)
    encoding = Encoding(chunks=(16, 64, 64), shards=(steps, SIDE, SIDE))

    class Wide(TinyTemplate):
        data_vars = (replace(var, encoding=encoding),)

        def dimension_coordinates(self):
            return {"y": np.arange(float(SIDE)), "x": np.arange(float(SIDE))}

    at = Workplace(tmp_path, WideJob, Wide(), n=steps)
    region = slice(0, steps)
    source = at.download(region)
    tracemalloc.start()
    try:
        at.compress(source, region=region)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_slab_and_not_by_the_region(tmp_path, monkeypatch):
    """Regions of 4 and of 16 slabs hold as much at their peak: at most four slabs."""
    limit = 2**20
    monkeypatch.setattr(
        "gridmill.pipeline.slabs.dividing.slabs_of", partial(slabs_of, most_nbytes=limit)
    )
    # Other threads of this process, and what is imported at first, count as well: the least does.
    small = min(peak_of_compress(tmp_path / f"small-{n}", 16) for n in range(3))
    large = min(peak_of_compress(tmp_path / f"large-{n}", 64) for n in range(3))
    assert small < 4 * limit
    assert large < 1.2 * small
