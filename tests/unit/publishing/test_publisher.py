"""What readers see changes in one order, whole, and only forwards."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.metadata import write_by_xarray, write_current
from gridmill.authoring.describing.finality import shares_of
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Completeness, Coordinate
from gridmill.planning.prepare import prepare_region
from gridmill.publishing.publisher import Publisher
from gridmill.registry import dataset_names, find_dataset
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.state.leases import Lease, LeaseLost
from gridmill.stores.zarr_store import ZarrStore
from listed_axis import with_labels
from tiny import HOUR, NAMES, REGION, START, TinyJob, TinyTemplate, hours, until

OK = SourceFileStatus.SUCCEEDED
ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
CLAIM = SimpleNamespace(run="r", kind="backfill")
LEASE = SimpleNamespace(publishing=lambda: nullcontext(lambda: None), claim=CLAIM)


class Recording(LocalObjects):
    """Objects that note the keys that are put, in order."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.puts: list[str] = []

    def put(self, key, content):
        self.puts.append(key)
        super().put(key, content)


@pytest.fixture
def store(tmp_path):
    store = ZarrStore(str(tmp_path / "a.zarr"), "tiny")
    store.objects = Recording(store.objects.root, store.objects.staging)
    return store


def publisher_of(store, n, config=None, job_class=TinyJob):
    config = config or TinyTemplate()
    template_ds = config.get_template(until(n))

    def make_job(region):
        return job_class(
            template_ds=template_ds, data_vars=config.data_vars, append_dim="time", region=region
        )

    archive = Archive(store, config, template_ds, make_job)
    archive.check_structure()
    return Publisher(archive)


def record(publisher, start, statuses, names=NAMES, **changes):
    """Write the record of a region with these statuses of its positions' files; give both."""
    job = publisher.archive.job(Region(start, start + len(statuses)))
    prepared = prepare_region(job, None, publisher.archive.arrays, lambda *_: [])
    (group,) = prepared.groups
    files = tuple(
        SourceFileRecord(url=f"{n}", start=n, stop=n + 1, status=status, settled=status is OK)
        for n, status in enumerate(statuses)
    )
    variables = {
        name: VariableRecord(
            **{
                "state": "done",
                "group": 0,
                "fingerprint": group.fingerprints[name],
                "objects": (ObjectReceipt(f"{name}/c/{start // REGION}/0/0", 1, 0),),
                **changes,
            }
        )
        for name in names
    }
    written = ProgressRecord(
        dataset_id="tiny",
        start=start,
        stop=start + len(statuses),
        groups=(files,),
        variables=variables,
    )
    publisher.archive.store.tracker.write(written)
    return written, prepared


@pytest.mark.parametrize("change", ["show", "restore", "describe", "shorten"])
def test_who_lost_the_right_to_publish_changes_nothing(store, change):
    """Whatever changes what readers see asks before it puts the first object."""
    publisher = publisher_of(store, 8)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    view, archive = publisher.view, publisher.archive
    root = {**store.metadata(), "attributes": {"title": "Another"}}
    store.objects.put("time/c/0", b"damaged")
    store.objects.puts.clear()

    def check() -> None:
        raise LeaseLost("taken over")

    changes = {
        "show": lambda: view.show(archive.up_to(8), check, seen=4),
        "restore": lambda: view.restore(4, "restored", check),
        "describe": lambda: view.describe(root, "described", check),
        "shorten": lambda: view.shorten(2, "truncated", check),
    }
    with pytest.raises(LeaseLost):
        changes[change]()
    assert store.objects.puts == []
    assert store.published_length("time") == 4


@pytest.mark.parametrize("change", ["show", "restore"])
def test_what_is_published_stays_published(store, change):
    """The view of readers refuses to be shortened by what is not a truncation."""
    publisher = publisher_of(store, 8)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    view = publisher.view
    changes = {
        "show": lambda: view.show(publisher.archive.up_to(2), lambda: None, seen=4),
        "restore": lambda: view.restore(2, "restored", lambda: None),
    }
    with pytest.raises(ValueError, match="see 4 positions by now, and would see only 2"):
        changes[change]()
    assert store.published_length("time") == 4


def test_one_path_changes_what_readers_see():
    """No module but the readers' view asks a final store to prepare, publish or truncate."""
    import gridmill

    package = Path(gridmill.__file__).parent
    asks = re.compile(r"\b(store|target)\.(prepare|publish|truncate)\(")
    asking = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if asks.search(path.read_text())
    }
    inside = {path for path in asking if path.startswith(("stores/", "testing/"))}
    assert asking - inside == {"publishing/view.py"}


