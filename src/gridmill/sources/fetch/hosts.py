"""How many downloads ask one host at once, and how often, in all processes that share it.

A rate is kept with places as well: a request has one of a few, and gives it back some seconds after
its answer. So it holds from whatever second a minute is counted, and who waits as long as a host
said keeps its place for so long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Condition, Timer
from typing import Protocol

from gridmill.model.urls import split_url
from gridmill.sources.racing import stop_of_this

__all__ = ["LOOKS_UP_S", "Places", "Turn", "limit_hosts", "place_at", "turn_at", "turns_of"]

# Turns of one window may come at once; between windows latency is lost, which this makes small.
WINDOW_S = 5.0
# Who races other mirrors for a file looks so often whether it still needs its place.
LOOKS_UP_S = 0.5


@dataclass
class Turn:
    """The turn of one request: how long after its answer the next may have its place."""

    hold_s: float


class Places(Protocol):
    """What waits at a host for a place, or a turn, and holds it."""

    def __call__(self, host: str, most: int, /) -> AbstractContextManager[object]:
        """Return a place, of which there are `most`."""

    def turn(self, host: str, most_a_minute: int, /) -> AbstractContextManager[Turn]:
        """Return a turn, of which there are `most_a_minute`."""

    def close(self) -> None:
        """Release what is no longer held for later."""


def turns_of(most_a_minute: int) -> tuple[int, float]:
    """Return how many requests may have a turn at once, and for how many seconds each keeps it.

    No 60 seconds hold more than `most_a_minute` of them.

    Examples
    --------
    >>> turns_of(120), turns_of(25), turns_of(1)
    ((10, 5.0), (2, 5.0), (1, 60.0))
    """
    many = max(1, int(most_a_minute * WINDOW_S / 60))
    return many, 60 / (most_a_minute // many)


class PlacesHere:
    """Places that only this process knows of, where it works for no cluster."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def __call__(self, host: str, most: int) -> Iterator[None]:
        """Hold a place at a host, once fewer than `most` are taken there."""
        self._take(host, most)
        try:
            yield
        finally:
            self._give_back(host)

    @contextmanager
    def turn(self, host: str, most_a_minute: int) -> Iterator[Turn]:
        """Hold a turn at a host until some seconds after it was used."""
        many, hold_s = turns_of(most_a_minute)
        name, turn = f"turns at {host}", Turn(hold_s)
        self._take(name, many)
        try:
            yield turn
        finally:
            give_back_after(turn.hold_s, self._give_back, name)

    def close(self) -> None:
        """Do nothing: it is there as long as its process."""

    def _take(self, name: str, most: int) -> None:
        stop = stop_of_this()
        with self._changed:
            every_s = None if stop is None else LOOKS_UP_S
            while not self._changed.wait_for(lambda: self._taken[name] < most, every_s):
                if stop is not None:
                    stop.check()
            self._taken[name] += 1

    def _give_back(self, name: str) -> None:
        with self._changed:
            self._taken[name] -= 1
            self._changed.notify_all()


def give_back_after(seconds: float, give_back: Callable[..., object], *what: object) -> Timer:
    """Release a turn later, in a thread that keeps no process from ending."""
    timer = Timer(seconds, give_back, what)
    timer.daemon = True
    timer.start()
    return timer


_here = PlacesHere()
# By who knows them. Several workers and drivers of one process may: whichever came last is asked.
_shared: dict[object, Places] = {}


def limit_hosts(owner: object, places: Places | None) -> None:
    """Let every `fetch` of this process take its places from those of `owner`; None ends that."""
    former = _shared.pop(owner, None)
    if former is not None:
        former.close()
    if places is not None:
        _shared[owner] = places


def place_at(url: str, most: int | None) -> AbstractContextManager[object]:
    """Return what holds a place at a URL's host, unless it is this machine's own disk."""
    parts = split_url(url)
    if most is None or parts.scheme in ("", "file"):
        return nullcontext()
    return _places()(_host_of(parts.scheme, parts.netloc), most)


def turn_at(url: str, most_a_minute: int | None) -> AbstractContextManager[Turn]:
    """Return what holds the turn of one request at a URL's host, as `place_at` holds a place."""
    parts = split_url(url)
    if most_a_minute is None or parts.scheme in ("", "file"):
        return nullcontext(Turn(0.0))
    return _places().turn(_host_of(parts.scheme, parts.netloc), most_a_minute)


def _places() -> Places:
    known: list[Places] = [_here, *_shared.values()]
    return known[-1]


def _host_of(scheme: str, netloc: str) -> str:
    """Name the server that a URL asks, however its credentials and case are written.

    Examples
    --------
    >>> _host_of("https", "me:secret@Data.example.org"), _host_of("s3", "noaa-gfs")
    ('https://data.example.org', 's3://noaa-gfs')
    """
    return f"{scheme}://{netloc.rpartition('@')[2].lower()}"
