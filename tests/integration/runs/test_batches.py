"""Small regions share tasks; what comes of each is what would come of it alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters import local_client, one_worker
from gridmill.model.variables import Encoding
from gridmill.runs.dask import submission
from gridmill.runs.workplaces import batches, pace
from gridmill.runs.workplaces.here import Here
from gridmill.runs.workplaces.pace import BATCH_SECONDS, ENOUGH, FEWEST, MOST, MOST_NBYTES, Pace
from tiny import (
    SHAPE,
    Provider,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    tiny_var,
    until,
    url_of,
)

# -- when -------------------------------------------------------------------------------------


def pace_after(seconds: float, nbytes: int = 100, regions: int = ENOUGH, batch_s: float = 1.0):
    pace = Pace(batch_s)
    for _ in range(regions):
        pace.learn(seconds, nbytes)
    return pace


def test_small_regions_share_tasks_only_after_many_of_them_in_a_row():
    """A run of few regions is never batched, however small they are."""
    assert pace_after(0.001, regions=ENOUGH - 1).regions == 1
    assert pace_after(0.001).regions == MOST


@given(seconds=st.floats(0, 1e4), nbytes=st.integers(0, 1 << 40), batch_s=st.floats(0, 100))
def test_a_batch_is_as_large_as_pays_and_no_larger(seconds, nbytes, batch_s):
    """It takes no longer and moves no more than a batch may, or there is none."""
    regions = pace_after(seconds, nbytes, batch_s=batch_s).regions
    assert regions == 1 or FEWEST <= regions <= MOST
    if regions > 1:
        assert regions * seconds <= batch_s * 1.001
        assert regions * nbytes <= MOST_NBYTES


@pytest.mark.parametrize(
    "pace",
    [pace_after(0.5), pace_after(0.001, nbytes=4 << 20), pace_after(0.001, batch_s=0.0)],
    ids=["long", "large", "turned off"],
)
def test_usual_regions_have_their_own_tasks(pace):
    """Nothing changes for regions that take long or move much, nor for who wants no batches."""
    assert pace.regions == 1


def test_batches_end_with_the_first_region_that_takes_long():
    """One download that waits is enough, and it takes as many quick ones to begin again."""
    pace = pace_after(0.01)
    pace.learn(60.0, 100)
    assert pace.regions == 1
    pace = pace_after(0.01)
    pace.forget()
    assert pace.regions == 1
    pace.learn(0.01, 100)
    assert pace.regions == 1


def test_who_debugs_follows_one_region_at_a_time():
    """In this process there are no batches; on a cluster Dask's configuration rules."""
    assert submission.seconds_of_batch() == BATCH_SECONDS
    with dask.config.set({"gridmill.batch-seconds": 7}):
        assert submission.seconds_of_batch() == 7
    assert Here().seconds_of_batch == 0


# -- what -------------------------------------------------------------------------------------

N = 40
# The region, with a position, that something happens to; by then all regions are in batches.
ODD = 25


class OneHour(TinyTemplate):
    """Every position a region, of two variables."""

    data_vars = tuple(
        tiny_var(name, number, encoding=Encoding(chunks=(1, *SHAPE)))
        for number, name in enumerate("ab")
    )


client = one_worker()


@pytest.fixture
def small_batches(monkeypatch) -> Iterator[None]:
    """Batches after a few regions, on however busy a machine."""
    monkeypatch.setattr(pace, "ENOUGH", 4)
    monkeypatch.setattr(pace, "FEWEST", 2)
    monkeypatch.setattr(pace, "MOST", 6)
    with dask.config.set({"gridmill.batch-seconds": 1e4}):
        yield


