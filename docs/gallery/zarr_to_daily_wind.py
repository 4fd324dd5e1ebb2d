"""Daily wind speed from somebody's hourly Zarr archive.

The archive has the two components of the wind, an hour a chunk. Readers get the mean and the
highest speed of each day: the speed is derived of each hour, and a day is made of its hours.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from gridmill import Coordinate, DataVar, DynamicalDataset, Encoding, TemplateConfig
from gridmill.authoring.derived import Aggregation, wind_speed
from gridmill.authoring.sources.arrays import ArrayRegion, ArrayRegionJob
from gridmill.testing import ArchiveServer

LATS, LONS = np.arange(60.0, 40.0, -5), np.arange(0.0, 30.0, 5)
ENCODING = Encoding(chunks=(10, 4, 6))
COMPONENTS = tuple(
    DataVar(
        name=f"10m_{of}_component_of_wind",
        encoding=ENCODING,
        attrs={"long_name": f"Component {of}", "units": "m s-1"},
    )
    for of in "uv"
)


def of_day(name: str, method: str) -> DataVar:
    """Return what readers get."""
    return DataVar(
        name=name,
        encoding=ENCODING,
        attrs={
            "standard_name": "wind_speed",
            "long_name": f"Daily {method} of wind speed at 10 m",
            "units": "m s-1",
            "cell_methods": f"time: {method}",
        },
        derived=wind_speed(*COMPONENTS),
        aggregated=Aggregation(method=method, every="h"),
    )


class Template(TemplateConfig):
    """Days."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "daily-wind", "title": "Daily wind speed"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1970-01-01", calendar="standard"),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (of_day("mean_speed", "mean"), of_day("highest_speed", "maximum"))

    def dimension_coordinates(self):
        """Return the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Hours(ArrayRegion):
    """The hours of a day."""

    first: pd.Timestamp

    def out_loc(self):
        """Return the hours that it fills, both ends included."""
        return {"time": slice(self.first, self.first + pd.Timedelta("23h"))}


class Job(ArrayRegionJob):
    """Takes the hours of each day."""

    def array_name(self, data_var):
        """Return what the provider calls it."""
        return data_var.name

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a selection a day."""
        days = processing_region_ds.get_index("time").normalize().unique()
        arrays = tuple(var.name for var in data_var_group)
        return [Hours(store="hourly.zarr", arrays=arrays, first=day) for day in days]


class DailyWind(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build three days, and take in a revised hour."""
    dims, times = (
        ("time", "latitude", "longitude"),
        pd.date_range("2025-01-01", periods=72, freq="h"),
    )
    wind = np.random.default_rng(0).normal(0, 9, (2, 72, 4, 6)).astype("float32")
    names = [var.name for var in COMPONENTS]
    provider = xr.Dataset(
        {name: (dims, of, {"units": "m s-1"}) for name, of in zip(names, wind, strict=True)},
        {"time": times, "latitude": LATS, "longitude": LONS},
    )
    chunks = {name: {"chunks": (1, 4, 6)} for name in names}
    provider.to_zarr(folder / "source" / "hourly.zarr", zarr_format=2, encoding=chunks)

    def expected() -> tuple[np.ndarray, np.ndarray]:
        speeds = np.hypot(*wind.astype("float64")).reshape(3, 24, 4, 6)
        return speeds.mean(axis=1), speeds.max(axis=1)

    with ArchiveServer(folder / "source") as server:
        server.release_all()
        dataset = DailyWind(folder / "wind.zarr", source_base=server.url)
        dataset.backfill("2025-01-04", now="2025-01-04")
        stored = xr.open_zarr(folder / "wind.zarr")
        np.testing.assert_allclose(stored.mean_speed, expected()[0], rtol=1e-5)
        np.testing.assert_allclose(stored.highest_speed, expected()[1], rtol=1e-5)
        zarr.open_array(folder / "source" / "hourly.zarr" / names[0])[60] = wind[0, 60] = 33.0
        dataset.reformat_operational_update(now="2025-01-04")
    stored = xr.open_zarr(folder / "wind.zarr")
    np.testing.assert_allclose(stored.mean_speed, expected()[0], rtol=1e-5)
    np.testing.assert_allclose(stored.highest_speed, expected()[1], rtol=1e-5)
    return stored
