"""What objects of an adopted archive hold beyond the labels that it has.

Zarr stores objects whole. gridmill fills what lies beyond the end of a dim with what says missing;
another program may have filled it with 0, which nobody sees until the dim gets labels there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gridmill.archive.archive import Archive
from gridmill.model.records import ProgressRecord
from gridmill.model.variables import DataVar
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import ROOT
from gridmill.stores.objects.leftovers import temporary_folder

__all__ = ["check_padding"]

Lengths = Mapping[str, int]


def check_padding(
    archive: Archive, store: FinalStore, record: ProgressRecord, before: Lengths
) -> None:
    """Raise where readers would see what another program left beyond the end of a dim.

    Parameters
    ----------
    archive
        With the labels that are to be.
    store
        The archive's, or a replica.
    record
        Of a region; values in it that nobody has proven are another program's.
    before
        How many labels the dims have that get more.

    Raises
    ------
    ValueError
        An object holds other values there than what says missing.

    Notes
    -----
    One object is read at a time, and only those at the end of a dim that end within a chunk.
    """
    for var in (*archive.config.data_vars, *archive.config.kept_vars):
        known = record.variables.get(var.name)
        if known is None or not known.unproven:
            continue
        cut = {
            dim: n for dim, n in zip(var.dims, var.encoding.chunks, strict=True) if dim in before
        }
        for dim in (dim for dim, n in cut.items() if before[dim] % n):
            places = _ends(archive, record, var, dim, before[dim])
            if any(_holds_more(archive, store, var, place, before) for place in places):
                raise ValueError(
                    f"objects of {var.name} that another program wrote hold other values than "
                    f"{var.encoding.missing} beyond the {before[dim]} labels of {dim}, in the "
                    f"region from position {record.start} on: readers would see them at new "
                    "labels; reprocess such regions first (gridmill backfill with --start, --end "
                    "and --redo); nothing was written"
                )


def _ends(
    archive: Archive, record: ProgressRecord, var: DataVar, dim: str, length: int
) -> Iterator[tuple[int, ...]]:
    """Yield the places of a variable's objects that hold the end of a dim in a region."""
    spans = {name: (0, archive.template_ds.sizes[name]) for name in var.dims}
    spans |= {dim: (length - 1, length)}
    if archive.append_dim in spans:
        spans[archive.append_dim] = (record.start, record.stop)
    sizes = zip((spans[name] for name in var.dims), var.encoding.object_shape, strict=True)
    yield from product(*(range(start // size, -(-stop // size)) for (start, stop), size in sizes))


def _holds_more(
    archive: Archive, store: FinalStore, var: DataVar, place: tuple[int, ...], before: Lengths
) -> bool:
    """Whether an object holds anything beyond the end of dims, up to where they are to end."""
    key = "/".join(["c", *map(str, place)])
    content = store.read_object(f"{var.name}/{key}")
    if content is None:
        return False
    with temporary_folder(archive.scratch, make=archive.tmp_store) as folder:
        values = _decoded(folder, archive.arrays[var.name], key, content, place)
    fill, firsts = var.encoding.fill, zip(var.dims, place, var.encoding.object_shape, strict=True)
    is_old = [max(0, before[d] - at * n) if d in before else None for d, at, n in firsts]
    values[tuple(slice(0, end) for end in is_old)] = fill
    return not np.array_equal(values, np.full_like(values, fill), equal_nan=fill != fill)


def _decoded(
    folder: Path, array: Mapping[str, Any], key: str, content: bytes, place: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    """Decode an object, as far as its array reaches."""
    (folder / ROOT).write_text(json.dumps(array))
    (folder / key).parent.mkdir(parents=True)
    (folder / key).write_bytes(content)
    sizes = array["chunk_grid"]["configuration"]["chunk_shape"]
    within = tuple(slice(at * n, (at + 1) * n) for at, n in zip(place, sizes, strict=True))
    return np.array(zarr.open_array(folder, mode="r", zarr_format=3)[within])
