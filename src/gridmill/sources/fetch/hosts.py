"""How many downloads ask one host at once, in all processes that share the same places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Condition
from typing import TypeAlias
from urllib.parse import urlsplit

__all__ = ["Places", "limit_hosts", "place_at"]

Places: TypeAlias = Callable[[str, int], AbstractContextManager[object]]
"""Gives, for a host and the most that may ask it at once, what waits for a place and holds it."""


class PlacesHere:
    """Places that only this process knows of, where it works for no cluster."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def __call__(self, host: str, most: int) -> Iterator[None]:
        """Hold a place at a host, once fewer than `most` are taken there."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken[host] < most)
            self._taken[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[host] -= 1
                self._changed.notify_all()


_here = PlacesHere()
# By who knows them. Several workers and drivers of one process may: whichever came last is asked.
_shared: dict[object, Places] = {}


def limit_hosts(owner: object, places: Places | None) -> None:
    """Let every `fetch` of this process take its places from those of `owner`; None ends that."""
    _shared.pop(owner, None)
    if places is not None:
        _shared[owner] = places


def place_at(url: str, most: int | None) -> AbstractContextManager[object]:
    """Return what holds a place at a URL's host, unless it is this machine's own disk."""
    parts = urlsplit(url)
    if most is None or parts.scheme in ("", "file"):
        return nullcontext()
    known: list[Places] = [_here, *_shared.values()]
    places = known[-1]
    return places(_host_of(parts.scheme, parts.netloc), most)


def _host_of(scheme: str, netloc: str) -> str:
    """Name the server that a URL asks, however its credentials and case are written.

    Examples
    --------
    >>> _host_of("https", "me:secret@Data.example.org"), _host_of("s3", "noaa-gfs")
    ('https://data.example.org', 's3://noaa-gfs')
    """
    return f"{scheme}://{netloc.rpartition('@')[2].lower()}"
