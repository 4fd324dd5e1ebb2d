"""Somebody's Zarr archive as the source.

The chunks of a region are its source file: fetched with retries, kept as they came, read and
compared with the template like any file. When the provider revises a chunk, an update takes in the
regions that it touches, and no others.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from gridmill import Coordinate, DataVar, DynamicalDataset, Encoding, TemplateConfig
from gridmill.authoring.sources.arrays import ArrayRegion, ArrayRegionJob
from gridmill.testing import ArchiveServer

LATS, LONS = np.arange(60.0, 40.0, -5), np.arange(0.0, 30.0, 5)


class Template(TemplateConfig):
    """Hourly temperature of a few points."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "h"
    dataset_attributes = {"dataset_id": "from-zarr", "title": "From somebody's Zarr"}
    coords = (
        Coordinate(name="time", dtype="int64", units="hours since 1970-01-01", calendar="standard"),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="temperature_2m",
            encoding=Encoding(chunks=(24, 4, 6)),
            attrs={"long_name": "Air temperature at 2 m", "units": "K"},
        ),
    )

    def dimension_coordinates(self):
        """Return the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Day(ArrayRegion):
    """The hours of a region."""

    first: pd.Timestamp
    last: pd.Timestamp

    def out_loc(self):
        """Return the labels that it fills, both ends included."""
        return {"time": slice(self.first, self.last)}


class Job(ArrayRegionJob):
    """Takes one selection for a region."""

    def array_name(self, data_var):
        """Return what the provider calls it."""
        return "2m_temperature"

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return the region."""
        times = processing_region_ds.get_index("time")
        arrays = ("2m_temperature",)
        return [Day(store="era5.zarr", arrays=arrays, first=times[0], last=times[-1])]


class FromZarr(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(folder: Path) -> None:
    """Write the provider's archive, south to north, in chunks of ten hours."""
    times = pd.date_range("2025-01-01", periods=72, freq="h")
    values = np.arange(72 * 4 * 6, dtype="float32").reshape(72, 4, 6) / 16 + 250
    dims = ("time", "latitude", "longitude")
    ds = xr.Dataset(
        {"2m_temperature": (dims, values, {"units": "K"}), "other": (dims, values)},
        {"time": times, "latitude": LATS, "longitude": LONS},
    ).isel(latitude=slice(None, None, -1))
    chunks = {name: {"chunks": (10, 4, 6)} for name in ds.data_vars}
    ds.to_zarr(folder / "era5.zarr", mode="w", zarr_format=2, encoding=chunks)


def main(folder: Path) -> xr.Dataset:
    """Build two days, and take in a revision of the second."""
    source = folder / "source"
    source.mkdir()
    write(source)
    with ArchiveServer(source) as server:
        server.release_all()
        dataset = FromZarr(folder / "a.zarr", source_base=server.url)
        dataset.backfill("2025-01-03", now="2025-01-03")
        zarr.open_array(source / "era5.zarr" / "2m_temperature")[41] = 300.0
        report = dataset.reformat_operational_update(now="2025-01-03")
    assert report.variables_done == 1
    stored = xr.open_zarr(folder / "a.zarr")
    expected = xr.open_zarr(source / "era5.zarr")["2m_temperature"]
    expected = expected.isel(time=slice(0, 48), latitude=slice(None, None, -1))
    assert (stored.temperature_2m.values == expected.values).all()
    return stored
