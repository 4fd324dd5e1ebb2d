"""How many downloads ask one host at once, in all processes that share the same places."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias
from urllib.parse import urlsplit

__all__ = ["Places", "limit_hosts", "place_at"]

Places: TypeAlias = Callable[[str, int], AbstractContextManager[object]]
"""Gives, for a host and the most that may ask it at once, what waits for a place and holds it."""

_places: Places | None = None


def limit_hosts(places: Places | None) -> None:
    """Make every `fetch` of this process take a place at its host first; None ends that."""
    global _places
    _places = places


def place_at(url: str, most: int | None) -> AbstractContextManager[object]:
    """Give what holds a place at a URL's host, if there are places and it is not this machine's."""
    parts = urlsplit(url)
    if _places is None or most is None or parts.scheme in ("", "file"):
        return nullcontext()
    host = parts.netloc.rpartition("@")[2]
    return _places(f"{parts.scheme}://{host}", most)
