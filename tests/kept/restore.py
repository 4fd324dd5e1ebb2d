"""Kept archives: what is known of each, and how it is put back where it was made.

An Icechunk archive's tokens hold where the repository is: a path, or an endpoint and a bucket.
Such archives are put back at that very place, one test run at a time.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import shutil
import socket
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import s3fs

from gridmill.testing import ArchiveServer
from kept.datasets import DATASETS

ARCHIVES = Path(__file__).parent / "archives"
# Not `tempfile.gettempdir()`, which differs between users and runs.
PLACE = Path("/tmp/gridmill-kept")
BUCKET = "gridmill-kept"
# Below the ports that systems give to connections.
PORT = 18_733

Objects = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Kept:
    """A kept archive.

    Parameters
    ----------
    file
        The packed archive.
    about
        What its manifest says of it.
    """

    file: Path
    about: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file.parent.name}-{self.about['name']}"

    @property
    def is_icechunk(self) -> bool:
        """Whether it, or a replica, is an Icechunk repository."""
        return self.about["icechunk"] is not None

    @property
    def is_readable(self) -> bool:
        """Whether the Icechunk that is installed is of the major version that made it."""
        return not self.is_icechunk or icechunk_major() == self.about["icechunk"]

    def differing(self, *libraries: str) -> str | None:
        """Say which of some libraries it was made with another version of; None if none."""
        made_with = self.about["libraries"]
        other = [name for name in libraries if version(name) != made_with[name]]
        made = ", ".join(f"{name} {made_with[name]}" for name in other)
        return f"it was made with {made}" if other else None


def kept_archives() -> list[Kept]:
    """Return the kept archives of all releases."""
    found = []
    for manifest in sorted(ARCHIVES.glob("*/manifest.json")):
        for about in json.loads(manifest.read_text())["archives"]:
            found.append(Kept(manifest.parent / f"{about['name']}.tar.xz", about))
    return found


def icechunk_major() -> int | None:
    """Return the major version of the Icechunk that is installed, if one is."""
    if importlib.util.find_spec("icechunk") is None:
        return None
    return int(version("icechunk").split(".")[0])


# -- packing ----------------------------------------------------------------------------------


def pack(folder: Path, file: Path) -> None:
    """Pack a folder; the same files give the same bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:xz", preset=9) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=plain)


def unpack(file: Path, folder: Path) -> None:
    """Unpack into a folder, which then holds nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")


# -- places -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Home:
    """Where an archive lies: a local folder, or a prefix of a bucket.

    Parameters
    ----------
    root
        The folder's path or the prefix's URL.
    storage_options
        Of the S3 server; None for a local folder.
    """

    root: str
    storage_options: Mapping[str, Any] | None = None

    def fill(self, folder: Path) -> None:
        """Put a folder's files here, and nothing else."""
        if self.storage_options is None:
            shutil.copytree(folder, self.root)
            return
        system = self._system()
        with suppress(FileNotFoundError):
            system.rm(self._prefix, recursive=True)
        for path in filter(Path.is_file, folder.rglob("*")):
            key = f"{self._prefix}/{path.relative_to(folder).as_posix()}"
            system.pipe_file(key, path.read_bytes())

    def take(self, folder: Path) -> None:
        """Copy what is here into a folder."""
        if self.storage_options is None:
            shutil.copytree(self.root, folder)
            return
        system = self._system()
        for key in system.find(self._prefix):
            path = folder / key.removeprefix(f"{self._prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(system.cat_file(key))

    def objects(self, name: str) -> Objects:
        """Return what tells whether an object was written again, by key, of one store here."""
        if self.storage_options is None:
            top = Path(self.root, name)
            files = filter(Path.is_file, top.rglob("*"))
            return {
                path.relative_to(top).as_posix(): (
                    path.read_bytes(),
                    path.stat().st_mtime_ns,
                    path.stat().st_ino,
                )
                for path in files
            }
        top_key = f"{self._prefix}/{name}/"
        found = self._system().find(top_key, detail=True)
        return {
            key.removeprefix(top_key): (info["ETag"], info["LastModified"])
            for key, info in found.items()
        }

    @property
    def _prefix(self) -> str:
        return self.root.removeprefix("s3://")

    def _system(self) -> s3fs.S3FileSystem:
        # Instances remember what they listed.
        return s3fs.S3FileSystem(**self.storage_options or {}, skip_instance_cache=True)


def home_of(about: Mapping[str, Any], local: Path, options: Mapping[str, Any] | None) -> Home:
    """Return where an archive is made and put back.

    Parameters
    ----------
    about
        Its name, `store` (``local`` or ``s3``) and `icechunk`.
    local
        For a local archive without Icechunk, which may be anywhere.
    options
        Of the S3 server, for one in a bucket.
    """
    if about["store"] == "s3":
        return Home(f"s3://{BUCKET}/{about['name']}", options)
    return Home(str(PLACE / about["name"] if about["icechunk"] else local / about["name"]))


@contextmanager
def serving(root: Path) -> Iterator[ArchiveServer]:
    """Serve a folder of source files."""
    root.mkdir()
    with ArchiveServer(root) as server:
        server.release_all()
        yield server


def open_kept(about: Mapping[str, Any], home: Home, server: ArchiveServer) -> Any:
    """Open the dataset of an archive."""
    replicas = [
        {"url": f"{home.root}/replica-{number}", "format": replica}
        for number, replica in enumerate(about["replicas"])
    ]
    return DATASETS[about["dataset"]](
        f"{home.root}/archive",
        format=about["format"],
        storage_options=home.storage_options,
        replicas=replicas,
        source_base=server.url,
    )


class NoFixedPlace(RuntimeError):  # noqa: N818
    """This machine does not have the place that tokens name, and why."""


@contextmanager
def fixed_place() -> Iterator[Path]:
    """Hold the folder where local Icechunk archives are made; empty at first, gone at the end.

    Another run of tests waits for it.

    Raises
    ------
    NoFixedPlace
        The folder cannot be had, or is another one behind a symbolic link.
    """
    if PLACE.parent.resolve() != PLACE.parent:
        raise NoFixedPlace(f"{PLACE.parent} is a symbolic link, and tokens hold resolved paths")
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(PLACE.with_suffix(".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(PLACE, ignore_errors=True)
            PLACE.mkdir()
        except OSError as error:
            raise NoFixedPlace(f"{PLACE} cannot be had: {error}") from error
        stack.callback(shutil.rmtree, PLACE, ignore_errors=True)
        yield PLACE


class Relay:
    """A fixed port of loopback that leads to an S3 server, for the time of a `with`.

    The tokens of Icechunk hold the endpoint, and `S3Server` takes any port that is free.

    Parameters
    ----------
    endpoint_url
        Address of the server.

    Raises
    ------
    NoFixedPlace
        On entering: somebody else has the port.
    """

    def __init__(self, endpoint_url: str) -> None:
        where = urlsplit(endpoint_url)
        self._target = (where.hostname, where.port)

    @property
    def url(self) -> str:
        """The address that tokens hold."""
        return f"http://127.0.0.1:{PORT}"

    def __enter__(self) -> Relay:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", PORT))
        except OSError as error:
            self._socket.close()
            raise NoFixedPlace(f"port {PORT} of loopback cannot be had: {error}") from error
        self._socket.listen(128)
        threading.Thread(target=self._accept, name="kept-relay", daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pour, args=pair, daemon=True).start()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Send on what comes, until either end closes."""
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
