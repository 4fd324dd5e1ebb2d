"""Scenes at irregular times.

A satellite passes when it passes, and some scenes come late. `append_dim_coordinates` returns the
labels that the provider's listing shows. Readers see a scene once `settling_window` is over, in
which others find their place before it.
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
    ListedFileCoord,
    RegionJob,
    TemplateConfig,
    read_netcdf,
)
from gridmill.testing import ArchiveServer

PATTERN = "scene-{start:%Y%m%dT%H%M}_c{created:d}.nc"


class Template(TemplateConfig):
    """Scenes of 4 × 4 pixels."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = None
    append_dim_capacity = 1000
    settling_window = "1h"
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
        """Return the times of the scenes before `end` that are listed."""
        files = self.listings.of("2025/", PATTERN).files
        return pd.DatetimeIndex(sorted({f["start"] for f in files if f["start"] < end}))

    def dimension_coordinates(self):
        """Return pixel numbers."""
        return {"y": np.arange(4.0), "x": np.arange(4.0)}


@dataclass(frozen=True, kw_only=True)
class Scene(ListedFileCoord):
    """The newest file of a scene."""

    time: pd.Timestamp

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.time}


class Job(RegionJob):
    """Reads a scene."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return the scenes of the region."""
        files = self.listings.of("2025/", PATTERN)
        times = processing_region_ds.get_index("time")
        return [Scene(time=time, listed=files.newest(start=time)) for time in times]

    def read_data(self, coord, data_var):
        """Return y × x."""
        return read_netcdf(coord.downloaded_path, "radiance")


class Scenes(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(folder: Path, time: pd.Timestamp, created: int, values: np.ndarray) -> None:
    """Write a scene as the provider does."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = xr.Dataset({"radiance": (("y", "x"), values)})
    scene.to_netcdf(folder / f"scene-{time:%Y%m%dT%H%M}_c{created}.nc")


def main(folder: Path) -> xr.Dataset:
    """Build three scenes; a late one takes its place before the last, and one is made anew."""
    times = pd.to_datetime(["2025-01-01T09:12", "2025-01-01T10:53", "2025-01-01T11:20"])
    late = pd.Timestamp("2025-01-01T11:05")
    values = np.random.default_rng(0).normal(90, 9, (4, 4, 4)).astype("float32")
    year = folder / "source" / "2025"
    for number, time in enumerate(times):
        write(year, time, number, values[number])
    with ArchiveServer(folder / "source", lists=True) as server:
        server.release_all()
        scenes = Scenes(folder / "scenes.zarr", source_base=server.url)
        scenes.backfill("2025-01-01T12:00", now="2025-01-01T12:00")
        seen = xr.open_zarr(folder / "scenes.zarr").get_index("time")
        assert list(seen) == list(times[:2])
        write(year, late, 3, values[3])
        write(year, times[0], 4, values[0] + 1)
        scenes.reformat_operational_update(now="2025-01-01T13:00")
    stored = xr.open_zarr(folder / "scenes.zarr")
    assert list(stored.get_index("time")) == [*times[:2], late, times[2]]
    expected = values[[0, 1, 3, 2]] + np.array([1, 0, 0, 0])[:, None, None]
    np.testing.assert_allclose(stored.radiance, expected, rtol=1e-6)
    return stored
