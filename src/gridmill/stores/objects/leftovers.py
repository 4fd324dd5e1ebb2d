"""Names for temporary files that tell whose they are, so that those of dead processes go.

A process that dies by SIGKILL cannot delete what it was writing. The next run does: at once if it
can see that the process is gone, after a day if it was one of another machine.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

__all__ = ["make_folder", "name_of_ours", "naming", "sweep", "temporary_folder"]

# Of temporary folders, in the system's.
TMP_PREFIX = "gridmill-run-"
# What the system says of a write without naming the file.
NAMELESS = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
# No put and no preparation of metadata takes so long.
ABANDONED_AFTER_S = 86_400.0


def name_of_ours() -> str:
    """Return a new name for a temporary file or folder of this process."""
    return f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex}"


@contextmanager
def temporary_folder(
    root: Path | None = None, *, make: Callable[[], Path] | None = None
) -> Iterator[Path]:
    """Return an empty folder for this process alone while the context lasts, see `make_folder`.

    Without `root`, what `make` gives is used, and deleted in the end. On a Dask worker, what a task
    leaves belongs to its `Workspace` instead.
    """
    folder = make() if root is None and make is not None else make_folder(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(root: Path | None = None) -> Path:
    """Make an empty folder for this process alone, which the caller deletes.

    Parameters
    ----------
    root
        Where; None means among the system's temporary files, where those of dead processes are
        swept.
    """
    if root is None:
        root = Path(tempfile.gettempdir())
        sweep(root, TMP_PREFIX)
    folder = root / f"{TMP_PREFIX}{name_of_ours()}"
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file or folder in the errors of what is written to it: of a full disk they name none.

    Raises
    ------
    OSError
        The same, with the path.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in NAMELESS:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def sweep(folder: Path, prefix: str = "") -> None:
    """Delete what processes left in a folder that live no more.

    Parameters
    ----------
    folder
        It may hold other things, and need not exist.
    prefix
        What the names of `name_of_ours` were preceded by.
    """
    found: list[Path] = []
    with suppress(FileNotFoundError):  # the folder itself may go at any moment, too
        found.extend(folder.glob(f"{prefix}*-*-*"))
    for path in found:
        machine, _, rest = path.name.removeprefix(prefix).partition("-")
        pid, _, unique = rest.partition("-")
        if len(machine) != len(_machine()) or not pid.isdecimal() or len(unique) != 32:
            continue
        # Somebody else may sweep, or the process may end, at this moment.
        with suppress(OSError, psutil.Error):
            if not _may_be_in_use(path, machine, int(pid)):
                _delete(path)


def _may_be_in_use(path: Path, machine: str, pid: int) -> bool:
    if machine == _machine():
        return psutil.pid_exists(pid) and not _is_zombie(pid)
    return time.time() - path.stat().st_mtime < ABANDONED_AFTER_S


def _is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Name this boot and pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        identity = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        identity = f"{uuid.getnode()} {psutil.boot_time():.0f}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
