"""Writes the stored objects of one array in pieces smaller than a shard.

zarr encodes a shard from the whole of its values, which for real archives are gigabytes. Here
zarr encodes the inner chunks of a piece, as the chunks of an array without shards, and their
bytes are appended to the shards: memory is bounded by the piece, whatever the shard.

The format of a shard (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed):
the chunks' bytes in any order, then for each chunk in C order its offset and length as two
little-endian uint64, both 2^64-1 for a chunk that is not there, then the crc32c of that index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype

__all__ = ["ObjectWriter"]

Values = np.ndarray[Any, Any]
Cell = tuple[int, ...]

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
        The array's shards have another index than zarr's default one.

    Notes
    -----
    Values must come in whole inner chunks, each once. An object is written for whatever is
    covered, fill values included, so that they replace what an earlier run wrote. The order of
    the pieces decides the order of the chunks inside a shard.
    """

    def __init__(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name = name
        codec = metadata["codecs"][0]
        inner, per_object = metadata, None
        if codec["name"] == "sharding_indexed":
            _check_index(name, codec["configuration"])
            shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            chunk = codec["configuration"]["chunk_shape"]
            per_object = tuple(n // m for n, m in zip(shard, chunk, strict=True))
            inner = _without_shards(metadata)
        self._per_shard: Cell | None = per_object
        self._index: dict[Cell, Values] = {}
        self._chunks: dict[str, Buffer] = {}
        store = zarr.storage.MemoryStore(self._chunks)
        content = json.dumps(inner).encode()
        self._chunks["zarr.json"] = default_buffer_prototype().buffer.from_bytes(content)
        array = zarr.open_array(store, mode="r+", zarr_format=3)
        del self._chunks["zarr.json"]
        self._array = array.with_config({"write_empty_chunks": True})

    def write(self, target: tuple[slice, ...], values: Values) -> None:
        """Write values that cover whole inner chunks."""
        self._array[target or ...] = values
        encoded = sorted((_cell(key), buffer) for key, buffer in self._chunks.items())
        self._chunks.clear()
        if self._per_shard is None:
            for cell, buffer in encoded:
                self._path(cell).write_bytes(buffer.as_numpy_array().data)
            return
        encoded.sort(key=lambda item: (self._shard_of(item[0]), item[0]))
        for shard, chunks in groupby(encoded, key=lambda item: self._shard_of(item[0])):
            self._append(shard, dict(chunks))

    def close(self) -> tuple[str, ...]:
        """Finish the shards with their indexes; the keys of all objects."""
        for shard, index in self._index.items():
            content = index.tobytes()
            with self._path(shard).open("ab") as out:
                out.write(content + google_crc32c.value(content).to_bytes(4, "little"))
        files = (path for path in (self.folder / self.name).rglob("*") if path.is_file())
        return tuple(sorted(path.relative_to(self.folder).as_posix() for path in files))

    def _append(self, shard: Cell, chunks: Mapping[Cell, Buffer]) -> None:
        assert self._per_shard is not None
        if shard not in self._index:
            self._index[shard] = np.full((*self._per_shard, 2), ABSENT, dtype="<u8")
        with self._path(shard).open("ab") as out:
            for cell, buffer in chunks.items():
                at = tuple(i % n for i, n in zip(cell, self._per_shard, strict=True))
                self._index[shard][at] = out.tell(), len(buffer)
                out.write(buffer.as_numpy_array().data)

    def _shard_of(self, cell: Cell) -> Cell:
        assert self._per_shard is not None
        return tuple(at // n for at, n in zip(cell, self._per_shard, strict=True))

    def _path(self, cell: Cell) -> Path:
        if not self.folder.is_dir():  # purged with its key: it must not come back
            raise FileNotFoundError(self.folder)
        path = self.folder / self.name / "c" / Path(*map(str, cell))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _cell(key: str) -> Cell:
    """Give a chunk's place in the grid from its key, ``c/0/12/3``."""
    return tuple(map(int, key.split("/")[1:]))


def _without_shards(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give the metadata of the same array with every inner chunk an object."""
    inner = metadata["codecs"][0]["configuration"]
    grid = {"name": "regular", "configuration": {"chunk_shape": inner["chunk_shape"]}}
    return {**metadata, "chunk_grid": grid, "codecs": inner["codecs"]}


def _check_index(name: str, configuration: Mapping[str, Any]) -> None:
    location = configuration.get("index_location", "end")
    if configuration["index_codecs"] != INDEX_CODECS or location != "end":
        raise ValueError(
            f"the shards of {name!r} have an index other than zarr's default one "
            f"(little-endian, crc32c, at the end): {configuration}"
        )
