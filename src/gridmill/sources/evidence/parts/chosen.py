"""Compares what an author's code took of what was read with the place that it fills.

Whatever the labels of the archive are in the file, there its values should lie; if they do not, the
values show which others were taken: an area, every other row, or a list of positions. What was
calculated of a part shows whether it is that of the archive's labels, or the one that lies in the
same place where a file that was flipped or rolled has others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import converted, put_in_order
from gridmill.sources.evidence.expected import NotAsPromised, Promise
from gridmill.sources.evidence.labels.along import (
    check_scalars,
    is_of,
    orders_of,
    positions_in,
)
from gridmill.sources.evidence.made import (
    MOST_COMPARED,
    Read,
    is_made_of,
    is_rather_of,
    is_same,
    is_varied,
)
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.parts.piece import Piece
from gridmill.sources.evidence.parts.places import (
    as_index,
    at_place,
    axes_that_fit,
    lying,
    picked,
    stored_as,
)
from gridmill.sources.evidence.times import check_time, time_of

__all__ = ["compare_chosen", "is_cut"]

Values = np.ndarray[Any, Any]
# By axis of what was read a position, which drops it, or several.
Taken = tuple[int | slice | Values, ...]


def compare_chosen(seen: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    """Check values that are a part of what was read, as `compare` does with all of it.

    Parameters
    ----------
    seen, values, promise
        See `gridmill.sources.evidence.compare.compare`.

    Returns
    -------
    list of str
        What was converted, each once.

    Raises
    ------
    NotAsPromised
        They were taken from elsewhere.
    """
    if not _has_labels(values, promise):
        return []
    larger = [evidence for evidence in seen if evidence.values.size > values.size]
    for evidence in larger:
        part = _part_of(evidence, values, promise)
        if part is not None:
            return _compare([part], values, promise)
    remarks = _compare_calculated(larger, values, promise)
    return remarks + _compare_stacked(seen, values, promise)


def is_cut(evidence: Evidence, values: Values, promise: Promise) -> bool:
    """Whether what was read is a field of which a part is at each of several places.

    It may have as many values as they have together.
    """
    return _has_labels(values, promise) and _cut_of(evidence, values, promise) is not None


def _has_labels(values: Values, promise: Promise) -> bool:
    return bool(values.shape == tuple(promise.axes[dim].labels.size for dim in promise.dims))


def _compare_stacked(seen: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    """Check what was taken of each of several fields before they were stacked.

    It is looked for where its own labels say that it is, and where it is in turn.
    """
    remarks: dict[str, None] = {}
    cut = [found for one in seen if (found := _cut_of(one, values, promise)) is not None]
    for turn, piece in enumerate(cut):
        lengths = (range(1 if at in piece.along else n) for at, n in enumerate(values.shape))
        places = [
            tuple(None if at in piece.along else one for at, one in enumerate(place))
            for place in product(*lengths)
        ]
        own = [place for place in places if piece.own and piece.is_own(place)]
        for place in dict.fromkeys((*own[:1], places[turn % len(places)])):
            there = at_place(values, place)
            of = piece.promise_at({at: one for at, one in enumerate(place) if one is not None})
            part = _part_of(piece.evidence, there, of)
            if part is not None:
                remarks |= dict.fromkeys(_compare([part], there, of))
                break
    return list(remarks)


def _cut_of(evidence: Evidence, values: Values, promise: Promise) -> Piece | None:
    """Return what was read as a field of which a part is at each of several places.

    None where it is none, or which dims it has is unclear; a coordinate that was read is none.
    """
    if evidence.variable in (axis.name for axis in evidence.axes):
        return None
    along: list[int] = []
    for axis, n in zip(evidence.axes, evidence.values.shape, strict=True):
        fits = [at for at, dim in enumerate(promise.dims) if is_of(axis, dim, promise)]
        if n > 1 and (len(fits) != 1 or n < values.shape[fits[0]]):
            return None
        along += fits if n > 1 else []
    is_cut = evidence.values.size > prod(values.shape[at] for at in along)
    is_one = all(n == 1 for at, n in enumerate(values.shape) if at not in along)
    if not is_cut or is_one or along != sorted(set(along)):
        return None
    return Piece(evidence, tuple(along), values.shape, promise)


def _compare_calculated(seen: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    """Check what was calculated of parts of the same fields.

    What follows those that the labels say is right, and so is what follows no part at all.
    """
    labelled = [_labelled_of(evidence, values, promise) for evidence in seen]
    own = [_taken(one, at) for one, at in zip(seen, labelled, strict=True) if at is not None]
    shapes = {evidence.values.shape for evidence in seen}
    if not own or len(own) < len(seen) or len(shapes) > 1 or not is_varied(values):
        return []
    some = np.linspace(0, values.size - 1, min(MOST_COMPARED, values.size)).astype(int)

    def read(parts: Sequence[Evidence]) -> list[Read]:
        return [Read(part.values.ravel()[some], {}) for part in parts]

    moved = (_moved(at, n) for at, n in zip(labelled[0] or (), *shapes, strict=True))
    for way in product(*moved):
        parts = [_taken(evidence, way) for evidence in seen]
        if is_rather_of(values.ravel()[some], read(parts), read(own)):
            return _compare(parts, values, promise)
    return []


def _moved(at: int | slice | Values, n: int) -> list[int | slice | Values]:
    """Return positions, and those that are in their place where a file is flipped or rolled."""
    if isinstance(at, int | slice):
        return [at]
    return [at, n - 1 - at, (at + n // 2) % n]


def _compare(parts: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    for part in parts:
        if promise.time is not None:
            axis = time_of(part, promise.append_dim, promise.time)
            if axis is not None and axis.values is not None:
                check_time(axis, axis.values, promise.append_dim, promise.time)
        check_scalars(part, promise)
    read = [Read(of.values.reshape(values.shape), orders_of(of, values, promise)) for of in parts]
    return put_in_order(parts, read, values, promise) + converted(parts, read, values, promise)


def _part_of(evidence: Evidence, values: Values, promise: Promise) -> Evidence | None:
    """Return what was read of the part that values are; None if they are none.

    Of several that are alike the one that is promised.
    """
    dims = _dims_of(values, promise)
    along = _along(evidence, values, dims, promise)
    if along is None:
        return None
    if (at := _labelled(evidence, along, dims, promise)) is not None:
        labelled = _taken(evidence, at)
        there = labelled.values.reshape(values.shape)
        if is_same(values, there) or (values.dtype.kind == "f" and is_made_of(values, there)):
            return labelled
    raw = stored_as(evidence.values, values.dtype)
    small = values.squeeze()
    places = [tuple(as_index(at) for at in place) for place in lying(small, raw, along)]
    parts = [_taken(evidence, at) for at in places or picked(small, raw, along)]
    return next((part for part in parts if _is_promised(part, values, promise)), None) or next(
        iter(parts), None
    )


def _labelled_of(evidence: Evidence, values: Values, promise: Promise) -> Taken | None:
    dims = _dims_of(values, promise)
    along = _along(evidence, values, dims, promise)
    return None if along is None else _labelled(evidence, along, dims, promise)


def _dims_of(values: Values, promise: Promise) -> list[str]:
    return [dim for dim, n in zip(promise.dims, values.shape, strict=True) if n > 1]


def _is_promised(part: Evidence, values: Values, promise: Promise) -> bool:
    try:
        _compare([part], values.copy(), promise)
    except NotAsPromised:
        return False
    return True


def _along(
    evidence: Evidence, values: Values, dims: Sequence[str], promise: Promise
) -> tuple[int, ...] | None:
    """Return along which axes of what was read values may lie; None if that is unclear."""
    shape = [n for n in values.shape if n > 1]
    if not shape:
        return None
    fits = axes_that_fit(shape, evidence.values.shape)
    meant = [
        sum(is_of(evidence.axes[at], dim, promise) for at, dim in zip(along, dims, strict=True))
        for along in fits
    ]
    best = [along for along, of in zip(fits, meant, strict=True) if of == max(meant)]
    return best[0] if len(best) == 1 else None


def _labelled(
    evidence: Evidence, along: Sequence[int], dims: Sequence[str], promise: Promise
) -> Taken | None:
    """Return where the labels are the archive's; None where the file does not say."""
    taken: list[int | slice | Values] = [0] * evidence.values.ndim
    for number, n in enumerate(evidence.values.shape):
        if number not in along and n > 1:
            return None  # of which level, the values show
    for number, dim in zip(along, dims, strict=True):
        positions = positions_in(evidence.axes[number], dim, promise)
        n = promise.axes[dim].labels.size
        if positions is None and evidence.values.shape[number] != n:
            return None
        taken[number] = slice(None) if positions is None else positions
    return tuple(taken)


def _taken(evidence: Evidence, taken: Taken) -> Evidence:
    """Return what a file says of a part of what was read."""
    values = evidence.values
    axes, scalars = [], dict(evidence.scalars)
    for number, at in reversed(list(enumerate(taken))):
        values = values[(slice(None),) * number + (at,)]
    for axis, at in zip(evidence.axes, taken, strict=True):
        if isinstance(at, int):
            scalars.setdefault(axis.name, axis.at(at))
        else:
            axes.append(axis.at(at))
    names = {axis.name: at for axis, at in zip(evidence.axes, taken, strict=True)}
    fields = tuple(
        replace(field, values=field.values[names[field.dims[0]]][:, names[field.dims[1]]])
        for field in evidence.fields
        if not any(isinstance(names[dim], int) for dim in field.dims)
    )
    return replace(evidence, values=values, axes=tuple(axes), scalars=scalars, fields=fields)
