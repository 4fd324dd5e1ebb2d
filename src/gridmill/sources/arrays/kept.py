"""Archives that are asked about many regions of a run: opened once for all of them.

Opening one fetches its metadata, and finding a label fetches a coordinate: of twenty years of hours
that is megabytes, for each region.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakKeyDictionary

from gridmill.sources.arrays.opened import Remote

__all__ = ["opened_once"]

# Of a run; each holds its metadata and coordinates.
MOST_OPEN = 4
# Who waits for days, as `follow` does, has to see what is new.
A_MINUTE_S = 60.0


@dataclass
class _Open:
    """An archive, and who may open it."""

    remote: Remote | None = None
    since_s: float = 0.0
    lock: Lock = field(default_factory=Lock)


_known: WeakKeyDictionary[object, OrderedDict[Hashable, _Open]] = WeakKeyDictionary()
_known_lock = Lock()


def opened_once(run: object, key: Hashable, open_it: Callable[[], Remote]) -> Remote:
    """Return an archive as it was opened for a run, within the last minute.

    Parameters
    ----------
    run
        What lives as long as a run does, and is its own.
    key
        What tells the archive from others.
    open_it
        Opens it; what it raises is raised, and it is called again for the next region.
    """
    entry = _entry(run, key)
    with entry.lock:
        if entry.remote is None or time.monotonic() - entry.since_s > A_MINUTE_S:
            entry.remote, entry.since_s = open_it(), time.monotonic()
        return entry.remote


def _entry(run: object, key: Hashable) -> _Open:
    with _known_lock:
        known = _known.setdefault(run, OrderedDict())
        entry = known.setdefault(key, _Open())
        known.move_to_end(key)
        while len(known) > MOST_OPEN:
            known.popitem(last=False)
        return entry
