"""The threads of a worker's stages, and whose tasks they take first.

A worker's heap of tasks is ordered by priority; what it has handed to an executor is not, and where
one stage is the slowest most of its tasks wait there. So each stage has two executors with the same
threads: what one was given goes before all that the other was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

__all__ = ["StageThreadPoolExecutor", "executor_of", "stage_executors"]

Waiting = deque[tuple[Future[Any], Callable[[], Any]]]


def executor_of(stage: str, *, goes_first: bool) -> str:
    """Return the name of the executor that takes a stage's tasks on every worker.

    Examples
    --------
    >>> executor_of("compress", goes_first=False), executor_of("compress", goes_first=True)
    ('compress', 'compress-first')
    """
    return f"{stage}-first" if goes_first else stage


def stage_executors(widths: Mapping[str, int]) -> dict[str, StageThreadPoolExecutor]:
    """Return the executors of all stages by name, see `executor_of`.

    Parameters
    ----------
    widths
        Threads by stage.
    """
    found = {}
    for stage, width in widths.items():
        first, later = _pair(width, stage)
        found[executor_of(stage, goes_first=True)] = first
        found[executor_of(stage, goes_first=False)] = later
    return found


def _pair(width: int, name: str) -> tuple[StageThreadPoolExecutor, StageThreadPoolExecutor]:
    threads = ThreadPoolExecutor(width, thread_name_prefix=name)
    lines: tuple[Waiting, Waiting] = (deque(), deque())
    return StageThreadPoolExecutor(threads, lines, 0), StageThreadPoolExecutor(threads, lines, 1)


class StageThreadPoolExecutor(Executor):
    """One of several executors that share threads.

    Dask passes its context on to executors whose class it takes for a thread pool by this name.

    Parameters
    ----------
    threads
        Shared with the others.
    lines
        What waits, of each executor; a thread takes from the first line that is not empty.
    own
        Which of them is this executor's.
    """

    def __init__(self, threads: ThreadPoolExecutor, lines: tuple[Waiting, ...], own: int) -> None:
        self.threads = threads
        self.lines = lines
        self.own = own

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Let a thread call a function, after all that waits in front of it."""
        future: Future[Any] = Future()
        self.lines[self.own].append((future, lambda: fn(*args, **kwargs)))
        # As many turns as there are calls: each finds one, if not this one.
        self.threads.submit(_take_turn, self.lines)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the shared threads, and with them the other executors."""
        self.threads.shutdown(wait, cancel_futures=cancel_futures)
        while cancel_futures and (waiting := _next(self.lines)) is not None:
            waiting[0].cancel()


def _next(lines: tuple[Waiting, ...]) -> tuple[Future[Any], Callable[[], Any]] | None:
    for line in lines:
        try:
            return line.popleft()
        except IndexError:
            continue
    return None


def _take_turn(lines: tuple[Waiting, ...]) -> None:
    found = _next(lines)
    if found is None or not found[0].set_running_or_notify_cancel():
        return
    future, call = found
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
        # Neither keeps the other in memory through its traceback, with all that the call held.
        del future
