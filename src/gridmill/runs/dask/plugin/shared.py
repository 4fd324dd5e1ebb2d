"""A folder on a machine's disk that the workers of one cluster share, until the last one leaves."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gridmill.pipeline.workspace import delete

__all__ = ["SharedFolder"]

log = logging.getLogger(__name__)

A_DAY_S = 86_400


class SharedFolder:
    """A folder that workers share; who makes one is one of them until it leaves.

    Parameters
    ----------
    path
        The folder; nothing is made there yet. Others beside it whose names begin alike, up to the
        last ``-``, and to which nobody wrote for a day are those of clusters that were killed:
        they are deleted.

    Notes
    -----
    A worker that is killed has left: its lock goes with its process. Where the file system has no
    locks, who leaves first deletes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._sweep()
        self._file = _opened(self._lock_path)

    def leave(self) -> None:
        """Delete the folder, unless other workers use it."""
        if self._file is None:
            delete([self.path])
            return
        with self._file as file:
            if _is_last(file):
                delete([self.path])
                self._lock_path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        begins = self.path.name.rpartition("-")[0]
        for old in self.path.parent.glob(f"{begins}-*"):
            with suppress(FileNotFoundError):  # another worker deletes it, too
                if old.stat().st_mtime < time.time() - A_DAY_S:
                    if old.is_dir():
                        delete([old])
                    else:
                        old.unlink()


def _opened(path: Path) -> IO[Any] | None:
    """Open a file and share its lock; None where there are no locks."""
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
        fcntl.flock(file, fcntl.LOCK_SH)
    except (ImportError, OSError) as error:
        log.debug("no lock path=%s: %s", path, error)
        return None
    return file


def _is_last(file: IO[Any]) -> bool:
    """Whether nobody else shares a file's lock."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
