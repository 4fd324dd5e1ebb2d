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
from gridmill import DynamicalDataset, Encoding, stages
from gridmill.chain import keep_freed_memory
from gridmill.dataset import Archive
from gridmill.plan import nothing_missing, prepare_region
from gridmill.stores import Lease
from gridmill.workspace import Workspace

__all__ = ["Peak", "peaks"]

# Steps of a region: 1 and 8 GB of float32 a variable.
STEPS = (240, 1920)
MOST_NBYTES = 2**30


@dataclass(frozen=True)
class Peak:
    """How much memory a worker needed.

    Parameters
    ----------
    name
        What it did.
    region_nbytes
        Values of the region, as float32.
    nbytes
        Resident set at its peak, interpreter and libraries included.
    must
        What it must not exceed.
    """

    name: str
    region_nbytes: int
    nbytes: int
    must: int

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.nbytes <= self.must

    def __str__(self) -> str:
        return (
            f"{self.name:45} {self.nbytes >> 20:6} MiB                   <= {self.must >> 20} MiB"
        )


def peaks() -> Iterator[Peak]:
    """Take one variable of one region through the real stages, each size in a fresh process."""
    for steps in STEPS:
        command = [sys.executable, "-m", "benchmarks.memory", str(steps)]
        answer = subprocess.run(command, capture_output=True, check=True, text=True)
        shard, peak = map(int, answer.stdout.split())
        region_nbytes = steps * SHAPE[0] * SHAPE[1] * 4
        name = f"memory, {region_nbytes / 1e9:.0f} GB a variable"
        yield Peak(name, region_nbytes, peak, MOST_NBYTES + shard)


@cache
def _field() -> np.ndarray:
    return make_fields(1, 0)[0]


@dataclass(frozen=True, kw_only=True)
class _AnyFile(StepFile):
    """A file of which only one copy exists: memory is measured here, not the disk."""

    def get_url(self) -> str:
        """Give a file that is there."""
        return __file__

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Give the step."""
        return {"time": self.time}


class _Job(GridJob):
    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        times = processing_region_ds.get_index("time")
        return [_AnyFile(time=time, number=number) for number, time in enumerate(times)]

    def read_data(self, coord, data_var):
        return _field() + np.float32(coord.number % 24)


def _measure(steps: int) -> tuple[int, int]:
    """Give bytes of the largest object, and of the resident set at its peak."""
    encoding = Encoding(chunks=(steps, 61, 60), shards=(steps, 366, 360))

    class Template(GridTemplate):
        data_vars = (replace(GridTemplate.data_vars[0], encoding=encoding),)

    class Dataset(DynamicalDataset):
        template_config = Template
        region_job = _Job

    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="gridmill-memory-") as folder:
        dataset = Dataset(Path(folder) / "out.zarr")
        end = pd.Timestamp("2020-01-01") + pd.Timedelta(hours=steps)
        receipt = _run(dataset, dataset.archive(end), Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(stored.nbytes for stored in receipt.objects), peak


def _run(dataset: DynamicalDataset, archive: Archive, folder: Path) -> stages.Receipt:
    """Take the first region through the three stages, as a worker does."""
    publisher = archive.publisher
    job = publisher.make_job(slice(0, len(publisher.index)))
    (group,) = prepare_region(job, None, publisher.arrays, nothing_missing).groups
    ds = job.processing_region_ds()
    sizes = {dim: ds.sizes[dim] for dim in job.data_vars[0].dims}
    small = job.for_worker(job.data_vars)
    work = stages.VariableWork(small, job.processing_region(), sizes)
    bench = stages.Bench(Workspace(folder / "work").of_key("benchmark"), "worker")
    with Lease(dataset.store.state, run="b", kind="benchmark", positions=[(0, 1)]) as lease:
        context = stages.RunContext("b", dataset.store, lease.proof, publisher.metadata, 0)
        source = stages.download(bench, small, group.files)
        return stages.upload(bench, context, stages.compress(bench, context, work, source))


if __name__ == "__main__":
    print(*_measure(int(sys.argv[1])))