def test_what_another_run_publishes_meanwhile_is_no_difference(store, monkeypatch):
    """Of one archive, looked at twice while it grows, what both looks show is compared."""
    theirs, ours = publisher_of(store, 8), publisher_of(store, 8)
    record(theirs, 0, [OK] * 4)
    theirs.publish(LEASE)
    look = store.metadata

    def look_just_before() -> dict:
        found = look()
        monkeypatch.undo()
        record(theirs, 4, [OK] * 4)
        assert theirs.publish(LEASE)
        return found

    monkeypatch.setattr(store, "metadata", look_just_before)
    ours.archive.check_structure()
    assert (ours.archive.published, theirs.archive.published) == (4, 8)


def test_coordinates_come_first_and_the_root_last(store):
    """Coordinates' objects, then each array's metadata, then the one root that publishes."""
    publisher = publisher_of(store, 8)
    record(publisher, 0, [OK] * 4)
    assert publisher.publish(LEASE)
    puts = store.objects.puts
    assert puts[-1] == "zarr.json"
    kinds = ["/c" in key and not key.endswith("zarr.json") for key in puts[:-1]]
    assert kinds == sorted(kinds, reverse=True)
    assert any(kinds)
    assert not all(kinds)
    assert len(puts) == len(set(puts))
    with xr.open_zarr(store.url) as ds:
        assert list(ds.get_index("time")) == hours(4)


def test_only_what_changed_is_written(store):
    """A further publication rewrites the append coordinate, what has its length, and the root."""
    publisher = publisher_of(store, 12)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    store.objects.puts.clear()
    assert not publisher.publish(LEASE)
    assert store.objects.puts == []
    record(publisher, 4, [OK] * 4)
    assert publisher.publish(LEASE)
    assert store.objects.puts == [
        "time/c/0",
        "a/zarr.json",
        "b/zarr.json",
        "time/zarr.json",
        "zarr.json",
    ]


def test_an_old_reader_decodes_the_new_coordinate(store):
    """Whoever opened the shorter archive reads its labels after the extent has grown."""
    publisher = publisher_of(store, 12)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    old = xr.open_zarr(store.url, chunks=None, decode_times=False)
    record(publisher, 4, [OK] * 4)
    publisher.publish(LEASE)
    with xr.open_zarr(store.url) as new:
        assert new.sizes["time"] == 8
    np.testing.assert_array_equal(old["time"].values, np.arange(4))


def test_an_archive_begins_empty(store):
    """Without a settled position a store of length 0 is made, which opens."""
    publisher = publisher_of(store, 8)
    assert publisher.publish(LEASE)
    with xr.open_zarr(store.url) as ds:
        assert ds.sizes["time"] == 0
        assert set(ds.data_vars) == set(NAMES)
    assert publisher.extent.stops_because() == f"time {START}: its region is not done"


def test_the_extent_is_never_lowered(store):
    """Another run that published more, and records that got worse, take nothing away."""
    publisher = publisher_of(store, 12)
    record(publisher, 0, [OK] * 4)
    late = publisher_of(store, 12)
    record(publisher, 4, [OK] * 4)
    publisher.publish(LEASE)
    record(publisher, 4, [OK, ABSENT, OK, OK])
    store.tracker.delete(Region(0, 4))
    for each in (publisher, late):
        assert not each.publish(LEASE)
        assert each.archive.published == 8
    assert store.published_length("time") == 8


def test_regions_of_another_run_are_published_with_ours(store):
    """The records count, whoever wrote them."""
    ours, theirs = publisher_of(store, 12), publisher_of(store, 12)
    record(theirs, 4, [OK] * 4)
    assert ours.publish(LEASE)
    assert ours.archive.published == 0
    record(theirs, 0, [OK] * 4)
    assert ours.publish(LEASE)
    assert ours.archive.published == 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": ("a",)}, "b is not done"),
        ({"state": "failed", "error": "why"}, "a failed: why"),
        ({"fingerprint": {"array": "another"}}, "made of something else than now"),
    ],
    ids=["a variable lacks", "failed", "another template"],
)
def test_a_region_that_is_not_wholly_done_stops_the_extent(store, changes, reason):
    """So does one whose record does not fit the template of today; each time it is said why."""
    publisher = publisher_of(store, 12)
    for start in (0, 8):
        record(publisher, start, [OK] * 4)
    record(publisher, 4, [OK] * 4, **changes)
    assert publisher.publish(LEASE)
    assert publisher.archive.published == 4
    assert reason in publisher.extent.stops_because()
    record(publisher, 4, [OK] * 4)
    assert publisher.publish(LEASE)
    assert publisher.archive.published == 12
    assert publisher.extent.stops_because() is None


