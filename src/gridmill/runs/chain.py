"""Chains of Dask futures: one download a source group, one compress and upload a variable.

Or, for small regions, one of each for several regions: a batch.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import dask
import numcodecs.blosc
import zarr
from distributed import (
    Client,
    Future,
    LocalCluster,
    Semaphore,
    Worker,
    WorkerPlugin,
    get_worker,
)

from gridmill.authoring.region_job import RegionJob
from gridmill.model.region import region_key
from gridmill.pipeline import stages
from gridmill.pipeline.stages import Bench, LocalFiles, LocalShards, Receipt, RunContext, SourceFile
from gridmill.pipeline.workspace import Workspace, delete
from gridmill.publishing.copies import Copy, copy_objects
from gridmill.runs import batches
from gridmill.runs.batches import BatchedWork, GroupFiles, NotMade
from gridmill.runs.metrics import count_stages
from gridmill.sources.fetch.download import limit_hosts
from gridmill.stores.final_store import Uploaded

__all__ = [
    "STAGE_WIDTHS",
    "BatchFutures",
    "GroupWork",
    "HostPlaces",
    "PipelinePlugin",
    "RegionFutures",
    "check_imports",
    "check_memory",
    "copy_all",
    "is_one_machine",
    "seconds_of_batch",
    "send_context",
    "submit_batch",
    "submit_region",
    "threads_per_worker",
]

log = logging.getLogger(__name__)

Made = TypeVar("Made", LocalFiles, LocalShards, Receipt)

PLUGIN = "gridmill-pipeline"
# One core a process: one variable is compressed at a time, while others download and upload.
STAGE_WIDTHS: Mapping[str, int] = {"download": 2, "compress": 1, "upload": 2}
# Later stages first: what is started is finished before more disk is taken.
PRIORITY_IN_REGION = {"download": 0, "compress": 1, "upload": 2}
# glibc returns freed memory at once under the nanny's settings, which costs this job a factor
# of 2.3 in page faults; these let it keep what the next variable needs again.
MALLOC_OPTIONS = {-3: 1 << 30, -1: (1 << 31) - 1, -2: 64 << 20}
# Before 2.35 glibc refuses a larger threshold for what it maps and unmaps each time.
MOST_OF_OLD_GLIBC = {-3: 32 << 20}
# Of a worker's memory, what files on its disk may claim to take of it.
CLAIMED_SHARE = 0.25


def threads_per_worker() -> int:
    """Threads of a Dask worker at which every stage can run at its full width."""
    return sum(STAGE_WIDTHS.values())


class PipelinePlugin(WorkerPlugin):
    """Gives a worker the stages' executors and a workspace whose folders live as long as keys.

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
        for stage, executor in _stage_executors().items():
            worker.executors[stage] = executor
        stop_profiling(worker)
        self.keeps_memory = keep_freed_memory()
        numcodecs.blosc.use_threads = False
        zarr.config.set({"threading.max_workers": max(1, (os.cpu_count() or 1) // 2)})
        if self.imports_xarray:
            import xarray  # noqa: F401
        limit_hosts(HostPlaces(worker))
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
        for stage in STAGE_WIDTHS:
            executor = worker.executors.pop(stage, None)
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)
        limit_hosts(None)
        shutil.rmtree(self.workspace.root, ignore_errors=True)


def _most_claimed(worker: Worker) -> int:
    """Give how large files may claim to be, in bytes.

    Dask takes them to be in memory, and refuses a task whose inputs do not fit there.
    """
    limit = worker.memory_manager.memory_limit
    return int(limit * CLAIMED_SHARE) if limit else sys.maxsize


class HostPlaces:
    """Places at source hosts, which the scheduler gives to all workers of the cluster.

    Those of a worker that dies are free again after Dask's lease timeout, 30 s.

    Parameters
    ----------
    worker
        The Dask worker of this process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._semaphores: dict[tuple[str, int], Semaphore] = {}
        self._lock = Lock()

    @contextmanager
    def __call__(self, host: str, most: int) -> Iterator[None]:
        """Hold one of `most` places at a host."""
        semaphore: Any = self._semaphore(host, most)
        try:
            taken = semaphore.acquire()
        except (OSError, RuntimeError):
            taken = False  # the worker loses its scheduler: that says nothing about the file
        try:
            yield
        finally:
            if taken:
                semaphore.release()

    def _semaphore(self, host: str, most: int) -> Semaphore:
        with self._lock:
            if (host, most) not in self._semaphores:
                self._semaphores[host, most] = Semaphore(  # type: ignore[no-untyped-call]
                    most,
                    name=f"gridmill-{most}-at-{host}",
                    scheduler_rpc=self._worker.scheduler,
                    loop=self._worker.loop,
                )
            return self._semaphores[host, most]


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
    works: Mapping[str, stages.VariableWork]


@dataclass(frozen=True)
class RegionFutures:
    """The futures of a region job that the driver waits for.

    Parameters
    ----------
    downloads
        By group index.
    uploads
        By variable.
    """

    downloads: Mapping[int, Future[Any]]
    uploads: Mapping[str, Future[Any]]


@dataclass(frozen=True)
class BatchFutures:
    """The futures of several regions that the driver waits for.

    Parameters
    ----------
    downloads
        Of all groups of all regions, in their order.
    uploads
        Of all variables, in the order of the regions, their groups, and those' works.
    """

    downloads: Future[Any]
    uploads: Future[Any]


def seconds_of_batch() -> float:
    """Give how long a batch may take, as Dask's configuration says; 0 means that there is none."""
    if dask.config.get("gridmill.one-thread", False):
        return 0.0  # who follows chains with a debugger follows one at a time
    return float(dask.config.get("gridmill.batch-seconds", batches.BATCH_SECONDS))


def send_context(client: Client, context: RunContext) -> Future[Any]:
    """Make a run's context available to its tasks; it survives the loss of any worker."""
    return client.submit(_identity, context, key=f"context-0-{context.run}", pure=False)


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


def submit_region(
    client: Client,
    context: Future[Any],
    job: RegionJob[Any, Any],
    groups: Sequence[GroupWork],
    suffix: str,
) -> RegionFutures:
    """Submit the chains of one region job.

    Parameters
    ----------
    client
        The Dask client.
    context
        See `send_context`.
    job
        The region job.
    groups
        What to process of it.
    suffix
        Makes the keys unique among runs and attempts.
    """
    key = f"{region_key(job.region)}" if not job.is_static else "0static"
    first = _priority(job)
    downloads: dict[int, Future[Any]] = {}
    uploads: dict[str, Future[Any]] = {}
    for group in groups:
        submit = _Submission(client, first, f"{suffix}")
        source = submit.one(
            "download", download, f"{key}-g{group.index}", _small(job, group), group.files
        )
        names = list(group.works)
        keys = [f"{key}-{name}" for name in names]
        works = list(group.works.values())
        shards = submit.many("compress", compress, keys, works, context=context, source=source)
        receipts = submit.many("upload", upload, keys, shards, context=context)
        downloads[group.index] = source
        uploads.update(zip(names, receipts, strict=True))
    return RegionFutures(downloads, uploads)


def submit_batch(
    client: Client,
    context: Future[Any],
    regions: Sequence[tuple[RegionJob[Any, Any], Sequence[GroupWork]]],
    suffix: str,
) -> BatchFutures:
    """Submit several region jobs together: one task of each stage. See `submit_region`."""
    first, last = regions[0][0], regions[-1][0]
    key = f"{region_key(first.region)}-to-{region_key(last.region)}"
    groups = [(job, group) for job, groups in regions for group in groups]
    files = tuple(GroupFiles(_small(job, group), group.files) for job, group in groups)
    works = tuple(
        BatchedWork(work, number)
        for number, (_, group) in enumerate(groups)
        for work in group.works.values()
    )
    submit = _Submission(client, _priority(first), suffix)
    sources = submit.one("download", download_each, key, files)
    shards = submit.one("compress", compress_each, key, works, context, sources)
    return BatchFutures(sources, submit.one("upload", upload_each, key, shards, context))


def copy_all(client: Client, copies: Sequence[Copy], run: str) -> list[Uploaded | str]:
    """Make copies on the cluster; see `gridmill.publishing.copies.copy_objects`.

    Raises
    ------
    Exception
        What a copy raised.
    """
    if not copies:
        return []
    with dask.annotate(executor="upload"):  # type: ignore[attr-defined]
        futures = client.map(
            _copy,
            copies,
            key=[f"replicate-{copy.name}-{run}-{uuid.uuid4().hex[:6]}" for copy in copies],
            pure=False,
        )
    made: list[Uploaded | str] = client.gather(futures)  # type: ignore[no-untyped-call]
    return made


def _priority(job: RegionJob[Any, Any]) -> int:
    return int(-10 * job.region.start)


def _small(job: RegionJob[Any, Any], group: GroupWork) -> RegionJob[Any, Any]:
    return job.for_worker([work.data_var for work in group.works.values()])


@dataclass(frozen=True)
class _Submission:
    client: Client
    first: int
    suffix: str

    def one(self, stage: str, function: Any, key: str, *args: Any) -> Future[Any]:
        with dask.annotate(executor=stage):  # type: ignore[attr-defined]
            return self.client.submit(
                function,
                *args,
                key=f"{stage}-{key}-{self.suffix}",
                pure=False,
                priority=self.first + PRIORITY_IN_REGION[stage],
            )

    def many(
        self, stage: str, function: Any, keys: Sequence[str], items: Sequence[Any], **shared: Any
    ) -> list[Future[Any]]:
        with dask.annotate(executor=stage):  # type: ignore[attr-defined]
            return self.client.map(
                function,
                items,
                key=[f"{stage}-{key}-{self.suffix}" for key in keys],
                pure=False,
                priority=self.first + PRIORITY_IN_REGION[stage],
                **shared,
            )


def _stage_executors() -> dict[str, ThreadPoolExecutor]:
    """Give each stage its threads; or all of them one thread, which a debugger can follow."""
    if dask.config.get("gridmill.one-thread", False):
        return dict.fromkeys(STAGE_WIDTHS, ThreadPoolExecutor(1, thread_name_prefix="stages"))
    return {
        stage: ThreadPoolExecutor(width, thread_name_prefix=stage)
        for stage, width in STAGE_WIDTHS.items()
    }


# -- tasks ------------------------------------------------------------------------------------


def download(job: RegionJob[Any, Any], files: tuple[SourceFile, ...]) -> LocalFiles:
    """Run `stages.download` as a Dask task."""
    bench = _bench()
    return _counted(bench, stages.download(bench, job, files))


def compress(work: stages.VariableWork, context: RunContext, source: LocalFiles) -> LocalShards:
    """Run `stages.compress` as a Dask task."""
    bench = _bench()
    return _counted(bench, stages.compress(bench, context, work, source))


def upload(shards: LocalShards, context: RunContext) -> Receipt:
    """Run `stages.upload` as a Dask task."""
    bench = _bench()
    return _counted(bench, stages.upload(bench, context, shards))


def download_each(groups: Sequence[GroupFiles]) -> tuple[LocalFiles | NotMade, ...]:
    """Run `batches.download_each` as a Dask task."""
    bench = _bench()
    return _each_counted(bench, batches.download_each(bench, groups))


def compress_each(
    works: Sequence[BatchedWork], context: RunContext, sources: Sequence[LocalFiles | NotMade]
) -> tuple[LocalShards | NotMade, ...]:
    """Run `batches.compress_each` as a Dask task."""
    bench = _bench()
    return _each_counted(bench, batches.compress_each(bench, context, works, sources))


def upload_each(
    shards: Sequence[LocalShards | NotMade], context: RunContext
) -> tuple[Receipt | NotMade, ...]:
    """Run `batches.upload_each` as a Dask task."""
    bench = _bench()
    return _each_counted(bench, batches.upload_each(bench, context, shards))


def _each_counted(bench: Bench, made: tuple[Made | NotMade, ...]) -> tuple[Made | NotMade, ...]:
    for one in made:
        if not isinstance(one, NotMade):
            _counted(bench, one)
    return made


def _counted(bench: Bench, made: Made) -> Made:
    """Count the stages that this task ran, and not those that made its input."""
    count_stages(span for span in made.spans if span.key == bench.space.key)
    return made


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


def _identity(context: RunContext) -> RunContext:
    return context


def _copy(copy: Copy) -> Uploaded | str:
    space = _bench().space
    folder = space.make()
    try:
        return copy_objects(copy, folder)
    finally:
        space.discard(folder)


def _bench() -> Bench:
    worker = get_worker()
    plugin = worker.plugins[PLUGIN]
    assert isinstance(plugin, PipelinePlugin)
    key = str(worker.get_current_task())
    return Bench(plugin.workspace.of_key(key), worker.address, plugin.most_claimed)


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


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next array; False on a Linux where that cannot be."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return sys.platform != "linux"
    return all(
        mallopt(option, value) == 1 or mallopt(option, MOST_OF_OLD_GLIBC.get(option, value)) == 1
        for option, value in MALLOC_OPTIONS.items()
    )


def folders_in_use(client: Client) -> dict[str, int]:
    """Count the temporary folders on each worker, by its address."""
    return dict(client.run(_count_folders))


def _count_folders(dask_worker: Worker) -> int:
    plugin = dask_worker.plugins[PLUGIN]
    assert isinstance(plugin, PipelinePlugin)
    owned: Iterable[list[Path]] = plugin.workspace.owned().values()
    return sum(len(folders) for folders in owned)
