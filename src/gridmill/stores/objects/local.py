"""Whole objects in a folder or a bucket: what stores, records and leases are kept in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from gridmill.stores.objects.leftovers import name_of_ours, sweep

__all__ = [
    "Change",
    "LocalObjects",
    "Objects",
    "StoreUnwritable",
    "check_writable",
    "is_local",
    "local_path",
    "open_objects",
]

# Writes an object if the check that it is given lets it pass.
Change = Callable[[Callable[[], None]], None]

# Enough for a folder that several others remove as often as it is made.
MOVES = 20


class StoreUnwritable(OSError):  # noqa: N818
    """The final store or the records beside it cannot be written, or not even read."""


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


class LocalObjects:
    """Objects as files below a local folder.

    Parameters
    ----------
    root
        The folder; it is made at the first put.
    staging
        A folder of the same file system in which objects are written before they are moved
        into place, so that a killed process leaves nothing among the objects.
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

    def _into_place(self, key: str, move: Callable[[Path], object]) -> None:
        """Move a staged file to its key; whoever deletes the last object of a folder removes it."""
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
        staged = self.staging / name_of_ours()
        try:
            with self._opened(staged) as file:
                file.write(content)
                if self.fsync:
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return staged

    def _opened(self, staged: Path) -> BinaryIO:
        try:
            return staged.open("wb")
        except FileNotFoundError:
            self.staging.mkdir(parents=True, exist_ok=True)
            return staged.open("wb")

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


def open_objects(
    url: str,
    staging: Path | None = None,
    *,
    fsync: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Objects:
    """Give the objects below a URL; touches nothing yet.

    Parameters
    ----------
    url
        A local path, or a URL of a scheme that fsspec knows.
    staging
        For local objects, see `LocalObjects`; None means a folder ``staging`` below the root.
    fsync
        See `LocalObjects`.
    storage_options
        For remote objects, what the file system takes: see `S3Objects` and `FsspecObjects`.

    Raises
    ------
    ValueError
        The URL's scheme is not supported.
    """
    if is_local(url):
        root = local_path(url)
        return LocalObjects(root, staging or root / "staging", fsync=fsync)
    # Imported here, because local stores need neither.
    if url.startswith(("s3://", "s3a://")):
        from gridmill.stores.objects.s3 import S3Objects

        return S3Objects(url, storage_options)
    from gridmill.stores.objects.remote import FsspecObjects

    return FsspecObjects(url, storage_options)


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
        list(pool.map(_check_writable, *zip(*probes, strict=True)))


def _check_writable(objects: Objects, key: str) -> None:
    if isinstance(objects, LocalObjects):
        sweep(objects.staging)
    objects = impatient(objects)
    objects.put(key, b"probe")
    objects.delete(key)


def impatient(objects: Objects) -> Objects:
    """Give the same objects for who would rather know soon that nothing answers."""
    hasty: Objects = getattr(objects, "impatient", objects)
    return hasty


def is_local(url: str) -> bool:
    """Whether a URL names a local path."""
    scheme, separator, _ = url.partition("://")
    return not separator or scheme == "file"


def local_path(url: str) -> Path:
    """Give the local path that a URL names.

    Raises
    ------
    ValueError
        It names none.
    """
    _, separator, rest = url.partition("://")
    if not is_local(url):
        raise ValueError(f"{url!r} is not a local path")
    return Path(rest if separator else url).expanduser().absolute()
