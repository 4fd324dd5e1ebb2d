"""The jobs of a queue's cluster: those that ended make room for others, refused ones say why.

Dask itself asks again for a worker that is lost, but not for a job of several processes: it looks
for a worker of the job's name, and these have names of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import dask
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive

__all__ = ["Jobs", "adapt_whole_jobs", "class_that_tells", "is_of_a_queue"]

# dask-jobqueue's class of all clusters whose workers are jobs of a queue.
JOB_QUEUES = "dask_jobqueue.core.JobQueueCluster"
# A refused job is asked for again no sooner: a full queue is not the emptier for it.
REFUSED_AGAIN_S = 30.0


def is_of_a_queue(kind: type[Any]) -> bool:
    """Whether a class is dask-jobqueue's, which is not imported to see that."""
    bases = getattr(kind, "__mro__", ())
    return any(f"{base.__module__}.{base.__name__}".startswith(JOB_QUEUES) for base in bases)


def class_that_tells(job: type[Any]) -> type[Any]:
    """Derive from a job's class one whose jobs keep in `refused` why the queue did not take them.

    Dask drops that error: it stands in asyncio's log only, and the job counts as one that comes.
    """

    async def start(self: Any) -> None:
        try:
            await job.start(self)
        except (OSError, RuntimeError, ValueError) as error:
            self.refused = _reason(error)
            self.status = Status.running

    async def close(self: Any) -> None:
        await job.close(self)
        self.status = Status.closed

    return type(job.__name__, (job,), {"refused": "", "start": start, "close": close})


def adapt_whole_jobs(cluster: Any, fewest: int, most: int) -> None:
    """Let a queue's cluster follow the work, by jobs: at least, and at most, so many workers."""
    size = len(cluster.new_spec.get("group", ("",)))
    if size == 1:
        cluster.adapt(minimum=fewest, maximum=most)
        return
    cluster.adapt(
        Adaptive=_WholeJobs,
        minimum=-(-fewest // size) * size,
        maximum=max(most // size, 1) * size,
        worker_key=_job_of,
    )


class _WholeJobs(Adaptive):
    """Asks for jobs of several workers, and ends them, as wholes.

    Dask counts workers: where it wants one of a job's two, it retires the other, with which the job
    ends, and asks for a job again, without end.
    """

    @property
    def _size(self) -> int:
        return len(self.cluster.new_spec["group"])  # type: ignore[attr-defined]

    async def target(self) -> int:
        """Return how many workers there should be: those of the jobs that the work needs."""
        wanted = await super().target()  # type: ignore[no-untyped-call]
        return int(-(-wanted // self._size) * self._size)

    async def scale_down(self, workers: Any) -> None:
        """End as many jobs as make up so many workers."""
        jobs = Counter(str(name).rpartition("-")[0] for name in workers)
        ended = [job for job, _ in jobs.most_common(len(workers) // self._size)]
        suffixes = self.cluster.new_spec["group"]  # type: ignore[attr-defined]
        names = [f"{job}{suffix}" for job in ended for suffix in suffixes]
        await super().scale_down(names)


def _job_of(worker: Any) -> str:
    """Return the name of a worker's job, by which workers are ended together."""
    return str(worker.name).rpartition("-")[0]


def _reason(error: Exception) -> str:
    """Return what the queue's command said; its error has that below a line ``stderr:``."""
    if isinstance(error, FileNotFoundError):
        return f"there is no command {error.filename} on this machine"
    said = str(error).partition("stderr:\n")[2] or str(error)
    return " ".join(said.split())


class Jobs:
    """The jobs that a cluster object has asked for.

    Parameters
    ----------
    cluster
        One of dask-jobqueue.
    """

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        # When a process of a job was seen last, and when it was found to be refused. Not by name:
        # the job that takes its place has the same.
        self._seen: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._refused: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._closing: set[asyncio.Future[None]] = set()

    @property
    def refusals(self) -> list[str]:
        """What the queue said of the jobs that it did not take, each once."""
        jobs = list(self.cluster.workers.values())
        return sorted({job.refused for job in jobs if getattr(job, "refused", "")})

    def waiting(self) -> list[str]:
        """Return the numbers of jobs of which no process was ever seen."""
        unseen = [job for job in list(self.cluster.workers.values()) if job not in self._seen]
        return [str(job.job_id) for job in unseen if job.job_id]

    def forget_ended(self, gone: set[str]) -> None:
        """Have the cluster ask again for what has ended: that is, forget that it did.

        Parameters
        ----------
        gone
            Numbers of jobs that the queue does not know any more.
        """
        self.cluster.loop.add_callback(self._forget, gone)

    def _forget(self, gone: set[str]) -> None:
        present = {str(worker.name) for worker in self.cluster.scheduler.workers.values()}
        now = time.monotonic()
        for name, job in list(self.cluster.workers.items()):
            if present & self._processes(name):
                self._seen[job] = now
            elif str(job.job_id) in gone or self._has_ended(job, now):
                del self.cluster.workers[name]
                closing = asyncio.ensure_future(_closed(job))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def _has_ended(self, job: Any, now: float) -> bool:
        """Whether all its processes have been away for so long, or it was refused so long ago."""
        if getattr(job, "refused", ""):
            return now - self._refused.setdefault(job, now) >= REFUSED_AGAIN_S
        patience = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        return job in self._seen and now - self._seen[job] >= float(patience)

    def _processes(self, name: Any) -> set[str]:
        """Return the names of a job's workers."""
        spec = self.cluster.worker_spec.get(name, {})
        return {f"{name}{suffix}" for suffix in spec.get("group", ("",))}


async def _closed(job: Any) -> None:
    # The queue may not answer; what has ended ends without that.
    with suppress(Exception):
        await job.close()
