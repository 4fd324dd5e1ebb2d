"""What runs do to an archive, end to end on a cluster inside this process."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import cftime
import dask
import numpy as np
import pytest
import xarray as xr

import gridmill.runs.coordinator
from clusters import local_client, one_worker
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.region import Region
from gridmill.model.variables import Coordinate, Encoding
from gridmill.planning.source_files.asking import ASKED_AT_ONCE, ask_files
from gridmill.runs.driver import Driver
from gridmill.runs.in_flight import CHAINS_PER_THREAD, REGIONS_PER_WORKER
from gridmill.runs.workplaces import pace
from gridmill.runs.workplaces.workplace import threads_per_worker
from gridmill.sources.fetch.credentials.access import NO_ACCESS
from gridmill.sources.fetch.download import DownloadSettings, FileIdentity
from gridmill.stores.state.claims import STATIC, current_claims
from gridmill.stores.state.leases import Lease, LeaseHeld
from gridmill.stores.structure import StructureMismatch
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import Status
from gridmill.validation import Complete, MissingValues
from tiny import (
    HOUR,
    START,
    Provider,
    Tiny,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    time_coordinate,
    tiny_var,
    truth,
    until,
    url_of,
    values_at,
)

client = one_worker()


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path / "provider")


def make(tmp_path: Path, provider: Provider, dataset_class: type = Tiny, source: str = ""):
    return dataset_class(tmp_path / "a.zarr", source_base=source or str(provider.root))


def stored(tmp_path: Path, name: str = "a") -> np.ndarray:
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        return ds[name].values


def records(dataset):
    return {record.start: record for record in dataset.store.progress()}


# -- failures ---------------------------------------------------------------------------------


class FailsForB(TinyJob):
    """A code error in one variable, from the second region on."""

    def transform_values_inplace(self, values, data_var):
        if data_var.name == "b" and self.region.start >= 4:
            raise KeyError("no such thing")
        super().transform_values_inplace(values, data_var)


def test_a_variable_that_fails_fails_alone(client, provider, tmp_path):
    """Its cause is reported and recorded, the other variable is done, the extent stops before."""
    provider.publish(hours(12))
    events = []
    dataset = make(tmp_path, provider, dataset_of(job=FailsForB))
    report = dataset.backfill(until(12), client=client, listener=events.append)
    assert not report.succeeded
    assert sorted((f.region, f.variable) for f in report.failures) == [
        (str(START + 4 * HOUR), "b"),
        (str(START + 8 * HOUR), "b"),
    ]
    assert all("KeyError" in f.cause and "no such thing" in f.cause for f in report.failures)
    assert report.positions_after == 4
    assert "b failed: KeyError" in str(report.stops_because)
    assert (report.regions_done, report.regions_failed) == (1, 2)
    assert {start: r.variables["a"].state for start, r in records(dataset).items()} == {
        0: "done",
        4: "done",
        8: "done",
    }
    assert sum(event.kind == "failed" for event in events) == 2
    repaired = make(tmp_path, provider).backfill(until(12), client=client)
    assert (repaired.variables_done, repaired.variables_skipped) == (2, 4)
    assert repaired.positions_after == 12
    for name in "ab":
        np.testing.assert_array_equal(stored(tmp_path, name), truth(hours(12), name))


class NotDefined(TinyJob):
    read_data = RegionJob.read_data


def test_an_author_who_forgot_a_hook_is_told(client, provider, tmp_path):
    """A hook that is not defined is an error in code, never an unreadable file."""
    provider.publish(hours(4))
    report = make(tmp_path, provider, dataset_of(job=NotDefined)).backfill(until(4), client=client)
    assert "must define read_data()" in report.failures[0].cause
    assert report.positions_after == 0


def test_a_file_that_cannot_be_read_is_a_gap_once_it_is_overdue(client, provider, tmp_path):
    """It stops the extent until it is overdue; then it is a gap, and a new one is taken."""
    provider.publish(hours(8))
    provider.break_file(hours(8)[2], b"no array")
    dataset = make(tmp_path, provider, dataset_of(job=Expected))
    events = []
    first = dataset.backfill(until(8), client=client, now=until(4), listener=events.append)
    assert first.positions_after == 2
    assert "read failed for a" in str(first.stops_because)
    told = [(event.region, event.detail) for event in events if event.kind == "file"]
    url = url_of(hours(8)[2])
    assert told == [(str(START), f"read failed for {name}: {url}") for name in "ab"]
    assert first.files["read failed"] == 2
    second = dataset.backfill(until(8), client=client, now=until(8))
    assert (second.positions_after, second.new_gaps) == (8, 1)
    assert np.isnan(stored(tmp_path)[2]).all()
    third = dataset.backfill(until(8), client=client, now=until(8))
    assert third.variables_done == 0
    provider.publish(hours(1, first=2), version=1)
    dataset.reformat_operational_update(now=until(8), client=client)
    np.testing.assert_array_equal(stored(tmp_path)[2], values_at(hours(8)[2], 1)[0])


def test_a_file_that_cannot_be_read_is_tried_by_every_run_until_it_is_overdue(
    client, provider, tmp_path
):
    """Whether or not the provider put other bytes there: how often settles nothing."""
    provider.publish(hours(4))
    dataset = make(tmp_path, provider)
    for number in (1, 2, 2, 2):
        provider.break_file(hours(4)[2], b"no array" * number)
        assert dataset.backfill(until(4), client=client).positions_after == 2


# -- gaps -------------------------------------------------------------------------------------


class Expected(TinyJob):
    publication_delay = timedelta(hours=3)


def test_a_file_that_is_overdue_is_a_gap(client, provider, tmp_path):
    """An absent file holds the extent back until the dataset expects it, on later runs too."""
    provider.publish([label for label in hours(8) if label != hours(8)[5]])
    dataset = make(tmp_path, provider, dataset_of(job=Expected))
    early = dataset.backfill(until(8), client=client, now=until(7))
    assert early.positions_after == 5
    assert "not yet available" in str(early.stops_because)
    late = dataset.reformat_operational_update(client=client, now=until(8))
    assert late.variables_done == 0
    assert late.positions_after == 8
    assert late.stops_because is None
    assert np.isnan(stored(tmp_path)[5]).all()
    np.testing.assert_array_equal(stored(tmp_path)[6:], truth(hours(2, first=6)))


def test_the_extent_ends_in_data(client, provider, tmp_path):
    """Settled gaps at the end stay invisible until something comes after them."""
    provider.publish(hours(6))
    dataset = make(tmp_path, provider, dataset_of(job=Expected))
    assert dataset.backfill(until(12), client=client, now=until(20)).positions_after == 6
    provider.publish(hours(1, first=11))
    assert dataset.reformat_operational_update(client=client, now=until(20)).positions_after == 12


def test_only_a_gap_s_file_is_asked_for(client, provider, tmp_path):
    """Inside the lookback an update asks for what is missing, and fetches its region if it came."""

    class NeverRevised(Expected):
        asks_for_revisions = False

    provider.publish(hours(12))
    missing = hours(12)[1]
    with ArchiveServer(provider.root) as server:
        server.release_all()
        server.hold(f"*{missing:%Y%m%dT%H}.npy")
        dataset = make(tmp_path, provider, dataset_of(job=NeverRevised), server.url)
        assert dataset.backfill(until(12), client=client, now=until(30)).positions_after == 12
        before = len(server.requests)
        idle = dataset.reformat_operational_update(client=client, now=until(12))
        asked = server.requests[before:]
        assert {request.path for request in asked} == {
            provider.path(missing).relative_to(provider.root).as_posix()
        }
        assert len(asked) == 1
        assert (idle.variables_done, idle.published_anything) == (0, False)
        server.release_all()
        before = len(server.requests)
        healed = dataset.reformat_operational_update(client=client, now=until(12))
        assert healed.variables_done == 2
        assert len(server.requests) - before == 1 + 4
    np.testing.assert_array_equal(stored(tmp_path), truth(hours(12)))


def test_an_update_finds_what_was_revised(client, provider, tmp_path):
    """Inside the lookback it asks for every file, fetches a region with another version, once."""
    provider.publish(hours(12))
    with ArchiveServer(provider.root) as server:
        server.release_all()
        dataset = make(tmp_path, provider, dataset_of(job=Expected), server.url)
        dataset.backfill(until(12), client=client, now=until(30))
        provider.publish(hours(1, first=5), version=1)
        assert dataset.plan(now=until(12)).summary()["chains"] == 0
        report = dataset.reformat_operational_update(client=client, now=until(12))
        assert (report.variables_done, report.regions_skipped) == (2, 2)
        before = len(server.requests)
        idle = dataset.reformat_operational_update(client=client, now=until(12))
        assert idle.variables_done == 0
        assert [request.nbytes for request in server.requests[before:]] == [1] * 12
    expected = truth(hours(12))
    expected[5] = truth(hours(12), version=1)[5]
    np.testing.assert_array_equal(stored(tmp_path), expected)


def test_published_values_stay_where_sources_fail(client, provider, tmp_path):
    """A shard that is rebuilt without a file keeps what was published, and takes what came."""
    provider.publish(hours(6))
    dataset = make(tmp_path, provider, dataset_of(job=Expected))
    dataset.backfill(until(6), client=client)
    provider.publish(hours(2, first=6))
    provider.withdraw(hours(8)[4])
    provider.break_file(hours(8)[5], b"no array")
    report = dataset.reformat_operational_update(client=client, now=until(8))
    np.testing.assert_array_equal(stored(tmp_path)[:6], truth(hours(6)))
    assert report.positions_after >= 6
    provider.publish(hours(2, first=4), version=1)
    report = dataset.reformat_operational_update(client=client, now=until(8))
    assert report.positions_after == 8
    expected = np.concatenate(
        [truth(hours(4)), truth(hours(2, first=4), version=1), truth(hours(2, first=6))]
    )
    np.testing.assert_array_equal(stored(tmp_path), expected)


def test_what_another_run_publishes_just_before_the_lease_stays(
    client, provider, tmp_path, monkeypatch
):
    """The store is looked at under the lease: a value published since is a published value."""
    provider.publish(hours(8))
    first_time = iter([True])

    class Late(gridmill.runs.coordinator.Lease):
        def __enter__(self):
            if next(first_time, False):
                make(tmp_path, provider).backfill(until(6), client=client)
                provider.withdraw(hours(6)[5])
            return super().__enter__()

    monkeypatch.setattr(gridmill.runs.coordinator, "Lease", Late)
    make(tmp_path, provider).backfill(until(8), client=client)
    np.testing.assert_array_equal(stored(tmp_path)[:6], truth(hours(6)))


class AnyFile(TinyJob):
    publish_when = "any"


def test_a_dataset_may_publish_what_there_is(client, provider, tmp_path):
    """With publish_when "any" the extent goes on to the last position with data."""

    class TwoFiles(AnyFile):
        def source_groups(self, data_vars):
            return [[var] for var in data_vars]

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
            if data_var_group[0].name == "a":
                return coords
            return [Late(label=coord.label) for coord in coords]

    class Late(TinyCoord):
        def get_url(self):
            return f"late/{super().get_url()}"

    provider.publish(hours(6))
    dataset = make(tmp_path, provider, dataset_of(job=TwoFiles))
    report = dataset.backfill(until(8), client=client)
    assert report.positions_after == 6
    assert "not yet available" in str(report.stops_because)


def test_a_variable_that_ended_does_not_stop_the_archive(client, provider, tmp_path):
    """From valid_until on neither its absent files nor its failures count."""

    class Ends(TinyTemplate):
        data_vars = (tiny_var("a"), tiny_var("b", 1, valid_until=until(6)))

    class Separate(TinyJob):
        def source_groups(self, data_vars):
            return [[var] for var in data_vars]

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
            ended = data_var_group[0].name == "b"
            return [
                Moved(label=c.label) if ended and c.label >= hours(7)[-1] else c for c in coords
            ]

        def read_data(self, coord, data_var):
            if data_var.name == "b" and coord.label >= hours(9)[-1]:
                raise KeyError("gone")
            return super().read_data(coord, data_var)

    class Moved(TinyCoord):
        def get_url(self):
            return f"moved/{self.label:%H}.npy"

    provider.publish(hours(12))
    (provider.root / "moved").mkdir()
    np.save(provider.root / "moved" / "08.npy", values_at(0))
    dataset = make(tmp_path, provider, dataset_of(template=Ends, job=Separate))
    report = dataset.backfill(until(12), client=client)
    assert report.positions_after == 12
    np.testing.assert_array_equal(stored(tmp_path), truth(hours(12)))
    np.testing.assert_array_equal(stored(tmp_path, "b")[:6], truth(hours(6), "b"))
    assert np.isnan(stored(tmp_path, "b")[6:8]).all()


@pytest.mark.parametrize("together", [True, False])
def test_nothing_is_asked_of_a_variable_before_it_begins(client, provider, tmp_path, together):
    """Before valid_from a variable is not read, nor missing; a group of its own fetches nothing."""

    class Begins(TinyTemplate):
        data_vars = (tiny_var("a"), tiny_var("b", 1, valid_from=until(6)))

    class Separate(TinyJob):
        publication_delay = timedelta(0)

        def source_groups(self, data_vars):
            return [data_vars] if together else [[var] for var in data_vars]

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
            own = [var.name for var in data_var_group] == ["b"]
            return [Own(label=coord.label) for coord in coords] if own else coords

        def read_data(self, coord, data_var):
            if data_var.name == "b" and coord.label < hours(7)[-1]:
                raise KeyError("not there yet")
            return super().read_data(coord, data_var)

    class Own(TinyCoord):
        def get_url(self):
            return f"own/{self.label:%H}.npy"

    provider.publish(hours(12))
    (provider.root / "own").mkdir()
    for label in hours(12)[6:]:
        np.save(provider.root / Own(label=label).get_url(), values_at(label))
    dataset = make(tmp_path, provider, dataset_of(template=Begins, job=Separate))
    planned = sum(prepared.n_files for prepared in dataset.plan(until(12)).prepared())
    assert planned == (12 if together else 12 + 6)

    report = dataset.backfill(until(12), client=client, now=until(13))

    assert (report.succeeded, report.positions_after) == (True, 12), report.problems
    assert not report.new_gaps
    np.testing.assert_array_equal(stored(tmp_path), truth(hours(12)))
    assert np.isnan(stored(tmp_path, "b")[:6]).all()
    np.testing.assert_array_equal(stored(tmp_path, "b")[6:], truth(hours(12), "b")[6:])
    assert not dataset.status(now=until(13)).gaps
    found = dataset.validate([MissingValues(), Complete()], now=until(13)).found_by
    assert not any(found.values()), found
    assert not any(prepared.n_files for prepared in dataset.plan(until(12)).prepared())


def test_what_is_done_is_published_while_a_later_region_takes_long(client, provider, tmp_path):
    """A region that ends soon after a publication does not wait for the next one to end."""
    gate = tmp_path / "gate"

    class Waits(TinyJob):
        def download_file(self, coord):
            deadline = time.monotonic() + 20
            while coord.label == START + 8 * HOUR and not gate.exists():
                if time.monotonic() > deadline:
                    raise TimeoutError("the regions before were not published meanwhile")
                time.sleep(0.02)
            return super().download_file(coord)

    def open_gate(event) -> None:
        if event.kind == "published" and event.detail == str(START + 7 * HOUR):
            gate.touch()

    provider.publish(hours(12))
    dataset = make(tmp_path, provider, dataset_of(job=Waits))
    report = dataset.backfill(until(12), client=client, listener=open_gate)
    assert report.succeeded
    assert report.positions_after == 12
    assert not report.problems


# -- resume -----------------------------------------------------------------------------------


class Interrupts:
    """Raises as Ctrl-C would, at the n-th event of a kind."""

    def __init__(self, kind: str, detail: str, after: int = 1) -> None:
        self.kind, self.detail, self.left = kind, detail, after

    def __call__(self, event) -> None:
        if event.kind == self.kind and event.detail.startswith(self.detail):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "detail"), [("stage", "upload"), ("region", ""), ("published", ""), ("submitted", "")]
)
def test_an_interrupted_run_goes_on_where_it_was(client, provider, tmp_path, kind, detail):
    """What was done is recorded variable by variable; a rerun redoes no variable of it."""
    provider.publish(hours(12))
    dataset = make(tmp_path, provider)
    with pytest.raises(KeyboardInterrupt):
        dataset.backfill(
            until(12), client=client, listener=Interrupts(kind, detail, 2 if kind == "stage" else 1)
        )
    done = {(r.start, name) for r in dataset.store.progress() for name in r.variables}
    if kind == "stage":
        assert done
    assert dataset.status().running == ()
    assert dataset.plan(until(12)).summary()["chains"] == 6 - len(done)
    report = dataset.backfill(until(12), client=client)
    assert report.succeeded
    assert report.variables_done == 6 - len(done)
    assert report.positions_after == 12
    for name in "ab":
        np.testing.assert_array_equal(stored(tmp_path, name), truth(hours(12), name))


def test_a_region_that_is_done_again_has_no_record_meanwhile(client, provider, tmp_path):
    """What a record said of objects is withdrawn before the first of them is replaced."""
    provider.publish(hours(6))
    dataset = make(tmp_path, provider)
    dataset.backfill(until(6), client=client)
    provider.publish(hours(2, first=6))
    known = []

    def look(event) -> None:
        if event.kind == "submitted":
            known.append(dataset.store.tracker.read(Region(4, 8)).variables)

    dataset.reformat_operational_update(client=client, now=until(8), listener=look)
    assert known == [{}]
    assert set(records(dataset)[4].variables) == {"a", "b"}


def test_objects_that_are_gone_are_made_again(client, provider, tmp_path):
    """A record whose object the store lost is not believed."""
    provider.publish(hours(8))
    dataset = make(tmp_path, provider)
    dataset.backfill(until(8), client=client)
    (tmp_path / "a.zarr" / "b" / "c" / "1" / "0" / "0").unlink()
    report = dataset.backfill(until(8), client=client)
    assert (report.variables_done, report.variables_skipped) == (1, 3)
    np.testing.assert_array_equal(stored(tmp_path, "b"), truth(hours(8), "b"))


def test_a_record_of_another_template_is_not_published(client, provider, tmp_path):
    """Regions that an earlier declaration filled wait until they are done again."""
    provider.publish(hours(8))

    class Rounded(TinyTemplate):
        data_vars = tuple(
            replace(
                v,
                encoding=replace(
                    v.encoding,
                    compressors=(
                        {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
                    ),
                ),
            )
            for v in TinyTemplate.data_vars
        )

    dataset = make(tmp_path, provider, dataset_of(template=Rounded))
    with client.as_current():
        dataset.plan(until(8)).jobs[1].process()
    other = make(tmp_path, provider)
    report = other.backfill(until(8), end=until(4), client=client)
    assert report.positions_after == 4
    report = other.backfill(until(8), client=client)
    assert report.positions_after == 8
    np.testing.assert_array_equal(stored(tmp_path), truth(hours(8)))


# -- filters and declarations -----------------------------------------------------------------


def test_a_subset_of_the_variables_does_not_advance_the_extent(client, provider, tmp_path):
    """Positions are published once every declared variable is there."""
    provider.publish(hours(8))
    dataset = make(tmp_path, provider)
    dataset.backfill(until(4), client=client)
    report = dataset.backfill(until(8), variables=["a"], client=client)
    assert (report.positions_after, report.variables_done) == (4, 1)
    report = dataset.backfill(until(8), variables=["b"], client=client)
    assert report.positions_after == 8
    np.testing.assert_array_equal(stored(tmp_path), truth(hours(8)))


def test_what_a_new_archive_was_declared_to_be_is_inherited(client, provider, tmp_path):
    """Start and variables given at creation hold for later backfills and updates."""
    provider.publish(hours(12))
    dataset = make(tmp_path, provider)
    dataset.backfill(until(6), start=until(2), variables=["b"], client=client)
    again = make(tmp_path, provider)
    again.reformat_operational_update(client=client, now=until(12))
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        assert list(ds.data_vars) == ["b"]
        assert list(ds.get_index("time")) == hours(10, first=2)
        np.testing.assert_array_equal(ds["b"].values, truth(hours(10, first=2), "b"))
    with pytest.raises(ValueError, match="unknown variables"):
        again.backfill(until(12), variables=["c"], client=client)


def test_two_runs_that_make_one_archive_differently(client, provider, tmp_path, monkeypatch):
    """The second to declare it is refused, whatever it had read before; nothing is written."""
    provider.publish(hours(4))
    first, second = make(tmp_path, provider), make(tmp_path, provider)
    check, asked = second.store.check_writable, []

    def first_is_faster():
        check()
        asked.append(None)
        if len(asked) == 2:  # the last thing before it is declared
            first.backfill(until(4), variables=["a"], client=client)

    monkeypatch.setattr(second.store, "check_writable", first_is_faster)
    with pytest.raises(ValueError, match="another run made"):
        second.backfill(until(4), client=client)
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        assert list(ds.data_vars) == ["a"]
    assert not (tmp_path / "a.zarr" / "b").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"until": until(0)},
        {"until": "soon"},
        {"until": until(4), "start": "2020-01-01T00:30"},
        {"until": until(4), "start": "2019-12-31"},
        {"until": until(4), "start": until(2), "end": until(2)},
        {"until": until(4), "start": until(2), "end": "2020-01-01T02:30"},
        {"until": until(4), "variables": ["nope"]},
    ],
)
def test_wrong_inputs_leave_no_trace(client, provider, tmp_path, wrong):
    """A new archive is not declared, an existing one not touched, by wrong arguments."""
    provider.publish(hours(4))
    dataset = make(tmp_path, provider)
    arguments = {key: value for key, value in wrong.items() if key != "until"}
    for _ in range(2):
        before = snapshot(tmp_path)
        with pytest.raises(ValueError):  # noqa: PT011
            dataset.backfill(wrong["until"], client=client, **arguments)
        assert snapshot(tmp_path) == before
        assert dataset.backfill(until(4), client=client).positions_after == 4


def test_another_structure_leaves_no_trace(client, provider, tmp_path):
    """A template that differs is refused with every difference, and the archive stays."""
    provider.publish(hours(4))
    make(tmp_path, provider).backfill(until(4), client=client)

    class Other(TinyTemplate):
        dataset_attributes = {**TinyTemplate.dataset_attributes, "title": "Other"}

        def dimension_coordinates(self):
            return {**super().dimension_coordinates(), "y": np.array([0.0, 1.5])}

    class Finer(TinyTemplate):
        def dimension_coordinates(self):
            return {**super().dimension_coordinates(), "y": np.array([0.0, 1.5])}

    before = snapshot(tmp_path / "a.zarr")
    for template in (Other, Finer):
        with pytest.raises(StructureMismatch, match="coordinate y"):
            make(tmp_path, provider, dataset_of(template=template)).backfill(
                until(8), client=client
            )
    assert snapshot(tmp_path / "a.zarr") == before


def test_a_folder_of_another_program_is_refused(client, provider, tmp_path):
    """A store that gridmill did not make is one clear error, for backfills and updates."""
    (tmp_path / "a.zarr").mkdir()
    root = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(root))
    dataset = make(tmp_path, provider)
    for run in (
        lambda: dataset.backfill(until(4), client=client),
        lambda: dataset.reformat_operational_update(client=client, now=until(4)),
    ):
        with pytest.raises(StructureMismatch, match="no archive that gridmill made"):
            run()


# -- kinds of datasets ------------------------------------------------------------------------


class WithOrography(TinyTemplate):
    data_vars = (
        *TinyTemplate.data_vars,
        tiny_var("z", 2, dims=("y", "x"), encoding=Encoding(chunks=(2, 3))),
    )


def test_static_variables_are_written_once_and_block_what_they_lack(client, provider, tmp_path):
    """Nothing is published before they are there, and later runs leave them alone."""
    provider.publish(hours(8))
    dataset = make(tmp_path, provider, dataset_of(template=WithOrography, job=StaticJob))
    report = dataset.backfill(until(4), client=client)
    assert report.positions_after == 0
    assert report.stops_because
    np.save(provider.root / "static.npy", values_at("static"))
    report = dataset.backfill(until(4), client=client)
    assert (report.positions_after, report.variables_done) == (4, 1)
    report = dataset.reformat_operational_update(client=client, now=until(8))
    assert (report.positions_after, report.variables_done) == (8, 2)
    np.testing.assert_array_equal(stored(tmp_path, "z"), values_at("static")[2])


def test_of_two_runs_that_begin_at_one_moment_one_leaves_the_static_variables(
    client, provider, tmp_path, monkeypatch
):
    """Both look before either has claimed; the one that claims second takes what else it has."""
    provider.publish(hours(8))
    dataset = make(tmp_path, provider, dataset_of(template=WithOrography, job=StaticJob))
    other = Lease(dataset.store.state, run="other", kind="backfill", positions=[STATIC, (4, 8)])
    looks = []

    def first_look_is_early(objects):
        looks.append(current_claims(objects))
        return looks[-1] if len(looks) > 1 else []

    monkeypatch.setattr(gridmill.runs.coordinator, "current_claims", first_look_is_early)
    with other:
        report = dataset.backfill(until(4), client=client)
    assert len(looks) == 2
    assert (report.positions_after, report.variables_done) == (0, 2)
    assert dataset.store.tracker.read(Region(0, 0)) is None
    monkeypatch.undo()
    np.save(provider.root / "static.npy", values_at("static"))
    report = dataset.backfill(until(8), client=client)
    assert (report.positions_after, report.variables_done) == (8, 3)


def test_a_run_whose_regions_are_held_is_refused_also_beside_static_variables(
    client, provider, tmp_path, monkeypatch
):
    """To leave the static variables to the other would not help."""
    dataset = make(tmp_path, provider, dataset_of(template=WithOrography, job=StaticJob))
    monkeypatch.setattr(gridmill.runs.coordinator, "current_claims", lambda objects: [])
    with (
        Lease(dataset.store.state, run="other", kind="backfill", positions=[STATIC, (0, 4)]),
        pytest.raises(LeaseHeld, match="other"),
    ):
        dataset.backfill(until(4), client=client)


class StaticCoord(SourceFileCoord):
    def get_url(self):
        return "static.npy"

    def out_loc(self):
        return {}


class StaticJob(TinyJob):
    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        if self.is_static:
            return [StaticCoord()]
        return super().generate_source_file_coords(processing_region_ds, data_var_group)


def test_a_variable_without_source_files_does_not_block(client, provider, tmp_path):
    """It is recorded as absent, no object is written, and readers see its fill value."""

    class NoFilesForB(TinyJob):
        def source_groups(self, data_vars):
            return [[var] for var in data_vars]

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            if data_var_group[0].name == "b":
                return []
            return super().generate_source_file_coords(processing_region_ds, data_var_group)

    provider.publish(hours(4))
    dataset = make(tmp_path, provider, dataset_of(job=NoFilesForB))
    assert dataset.backfill(until(4), client=client).positions_after == 4
    assert records(dataset)[0].variables["b"].state == "absent"
    assert not (tmp_path / "a.zarr" / "b" / "c").exists()
    assert np.isnan(stored(tmp_path, "b")).all()
    assert dataset.backfill(until(4), client=client).variables_done == 0


class Days360(TinyTemplate):
    calendar = "360_day"
    append_dim_frequency = "D"
    append_dim_start = "2020-02-28"
    coords = (
        time_coordinate(units="days since 2020-01-01", calendar="360_day"),
        *TinyTemplate.coords[1:],
    )


class ExpectedIn360Days(TinyJob):
    publication_delay = timedelta(days=2)


def test_archives_on_a_cftime_calendar(client, provider, tmp_path):
    """Backfill, gaps and updates work on a 360-day calendar, over the 30th of February."""

    def days(n):
        first = cftime.datetime(2020, 2, 28, calendar="360_day")
        return [first + timedelta(days=i) for i in range(n)]

    labels = days(10)
    assert (labels[2].month, labels[2].day) == (2, 30)
    provider.publish(labels)
    provider.withdraw(labels[2])
    dataset = make(tmp_path, provider, dataset_of(template=Days360, job=ExpectedIn360Days))
    report = dataset.backfill("2020-03-03", client=client, now="2020-03-01")
    assert report.positions_after == 2
    assert "2020-02-30" in str(report.stops_because)
    report = dataset.reformat_operational_update(client=client, now="2020-03-08")
    assert report.positions_after == 10
    provider.publish(labels[2:3])
    dataset.reformat_operational_update(client=client, now="2020-03-08")
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        assert list(ds.get_index("time")) == labels
        np.testing.assert_array_equal(ds["a"].values, truth(labels))
    # On every day of the real calendar the present has a label.
    assert dataset.backfill("2020-03-08", client=client).regions_skipped == 3


class Transformed(TinyJob):
    """Adds a coordinate along the append dim and one across; differences over a margin."""

    def get_processing_region(self):
        return slice(self.region.start - 1, self.region.stop)

    def apply_data_transformations(self, data_array, data_var):
        hour = (data_array["time"] - np.datetime64(START)) / np.timedelta64(1, "h")
        assert data_array.dims == data_var.dims
        data_array.values[...] = data_array.values + (hour + data_array["x"] * 100).values[:, None]
        super().apply_data_transformations(data_array, data_var)


def test_transformations_get_the_right_coordinates(client, provider, tmp_path):
    """Each region's DataArray has its own labels, margin included, and the static coordinates."""
    provider.publish(hours(10))
    dataset = make(tmp_path, provider, dataset_of(job=Transformed))
    assert dataset.backfill(until(10), client=client).positions_after == 10
    added = np.arange(10)[:, None, None] + np.arange(3) * 100
    np.testing.assert_allclose(stored(tmp_path), truth(hours(10)) + added, rtol=1e-6)


