"""The functions that Dask runs on workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from distributed import get_worker

from gridmill.authoring.region_job import RegionJob
from gridmill.pipeline.compress import compress as compress_here
from gridmill.pipeline.download import download as download_here
from gridmill.pipeline.upload import upload as upload_here
from gridmill.pipeline.values import (
    Bench,
    LocalFiles,
    LocalShards,
    Receipt,
    RunContext,
    SourceFile,
    VariableWork,
)
from gridmill.publishing.copies import Copy, copy_objects
from gridmill.runs.dask.metrics import count_stages
from gridmill.runs.dask.plugin.pipeline import PLUGIN, PipelinePlugin
from gridmill.runs.workplaces import batches
from gridmill.runs.workplaces.batches import BatchedWork, GroupFiles
from gridmill.runs.workplaces.workplace import NotMade
from gridmill.stores.final_store import Uploaded

__all__ = [
    "compress",
    "compress_each",
    "download",
    "download_each",
    "hold_context",
    "make_copy",
    "upload",
    "upload_each",
]

Made = TypeVar("Made", LocalFiles, LocalShards, Receipt)


def download(job: RegionJob[Any, Any], files: tuple[SourceFile, ...]) -> LocalFiles:
    """Run `pipeline.download` as a Dask task."""
    bench = _bench()
    return _counted(bench, download_here(bench, job, files))


def compress(work: VariableWork, context: RunContext, source: LocalFiles) -> LocalShards:
    """Run `pipeline.compress` as a Dask task."""
    bench = _bench()
    return _counted(bench, compress_here(bench, context, work, source))


def upload(shards: LocalShards, context: RunContext) -> Receipt:
    """Run `pipeline.upload` as a Dask task."""
    bench = _bench()
    return _counted(bench, upload_here(bench, context, shards))


def download_each(groups: Sequence[GroupFiles]) -> tuple[LocalFiles | NotMade, ...]:
    """Run `batches.download_each` as a Dask task."""
    bench = _bench()
    return _each_counted(bench, batches.download_each(bench, groups))


def compress_each(
    works: Sequence[BatchedWork], context: RunContext, sources: Sequence[LocalFiles | NotMade]
) -> tuple[LocalShards | NotMade, ...]:
    """Run `batches.compress_each` as a Dask task."""
    bench = _bench()
    return _each_counted(bench, batches.compress_each(bench, context, works, sources))


def upload_each(
    shards: Sequence[LocalShards | NotMade], context: RunContext
) -> tuple[Receipt | NotMade, ...]:
    """Run `batches.upload_each` as a Dask task."""
    bench = _bench()
    return _each_counted(bench, batches.upload_each(bench, context, shards))


def _each_counted(bench: Bench, made: tuple[Made | NotMade, ...]) -> tuple[Made | NotMade, ...]:
    for one in made:
        if not isinstance(one, NotMade):
            _counted(bench, one)
    return made


def _counted(bench: Bench, made: Made) -> Made:
    """Count the stages that this task ran, and not those that made its input."""
    count_stages(span for span in made.spans if span.key == bench.space.key)
    return made


def hold_context(context: RunContext) -> RunContext:
    return context


def make_copy(copy: Copy) -> Uploaded | str:
    space = _bench().space
    folder = space.make()
    try:
        return copy_objects(copy, folder)
    finally:
        space.discard(folder)


def _bench() -> Bench:
    worker = get_worker()
    plugin = worker.plugins[PLUGIN]
    assert isinstance(plugin, PipelinePlugin)
    key = str(worker.get_current_task())
    return Bench(plugin.workspace.of_key(key), worker.address, plugin.most_claimed)
