"""A dataset of trivial region jobs: what remains is the cost of running them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
)

__all__ = ["DAY", "Many", "ManyDays", "until"]

START = "2000-01-01"
SHAPE = (2, 3)
DAY = 24


def until(regions: int) -> str:
    """Return the end of an archive of so many regions."""
    return (pd.Timestamp(START) + pd.Timedelta(hours=regions)).isoformat()


class ManyTemplate(TemplateConfig):
    """Hourly, every hour an object of its own."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = START
    append_dim_frequency = "h"
    append_dim_capacity = 200_000
    dataset_attributes: ClassVar = {"dataset_id": "benchmark-many", "title": "Benchmark"}
    coords = (
        Coordinate(
            name="time", dtype="int64", units=f"hours since {START}", calendar="proleptic_gregorian"
        ),
        Coordinate(name="y"),
        Coordinate(name="x"),
    )
    data_vars = (
        DataVar(
            name="a",
            encoding=Encoding(chunks=(1, *SHAPE)),
            attrs={"long_name": "a", "units": "1"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, np.ndarray]:
        """Return whole numbers."""
        return {"y": np.arange(2.0), "x": np.arange(3.0)}


@dataclass(frozen=True, kw_only=True)
class HourFile(SourceFileCoord):
    """The file of an hour."""

    time: pd.Timestamp

    def get_url(self) -> str:
        """Return its name."""
        return f"{self.time:%Y%m%d%H}"

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return the hour."""
        return {"time": self.time}


class ManyJob(RegionJob[DataVar, HourFile]):
    """Makes what it is to download; notes each file below `source_base` if there is one."""

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Return the file of each hour."""
        return [HourFile(time=time) for time in processing_region_ds.get_index("time")]

    def download_file(self, coord: HourFile) -> Path:
        """Make a file of eight bytes."""
        self._note(coord)
        path = self.download_path(coord)
        path.write_bytes(str(time.time_ns())[-8:].encode())
        return path

    def ask_file(self, coord: HourFile) -> None:
        """Know nothing."""
        self._note(coord)

    def _note(self, coord: HourFile) -> None:
        for folder in self.source_base:
            (Path(folder) / coord.get_url()).touch()

    def read_data(self, coord: HourFile, data_var: DataVar) -> np.ndarray:
        """Return ones."""
        return np.ones(SHAPE, np.float32)


class Many(DynamicalDataset):
    """What is run many times."""

    template_config = ManyTemplate
    region_job = ManyJob


class ManyDaysTemplate(ManyTemplate):
    """Three variables in objects of a day."""

    dataset_attributes: ClassVar = {"dataset_id": "benchmark-days", "title": "Benchmark"}
    data_vars = tuple(
        DataVar(
            name=name,
            encoding=Encoding(chunks=(DAY, *SHAPE)),
            attrs={"long_name": name, "units": "1"},
        )
        for name in ("a", "b", "c")
    )


class ManyDays(DynamicalDataset):
    """Regions of 24 source files and three variables."""

    template_config = ManyDaysTemplate
    region_job = ManyJob
