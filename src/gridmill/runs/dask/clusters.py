"""Connect to any Dask cluster; stop what was started here, leave the rest as it was found."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import dask
from distributed import Client, LocalCluster, Worker

__all__ = ["check_workers", "connect"]

log = logging.getLogger(__name__)

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
    # LocalCluster looks once, so long after a worker died, whether it is there: one that has just
    # died again is then given up for good, and a run without workers waits for ever.
    "distributed.deploy.lost-worker-timeout": "1 day",
    # Every process looks this often whether its event loop answers (by default 50 times a second)
    # and how much memory is used (10 times): together 3 in 100 of all CPU of two busy workers.
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.memory.monitor-interval": "500ms",
    # Dask warns when a task's arguments are large; source file lists may be.
    "distributed.admin.large-graph-warning-threshold": "100MB",
}


# Any port that only this machine reaches.
LOOPBACK = "127.0.0.1:0"
# A terminal sends Ctrl-C to the workers, too: they stop when they are told to, without a word.
IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


# Of these a difference between two processes means other bytes, or tasks that do not arrive.
PACKAGES = ("gridmill", "distributed", "numpy", "numcodecs", "zarr")

_checked: WeakSet[Client] = WeakSet()


def check_workers(client: Client, threads: int, say: Callable[[str], object] | None = None) -> None:
    """Say in a line each what of a cluster is not as it should be, with the remedy; once a client.

    Parameters
    ----------
    client
        Of any cluster.
    threads
        How many a worker needs for every stage to run at its full width.
    say
        Told the lines; by default they are logged as warnings.

    Raises
    ------
    ValueError
        A worker cannot import gridmill: nothing would ever run there.
    """
    if client in _checked or dask.config.get("gridmill.one-thread", False):
        return
    _checked.add(client)
    say = say or log.warning
    of_workers = client.nthreads()  # type: ignore[no-untyped-call]
    few = sum(n < threads for n in of_workers.values())
    if not of_workers:
        say("the cluster has no worker yet: the run waits for the first")
        return
    for line in _version_differences(client):
        say(line)
    if few:
        say(
            f"{few} of {len(of_workers)} workers have fewer than {threads} threads, so stages "
            f"overlap less: start them with --nthreads {threads}"
        )


def _version_differences(client: Client) -> Iterator[str]:
    versions: Any = client.get_versions(packages=list(PACKAGES))
    ours = _versions_of(versions["client"])
    found: dict[tuple[str, str], list[str]] = {}
    for address, told in versions["workers"].items():
        theirs = _versions_of(told)
        if theirs["gridmill"] is None:
            raise ValueError(
                f"worker {address} cannot import gridmill: give the workers this environment, with "
                "gridmill and the dataset's package"
            )
        for name, version in theirs.items():
            if version != ours[name]:
                found.setdefault((name, str(version)), []).append(address)
    for (name, version), addresses in found.items():
        yield (
            f"{len(addresses)} of {len(versions['workers'])} workers have {name} {version}, this "
            f"process {ours[name]}: give all the same environment, or the same inputs may not "
            "give the same bytes"
        )


def _versions_of(told: Mapping[str, Any]) -> dict[str, str | None]:
    python = ".".join(str(told["host"]["python"]).split(".")[:2])
    return {"python": python, **{name: told["packages"].get(name) for name in PACKAGES}}


@contextmanager
def connect(
    spec: Any = None,
    *,
    workers: int | None = None,
    threads_per_worker: int | None = None,
    **options: Any,
) -> Iterator[Client]:
    """Give a client of a Dask cluster.

    Parameters
    ----------
    spec
        None or ``"local"``: processes on this machine; ``"none"``: no cluster, everything in
        this process, one task at a time, for a debugger; ``"tcp://…"`` or another scheduler
        address; the path of a scheduler file (``*.json``); ``"coiled"``;
        ``"package.module:ClusterClass"``, for instance ``dask_jobqueue:SLURMCluster``; or a
        `distributed.Client` or cluster object.
    workers
        Number of workers to start; None means one a core locally, and the cluster's own
        default elsewhere.
    threads_per_worker
        Threads of a worker, on this machine or on Coiled.
    **options
        Passed to the cluster's constructor.

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
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SCHEDULER_CONFIG))
        if spec in (None, "local"):
            cluster = stack.enter_context(_local(workers, threads_per_worker, options))
            yield stack.enter_context(Client(cluster))  # type: ignore[no-untyped-call]
            return
        if spec == "none":
            _refuse_options(spec, workers, options)
            yield stack.enter_context(_in_this_process())
            return
        if not isinstance(spec, str) or "://" in spec or spec.endswith(".json"):
            _refuse_options(spec, workers, options)
            yield stack.enter_context(_client_of_existing(spec))
            return
        if spec == "coiled" and threads_per_worker is not None:
            options = {"worker_options": {"nthreads": threads_per_worker}, **options}
        started = stack.enter_context(_cluster_class(spec)(**_sized(workers), **options))
        yield stack.enter_context(Client(started))  # type: ignore[no-untyped-call]


def _local(
    workers: int | None, threads_per_worker: int | None, options: Mapping[str, Any]
) -> LocalCluster:
    # LocalCluster() alone would divide the cores into few processes of several threads each;
    # decoders and codecs need a process a core.
    defaults: dict[str, Any] = {
        "n_workers": workers or os.cpu_count() or 1,
        "threads_per_worker": threads_per_worker,
        "processes": True,
        "dashboard_address": LOOPBACK,
        "worker_dashboard_address": None,
    }
    if options.get("processes", True):
        defaults["preload"] = [IGNORE_INTERRUPTS]
    return LocalCluster(**{**defaults, **options})  # type: ignore[no-untyped-call]


class _LoopbackWorker(Worker):
    """A worker whose HTTP port nobody else can reach; without an address it takes all of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "dashboard_address": LOOPBACK})


@contextmanager
def _in_this_process() -> Iterator[Client]:
    """Give a client whose only worker is this process, where one thread does everything."""
    with (
        dask.config.set({"gridmill.one-thread": True}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            worker_class=_LoopbackWorker,
            dashboard_address=None,
            worker_dashboard_address=None,
            scheduler_kwargs={"dashboard_address": LOOPBACK},
            silence_logs=False,
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


def _client_of_existing(spec: Any) -> Client:
    if isinstance(spec, str) and spec.endswith(".json") and "://" not in spec:
        if not Path(spec).exists():
            raise ValueError(f"there is no scheduler file {spec}: is the scheduler running?")
        return Client(scheduler_file=spec)  # type: ignore[no-untyped-call]
    return Client(spec)  # type: ignore[no-untyped-call]


def _cluster_class(spec: str) -> Any:
    module_name, _, class_name = ("coiled:Cluster" if spec == "coiled" else spec).partition(":")
    if not class_name:
        raise ValueError(
            f"{spec!r} is no cluster: give local, none, an address like tcp://host:8786, a "
            "scheduler file (*.json), coiled, or package.module:ClusterClass"
        )
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cluster {spec!r} cannot be used: {error}; is it installed?") from error


def _sized(workers: int | None) -> dict[str, int]:
    return {} if workers is None else {"n_workers": workers}


def _refuse_options(spec: Any, workers: int | None, options: Mapping[str, Any]) -> None:
    if workers is not None or options:
        why = "no cluster is started" if spec == "none" else f"the cluster {spec} is already there"
        raise ValueError(
            f"{why}: --workers and cluster options have no effect on it; leave them out"
        )
