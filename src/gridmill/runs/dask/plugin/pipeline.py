"""The plugin that gives a worker what stages need: their threads, a workspace, places at hosts."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import dask
import numcodecs.blosc
import zarr
from distributed import (
    Worker,
    WorkerPlugin,
)
from distributed.comm.core import CommClosedError

from gridmill.pipeline.workspace import Workspace, delete
from gridmill.runs.dask.plugin.executors import stage_executors
from gridmill.runs.dask.plugin.memory import keep_freed_memory
from gridmill.runs.dask.plugin.places import HostPlaces
from gridmill.runs.dask.plugin.secrets import AskDriver
from gridmill.runs.dask.plugin.shared import SharedFolder
from gridmill.runs.workplaces.workplace import STAGE_WIDTHS
from gridmill.sources.fetch.credentials.keeper import ask_elsewhere
from gridmill.sources.fetch.download import limit_hosts
from gridmill.sources.kept import keep_files
from gridmill.sources.retries import say_retries_in_words

__all__ = ["PLUGIN", "PipelinePlugin"]

PLUGIN = "gridmill-pipeline"
# Of a worker's memory, what files on its disk may claim to take of it.
CLAIMED_SHARE = 0.25


class PipelinePlugin(WorkerPlugin):
    """Equips a worker with the stages' executors and a workspace whose folders live like keys.

    Parameters
    ----------
    imports_xarray
        Whether to import xarray at once, because an author's hook takes a DataArray.
    is_one_machine
        Whether the cluster starts all its workers on one machine.
    """

    name = PLUGIN
    idempotent = True

    def __init__(self, *, imports_xarray: bool = False, is_one_machine: bool = False) -> None:
        self.imports_xarray = imports_xarray
        self.is_one_machine = is_one_machine

    def setup(self, worker: Worker) -> None:
        """Install executors and workspace."""
        shares_disk = dask.config.get("gridmill.workers-share-disk", True)
        root = Path(worker.local_directory) / "gridmill"
        self.workspace = Workspace(root, shares_disk=shares_disk)
        self.most_claimed = 0 if shares_disk and self.is_one_machine else _most_claimed(worker)
        self._bandwidth = worker.bandwidth
        self.executors = stage_executors(STAGE_WIDTHS)
        worker.executors.update(self.executors)
        stop_profiling(worker)
        logging.getLogger("distributed.worker").addFilter(_is_news)
        say_retries_in_words()
        self.keeps_memory = keep_freed_memory()
        numcodecs.blosc.use_threads = False
        zarr.config.set({"threading.max_workers": max(1, (os.cpu_count() or 1) // 2)})
        if self.imports_xarray:
            import xarray  # noqa: F401
        limit_hosts(self, HostPlaces(worker.scheduler, worker.loop))
        ask_elsewhere(self, AskDriver(worker))
        self.shared = SharedFolder(_inventories(worker)) if shares_disk else None
        keep_files(root / "inventories" if self.shared is None else self.shared.path)
        self.worker = worker

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Delete a key's folders with the key.

        Not on ``executing`` to ``released``: Dask reports that while the thread still runs. What
        is deleted is settled here and now: Dask may want the same key again before the executor
        comes to it.
        """
        # A handle that moves takes no time for all that it claims, which Dask would take for the
        # network's speed, and soon think nothing of moving tasks away from their files.
        self.worker.bandwidth = self._bandwidth
        if finish == "forgotten" or (start == "memory" and finish == "released"):
            folders = self.workspace.release(str(key))
            if folders:
                self.worker.executors["offload"].submit(delete, folders)

    def teardown(self, worker: Worker) -> None:
        """Stop the executors and delete what is left."""
        for name, executor in self.executors.items():
            worker.executors.pop(name, None)
            executor.shutdown(wait=False, cancel_futures=True)
        limit_hosts(self, None)
        ask_elsewhere(self, None)
        keep_files(None)
        delete([self.workspace.root])
        if self.shared is not None:
            self.shared.leave()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a worker's line is more than a heartbeat that met a scheduler which is closing.

    Where that is no end of a run, Dask says itself that the connection is lost.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, CommClosedError) and "during heartbeat" in record.msg)


def _inventories(worker: Worker) -> Path:
    """Return the folder that all workers of a cluster share on a machine, beside their own."""
    cluster = hashlib.sha256(str(worker.scheduler.address).encode()).hexdigest()[:12]
    return Path(worker.local_directory).parent / f"gridmill-inventories-{cluster}"


def _most_claimed(worker: Worker) -> int:
    """Return how large files may claim to be, in bytes.

    Dask takes them to be in memory, and refuses a task whose inputs do not fit there.
    """
    limit = worker.memory_manager.memory_limit
    return int(limit * CLAIMED_SHARE) if limit else sys.maxsize


def stop_profiling(worker: Worker) -> None:
    """Stop Dask's statistical profiler where it can lock up the worker.

    ``sys._current_frames`` may deadlock with threads that start or end (python/cpython#106883);
    every download task starts some.
    """
    if sys.version_info < (3, 11, 9) or (3, 12) <= sys.version_info < (3, 12, 3):
        for name in ("profile", "profile-cycle"):
            callback = worker.periodic_callbacks.get(name)
            if callback is not None:
                callback.stop()
