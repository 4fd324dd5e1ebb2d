"""Peak memory of one worker's compress and upload, at two sizes of a region."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.dataset import GridJob, GridTemplate, StepFile
from benchmarks.fields import SHAPE, make_fields
from benchmarks.measures import Measure
from benchmarks.on_hand import on_hand
from benchmarks.sizes import Size
from gridmill import DynamicalDataset, Encoding

__all__ = ["memory"]

MOST_NBYTES = 2**30


def memory(folder: Path, size: Size) -> Iterator[Measure]:
    """Take one variable of one region through the real stages, each size in a fresh process."""
    for steps in size.memory_steps:
        command = [sys.executable, "-m", "benchmarks.memory", str(steps)]
        answer = subprocess.run(command, capture_output=True, check=True, text=True)
        shard, peak = map(int, answer.stdout.split())
        region_nbytes = steps * SHAPE[0] * SHAPE[1] * 4
        name = f"memory: peak of a worker, {region_nbytes / 1e9:.2g} GB a variable"
        mib = peak / 2**20
        yield Measure(name, "MiB", mib, mib, mib, (MOST_NBYTES + shard) / 2**20)


@cache
def _field() -> np.ndarray:
    return make_fields(1, 0)[0]


@dataclass(frozen=True, kw_only=True)
class _AnyFile(StepFile):
    """A file of which only one copy exists: memory is measured here, not the disk."""

    def get_url(self) -> str:
        """Return a file that is there."""
        return __file__

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return the step."""
        return {"time": self.time}


class _Job(GridJob):
    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        times = processing_region_ds.get_index("time")
        return [_AnyFile(time=time, number=number) for number, time in enumerate(times)]

    def read_data(self, coord, data_var):
        return _field() + np.float32(coord.number % 24)


def _measure(steps: int) -> tuple[int, int]:
    """Return bytes of the largest object, and of the resident set at its peak."""
    encoding = Encoding(chunks=(steps, 61, 60), shards=(steps, 366, 360))

    class Template(GridTemplate):
        data_vars = (replace(GridTemplate.data_vars[0], encoding=encoding),)

    class Dataset(DynamicalDataset):
        template_config = Template
        region_job = _Job

    with tempfile.TemporaryDirectory(prefix="gridmill-memory-") as folder:
        end = (pd.Timestamp("2020-01-01") + pd.Timedelta(hours=steps)).isoformat()
        dataset = Dataset(Path(folder) / "out.zarr")
        with on_hand(dataset, end, Path(folder)) as region:
            (receipt,) = region.upload(region.compress(region.download()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(stored.nbytes for stored in receipt.objects), peak


if __name__ == "__main__":
    print(*_measure(int(sys.argv[1])))
