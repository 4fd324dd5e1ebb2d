"""Does the tasks of a run in this process: no other one is started, nothing is sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numcodecs.blosc

from gridmill.authoring.region_job import RegionJob
from gridmill.pipeline.compress import compress
from gridmill.pipeline.download import download
from gridmill.pipeline.upload import upload
from gridmill.pipeline.values import (
    Bench,
    LocalFiles,
    LocalShards,
    Receipt,
    RunContext,
    VariableWork,
)
from gridmill.pipeline.workspace import Workspace, delete
from gridmill.publishing.copies import Copy, copy_here
from gridmill.runs.workplaces.workplace import (
    Batch,
    BatchTasks,
    GroupWork,
    RegionTasks,
    for_attempt,
    group_key,
    region_key,
)
from gridmill.sources.kept import keep_files
from gridmill.sources.retries import retries_in_words
from gridmill.stores.final_store import Uploaded
from gridmill.stores.metadata import expect_uploads
from gridmill.stores.objects.leftovers import temporary_folder

__all__ = ["HERE", "Here"]

# The name of the only worker, in reports.
HERE = "this process"
# Variables that wait for the store at once, the next one of which is compressed meanwhile.
UPLOADS = 2


class Here:
    """Does each task when the driver waits for one, in its thread, where a debugger follows it.

    Only what is whole on disk is uploaded in another one, while the next variable is compressed.

    Parameters
    ----------
    root
        Where its folder is made; None means among the system's temporary files.
    """

    # A person who follows chains with a debugger follows one at a time.
    seconds_of_batch = 0.0

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self._waiting: deque[_Task] = deque()
        self._uploading: deque[_Task] = deque()
        self._stack = ExitStack()
        self._context: RunContext | None = None

    def open(
        self, context: RunContext, job_class: type[RegionJob[Any, Any]], *, goes_first: bool
    ) -> None:
        """Make a folder, and set for this run what workers have set for good."""
        self._context = context
        folder = self._stack.enter_context(temporary_folder(self.root))
        self._workspace = Workspace(folder / "tasks")
        self._stack.enter_context(_one_thread())
        self._stack.enter_context(retries_in_words())
        self._stack.enter_context(_shared(folder / "inventories"))
        # It ends first: folders stay until nothing is read from them.
        self._pool = self._stack.enter_context(ThreadPoolExecutor(UPLOADS, "upload"))
        # Meanwhile the first source files are fetched; what it finds wrong, the first upload does.
        self._pool.submit(expect_uploads, context.store)

    def close(self) -> None:
        """Delete the folder, and set back what was set."""
        self._stack.close()

    def threads(self) -> Mapping[str, int]:
        """Return this process, with its one thread."""
        return {HERE: 1}

    def expected(self, workers: int) -> int:
        """Return the one that there is."""
        return 1

    def look(self, present: Sequence[str]) -> None:
        """Do nothing: nobody comes, and nobody goes."""

    def retire(self, worker: str) -> bool:
        """Refuse: there is no other."""
        return False

    def submit_region(
        self,
        job: RegionJob[Any, Any],
        groups: Sequence[GroupWork],
        suffix: str,
        elsewhere_than: str = "",
    ) -> RegionTasks:
        """Put the chains of one region job in the queue, each whole before the next."""
        downloads: dict[int, _Task] = {}
        uploads: dict[str, _Task] = {}
        for group in groups:
            chains = _Chains(self, job, group, suffix)
            downloads[group.index] = self._later(chains.key, chains.download)
            for name, work in group.works.items():
                key = f"{region_key(job)}-{name}-{suffix}"
                uploads[name] = self._later(f"upload-{key}", *chains.chain(key, work))
        return RegionTasks(downloads, uploads)

    def submit_batch(self, regions: Batch, suffix: str, elsewhere_than: str = "") -> BatchTasks:
        """Refuse: there is nothing that regions could share."""
        raise RuntimeError("tasks in this process are no dearer than their work: none are shared")

    def copy_all(self, copies: Sequence[Copy]) -> list[Uploaded | str]:
        """Make copies, one after the other."""
        return copy_here(copies)

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Call a function for one item after the other."""
        return map(function, items)

    def has_ready(self) -> bool:
        """Say no: what is done is taken at once."""
        return False

    def take(self, wait_s: float) -> tuple[Any, Any] | None:
        """Do the next task, however long it takes, or wait for what is uploaded meanwhile."""
        while self._waiting and len(self._uploading) < UPLOADS:
            task = self._waiting.popleft()
            task.begin()
            if not task.is_uploaded:
                return task, task.end()
            self._uploading.append(task)
        if not self._uploading:
            return None
        task = self._uploading.popleft()
        return task, task.end()

    def let_go(self) -> None:
        """Forget what is not done."""
        self._waiting.clear()
        self._uploading.clear()

    # -- what chains need ------------------------------------------------------------------------

    @property
    def context(self) -> RunContext:
        """What all tasks share."""
        assert self._context is not None
        return self._context

    def bench(self, key: str) -> Bench:
        """Return where a task with a key works."""
        return Bench(self._workspace.of_key(key), HERE)

    def upload(self, key: str, shards: LocalShards) -> Future[Receipt]:
        """Upload a variable, in another thread."""
        return self._pool.submit(upload, self.bench(key), self.context, shards)

    def clear(self, key: str) -> None:
        """Delete what a task made."""
        delete(self._workspace.release(key))

    def _later(
        self, key: str, make: Callable[[], Any], clean: Callable[[], None] = lambda: None
    ) -> _Task:
        task = _Task(key, make, clean)
        self._waiting.append(task)
        return task


