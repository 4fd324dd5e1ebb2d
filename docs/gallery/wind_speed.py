"""Derived variables.

The provider publishes the two components of wind, in knots. `DataVar.derived` says that readers get
its speed, in metres per second: the components are read, converted and not stored.
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
from gridmill.authoring.derived import wind_speed

KNOT = 1852 / 3600  # in m s-1, by definition


def component(name: str) -> DataVar:
    """Return what the files hold, which nobody stores."""
    attrs = {"long_name": f"Wind towards {name}", "units": "knot"}
    return DataVar(name=name, encoding=Encoding(chunks=(20, 3)), attrs=attrs)


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
            derived=wind_speed(component("east"), component("north")),
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
        """Return a component, in knots; any format that Python reads will do."""
        column = ("east", "north").index(data_var.name)
        return np.loadtxt(coord.downloaded_path, dtype="float32", usecols=column)


class Mast(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build a week."""
    source = folder / "source"
    source.mkdir()
    for time in pd.date_range("2025-01-01", periods=28, freq="6h"):
        np.savetxt(source / f"mast-{time:%Y%m%d%H}.csv", [[3, 4], [6, 8], [0, 30]])
    Mast(folder / "mast.zarr", source_base=str(source)).backfill("2025-01-08")
    stored = xr.open_zarr(folder / "mast.zarr")
    np.testing.assert_allclose(stored.wind_speed[0], np.array([5, 10, 30]) * KNOT, rtol=1e-6)
    return stored
