"""Gzipped GeoTIFF.

A day is a gzipped GeoTIFF of packed integers. It is unpacked on the worker; where its pixels lie is
compared with the grid, nodata becomes missing, and scale and offset are applied.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_geotiff,
)

LATS, LONS = np.arange(9.5, 5, -1), np.arange(0.5, 6)


class Template(TemplateConfig):
    """Daily rain on whole degrees."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "rain", "title": "Daily rain"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1970-01-01", calendar="standard"),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="precipitation",
            encoding=Encoding(chunks=(10, 5, 6)),
            attrs={"long_name": "Precipitation", "units": "mm"},
        ),
    )

    def dimension_coordinates(self):
        """Return the centres of the pixels."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class DayFile(SourceFileCoord):
    """A day."""

    day: pd.Timestamp

    def get_url(self):
        """Return its name: .gz is unpacked."""
        return f"rain.{self.day:%Y.%m.%d}.tif.gz"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.day}


class Job(RegionJob):
    """Reads a day."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file a day."""
        return [DayFile(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return latitude × longitude."""
        return read_geotiff(coord.downloaded_path, crs="EPSG:4326")


class Rain(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(path: Path, tenths: np.ndarray) -> None:
    """Write a day as the provider does."""
    plain = path.with_suffix("")
    grid = rasterio.transform.from_origin(0, 10, 1, 1)
    profile = {"driver": "GTiff", "dtype": "int16", "count": 1, "nodata": -9999}
    with rasterio.open(
        plain, "w", height=5, width=6, crs="EPSG:4326", transform=grid, **profile
    ) as out:
        out.write(tenths.astype("int16"), 1)
        out.scales = (0.1,)
    path.write_bytes(gzip.compress(plain.read_bytes()))


def main(folder: Path) -> xr.Dataset:
    """Build ten days."""
    source = folder / "source"
    source.mkdir()
    for number, day in enumerate(pd.date_range("2025-01-01", periods=10)):
        tenths = np.full((5, 6), 10 * number)
        tenths[0, 0] = -9999
        write(source / f"rain.{day:%Y.%m.%d}.tif.gz", tenths)
    Rain(folder / "rain.zarr", source_base=str(source)).backfill("2025-01-11")
    stored = xr.open_zarr(folder / "rain.zarr")
    assert np.isnan(stored.precipitation[:, 0, 0]).all()
    assert stored.precipitation[:, 1, 1].values.tolist() == list(range(10))
    return stored