@pytest.fixture
def provider(tmp_path: Path, small_batches: None) -> Provider:
    """Source files for a run with batches."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(N))
    return provider


def backfill(folder: Path, provider: Provider, job=TinyJob, client=None, **options):
    dataset = dataset_of(template=OneHour, job=job)(folder, source_base=str(provider.root))
    return dataset, dataset.backfill(until(N), client=client, **options)


def alone(folder: Path, provider: Provider, job=TinyJob, client=None):
    with dask.config.set({"gridmill.batch-seconds": 0}):
        dataset, report = backfill(folder, provider, job, client)
    assert not batched(report)
    return dataset, report


def batched(report) -> set[str]:
    """Give the keys of tasks that regions shared."""
    return {span.key for span in report.spans if "-to-" in span.key}


def records(dataset) -> dict[int, object]:
    """Give what the records say, but for who wrote them and when."""
    return {
        record.start: replace(
            record,
            runs=(),
            groups=tuple(
                tuple(replace(file, arrived=None, run=None) for file in group)
                for group in record.groups
            ),
            variables={
                name: replace(variable, run="", finished="")
                for name, variable in record.variables.items()
            },
        )
        for record in dataset.store.progress()
    }


def check_alike(dataset, other) -> None:
    assert snapshot(Path(dataset.store.url)) == snapshot(Path(other.store.url))
    assert records(dataset) == records(other)


COUNTS = ("regions_done", "regions_failed", "variables_done", "files", "nbytes_downloaded")


def test_what_regions_of_a_batch_give_is_what_each_gives_alone(client, provider, tmp_path):
    """The same objects, records and counts; every stage has its tasks, and leaves no folder."""
    dataset, report = backfill(tmp_path / "a.zarr", provider, client=client)
    other, expected = alone(tmp_path / "b.zarr", provider, client=client)
    assert {key.split("-")[0] for key in batched(report)} == {"download", "compress", "upload"}
    assert report.positions_after == N
    assert report.chains_retried == 0
    check_alike(dataset, other)
    for name in (*COUNTS, "nbytes_uploaded", "positions_after"):
        assert getattr(report, name) == getattr(expected, name)
    assert len(report.spans) == len(expected.spans)


def test_hundreds_of_small_regions_are_batched(client, tmp_path):
    """With the real numbers, too; only what the machine is busy with beside must not matter."""
    n = ENOUGH + 2 * MOST
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(n))
    dataset = dataset_of(template=OneHour)(tmp_path / "a.zarr", source_base=str(provider.root))
    with dask.config.set({"gridmill.batch-seconds": 1e4}):
        report = dataset.backfill(until(n), client=client)
    assert report.positions_after == n
    assert batched(report)


class FailsOnce(TinyJob):
    """An error that does not happen again."""

    failed = False

    def read_data(self, coord, data_var):
        if coord.label == hours(N)[ODD] and data_var.name == "b" and not FailsOnce.failed:
            FailsOnce.failed = True
            raise KeyError("once")
        return super().read_data(coord, data_var)


def test_what_fails_in_a_batch_is_done_again_alone(client, provider, tmp_path, monkeypatch):
    """An error that does not come back leaves no trace but the count."""
    monkeypatch.setattr(FailsOnce, "failed", False)
    dataset, report = backfill(tmp_path / "a.zarr", provider, FailsOnce, client)
    other, _ = alone(tmp_path / "b.zarr", provider, client=client)
    assert batched(report)
    assert (report.chains_retried, report.failures) == (1, [])
    check_alike(dataset, other)


class Unpicklable(Exception):  # noqa: N818
    """Fails where it is unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class Fails(TinyJob):
    """An error in code, in one region."""

    def transform_values_inplace(self, values, data_var):
        if self.region.start <= ODD < self.region.stop and data_var.name == "b":
            raise Unpicklable("no such thing", "at all")
        super().transform_values_inplace(values, data_var)


def test_what_fails_for_good_fails_alone(client, provider, tmp_path):
    """The variable of the one region; what is reported and recorded is as without batches."""
    dataset, report = backfill(tmp_path / "a.zarr", provider, Fails, client)
    other, expected = alone(tmp_path / "b.zarr", provider, Fails, client)
    assert batched(report)
    assert report.failures == expected.failures
    assert [f.variable for f in report.failures] == ["b"]
    assert report.positions_after == ODD
    assert (report.regions_done, report.regions_failed) == (N - 1, 1)
    check_alike(dataset, other)


def test_an_absent_and_a_broken_file_are_those_of_their_regions(client, provider, tmp_path):
    """What the report and the records say of them is as without batches."""
    provider.withdraw(hours(N)[ODD])
    provider.break_file(hours(N)[ODD + 3])
    dataset, report = backfill(tmp_path / "a.zarr", provider, client=client)
    other, expected = alone(tmp_path / "b.zarr", provider, client=client)
    assert batched(report)
    by_region = sorted(report.problems, key=lambda problem: (problem.region, problem.status))
    assert by_region == sorted(expected.problems, key=lambda one: (one.region, one.status))
    assert url_of(hours(N)[ODD]) in {problem.url for problem in report.problems}
    assert report.positions_after == ODD
    check_alike(dataset, other)


def test_a_batch_that_takes_too_long_goes_on_alone(client, provider, tmp_path, monkeypatch):
    """What it has not begun is done in tasks of its own, like everything after it."""
    monkeypatch.setattr(batches, "PATIENCE_S", 0.0)
    dataset, report = backfill(tmp_path / "a.zarr", provider, client=client)
    other, _ = alone(tmp_path / "b.zarr", provider, client=client)
    assert report.chains_retried > 0
    assert not report.failures
    check_alike(dataset, other)


@pytest.mark.parametrize("kind", ["region", "submitted"])
def test_a_run_that_is_interrupted_between_batches_goes_on(client, provider, tmp_path, kind):
    """What was recorded of a batch stays done, the rest is done by the next run."""

    def interrupt(event):
        if event.kind == kind and event.region == str(hours(N)[ODD]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(tmp_path / "a.zarr", provider, client=client, listener=interrupt)
    dataset, report = backfill(tmp_path / "a.zarr", provider, client=client)
    other, _ = alone(tmp_path / "b.zarr", provider, client=client)
    assert report.regions_skipped > 0
    assert report.regions_done > 0 or kind == "region"
    assert report.positions_after == N
    check_alike(dataset, other)


class Kills(TinyJob):
    """Kills its worker, once, in the middle of a batch."""

    def read_data(self, coord, data_var):
        (folder,) = self.source_base
        mark = Path(folder) / "killed"
        if coord.label == hours(N)[ODD] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read_data(coord, data_var)


def test_a_worker_that_is_killed_within_a_batch_costs_nothing(provider, tmp_path):
    """Other workers do the batch again, and the archive is the same."""
    with local_client(n_workers=2) as processes:
        dataset, report = backfill(tmp_path / "a.zarr", provider, Kills, processes)
    assert (provider.root / "killed").exists()
    assert batched(report)
    assert not report.failures
    with local_client(n_workers=1, processes=False) as client:
        other, _ = alone(tmp_path / "b.zarr", provider, client=client)
    check_alike(dataset, other)
