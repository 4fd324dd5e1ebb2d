"""A file a year, which fills up.

The provider adds each day to the file of its year. Every day is a source file of its own, at the
same address: a region fetches the file once, what it does not have yet is waited for, and what the
archive does not want of it is left.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import daily
import numpy as np
import pandas as pd
import xarray as xr

from gridmill import DynamicalDataset, RegionJob, SourceFileCoord, read_netcdf
from gridmill.testing import ArchiveServer


class Template(daily.Template):
    """A 10° grid, as in the first example; it begins in the midst of a year."""

    append_dim_start = "2024-12-20"


@dataclass(frozen=True, kw_only=True)
class DayOfYear(SourceFileCoord):
    """A day in the file of its year."""

    day: pd.Timestamp

    def get_url(self):
        """Return the name of the year's file."""
        return f"{self.day:%Y}.nc"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.day}


class Job(RegionJob):
    """Reads days of year files."""

    publication_delay = timedelta(days=3)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return each day of the region."""
        return [DayOfYear(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return a day; its time in the file is compared with the label."""
        at = coord.day.day_of_year - 1
        return read_netcdf(coord.downloaded_path, data_var.name, index={"time": at})


class YearFiles(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(folder: Path, year: int, values: np.ndarray) -> None:
    """Write the file of a year, with as many days as there are."""
    times = pd.date_range(f"{year}-01-01", periods=len(values))
    data = {"temperature": (("time", "y", "x"), values, {"units": "K"})}
    xr.Dataset(data, {"time": times}).to_netcdf(folder / f"{year}.nc")


def main(folder: Path) -> xr.Dataset:
    """Build 30 days from two years, the second of which has 15 days, and then 25."""
    source = folder / "source"
    source.mkdir()
    values = np.random.default_rng(0).normal(280, 9, (366 + 25, 18, 36)).astype("float32")
    write(source, 2024, values[:366])
    write(source, 2025, values[366 : 366 + 15])
    with ArchiveServer(source) as server:
        server.release_all()
        days = YearFiles(folder / "days.zarr", source_base=server.url)
        days.backfill("2025-01-17", now="2025-01-17")
        stored = xr.open_zarr(folder / "days.zarr")
        np.testing.assert_array_equal(stored.temperature, values[354 : 366 + 15])
        write(source, 2025, values[366:])
        days.reformat_operational_update(now="2025-01-26")
    stored = xr.open_zarr(folder / "days.zarr")
    np.testing.assert_array_equal(stored.temperature, values[354:])
    return stored
