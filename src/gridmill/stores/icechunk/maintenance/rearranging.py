"""Positions that are taken in between others: values, coordinates and lengths in one commit."""

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
from gridmill.stores.icechunk.keys import get, keys_below, write_metadata
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.publication import commit
from gridmill.stores.icechunk.repository import RepositoryAt
from gridmill.stores.icechunk.uploads import merged_in
from gridmill.stores.metadata import ROOT

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
    """

    def once() -> None:
        repo = repository.open()
        session = repo.writable_session(repository.branch)
        before = repo.readonly_session(snapshot_id=session.snapshot_id).store
        write_metadata(session.store, folder)
        receipts = {name: tuple(_move(before, session, name, moves)) for name in moves.arrays}
        prepared(receipts)
        # What moved is no upload any more.
        held = merged_in(repo, repository.branch).items()
        merged = {name: of for name, of in held if _is_before(name, moves)}
        commit(repo, session, message, merged)

    patiently(once)


def _is_before(region: str, moves: Moves) -> bool:
    return not region.isdigit() or int(region) < moves.first


def _move(
    before: Any, session: icechunk.Session, name: str, moves: Moves
) -> Iterator[ObjectReceipt]:
    """Write an array anew from the first region on that changes, and yield its objects."""
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