class _Task:
    """A task: what makes its result, or a future of it, and what cleans up after it."""

    def __init__(self, key: str, make: Callable[[], Any], clean: Callable[[], None]) -> None:
        self.key, self.status = key, "pending"
        self._make: Callable[[], Any] | None = make
        self._clean = clean
        self._made: Any = None
        self._error: Exception | None = None

    @property
    def is_uploaded(self) -> bool:
        """Whether another thread is at work on it."""
        return isinstance(self._made, Future)

    def begin(self) -> None:
        """Do what is done in this thread."""
        make, self._make = self._make, None
        assert make is not None
        try:
            self._made = make()
        except Exception as error:
            self._error = error

    def end(self) -> Any:
        """Wait until it is done; give what it returns, or the type of an error and the error."""
        made, self._made = self._made, None
        try:
            if self._error is not None:
                raise self._error
            result = made.result() if isinstance(made, Future) else made
        except Exception as error:
            self.status = "error"
            return type(error), error
        finally:
            self._clean()
        self.status = "finished"
        return result

    def release(self) -> None:
        """Do nothing: who took the result has it."""


class _Chains:
    """The chains of one group: its source files are there until the last variable is uploaded."""

    def __init__(self, here: Here, job: RegionJob[Any, Any], group: GroupWork, suffix: str) -> None:
        self.here = here
        self.job = for_attempt(job, group, suffix)
        self.files = group.files
        self.key = f"download-{group_key(job, group)}-{suffix}"
        self._left = len(group.works)
        self._fetched: LocalFiles | None = None
        self._error: Exception | None = None

    def download(self) -> LocalFiles:
        """Download the group's source files."""
        try:
            self._fetched = download(self.here.bench(self.key), self.job, self.files)
        except Exception as error:
            self._error = error
            raise
        return self._fetched

    def chain(
        self, key: str, work: VariableWork
    ) -> tuple[Callable[[], Future[Receipt]], Callable[[], None]]:
        """Return what compresses a variable and begins its upload, and what cleans up after it."""
        here, compress_key, upload_key = self.here, f"compress-{key}", f"upload-{key}"

        def compress_and_upload() -> Future[Receipt]:
            if self._error is not None:
                raise self._error
            assert self._fetched is not None
            shards = compress(here.bench(compress_key), here.context, work, self._fetched)
            return here.upload(upload_key, shards)

        def clean() -> None:
            here.clear(compress_key)
            here.clear(upload_key)
            self._leave()

        return compress_and_upload, clean

    def _leave(self) -> None:
        self._left -= 1
        if not self._left:
            self._fetched = None
            self.here.clear(self.key)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let blosc use no threads of its own, as in workers: the same is cheaper so."""
    before, numcodecs.blosc.use_threads = numcodecs.blosc.use_threads, False
    try:
        yield
    finally:
        numcodecs.blosc.use_threads = before


@contextmanager
def _shared(inventories: Path) -> Iterator[None]:
    """Keep inventories for all tasks."""
    keep_files(inventories)
    try:
        yield
    finally:
        keep_files(None)