def test_an_author_may_trim_further_but_not_beyond(store):
    """update_template_with_results can shorten the archive, never pass an unsettled position."""

    class Shorter(TinyJob):
        def update_template_with_results(self, process_results):
            assert set(process_results) == set(NAMES)
            return self.template_ds.isel(time=slice(0, 3))

    class Longer(TinyJob):
        def update_template_with_results(self, process_results):
            return self.template_ds

    publisher = publisher_of(store, 8, job_class=Shorter)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    assert store.published_length("time") == 3
    publisher = publisher_of(store, 8, job_class=Longer)
    record(publisher, 4, [OK, OK, ABSENT, OK])
    publisher.publish(LEASE)
    assert store.published_length("time") == 6


def test_a_crash_between_any_two_puts_leaves_an_archive_that_opens(store):
    """Wherever a publication stops, a reader sees the old extent; run again, the new one."""
    publisher = publisher_of(store, 12)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    record(publisher, 4, [OK] * 4)
    real_put, objects = store.objects.put, store.objects

    class Killed(Exception):  # noqa: N818
        pass

    for survives in range(5):
        left = iter(range(survives))

        def put(key, content, left=left):
            if next(left, None) is None:
                raise Killed
            real_put(key, content)

        objects.put = put
        with pytest.raises(Killed):
            publisher_of(store, 12).publish(LEASE)
        with xr.open_zarr(store.url) as ds:
            assert list(ds.get_index("time")) == hours(4)
        restore(store, publisher)
    objects.put = real_put
    assert publisher_of(store, 12).publish(LEASE)
    with xr.open_zarr(store.url) as ds:
        assert list(ds.get_index("time")) == hours(8)


def restore(store, publisher):
    """Put the store back to four positions."""
    trimmed = publisher.archive.template_ds.isel(time=slice(0, 4))
    with publisher.archive.written(trimmed) as folder:
        for path in folder.rglob("*"):
            if path.is_file():
                key = path.relative_to(folder).as_posix()
                LocalObjects.put(store.objects, key, path.read_bytes())


def test_a_run_that_lost_its_lease_publishes_nothing(store):
    """Taken for dead, it puts no object."""
    publisher = publisher_of(store, 8)
    record(publisher, 0, [OK] * 4)
    with Lease(store.state, run="r", kind="backfill", positions=[(0, 8)]) as lease:
        store.state.delete("leases/r/claim.json")
        with pytest.raises(LeaseLost):
            publisher.publish(lease)
    assert store.objects.puts == []


def test_the_reason_names_the_file_that_is_waited_for(store):
    """stops_because gives the position, the file and its status."""
    publisher = publisher_of(store, 4)
    record(publisher, 0, [OK, ABSENT, OK, OK])
    publisher.publish(LEASE)
    assert publisher.extent.stops_because() == f"time {START + HOUR}: 1 not yet available"


@pytest.mark.parametrize(
    ("statuses", "names", "extent"),
    [([OK] * 4, NAMES, 4), ([OK, OK, ABSENT, OK], NAMES, 2), ([OK] * 4, NAMES[:1], 0)],
    ids=["whole", "a file is missing", "a variable is missing"],
)
def test_what_is_judged_at_once_is_what_would_be_judged_later(store, statuses, names, extent):
    """A region is published alike whether its record was judged as it was written or from disk."""
    publisher, afresh = publisher_of(store, 8), publisher_of(store, 8)
    written, prepared = record(publisher, 0, statuses, names)
    publisher.extent.judge(written, prepared)
    assert publisher.extent._judged == {
        0: (written, afresh.extent.state(store.tracker.read(Region(0, 4))))
    }
    publisher.publish(LEASE)
    assert publisher.archive.published == extent


