"""What stores, records and leases need of the objects that they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["Change", "Objects"]

# Writes an object if the check that it is given lets it pass.
Change = Callable[[Callable[[], None]], None]


class Objects(Protocol):
    """The calls that stores and records need; every put is whole or not at all.

    Attributes
    ----------
    url
        Where the objects are.
    at_once
        How many requests at once are worth it.
    """

    url: str
    at_once: int

    @property
    def impatient(self) -> Objects:
        """The same objects, for a caller that prefers an early error to a long wait."""

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written."""

    def overwrite(
        self, key: str, content: bytes, check: Callable[[], None], *, is_new: bool = False
    ) -> None:
        """Write an object over the one that is there, if any, and `check` lets it pass.

        Where the store can, not over one that was put after `check` was called: then it is called
        again. It raises what prevents the write. `is_new` says that most likely none is there,
        which saves a look.
        """

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and give what overwrites it; None if it is the same already.

        What it gives is called with `check`, and does as `overwrite` does with what was found at
        this look: many objects can be looked at before the first of them is put.
        """

    def relabel(self, key: str) -> Change | None:
        """Look at an object's headers, and give what makes them those of new ones.

        None if they are, or if objects have none.

        Raises
        ------
        ValueError
            They cannot be changed here.
        """

    def copy(self, key: str, to: str) -> bool:
        """Write an object's content to another key, by the store itself where it can.

        Returns whether there was such an object.
        """

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted."""

    def folders(self) -> list[str]:
        """Name the folders that are at the root; in a bucket about the first thousand, at once."""

    def probe(self, key: str) -> None:
        """Raise OSError, and soon, unless an object can be put and deleted; leaves nothing.

        Where objects are written on a local disk first, what killed processes left there goes
        before: it may be what fills the disk.
        """

    def as_zarr(self) -> Store:
        """Return a Zarr store that reads these objects."""

    def abort_abandoned_uploads(self) -> int:
        """Delete what puts of killed processes left in a store, unseen and paid for; how much."""
