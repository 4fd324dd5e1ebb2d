"""Whether objects can be put, known soon and before a run begins, and named when it ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from gridmill.model.urls import is_local, local_path, mask_url
from gridmill.stores.objects.protocol import Objects

__all__ = ["REFUSALS", "StoreUnwritable", "check_writable", "refusals_named", "require_writable"]

# What a local store answers that was written to, and cannot be by now.
REFUSALS = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}


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

    @property
    def state(self) -> Objects:
        """What is beside it."""

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


@contextmanager
def refusals_named(store: _Store) -> Iterator[None]:
    """Say which archive it is whose disk is full, or takes nothing any more.

    A file that is named and lies elsewhere, as temporary ones do, says nothing of the archive.

    Raises
    ------
    StoreUnwritable
        It is this one, or what is beside it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS or not _is_of(store, error.filename):
            raise
        raise StoreUnwritable(
            f"cannot write to {mask_url(store.url)} any more: {error}. Recorded work is safe: "
            "run again once it can be written"
        ) from error


def _is_of(store: _Store, path: str | bytes | None) -> bool:
    if path is None:
        return True
    ours = [local_path(url) for url in (store.url, store.state.url) if is_local(url)]
    return any(Path(str(path)).absolute().is_relative_to(one) for one in ours)
