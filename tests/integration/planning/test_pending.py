"""What cannot be read is published as missing only past its time, never silently, and heals."""

from __future__ import annotations

import importlib
import json
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr
from distributed import Client, get_worker

from clusters import local_client, one_worker
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.verdict import verdict_of
from gridmill.dataset import DynamicalDataset
from gridmill.operations.accept import accept_files
from gridmill.runs.ledger import Ledger
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps
from tiny import HOUR, START, LateJob, Provider, TinyCoord, dataset_of, hours, truth, until, url_of

DAMAGED = {"unreadable": b"no array", "truncated": b"CDF\x01 cut off"}
CASES = (("zarr", "truncated"), ("icechunk", "unreadable"))
DAY = timedelta(days=1)
BROKEN = START + HOUR
# Every file is due two hours after its label.
IN_TIME, LATE = START + 2 * HOUR, START + 10 * HOUR


READER = """
from tiny import LateJob

class Reader(LateJob):
    def read_data(self, coord, data_var):
        return {names}[data_var.name] * 0 + super().read_data(coord, data_var)
"""


client = one_worker()


@pytest.fixture(params=CASES, ids=[f"{store}-{name}" for store, name in CASES])
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A format of the store, and what is wrong with a file."""
    return request.param


@pytest.fixture
def provider(case: tuple[str, str], tmp_path: Path) -> Provider:
    """A provider with the files of eight hours, one of which is damaged.

    No reader understands it, or it is not even whole, which shows when it arrives.
    """
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    provider.path(BROKEN).write_bytes(DAMAGED[case[1]])
    return provider


@pytest.fixture
def make(case: tuple[str, str], tmp_path: Path, provider: Provider):
    """A function that gives the dataset with a region job."""

    def make(job=LateJob) -> DynamicalDataset:
        options = {"source_base": str(provider.root), "format": case[0]}
        return dataset_of(job=job)(tmp_path / "a", **options)

    return make


def stored(dataset: DynamicalDataset) -> xr.Dataset:
    """Return what readers see, in memory."""
    with dataset.store.open_dataset() as ds:
        return ds.load()


def update(dataset: DynamicalDataset, client: Client, now):
    """Update up to eight hours as if it were a certain time."""
    return dataset.reformat_operational_update(until=until(8), now=now, client=client)


def code_of(report) -> ExitCode:
    """Return what the run says to a scheduler."""
    return verdict_of(report)[0]


def test_before_its_time_readers_wait_for_what_cannot_be_read(make, client):
    """However often it is tried: time is what lets them go on, and the run fails until then."""
    dataset = make()
    for _ in range(3):
        report = update(dataset, client, IN_TIME)
        assert (report.positions_after, code_of(report)) == (1, ExitCode.FAILED)
        assert url_of(BROKEN) in report.stops_because


def test_past_its_time_it_is_published_as_missing_and_never_silently(make, client):
    """The run says so by its own exit code once; what stands is listed and keeps status red."""
    dataset = make()
    first = update(dataset, client, LATE)
    assert (first.positions_after, first.new_gaps, code_of(first)) == (8, 1, ExitCode.GAPS)
    assert [gap.url.endswith(url_of(BROKEN)) for gap in first.gaps] == [True]
    second = update(dataset, client, LATE)
    assert (second.new_gaps, code_of(second)) == (0, ExitCode.NOTHING_NEW)
    status = dataset.status(now=LATE)
    assert (status.pending, status.incomplete) == (1, ())
    expected = truth(hours(8))
    expected[1] = np.nan
    np.testing.assert_array_equal(stored(dataset)["a"].values, expected)


@pytest.mark.parametrize("days", [1, 10, 400])
def test_what_the_provider_mends_is_healed_by_an_ordinary_update(make, client, provider, days):
    """Also long after updates look back no further; nothing else is fetched again."""
    dataset = make()
    update(dataset, client, LATE)
    for day in range(1, min(days, 12)):
        update(dataset, client, LATE + day * DAY)
    provider.publish([BROKEN])
    report = update(dataset, client, LATE + days * DAY + 8 * DAY)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(8)))
    assert dataset.status(now=LATE).pending == 0
    assert report.files["succeeded"] == 4
    assert [f.url for f in report.slowest if not f.url.endswith(url_of(BROKEN))] == []
    assert list(dataset.store.state.keys("pending")) == ["pending/complete"]


def test_a_run_that_dies_while_it_heals_loses_no_region(make, client, provider, monkeypatch):
    """Its record says nothing of what was being made: the mark stays, and the next update goes on.

    Also for a region that an operator's order redid, of which nothing was pending.
    """

    def dies(*args):
        raise KeyboardInterrupt

    @contextmanager
    def dying():
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "record", dies)
            patched.setattr(Ledger, "record_partly", lambda *args, **options: None)
            with pytest.raises(KeyboardInterrupt):
                yield

    dataset = make()
    update(dataset, client, LATE)
    provider.publish([BROKEN])
    for now in (LATE + 8 * DAY, LATE + 8 * DAY + HOUR):
        with dying():
            update(dataset, client, now)
    update(dataset, client, LATE + 8 * DAY + 2 * HOUR)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(8)))
    assert list(dataset.store.state.keys("pending")) == ["pending/complete"]
    with dying():
        redo = {"start": START.isoformat(), "end": BROKEN.isoformat(), "redo": True}
        dataset.backfill(until(8), now=LATE, client=client, **redo)
    update(dataset, client, LATE + 8 * DAY + 3 * HOUR)
    assert dataset.status(now=LATE).incomplete == ()
    assert list(dataset.store.state.keys("pending")) == ["pending/complete"]


def test_a_mark_that_a_dead_run_left_behind_costs_one_look(make, client, provider):
    """Its record was written, and the mark of the one before not deleted any more."""
    provider.publish(hours(8))
    dataset = make()
    update(dataset, client, LATE)
    state = dataset.store.state
    state.put("pending/0000000000-now-", b"")
    assert update(dataset, client, LATE + HOUR).variables_done == 0
    assert list(state.keys("pending")) == ["pending/complete"]


def test_a_variable_that_a_provider_renames_stops_no_other_and_heals_with_its_reader(
    make, client, tmp_path, monkeypatch
):
    """The mended reader fills it by itself, without an order to redo anything."""
    monkeypatch.syspath_prepend(tmp_path)

    def reader(module, names):
        (tmp_path / f"{module}.py").write_text(READER.format(names=names))
        return importlib.import_module(module).Reader

    stem = f"reader_{uuid.uuid4().hex}"
    broken = make(reader(f"{stem}_as_it_was", {"a": 0}))
    report = update(broken, client, LATE)
    assert (report.positions_after, code_of(report)) == (8, ExitCode.GAPS)
    assert {name for gap in report.gaps for name in gap.variables} == {"a", "b"}
    assert np.isnan(stored(broken)["b"].values).all()
    soon = LATE + timedelta(minutes=5)
    assert update(broken, client, soon).variables_done == 0
    mended = make(reader(f"{stem}_mended", {"a": 0, "b": 0}))
    update(mended, client, soon)
    expected = truth(hours(8), "b")
    expected[1] = np.nan
    np.testing.assert_array_equal(stored(mended)["b"].values, expected)


def test_where_nothing_can_be_published_everything_is_missing(make, client, provider, tmp_path):
    """Gaps beyond what readers see are listed: an archive that has nothing lacks all."""
    for label in hours(8):
        provider.path(label).write_bytes(b"no array")
    dataset = make()
    report = update(dataset, client, LATE)
    assert (report.positions_after, report.new_gaps) == (0, 8)
    gaps = list(find_gaps(Context(dataset, now=LATE, beyond=True)))
    assert [gap.start for gap in gaps] == list(range(8))
    assert all(gap.is_pending for gap in gaps)


def test_what_was_left_out_on_the_way_is_said_not_to_be_done(make, client, provider):
    """Its record is not lost: there was none, and no file of it is asked for again in vain."""
    provider.publish(hours(12))
    dataset = make()
    dataset.backfill(until(4), client=client, now=LATE)
    report = dataset.backfill(until(12), start=hours(12)[8].isoformat(), client=client, now=LATE)
    assert report.positions_after == 4
    gaps = list(find_gaps(Context(dataset, now=START + 20 * HOUR, beyond=True)))
    assert [gap.start for gap in gaps] == [4, 5, 6, 7]
    assert {gap.detail for gap in gaps} == {"its region is not done"}


def test_what_is_worth_knowing_of_a_file_makes_it_no_gap(make, client, provider):
    """A remark is kept where others have their cause."""
    provider.publish(hours(8))
    dataset = make()
    update(dataset, client, LATE)
    tracker = dataset.store.tracker
    for record in list(tracker.records()):
        groups = tuple(tuple(replace(f, detail="mended") for f in g) for g in record.groups)
        tracker.write(replace(record, groups=groups))
    status = dataset.status(now=LATE)
    assert (status.gaps, status.pending) == (0, 0)


def test_what_is_accepted_is_neither_open_nor_tried(make, client, provider):
    """It is closed with a reason, and stays listed."""
    dataset = make()
    update(dataset, client, LATE)
    done = accept_files(dataset, [url_of(BROKEN)], who="me", why="lost", now=LATE)
    assert [why.removesuffix(" for a") for _, why in done.files] == ["read failed"]
    status = dataset.status(now=LATE)
    assert (status.pending, status.gaps) == (0, 1)
    provider.publish([BROKEN])
    assert update(dataset, client, LATE + 100 * DAY).variables_done == 0


def test_a_hole_that_gridmill_0_1_0_settled_for_good_is_tried_again(make, client, provider):
    """Its records have no marks, so that all of them are looked at once."""
    dataset = make()
    update(dataset, client, LATE)
    state = dataset.store.state
    for key in list(state.keys("pending")):
        state.delete(key)
    for key in list(state.keys("regions")):
        record = json.loads(state.get(key))
        for variable in record["variables"].values():
            variable.pop("tries", None)
        state.put(key, json.dumps(record).encode())
    provider.publish([BROKEN])
    update(make(), client, LATE + 30 * DAY)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(8)))
    assert list(state.keys("pending")) == ["pending/complete"]


class BadDisk(LateJob):
    """On one worker nothing can be read."""

    def read_data(self, coord, data_var):
        if get_worker().name == 0:
            raise OSError(-101, "NetCDF: HDF error")
        return super().read_data(coord, data_var)


def test_what_one_worker_cannot_read_another_one_reads(tmp_path):
    """Nothing is missing, and the worker that alone fails is sent away and named."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(40))
    dataset = dataset_of(job=BadDisk)(tmp_path / "a", source_base=str(provider.root))
    with local_client(n_workers=2, threads_per_worker=4) as client:
        report = dataset.backfill(until(40), client=client, now=START + 30 * DAY)
        left = [info["name"] for info in client.scheduler_info()["workers"].values()]
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(40)))
    assert (report.succeeded, report.new_gaps) == (True, 0)
    assert left == [1]
    assert any("was retired" in note for note in report.notes)


