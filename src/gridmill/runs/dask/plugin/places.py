"""Places at source hosts, which workers and drivers of all runs on a scheduler share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock, Timer
from time import monotonic, time
from typing import Any

from distributed import Semaphore
from distributed.utils import sync

from gridmill.sources.fetch.hosts import LOOKS_UP_S, Turn, give_back_after, turns_of
from gridmill.sources.racing import stop_of_this

__all__ = ["HostPlaces"]

# Where the scheduler keeps what was declared: by host and number, when somebody last needed it.
DECLARED = {"at": "gridmill-places", "a-minute-at": "gridmill-turns"}
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
        self._semaphores: dict[str, Semaphore] = {}
        # With until when it is believed.
        self._known: dict[tuple[str, str, int], tuple[int, float]] = {}
        self._lock = Lock()
        # The turns that are given back later.
        self._timers: set[Timer] = set()

    @contextmanager
    def __call__(self, host: str, most: int) -> Iterator[None]:
        """Hold one of `most` places at a host, or of as many as the strictest run lets it have."""
        semaphore = self._taken(f"at-{host}", self._strictest("at", host, most))
        try:
            yield
        finally:
            if semaphore is not None:
                semaphore.release()

    @contextmanager
    def turn(self, host: str, most_a_minute: int) -> Iterator[Turn]:
        """Hold a turn at a host, of as many a minute as the strictest run lets it have."""
        number = self._strictest("a-minute-at", host, most_a_minute)
        many, hold_s = turns_of(number)
        semaphore, turn = self._taken(f"{number}-a-minute-at-{host}", many), Turn(hold_s)
        try:
            yield turn
        finally:
            if semaphore is not None:
                self._release_after(turn.hold_s, semaphore)

    def close(self) -> None:
        """Let what is held for later end with its lease: its holder is going away."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def _taken(self, name: str, most: int) -> Any:
        """Return a semaphore of which a lease was taken; None if the scheduler is lost.

        That says nothing about the file.
        """
        try:
            semaphore: Any = self._semaphore(f"gridmill-{most}-{name}", most)
            return semaphore if _acquired(semaphore) else None
        except (OSError, RuntimeError):
            return None

    def _release_after(self, seconds: float, semaphore: Any) -> None:
        def release() -> None:
            with self._lock:
                self._timers.discard(timer)
            with suppress(Exception):  # its holder may be gone, and its lease with it
                semaphore.release()

        with self._lock:
            timer = give_back_after(seconds, release)
            self._timers.add(timer)

    def _strictest(self, kind: str, host: str, most: int) -> int:
        number, until = self._known.get((kind, host, most), (most, 0.0))
        if monotonic() >= until:
            with suppress(OSError, RuntimeError):  # as above
                number = strictest(self._declared([DECLARED[kind], host], most), most, time())
            self._known[kind, host, most] = number, monotonic() + SEEN_AGAIN_S
        return number

    def _declared(self, keys: list[str], most: int) -> Mapping[str, float]:
        """Say what is needed here, and return what anybody needed, see `strictest`."""
        ask: Any = sync
        ask(self._loop, self._scheduler.set_metadata, keys=[*keys, str(most)], value=time())
        declared: Mapping[str, float] = ask(
            self._loop, self._scheduler.get_metadata, keys=keys, default={}
        )
        return declared

    def _semaphore(self, name: str, most: int) -> Semaphore:
        with self._lock:
            if name not in self._semaphores:
                self._semaphores[name] = Semaphore(  # type: ignore[no-untyped-call]
                    most, name=name, scheduler_rpc=self._scheduler, loop=self._loop
                )
            return self._semaphores[name]


def _acquired(semaphore: Any) -> bool:
    """Wait for a lease; raise where another mirror has the file meanwhile."""
    stop = stop_of_this()
    if stop is None:
        return bool(semaphore.acquire())
    while not semaphore.acquire(timeout=LOOKS_UP_S):
        stop.check()
    return True


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
