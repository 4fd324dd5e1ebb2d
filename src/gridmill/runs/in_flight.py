"""What is in flight: regions and their tasks, and a window that bounds both."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.pipeline.values import Receipt
from gridmill.planning.recording import RegionOutcome
from gridmill.runs.workplaces.pace import Pace
from gridmill.runs.workplaces.workplace import GroupWork, Task, Workplace, threads_per_worker

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
    """Return the time as reports have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(eq=False)
class RegionInFlight:
    """A region of which tasks are submitted, and what came of them so far.

    `known` is its record as the run found it, and `changed` by variable where it holds other values
    since, once it is recorded. What a worker could not read is read again, by
    group and that worker; `first_reads` is by variable what came of it before.
    """

    name: str
    job: RegionJob[Any, Any]
    outcome: RegionOutcome
    known: ProgressRecord | None = None
    changed: Mapping[str, Sequence[Region]] = field(default_factory=dict)
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
    run
        Makes the tasks' keys unique.

    Attributes
    ----------
    workplace : Workplace or None
        Where tasks are done; None as long as there was nothing to do.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.workplace: Workplace | None = None
        self.pace = Pace()
        self.tasks: dict[Any, list[Output]] = {}
        # A batch counts as one chain: it moves no more.
        self.chains = self.regions = 0
        self.most_chains = self.most_regions = 0
        self.workers: tuple[str, ...] = ()
        self.resize_next = 0.0

    def move_in(self, workplace: Workplace) -> None:
        """Have tasks done there from now on."""
        self.workplace = workplace
        self.pace = Pace(workplace.seconds_of_batch)
        self.resize()

    @property
    def _there(self) -> Workplace:
        assert self.workplace is not None
        return self.workplace

    def resize(self) -> None:
        """Fit what may be in flight to the workers that are there, or that work may bring."""
        self.resize_next = time.monotonic() + RESIZE_INTERVAL_S
        threads = self._there.threads()
        self.workers = tuple(threads)
        expected = self._there.expected(len(threads))
        of_each = max([threads_per_worker(), *threads.values()])
        self.most_chains = CHAINS_PER_THREAD * max(sum(threads.values()), expected * of_each)
        self.most_regions = REGIONS_PER_WORKER * expected

    @property
    def resize_is_due(self) -> bool:
        """Whether it is time to see how many workers there are."""
        return self.workplace is not None and time.monotonic() >= self.resize_next

    @property
    def has_room(self) -> bool:
        """Whether more may be submitted."""
        if self.workplace is None or self.regions < self.most_regions:
            return True
        most = max(self.most_chains, MOST_IN_BATCHES)
        return self.chains < self.most_chains and self.regions < most

    @property
    def has_ready(self) -> bool:
        """Whether a task has ended that is not taken yet."""
        return self.workplace is not None and self.workplace.has_ready()

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
        if not self._there.retire(worker):
            return False
        self.resize_next = 0.0
        return True

    def submit(self, begun: Sequence[Begun], attempt: str, *, elsewhere_than: str = "") -> None:
        """Submit works of regions that are in flight, see `open`.

        Not on a certain worker, if there is another one.
        """
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
            alone = self._there.submit_region(region.job, groups, suffix, elsewhere_than)
            tasks = {alone.downloads[one.group]: [one] for one in files}
            tasks.update({alone.uploads[str(one.variable)]: [one] for one in receipts})
        else:
            jobs = [(region.job, groups) for region, groups in begun]
            batch = self._there.submit_batch(jobs, suffix, elsewhere_than)
            tasks = {batch.downloads: files, batch.uploads: receipts}
        for task, outputs in tasks.items():
            self.tasks[task.key] = outputs
            self.chains += outputs[0].variable is not None
            for output in outputs:
                output.region.waiting.add(task.key)

    def pop(self, task: Task) -> list[Output]:
        """Return the result of a task that ended, and forget it."""
        outputs = self.tasks.pop(task.key)
        self.chains -= outputs[0].variable is not None
        return outputs

    def as_completed(self) -> Iterator[tuple[Task, Any] | None]:
        """Yield tasks with their results as they end, and None now and then while none does.

        What is done is recorded and published in time also where the next task takes long.
        """
        while self.tasks:
            yield self._there.take(WAKE_S)

    def let_go(self) -> None:
        """Forget what is not done."""
        if self.workplace is not None:
            self.workplace.let_go()
