"""Inventories that many tasks of a run need: fetched once a machine, and read once a process.

A file of an ensemble is the source of fifty members and of every group of variables, and each of
them is fetched by a task of its own, in whatever process the scheduler has room. So what came lies
in a folder that the workers of a machine share, and a lock beside it lets one fetch while the
others wait. Why there: the driver would have to fetch and send what hundreds of workers need (0.2
GB a forecast of 85 leads), a task of its own for inventories would let all groups of a region wait
for the last of them, and a process alone sees only every n-th group. Where there is no such folder,
or its file system has no locks, each process fetches for itself.

What is kept is kept for one attempt of one run: another run, and what is tried again because it
could not be read, refetch it. An inventory that contradicts its file is refetched at once, by
the first who finds that.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from gridmill.sources.fetch.download import DownloadSettings, FileIdentity, read_version
from gridmill.sources.grib.inventory.inventory import Inventory, read_inventory
from gridmill.sources.kept import read_kept

__all__ = ["inventory_at"]

# Those of the files whose members are being fetched; one of an ensemble takes 10 MB when read.
MOST_IN_MEMORY = 12


@dataclass
class _Known:
    """An inventory, and who may be at it; `is_renewed` once it was refetched."""

    inventory: Inventory | None = None
    version: FileIdentity = field(default_factory=FileIdentity)
    is_renewed: bool = False
    lock: Lock = field(default_factory=Lock)


_known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
_known_lock = Lock()


def inventory_at(
    url: str, *, settings: DownloadSettings, attempt: str, instead_of: Inventory | None = None
) -> tuple[Inventory, FileIdentity]:
    """Fetch and read an inventory, or give what is known of it; and which version it is.

    Parameters
    ----------
    url
        Where it is.
    settings
        How hard to try.
    attempt
        What tells this attempt of this run from others; empty: nothing is kept.
    instead_of
        One that contradicts its file. What is there instead is given, or, where it is as it was
        once it has been refetched, the same.

    Raises
    ------
    NotAvailable, DownloadFailed
        As by `fetch`.
    InventoryMalformed
        As by `read_inventory`.
    """
    if not attempt:
        content, version = read_version(url, settings=settings)
        return read_inventory(content), version
    known = _entry(attempt, url)
    with known.lock:
        is_anew = instead_of is not None and known.inventory in (None, instead_of)
        if known.inventory is None or (is_anew and not known.is_renewed):
            content, known.version = read_kept(
                url, settings=settings, attempt=attempt, is_anew=is_anew
            )
            known.inventory = read_inventory(content)
            known.is_renewed = is_anew
        return known.inventory, known.version


def _entry(attempt: str, url: str) -> _Known:
    with _known_lock:
        known = _known.setdefault((attempt, url), _Known())
        _known.move_to_end((attempt, url))
        while len(_known) > MOST_IN_MEMORY:
            _known.popitem(last=False)
        return known
