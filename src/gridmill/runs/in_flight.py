"""What is in flight: regions and their tasks, and a window that bounds both."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dask
from distributed import Client, Future, as_completed

from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord
from gridmill.pipeline.values import Receipt
from gridmill.planning.recording import RegionOutcome
from gridmill.runs.batches import Pace
from gridmill.runs.dask import submission
from gridmill.runs.dask.plugin import threads_per_worker
from gridmill.runs.dask.submission import GroupWork
from gridmill.runs.dask.workers.workforce import expected_workers

__all__ = [
    "CHAINS_PER_THREAD",
    "REGIONS_PER_WORKER",
    "Begun",
    "Output",
    "RegionInFlight",
    "Window",
    "utc_now",
]

# Where no task ends, the loop looks this often whether something is due.
WAKE_S = 0.1
# In flight: chains for each thread, so that no stage waits for the driver; and regions for each
# worker, so that it downloads the next while it compresses one, however many chains they have. More
# would take more disk, and page cache that the system first has to find.
CHAINS_PER_THREAD = 1
REGIONS_PER_WORKER = 2
# Workers come and go.
RESIZE_INTERVAL_S = 5.0
# Regions in flight in batches: the driver holds what it prepared of each.
MOST_IN_BATCHES = 1000


def utc_now() -> str:
    """Give the time as reports have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(eq=False)
class RegionInFlight:
    """A region of which tasks are submitted, and what came of them so far.

    `known` is its record as the run found it. What a worker could not read is read once more, by
    group and that worker; `first_reads` is by variable what came of it before.
    """

    name: str
    job: RegionJob[Any, Any]
    outcome: RegionOutcome
    known: ProgressRecord | None = None
    waiting: set[Any] = field(default_factory=set)
    attempts: Counter[str] = field(default_factory=Counter)
    to_read_again: dict[tuple[int, str], list[Receipt]] = field(
        default_factory=lambda: defaultdict(list)
    )
    first_reads: dict[str, Receipt] = field(default_factory=dict)
    submitted: str = field(default_factory=utc_now)
    seconds: float = 0.0
    nbytes: int = 0


@dataclass(frozen=True)
class Output:
    """What a task gives for a region: the files of a group, or the receipt of a variable."""

    region: RegionInFlight
    group: int
    variable: str | None  # None for files


Begun = tuple[RegionInFlight, Sequence[GroupWork]]


