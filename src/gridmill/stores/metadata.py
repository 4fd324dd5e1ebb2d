"""Zarr metadata and coordinates, as every format of a final store has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from gridmill.stores.final_store import CoordinateValues

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ROOT",
    "array_metadata",
    "first_object_beyond",
    "joined",
    "keys_of",
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
    ends = (part.start + len(part.values), *array["shape"][1:])
    sizes = array["chunk_grid"]["configuration"]["chunk_shape"]
    starts = (part.start, *(0 for _ in array["shape"][1:]))
    along = [
        range(start // size, -(-end // size))
        for start, end, size in zip(starts, ends, sizes, strict=True)
    ]
    return ["/".join([part.name, "c", *map(str, at)]) for at in product(*along)]


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
