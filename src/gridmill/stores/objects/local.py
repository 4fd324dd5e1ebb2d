"""Whole objects as files below a local folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gridmill.stores.objects.leftovers import name_of_ours, naming, sweep
from gridmill.stores.objects.protocol import Change

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["LocalObjects"]

# Enough for a folder that several others remove as often as it is made.
MOVES = 20
# Probes of a store and of the records beside it run at once, and share folders.
_probing = threading.Lock()


class LocalObjects:
    """Objects as files below a local folder.

    Parameters
    ----------
    root
        The folder; it is made at the first put.
    staging
        A folder of the same file system in which objects are written before they are moved
        into place, so that a killed process leaves nothing among the objects. What it leaves there
        is deleted by the next process that writes.
    fsync
        Whether a put also survives a power loss.
    """

    # A disk answers without latency.
    at_once = 1

    def __init__(self, root: Path, staging: Path, *, fsync: bool = False) -> None:
        self.root = root
        self.staging = staging
        self.fsync = fsync
        self.url = str(root)
        self.is_swept = False

    @property
    def impatient(self) -> LocalObjects:
        """These objects: a disk is not waited for."""
        return self

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        staged = self._stage(key, content)
        try:
            self._into_place(key, staged.replace)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        self._sync_folder(key)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written."""
        staged = self._stage(key, content)
        try:
            self._into_place(key, lambda target: os.link(staged, target))
        except FileExistsError:
            return False
        finally:
            staged.unlink()
        self._sync_folder(key)
        return True

    def overwrite(
        self, key: str, content: bytes, check: Callable[[], None], *, is_new: bool = False
    ) -> None:
        """Write an object over the one that is there, if any, and `check` lets it pass."""
        check()
        self.put(key, content)

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and give what overwrites it; None if it is the same already."""
        return None if self.get(key) == content else partial(self.overwrite, key, content)

    def copy(self, key: str, to: str) -> bool:
        """Let a file be there by another key, too: none is ever changed in place."""
        staged = _name_staged(self)
        self.staging.mkdir(parents=True, exist_ok=True)
        try:
            with naming(self.root / to):
                os.link(self.root / key, staged)
            self._into_place(to, staged.replace)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # a file system without links
            content = self.get(key)
            if content is not None:
                self.put(to, content)
            return content is not None
        finally:
            staged.unlink(missing_ok=True)
        self._sync_folder(to)
        return True

    def relabel(self, key: str) -> Change | None:
        """Do nothing: files have no headers."""
        return None

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""
        content = self.get(key)
        return None if content is None else content[start:stop]

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        try:
            return (self.root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def delete(self, key: str) -> None:
        """Delete an object, if it is there, and the folders that it leaves empty."""
        path = self.root / key
        with suppress(NotADirectoryError):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            for folder in path.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted."""
        # os.walk passes over folders that go while it walks.
        walk = os.walk(self.root / prefix)
        files = (Path(folder) / name for folder, _, names in walk for name in names)
        yield from sorted(path.relative_to(self.root).as_posix() for path in files)

    def folders(self) -> list[str]:
        """Name the folders that are at the root."""
        return sorted(at.name for at in self.root.glob("*") if at.is_dir() and at != self.staging)

    def probe(self, key: str) -> None:
        """Raise OSError unless an object can be put and deleted; sweeps `staging` before.

        Folders that only this made are removed: who cannot begin leaves no empty archive.
        """
        self.is_swept = False  # once more, by what is put
        with _probing:
            folders = [self.staging, self.staging.parent, self.root]
            new = [folder for folder in folders if not folder.exists()]
            self.put(key, b"probe")
            self.delete(key)
            for folder in new:
                with suppress(OSError):
                    folder.rmdir()

    def as_zarr(self) -> Store:
        """Return a Zarr store that reads these files."""
        from zarr.storage import LocalStore  # records and leases are kept without Zarr

        return LocalStore(self.root, read_only=True)

    def abort_abandoned_uploads(self) -> int:
        """Do nothing: what killed processes left is in `staging`, which is swept."""
        return 0

    def _into_place(self, key: str, move: Callable[[Path], object]) -> None:
        """Move a staged file to its key; deleting a folder's last object removes the folder."""
        target = self.root / key
        for attempt in range(MOVES):
            try:
                move(target)
                return
            except FileNotFoundError:
                if attempt == MOVES - 1:
                    raise
                with suppress(FileNotFoundError):
                    target.parent.mkdir(parents=True, exist_ok=True)

    def _stage(self, key: str, content: bytes) -> Path:
        staged = _name_staged(self)
        try:
            with naming(self.root / key), _opened(staged) as file:
                file.write(content)
                if self.fsync:
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return staged

    def _sync_folder(self, key: str) -> None:
        if not self.fsync:
            return
        try:
            folder = os.open((self.root / key).parent, os.O_RDONLY)
        except FileNotFoundError:  # the object is deleted already, and its folder with it
            return
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _name_staged(objects: LocalObjects) -> Path:
    if not objects.is_swept:
        objects.is_swept = True
        sweep(objects.staging)
    return objects.staging / name_of_ours()


def _opened(staged: Path) -> BinaryIO:
    for _ in range(MOVES):
        try:
            return staged.open("wb")
        except FileNotFoundError:
            staged.parent.mkdir(parents=True, exist_ok=True)
    return staged.open("wb")
