"""Whether objects can be put, known soon and before a run begins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from gridmill.stores.objects.protocol import Objects

__all__ = ["StoreUnwritable", "check_writable", "require_writable"]


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


class _Store(Protocol):
    @property
    def url(self) -> str:
        """Where it is."""

    def check_writable(self) -> None:
        """Raise OSError unless it can be written."""


def require_writable(store: _Store) -> None:
    """Raise unless a store, and what is beside it, can be written.

    Raises
    ------
    StoreUnwritable
        It cannot be, with the cause.
    """
    try:
        store.check_writable()
    except OSError as error:
        raise StoreUnwritable(f"cannot write to {store.url}: {error}") from error
