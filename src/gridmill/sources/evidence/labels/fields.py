"""Compares a file's coordinates of two dims, of curvilinear grids, with the template's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from gridmill.sources.evidence.expected import ExpectedAxis, Promise
from gridmill.sources.evidence.observed import Field

__all__ = ["kind_of", "turned_fields"]

Values = np.ndarray[Any, Any]
# Of the distance between neighbours.
TOLERANCE = 0.01
KINDS = {
    "latitude": ("degrees_north", "degree_north", "degreesN", "degreeN"),
    "longitude": ("degrees_east", "degree_east", "degreesE", "degreeE"),
}


def turned_fields(
    fields: Sequence[Field],
    at: Mapping[str, int],
    orders: Mapping[int, Values],
    promise: Promise,
) -> tuple[dict[int, Values], str, str]:
    """Return along which axes a file's grid runs the other way, or what is wrong with it.

    Parameters
    ----------
    fields
        What the file says.
    at
        By name of a file's dim, the axis of the values.
    orders
        By axis, where each label is in the file, as coordinates of one dim say.
    promise
        What the file should hold.

    Returns
    -------
    dict
        By axis, where each position is in the file.
    str, str
        Name of the template's coordinate that the file contradicts, and how; empty if none.
    """
    pairs = list(_pairs(fields, at, orders, promise))
    axes = sorted({axis for of in pairs for axis in of[0]})
    for flips in product((False, True), repeat=len(axes)):
        turned = {axis for axis, is_turned in zip(axes, flips, strict=True) if is_turned}
        if all(_is_near(_flipped(found, of, turned), there) for of, found, _, there in pairs):
            lengths = {axis: n for of, v, *_ in pairs for axis, n in zip(of, v.shape, strict=True)}
            return {axis: np.arange(lengths[axis])[::-1] for axis in turned}, "", ""
        if orders:  # these coordinates have to agree with those of one dim
            break
    _, found, name, there = next(one for one in pairs if not _is_near(one[1], one[3]))
    return {}, name, _differs(found, name, there)


Pair = tuple[tuple[int, int], Values, str, ExpectedAxis]


def _pairs(
    fields: Sequence[Field],
    at: Mapping[str, int],
    orders: Mapping[int, Values],
    promise: Promise,
) -> Iterator[Pair]:
    """Yield axes, what a file says, and the name and labels of what the template says."""
    dims = promise.dims
    for field in fields:
        if not set(field.dims) <= set(at):
            continue
        axes = at[field.dims[0]], at[field.dims[1]]
        ours = dims[axes[0]], dims[axes[1]]
        for name, expected in promise.fields.items():
            is_meant = {name, *ours} & promise.unchecked
            kind = kind_of(name, expected.standard_name, expected.units)
            same = kind is not None and kind == kind_of(
                field.name, field.standard_name, field.units
            )
            if not same or is_meant or set(expected.dims) != set(ours):
                continue
            labels = expected.labels if expected.dims == ours else expected.labels.T
            found = field.values
            for number, axis in enumerate(axes):
                if axis in orders:
                    found = np.take(found, orders[axis], axis=number)
            if found.shape == labels.shape:
                units = KINDS[kind][0] if kind else None
                there = ExpectedAxis(labels=labels, units=units, whose=expected.whose)
                yield axes, found, name, there


def kind_of(name: str, standard_name: str | None, units: str | None) -> str | None:
    """Return which of `KINDS` a coordinate is; None if it is neither."""
    for kind, theirs in KINDS.items():
        if standard_name == kind or units in theirs:
            return kind
    return next((kind for kind in KINDS if name.lower() in (kind, kind[:3])), None)


def _flipped(found: Values, axes: tuple[int, int], turned: set[int]) -> Values:
    return np.flip(found, tuple(number for number, axis in enumerate(axes) if axis in turned))


def _is_near(found: Values, expected: ExpectedAxis) -> bool:
    apart = _apart(found, expected.labels, expected)
    # Of the same grid no more than rounding: what steps allow takes longer than all the rest.
    if not (apart > _rounding(expected.labels)).any():
        return True
    return not bool((apart > _tolerance(expected)).any())


def _apart(one: Values, other: Values, expected: ExpectedAxis) -> Values:
    """Return how far labels are apart; NaN where one of them says nothing."""
    apart: Values = np.abs(np.asarray(one, "float64") - other)
    if expected.is_longitude and (apart > 180).any():
        apart = np.abs((apart + 180) % 360 - 180)
    return apart


def _tolerance(expected: ExpectedAxis) -> float:
    labels = expected.labels
    steps = [
        float(np.nanmedian(step)) if step.size and not np.isnan(step).all() else 0.0
        for step in (
            _apart(labels[1:], labels[:-1], expected),
            _apart(labels[:, 1:], labels[:, :-1], expected),
        )
    ]
    return max(TOLERANCE * max(steps), _rounding(labels))


def _rounding(labels: Values) -> float:
    """Return what rounding to single precision does to labels, some times over."""
    return 4 * float(np.finfo("float32").eps) * float(np.nanmax(np.abs(labels), initial=0.0))


def _differs(found: Values, name: str, expected: ExpectedAxis) -> str:
    apart = np.nan_to_num(_apart(found, expected.labels, expected))
    at = np.unravel_index(int(np.argmax(apart)), apart.shape)
    where = ", ".join(str(int(one)) for one in at)
    return (
        f"its {name} at point ({where}) is {found[at]:g}, and {expected.whose} "
        f"{float(expected.labels[at]):g}"
    )
