"""Writes the stored objects of one array in pieces smaller than a shard.

zarr encodes a shard from the whole of its values, which for real archives are gigabytes. Here
zarr encodes the inner chunks, as the chunks of an array without shards on local disk, and each
shard is put together from their bytes: memory is bounded by the piece, whatever the shard.

The format of a shard (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed):
the chunks' bytes in any order, then for each chunk in C order its offset and length as two
little-endian uint64, both 2^64-1 for a chunk that is not there, then the crc32c of that index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr

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
    scratch
        An empty folder of the same disk, for chunks on their way into a shard.

    Raises
    ------
    ValueError
        The array's shards have another index than zarr's default one.

    Notes
    -----
    Values must come in whole inner chunks, each once. An object is written for whatever is
    covered, fill values included, so that they replace what an earlier run wrote.
    """

    def __init__(self, folder: Path, name: str, metadata: Mapping[str, Any], scratch: Path) -> None:
        self.folder = folder
        self.name = name
        codec = metadata["codecs"][0]
        self._sharded = codec["name"] == "sharding_indexed"
        self._chunks = scratch if self._sharded else folder
        if self._sharded:
            _check_index(name, codec["configuration"])
            shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            chunk = codec["configuration"]["chunk_shape"]
            self._per_shard = tuple(n // m for n, m in zip(shard, chunk, strict=True))
            metadata = _without_shards(metadata)
        path = self._chunks / name / "zarr.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(metadata))
        store = zarr.storage.LocalStore(self._chunks)
        array = zarr.open_array(store, path=name, mode="r+", zarr_format=3)
        path.unlink()
        self._array = array.with_config({"write_empty_chunks": True})

    def write(self, target: tuple[slice, ...], values: Values) -> None:
        """Write values that cover whole inner chunks."""
        self._array[target or ...] = values

    def close(self) -> tuple[str, ...]:
        """Put the shards together; the keys of all objects."""
        if self._sharded:
            for shard in sorted({self._shard_of(cell) for cell in self._cells()}):
                self._assemble(shard)
        root = self.folder / self.name
        files = (path for path in root.rglob("*") if path.is_file())
        return tuple(sorted(path.relative_to(self.folder).as_posix() for path in files))

    def _assemble(self, shard: Cell) -> None:
        path = self.folder / self.name / "c" / Path(*map(str, shard))
        path.parent.mkdir(parents=True, exist_ok=True)
        index = np.full((*self._per_shard, 2), ABSENT, dtype="<u8")
        with path.open("wb") as out:
            for inner in product(*map(range, self._per_shard)):
                chunk = self._chunk_path(shard, inner)
                if not chunk.exists():
                    continue  # beyond the array's end
                index[inner] = out.tell(), chunk.stat().st_size
                out.write(chunk.read_bytes())
                chunk.unlink()
            out.write(index.tobytes())
            out.write(google_crc32c.value(index.tobytes()).to_bytes(4, "little"))

    def _chunk_path(self, shard: Cell, inner: Cell) -> Path:
        cell = (s * n + i for s, n, i in zip(shard, self._per_shard, inner, strict=True))
        return self._chunks / self.name / "c" / Path(*map(str, cell))

    def _cells(self) -> Iterator[Cell]:
        root = self._chunks / self.name / "c"
        for path in root.rglob("*"):
            if path.is_file():
                yield tuple(map(int, path.relative_to(root).parts))

    def _shard_of(self, cell: Cell) -> Cell:
        return tuple(at // n for at, n in zip(cell, self._per_shard, strict=True))


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
