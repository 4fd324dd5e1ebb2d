"""Try an installed gridmill: names, commands, and a small archive, with nothing but the core."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import gridmill
from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
)

DAYS = 5


class Template(TemplateConfig):
    """One number a day."""

    dims = ("time",)
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "smoke", "title": "Smoke test"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1970-01-01", calendar="standard"),
    )
    data_vars = (
        DataVar(
            name="number",
            encoding=Encoding(chunks=(2,)),
            attrs={"long_name": "A number", "units": "1"},
        ),
    )

    def dimension_coordinates(self):
        """Return none beside the append dim."""
        return {}


@dataclass(frozen=True, kw_only=True)
class File(SourceFileCoord):
    """The file of a day."""

    day: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"{self.day:%Y%m%d}.bin"

    def out_loc(self):
        """Return its day."""
        return {"time": self.day}


class Job(RegionJob):
    """Reads a number."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file a day."""
        return [File(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Read it."""
        return np.fromfile(coord.downloaded_path, "float32")[0]


class Smoke(DynamicalDataset):
    """The dataset."""

    template_config = Template
    region_job = Job


def main(command: str) -> None:
    """Import every public name, call the command line, build and read an archive."""
    missing = [name for name in gridmill.__all__ if not try_name(name)]
    assert not missing, f"these names do not import: {missing}"
    for arguments in (["--version"], ["--help"], ["list"], ["update", "--help"]):
        subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        days = pd.date_range("2025-01-01", periods=DAYS)
        for number, day in enumerate(days):
            np.array([number], "float32").tofile(Path(folder) / f"{day:%Y%m%d}.bin")
        dataset = Smoke(Path(folder) / "a.zarr", source_base=folder)
        dataset.backfill(str(days[-1] + pd.Timedelta("1D")), client="none")
        stored = xr.open_zarr(Path(folder) / "a.zarr").number.values
    np.testing.assert_array_equal(stored, np.arange(DAYS))


def try_name(name: str) -> bool:
    """Whether a public name imports; what needs an extra says which."""
    try:
        getattr(gridmill, name)
    except ImportError as error:
        return "gridmill[" in str(error)
    return True


if __name__ == "__main__":
    main(sys.argv[1])
