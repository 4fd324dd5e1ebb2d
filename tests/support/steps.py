"""Tasks of two runs in one process, whose order is noted, and which wait to be let on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

from tiny import TinyJob

__all__ = ["PATIENCE_S", "STEPS", "OfBackfill", "OfUpdate", "Steps", "meanwhile", "wait_until"]

PATIENCE_S = 30.0


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait, and fail if it never is."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError("it never came to that")
        time.sleep(0.01)


@contextmanager
def meanwhile(function: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Do something in a thread; it must have ended well in the end."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(function)
        try:
            yield future
        except BaseException:
            STEPS.let(1000)  # what waits would be waited for
            raise
    future.result()


class Steps:
    """What tasks in this process began, in order; a backfill's wait there to be let on."""

    def __init__(self) -> None:
        self.reset("nothing")

    def reset(self, blocked: str) -> None:
        """Forget what was; from now on the tasks of one stage take steps."""
        self.blocked = blocked
        self.began: list[tuple[str, str]] = []
        self._let = threading.Semaphore(0)

    def take(self, run: str, stage: str, what: str) -> None:
        """Note a step, and wait if it is a backfill's of the blocked stage."""
        if stage != self.blocked or (run, what) in self.began:
            return
        self.began.append((run, what))
        if run == "backfill":
            self._let.acquire(timeout=PATIENCE_S)

    def let(self, number: int = 1) -> None:
        """Let backfills take steps."""
        self._let.release(number)

    def of(self, run: str) -> int:
        """Count what a run began."""
        return sum(whose == run for whose, _ in self.began)


STEPS = Steps()


class OfBackfill(TinyJob):
    """Takes a step at the first file of each region and variable; a group a variable."""

    run: ClassVar = "backfill"

    def source_groups(self, data_vars):
        """Give each variable files of its own."""
        return [[var] for var in data_vars]

    def download_file(self, coord):
        """Step, and fetch."""
        STEPS.take(self.run, "download", f"{self.region.start} {self.data_vars[0].name}")
        return super().download_file(coord)

    def read_data(self, coord, data_var):
        """Step, and read."""
        STEPS.take(self.run, "compress", f"{self.region.start} {data_var.name}")
        return super().read_data(coord, data_var)


class OfUpdate(OfBackfill):
    """The same of another run."""

    run: ClassVar = "update"
