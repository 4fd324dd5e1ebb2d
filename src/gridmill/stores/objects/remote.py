"""Whole objects in whatever fsspec reaches: Google Cloud Storage, Azure, and the rest.

S3 has a module of its own, with stronger guarantees. Here they are those of the file system:

- a put is whole if the file system's `pipe_file` is (object stores are; SMB's is not); over SSH it
  is written aside and renamed;
- `put_if_absent` is atomic if its ``mode="create"`` is (Google's and Azure's are), or a renaming
  that replaces nothing (over SSH, by OpenSSH's server), else it looks first;
- retries beside those for lost connections are the file system's own, and so are checksums.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import stamina

from gridmill.model.urls import mask_url
from gridmill.stores.headers import Headers
from gridmill.stores.objects.leftovers import name_of_ours
from gridmill.stores.objects.protocol import Change
from gridmill.stores.objects.zarr_reader import ObjectsReader

__all__ = ["FsspecObjects"]

T = TypeVar("T")

ATTEMPTS = 8
PATIENCE_S = 60.0


class FsspecObjects:
    """Objects below a URL that fsspec knows.

    Parameters
    ----------
    url
        ``gs://bucket/prefix``, ``abfs://container@account.dfs.core.windows.net/prefix``,
        ``sftp://user@host:22/folder``, ``memory://prefix``: what of it is an argument of the file
        system, like a host, it says itself.
    storage_options
        Keyword arguments of the file system; they go before what the URL says.
    headers
        What objects that are put say of themselves, where the file system can be told.

    Raises
    ------
    ValueError
        No file system for the URL's scheme is known or installed, or the URL holds a password.

    Notes
    -----
    Pickles small; a file system belongs to a process. No listing is cached. `repr` shows no
    option.
    """

    at_once = 16

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        headers: Headers | None = None,
    ) -> None:
        from fsspec.registry import get_filesystem_class

        self.url = url.rstrip("/")
        self.protocol = self.url.partition("://")[0]
        try:
            file_system = get_filesystem_class(self.protocol)
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"{url!r}: {self.protocol}:// stores are not supported: {error}"
            ) from None
        of_url = dict(file_system._get_kwargs_from_urls(self.url))
        if of_url.get("password"):
            raise ValueError(
                f"{mask_url(url)!r} holds a password, which logs and records would show: give it "
                "as storage option, password=…"
            )
        self.root = str(file_system._strip_protocol(self.url)).rstrip("/")
        self.storage_options = {**of_url, **(storage_options or {})}
        self.over_ssh = self.protocol in ("sftp", "ssh")
        self.headers = headers or Headers()

    def __repr__(self) -> str:
        return f"FsspecObjects({self.url!r})"

    @property
    def impatient(self) -> FsspecObjects:
        """These objects: how long a file system waits is its own matter."""
        return self

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        self._retried(lambda fs: self._write(fs, key, content))

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written."""
        try:
            self._retried(lambda fs: self._write(fs, key, content, mode="create"))
        except OSError:
            # FileExistsError, or whatever a file system makes of a condition that did not hold.
            found = self.get(key)
            if found is None:
                raise
            return found == content
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
        """Write an object's content to another key; whether there was such an object."""
        content = self.get(key)
        if content is not None:
            self.put(to, content)
        return content is not None

    def relabel(self, key: str) -> Change | None:
        """Refuse where objects have headers: fsspec has no call that all file systems take.

        Raises
        ------
        ValueError
            The objects have headers.
        """
        if self.protocol not in _HEADERS:
            return None
        raise ValueError(
            f"the headers of objects at {self.protocol}:// cannot be changed from here; set them "
            "with the service's own tool (gcloud storage objects update --cache-control=no-cache, "
            "az storage blob update --content-cache-control no-cache): new objects have them"
        )

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        return self.get_range(key, 0, None)

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""
        if start < 0:
            # adlfs and others take no range from the end; what they make of one differs.
            size = self.nbytes(key)
            if not size:
                return None if size is None else b""
            start, stop = max(0, size + start), size
        # No range for the whole: an empty object has none.
        at = {} if (start, stop) == (0, None) else {"start": start, "end": stop}
        read = _read_over_ssh if self.over_ssh else _read
        try:
            return self._retried(lambda fs: read(fs, self._path(key), **at))
        except FileNotFoundError:
            return None

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        try:
            return int(self._retried(lambda fs: fs.info(self._path(key)))["size"])
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._retried(lambda fs: fs.rm_file(self._path(key)))
        except FileNotFoundError:
            return

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted."""
        found = self._retried(lambda fs: fs.find(self._path(prefix).rstrip("/")))
        yield from sorted(path.removeprefix(f"{self.root}/") for path in found)

    def folders(self) -> list[str]:
        """Name the folders that are at the root."""
        try:
            found = self._retried(lambda fs: fs.ls(self.root, detail=True))
        except FileNotFoundError:
            return []
        paths = (str(one["name"]) for one in found if one["type"] == "directory")
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def probe(self, key: str) -> None:
        """Raise OSError unless an object can be put and deleted."""
        self.put(key, b"probe")
        self.delete(key)

    def as_zarr(self) -> ObjectsReader:
        """Return a Zarr store that reads these objects."""
        return ObjectsReader(self)

    def abort_abandoned_uploads(self) -> int:
        """Delete what killed processes were writing over SSH; other file systems do not tell."""
        if not self.over_ssh:
            return 0
        return self._retried(lambda fs: _sweep_over_ssh(fs, self._staging))

    @property
    def _staging(self) -> str:
        return f"{self.root}.staging"

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _write(self, fs: Any, key: str, content: bytes, mode: str = "overwrite") -> None:
        if self.over_ssh:
            _write_over_ssh(fs, self._path(key), content, mode, self._staging)
            return
        if not getattr(fs, "async_impl", False):
            # Object stores have no folders; local and memory file systems do.
            fs.makedirs(self._path(key).rpartition("/")[0], exist_ok=True)
        said = _HEADERS.get(self.protocol, _no_headers)(self.headers.of(key))
        fs.pipe_file(self._path(key), content, mode=mode, **said)

    def _retried(self, request: Callable[[Any], T]) -> T:
        for attempt in stamina.retry_context(
            on=(ConnectionError, TimeoutError), attempts=ATTEMPTS, timeout=PATIENCE_S
        ):
            with attempt:
                file_system = _file_system(self.protocol, self.storage_options)
                return (_over_ssh if self.over_ssh else _at_once)(file_system, request)
        raise AssertionError("stamina raises what the last attempt raised")


def _no_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    return {}


def _google_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what gcsfs takes."""
    control = headers.get("CacheControl")
    fixed = {} if control is None else {"fixed_key_metadata": {"cache_control": control}}
    return {"content_type": headers["ContentType"], **fixed}