class FlipsOnDisk(LateJob):
    """What arrives is damaged on one worker's disk, the first time."""

    flipped: ClassVar[list[str]] = []

    def download_file(self, coord):
        done = super().download_file(coord)
        if coord.label == BROKEN and not self.flipped:
            self.flipped.append(coord.get_url())
            done.path.write_bytes(b"x" * done.nbytes)
        return done


def test_what_a_disk_damages_is_fetched_again_at_once(client, tmp_path):
    """The file is not to blame, as the checksum of what arrived says, nor is its worker retired."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    dataset = dataset_of(job=FlipsOnDisk)(tmp_path / "a", source_base=str(provider.root))
    FlipsOnDisk.flipped.clear()
    report = update(dataset, client, LATE)
    assert FlipsOnDisk.flipped
    assert (report.new_gaps, report.chains_retried) == (0, 0)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(8)))


class Counting(LateJob):
    """Nothing of one hour can be read; tells what is fetched."""

    fetched: ClassVar[list[str]] = []

    def download_file(self, coord):
        type(self).fetched.append(coord.get_url())
        return super().download_file(coord)

    def read_data(self, coord, data_var):
        if coord.label == BROKEN:
            raise ValueError(f"no {data_var.name} in it")
        return super().read_data(coord, data_var)


def test_what_no_variable_could_be_read_from_is_fetched_once_more_for_all(client, tmp_path):
    """However many variables a file has."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    dataset = dataset_of(job=Counting)(tmp_path / "a", source_base=str(provider.root))
    Counting.fetched.clear()
    report = update(dataset, client, LATE)
    assert {name for gap in report.gaps for name in gap.variables} == {"a", "b"}
    assert Counter(Counting.fetched)[url_of(BROKEN)] == 2


