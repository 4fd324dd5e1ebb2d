"""Scenes at irregular times.

A satellite passes when it passes. `append_dim_coordinates` returns the labels; here they come
from the names of the files that the provider lists.
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


class Template(TemplateConfig):
    """Scenes of 4 × 4 pixels."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = None
    append_dim_capacity = 1000
    dataset_attributes = {"dataset_id": "scenes", "title": "Scenes of a satellite"}
    coords = (
        Coordinate(
            name="time", dtype="int64", units="seconds since 1970-01-01", calendar="standard"
        ),
        Coordinate(name="y"),
        Coordinate(name="x"),
    )
    data_vars = (
        DataVar(
            name="radiance",
            encoding=Encoding(chunks=(3, 4, 4)),
            attrs={"long_name": "Radiance", "units": "W m-2 sr-1"},
        ),
    )

    def append_dim_coordinates(self, end):
        """Return the times of the scenes before `end`."""
        return pd.DatetimeIndex([scene for scene in SCENES if scene < pd.Timestamp(end)])

    def dimension_coordinates(self):
        """Return pixel numbers."""
        return {"y": np.arange(4.0), "x": np.arange(4.0)}


# A catalogue of the provider; a real dataset would list its folder.
SCENES = pd.to_datetime(
    ["2025-01-01T09:12", "2025-01-01T10:53", "2025-01-02T09:01", "2025-01-03T10:31"]
)


@dataclass(frozen=True, kw_only=True)
class SceneFile(SourceFileCoord):
    """One scene."""

    time: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"scene-{self.time:%Y%m%dT%H%M}.nc"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.time}


class Job(RegionJob):
    """Reads a scene."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return the scenes of the region."""
        return [SceneFile(time=time) for time in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return y × x."""
        return read_netcdf(coord.downloaded_path, "radiance")


class Scenes(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build all scenes."""
    source = folder / "source"
    source.mkdir()
    for number, time in enumerate(SCENES):
        values = np.full((4, 4), number, "float32")
        scene = xr.Dataset({"radiance": (("y", "x"), values)})
        scene.to_netcdf(source / f"scene-{time:%Y%m%dT%H%M}.nc")
    Scenes(folder / "scenes.zarr", source_base=str(source)).backfill("2025-01-04")
    stored = xr.open_zarr(folder / "scenes.zarr")
    assert list(stored.get_index("time")) == list(SCENES)
    return stored