class Window:
    """The tasks that are submitted and not taken, as many as workers need.

    Parameters
    ----------
    client
        The Dask client.
    run
        Makes the tasks' keys unique.
    goes_first
        Whether its tasks go before those of other runs on the scheduler.
    """

    def __init__(self, client: Client, run: str, *, goes_first: bool = False) -> None:
        self.client = client
        self.run = run
        self.goes_first = goes_first
        self.context: Any = None
        self.pace = Pace(submission.seconds_of_batch())
        self.tasks: dict[Any, list[Output]] = {}
        # A batch counts as one chain: it moves no more.
        self.chains = self.regions = 0
        self.most_chains = self.most_regions = 0
        self.workers: tuple[str, ...] = ()
        self.resize_next = 0.0
        self.completed: Any = as_completed(  # type: ignore[no-untyped-call]
            loop=client.loop, with_results=True, raise_errors=False
        )

    def resize(self) -> None:
        """Fit what may be in flight to the workers that are there, or that work may bring."""
        self.resize_next = time.monotonic() + RESIZE_INTERVAL_S
        threads: Mapping[str, int] = self.client.nthreads()  # type: ignore[no-untyped-call]
        self.workers = tuple(threads)
        expected = expected_workers(self.client, len(threads))
        of_each = max([threads_per_worker(), *threads.values()])
        self.most_chains = CHAINS_PER_THREAD * max(sum(threads.values()), expected * of_each)
        self.most_regions = REGIONS_PER_WORKER * expected

    @property
    def resize_is_due(self) -> bool:
        """Whether it is time to see how many workers there are."""
        return time.monotonic() >= self.resize_next

    @property
    def has_room(self) -> bool:
        """Whether more may be submitted."""
        if self.regions < self.most_regions:
            return True
        most = max(self.most_chains, MOST_IN_BATCHES)
        return self.chains < self.most_chains and self.regions < most

    @property
    def has_ready(self) -> bool:
        """Whether a task has ended that is not taken yet."""
        return bool(self.completed.has_ready())

    def open(self, begun: Sequence[Begun]) -> None:
        """Submit regions: one in tasks of its own, several in tasks that they share."""
        self.submit(begun, "a0")
        self.regions += len(begun)

    def close(self, region: RegionInFlight) -> None:
        """Count a region out whose tasks are all taken."""
        self.regions -= 1
        self.pace.learn(region.seconds, region.nbytes)

    def retire(self, worker: str) -> bool:
        """Send a worker away, unless it is the only one; whether it went."""
        threads: Mapping[str, int] = self.client.nthreads()  # type: ignore[no-untyped-call]
        if worker not in threads or len(threads) == 1:
            return False
        self.client.retire_workers([worker], close_workers=True)
        self.resize_next = 0.0
        return True

    def submit(self, begun: Sequence[Begun], attempt: str, *, elsewhere_than: str = "") -> None:
        """Submit works of regions that are in flight, see `open`.

        Not on a certain worker, if there is another one.
        """
        with self._elsewhere(elsewhere_than):
            self._submit(begun, attempt)

    def _elsewhere(self, than: str) -> AbstractContextManager[Any]:
        if not than:
            return nullcontext()
        threads: Mapping[str, int] = self.client.nthreads()  # type: ignore[no-untyped-call]
        others = [worker for worker in threads if worker != than]
        if not others:
            return nullcontext()
        annotated = dask.annotate  # type: ignore[attr-defined]
        where: AbstractContextManager[Any] = annotated(workers=others, allow_other_workers=True)
        return where

    def _submit(self, begun: Sequence[Begun], attempt: str) -> None:
        suffix = f"{self.run}{attempt}"
        files = [Output(region, group.index, None) for region, groups in begun for group in groups]
        receipts = [
            Output(region, group.index, name)
            for region, groups in begun
            for group in groups
            for name in group.works
        ]
        if len(begun) == 1:
            ((region, groups),) = begun
            alone = submission.submit_region(
                self.client,
                self.context,
                region.job,
                groups,
                suffix,
                goes_first=self.goes_first,
            )
            tasks = {alone.downloads[one.group]: [one] for one in files}
            tasks.update({alone.uploads[str(one.variable)]: [one] for one in receipts})
        else:
            jobs = [(region.job, groups) for region, groups in begun]
            batch = submission.submit_batch(
                self.client, self.context, jobs, suffix, goes_first=self.goes_first
            )
            tasks = {batch.downloads: files, batch.uploads: receipts}
        self._expect(tasks)

    def _expect(self, tasks: Mapping[Future[Any], list[Output]]) -> None:
        for future, outputs in tasks.items():
            self.tasks[future.key] = outputs
            self.chains += outputs[0].variable is not None
            for output in outputs:
                output.region.waiting.add(future.key)
        self.completed.update(list(tasks))

    def pop(self, future: Future[Any]) -> list[Output]:
        """Give what a task that ended was to give, and forget it."""
        outputs = self.tasks.pop(future.key)
        self.chains -= outputs[0].variable is not None
        return outputs

    def as_completed(self) -> Iterator[tuple[Future[Any], Any] | None]:
        """Yield tasks with their results as they end, and None now and then while none does.

        What is done is recorded and published in time also where the next task takes long.
        """
        completed = self.completed
        while not completed.is_empty():
            if completed.has_ready():
                yield completed.next()
            else:
                with completed.thread_condition:
                    completed.thread_condition.wait(WAKE_S)
                yield None

    def let_go(self) -> None:
        """Release what is not done: Dask drops tasks that nobody wants.

        Cancelling them instead can trip an assertion in the scheduler (distributed 2026.8), which
        then loses the client.
        """
        for future in list(self.completed.futures):
            with suppress(Exception):
                future.release()
        self.completed.clear()
