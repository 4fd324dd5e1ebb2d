"""Compares what an author's code took of what was read with the place that it fills.

Whatever the labels of the archive are in the file, there its values should lie; if they do not, the
values show which others were taken, as long as those lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from gridmill.sources.evidence.made import Read, is_made_of, is_same
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.parts.places import as_index, axes_that_fit, lying, stored_as
from gridmill.sources.evidence.times import check_time, time_of

__all__ = ["compare_chosen"]

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
    if values.shape != tuple(promise.axes[dim].labels.size for dim in promise.dims):
        return []
    for evidence in seen:
        if evidence.values.size > values.size:
            part = _part_of(evidence, values, promise)
            if part is not None:
                return _compare(part, values, promise)
    return []


def _compare(part: Evidence, values: Values, promise: Promise) -> list[str]:
    if promise.time is not None:
        axis = time_of(part, promise.append_dim, promise.time)
        if axis is not None and axis.values is not None:
            check_time(axis, axis.values, promise.append_dim, promise.time)
    check_scalars(part, promise)
    read = [Read(part.values.reshape(values.shape), orders_of(part, values, promise))]
    return put_in_order([part], read, values, promise) + converted([part], read, values, promise)


def _part_of(evidence: Evidence, values: Values, promise: Promise) -> Evidence | None:
    """Return what was read of the part that values are; None if they are none.

    Of several that are alike the one that is promised.
    """
    shape = [n for n in values.shape if n > 1]
    dims = [dim for dim, n in zip(promise.dims, values.shape, strict=True) if n > 1]
    along = _along(evidence, shape, dims, promise)
    if along is None or not shape:
        return None
    if (labelled := _labelled(evidence, along, dims, promise)) is not None:
        there = labelled.values.reshape(values.shape)
        if is_same(values, there) or (values.dtype.kind == "f" and is_made_of(values, there)):
            return labelled
    raw = stored_as(evidence.values, values.dtype)
    places = lying(values.squeeze(), raw, along)
    parts = [_taken(evidence, tuple(as_index(at) for at in place)) for place in places]
    return next((part for part in parts if _is_promised(part, values, promise)), None) or next(
        iter(parts), None
    )


def _is_promised(part: Evidence, values: Values, promise: Promise) -> bool:
    try:
        _compare(part, values.copy(), promise)
    except NotAsPromised:
        return False
    return True


def _along(
    evidence: Evidence, shape: Sequence[int], dims: Sequence[str], promise: Promise
) -> tuple[int, ...] | None:
    """Return along which axes of what was read values may lie; None if that is unclear."""
    fits = axes_that_fit(shape, evidence.values.shape)
    meant = [
        sum(is_of(evidence.axes[at], dim, promise) for at, dim in zip(along, dims, strict=True))
        for along in fits
    ]
    best = [along for along, of in zip(fits, meant, strict=True) if of == max(meant)]
    return best[0] if len(best) == 1 else None


def _labelled(
    evidence: Evidence, along: Sequence[int], dims: Sequence[str], promise: Promise
) -> Evidence | None:
    """Return the part of which the labels are the archive's; None where the file does not say."""
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
    return _taken(evidence, tuple(taken))


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
