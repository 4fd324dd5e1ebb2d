"""The main job on real hourly data: backfill, daily updates inside shards, same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from clusters import local_client
from gridmill.stores.zarr_store import ZarrStore
from gridmill.testing import ArchiveServer
from wfde5 import TABLE, Wfde5Hourly, Wfde5HourlyDailyChunks, Wfde5HourlyUnsharded

pytestmark = pytest.mark.shared_data

LAYOUTS = [Wfde5Hourly, Wfde5HourlyUnsharded]


def digests(root: Path) -> dict[str, str]:
    """Give the checksum of every object of a store, by key."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def source_values(archive: Path, name: str) -> np.ndarray:
    """Give a variable's values from all source files, in order, read by xarray."""
    files = sorted(archive.rglob("*.nc"))
    return np.concatenate([xr.load_dataset(file)[TABLE[name][0]].values for file in files])


def assert_equals_source(store: Path, archive: Path, hours: int) -> None:
    """Compare every published value with the source files."""
    with xr.open_zarr(store) as ds:
        assert ds.sizes["time"] == hours
        expected = pd.date_range("2017-01-01", periods=hours, freq="h")
        assert ds.get_index("time").equals(expected)
        for name in TABLE:
            np.testing.assert_array_equal(ds[name].values, source_values(archive, name)[:hours])


@pytest.mark.parametrize("dataset_class", LAYOUTS)
def test_backfill_and_daily_updates_equal_the_source(
    dataset_class: type[Wfde5Hourly], wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """A backfill of 20 days and updates day by day to 31 equal the source array for array."""
    with ArchiveServer(wfde5_archive) as server:
        server.release("*_201701[01]?.nc")
        server.release("*_20170120.nc")
        dataset = dataset_class(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill("2017-01-21", client=client)
        assert report.succeeded
        assert report.positions_after == 480
        for day in range(21, 32):
            server.release(f"*_201701{day}.nc")
            now = pd.Timestamp("2017-01-01") + pd.Timedelta(days=day)
            report = dataset.reformat_operational_update(client=client, now=now)
            assert report.succeeded
            assert report.positions_after == day * 24
    assert_equals_source(tmp_path / "a.zarr", wfde5_archive, 744)


@pytest.mark.parametrize("dataset_class", LAYOUTS)
def test_the_same_inputs_give_the_same_bytes(
    dataset_class: type[Wfde5Hourly], wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """One worker or two, at once or in steps: the stores are equal object by object."""
    dataset = dataset_class(tmp_path / "two.zarr", source_base=str(wfde5_archive))
    dataset.backfill("2017-01-24", client=client)
    dataset.backfill("2017-02-01", client=client)
    with local_client(n_workers=1) as alone:
        once = dataset_class(tmp_path / "one.zarr", source_base=str(wfde5_archive))
        once.backfill("2017-02-01", client=alone)
    assert digests(tmp_path / "one.zarr") == digests(tmp_path / "two.zarr")


def test_stages_of_different_variables_overlap(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """For 30 % of the busy time two stages are active, and at some moment all three."""
    with ArchiveServer(wfde5_archive) as server:
        server.release_all()
        dataset = Wfde5HourlyDailyChunks(tmp_path / "a.zarr", source_base=server.url, fsync=True)
        report = dataset.backfill("2017-02-01", client=client)
    overlap = report.overlap()
    print(overlap, report.throughput())
    assert overlap.two >= 0.3
    assert overlap.three > 0


def test_nothing_is_fetched_twice_on_a_healthy_cluster(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """Each source file is requested once, and none again by healing."""
    with ArchiveServer(wfde5_archive) as server:
        server.release_all()
        dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill("2017-02-01", client=client)
        assert len(server.requests) == 31
    assert report.nbytes_healed == 0


def test_a_rerun_skips_what_is_done(wfde5_archive: Path, client: Client, tmp_path: Path) -> None:
    """A second backfill asks the provider for nothing and writes nothing."""
    with ArchiveServer(wfde5_archive) as server:
        server.release_all()
        dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=server.url)
        dataset.backfill("2017-01-21", client=client)
        asked = len(server.requests)
        before = digests(tmp_path / "a.zarr")
        report = dataset.backfill("2017-01-21", client=client)
        assert len(server.requests) == asked
    assert report.regions_skipped == 5
    assert report.variables_done == 0
    assert digests(tmp_path / "a.zarr") == before


def test_a_file_that_is_not_published_yet_leaves_the_extent_before_it(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """The extent stops before the missing day and says why; the next update completes it."""
    with ArchiveServer(wfde5_archive) as server:
        server.release_all()
        server.hold("*_20170103.nc")
        dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill("2017-01-09", client=client)
        assert report.succeeded
        assert report.positions_after == 48
        assert "20170103.nc not yet available" in str(report.stops_because)
        server.release("*_20170103.nc")
        report = dataset.reformat_operational_update(client=client, now="2017-01-09")
    assert report.positions_after == 192
    assert_equals_source(tmp_path / "a.zarr", wfde5_archive, 192)


def test_one_region_job_processes_by_itself(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """`RegionJob.process()` uploads and records on the current client, and publishes nothing."""
    dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=str(wfde5_archive))
    with client.as_current():
        results = dataset.plan("2017-01-09").jobs[1].process()
    assert set(results) == set(TABLE)
    assert all(coord.status == "succeeded" for coords in results.values() for coord in coords)
    assert not (tmp_path / "a.zarr" / "zarr.json").exists()
    report = dataset.backfill("2017-01-09", client=client)
    assert (report.regions_done, report.regions_skipped) == (1, 1)
    assert_equals_source(tmp_path / "a.zarr", wfde5_archive, 192)


def test_only_chunk_objects_reach_the_store_before_a_region_is_complete(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """Until a region is published the store holds its data objects and no metadata of it."""
    dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=str(wfde5_archive))
    with client.as_current():
        dataset.plan("2017-01-05").jobs[0].process()
    keys = list(ZarrStore(str(tmp_path / "a.zarr"), dataset.dataset_id).objects.keys())
    assert len(keys) == len(TABLE)
    assert all("/c/" in key for key in keys)
