"""Batches: several small regions in one task of each stage, where tasks cost more than their work.

Dask takes some milliseconds for the tasks of a region. Where whole chains take little longer, the
next regions share tasks; each is still downloaded, compressed and uploaded by itself, and one that
fails leaves the others alone. Where chains take long, everything stays as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
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

__all__ = [
    "BATCH_SECONDS",
    "BatchedWork",
    "GroupFiles",
    "NotMade",
    "Pace",
    "compress_each",
    "download_each",
    "upload_each",
]

Item = TypeVar("Item")
Made = TypeVar("Made")

# What a lost worker costs, and how long a region may wait for others.
BATCH_SECONDS = 1.0
# Where fewer fit, their own tasks cost little beside them; more would save nothing.
FEWEST, MOST = 16, 64
# One batch has no more on disk than one variable of a usual region.
MOST_NBYTES = 16 << 20
# So many regions in a row must be quick.
ENOUGH = 50
# What a batch has not started by then continues in tasks of its own: it was misjudged.
PATIENCE_S = 10.0


class Pace:
    """How many regions the next tasks take, estimated from what the last ones took.

    Parameters
    ----------
    batch_s
        How long the stages of a batch may take together, in seconds; 0 for no batches.
    """

    def __init__(self, batch_s: float = BATCH_SECONDS) -> None:
        self.batch_s = batch_s
        self._seconds: deque[float] = deque(maxlen=ENOUGH)
        self._nbytes: deque[int] = deque(maxlen=ENOUGH)

    def learn(self, seconds: float, nbytes: int) -> None:
        """Learn how long all stages of a region took on workers, and how much they moved."""
        self._seconds.append(seconds)
        self._nbytes.append(nbytes)

    def forget(self) -> None:
        """Estimate again: regions are not what they were."""
        self._seconds.clear()
        self._nbytes.clear()

    @property
    def regions(self) -> int:
        """Regions that the next tasks take; 1 as long as not enough regions in a row were quick.

        Examples
        --------
        >>> pace = Pace(batch_s=1.0)
        >>> pace.regions
        1
        >>> for _ in range(ENOUGH):
        ...     pace.learn(seconds=0.04, nbytes=1000)
        >>> pace.regions
        25
        >>> pace.learn(seconds=60.0, nbytes=1000)
        >>> pace.regions
        1
        """
        if len(self._seconds) < ENOUGH:
            return 1
        fitting = min(
            self.batch_s / max(fmean(self._seconds), 1e-6),
            MOST_NBYTES / max(fmean(self._nbytes), 1.0),
            MOST,
        )
        return int(fitting) if fitting >= FEWEST else 1


@dataclass(frozen=True)
class NotMade:
    """What a batch has of a region that failed in it, or that it did not come to."""

    cause: str


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