def test_coordinates_may_be_stored_smaller_than_declared(client, provider, tmp_path):
    """A float32 coordinate is no difference on the next run, nor is a lead time."""

    class Small(TinyTemplate):
        coords = (
            time_coordinate(),
            Coordinate(name="y", dtype="float32"),
            TinyTemplate.coords[2],
            Coordinate(name="lead_time", dtype="int64", units="hours"),
        )

        def dimension_coordinates(self):
            lead_time = np.array([0, 6], "timedelta64[h]").astype("timedelta64[ns]")
            return {"y": np.array([0.1, 0.3]), "x": np.arange(3.0), "lead_time": lead_time}

    provider.publish(hours(6))
    dataset = make(tmp_path, provider, dataset_of(template=Small))
    dataset.backfill(until(4), client=client)
    assert dataset.reformat_operational_update(client=client, now=until(6)).positions_after == 6


# -- bounds -----------------------------------------------------------------------------------


def test_an_update_shows_what_is_new_before_it_has_checked_the_rest(
    client, provider, tmp_path, monkeypatch
):
    """Readers wait neither for the lookback nor for the run's end."""
    provider.publish(hours(40))
    dataset = make(tmp_path, provider)
    dataset.backfill(until(36), client=client)
    prepare, events = Driver._prepare, []

    def prepare_slowly(self, job):
        time.sleep(0.3)
        return prepare(self, job)

    monkeypatch.setattr(Driver, "_prepare", prepare_slowly)
    report = dataset.reformat_operational_update(
        client=client, now=until(40), listener=events.append
    )
    assert (report.regions_skipped, report.positions_after) == (9, 40)
    kinds = [event.kind for event in events]
    assert kinds.index("submitted") < kinds.index("skipped")
    last_skipped = len(kinds) - 1 - kinds[::-1].index("skipped")
    assert kinds.index("published") < last_skipped


