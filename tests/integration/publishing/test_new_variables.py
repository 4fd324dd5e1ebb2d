"""Variables that are added to an archive: nobody sees them before they are whole."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from distributed import Client

from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.model.region import Region
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.staging import staged_region
from gridmill.runs.additions import showing
from gridmill.stores.icechunk import publication, upkeep
from gridmill.stores.icechunk.publication import PublishConflict
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.state.leases import Lease
from gridmill.stores.structure import StructureMismatch
from gridmill.testing import ArchiveServer, S3Server
from tiny import snapshot

DAYS = 7
OLD = ["temperature", "humidity", "orography"]

Make = Callable[..., Generated]


def day(number: int) -> pd.Timestamp:
    """Give the start of a day, counted from 0."""
    return pd.Timestamp(START) + pd.Timedelta(days=number)


def assert_true(dataset: Generated, days: int, names: set[str]) -> None:
    """Compare all that readers see with the formula."""
    with dataset.store.open_dataset() as ds:
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


@pytest.fixture(params=["a.zarr", "a.icechunk"])
def make(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    provider: ArchiveServer,
    s3_server: S3Server,
    client: Client,
) -> Make:
    """An archive of five days that lacks precipitation; its last region is visible in part."""
    url, options = str(tmp_path / request.param), {}
    if request.param == "s3":
        url, options = f"s3://public/{uuid.uuid4().hex}.icechunk", s3_server.storage_options
    make = partial(Generated, url, source_base=provider.url, storage_options=options)
    assert make().backfill(day(5), variables=OLD, client=client).succeeded
    return make


def add(dataset: Generated, client: Client, **options: Any) -> Any:
    """Add precipitation."""
    return dataset.backfill(day(DAYS), variables=["precipitation"], client=client, **options)


def store_of(dataset: Generated) -> IcechunkStore:
    """Give a dataset's store."""
    assert isinstance(dataset.store, IcechunkStore)
    return dataset.store


def tip(dataset: Generated) -> str:
    """Name the commit that readers see."""
    return store_of(dataset).repository.open().lookup_branch("main")


def test_an_added_variable_is_like_one_from_the_start(
    make: Make, provider: ArchiveServer, client: Client, tmp_path: Path
) -> None:
    """It becomes visible with all its values, updates go on with it, and the bytes are the same."""
    report = add(make(), client)
    assert report.succeeded
    assert report.stops_because is None
    assert_true(make(), 5, set(DIMS))
    dataset = make()
    assert dataset.reformat_operational_update(client=client, now=day(DAYS)).succeeded
    assert_true(make(), DAYS, set(DIMS))
    whole = Generated(tmp_path / "whole.zarr", source_base=provider.url)
    whole.backfill(day(DAYS), client=client)
    keys = [key for key in snapshot(tmp_path / "whole.zarr") if "/c/" in key]
    ours, theirs = dataset.store.read_object, whole.store.read_object
    assert [key for key in keys if ours(key) != theirs(key)] == []


def test_readers_see_all_of_it_or_nothing(make: Make, client: Client) -> None:
    """Who opens the archive again and again meanwhile never meets a value that is missing."""
    done = threading.Event()
    seen: list[bool] = []
    wrong: list[str] = []

    def look() -> None:
        while not done.is_set():
            with make().store.open_dataset() as ds:
                seen.append("precipitation" in ds)
                if seen[-1]:
                    expected = truth("precipitation", ds.get_index("time"))
                    if not np.array_equal(ds["precipitation"].values, expected, equal_nan=True):
                        wrong.append("precipitation is not whole")
            time.sleep(0.005)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        add(make(), client)
        # Two more: the first may have begun before.
        enough = len(seen) + 2
        while len(seen) < enough and reader.is_alive():
            time.sleep(0.01)
    finally:
        done.set()
        reader.join()
    assert wrong == []
    assert seen == sorted(seen)
    assert seen[-1]


@pytest.mark.parametrize("make", ["a.zarr", "a.icechunk", "s3"], indirect=True)
def test_it_is_added_in_steps(make: Make, provider: ArchiveServer, client: Client) -> None:
    """Regions by regions, with updates in between; only the last step shows it."""
    report = add(make(), client, end=str(day(2)))
    assert report.succeeded
    assert "regions lack precipitation yet" in report.stops_because
    assert_true(make(), 5, set(OLD))
    dataset = make()
    assert dataset.reformat_operational_update(client=client, now=day(6)).succeeded
    assert_true(make(), 6, set(OLD))
    before = len([r for r in provider.requests if "static" not in r.path])
    report = add(make(), client)
    assert report.stops_because is None
    assert report.variables_skipped == 1
    assert len([r for r in provider.requests if "static" not in r.path]) == before + 4
    assert_true(make(), 6, set(DIMS))


