"""Names that a listing tells.

The provider puts a creation time into each name, and sometimes makes a file again. The folder of a
day is listed once a run, the newest file of each hour is taken, and what is not listed is a gap.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    ListedFileCoord,
    RegionJob,
    TemplateConfig,
    read_netcdf,
)
from gridmill.testing import ArchiveServer

PATTERN = "rain_s{start:%Y%m%d%H}_c{created:d}.nc"


class Template(TemplateConfig):
    """Hours of 4 × 4 pixels."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "h"
    dataset_attributes = {"dataset_id": "rain", "title": "Rain rate"}
    coords = (
        Coordinate(name="time", dtype="int64", units="hours since 1970-01-01", calendar="standard"),
        Coordinate(name="y"),
        Coordinate(name="x"),
    )
    data_vars = (
        DataVar(
            name="rain",
            encoding=Encoding(chunks=(24, 4, 4)),
            attrs={"long_name": "Rain rate", "units": "mm h-1"},
        ),
    )

    def dimension_coordinates(self):
        """Return pixel numbers."""
        return {"y": np.arange(4.0), "x": np.arange(4.0)}


@dataclass(frozen=True, kw_only=True)
class RainFile(ListedFileCoord):
    """The newest file of an hour, or the place of one that is missed."""

    time: pd.Timestamp

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.time}


class Job(RegionJob):
    """Finds names in the folder of the day."""

    publication_delay = timedelta(hours=1)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return the newest file of each hour."""
        return [
            RainFile(
                time=time,
                listed=self.listings.of(f"{time:%Y%m%d}/", PATTERN).newest(start=time),
            )
            for time in processing_region_ds.get_index("time")
        ]

    def read_data(self, coord, data_var):
        """Return y × x."""
        return read_netcdf(coord.downloaded_path, "rain")


class Rain(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(folder: Path, hour: int, created: int, value: float) -> None:
    """Write the file of an hour."""
    folder.mkdir(exist_ok=True)
    rain = xr.Dataset({"rain": (("y", "x"), np.full((4, 4), value, "float32"))})
    rain.to_netcdf(folder / f"rain_s20250101{hour:02d}_c{created}.nc")


def main(folder: Path) -> xr.Dataset:
    """Build a day of which hour 7 is missing, and hour 9 was made twice."""
    day = folder / "source" / "20250101"
    day.parent.mkdir()
    for hour in sorted(set(range(24)) - {7}):
        write(day, hour, created=1000 + hour, value=hour)
    write(day, 9, created=2000, value=9.5)
    with ArchiveServer(day.parent, lists=True) as server:
        server.release_all()
        dataset = Rain(folder / "rain.zarr", source_base=server.url)
        report = dataset.backfill("2025-01-02")
        asked = [request.path for request in server.requests]
    assert report.new_gaps == 1
    assert asked.count("20250101/") == 1
    stored = xr.open_zarr(folder / "rain.zarr")
    assert float(stored.rain[9, 0, 0]) == 9.5
    assert np.isnan(stored.rain[7]).all()
    return stored
