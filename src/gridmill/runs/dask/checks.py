"""What a run asks of a cluster before it begins: imports, memory, whether it is one machine."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from distributed import (
    Client,
    LocalCluster,
    Worker,
)

from gridmill.authoring.region_job import RegionJob
from gridmill.runs.dask.plugin import PLUGIN, PipelinePlugin

__all__ = ["check_imports", "check_memory", "is_one_machine"]

log = logging.getLogger(__name__)


def is_one_machine(client: Client) -> bool:
    """Whether a cluster starts all its workers on this machine."""
    return isinstance(client.cluster, LocalCluster)


def check_imports(client: Client, job_class: type[RegionJob[Any, Any]]) -> None:
    """Raise unless every worker can import an author's code; else tasks would never arrive.

    Raises
    ------
    ValueError
        Names a worker, the module and the cause.
    """
    if job_class.__module__ == "__main__":
        return  # sent by value
    answers = client.run(_import_error, job_class.__module__, on_error="return")
    for address, error in answers.items():
        if isinstance(error, str):  # not an exception: that worker is lost, and others go on
            raise ValueError(
                f"worker {address} cannot import {job_class.__module__}, which defines "
                f"{job_class.__name__}: {error}; install its package on the workers"
            )


def check_memory(client: Client) -> None:
    """Warn where workers give freed memory back at once, which only who starts them can mend."""
    # A worker that is lost or still being set up says nothing, and is no reason to stop.
    kept = client.run(_keeps_memory, on_error="ignore")
    if few := sum(not keeps for keeps in kept.values()):
        log.warning(
            "%d of %d workers give freed memory back to the system at once, which can double the "
            "CPU time: use an image with glibc, or preload an allocator like jemalloc",
            few,
            len(kept),
        )


def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _keeps_memory(dask_worker: Worker) -> bool:
    plugin = dask_worker.plugins[PLUGIN]
    assert isinstance(plugin, PipelinePlugin)
    return plugin.keeps_memory
