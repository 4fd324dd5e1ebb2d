"""Connect to any Dask cluster; stop what was started here, leave the rest as it was found."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, SpecCluster

from gridmill.runs.dask.workers.jobs import adapt_whole_jobs, class_that_tells, is_of_a_queue
from gridmill.runs.dask.workers.lifetime import lifetime_arguments
from gridmill.runs.dask.workers.workforce import keep_most, keep_size
from gridmill.runs.workplaces.specs import AUTO, NONE, check_spec, is_address
from gridmill.runs.workplaces.workplace import threads_per_worker

__all__ = ["LOCAL_CONFIG", "SCHEDULER_CONFIG", "connect"]

SCHEDULER_CONFIG: Mapping[str, Any] = {
    # A task that was on a lost worker is innocent: let many workers die before it is blamed.
    "distributed.scheduler.allowed-failures": 30,
    # A stolen task leaves its input on another worker's disk and must rebuild it.
    "distributed.scheduler.work-stealing": False,
    # It drops the copy of a result that its maker holds, and with it the files that the result
    # names, while a worker on the same disk still reads them.
    "distributed.scheduler.active-memory-manager.start": False,
    # Sampling stacks of all threads can lock up a worker for ever (python/cpython#106883).
    "distributed.worker.profile.enabled": False,
    # Every process looks this often whether its event loop answers (by default 50 times a second)
    # and how much memory is used (10 times): together 3 in 100 of all CPU of two busy workers.
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.memory.monitor-interval": "500ms",
    # Dask warns when a task's arguments are large; source file lists may be.
    "distributed.admin.large-graph-warning-threshold": "100MB",
}


LOCAL_CONFIG: Mapping[str, Any] = {
    # LocalCluster looks once, so long after a worker died, whether it is there: one that has just
    # died again is then given up for good, and a run without workers waits for ever. Other
    # clusters ask for another worker when they look.
    "distributed.deploy.lost-worker-timeout": "1 day",
}

# Of dask-jobqueue's settings, the arguments of ``dask worker``.
EXTRA = "worker-extra-args"
# Any port that only this machine reaches.
LOOPBACK = "127.0.0.1:0"
# A terminal sends Ctrl-C to the workers, too: they stop when they are told to, without a word.
IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def connect(
    spec: Any = None,
    *,
    workers: int | None = None,
    adapt: tuple[int, int] | None = None,
    **options: Any,
) -> Iterator[Client]:
    """Return a client of a Dask cluster.

    Parameters
    ----------
    spec
        None or ``"local"``: processes on this machine; ``"tcp://…"`` or another scheduler
        address; the path of a scheduler file (``*.json``); ``"coiled"``;
        ``"package.module:ClusterClass"``, for instance ``dask_jobqueue:SLURMCluster``; or a
        `distributed.Client` or cluster object. What works without a cluster, ``"auto"`` and
        ``"none"``, is given as it is, for what takes a `client`: no cluster is started for it.
    workers
        Number of workers to start; None means one a core locally, and the cluster's own
        default elsewhere. Those whose jobs end while a run goes on are asked for again.
    adapt
        Instead, the fewest and the most: the cluster starts and stops workers with the work.
    **options
        Passed to the cluster's constructor. By default workers have the threads that the stages
        need, where the class takes a number: on this machine, on Coiled, in the jobs of a queue.

    Raises
    ------
    ValueError
        `spec` means nothing, or options are given for a cluster that is already there.

    Notes
    -----
    A cluster that is started here is stopped in the end; others are left as found.
    """
    if isinstance(spec, Client):
        yield spec
        return
    check_spec(spec, workers, adapt, options)
    if spec in (AUTO, NONE):
        yield spec
        return
    with ExitStack() as stack:
        if not isinstance(spec, str | None) or is_address(spec):
            yield stack.enter_context(_client_of_existing(spec))
            return
        stack.enter_context(dask.config.set(SCHEDULER_CONFIG))
        first = adapt[0] if adapt else workers
        if spec in (None, "local"):
            stack.enter_context(dask.config.set(LOCAL_CONFIG))
            cluster: Any = stack.enter_context(_local(first, options))
        else:
            cluster = stack.enter_context(_started(str(spec), first, options))
        client = stack.enter_context(Client(cluster))  # type: ignore[no-untyped-call]
        if adapt is not None:
            _adapt(cluster, *adapt)
            keep_most(client, adapt[1])
        elif workers is not None and spec not in (None, "local", "coiled"):
            # Not all classes take a number when they are made; all can be scaled.
            cluster.scale(workers)
            if isinstance(cluster, SpecCluster):  # others replace by themselves what is lost
                keep_size(client, workers)
        yield client


def _started(spec: str, workers: int | None, options: Mapping[str, Any]) -> Any:
    """Start a cluster of a class, whose workers have the stages' threads if that can be said."""
    kind = _cluster_class(spec)
    threads = threads_per_worker()
    if spec == "coiled":
        sized = {} if workers is None else {"n_workers": workers}
        return kind(**{**sized, "worker_options": {"nthreads": threads}, **options})
    if is_of_a_queue(kind):
        return kind(**_for_a_queue(kind, threads, options))
    known = inspect.signature(kind).parameters
    is_local = isinstance(kind, type) and issubclass(kind, LocalCluster)
    if is_local and "dashboard_address" in known:
        # By default its pages are reached from everywhere.
        options = {"dashboard_address": LOOPBACK, **options}
    if "threads_per_worker" in known:
        return kind(**{"threads_per_worker": threads, **options})
    return kind(**options)


