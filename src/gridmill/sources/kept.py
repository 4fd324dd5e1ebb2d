"""Small files that many tasks of a run need: fetched or made once a machine, by who asks first.

They lie in a folder that the workers of a machine share, fetched ones for one attempt of one run;
without such a folder each process fetches, or makes, for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from gridmill.sources.fetch.download import DownloadSettings, FileIdentity, read_version

__all__ = ["keep_files", "keep_made", "read_kept"]

log = logging.getLogger(__name__)

# The inventories of all leads of two forecasts of an ensemble.
MOST_NBYTES_ON_DISK = 400 << 20

_folder: Path | None = None


def keep_files(folder: Path | None) -> None:
    """Share small files with the processes that were given the same folder; None ends that."""
    global _folder
    _folder = folder


def read_kept(
    url: str, *, settings: DownloadSettings, attempt: str, is_anew: bool = False
) -> tuple[bytes, FileIdentity]:
    """Return the bytes that lie in the shared folder, or fetch them into it; and their version.

    Parameters
    ----------
    url
        Where the file is.
    settings
        How hard to try.
    attempt
        What tells this attempt of this run from others; empty: nothing is kept.
    is_anew
        Whether to fetch it though it lies there.

    Raises
    ------
    NotAvailable, DownloadFailed
        As by `fetch`.
    """
    if _folder is None or not attempt:
        return read_version(url, settings=settings)
    path = _folder / hashlib.sha256(f"{attempt} {url}".encode()).hexdigest()
    with _held(path):
        if not is_anew:
            with contextlib.suppress(OSError):
                told, _, content = path.read_bytes().partition(b"\n")
                return content, FileIdentity(**json.loads(told))
        content, version = read_version(url, settings=settings)
        _put(path, json.dumps(asdict(version)).encode() + b"\n" + content)
    return content, version


def keep_made(key: str, make: Callable[[], bytes]) -> bytes:
    """Return the bytes that lie in the shared folder under a key, or make them and put them there.

    Parameters
    ----------
    key
        What the content follows from, whole, as a file's name.
    make
        Makes them; while it does, other processes that ask for the same wait.
    """
    if _folder is None:
        return make()
    path = _folder / key
    with _held(path):
        with contextlib.suppress(OSError):
            return path.read_bytes()
        content = make()
        _put(path, content)
    return content


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock beside a file, whichever process asks for it; where there is none, continue."""
    with contextlib.ExitStack() as stack:
        try:
            import fcntl

            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.with_suffix(".lock").open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError) as error:
            log.debug("no lock path=%s: %s", path, error)
        yield


def _put(path: Path, content: bytes) -> None:
    """Keep what came, if there is room: nothing depends on it."""
    partial = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        _make_room(path.parent, len(content))
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        log.debug("file not kept path=%s: %s", path, error)
        with contextlib.suppress(OSError):
            partial.unlink()


def _make_room(folder: Path, nbytes: int) -> None:
    """Delete the oldest, so that what is kept does not grow with the number of files."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = nbytes + sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MOST_NBYTES_ON_DISK:
            return
        path.unlink(missing_ok=True)
        total -= size
