"""Fields on another grid, and some levels of many.

The provider's cells are 10° wide and have six levels; readers get 30° and three.
`DataVar.regridded` says from which grid values come and how, `select` which levels are read.
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
from gridmill.authoring.grids import LatitudeLongitudeGrid, RegionalGrid
from gridmill.authoring.regridding import Regrid

GRID = LatitudeLongitudeGrid(step_degrees=30.0)
SOURCE = RegionalGrid(
    first_latitude=85.0, first_longitude=5.0, step_degrees=(-10.0, 10.0), shape=(18, 36)
)
LEVELS = np.array([850.0, 500.0, 250.0])


class Template(TemplateConfig):
    """Daily humidity on three levels."""

    dims = ("time", "level", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "humidity", "title": "Humidity, 30°"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 2025-01-01", calendar="standard"),
        Coordinate(name="level", attrs={"units": "hPa", "positive": "down"}),
        *GRID.coords,
    )
    data_vars = (
        DataVar(
            name="q",
            encoding=Encoding(chunks=(5, 3, 7, 12)),
            attrs={
                "standard_name": "specific_humidity",
                "long_name": "Specific humidity",
                "units": "1",
            },
            regridded=Regrid(grid=SOURCE, method="conservative", at_least=0.5),
        ),
    )

    def dimension_coordinates(self):
        """Return levels and grid."""
        return {"level": LEVELS, **GRID.labels()}

    def derive_coordinates(self, ds):
        """Return the grid mapping."""
        return GRID.auxiliary()


@dataclass(frozen=True, kw_only=True)
class DayFile(SourceFileCoord):
    """The file of one day."""

    time: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"humidity-{self.time:%Y%m%d}.nc"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.time}


class Job(RegionJob):
    """Reads the levels of the archive on the grid of the files."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each day of the region."""
        return [DayFile(time=time) for time in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return three levels of six; the file has them in Pa."""
        return read_netcdf(coord.downloaded_path, "q", select={"plev": 100 * LEVELS})


class Humidity(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write_day(folder: Path, time: pd.Timestamp) -> None:
    """Write what the provider has of a day."""
    pressures = np.array([1000.0, 850, 700, 500, 250, 100]) * 100
    labels = SOURCE.labels()
    values = np.random.default_rng(time.day).uniform(0, 0.02, (6, 18, 36)).astype("float32")
    ds = xr.Dataset(
        {"q": (("plev", "lat", "lon"), values, {"units": "1"})},
        {"plev": pressures, "lat": labels["latitude"], "lon": labels["longitude"], "time": time},
    )
    ds["plev"].attrs["units"] = "Pa"
    ds.to_netcdf(folder / f"humidity-{time:%Y%m%d}.nc")


def mean_of_globe(field: xr.DataArray, ends: np.ndarray) -> xr.DataArray:
    """Return the mean over the sphere, by the ends of the cells of latitude."""
    areas = np.abs(np.diff(np.sin(np.radians(ends))))
    return field.mean("longitude").weighted(xr.DataArray(areas, dims="latitude")).mean("latitude")


def main(folder: Path) -> xr.Dataset:
    """Build five days."""
    source = folder / "source"
    source.mkdir()
    for time in pd.date_range("2025-01-01", periods=5):
        write_day(source, time)
    Humidity(folder / "humidity.zarr", source_base=str(source)).backfill("2025-01-06")
    stored = xr.open_zarr(folder / "humidity.zarr")
    with xr.open_dataset(source / "humidity-20250101.nc") as ds:
        given = ds.q.sel(plev=100 * LEVELS).rename(plev="level", lat="latitude", lon="longitude")
        before = mean_of_globe(given, np.arange(90.0, -91, -10))
    after = mean_of_globe(stored.q[0], np.array([90.0, 75, 45, 15, -15, -45, -75, -90]))
    np.testing.assert_allclose(after, before, rtol=1e-6)  # nothing is lost, and nothing gained
    return stored
