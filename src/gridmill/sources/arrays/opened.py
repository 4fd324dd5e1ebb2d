"""Somebody's Zarr archive over the network: its metadata, its coordinates and its chunks.

Everything is fetched as source files are: with their retries, limits of hosts and proofs. Metadata
and coordinates are kept for the other tasks of a run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from threading import RLock
from typing import TYPE_CHECKING, Any

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.buffer.core import default_buffer_prototype

from gridmill.sources.fetch.download import (
    DownloadFailed,
    DownloadSettings,
    FileIdentity,
    NotAvailable,
    identify,
    read_version,
)
from gridmill.sources.fetch.failures import mask_url
from gridmill.sources.kept import read_kept

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Remote"]

METADATA = ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ".zattrs")


class Remote:
    """A Zarr archive to read from, as it is now.

    Parameters
    ----------
    url
        Of the archive, or of a group in it.
    settings
        How hard to try.
    attempt
        What tells this attempt of this run from others, see `read_kept`.

    Attributes
    ----------
    snapshot : str or None
        Which version of the whole archive it is, where it has such.
    small_files : dict
        By key, the metadata and coordinates that were read so far.
    lock : threading.RLock
        Held while these are read, so that several threads fetch each of them once.

    Raises
    ------
    NotAvailable
        There is no archive.
    DownloadFailed
        It could not be asked, or what it answers is no Zarr.
    """

    snapshot: str | None = None

    def __init__(self, url: str, settings: DownloadSettings, attempt: str = "") -> None:
        self.url = url.rstrip("/")
        self._settings = settings
        self._attempt = attempt
        self._array_names: dict[str, Any] = {}
        self._indexes: dict[str, pd.Index[Any]] = {}
        self.lock = RLock()
        self.small_files: dict[str, bytes] = {}
        try:
            self._group = zarr.open_group(_Small(self), mode="r")
        except (NotAvailable, DownloadFailed):
            raise
        except FileNotFoundError:
            raise NotAvailable(url, "there is no Zarr group") from None
        except (ValueError, KeyError, TypeError) as error:
            told = f"it is no Zarr archive: {type(error).__name__}: {error}"
            raise DownloadFailed(url, told, 1) from None

    def read(self, key: str) -> tuple[bytes, FileIdentity]:
        """Fetch an object."""
        return read_version(f"{self.url}/{key}", settings=self._settings)

    def identify(self, key: str) -> FileIdentity:
        """Ask which version of an object there is."""
        return identify(f"{self.url}/{key}", settings=self._settings)

    def read_small(self, key: str) -> bytes | None:
        """Fetch metadata, or a chunk of a coordinate, once for all tasks of a run."""
        try:
            content = self._fetch_small(key)
        except NotAvailable:
            return None
        self.small_files[key] = content
        return content

    def before(self, etag: str | None) -> Remote | None:
        """Return the archive as it was when a region was read; None if nobody knows."""
        return None

    def has_changed(self, before: Remote, arrays: Iterable[str], keys: Iterable[str]) -> bool:
        """Whether chunks changed since; nobody knows."""
        return True

    def _fetch_small(self, key: str) -> bytes:
        address = f"{self.url}/{key}"
        return read_kept(address, settings=self._settings, attempt=self._attempt)[0]

    def array(self, name: str) -> zarr.Array[Any]:
        """Return an array's metadata.

        Raises
        ------
        NotAvailable
            There is none of this name.
        """
        with self.lock:
            if name not in self._array_names:
                try:
                    found = self._group[name]
                except KeyError:
                    found = None
                if not isinstance(found, zarr.Array):
                    raise NotAvailable(self.url, f"it has no array {name!r}")
                self._array_names[name] = found
            array: zarr.Array[Any] = self._array_names[name]
            return array

    def has_array(self, name: str) -> bool:
        """Whether there is an array of this name."""
        try:
            self.array(name)
        except NotAvailable:
            return False
        return True

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the names of an array's dims."""
        array = self.array(name)
        attributes: Any = array.attrs
        told = getattr(array.metadata, "dimension_names", None)
        named = tuple(told or attributes.get("_ARRAY_DIMENSIONS") or ())
        if len(named) != array.ndim or None in named:
            raise ValueError(f"{name} of {mask_url(self.url)} does not name its dims")
        for dim in named:
            if dim != name:
                self._coordinate(str(dim))
        return tuple(str(dim) for dim in named)

    def index(self, dim: str) -> pd.Index[Any]:
        """Return the labels of a dim, decoded as their attributes say.

        Raises
        ------
        ValueError
            It has no labels.
        """
        with self.lock:
            if dim not in self._indexes:
                self._indexes[dim] = self._read_index(dim)
            return self._indexes[dim]

    def _read_index(self, dim: str) -> pd.Index[Any]:
        import xarray as xr

        array = self._coordinate(dim)
        if array is None:
            raise ValueError(f"{mask_url(self.url)} has no labels of {dim!r}")
        coordinate = xr.Variable((dim,), array[:], dict(array.attrs))
        index = xr.conventions.decode_cf_variable(dim, coordinate).to_index()
        if not index.is_unique:
            raise DownloadFailed(self.url, f"its {dim} has a label twice", 1, True)
        return index

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the archive, as they are in its metadata."""
        return dict(self._group.attrs)

    def description(self) -> dict[str, bytes]:
        """Return the metadata of the arrays asked for, and the coordinates' chunks, by key.

        Not what the provider consolidated, which speaks of arrays that nobody fetched.
        """
        told = self.attributes
        if self._group.metadata.zarr_format == 3:
            group = {"zarr_format": 3, "node_type": "group", "attributes": told}
            found = {"zarr.json": json.dumps(group).encode()}
        else:
            found = {".zgroup": b'{"zarr_format": 2}', ".zattrs": json.dumps(told).encode()}
        for array in self._array_names.values():
            documents = array.metadata.to_buffer_dict(default_buffer_prototype())
            found |= {f"{array.path}/{key}": one.to_bytes() for key, one in documents.items()}
        chunks = {k: v for k, v in self.small_files.items() if not k.endswith(METADATA)}
        return {**found, **chunks}

    def decoding(self, arrays: Iterable[str]) -> str:
        """Return how the values of arrays are decoded, whatever their length."""
        told: dict[str, Any] = {}
        for name in sorted(arrays):
            array = self.array(name)
            if array.ndim == 1 and self.dims(name) == (name,):
                continue
            metadata = dict(array.metadata.to_dict())
            told[name] = {k: v for k, v in metadata.items() if k not in ("shape", "attributes")}
            told[name]["attributes"] = dict(array.attrs)
        return json.dumps(told, sort_keys=True, default=str)

    def _coordinate(self, dim: str) -> zarr.Array[Any] | None:
        """Fetch a coordinate whole, if there is one."""
        if not self.has_array(dim):
            return None
        array = self.array(dim)
        if array.ndim != 1:
            return None
        with self.lock:
            array[:]
        return array


class _Small(Store):
    """Metadata and coordinates, as a store that zarr reads."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False
    supports_partial_writes = False

    def __init__(self, remote: Remote) -> None:
        super().__init__(read_only=True)
        self.remote = remote

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Small) and other.remote is self.remote

    def __hash__(self) -> int:
        return hash(self.remote.url)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object whole, and give a part of it."""
        content = self.remote.small_files.get(key)
        if content is None:
            content = await asyncio.to_thread(self.remote.read_small, key)
        if content is None:
            return None
        buffer = (prototype or default_buffer_prototype()).buffer.from_bytes(content)
        return buffer if byte_range is None else buffer[_span(byte_range, len(content))]

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects at once."""
        return await asyncio.gather(*(self.get(key, prototype, at) for key, at in key_ranges))

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return await self.get(key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        raise NotImplementedError("this store only reads")

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        raise NotImplementedError("this store only reads")

    def list(self) -> AsyncIterator[str]:
        """Refuse to list."""
        raise NotImplementedError("this store lists nothing")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        return self.list()


def _span(at: Any, length: int) -> slice:
    """Return the part that zarr asks for."""
    if hasattr(at, "suffix"):
        return slice(max(length - at.suffix, 0), length)
    return slice(at.start, at.end) if hasattr(at, "start") else slice(at.offset, length)
