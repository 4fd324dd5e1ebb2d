"""A 360-day calendar.

Climate models have months of 30 days. Give the template a `calendar`, and the append dim is on
cftime dates throughout: labels, regions, `--start` and `--until`.
"""

from dataclasses import dataclass
from pathlib import Path

import cftime
import numpy as np
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
    """Monthly precipitation of a model with twelve months of 30 days."""

    dims = ("time", "latitude")
    append_dim = "time"
    append_dim_start = "1860-01-01"
    append_dim_frequency = "MS"
    append_dim_capacity = 12 * 300
    calendar = "360_day"
    dataset_attributes = {"dataset_id": "climate-calendar", "title": "A model's precipitation"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1860-01-01", calendar="360_day"),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
    )
    data_vars = (
        DataVar(
            name="precipitation",
            encoding=Encoding(chunks=(12, 4)),
            attrs={"long_name": "Precipitation", "units": "kg m-2 s-1"},
        ),
    )

    def dimension_coordinates(self):
        """Return four zones."""
        return {"latitude": np.array([-60.0, -20.0, 20.0, 60.0])}


@dataclass(frozen=True, kw_only=True)
class MonthFile(SourceFileCoord):
    """The file of one month."""

    month: cftime.Datetime360Day

    def get_url(self):
        """Return its name."""
        return f"pr-{self.month:%Y%m}.nc"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.month}


class Job(RegionJob):
    """Reads a month."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each month of the region."""
        return [MonthFile(month=month) for month in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return values by latitude."""
        return read_netcdf(coord.downloaded_path, "pr")


class ClimateCalendar(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build two model years."""
    source = folder / "source"
    source.mkdir()
    months = xr.date_range("1860-01-01", periods=24, freq="MS", calendar="360_day", use_cftime=True)
    for number, month in enumerate(months):
        values = np.full(4, number, "float32")
        xr.Dataset({"pr": ("latitude", values)}).to_netcdf(source / f"pr-{month:%Y%m}.nc")
    ClimateCalendar(folder / "model.zarr", source_base=str(source)).backfill("1862-01-01")
    stored = xr.open_zarr(folder / "model.zarr")
    assert stored.time.dt.calendar == "360_day"
    assert float(stored.precipitation.sel(time="1861-12-01").mean()) == 23
    return stored