def _adapt(cluster: Any, fewest: int, most: int) -> None:
    if is_of_a_queue(type(cluster)):
        adapt_whole_jobs(cluster, fewest, most)
    else:
        cluster.adapt(minimum=fewest, maximum=most)


def _for_a_queue(kind: Any, threads: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Let a job have a process for each of its cores, with the stages' threads in each.

    dask-jobqueue divides a job's cores among few processes, as threads; what an option says, or the
    site's settings, stays. Workers leave before their job's walltime unless they are told when.
    """
    job = options.get("job_cls") or kind.job_cls
    queue = options.get("config_name") or job.config_name
    cores = options.get("cores") or _site(queue, "cores")
    walltime = options.get("walltime") or _site(queue, "walltime")
    extra = [str(arg) for arg in options.get("worker_extra_args") or _site(queue, EXTRA) or ()]
    if not any(arg.startswith("--nthreads") for arg in extra):
        extra += ["--nthreads", str(threads)]
    if walltime and not any(arg.startswith("--lifetime") for arg in extra):
        extra += lifetime_arguments(str(walltime), job.config_name)
    processes = {} if cores is None or _site(queue, "processes") else {"processes": cores}
    return {
        **processes,
        **options,
        "worker_extra_args": extra,
        "job_cls": class_that_tells(job),
    }


def _site(queue: str, name: str) -> Any:
    """Return what the site's settings of dask-jobqueue say."""
    return dask.config.get(f"jobqueue.{queue}.{name}", None)


def _local(workers: int | None, options: Mapping[str, Any]) -> LocalCluster:
    # LocalCluster() alone would divide the cores into few processes of several threads each;
    # decoders and codecs need a process a core.
    defaults: dict[str, Any] = {
        # Of the machine's cores, those that a container's limit or a job's binding leaves.
        "n_workers": CPU_COUNT if workers is None else workers,
        "threads_per_worker": threads_per_worker(),
        "processes": True,
        "dashboard_address": LOOPBACK,
        "worker_dashboard_address": None,
    }
    if options.get("processes", True):
        defaults["preload"] = [IGNORE_INTERRUPTS]
    return LocalCluster(**{**defaults, **options})  # type: ignore[no-untyped-call]


def _client_of_existing(spec: Any) -> Client:
    if isinstance(spec, str) and spec.endswith(".json") and "://" not in spec:
        return Client(scheduler_file=spec)  # type: ignore[no-untyped-call]
    return Client(spec)  # type: ignore[no-untyped-call]


def _cluster_class(spec: str) -> Any:
    module_name, _, class_name = ("coiled:Cluster" if spec == "coiled" else spec).partition(":")
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cluster {spec!r} cannot be used: {error}; is it installed?") from error