def test_what_a_region_of_the_same_run_holds_back_is_no_news(store):
    """What is beyond the run's own gap waits for it; another run's gap may be closed by now."""

    def leased(*positions):
        return SimpleNamespace(claim=SimpleNamespace(positions=positions))

    publisher = publisher_of(store, 12)
    first, _ = record(publisher, 0, [OK] * 4)
    third, _ = record(publisher, 8, [OK] * 4)
    assert publisher.may_show_more(first, leased((0, 12)))
    assert not publisher.may_show_more(third, leased((0, 12)))
    assert publisher.may_show_more(third, leased((8, 12)))
    publisher.publish(LEASE)
    assert publisher.archive.published == 4
    assert not publisher.may_show_more(third, leased((0, 12)))
    assert publisher.may_show_more(first, leased((0, 12)))
    assert publisher.may_show_more(third, leased((0, 4), (8, 12)))
    second, _ = record(publisher, 4, [OK] * 4)
    assert publisher.may_show_more(second, leased((0, 12)))


def test_a_region_that_lacks_a_variable_is_no_news(store):
    """Publishing could not move the end of what readers see; with a replica it may be worth it."""
    publisher = publisher_of(store, 8)
    claim = SimpleNamespace(claim=SimpleNamespace(positions=((0, 8),)))
    partly, _ = record(publisher, 0, [OK] * 4, NAMES[:1])
    assert not publisher.may_show_more(partly, claim)
    whole, _ = record(publisher, 0, [OK] * 4)
    assert publisher.may_show_more(whole, claim)
    assert Publisher(publisher.archive, [store]).may_show_more(partly, claim)


def test_all_objects_are_looked_at_before_one_is_put(store, monkeypatch):
    """A distant store is waited for once, not once a step."""
    events = []
    change, put = store.objects.change, store.objects.put

    def noted(what, function):
        def call(*args):
            events.append(what)
            return function(*args)

        return call

    monkeypatch.setattr(store.objects, "change", noted("look", change))
    monkeypatch.setattr(store.objects, "put", noted("put", put))
    publisher = publisher_of(store, 4)
    record(publisher, 0, [OK] * 4)
    assert publisher.publish(LEASE)
    assert events == sorted(events)
    assert {"look", "put"} == set(events)


@pytest.mark.parametrize(("at_once", "read"), [(1, [0]), (2, [0, 4]), (16, [0, 4, 8])])
def test_records_are_read_as_many_at_once_as_the_store_is_worth(store, monkeypatch, at_once, read):
    """A region that holds back all others does not make each publication read them all."""
    publisher = publisher_of(store, 12)
    for start in (0, 4, 8):
        publisher.extent.judge(*record(publisher, start, [ABSENT] * 4 if start == 0 else [OK] * 4))
    monkeypatch.setattr(store.tracker.objects, "at_once", at_once)
    reads = []
    read_one = store.tracker.read

    def noted(region):
        reads.append(region.start)
        return read_one(region)

    monkeypatch.setattr(store.tracker, "read", noted)
    publisher.publish(LEASE)
    assert publisher.archive.published == 0
    assert sorted(reads) == read


def test_what_another_run_wrote_since_is_judged_again(store):
    """What is published is what the records say by then, not what this run made of them."""
    publisher = publisher_of(store, 8)
    publisher.extent.judge(*record(publisher, 0, [OK] * 4))
    record(publisher, 0, [OK, OK, ABSENT, ABSENT])
    publisher.publish(LEASE)
    assert publisher.archive.published == 2


@pytest.mark.parametrize("name", dataset_names())
def test_what_grows_is_written_as_xarray_writes_all(name, tmp_path, monkeypatch):
    """Object by object: an archive that an older release made sees nothing change."""
    dataset = find_dataset(name)(tmp_path / "a")
    with_labels(dataset.declared)  # nobody is asked for a listing
    archive = dataset.archive(as_declared=True)
    dim = archive.append_dim
    assert archive.metadata
    by_xarray = []

    speaks = {share.name for share in shares_of(archive.config.coords)}

    def watched(ds, folder, of_data):
        by_xarray.append({name: variable.dims for name, variable in ds.variables.items()})
        write_by_xarray(ds, folder, of_data)

    monkeypatch.setattr("gridmill.archive.metadata.write_by_xarray", watched)
    for length in (0, 1, len(archive.index)):
        ds = archive.template_ds.isel({dim: slice(0, length)})
        with archive.written(ds) as folder:
            ours = objects_in(folder)
        write_by_xarray(ds, tmp_path / f"{length}", speaks)
        write_current(ds, dim, archive.config.dataset_attributes, tmp_path / f"{length}")
        assert ours == objects_in(tmp_path / f"{length}")
    coords = {n: c.dims for n, c in archive.template_ds.coords.items() if dim in c.dims}
    assert by_xarray == [coords] * 3


