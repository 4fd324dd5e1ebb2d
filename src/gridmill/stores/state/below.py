"""Objects in a folder below others: records of their own, kept in the same place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gridmill.stores.objects.protocol import Change, Objects

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["ObjectsBelow"]


class ObjectsBelow:
    """The objects of one folder among others, by their keys in it.

    Parameters
    ----------
    objects
        All of them.
    folder
        Its key.
    """

    def __init__(self, objects: Objects, folder: str) -> None:
        self.objects = objects
        self.folder = folder
        self.url = f"{objects.url}/{folder}"
        self.at_once = objects.at_once

    @property
    def impatient(self) -> ObjectsBelow:
        """The same objects, for a caller that prefers an early error to a long wait."""
        return ObjectsBelow(self.objects.impatient, self.folder)

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        self.objects.put(self._key(key), content)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written."""
        return self.objects.put_if_absent(self._key(key), content)

    def overwrite(
        self, key: str, content: bytes, check: Callable[[], None], *, is_new: bool = False
    ) -> None:
        """Write an object over the one that is there; see `Objects.overwrite`."""
        self.objects.overwrite(self._key(key), content, check, is_new=is_new)

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and return what overwrites it; see `Objects.change`."""
        return self.objects.change(self._key(key), content)

    def copy(self, key: str, to: str) -> bool:
        """Write an object's content to another key; see `Objects.copy`."""
        return self.objects.copy(self._key(key), self._key(to))

    def relabel(self, key: str) -> Change | None:
        """Look at an object's headers; see `Objects.relabel`."""
        return self.objects.relabel(self._key(key))

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        return self.objects.get(self._key(key))

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object; see `Objects.get_range`."""
        return self.objects.get_range(self._key(key), start, stop)

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        return self.objects.nbytes(self._key(key))

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self.objects.delete(self._key(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted."""
        below = f"{self.folder}/{prefix}" if prefix else self.folder
        for key in self.objects.keys(below):
            yield key.removeprefix(f"{self.folder}/")

    def folders(self) -> list[str]:
        """Name the folders that are in this one."""
        return sorted({key.partition("/")[0] for key in self.keys() if "/" in key})

    def probe(self, key: str) -> None:
        """Raise OSError, and soon, unless an object can be put and deleted."""
        self.objects.probe(self._key(key))

    def as_zarr(self) -> Store:
        """Refuse: records are no Zarr store."""
        raise NotImplementedError(f"{self.url} holds records, and no arrays")

    def abort_abandoned_uploads(self) -> int:
        """Do what all of the objects do."""
        return self.objects.abort_abandoned_uploads()

    def _key(self, key: str) -> str:
        return f"{self.folder}/{key}"
