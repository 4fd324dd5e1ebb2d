"""Does the tasks of a run on a Dask cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import dask
from distributed import Client, as_completed

from gridmill.authoring.region_job import RegionJob
from gridmill.pipeline.values import RunContext
from gridmill.publishing.copies import Copy
from gridmill.runs.dask import submission
from gridmill.runs.dask.lost import told_of_loss
from gridmill.runs.dask.plugin.executors import executor_of
from gridmill.runs.dask.plugin.pipeline import PipelinePlugin
from gridmill.runs.dask.plugin.places import HostPlaces
from gridmill.runs.dask.plugin.secrets import answer_workers
from gridmill.runs.dask.sending import check_can_be_sent
from gridmill.runs.dask.workers.workforce import Workforce, expected_workers, is_one_machine
from gridmill.runs.workplaces.workplace import Batch, BatchTasks, GroupWork, RegionTasks
from gridmill.sources.fetch.download import limit_hosts
from gridmill.stores.final_store import Uploaded

__all__ = ["OnCluster"]

# Of a call that belongs to no region job: its worker may go.
RETRIES = 2
LOOK_EVERY_S = 5.0


class OnCluster:
    """Does the tasks of a run on a Dask cluster, see `gridmill.runs.workplaces.workplace`.

    Whatever asks the cluster for something raises `SchedulerLost` where its scheduler is gone.

    Parameters
    ----------
    client
        The Dask client; the pipeline's plugin is registered on it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seconds_of_batch = submission.seconds_of_batch()
        self._run, self._goes_first = "", False
        self._context: Any = None
        self._workforce: Workforce | None = None
        self._completed: Any = as_completed(  # type: ignore[no-untyped-call]
            loop=client.loop, with_results=True, raise_errors=False
        )

    def open(
        self, context: RunContext, job_class: type[RegionJob[Any, Any]], *, goes_first: bool
    ) -> None:
        """Make the run's context known to the cluster, and look at its workers.

        Raises
        ------
        ValueError
            There are workers, and not one can run anything; or the jobs' class cannot be sent.
        """
        check_can_be_sent(job_class)
        with told_of_loss(self.client):
            self._open(context, job_class, goes_first)

    def _open(
        self, context: RunContext, job_class: type[RegionJob[Any, Any]], goes_first: bool
    ) -> None:
        pipeline = PipelinePlugin(
            imports_xarray=context.coords is not None,
            is_one_machine=is_one_machine(self.client),
        )
        self._run, self._goes_first = context.run, goes_first
        limit_hosts(self, HostPlaces(self.client.scheduler, self.client.loop))
        answer_workers(self.client)
        self._workforce = Workforce(self.client, pipeline, job_class.__module__)
        self._workforce.open()
        self._context = submission.send_context(self.client, context, goes_first=goes_first)

    def close(self) -> None:
        """Ask no worker for the jobs' module any more."""
        limit_hosts(self, None)
        if self._workforce is not None:
            self._workforce.close()

    def threads(self) -> Mapping[str, int]:
        """Return the workers that are there, with their threads."""
        with told_of_loss(self.client):
            threads: Mapping[str, int] = self.client.nthreads()  # type: ignore[no-untyped-call]
            return threads

    def expected(self, workers: int) -> int:
        """Return how many workers work should be in flight for."""
        return expected_workers(self.client, workers)

    def look(self, present: Sequence[str]) -> None:
        """Say what is wrong with workers that joined, and that there is nobody.

        Raises
        ------
        NoWorkers
            There was nobody for so long that the run gives up.
        OSError
            The scheduler does not answer.
        """
        if self._workforce is not None:
            with told_of_loss(self.client):
                self._workforce.look(present)

    def retire(self, worker: str) -> bool:
        """Send a worker away, unless it is the only one; whether it went."""
        threads = self.threads()
        if worker not in threads or len(threads) == 1:
            return False
        with told_of_loss(self.client):
            self.client.retire_workers([worker], close_workers=True)
        return True

    def submit_region(
        self,
        job: RegionJob[Any, Any],
        groups: Sequence[GroupWork],
        suffix: str,
        elsewhere_than: str = "",
    ) -> RegionTasks:
        """Submit the chains of one region job."""
        with told_of_loss(self.client), self._elsewhere(elsewhere_than):
            tasks = submission.submit_region(
                self.client, self._context, job, groups, suffix, goes_first=self._goes_first
            )
        self._expect([*tasks.downloads.values(), *tasks.uploads.values()])
        return tasks

    def submit_batch(self, regions: Batch, suffix: str, elsewhere_than: str = "") -> BatchTasks:
        """Submit several region jobs together: one task of each stage."""
        with told_of_loss(self.client), self._elsewhere(elsewhere_than):
            tasks = submission.submit_batch(
                self.client, self._context, regions, suffix, goes_first=self._goes_first
            )
        self._expect([tasks.downloads, tasks.uploads])
        return tasks

    def copy_all(self, copies: Sequence[Copy]) -> list[Uploaded | str]:
        """Make copies on the cluster."""
        with told_of_loss(self.client):
            return submission.copy_all(self.client, copies, self._run, goes_first=self._goes_first)

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield a function's results in order, one call at a time on each worker.

        Raises
        ------
        NoWorkers
            There was nobody for so long that the run gives up.
        Exception
            What the function raised, in its item's turn.
        """
        waiting: deque[Any] = deque()
        for number, item in enumerate(items):
            waiting.append(self._call(function, item, number))
            while len(waiting) >= max(1, self.expected(len(self.threads()))):
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _call(self, function: Callable[[Any], Any], item: Any, number: int) -> Any:
        executor = executor_of("compress", goes_first=self._goes_first)
        with dask.annotate(executor=executor):  # type: ignore[attr-defined]
            key = f"{function.__name__}-{number}-{self._run}"
            with told_of_loss(self.client):
                return self.client.submit(function, item, key=key, pure=False, retries=RETRIES)

    def _result(self, task: Any) -> Any:
        with told_of_loss(self.client):
            while not task.done():
                with suppress(OSError):  # a scheduler that is busy; one that is gone is told
                    self.look(list(self.threads()))
                with suppress(TimeoutError):
                    task.result(timeout=LOOK_EVERY_S)
            return task.result()

    def has_ready(self) -> bool:
        """Whether a task has ended that is not taken yet."""
        return bool(self._completed.has_ready())

    def take(self, wait_s: float) -> tuple[Any, Any] | None:
        """Return a task that ended; None where none does in so many seconds."""
        if not self._completed.has_ready():
            with self._completed.thread_condition:
                self._completed.thread_condition.wait(wait_s)
        if not self._completed.has_ready():
            return None
        ended: tuple[Any, Any] = self._completed.next()
        return ended

    def let_go(self) -> None:
        """Release what is not done: Dask drops tasks that nobody wants.

        Cancelling them instead can trip an assertion in the scheduler (distributed 2026.8), which
        then loses the client.
        """
        for future in list(self._completed.futures):
            with suppress(Exception):
                future.release()
        self._completed.clear()

    def _expect(self, tasks: Iterable[Any]) -> None:
        self._completed.update(list(tasks))

    def _elsewhere(self, than: str) -> AbstractContextManager[Any]:
        others = [worker for worker in self.threads() if worker != than] if than else []
        if not others:
            return nullcontext()
        annotated = dask.annotate  # type: ignore[attr-defined]
        where: AbstractContextManager[Any] = annotated(workers=others, allow_other_workers=True)
        return where