def test_however_many_regions_ask_a_provider_has_few_requests_at_once() -> None:
    """Those of all regions share the places, and every file has its answer."""
    lock, now, most = threading.Lock(), [0], []

    class Asked:
        access = NO_ACCESS

        def ask_file(self, coord):
            with lock:
                now[0] += 1
                most.append(now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= 1
            return FileIdentity(etag=coord.get_url())

    def ask(region):
        urls = [f"{region}/{number}" for number in range(20)]
        coords = [SimpleNamespace(get_url=lambda url=url: url) for url in urls]
        return ask_files(Asked(), coords)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert sum(len(answer) for answer in answers) == 160
    assert all(known.etag == url for answer in answers for url, known in answer.items())
    assert max(most) == ASKED_AT_ONCE


def test_what_is_in_flight_does_not_grow_with_the_archive(client, tmp_path, monkeypatch):
    """Over 500 regions the window holds, and the driver keeps nothing of what is done."""

    class Nothing(TinyJob):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            return []

    class Short(TinyTemplate):
        data_vars = (tiny_var("a", encoding=Encoding(chunks=(1, 2, 3))),)

    most, drivers = {"tasks": 0, "regions": 0, "batches": 0}, []
    refill, start = Driver._refill, Driver._start

    def watched(self, jobs):
        refill(self, jobs)
        drivers[:] = [self]
        most["tasks"] = max(most["tasks"], len(self.window.tasks))
        most["regions"] = max(most["regions"], len(self.ledger.unrecorded))
        most["batches"] = max(most["batches"], self.window.regions)

    def started(self, regions, together):
        # A region, or a batch, may go beyond what is allowed.
        window = self.window
        assert window.workplace is None or (
            window.chains < window.most_chains or window.regions < window.most_regions
        )
        return start(self, regions, together)

    monkeypatch.setattr(Driver, "_refill", watched)
    monkeypatch.setattr(Driver, "_start", started)
    dataset = make(tmp_path, Provider(tmp_path), dataset_of(template=Short, job=Nothing))
    report = dataset.backfill(until(500), client=client)
    assert report.regions_done == 500
    window = CHAINS_PER_THREAD * threads_per_worker()
    assert most["tasks"] <= 2 * window
    assert most["regions"] <= window
    assert most["batches"] <= window * pace.MOST
    (driver,) = drivers
    assert not driver.window.tasks
    assert driver.window.regions == driver.window.chains == 0
    assert not driver.ledger.unrecorded
    assert not driver.window.workplace._completed.futures


def test_workers_that_join_get_regions_of_many_variables(client, tmp_path, monkeypatch):
    """Each has two in flight, however many chains they have: more workers, more regions."""
    names = [f"v{number}" for number in range(12)]

    class Wide(TinyTemplate):
        data_vars = tuple(tiny_var(n, encoding=Encoding(chunks=(1, 2, 3))) for n in names)

    seen, now = [], {"first": 5}
    refill = Driver._refill

    def watched(self, regions):
        refill(self, regions)
        seen.append((len(now), self.window.regions))
        if len(seen) == 20:
            now.update(second=5, third=5)

    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0)
    monkeypatch.setattr(Driver, "_refill", watched)
    monkeypatch.setattr(type(client), "nthreads", lambda self: dict(now))
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(24))
    dataset = make(tmp_path, provider, dataset_of(template=Wide))
    assert dataset.backfill(until(24), client=client).succeeded
    most = {workers: max(n for at, n in seen if at == workers) for workers in (1, 3)}
    assert most == {1: REGIONS_PER_WORKER, 3: 3 * REGIONS_PER_WORKER}


