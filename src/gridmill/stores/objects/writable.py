"""Whether objects can be put, known soon and before a run begins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from gridmill.stores.objects.protocol import Objects

__all__ = ["StoreUnwritable", "check_writable"]


class StoreUnwritable(OSError):  # noqa: N818
    """The final store or the records beside it cannot be written, or not even read."""


def check_writable(*probes: tuple[Objects, str]) -> None:
    """Raise OSError unless an object can be put and deleted in every place; leaves nothing.

    A store that does not answer at all is given less time than one that did before. What killed
    processes left in a local one is deleted.

    Parameters
    ----------
    probes
        Objects, and the key that is tried in them; all at once.
    """
    with ThreadPoolExecutor(len(probes), thread_name_prefix="probe") as pool:
        list(pool.map(lambda probe: probe[0].probe(probe[1]), probes))