@dataclass(frozen=True, kw_only=True)
class OfTwoHours(TinyCoord):
    """A file that fills the places of two hours, and is listed for each."""

    def get_url(self) -> str:
        """Give the name of the first of them."""
        return url_of(self.label.floor("2h"))


class Pairs(LateJob):
    """Reads a file of two hours; of one hour only when somebody mended that."""

    broken: ClassVar[Any] = START + 2 * HOUR

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """List a file for each hour."""
        return [OfTwoHours(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Give the hour's values."""
        if coord.label == self.broken:
            raise KeyError("hour")
        return truth([coord.label], data_var.name)[0]


class MendedPairs(Pairs):
    """Reads every hour."""

    broken = None


def test_each_place_of_a_file_that_fills_several_is_a_gap_of_its_own(client, tmp_path):
    """Also the first of two of which the second is filled; and that it is healed is news."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8)[::2])
    options = {"source_base": str(provider.root)}
    dataset = dataset_of(job=Pairs)(tmp_path / "a", **options)
    report = update(dataset, client, LATE)
    assert (report.positions_after, verdict_of(report)[0]) == (8, ExitCode.GAPS)
    gaps = list(find_gaps(Context(dataset, now=LATE)))
    assert [(gap.start, gap.stop, gap.variables) for gap in gaps] == [(2, 3, ("a", "b"))]

    mended = dataset_of(job=MendedPairs)(tmp_path / "a", **options)
    report = update(mended, client, LATE + DAY)
    label = str(hours(8)[2])
    assert [(one.first, one.last) for one in report.revised] == [(label, label)]
    assert list(find_gaps(Context(mended, now=LATE + DAY))) == []
    np.testing.assert_array_equal(stored(mended)["a"].values, truth(hours(8)))
