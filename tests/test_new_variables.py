"""Variables that are added to an archive: nobody sees them before they are whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.stores import Lease
from gridmill.structure import StructureMismatch
from gridmill.testing import ArchiveServer
from tiny import snapshot

DAYS = 7
OLD = ["temperature", "humidity", "orography"]


def day(number: int) -> pd.Timestamp:
    """Give the start of a day, counted from 0."""
    return pd.Timestamp(START) + pd.Timedelta(days=number)


def assert_true(store: Path, days: int, names: set[str]) -> None:
    """Compare all that readers see with the formula."""
    with xr.open_zarr(store) as ds:
        assert set(ds.data_vars) == names
        assert ds.get_index("time").equals(times_of(DAYS)[: 4 * days])
        for name in names:
            times = ds.get_index("time") if "time" in DIMS[name] else None
            np.testing.assert_array_equal(ds[name].values, truth(name, times))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    """A server with the provider's files."""
    with ArchiveServer(build_archive(tmp_path_factory.mktemp("provider"), DAYS)) as server:
        server.release_all()
        yield server


@pytest.fixture
def store(tmp_path: Path, provider: ArchiveServer, client: Client) -> Path:
    """An archive of five days that lacks precipitation; its last region is visible in part."""
    path = tmp_path / "a.zarr"
    dataset = Generated(path, source_base=provider.url)
    assert dataset.backfill(day(5), variables=OLD, client=client).succeeded
    return path


def add(store: Path, provider: ArchiveServer, client: Client, **options: Any) -> Any:
    """Add precipitation."""
    dataset = Generated(store, source_base=provider.url)
    return dataset.backfill(day(DAYS), variables=["precipitation"], client=client, **options)


def test_an_added_variable_is_like_one_from_the_start(
    store: Path, provider: ArchiveServer, client: Client, tmp_path: Path
) -> None:
    """It becomes visible with all its values, updates go on with it, and the bytes are the same."""
    report = add(store, provider, client)
    assert report.succeeded
    assert report.stops_because is None
    assert_true(store, 5, set(DIMS))
    dataset = Generated(store, source_base=provider.url)
    assert dataset.reformat_operational_update(client=client, now=day(DAYS)).succeeded
    assert_true(store, DAYS, set(DIMS))
    whole = Generated(tmp_path / "whole.zarr", source_base=provider.url)
    whole.backfill(day(DAYS), client=client)
    ours, theirs = snapshot(store), snapshot(tmp_path / "whole.zarr")
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if "/c/" in key and ours[key] != theirs[key]] == []


def test_readers_see_all_of_it_or_nothing(
    store: Path, provider: ArchiveServer, client: Client
) -> None:
    """Who opens the archive again and again meanwhile never meets a value that is missing."""
    done = threading.Event()
    seen: list[bool] = []
    wrong: list[str] = []

    def look() -> None:
        while not done.is_set():
            with xr.open_zarr(store) as ds:
                seen.append("precipitation" in ds)
                if seen[-1]:
                    expected = truth("precipitation", ds.get_index("time"))
                    if not np.array_equal(ds["precipitation"].values, expected, equal_nan=True):
                        wrong.append("precipitation is not whole")
            time.sleep(0.005)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        add(store, provider, client)
    finally:
        time.sleep(0.2)
        done.set()
        reader.join()
    assert wrong == []
    assert seen == sorted(seen)
    assert seen[-1]


def test_it_is_added_in_steps(store: Path, provider: ArchiveServer, client: Client) -> None:
    """Regions by regions, with updates in between; only the last step shows it."""
    report = add(store, provider, client, end=str(day(2)))
    assert report.succeeded
    assert "regions lack precipitation yet" in report.stops_because
    assert_true(store, 5, set(OLD))
    dataset = Generated(store, source_base=provider.url)
    assert dataset.reformat_operational_update(client=client, now=day(6)).succeeded
    assert_true(store, 6, set(OLD))
    before = len([r for r in provider.requests if "static" not in r.path])
    report = add(store, provider, client)
    assert report.stops_because is None
    assert report.variables_skipped == 1
    assert len([r for r in provider.requests if "static" not in r.path]) == before + 4
    assert_true(store, 6, set(DIMS))


def test_it_waits_for_a_run_that_does_not_know_it(
    store: Path, provider: ArchiveServer, client: Client
) -> None:
    """A run that began before would publish without it: the next addition shows it."""
    dataset = Generated(store, source_base=provider.url)
    far = [(1000, 1004)]
    with Lease(dataset.store.state, run="20200101T000000000-other", kind="update", positions=far):
        report = add(store, provider, client)
    assert "update 20200101T000000000-other does not know precipitation" in report.stops_because
    assert_true(store, 5, set(OLD))
    report = add(store, provider, client)
    assert (report.variables_done, report.stops_because) == (0, None)
    assert_true(store, 5, set(DIMS))


def test_a_run_that_read_the_old_declaration_stops(
    store: Path, provider: ArchiveServer, client: Client
) -> None:
    """It would take the variable away again: its structure differs by now."""
    dataset = Generated(store, source_base=provider.url)
    old = dataset._declaration()
    add(store, provider, client)
    config = dataset._config(old)
    publisher = dataset._publisher(config, dataset._template(config, config.label(day(5))))
    with pytest.raises(StructureMismatch, match="precipitation"):
        publisher.check_structure()


@pytest.mark.parametrize(
    ("variables", "options", "why"),
    [
        (["precipitation", "temperature"], {}, "name no other variables with them"),
        (["precipitation"], {"replicas": ["replica.zarr"]}, "leave --replica out"),
    ],
)
def test_what_cannot_be_added_is_refused(
    variables: list[str],
    options: dict[str, Any],
    why: str,
    store: Path,
    provider: ArchiveServer,
    client: Client,
) -> None:
    """One clear line, and nothing was written."""
    before = snapshot(store)
    dataset = Generated(store, source_base=provider.url, **options)
    with pytest.raises(ValueError, match=f"does not have precipitation: {why}"):
        dataset.backfill(day(5), variables=variables, client=client)
    assert snapshot(store) == before


def test_icechunk_and_static_variables_are_refused(
    tmp_path: Path, provider: ArchiveServer, client: Client
) -> None:
    """The message says what to do instead."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=provider.url)
    dataset.backfill(day(1), variables=["temperature"], client=client)
    with pytest.raises(ValueError, match="format icechunk cannot be added to: make a new one"):
        dataset.backfill(day(1), variables=["humidity"], client=client)
    with pytest.raises(ValueError, match="only variables along time can be added"):
        dataset.backfill(day(1), variables=["orography"], client=client)
