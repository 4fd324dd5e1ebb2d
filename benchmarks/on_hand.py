"""The stages of one region called by hand, without Dask: what the pipeline is held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridmill import DynamicalDataset
from gridmill.authoring.locate import processing_region
from gridmill.pipeline.compress import compress
from gridmill.pipeline.download import download
from gridmill.pipeline.slabs.transform import takes_data_array
from gridmill.pipeline.upload import upload
from gridmill.pipeline.values import (
    Bench,
    LocalFiles,
    LocalShards,
    Receipt,
    RunContext,
    VariableWork,
)
from gridmill.pipeline.workspace import Workspace
from gridmill.planning.belief import nothing_missing
from gridmill.planning.prepare import prepare_region
from gridmill.runs.dask.plugin.memory import keep_freed_memory
from gridmill.runs.on_demand import seconds_of
from gridmill.stores.state.leases import Lease

__all__ = ["OnHand", "on_hand"]


@dataclass
class OnHand:
    """A region whose stages can be called, in this process.

    Parameters
    ----------
    bench, context
        Where stages run and what they share.
    groups
        By source group, the job, its source files, and the works of its variables.
    estimated_s
        How long a run takes all of it to be, before it decides where to do it.
    """

    bench: Bench
    context: RunContext
    groups: Sequence[tuple[Any, Sequence[Any], Sequence[VariableWork]]]
    estimated_s: float

    def download(self) -> list[LocalFiles]:
        """Download every group."""
        return [download(self.bench, job, files) for job, files, _ in self.groups]

    def compress(self, sources: Sequence[LocalFiles]) -> list[LocalShards]:
        """Compress every variable."""
        return [
            compress(self.bench, self.context, work, source)
            for (_, _, works), source in zip(self.groups, sources, strict=True)
            for work in works
        ]

    def upload(self, shards: Sequence[LocalShards]) -> list[Receipt]:
        """Upload every variable."""
        return [upload(self.bench, self.context, one) for one in shards]

    def discard(self, made: Sequence[LocalFiles | LocalShards]) -> None:
        """Delete what stages made."""
        for one in made:
            self.bench.space.discard(one.folder)


@contextmanager
def on_hand(dataset: DynamicalDataset, until: str, scratch: Path, *, region: int = 0) -> Iterator:
    """Return a region of a dataset, with its lease and its workspace."""
    keep_freed_memory()
    archive = dataset.archive(until)
    length = dataset.declared.region_length
    at = slice(region * length, min((region + 1) * length, len(archive.index)))
    job = archive.job(at)
    prepared = prepare_region(job, None, archive.arrays, nothing_missing)
    takes_coords = takes_data_array(type(job))
    coords = job.processing_region_ds().coords.to_dataset()
    along = [name for name, coord in coords.coords.items() if job.append_dim in coord.dims]
    groups = []
    for group in prepared.groups:
        works = [
            VariableWork(
                job=job.for_worker((var,)),
                processing_region=processing_region(job),
                sizes={dim: prepared.sizes[dim] for dim in var.dims},
                coords=coords[along] if takes_coords else None,
            )
            for var in group.variables
        ]
        groups.append((job.for_worker(group.variables), group.files, works))
    bench = Bench(Workspace(scratch / "work").of_key("benchmark"), "by hand")
    positions = [(at.start, at.stop)]
    run = f"bench-{region}"
    with Lease(dataset.store.state, run=run, kind="benchmark", positions=positions) as lease:
        context = RunContext(
            run=run,
            store=dataset.store,
            proof=lease.proof,
            metadata=archive.metadata,
            published=0,
            coords=coords.drop_vars(along) if takes_coords else None,
        )
        yield OnHand(bench, context, groups, seconds_of(prepared))
