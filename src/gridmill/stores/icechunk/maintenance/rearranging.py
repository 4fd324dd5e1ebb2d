"""Positions that come in between others, or go: values, coordinates and lengths in one commit.

What comes in between moves everything behind it by any number of positions: it is rewritten.
Where the first positions go, objects stay as they are and get another place in the manifests, by
Icechunk's own `Session.shift_array`. Measured with Icechunk 2.3, in repositories of format 1 and 2:

- it is called within an ordinary writable session, together with other changes, and is one commit
  with them (`Session.move`, which renames, takes a session of its own, and format 2);
- it shifts by whole objects (a shard is one): what goes is a multiple of their length;
- what falls out at the front is in no later snapshot, and what is vacated at the end reads as
  missing, also where the array grows again; the array's length is left to the caller;
- no object of values is read or written, and Icechunk 1.1 reads the result in format 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import zarr
from zarr.core.sync import sync

from gridmill.model.records import ObjectReceipt
from gridmill.stores.contents.axis import Moves
from gridmill.stores.icechunk.keys import (
    Array,
    content_of,
    get,
    keys_below,
    put,
    read_metadata,
    write_metadata,
)
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.publication import commit
from gridmill.stores.icechunk.repository import RepositoryAt
from gridmill.stores.icechunk.uploads import merged_in
from gridmill.stores.metadata import ROOT, array_metadata

__all__ = ["rearrange"]

Receipts = Mapping[str, tuple[ObjectReceipt, ...]]


def rearrange(
    repository: RepositoryAt,
    folder: Path,
    moves: Moves,
    message: str,
    prepared: Callable[[Receipts], None],
) -> None:
    """Write moved values, metadata and coordinates, and commit all of it at once.

    See `FinalStore.rearrange`. Killed before the commit, it has changed nothing that anybody sees;
    what it wrote goes with `gridmill upkeep`.

    Raises
    ------
    ValueError
        The first positions are to go, and the Icechunk here cannot shift arrays.
    """
    if moves.dropped:
        _check_shifts(repository)

    def once() -> None:
        repo = repository.open()
        session = repo.writable_session(repository.branch)
        before = repo.readonly_session(snapshot_id=session.snapshot_id).store
        receipts = _moved(before, session, folder, moves)
        prepared(receipts)
        # What moved is no upload any more.
        held = merged_in(repo, repository.branch).items()
        merged = {name: of for name, of in held if _is_before(name, moves)}
        commit(repo, session, message, merged)

    patiently(once)


def _moved(before: Any, session: icechunk.Session, folder: Path, moves: Moves) -> Receipts:
    """Change a session; return what was written of the arrays whose values move."""
    if not moves.dropped:
        write_metadata(session.store, folder)
        return {name: tuple(_move(before, session, name, moves)) for name in moves.arrays}
    for name, array in array_metadata(read_metadata(before)).items():
        if moves.dim in (array.get("dimension_names") or ()):
            _drop_first(before, session, name, array, moves)
    write_metadata(session.store, folder)
    return {}


def _is_before(region: str, moves: Moves) -> bool:
    return not region.isdigit() or int(region) < moves.first


def _move(
    before: Any, session: icechunk.Session, name: str, moves: Moves
) -> Iterator[ObjectReceipt]:
    """Rewrite an array from the first region that changes, and yield its objects."""
    old = zarr.open_array(before, path=name, mode="r", zarr_format=3)
    new = zarr.open_array(session.store, path=name, mode="r+", zarr_format=3)
    length = _object_shape(new)[0]
    for key in _objects(session, name):
        if _number(key) * length >= moves.first:
            sync(session.store.delete(key))
    for box in _boxes(new, moves):
        new[box] = _gathered(old, box, moves, new.fill_value)
    for key in _objects(session, name):
        if (_number(key) + 1) * length > moves.first:
            content = get(session.store, key)
            assert content is not None
            yield ObjectReceipt.of(key, content)


def _objects(session: icechunk.Session, name: str) -> list[str]:
    return [key for key in keys_below(session.store, f"{name}/") if not key.endswith(ROOT)]


def _number(key: str) -> int:
    return int(key.split("/")[2])


def _object_shape(array: zarr.Array[Any]) -> tuple[int, ...]:
    return array.shards or array.chunks


def _boxes(array: zarr.Array[Any], moves: Moves) -> Iterator[tuple[slice, ...]]:
    """Yield what each object holds that is written."""
    firsts = (moves.first, *(0 for _ in array.shape[1:]))
    spans = zip(firsts, array.shape, _object_shape(array), strict=True)
    yield from product(*(list(_cut(*span)) for span in spans))


def _cut(first: int, end: int, size: int) -> Iterator[slice]:
    """Cut positions where objects end."""
    while first < end:
        stop = min((first // size + 1) * size, end)
        yield slice(first, stop)
        first = stop


def _gathered(
    old: zarr.Array[Any], box: tuple[slice, ...], moves: Moves, fill: Any
) -> np.ndarray[Any, Any]:
    """Read what an object gets, in the stored dtype; fill where there is nothing."""
    along, *others = box
    sources = moves.sources[along]
    values = np.full([s.stop - s.start for s in box], fill, old.dtype)
    known = np.flatnonzero(sources >= 0)
    if known.size:
        start, stop = int(sources[known].min()), int(sources[known].max()) + 1
        read = np.asarray(old[(slice(start, stop), *others)])
        values[known] = read[sources[known] - start]
    return values


# -- where the first positions go -----------------------------------------------------------------


def _check_shifts(repository: RepositoryAt) -> None:
    if not hasattr(icechunk.Session, "shift_array"):
        raise ValueError(
            f"Icechunk {icechunk.__version__} cannot shift the arrays of {repository.url}: all "
            "that is kept would have to be rewritten. Install Icechunk 2 where gridmill "
            "retain runs (pip install 'icechunk>=2', on Python 3.12 or newer); the archive keeps "
            "its format, and who reads or updates it may stay with Icechunk 1.1 where that is 1"
        )


def _drop_first(
    before: Any, session: icechunk.Session, name: str, array: Array, moves: Moves
) -> None:
    """Let an array begin where its first positions end."""
    axis = array["dimension_names"].index(moves.dim)
    shape, size = list(array["shape"]), array["chunk_grid"]["configuration"]["chunk_shape"][axis]
    shape[axis] -= moves.dropped
    resized = content_of({**array, "shape": shape})
    if moves.dropped % size == 0:
        offsets = [0] * len(shape)
        offsets[axis] = -(moves.dropped // size)
        session.shift_array(f"/{name}", offsets)  # type: ignore[attr-defined]
        put(session.store, f"{name}/{ROOT}", resized)
        return
    # A coordinate, whose objects are longer than a region.
    kept = tuple(slice(moves.dropped if n == axis else 0, None) for n in range(len(shape)))
    values = zarr.open_array(before, path=name, mode="r", zarr_format=3)[kept]
    for key in _objects(session, name):
        sync(session.store.delete(key))
    put(session.store, f"{name}/{ROOT}", resized)
    zarr.open_array(session.store, path=name, mode="r+", zarr_format=3)[...] = values
