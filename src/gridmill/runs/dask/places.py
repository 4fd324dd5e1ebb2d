"""Places at source hosts, which workers and drivers of all runs on a scheduler share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from time import monotonic, time
from typing import Any

from distributed import Semaphore
from distributed.utils import sync

__all__ = ["HostPlaces"]

# Where the scheduler keeps what was declared: by host and number, when somebody last needed it.
DECLARED = "gridmill-places"
# A stricter number than one's own holds this long after it was seen.
SEEN_AGAIN_S = 5.0
# One that nobody needed for so long holds no more. Clocks of machines differ by less.
FORGOTTEN_S = 900.0


class HostPlaces:
    """Places at source hosts, which a scheduler gives to all workers and drivers that it has.

    Those of a process that dies are free again after Dask's lease timeout, 30 s.

    Parameters
    ----------
    scheduler, loop
        Of the Dask worker or client of this process.

    Notes
    -----
    Where runs declare different numbers for a host the smallest holds for all of them, from some
    seconds after it is first needed until nobody has needed it for a quarter of an hour. Safe in
    several threads.
    """

    def __init__(self, scheduler: Any, loop: Any) -> None:
        self._scheduler = scheduler
        self._loop = loop
        self._semaphores: dict[tuple[str, int], Semaphore] = {}
        # With until when it is believed.
        self._known: dict[tuple[str, int], tuple[int, float]] = {}
        self._lock = Lock()

    @contextmanager
    def __call__(self, host: str, most: int) -> Iterator[None]:
        """Hold one of `most` places at a host, or of as many as the strictest run lets it have."""
        semaphore: Any = None
        try:
            semaphore = self._semaphore(host, self._strictest(host, most))
            taken = semaphore.acquire()
        except (OSError, RuntimeError):
            taken = False  # the scheduler is lost: that says nothing about the file
        try:
            yield
        finally:
            if taken:
                semaphore.release()

    def _strictest(self, host: str, most: int) -> int:
        number, until = self._known.get((host, most), (most, 0.0))
        if monotonic() >= until:
            number = strictest(self._declared(host, most), most, time())
            self._known[host, most] = number, monotonic() + SEEN_AGAIN_S
        return number

    def _declared(self, host: str, most: int) -> Mapping[str, float]:
        """Say what is needed here, and return what anybody needed, see `strictest`."""
        keys = [DECLARED, host]
        ask: Any = sync
        ask(self._loop, self._scheduler.set_metadata, keys=[*keys, str(most)], value=time())
        declared: Mapping[str, float] = ask(
            self._loop, self._scheduler.get_metadata, keys=keys, default={}
        )
        return declared

    def _semaphore(self, host: str, most: int) -> Semaphore:
        with self._lock:
            if (host, most) not in self._semaphores:
                self._semaphores[host, most] = Semaphore(  # type: ignore[no-untyped-call]
                    most,
                    name=f"gridmill-{most}-at-{host}",
                    scheduler_rpc=self._scheduler,
                    loop=self._loop,
                )
            return self._semaphores[host, most]


def strictest(declared: Mapping[str, float], most: int, now: float) -> int:
    """Return the smallest number that somebody needs for a host.

    Parameters
    ----------
    declared
        By number, when somebody last needed it, in seconds since 1970.
    most
        The number that is needed here.
    now
        The present, in seconds since 1970.

    Examples
    --------
    >>> strictest({"4": 990.0, "2": 10.0, "256": 995.0}, 256, now=1000.0)
    4
    """
    recent = (int(number) for number, seen in declared.items() if now - seen < FORGOTTEN_S)
    return min([most, *recent])