def test_it_waits_for_a_run_that_does_not_know_it(
    make: Make, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that began before would publish without it: the next addition shows it."""
    dataset = make()
    far = [(1000, 1004)]
    monkeypatch.setattr(showing, "WAITS_S", 0.0)
    with Lease(dataset.store.state, run="20200101T000000000-other", kind="update", positions=far):
        report = add(make(), client)
    assert "shown once the update 20200101T000000000-other has ended" in report.stops_because
    assert_true(make(), 5, set(OLD))
    report = add(make(), client)
    assert (report.variables_done, report.stops_because) == (0, None)
    assert_true(make(), 5, set(DIMS))


@pytest.mark.parametrize("make", ["a.zarr"], indirect=True)
def test_a_run_that_read_the_old_declaration_stops(make: Make, client: Client) -> None:
    """It would take the variable away again: its structure differs by now."""
    dataset = make()
    old = dataset._opening.declaration()
    add(make(), client)
    config = dataset._opening.config(old)
    template = dataset._opening.template(config, config.label(day(5)))
    archive = dataset._opening.archive(config, template)
    with pytest.raises(StructureMismatch, match="precipitation"):
        archive.check_structure()


@pytest.mark.parametrize("make", ["a.zarr"], indirect=True)
def test_what_cannot_be_added_is_refused(make: Make, tmp_path: Path, client: Client) -> None:
    """One clear line, and nothing was written."""
    before, variables = snapshot(tmp_path), ["precipitation", "temperature"]
    with pytest.raises(ValueError, match="not have precipitation: name no other variables with"):
        make().backfill(day(5), variables=variables, client=client)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["a.zarr", "a.icechunk"])
def test_a_static_variable_is_added(
    name: str, tmp_path: Path, provider: ArchiveServer, client: Client
) -> None:
    """It is shown once it is there, and updates go on with it."""
    dataset = Generated(tmp_path / name, source_base=provider.url)
    dataset.backfill(day(1), variables=["temperature"], client=client)
    report = dataset.backfill(day(1), variables=["orography"], client=client)
    assert report.stops_because is None
    assert_true(dataset, 1, {"temperature", "orography"})
    assert dataset.reformat_operational_update(client=client, now=day(2)).succeeded
    assert_true(dataset, 2, {"temperature", "orography"})


# -- Icechunk ---------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, provider: ArchiveServer, client: Client) -> Generated:
    """A local repository of five days that lacks precipitation."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=provider.url)
    assert dataset.backfill(day(5), variables=OLD, client=client).succeeded
    return dataset


def test_it_is_one_commit(repository: Generated, client: Client) -> None:
    """Before it the branch is as it was, after it a run finds nothing to do or to publish."""
    before = tip(repository)
    add(repository, client, end=str(day(2)))
    assert tip(repository) == before
    add(repository, client)
    store = store_of(repository)
    last, previous, *_ = store.repository.open().ancestry(branch="main")
    assert (last.message, previous.id) == ("Add precipitation", before)
    session = store.repository.open().readonly_session(snapshot_id=before)
    assert sorted(zarr.open_group(session.store, mode="r").array_keys()) == sorted(
        [*OLD, "time", "level", "latitude", "longitude"]
    )
    assert repository.backfill(day(5), client=client).variables_done == 0
    assert tip(repository) == last.id


def test_a_run_that_dies_at_the_commit_left_everything_as_it_was(
    repository: Generated, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one only commits."""
    before = tip(repository)

    def dies(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publication, "commit", dies)
        with pytest.raises(KeyboardInterrupt):
            add(repository, client)
    assert tip(repository) == before
    assert_true(repository, 5, set(OLD))
    report = add(repository, client)
    assert (report.variables_done, report.stops_because) == (0, None)
    assert_true(repository, 5, set(DIMS))


def test_uploads_that_began_from_an_expired_snapshot_are_done_again(
    repository: Generated, client: Client
) -> None:
    """All of them, from a new seed: forks of two seeds would be two arrays of one name."""
    store = store_of(repository)
    add(repository, client, end=str(day(2)))
    assert repository.reformat_operational_update(client=client, now=day(6)).succeeded
    later = datetime.now(UTC) + timedelta(hours=1)
    store.repository.open().expire_snapshots(older_than=later)
    store.repository.open().garbage_collect(later)
    with pytest.raises(PublishConflict, match="began from a snapshot that has expired"):
        add(repository, client, start=str(day(2)))
    assert_true(repository, 6, set(OLD))
    assert add(repository, client).stops_because is None
    assert_true(repository, 6, set(DIMS))


def test_regions_that_an_update_left_unpublished_come_first(
    repository: Generated, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their uploads of other variables are published as ever; then it is added."""
    before = tip(repository)
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "publish", lambda *args: False)
        repository.reformat_operational_update(client=client, now=day(6))
    with pytest.raises(PublishConflict, match="run an update, then this again"):
        add(repository, client)
    assert tip(repository) == before
    assert repository.reformat_operational_update(client=client, now=day(6)).succeeded
    assert_true(repository, 6, set(OLD))
    assert add(repository, client).stops_because is None
    assert_true(repository, 6, set(DIMS))


def test_a_region_that_is_published_again_does_not_add_it_twice(
    repository: Generated, client: Client
) -> None:
    """Its first uploads came with the array: merged once more they would bring another."""
    add(repository, client)
    config = repository.config()
    template = repository._opening.template(config, config.label(day(5)))
    archive = repository._opening.archive(config, template)
    record = repository.store.tracker.read(Region(0, 8))
    assert record is not None
    staged = replace(staged_region(archive, record, 20, 20), stop=7)
    before = tip(repository)
    with archive.written(template) as folder:
        assert repository.store.publish(folder, [staged])
    assert tip(repository) != before
    group = zarr.open_group(store_of(repository).repository.published(), mode="r")
    assert sorted(group.array_keys()) == sorted([*DIMS, "time", "level", "latitude", "longitude"])
    assert_true(repository, 5, set(DIMS))


def test_garbage_collection_spares_it(repository: Generated, client: Client) -> None:
    """What waits to be added is held by no snapshot."""
    add(repository, client, end=str(day(2)))
    store = store_of(repository)
    later = datetime.now(UTC) + timedelta(hours=2)
    assert upkeep.collect_garbage(store.uploads, later)["chunks_deleted"] == 0
    report = add(repository, client)
    assert (report.variables_skipped, report.stops_because) == (1, None)
    assert_true(repository, 5, set(DIMS))
    assert upkeep.collect_garbage(store.uploads, later)["chunks_deleted"] == 0
    assert_true(repository, 5, set(DIMS))
