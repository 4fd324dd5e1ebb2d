"""A provider that revises its files: `revalidate` finds out and takes the new values in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import xarray as xr
from distributed import Client

from gridmill.testing import ArchiveServer
from wfde5 import TABLE, Wfde5Hourly


def test_a_revised_file_is_taken_in_on_request(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """Only the region of the revised file is fetched again, and its new values are published."""
    archive = tmp_path / "provider"
    shutil.copytree(wfde5_archive, archive)
    with ArchiveServer(archive) as server:
        server.release_all()
        dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=server.url)
        dataset.backfill("2017-01-13", client=client)
        (path,) = archive.rglob("*_20170106.nc")
        with xr.load_dataset(path) as ds:
            ds["Tair"] += 1
            ds.to_netcdf(path)
        os.utime(path, (2e9, 2e9))
        assert dataset.backfill("2017-01-13", client=client).regions_skipped == 3
        report = dataset.backfill("2017-01-13", revalidate=True, client=client)
    assert (report.regions_done, report.regions_skipped) == (1, 2)
    assert report.files["succeeded"] == 4
    with xr.open_zarr(tmp_path / "a.zarr") as stored, xr.open_dataset(path) as revised:
        for name, (source_name, *_) in TABLE.items():
            day = stored[name].sel(time="2017-01-06").values
            assert (day == revised[source_name].values).sum() == (day == day).sum()


def test_a_lost_object_is_made_again_on_request(
    wfde5_archive: Path, client: Client, tmp_path: Path
) -> None:
    """`revalidate` looks for every object of a region, not for a sample."""
    dataset = Wfde5Hourly(tmp_path / "a.zarr", source_base=str(wfde5_archive))
    dataset.backfill("2017-01-09", client=client)
    lost = tmp_path / "a.zarr" / "wind_speed" / "c" / "1" / "0" / "0"
    lost.unlink()
    report = dataset.backfill("2017-01-09", revalidate=True, client=client)
    assert report.variables_done == 1
    assert lost.exists()
