"""Does the tasks of a run in this process, one at a time: nothing is started, nothing is sent."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numcodecs.blosc

from gridmill.authoring.region_job import RegionJob
from gridmill.model.wording import word_retry
from gridmill.pipeline.compress import compress
from gridmill.pipeline.download import download
from gridmill.pipeline.upload import upload
from gridmill.pipeline.values import Bench, LocalFiles, Receipt, RunContext, VariableWork
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
from gridmill.stores.final_store import Uploaded
from gridmill.stores.objects.leftovers import temporary_folder

__all__ = ["HERE", "Here"]

# The name of the only worker, in reports.
HERE = "this process"


class Here:
    """Does each task when the driver waits for one, in its thread, where a debugger follows it.

    Parameters
    ----------
    root
        Where its folder is made; None means among the system's temporary files.
    """

    # Whoever follows chains with a debugger follows one at a time.
    seconds_of_batch = 0.0

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self._waiting: deque[_Task] = deque()
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
        logging.getLogger("stamina").addFilter(word_retry)
        self._stack.enter_context(_shared(folder / "inventories"))

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
                uploads[name] = self._later(f"upload-{key}", chains.chain(key, work))
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
        """Do the next task, however long it takes."""
        if not self._waiting:
            return None
        task = self._waiting.popleft()
        return task, task.do()

    def let_go(self) -> None:
        """Forget what is not done."""
        self._waiting.clear()

    # -- what chains need ------------------------------------------------------------------------

    @property
    def context(self) -> RunContext:
        """What all tasks share."""
        assert self._context is not None
        return self._context

    def bench(self, key: str) -> Bench:
        """Return where a task with a key works."""
        return Bench(self._workspace.of_key(key), HERE)

    def clear(self, key: str) -> None:
        """Delete what a task made."""
        delete(self._workspace.release(key))

    def _later(self, key: str, make: Callable[[], Any]) -> _Task:
        task = _Task(key, make)
        self._waiting.append(task)
        return task


class _Task:
    def __init__(self, key: str, make: Callable[[], Any]) -> None:
        self.key, self.status = key, "pending"
        self._make: Callable[[], Any] | None = make

    def do(self) -> Any:
        """Do it; give what it returns, or the type of an error and the error."""
        make, self._make = self._make, None
        assert make is not None
        try:
            result = make()
        except Exception as error:
            self.status = "error"
            return type(error), error
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

    def chain(self, key: str, work: VariableWork) -> Callable[[], Receipt]:
        """Return what compresses a variable and uploads it."""

        def compress_and_upload() -> Receipt:
            here, compress_key = self.here, f"compress-{key}"
            try:
                if self._error is not None:
                    raise self._error
                assert self._fetched is not None
                shards = compress(here.bench(compress_key), here.context, work, self._fetched)
                return upload(here.bench(f"upload-{key}"), here.context, shards)
            finally:
                here.clear(compress_key)
                here.clear(f"upload-{key}")
                self._leave()

        return compress_and_upload

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
