"""Which chunks of an array are not there: readers get its fill value for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer.core import default_buffer_prototype
from zarr.core.sync import sync

from gridmill.stores.lookahead import lookahead

__all__ = ["absent_chunks"]

# In the index of a shard, of a chunk that is not in it.
ABSENT = 2**64 - 1
AT_ONCE = 16


def absent_chunks(store: Store, name: str, array: Mapping[str, Any]) -> int:
    """Count the chunks within an array that are not there, also those within shards.

    Parameters
    ----------
    store
        Lists its keys.
    name, array
        The array, and its metadata; its objects have the names that Zarr v3 gives by default.

    Notes
    -----
    Of each shard the index is read, and nothing else.
    """
    objects = array["chunk_grid"]["configuration"]["chunk_shape"]
    cells = [range(math.ceil(n / m)) for n, m in zip(array["shape"], objects, strict=True)]
    there = _places(store, name)
    codec = array["codecs"][0]
    if codec["name"] != "sharding_indexed":
        return sum(place not in there for place in product(*cells))
    shard = codec["configuration"]
    inner = shard["chunk_shape"]

    def lacking(place: tuple[int, ...]) -> int:
        wanted = _inside(place, objects, inner, array["shape"])
        if place not in there:
            return math.prod(wanted)
        key = "/".join([name, "c", *map(str, place)])
        per_shard = [n // m for n, m in zip(objects, inner, strict=True)]
        index = _index(store, key, per_shard, is_first=shard.get("index_location") == "start")
        part = index[tuple(slice(0, n) for n in wanted)]
        return int((part[..., 0] == ABSENT).sum())

    return sum(lookahead(lacking, product(*cells), AT_ONCE))


def _places(store: Store, name: str) -> set[tuple[int, ...]]:
    async def listed() -> list[str]:
        # Icechunk lists no prefix within an array.
        return [key async for key in store.list_prefix(f"{name}/")]

    keys = (key for key in sync(listed()) if key.startswith(f"{name}/c/"))
    return {tuple(map(int, key.split("/")[2:])) for key in keys}


def _inside(
    place: Sequence[int], objects: Sequence[int], inner: Sequence[int], shape: Sequence[int]
) -> list[int]:
    """Count the inner chunks of a shard that begin within the array, along each dim."""
    ends = [min(n - at * m, m) for at, m, n in zip(place, objects, shape, strict=True)]
    return [math.ceil(end / n) for end, n in zip(ends, inner, strict=True)]


def _index(store: Store, key: str, counts: Sequence[int], *, is_first: bool) -> Any:
    """Read the index of a shard: offset and length of each chunk."""
    nbytes = 16 * math.prod(counts)
    at = RangeByteRequest(0, nbytes) if is_first else SuffixByteRequest(nbytes + 4)
    found = sync(store.get(key, default_buffer_prototype(), at))
    content = b"" if found is None else found.to_bytes()
    if len(content) < nbytes:
        return np.full((*counts, 2), ABSENT, "<u8")
    return np.frombuffer(content[:nbytes], "<u8").reshape(*counts, 2)