def test_a_template_that_another_run_made_longer_is_written_whole(store, tmp_path):
    """Not with the coordinates that it had when the run began."""
    publisher, other = publisher_of(store, 4), publisher_of(store, 8)
    assert publisher.archive.metadata
    for start in (0, 4):
        record(other, start, [OK] * 4)
    other.publish(LEASE)
    publisher.publish(LEASE)
    assert len(publisher.archive.index) == 8
    with publisher.archive.written(publisher.archive.template_ds) as folder:
        ours = objects_in(folder)
    write_by_xarray(publisher.archive.template_ds, tmp_path / "by-xarray")
    assert ours == objects_in(tmp_path / "by-xarray")


def recompressed(ds):
    """Give a dataset with one variable in other chunks."""
    ds = ds.copy()
    ds["a"].encoding = {**ds["a"].encoding, "chunks": (1, 2, 3)}
    return ds


CHANGES = {
    "an attribute": lambda ds: ds.assign_attrs(version="2"),
    "a variable's attribute": lambda ds: ds.assign(a=ds["a"].assign_attrs(note=np.arange(2))),
    "an encoding": recompressed,
    "a coordinate": lambda ds: ds.assign_coords(x=ds["x"] + 1),
    "one coordinate more": lambda ds: ds.assign_coords(depth=2.0),
    "dims": lambda ds: ds.assign(a=ds["a"].variable.transpose("time", "x", "y")),
    "a coordinate that is one no more": lambda ds: ds.reset_coords("height"),
    "one variable less": lambda ds: ds.drop_vars("b"),
}


class WithHeight(TinyTemplate):
    """With a coordinate that is no dim's."""

    coords = (*TinyTemplate.coords, Coordinate(name="height", dims=()))

    def derive_coordinates(self, ds):
        return {"height": ((), 2.0)}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_an_author_changed_of_the_template_is_written(change, store, tmp_path):
    """Not what was declared."""
    publisher = publisher_of(store, 8, WithHeight())
    ds = change(publisher.archive.template_ds.isel(time=slice(0, 4)))
    with publisher.archive.written(ds) as folder:
        ours = objects_in(folder)
    with publisher.archive.written(publisher.archive.template_ds.isel(time=slice(0, 4))) as folder:
        assert ours != objects_in(folder)
    write_by_xarray(ds, tmp_path / "by-xarray")
    assert ours == objects_in(tmp_path / "by-xarray")


def objects_in(folder):
    """Give the objects of a local store."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Complete(TinyTemplate):
    """Says how much of each position arrived."""

    coords = (*TinyTemplate.coords, Completeness(dims=("time",)))


class Trims(TinyJob):
    """Leaves less of the template than readers see."""

    def update_template_with_results(self, process_results):
        return self.template_ds.isel(time=slice(0, 2))


def test_an_author_who_trims_below_what_is_published_takes_nothing_from_readers(store):
    """What is news is shown all the same, here that nothing is known to have arrived."""
    lease = LEASE
    first = publisher_of(store, 8, Complete())
    record(first, 0, [OK, OK, OK, ABSENT])
    first.publish(lease)
    second = publisher_of(store, 8, Complete(), Trims)
    second.completeness.announce(Region(0, 4), "r")
    record(second, 0, [OK] * 4)
    second.publish(lease)
    with store.open_dataset() as ds:
        assert ds.sizes["time"] == 3
        assert ds["completeness"].values.tolist() == [0.0] * 3


class Kinds(TinyTemplate):
    """With a number for each position, that a hook gives."""

    coords = (
        *TinyTemplate.coords,
        Coordinate(name="kind", dims=("time",), dtype="int64", chunks=(1,)),
    )

    def derive_coordinates(self, ds):
        return {"kind": ("time", np.zeros(ds.sizes["time"], "int64"))}


class Counts(TinyJob):
    """Says of all positions how many were processed."""

    def update_template_with_results(self, process_results):
        ds = super().update_template_with_results(process_results)
        many = np.full(ds.sizes["time"], ds.sizes["time"])
        return ds.assign_coords(kind=ds["kind"].copy(data=many))


def test_what_an_author_changes_of_published_positions_is_shown(store):
    """The template's own coordinates are not put again; what is not the template's is."""
    publisher = publisher_of(store, 8, Kinds(), Counts)
    record(publisher, 0, [OK] * 4)
    publisher.publish(LEASE)
    record(publisher, 4, [OK, OK, OK, ABSENT])
    publisher.publish(LEASE)
    with store.open_dataset(chunks=None) as ds:
        assert ds["kind"].values.tolist() == [7] * 7
