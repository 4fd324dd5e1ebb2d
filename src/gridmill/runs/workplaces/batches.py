"""Batches: several small regions in one task of each stage, where tasks cost more than their work.

Dask takes some milliseconds for the tasks of a region. Where whole chains take little longer, the
next regions share tasks; each is still downloaded, compressed and uploaded by itself, and one that
fails leaves the others alone. Where chains take long, everything stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from gridmill.authoring.region_job import RegionJob
from gridmill.pipeline.compress import compress as compress_here
from gridmill.pipeline.download import download
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
from gridmill.runs.workplaces.workplace import NotMade

__all__ = [
    "BatchedWork",
    "GroupFiles",
    "compress_each",
    "download_each",
    "upload_each",
]

Item = TypeVar("Item")
Made = TypeVar("Made")

# What a batch has not started by then continues in tasks of its own: it was misjudged.
PATIENCE_S = 10.0


@dataclass(frozen=True)
class GroupFiles:
    """The source files of one group of one region, and the job that knows how to get them."""

    job: RegionJob[Any, Any]
    files: tuple[SourceFile, ...]


@dataclass(frozen=True)
class BatchedWork:
    """One variable of one region, and the number of its `GroupFiles` in the batch."""

    work: VariableWork
    group: int


def download_each(bench: Bench, groups: Sequence[GroupFiles]) -> tuple[LocalFiles | NotMade, ...]:
    """Download the source files of each group, see `pipeline.download`."""
    return _each(lambda group: download(bench, group.job, group.files), groups)


def compress_each(
    bench: Bench,
    context: RunContext,
    works: Sequence[BatchedWork],
    sources: Sequence[LocalFiles | NotMade],
) -> tuple[LocalShards | NotMade, ...]:
    """Compress each variable, see `pipeline.compress`."""

    def compress(one: BatchedWork) -> LocalShards | NotMade:
        source = sources[one.group]
        if isinstance(source, NotMade):
            return source
        return compress_here(bench, context, one.work, source)

    return _each(compress, works)


def upload_each(
    bench: Bench, context: RunContext, shards: Sequence[LocalShards | NotMade]
) -> tuple[Receipt | NotMade, ...]:
    """Upload each variable, see `pipeline.upload`."""

    def upload(one: LocalShards | NotMade) -> Receipt | NotMade:
        return one if isinstance(one, NotMade) else upload_here(bench, context, one)

    return _each(upload, shards)


def _each(
    function: Callable[[Item], Made | NotMade], items: Iterable[Item]
) -> tuple[Made | NotMade, ...]:
    """Call a function for each item, one after the other: so it is also between tasks."""
    until = monotonic() + PATIENCE_S
    return tuple(
        _tried(function, item) if monotonic() < until else NotMade("its batch took too long")
        for item in items
    )


def _tried(function: Callable[[Item], Made | NotMade], item: Item) -> Made | NotMade:
    try:
        return function(item)
    except Exception as error:
        # Some errors do not pickle; the region's own task shows it again, as every other's does.
        return NotMade(f"{type(error).__name__}: {error}")