def _azure_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what adlfs takes, in every release."""
    from azure.storage.blob import ContentSettings

    control = headers.get("CacheControl")
    return {"content_settings": ContentSettings(headers["ContentType"], cache_control=control)}


# What tells a file system the headers of what is put; others take none.
_HEADERS: Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    **dict.fromkeys(("gs", "gcs"), _google_headers),
    **dict.fromkeys(("abfs", "abfss", "az"), _azure_headers),
}

_file_systems: dict[str, Any] = {}
_opening = threading.Lock()


def _file_system(protocol: str, options: Mapping[str, Any]) -> Any:
    import fsspec

    name = f"{protocol} {sorted(options.items())!r}"
    with _opening:
        if name not in _file_systems:
            made = fsspec.filesystem(protocol, **options, skip_instance_cache=True)
            # Not as an argument: some file systems pass what they do not know to a server.
            if hasattr(made, "dircache"):
                made.dircache.use_listings_cache = False
            _file_systems[name] = made
        return _file_systems[name]


def _at_once(fs: Any, request: Callable[[Any], T]) -> T:
    return request(fs)


def _read(fs: Any, path: str, start: int | None = None, end: int | None = None) -> bytes:
    return bytes(fs.cat_file(path, start=start, end=end))


# -- over SSH ---------------------------------------------------------------------------------

# Folders may be made by several at once.
_MOVES = 5
# No put takes so long.
_ABANDONED_AFTER_S = 86_400.0
_talking = threading.Lock()


def _over_ssh(fs: Any, request: Callable[[Any], T]) -> T:
    """Make a request on the one connection, which answers one thread at a time.

    Raises
    ------
    ConnectionError
        The connection is lost; the next request makes another.
    """
    from paramiko import SSHException

    with _talking:
        try:
            return request(fs)
        except (EOFError, SSHException) as error:
            lost: Exception = error
        except OSError as error:
            if "Socket is closed" not in str(error):
                raise
            lost = error
    with _opening:
        for name in [name for name, known in _file_systems.items() if known is fs]:
            del _file_systems[name]
    raise ConnectionError(f"the connection to {fs.host} is lost: {lost}")


def _read_over_ssh(fs: Any, path: str, start: int | None = None, end: int | None = None) -> bytes:
    """Read with many requests in flight, where paramiko's own has one of 32 KiB."""
    with fs.ftp.open(path, "rb") as file:
        size = file.stat().st_size
        first, stop = start or 0, size if end is None else min(end, size)
        return b"".join(file.readv([(first, stop - first)])) if stop > first else b""


def _write_over_ssh(fs: Any, path: str, content: bytes, mode: str, staging: str) -> None:
    """Write a file aside, and rename it: over another one only if `mode` is not ``"create"``."""
    staged = f"{staging}/{name_of_ours()}"
    _in_folder(fs, staged, lambda: _write_aside(fs, staged, content))
    # The server's own rename replaces nothing.
    move = fs.ftp.rename if mode == "create" else fs.ftp.posix_rename
    try:
        _in_folder(fs, path, lambda: move(staged, path))
    except BaseException:
        with suppress(OSError):
            fs.ftp.remove(staged)
        raise


def _write_aside(fs: Any, staged: str, content: bytes) -> None:
    with fs.ftp.open(staged, "wb") as file:
        file.set_pipelined(True)
        file.write(content)


def _in_folder(fs: Any, path: str, write: Callable[[], object]) -> None:
    """Write a file, in a folder that is made where it is missing."""
    for attempt in range(_MOVES):
        try:
            write()
            return
        except FileNotFoundError:
            if attempt == _MOVES - 1:
                raise
            with suppress(OSError):
                fs.makedirs(path.rpartition("/")[0], exist_ok=True)


def _sweep_over_ssh(fs: Any, staging: str) -> int:
    before = time.time() - _ABANDONED_AFTER_S
    try:
        old = [at.filename for at in fs.ftp.listdir_attr(staging) if (at.st_mtime or 0) < before]
    except FileNotFoundError:
        return 0
    for name in old:
        with suppress(FileNotFoundError):
            fs.ftp.remove(f"{staging}/{name}")
    return len(old)


def _forget_file_systems() -> None:
    # A forked process has neither the event loop nor the sockets that they use.
    global _opening, _talking
    _opening, _talking = threading.Lock(), threading.Lock()
    _file_systems.clear()


os.register_at_fork(after_in_child=_forget_file_systems)
