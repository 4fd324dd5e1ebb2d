"""Writes the stored objects of one array in pieces smaller than a shard.

zarr encodes a shard from the whole of its values, which for real archives are gigabytes, and
spends more on handing small chunks between threads than on compressing them. Here the inner
chunks of a piece are encoded one after the other by the array's own zarr codecs, and their bytes
are appended to the shards: memory is bounded by the piece, whatever the shard.

The format of a shard (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed):
the chunks' bytes in any order, and after or before them, for each chunk in C order, its offset and
length as two little-endian uint64, both 2^64-1 for a chunk that is not there, then the crc32c of
that index.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import default_buffer_prototype

from gridmill.model.epochs import ENCODING, stage

__all__ = ["ObjectWriter"]

Values = np.ndarray[Any, Any]
Cell = tuple[int, ...]
Encode = Callable[[], memoryview]

ABSENT = 2**64 - 1
INDEX_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


class ObjectWriter:
    """Writes some of an array's values as objects of a local Zarr store.

    Parameters
    ----------
    folder
        The store; the objects are written to ``folder/name/c/…``.
    name
        The array.
    metadata
        Its Zarr v3 array metadata.

    Raises
    ------
    ValueError
        The index of the array's shards is encoded otherwise than zarr does by default.

    Notes
    -----
    Values must come in whole inner chunks, each once. An object is written for whatever is
    covered, fill values included, so that they replace what an earlier run wrote. The order of
    the pieces decides the order of the chunks inside a shard.
    """

    def __init__(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name = name
        codec, codecs = metadata["codecs"][0], metadata["codecs"]
        object_shape = chunk_shape = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        self._is_sharded = codec["name"] == "sharding_indexed"
        if self._is_sharded:
            _check_index(name, codec["configuration"])
            chunk_shape = codec["configuration"]["chunk_shape"]
            codecs = codec["configuration"]["codecs"]
        self._chunk_shape = tuple(chunk_shape)
        self._per_object = tuple(n // m for n, m in zip(object_shape, chunk_shape, strict=True))
        # Offsets count from a shard's first byte, and the index may come before the chunks.
        is_first = self._is_sharded and codec["configuration"].get("index_location") == "start"
        self._begin = (16 * math.prod(self._per_object) + 4) if is_first else 0
        self._index: dict[Cell, Values] = {}
        self._chunks: dict[str, Any] = {}
        array = _array_of_one_chunk(self._chunks, metadata, chunk_shape, codecs)
        self._fill = array.fill_value
        self._buffer = np.full(array.shape, self._fill, array.dtype)
        self._encode = _encode_at_once(array, self._buffer) or _encode_by_zarr(
            array, self._buffer, self._chunks
        )

    @stage(ENCODING)
    def write(self, target: tuple[slice, ...], values: Values) -> None:
        """Write values that cover whole inner chunks."""
        cells = [
            range(at.start // n, -(-at.stop // n))
            for at, n in zip(target, self._chunk_shape, strict=True)
        ]
        objects = [
            range(part.start // n, (part.stop - 1) // n + 1)
            for part, n in zip(cells, self._per_object, strict=True)
        ]
        for place in product(*objects):
            inside = [
                range(max(part.start, at * n), min(part.stop, (at + 1) * n))
                for part, at, n in zip(cells, place, self._per_object, strict=True)
            ]
            cuts = [
                [slice((at - part.start) * n, (at - part.start + 1) * n) for at in within]
                for part, within, n in zip(cells, inside, self._chunk_shape, strict=True)
            ]
            with self._path(place).open("ab") as out:
                out.truncate(max(out.tell(), self._begin))
                out.seek(0, os.SEEK_END)
                for cell, cut in zip(product(*inside), product(*cuts), strict=True):
                    self._take(values[cut])
                    content = self._encode()
                    self._note(place, cell, out.tell(), len(content))
                    out.write(content)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the objects that were written so far, sorted."""
        files = (path for path in (self.folder / self.name).rglob("*") if path.is_file())
        return tuple(sorted(path.relative_to(self.folder).as_posix() for path in files))

    def close(self, least_nbytes: Mapping[str, int] = MappingProxyType({})) -> None:
        """Finish the shards with their indexes.

        Parameters
        ----------
        least_nbytes
            By key, how many bytes a shard has at least: zeros behind its chunks make up for what
            it lacks.
        """
        for place, index in self._index.items():
            content = index.tobytes()
            content += google_crc32c.value(content).to_bytes(4, "little")
            path = self._path(place)
            least = least_nbytes.get(path.relative_to(self.folder).as_posix(), 0)
            with path.open("r+b") as out:
                size = out.seek(0, os.SEEK_END)
                behind = 0 if self._begin else len(content)
                out.truncate(max(size, least - behind))
                out.seek(0, os.SEEK_SET if self._begin else os.SEEK_END)
                out.write(content)

    def _take(self, part: Values) -> None:
        """Copy a chunk into the buffer; beyond the array's end that holds the fill value."""
        if part.shape == self._buffer.shape:
            self._buffer[...] = part
            return
        self._buffer[...] = self._fill
        self._buffer[tuple(slice(0, n) for n in part.shape)] = part

    def _note(self, place: Cell, cell: Cell, offset: int, nbytes: int) -> None:
        if not self._is_sharded:
            return
        if place not in self._index:
            self._index[place] = np.full((*self._per_object, 2), ABSENT, dtype="<u8")
        at = tuple(i % n for i, n in zip(cell, self._per_object, strict=True))
        self._index[place][at] = offset, nbytes

    def _path(self, place: Cell) -> Path:
        if not self.folder.is_dir():  # purged with its key: it must not come back
            raise FileNotFoundError(self.folder)
        path = self.folder / self.name / "c" / Path(*map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _array_of_one_chunk(
    chunks: dict[str, Any],
    metadata: Mapping[str, Any],
    chunk_shape: list[int],
    codecs: list[Mapping[str, Any]],
) -> zarr.Array[Any]:
    """Make an array in memory that is as large as a chunk and stores it as such."""
    grid = {"name": "regular", "configuration": {"chunk_shape": chunk_shape}}
    inner = {**metadata, "shape": chunk_shape, "chunk_grid": grid, "codecs": codecs}
    content = json.dumps(inner).encode()
    chunks["zarr.json"] = default_buffer_prototype().buffer.from_bytes(content)
    array = zarr.open_array(zarr.storage.MemoryStore(chunks), mode="r+", zarr_format=3)
    return array.with_config({"write_empty_chunks": True})


def _encode_at_once(array: zarr.Array[Any], buffer: Any) -> Encode | None:
    """Encode what is in the buffer, in the calling thread.

    None if one of the codecs only works in an event loop. zarr's own pipeline needs 1.9 times the
    CPU of blosc at chunks of half a megabyte and 7 times at 26 kB, for tasks and hand-overs between
    threads; that of zarrs (0.2) 1.3 and 1.45 times; this 1.1 and 1.2 times.
    """
    prototype = default_buffer_prototype()
    metadata: Any = array.metadata
    spec = ArraySpec(array.shape, metadata.dtype, array.fill_value, array.config, prototype)
    source: Any = prototype.nd_buffer.from_ndarray_like(buffer)
    steps: list[tuple[Any, ArraySpec]] = []
    for codec in metadata.codecs:
        # zarr.abc.codec.SupportsSyncCodec; in newer zarr a wrapper may say that its content is not.
        if not hasattr(codec, "_encode_sync") or not getattr(codec, "_sync_capable", True):
            return None
        encode = codec._encode_sync
        # A view of the buffer, such as the bytes of native floats, is one of all that it will hold.
        view = source if steps else encode(source, spec)
        if not steps and np.may_share_memory(view.as_numpy_array(), buffer):
            source = view
        else:
            steps.append((encode, spec))
        spec = codec.resolve_metadata(spec)

    def encode_buffer() -> memoryview:
        content = source
        for step, of in steps:
            content = step(content, of)
        return memoryview(content.as_numpy_array())

    return encode_buffer


def _encode_by_zarr(array: zarr.Array[Any], buffer: Values, chunks: dict[str, Any]) -> Encode:
    """Encode what is in the buffer by writing it as the array."""

    def encode_buffer() -> memoryview:
        chunks.clear()
        array[...] = buffer
        (content,) = chunks.values()
        return memoryview(content.as_numpy_array())

    return encode_buffer


def _check_index(name: str, configuration: Mapping[str, Any]) -> None:
    if configuration["index_codecs"] != INDEX_CODECS:
        raise ValueError(
            f"the shards of {name!r} have an index other than zarr's default one "
            f"(little-endian, crc32c): {configuration}"
        )
