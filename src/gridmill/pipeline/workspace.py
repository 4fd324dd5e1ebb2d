"""Folders on a worker's own disk that live as long as the Dask key that made them."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TmpFolderLost", "Workspace", "WorkspaceOfKey", "delete"]


class TmpFolderLost(Exception):  # noqa: N818
    """A folder of the workspace disappeared under its user: rebuild its content."""


class Workspace:
    """All temporary folders of one worker.

    Parameters
    ----------
    root
        A folder that Dask purges when the worker is gone (below `worker.local_directory`).
    shares_disk
        Whether folders of other workers on the same disk may be used. Their names are unique,
        so one that exists is the right one.

    Notes
    -----
    Thread-safe. A key that was released may come back at once: what it makes then is its own,
    however long the deletion of what it had takes.
    """

    def __init__(self, root: Path, *, shares_disk: bool = True) -> None:
        self.root = root
        self.shares_disk = shares_disk
        self._owned: defaultdict[str, list[Path]] = defaultdict(list)
        self._lock = threading.Lock()

    def of_key(self, key: str) -> WorkspaceOfKey:
        """Return the view in which folders belong to `key`."""
        return WorkspaceOfKey(self, key)

    def make(self, key: str) -> Path:
        """Make an empty folder that belongs to `key`."""
        folder = self.root / f"{key}-{uuid.uuid4().hex}"
        with self._lock:
            folder.mkdir(parents=True)
            self._owned[key].append(folder)
        return folder

    def owned(self) -> dict[str, list[Path]]:
        """Return the folders that exist, by key."""
        with self._lock:
            return {key: list(folders) for key, folders in self._owned.items()}

    def release(self, key: str) -> list[Path]:
        """Take its folders from `key`, for the caller to `delete`."""
        with self._lock:
            return self._owned.pop(key, [])

    def discard(self, key: str, folder: Path) -> None:
        """Delete one folder of `key` before its time."""
        with self._lock:
            if folder in self._owned.get(key, ()):
                self._owned[key].remove(folder)
        delete([folder])


def delete(folders: Iterable[Path]) -> None:
    """Delete folders with all that is in them, those that exist."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class WorkspaceOfKey:
    """The workspace as one task sees it: the folders it makes belong to its key."""

    workspace: Workspace
    key: str

    def make(self) -> Path:
        """Make an empty folder."""
        return self.workspace.make(self.key)

    def discard(self, folder: Path) -> None:
        """Delete a folder that this task made, before its time."""
        self.workspace.discard(self.key, folder)

    def has(self, folder: Path) -> bool:
        """Whether a folder can be used from this worker and is still there."""
        near = self.workspace.shares_disk or folder.is_relative_to(self.workspace.root)
        return near and folder.is_dir()
