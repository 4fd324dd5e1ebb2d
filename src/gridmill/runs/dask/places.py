"""Places at source hosts, which all workers of a cluster share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from distributed import (
    Semaphore,
    Worker,
)

__all__ = ["HostPlaces"]


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
