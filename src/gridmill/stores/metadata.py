"""Zarr metadata and coordinates, as every format of a final store has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import zarr

from gridmill.stores.final_store import CoordinateValues
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.zarr_reader import ObjectsReader

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.stores.final_store import FinalStore

__all__ = [
    "ROOT",
    "Seen",
    "array_metadata",
    "expect_uploads",
    "first_object_beyond",
    "joined",
    "keys_of",
    "looking",
    "open_published",
    "open_zarr",
    "publication_order",
    "publication_step",
    "set_values",
]

ROOT = "zarr.json"


def array_metadata(root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metadata of every array from a consolidated root."""
    return dict((root.get("consolidated_metadata") or {"metadata": {}})["metadata"])


def first_object_beyond(array: Mapping[str, Any], append_dim: str) -> tuple[int, int] | None:
    """Return the append dim's axis and the number of the first object that lies beyond its end.

    None for an array without the append dim.
    """
    dims = list(array.get("dimension_names") or ())
    if append_dim not in dims:
        return None
    axis = dims.index(append_dim)
    size = array["chunk_grid"]["configuration"]["chunk_shape"][axis]
    return axis, -(-array["shape"][axis] // size)


def publication_order(folder: Path) -> list[str]:
    """Return the keys of a local store in the order in which readers may see them change."""
    keys = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    return sorted(keys, key=lambda key: (publication_step(key), key))


def publication_step(key: str) -> tuple[bool, bool]:
    """Sort coordinates' values before every array's metadata, and the root last."""
    return (key == ROOT, key.endswith(ROOT))


def joined(values: Sequence[CoordinateValues]) -> list[CoordinateValues]:
    """Join values of positions that follow each other: each object is encoded once."""
    runs: list[list[CoordinateValues]] = []
    for part in sorted(values, key=lambda part: (part.name, part.start)):
        before = runs[-1][-1] if runs else None
        if before and (before.name, before.start + len(before.values)) == (part.name, part.start):
            runs[-1].append(part)
        else:
            runs.append([part])
    return [
        CoordinateValues(run[0].name, run[0].start, np.concatenate([part.values for part in run]))
        for run in runs
    ]


def set_values(store: Any, part: CoordinateValues, *, only_lower: bool = False) -> None:
    """Set values of a coordinate, or only those that get lower, in a store that has the array."""
    array = zarr.open_array(store, path=part.name, mode="r+", zarr_format=3)
    # Readers who may not list a bucket are refused what is absent.
    is_there = not isinstance(store, Path) or all(
        (store / key).exists() for key in keys_of(part, array.metadata.to_dict())
    )
    at = slice(part.start, part.start + len(part.values))
    there = np.asarray(array[at])
    wanted = np.minimum(there, part.values) if only_lower else part.values
    if not is_there or not np.array_equal(there, wanted):
        # An object of zeros must be there, too, to replace another.
        array.with_config({"write_empty_chunks": True})[at] = wanted


def keys_of(part: CoordinateValues, array: Mapping[str, Any]) -> list[str]:
    """Return the keys of the objects that hold values of a coordinate."""
    return _keys_between(part.name, array, part.start, part.start + len(part.values))


def _keys_between(name: str, array: Mapping[str, Any], start: int, stop: int) -> list[str]:
    """Return the keys of the objects of an array that hold some of its first dim's positions."""
    starts, ends = (start, *(0 for _ in array["shape"][1:])), (stop, *array["shape"][1:])
    sizes = array["chunk_grid"]["configuration"]["chunk_shape"]
    along = [
        range(start // size, -(-end // size))
        for start, end, size in zip(starts, ends, sizes, strict=True)
    ]
    return ["/".join([name, "c", *map(str, at)]) for at in product(*along)]


def open_published(store: Any, chunks: Any) -> xr.Dataset:
    """Open what readers see of a store whose root lists every array; see `open_zarr`.

    Notes
    -----
    xarray asks for the labels of dims, and for ends of other times, one after the other, and for
    some of them more than once. Of a distant store they are read at once, before it asks.
    """
    if not isinstance(store, ObjectsReader):
        return open_zarr(store, chunks, is_consolidated=True)
    with store.holding():
        (root,) = store.hold([ROOT])
        store.hold(list(_keys_read_at_opening(root)))
        return open_zarr(store, chunks, is_consolidated=True)


def _keys_read_at_opening(root: bytes | None) -> Iterator[str]:
    """Yield the keys of objects that xarray reads while it opens; none of a damaged root.

    The labels of dims, and of other times the first and the last one, by which it chooses how to
    decode them.
    """
    try:
        arrays = array_metadata(json.loads(root or b"{}"))
        for name, array in arrays.items():
            shape = array["shape"]
            if not _is_keyed_as_ours(array):
                continue
            if array.get("dimension_names") == [name]:
                yield from _keys_between(name, array, 0, shape[0])
            elif " since " in str(array["attributes"].get("units")) and 0 not in shape:
                sizes = array["chunk_grid"]["configuration"]["chunk_shape"]
                last = [(length - 1) // size for length, size in zip(shape, sizes, strict=True)]
                yield from {"/".join([name, "c", *map(str, at)]) for at in ([0] * len(last), last)}
    except (AttributeError, KeyError, TypeError, ValueError):
        return  # who opens it says what is wrong


def _is_keyed_as_ours(array: Mapping[str, Any]) -> bool:
    encoding = array["chunk_key_encoding"]
    separator = encoding.get("configuration", {}).get("separator", "/")
    return bool(encoding["name"] == "default" and separator == "/")


def open_zarr(store: Any, chunks: Any, *, is_consolidated: bool) -> xr.Dataset:
    """Open a store, in chunks of Dask's choice if need be.

    Parameters
    ----------
    store
        As zarr takes it.
    chunks
        As `xarray.open_zarr` takes them. Of ``"auto"``, an archive with a coordinate of text has
        the chunks that are stored: Dask does not know how large text is.
    is_consolidated
        Whether the root lists every array.
    """
    import xarray as xr

    options: dict[str, Any] = {"zarr_format": 3, "consolidated": is_consolidated}
    try:
        ds: xr.Dataset = xr.open_zarr(store, chunks=chunks, **options)
    except NotImplementedError:
        if chunks != "auto":
            raise
        ds = xr.open_zarr(store, chunks={}, **options)
    return ds


class Seen:
    """The metadata and labels that readers see, read as often as they are asked for, or once.

    Parameters
    ----------
    objects
        Of the store.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        # By thread: another one that publishes meanwhile must not be answered from memory.
        self._held: dict[int, ObjectsReader] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_held": {}}

    def metadata(self) -> dict[str, Any] | None:
        """Return the root metadata, everything consolidated; None if there are none."""
        held = self._held.get(get_ident())
        content = self.objects.get(ROOT) if held is None else held.hold([ROOT])[0]
        return None if content is None else dict(json.loads(content))

    def reader(self) -> Any:
        """Return a Zarr store that reads the objects."""
        return self._held.get(get_ident()) or self.objects.as_zarr()

    @contextmanager
    def once(self) -> Iterator[None]:
        """Keep in memory what this thread reads, for the time of a `with`; not of a local store.

        Within another such `with` it is the outer one's.
        """
        me, reader = get_ident(), self.reader()
        if me in self._held or not isinstance(reader, ObjectsReader):
            yield
            return
        self._held[me] = reader
        try:
            with reader.holding():
                yield
        finally:
            del self._held[me]


@runtime_checkable
class _Asked(Protocol):
    """Objects of a store that is asked which conditions of puts it means, once a process."""

    def honours_conditions(self) -> bool:
        """Whether it means both."""


@contextmanager
def looking(store: FinalStore) -> Iterator[None]:
    """Read the metadata and labels that readers see once, for the time of a `with`.

    For this thread alone, and for callers that look again before acting on it: others may publish
    meanwhile. Where readers see a snapshot, it stays as it is anyway.
    """
    seen = getattr(store, "seen", None)
    if not isinstance(seen, Seen):
        yield
        return
    with seen.once():
        yield


def expect_uploads(store: FinalStore) -> None:
    """Ask a distant store what uploads need to know of it, so that the first need not wait."""
    seen = getattr(store, "seen", None)
    if isinstance(seen, Seen) and isinstance(seen.objects, _Asked):
        seen.objects.honours_conditions()
