"""Where the tasks of a run are done: on a Dask cluster, or in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gridmill.authoring.region_job import RegionJob
from gridmill.pipeline.download import replace_field
from gridmill.pipeline.values import RunContext, SourceFile, VariableWork
from gridmill.planning.source_files.grouping import sources_of
from gridmill.publishing.copies import Copy
from gridmill.stores.final_store import Uploaded

__all__ = [
    "STAGE_WIDTHS",
    "Batch",
    "BatchTasks",
    "GroupWork",
    "NotMade",
    "RegionTasks",
    "SchedulerLost",
    "Task",
    "Workplace",
    "for_attempt",
    "group_key",
    "groups_of",
    "region_key",
    "threads_per_worker",
]

# One core a process: one variable is compressed at a time, while others download and upload.
STAGE_WIDTHS: Mapping[str, int] = {"download": 2, "compress": 1, "upload": 2}


def threads_per_worker() -> int:
    """Threads of a Dask worker at which every stage can run at its full width."""
    return sum(STAGE_WIDTHS.values())


class SchedulerLost(RuntimeError):  # noqa: N818
    """The Dask scheduler is gone: recorded work is safe; rerun to resume."""


@dataclass(frozen=True)
class NotMade:
    """What a batch has of a region that failed in it, or that it did not come to."""

    cause: str


@dataclass(frozen=True)
class GroupWork:
    """The variables of one region that share source files.

    Parameters
    ----------
    index
        Number of the group in the region.
    files
        Its source files.
    works
        What compress needs, by variable.
    """

    index: int
    files: tuple[SourceFile, ...]
    works: Mapping[str, VariableWork]


class Task(Protocol):
    """A task that was started; `status` is ``finished``, ``error`` or ``cancelled`` in the end."""

    @property
    def key(self) -> Any:
        """Its name, unique in the run."""

    @property
    def status(self) -> str | None:
        """How it is."""

    def release(self) -> Any:
        """Let go of what it returned."""


@dataclass(frozen=True)
class RegionTasks:
    """The tasks of a region job that the driver waits for.

    Parameters
    ----------
    downloads
        By group index.
    uploads
        By variable.
    """

    downloads: Mapping[int, Task]
    uploads: Mapping[str, Task]


@dataclass(frozen=True)
class BatchTasks:
    """The tasks of several regions that the driver waits for.

    Parameters
    ----------
    downloads
        Of all groups of all regions, in their order.
    uploads
        Of all variables, in the order of the regions, their groups, and those' works.
    """

    downloads: Task
    uploads: Task


Batch = Sequence[tuple[RegionJob[Any, Any], Sequence[GroupWork]]]


class Workplace(Protocol):
    """Does the tasks of one run, see `Here` and `gridmill.runs.dask.on_cluster.OnCluster`."""

    @property
    def seconds_of_batch(self) -> float:
        """How long the tasks of several regions may take together; 0: they share none."""

    def open(
        self, context: RunContext, job_class: type[RegionJob[Any, Any]], *, goes_first: bool
    ) -> None:
        """Make ready for tasks that share a context, and go before those of other runs or not."""

    def close(self) -> None:
        """Leave everything as it was found."""

    def threads(self) -> Mapping[str, int]:
        """Return the workers that are there, with their threads."""

    def expected(self, workers: int) -> int:
        """Return how many workers work should be in flight for, where there are so many."""

    def look(self, present: Sequence[str]) -> None:
        """See whether workers came or are missing; raises where a run cannot continue."""

    def retire(self, worker: str) -> bool:
        """Send a worker away, unless it is the only one; whether it went."""

    def submit_region(
        self,
        job: RegionJob[Any, Any],
        groups: Sequence[GroupWork],
        suffix: str,
        elsewhere_than: str = "",
    ) -> RegionTasks:
        """Begin the chains of one region job; not on a certain worker, if there is another."""

    def submit_batch(self, regions: Batch, suffix: str, elsewhere_than: str = "") -> BatchTasks:
        """Begin several region jobs together."""

    def copy_all(self, copies: Sequence[Copy]) -> list[Uploaded | str]:
        """Make copies, see `gridmill.publishing.copies.copy_objects`."""

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield a function's results in order; items are taken a little ahead of who needs them.

        Raises
        ------
        Exception
            What the function raised, in its item's turn.
        """

    def has_ready(self) -> bool:
        """Whether a task has ended that is not taken yet."""

    def take(self, wait_s: float) -> tuple[Any, Any] | None:
        """Return a task that ended with its result, or its error's type and the error; or None."""

    def let_go(self) -> None:
        """Forget what is not done."""


def region_key(job: RegionJob[Any, Any]) -> str:
    """Name a region in the keys of tasks: Dask takes what precedes a digit for the task's kind."""
    return f"0{job.region.key}" if job.is_static else job.region.key


def group_key(job: RegionJob[Any, Any], group: GroupWork) -> str:
    """Name a group of a region in the keys of tasks."""
    return f"{region_key(job)}-g{group.index}"


def for_attempt(job: RegionJob[Any, Any], group: GroupWork, suffix: str) -> RegionJob[Any, Any]:
    """Return a job as those who download for a group need it."""
    small = job.for_worker(sources_of([work.data_var for work in group.works.values()]))
    return replace_field(small, attempt=suffix)


def groups_of(regions: Batch) -> Iterator[tuple[RegionJob[Any, Any], GroupWork]]:
    """Yield the groups of several regions, in order."""
    return ((job, group) for job, groups in regions for group in groups)
