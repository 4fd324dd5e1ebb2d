"""A dataset of six variables that grows by an hour at a time, and imports nothing but gridmill."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from benchmarks.dataset import GridJob, GridTemplate, StepFile
from gridmill import DataVar, DynamicalDataset, Encoding

__all__ = ["NAMES", "START", "Steps"]

NAMES = ("t2m", "d2m", "u10", "v10", "msl", "tp")
START = pd.Timestamp(GridTemplate.append_dim_start)


class StepsTemplate(GridTemplate):
    """Six variables of a quarter degree, every hour objects of its own."""

    dataset_attributes = {"dataset_id": "benchmark-steps", "title": "Benchmark"}  # noqa: RUF012
    data_vars = tuple(
        DataVar(
            name=name,
            encoding=Encoding(chunks=(1, 121, 120), shards=(1, 726, 720)),
            attrs={"long_name": name, "units": "1"},
            keep_mantissa_bits=8,
        )
        for name in NAMES
    )


@dataclass(frozen=True, kw_only=True)
class HourFile(StepFile):
    """The file of an hour, by its number since the start."""

    def get_url(self) -> str:
        """Return the file's name."""
        return f"f{(self.time - START) // pd.Timedelta('1h'):03d}.nc"


class StepsJob(GridJob):
    """Reads one file a step, whatever its region."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return the files."""
        return [HourFile(time=time, number=0) for time in processing_region_ds.get_index("time")]


class Steps(DynamicalDataset):
    """What is kept current."""

    template_config = StepsTemplate
    region_job = StepsJob
