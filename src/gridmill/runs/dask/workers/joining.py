"""What a worker is asked when it joins, by code that needs nothing of gridmill there.

A queue's workers join long after a run began, and one that cannot import gridmill can tell nobody:
so what is here travels by value (see `ByValue`) and imports gridmill only to see whether it can.
"""

from __future__ import annotations

from typing import Any

from distributed import Worker, WorkerPlugin
from distributed.core import Status

__all__ = ["TOPIC", "ByValue", "Joining", "add_where_missing", "cannot_import", "versions_of"]

# Of Dask's events; each is a dict with `address` and `findings`.
TOPIC = "gridmill-workers"
# Below this a worker holds hardly a region's files.
FEWEST_FREE_NBYTES = 2 << 30


class ByValue(WorkerPlugin):
    """Sends an object of this module by value, to where gridmill may be missing.

    Parameters
    ----------
    thing
        A `Joining`, or a function of this module.
    """

    idempotent = True

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        self.name = getattr(thing, "name", "")

    def __reduce__(self) -> tuple[Any, ...]:
        import pickle
        import sys

        import cloudpickle

        here = sys.modules[__name__]
        cloudpickle.register_pickle_by_value(here)
        try:
            return pickle.loads, (cloudpickle.dumps(self.thing),)
        finally:
            cloudpickle.unregister_pickle_by_value(here)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function here."""
        return self.thing(*args, **options)


def examine(wanted: dict[str, Any], worker: Worker) -> list[tuple[str, str, bool]]:
    """Find what of a worker is not as it should be.

    Parameters
    ----------
    wanted
        ``modules`` that it must be able to import; and, unless only that is asked, how many
        ``threads`` it should have, and the ``versions`` of ``python`` and packages.
    worker
        The worker of this process.

    Returns
    -------
    findings
        Of each its kind, what is to be said of the workers of that kind ("have numpy 2.1, …"), and
        whether nothing can run there.
    """
    found = cannot_import(wanted["modules"])
    if found or "threads" not in wanted:
        return found
    others = other_versions(wanted["versions"]) | lacks(worker, wanted["threads"])
    return [(kind, text, False) for kind, text in others.items()]


def cannot_import(modules: list[str]) -> list[tuple[str, str, bool]]:
    """Return the first finding of modules that cannot be imported here, see `examine`."""
    import importlib

    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            text = (
                f"cannot import {module}: {type(error).__name__}: {error}; give the workers this "
                "environment, with gridmill and the dataset's package"
            )
            return [(f"import {module}", text, True)]
    return []


def other_versions(wanted: dict[str, str]) -> dict[str, str]:
    """Find packages of another version than wanted, by kind."""
    theirs = versions_of(list(wanted))
    return {
        f"{name} {theirs[name]}": (
            f"have {name} {theirs[name]}, this process {ours}: give all the same environment, or "
            "the same inputs may not give the same bytes"
        )
        for name, ours in wanted.items()
        if theirs[name] != ours
    }


def lacks(worker: Worker, threads: int) -> dict[str, str]:
    """Find what a worker has too little of, by kind."""
    import shutil

    from gridmill.runs.dask.plugin.memory import keep_freed_memory

    found = {}
    if worker.state.nthreads < threads:
        found["threads"] = (
            f"have fewer than {threads} threads, so stages overlap less: start them with "
            f"--nthreads {threads}"
        )
    if not keep_freed_memory():
        found["memory"] = (
            "give freed memory back to the system at once, which can double the CPU time: use an "
            "image with glibc, or preload an allocator like jemalloc"
        )
    if shutil.disk_usage(worker.local_directory).free < FEWEST_FREE_NBYTES:
        found["disk"] = (
            f"have less than {FEWEST_FREE_NBYTES >> 30} GiB free on their local disk: start them "
            "with --local-directory on a larger one"
        )
    return found


def versions_of(names: list[str]) -> dict[str, str]:
    """Return the versions of packages in this process, and of Python, as ``3.13``."""
    import importlib
    import sys

    versions = {}
    for name in names:
        if name == "python":
            versions[name] = "{}.{}".format(*sys.version_info[:2])
            continue
        try:
            module = importlib.import_module(name)
            versions[name] = str(getattr(module, "__version__", "of an unknown version"))
        except ImportError:
            versions[name] = "not at all"
    return versions


class Joining(WorkerPlugin):
    """Looks at a worker that joins, lets it work, or closes it and says why.

    Where nothing can run a worker that stays would fail one task after the other, and faster than
    others finish theirs.

    Parameters
    ----------
    name
        Of the plugin that it stands for.
    plugin
        That plugin, pickled; empty for none.
    wanted
        See `examine`.
    """

    idempotent = True

    def __init__(self, name: str, plugin: bytes, wanted: dict[str, Any]) -> None:
        self.name = name
        self.plugin = plugin
        self.wanted = wanted

    async def setup(self, worker: Worker) -> None:
        """Look at the worker; install the plugin, or close the worker."""
        import pickle

        findings = examine(self.wanted, worker)
        if self.plugin and not any(is_fatal for _, _, is_fatal in findings):
            try:
                plugin = pickle.loads(self.plugin)
                worker.plugins[self.name] = plugin
                plugin.setup(worker)
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"
                findings.append(("setup", f"cannot be set up for gridmill: {cause}", True))
        if not findings:
            return
        told = {"address": worker.address, "findings": findings}
        # Not by `worker.log_event`, which may not get through: the first task ends a worker that
        # cannot unpickle it.
        await worker.scheduler.log_event(topic=TOPIC, msg=told)
        if any(is_fatal for _, _, is_fatal in findings):
            # What was sent here already has not started, and is sent elsewhere when it is closed.
            worker.memory_manager.memory_pause_fraction = False
            worker.status = Status.paused
            worker.loop.call_later(1.0, worker.loop.add_callback, worker.close)


async def add_where_missing(joining: Joining, dask_worker: Worker) -> None:
    """Let a worker of this process be looked at, if it has not been."""
    if joining.name not in dask_worker.plugins:
        await dask_worker.plugin_add(joining, joining.name)
