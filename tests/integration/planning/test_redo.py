"""Repairs: what is done is made again, by choice of regions and variables, and resumable."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from clusters import one_worker
from gridmill.dataset import DynamicalDataset
from tiny import Provider, Tiny, hours, truth, until

FORMATS = ("zarr", "icechunk")


client = one_worker()


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with three regions."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(12))
    return provider


@pytest.fixture(params=FORMATS)
def dataset(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider) -> Tiny:
    """A dataset whose archive is not made yet."""
    return Tiny(tmp_path / "a", source_base=str(provider.root), format=request.param)


def stored(dataset: DynamicalDataset) -> xr.Dataset:
    """Give what readers see, in memory."""
    with dataset.store.open_dataset() as ds:
        return ds.load()


def assert_versions(dataset: Tiny, a: list[int], b: list[int]) -> None:
    """Compare each region with a version of its source files."""
    ds = stored(dataset)
    for name, versions in (("a", a), ("b", b)):
        labels = hours(12)
        wanted = [
            truth(labels[4 * number : 4 * number + 4], name, version)
            for number, version in enumerate(versions)
        ]
        np.testing.assert_array_equal(ds[name].values, np.concatenate(wanted))


def test_what_is_chosen_is_made_again_and_nothing_else(dataset, provider, client):
    """Regions and variables that the filters name are read anew though they are done."""
    dataset.backfill(until(12), client=client)
    provider.publish(hours(12), version=1)
    assert dataset.backfill(until(12), client=client).variables_done == 0
    plan = dataset.plan(until(12), start=until(4), end=until(8), variables=["b"], redo=True)
    assert plan.summary()["chains"] == 1
    report = dataset.backfill(
        until(12), start=until(4), end=until(8), variables=["b"], redo=True, client=client
    )
    assert (report.succeeded, report.variables_done, report.positions_after) == (True, 1, 12)
    assert_versions(dataset, a=[0, 0, 0], b=[0, 1, 0])
    dataset.backfill(until(12), redo=True, client=client)
    assert_versions(dataset, a=[1, 1, 1], b=[1, 1, 1])
    # An order that was done is given anew, not taken for the old one.
    provider.publish(hours(12), version=2)
    assert dataset.backfill(until(12), redo=True, client=client).variables_done == 6
    assert_versions(dataset, a=[2, 2, 2], b=[2, 2, 2])


def test_a_job_of_a_redo_is_made_again_by_itself(dataset, provider, client):
    """`process()` does what the job's plan says, though all of it is done."""
    dataset.backfill(until(12), client=client)
    provider.publish(hours(12), version=1)
    with client.as_current():
        dataset.plan(until(12)).jobs[1].process()
        assert_versions(dataset, a=[0, 0, 0], b=[0, 0, 0])
        dataset.plan(until(12), redo=True).jobs[1].process()
    dataset.backfill(until(12), client=client)  # on Icechunk, what is not committed is not seen
    assert_versions(dataset, a=[0, 1, 0], b=[0, 1, 0])


def test_a_repair_keeps_what_the_provider_no_longer_has(dataset, provider, client):
    """The extent and the published values stay where a source file is gone or broken."""
    dataset.backfill(until(12), client=client)
    provider.publish(hours(12), version=1)
    provider.withdraw(hours(12)[5])
    provider.break_file(hours(12)[6])
    report = dataset.backfill(until(12), redo=True, client=client)
    assert not report.succeeded
    ds = stored(dataset)
    assert ds.sizes["time"] == 12
    labels = hours(12)
    for at, version in ((4, 1), (5, 0), (6, 0), (7, 1), (11, 1)):
        np.testing.assert_array_equal(ds["a"].values[at], truth([labels[at]], "a", version)[0])


class Killed(BaseException):
    """Ends a run as Ctrl-C does."""


class StopsAfter:
    """A listener that ends the run after some regions."""

    def __init__(self, regions: int) -> None:
        self.left = regions

    def __call__(self, event):
        self.left -= event.kind == "region"
        if self.left == 0:
            raise Killed


def test_an_interrupted_repair_is_gone_on_with(dataset, provider, client):
    """The same call does the rest only; readers have a whole archive all the while."""
    dataset.backfill(until(12), client=client)
    provider.publish(hours(12), version=1)
    with pytest.raises(Killed):
        dataset.backfill(until(12), redo=True, client=client, listener=StopsAfter(1))
    assert stored(dataset).sizes["time"] == 12
    left = dataset.plan(until(12), redo=True).summary()["chains"]
    assert 0 < left < 6
    # Another order knows nothing of it.
    assert dataset.plan(until(12), variables=["a"], redo=True).summary()["chains"] == 3
    report = dataset.backfill(until(12), redo=True, client=client)
    assert report.variables_done == left
    assert_versions(dataset, a=[1, 1, 1], b=[1, 1, 1])
    assert not list(dataset.store.state.keys("redo"))


def test_an_update_beside_a_repair_goes_on(dataset, provider, client):
    """While an early region is repaired, another run takes in what is new."""
    dataset.backfill(until(12), client=client)
    provider.publish(hours(16), version=1)
    begun, go = threading.Event(), threading.Event()

    def pause(event):
        begun.set()
        assert go.wait(60)

    def repair() -> None:
        dataset_again = Tiny(
            dataset.store.url, source_base=dataset.source_base, format=dataset.store.format
        )
        options = {"end": until(4), "redo": True, "client": client, "listener": pause}
        dataset_again.backfill(until(12), **options)

    thread = threading.Thread(target=repair)
    thread.start()
    assert begun.wait(60)
    report = dataset.backfill(until(16), start=until(12), client=client)
    assert report.positions_after == 16
    go.set()
    thread.join()
    ds = stored(dataset)
    assert ds.sizes["time"] == 16
    np.testing.assert_array_equal(ds["b"].values[:4], truth(hours(4), "b", 1))
    np.testing.assert_array_equal(ds["b"].values[4:12], truth(hours(12)[4:], "b", 0))
