"""Days made of hours.

The provider has a file an hour, and readers get the mean and the highest of each day.
`DataVar.aggregated` says so; the job lists and reads hours. An hour that is late is a gap of its
own, and its day is missing until it comes: then that day is made, and no other.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import daily
import numpy as np
import pandas as pd
import xarray as xr

from gridmill import DataVar, DynamicalDataset, Encoding, RegionJob, SourceFileCoord, read_netcdf
from gridmill.authoring.derived import Aggregation


def of_hours(name: str, method: str) -> DataVar:
    """Return a variable of days; `cell_methods` must say what they are of their hours."""
    return DataVar(
        name=name,
        encoding=Encoding(chunks=(5, 18, 36), shards=(10, 18, 36)),
        attrs={
            "long_name": f"Daily {method} of air temperature",
            "units": "K",
            "cell_methods": f"time: {method}",
        },
        aggregated=Aggregation(method=method, every="h"),
    )


class Template(daily.Template):
    """A 10° grid, as in the first example."""

    data_vars = (of_hours("mean", "mean"), of_hours("highest", "maximum"))


@dataclass(frozen=True, kw_only=True)
class HourlyFile(SourceFileCoord):
    """The file of one hour."""

    hour: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"{self.hour:%Y%m%d%H}.nc"

    def out_loc(self):
        """Return the hour that it holds; gridmill knows of which day it is."""
        return {"time": self.hour}


class Job(RegionJob):
    """Lists and reads hours."""

    publication_delay = timedelta(hours=3)
    reads_again = False

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each hour of the region."""
        return [HourlyFile(hour=hour) for hour in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return latitude × longitude; both variables are made of the same one."""
        return read_netcdf(coord.downloaded_path, "temperature")


class OfHours(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write_hour(folder: Path, hour: pd.Timestamp) -> None:
    """Play the provider."""
    values = np.full((18, 36), 280 + hour.hour, "float32")
    ds = xr.Dataset({"temperature": (("y", "x"), values)})
    ds.to_netcdf(folder / f"{hour:%Y%m%d%H}.nc")


def main(folder: Path) -> xr.Dataset:
    """Build two days, one of which lacks an hour that comes later."""
    source = folder / "source"
    source.mkdir()
    hours = pd.date_range("2025-01-01", periods=48, freq="h")
    for hour in hours.delete(30):
        write_hour(source, hour)
    dataset = OfHours(folder / "days.zarr", source_base=str(source))
    dataset.backfill("2025-01-03", now="2025-01-04")
    stored = xr.open_zarr(folder / "days.zarr")
    assert stored["mean"].isnull().all(("latitude", "longitude")).values.tolist() == [False, True]
    write_hour(source, hours[30])
    dataset.reformat_operational_update(now="2025-01-03")
    stored = xr.open_zarr(folder / "days.zarr")
    assert (stored["mean"] == 280 + np.arange(24).mean()).all()
    assert (stored["highest"] == 303).all()
    return stored
