"""The dataset that is measured: 24 hourly steps of three variables on a 0.25° grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.fields import NAMES
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

__all__ = ["DAY", "BenchmarkGrid", "GridJob", "GridTemplate", "StepFile", "end_of"]

DAY = 24
CHUNKS, SHARDS = (24, 61, 60), (24, 366, 360)
KEEP_MANTISSA_BITS = 8


def end_of(steps: int) -> str:
    """Return the end of an archive of so many steps."""
    return (pd.Timestamp("2020-01-01") + pd.Timedelta(hours=steps)).isoformat()


class GridTemplate(TemplateConfig):
    """A quarter degree, hourly."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2020-01-01"
    append_dim_frequency = "h"
    dataset_attributes = {"dataset_id": "benchmark-grid", "title": "Benchmark"}  # noqa: RUF012
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="seconds since 1970-01-01",
            calendar="proleptic_gregorian",
        ),
        Coordinate(name="latitude"),
        Coordinate(name="longitude"),
    )
    data_vars = tuple(
        DataVar(
            name=name,
            encoding=Encoding(chunks=CHUNKS, shards=SHARDS),
            attrs={"long_name": name, "units": "1"},
            keep_mantissa_bits=KEEP_MANTISSA_BITS,
        )
        for name in NAMES
    )

    def dimension_coordinates(self) -> dict[str, np.ndarray]:
        """Return the grid."""
        return {"latitude": np.linspace(90, -90, 721), "longitude": np.arange(1440) / 4}


@dataclass(frozen=True, kw_only=True)
class StepFile(SourceFileCoord):
    """The file of one step."""

    time: pd.Timestamp
    number: int

    def get_url(self) -> str:
        """Return the file's name."""
        return f"{self.time:%Y%m%d}/f{self.number:03d}.nc"

    def out_loc(self) -> dict[str, slice]:
        """Return the step, as a slice: the files have a time dim."""
        return {"time": slice(self.time, self.time)}


class GridJob(RegionJob[DataVar, StepFile]):
    """Reads one file a step."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return the files."""
        times = processing_region_ds.get_index("time")
        return [StepFile(time=time, number=number) for number, time in enumerate(times)]

    def read_data(self, coord, data_var):
        """Read one variable."""
        return read_netcdf(coord.downloaded_path, data_var.name)


class BenchmarkGrid(DynamicalDataset):
    """What is measured."""

    template_config = GridTemplate
    region_job = GridJob
