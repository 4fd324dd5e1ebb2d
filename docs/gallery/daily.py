"""One file a day.

The smallest dataset: each NetCDF file is one day. Ten days make a shard, and a shard is what an
update rewrites at most.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_netcdf,
)


class Template(TemplateConfig):
    """A 10° grid of daily temperature."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "daily", "title": "Daily temperature"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1970-01-01", calendar="standard"),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="temperature",
            encoding=Encoding(chunks=(5, 18, 36), shards=(10, 18, 36)),
            attrs={"long_name": "Air temperature", "units": "K"},
        ),
    )

    def dimension_coordinates(self):
        """Return the centres of the cells."""
        return {"latitude": np.arange(85.0, -90, -10), "longitude": np.arange(5.0, 360, 10)}


@dataclass(frozen=True, kw_only=True)
class DailyFile(SourceFileCoord):
    """The file of one day."""

    day: pd.Timestamp

    def get_url(self):
        """Return its name, relative to the dataset's source_base."""
        return f"{self.day:%Y%m%d}.nc"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.day}


class Job(RegionJob):
    """Reads one variable of one file."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each day of the region."""
        return [DailyFile(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return latitude × longitude."""
        return read_netcdf(coord.downloaded_path, data_var.name)


class Daily(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write_source(folder: Path) -> None:
    """Play the provider: twenty days."""
    for number, day in enumerate(pd.date_range("2025-01-01", periods=20)):
        values = np.full((18, 36), 280 + number, "float32")
        xr.Dataset({"temperature": (("y", "x"), values)}).to_netcdf(folder / f"{day:%Y%m%d}.nc")


def main(folder: Path) -> xr.Dataset:
    """Build the archive, and open it as any reader does."""
    source = folder / "source"
    source.mkdir()
    write_source(source)
    dataset = Daily(folder / "daily.zarr", source_base=str(source))
    dataset.backfill("2025-01-16")
    dataset.reformat_operational_update(now="2025-01-21")  # later, from a scheduler
    stored = xr.open_zarr(folder / "daily.zarr")
    assert float(stored.temperature.sel(time="2025-01-20").mean()) == 299
    return stored
