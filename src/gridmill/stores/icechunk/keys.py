"""The keys of a session: objects by their keys, and the metadata of arrays, as readers get them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import icechunk
from zarr.abc.store import RangeByteRequest, Store
from zarr.core.buffer import cpu
from zarr.core.buffer.core import default_buffer_prototype
from zarr.core.sync import sync

from gridmill.model.records import ObjectReceipt
from gridmill.stores.final_store import CoordinateValues, StagedRegion
from gridmill.stores.icechunk.patience import is_transient
from gridmill.stores.metadata import ROOT, array_metadata, joined, publication_order, set_values

__all__ = [
    "Array",
    "arrays_in",
    "content_of",
    "get",
    "growing_dim",
    "has",
    "keys_below",
    "put",
    "reach",
    "read_metadata",
    "set_all",
    "write_arrays",
    "write_metadata",
]

Array = dict[str, Any]


# -- objects ----------------------------------------------------------------------------------


def put(store: Store, key: str, content: bytes) -> None:
    """Write an object into a session."""
    sync(store.set(key, cpu.Buffer.from_bytes(content)))


def get(store: Store, key: str) -> bytes | None:
    """Read an object whole; None if there is none."""
    found = sync(store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def has(store: Store, receipt: ObjectReceipt) -> bool:
    """Whether an object has its size by the manifest, and its last byte in storage."""
    last = RangeByteRequest(receipt.nbytes - 1, receipt.nbytes)
    try:
        if sync(store.getsize(receipt.key)) != receipt.nbytes:
            return False
        return sync(store.get(receipt.key, default_buffer_prototype(), last)) is not None
    except (FileNotFoundError, KeyError, ValueError):
        return False
    except icechunk.IcechunkError as error:
        if is_transient(error):
            raise
        return False


def keys_below(store: Store, prefix: str) -> list[str]:
    """List the keys below a prefix, sorted."""

    async def listed() -> list[str]:
        return sorted([key async for key in store.list_prefix(prefix)])

    return sync(listed())


# -- metadata ---------------------------------------------------------------------------------


def read_metadata(store: Store) -> Array:
    """Read a group's metadata and that of its arrays, in the form of a consolidated root."""

    async def names() -> list[str]:
        return sorted([name async for name in store.list_dir("")])

    arrays = {}
    for name in sync(names()):
        content = get(store, f"{name}/{ROOT}") if name != ROOT else None
        if content is not None:
            arrays[name] = json.loads(content)
    root: Array = json.loads(get(store, ROOT) or b"{}")
    return {**root, "consolidated_metadata": {"metadata": arrays}}


def write_metadata(
    store: Store,
    folder: Path,
    upto: StagedRegion | None = None,
    merged: Collection[str] = (),
) -> None:
    """Put a local store's metadata and coordinates, where they differ.

    `upto` cuts it to what is visible with that region, or is already. The arrays in `merged` are
    resized twice: after a merge Icechunk 1.1 keeps only as many objects of an array as the fork
    knew, which began before others published, unless the array is resized.
    """
    root = json.loads((folder / ROOT).read_bytes())
    # Every snapshot is consistent: there is nothing to consolidate for.
    _put_if_changed(store, ROOT, {**root, "consolidated_metadata": None})
    arrays = {
        name: array if upto is None else _cut(store, name, array, upto)
        for name, array in array_metadata(root).items()
    }
    write_arrays(store, folder, arrays, merged)


def write_arrays(
    store: Store, folder: Path, arrays: Mapping[str, Array], merged: Collection[str] = ()
) -> None:
    """Put arrays' metadata, and those objects of coordinates that are inside."""
    for name, array in arrays.items():
        if name in merged:
            beyond = [n + 1 for n in array["shape"]]
            put(store, f"{name}/{ROOT}", content_of({**array, "shape": beyond}))
        _put_if_changed(store, f"{name}/{ROOT}", array)
    for key in publication_order(folder):
        name, _, chunk = key.partition("/")
        if not key.endswith(ROOT) and _is_inside(chunk, arrays[name]):
            content = (folder / key).read_bytes()
            if get(store, key) != content:
                put(store, key, content)


def set_all(store: Store, values: Sequence[CoordinateValues]) -> None:
    """Set values of coordinates in a session."""
    for part in joined(values):
        set_values(store, part)


def arrays_in(folder: Path) -> dict[str, Array]:
    """Read the metadata of every array of a local store."""
    return array_metadata(json.loads((folder / ROOT).read_bytes()))


def growing_dim(arrays: Mapping[str, Array]) -> str | None:
    """Return the dim of which no array has a position yet; None if there is none."""
    for array in arrays.values():
        dims = array.get("dimension_names") or ()
        for dim, length in zip(dims, array["shape"], strict=False):
            if length == 0:
                return str(dim)
    return None


def _cut(store: Store, name: str, array: Array, upto: StagedRegion) -> Array:
    dims = array.get("dimension_names") or ()
    content = get(store, f"{name}/{ROOT}")
    if upto.dim not in dims or content is None:
        return array
    axis = list(dims).index(upto.dim)
    shape = list(array["shape"])
    shape[axis] = min(shape[axis], max(upto.stop, upto.visible))
    return {**array, "shape": shape}


def reach(store: Store, variable: str, metadata: Array, keys: Sequence[str]) -> None:
    """Let an array in a fork reach to the end of these objects, and never shrink."""
    content = get(store, f"{variable}/{ROOT}")
    if content is None:
        raise ValueError(f"{variable} is not in the repository: prepare() makes it")
    now = json.loads(content)["shape"]
    chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    ends = [[(i + 1) * n for i, n in zip(_index(key), chunk, strict=True)] for key in keys]
    shape = [
        max(present, min(whole, max(axis)))
        for present, whole, axis in zip(
            now, metadata["shape"], zip(*ends, strict=True), strict=True
        )
    ]
    if shape != now:
        grown = {**metadata, "shape": shape}
        put(store, f"{variable}/{ROOT}", json.dumps(grown).encode())


def _index(key: str) -> list[int]:
    """Return an object's position among the objects of its array, from its key."""
    return [int(part) for part in key.split("/")[2:]]


def _is_inside(chunk: str, array: Array) -> bool:
    size = array["chunk_grid"]["configuration"]["chunk_shape"]
    at = [int(part) for part in chunk.split("/")[1:]]
    return all(i < math.ceil(n / m) for i, n, m in zip(at, array["shape"], size, strict=True))


def _put_if_changed(store: Store, key: str, metadata: Array) -> None:
    content = get(store, key)
    wanted = content_of(metadata)
    if content is None or content_of(json.loads(content)) != wanted:
        put(store, key, wanted)


def content_of(metadata: Array) -> bytes:
    """Serialise metadata, without what says nothing and is not kept."""
    kept = {k: v for k, v in metadata.items() if k != "storage_transformers" and v is not None}
    return json.dumps(kept, sort_keys=True).encode()