@pytest.mark.parametrize("is_one_disk", [True, False])
def test_variables_of_a_region_spread_where_that_costs_no_download(tmp_path, is_one_disk):
    """On one disk every worker compresses; elsewhere they stay with the source files.

    Also where these are larger than the memory of a worker.
    """

    class Wide(TinyTemplate):
        data_vars = tuple(tiny_var(f"v{number}") for number in range(12))

    class Slow(TinyJob):
        def transform_values_inplace(self, values, data_var):
            time.sleep(0.1)
            super().transform_values_inplace(values, data_var)

        # What Dask weighs is the size of the source files.
        def download_file(self, coord):
            return replace(super().download_file(coord), nbytes=1 << 30)

    provider = Provider(tmp_path / "provider")
    provider.publish(hours(4))
    dataset = make(tmp_path, provider, dataset_of(template=Wide, job=Slow))
    with (
        dask.config.set({"gridmill.workers-share-disk": is_one_disk}),
        local_client() as client,
    ):
        report = dataset.backfill(until(4), client=client)
    assert report.succeeded, report.failures
    assert report.nbytes_healed == 0
    workers = {span.worker for span in report.spans if span.stage == "compress"}
    assert len(workers) == (2 if is_one_disk else 1)


def test_nothing_temporary_is_left(client, provider, tmp_path, monkeypatch):
    """After runs, plans and single jobs no tmp store, staged object or lease is there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    provider.publish(hours(8))
    dataset = make(tmp_path, provider)
    dataset.backfill(until(4), client=client)
    with pytest.raises(KeyboardInterrupt):
        dataset.backfill(until(8), client=client, listener=Interrupts("submitted", ""))
    with client.as_current():
        dataset.plan(until(8)).jobs[1].process()
    dataset.plan(until(8)).summary()
    assert list((tmp_path / "tmp").iterdir()) == []
    beside = tmp_path / "a.zarr.gridmill"
    assert [p for p in beside.rglob("*") if p.is_file() and p.parts[-2] == "staging"] == []
    assert [p for p in (beside / "leases").rglob("*") if p.is_file()] == []


def test_the_report_tells_retries_slow_files_and_freshness(client, provider, tmp_path):
    """From the source files' own times to the publication, and a page is kept beside it."""
    provider.publish(hours(6))
    dataset = make(tmp_path, provider)
    report = dataset.backfill(until(8), client=client)
    first, second = sorted(report.regions, key=lambda times: times.extent)
    assert (first.extent, second.extent) == (4, 6)
    assert first.freshness_s is not None
    assert first.freshness_s >= 0
    assert first.submitted <= first.recorded <= first.visible
    assert len(report.slowest) == 8
    assert all(file.seconds > 0 for file in report.slowest)
    runs = tmp_path / "a.zarr.gridmill" / "runs"
    assert "backfill of tiny" in (runs / f"{report.run}.html").read_text()
    assert dataset.store.tracker.reports.names() == [report.run]
    assert dataset.store.tracker.reports.read_plain(report.run)["run"] == report.run


def test_retried_downloads_are_counted(client, provider, tmp_path):
    """A provider that refuses twice costs two retries, and the file succeeds."""

    class Patient(TinyJob):
        download_settings = DownloadSettings(attempts=4, wait_initial_s=0.01)

    provider.publish(hours(4))
    with ArchiveServer(provider.root) as server:
        server.release_all()
        server.inject("*T02.npy", Status(), times=2)
        dataset = make(tmp_path, provider, dataset_of(job=Patient), server.url)
        report = dataset.backfill(until(4), client=client)
    assert report.succeeded
    assert report.retries == 2
    assert [file.attempts for file in report.slowest if "T02" in file.url] == [3]
