"""Derived values.

`transform_values_inplace` changes values after they are read and before they are stored. Here
the provider publishes knots, and readers get metres per second.
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
)

KNOT = 1852 / 3600  # in m s-1, by definition


class Template(TemplateConfig):
    """Wind at a mast of three heights, every six hours."""

    dims = ("time", "height")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "6h"
    dataset_attributes = {"dataset_id": "mast", "title": "Wind at a mast"}
    coords = (
        Coordinate(name="time", dtype="int64", units="hours since 2025-01-01", calendar="standard"),
        Coordinate(name="height", attrs={"units": "m", "positive": "up"}),
    )
    data_vars = (
        DataVar(
            name="wind_speed",
            encoding=Encoding(chunks=(20, 3)),
            attrs={"standard_name": "wind_speed", "long_name": "Wind speed", "units": "m s-1"},
        ),
    )

    def dimension_coordinates(self):
        """Return the heights."""
        return {"height": np.array([10.0, 50.0, 100.0])}


@dataclass(frozen=True, kw_only=True)
class MastFile(SourceFileCoord):
    """The file of one time."""

    time: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"mast-{self.time:%Y%m%d%H}.csv"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.time}


class Job(RegionJob):
    """Reads knots from CSV."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each time of the region."""
        return [MastFile(time=time) for time in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return the provider's values, in knots; any format that Python reads will do."""
        return np.loadtxt(coord.downloaded_path, dtype="float32")

    def transform_values_inplace(self, values, data_var):
        """Convert to the variable's units."""
        values *= KNOT
        super().transform_values_inplace(values, data_var)


class Mast(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build a week."""
    source = folder / "source"
    source.mkdir()
    for time in pd.date_range("2025-01-01", periods=28, freq="6h"):
        np.savetxt(source / f"mast-{time:%Y%m%d%H}.csv", [10, 20, 30])
    Mast(folder / "mast.zarr", source_base=str(source)).backfill("2025-01-08")
    stored = xr.open_zarr(folder / "mast.zarr")
    np.testing.assert_allclose(stored.wind_speed[0], np.array([10, 20, 30]) * KNOT, rtol=1e-6)
    return stored
