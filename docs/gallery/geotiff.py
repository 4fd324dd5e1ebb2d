"""Gzipped GeoTIFF, preliminary and final.

A day is a gzipped GeoTIFF of packed integers. It is unpacked on the worker; where its pixels lie is
compared with the grid, nodata becomes missing, and scale and offset are applied. A preliminary file
comes first, and an update takes in the final one.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import xarray as xr

from gridmill import (
    Address,
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    Finality,
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
        Finality(dims=("time",)),
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
        """Return its addresses, the final one first; .gz is unpacked."""
        name = f"rain.{self.day:%Y.%m.%d}.tif.gz"
        return [f"final/{name}", Address(f"preliminary/{name}", provisional="of few gauges")]

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
    path.parent.mkdir(parents=True, exist_ok=True)
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
    """Build ten days, the last two preliminary, and take in their final files."""
    source = folder / "source"
    tenths = np.random.default_rng(0).integers(0, 500, (10, 5, 6))
    tenths[:, 0, 0] = -9999
    names = [f"rain.{day:%Y.%m.%d}.tif.gz" for day in pd.date_range("2025-01-01", periods=10)]
    for name, day in zip(names[:8], tenths[:8], strict=True):
        write(source / "final" / name, day)
    for name, day in zip(names[8:], tenths[8:], strict=True):
        write(source / "preliminary" / name, day + 7)
    rain = Rain(folder / "rain.zarr", source_base=str(source))
    rain.backfill("2025-01-11", now="2025-01-11")
    expected = np.where(tenths < 0, np.nan, tenths * 0.1).astype("float32")
    stored = xr.open_zarr(folder / "rain.zarr")
    np.testing.assert_allclose(stored.precipitation[:8], expected[:8], rtol=1e-6)
    np.testing.assert_allclose(stored.precipitation[8:, 1:], expected[8:, 1:] + 0.7, rtol=1e-6)
    assert stored.finality.values.tolist() == [1.0] * 8 + [0.0] * 2
    for name, day in zip(names[8:], tenths[8:], strict=True):
        write(source / "final" / name, day)
    rain.reformat_operational_update(now="2025-01-11T06")
    stored = xr.open_zarr(folder / "rain.zarr")
    np.testing.assert_allclose(stored.precipitation, expected, rtol=1e-6)
    assert (stored.finality == 1).all()
    return stored
