"""Compares the labels of a source file with those of the place that it fills. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gridmill.sources.evidence.expected import (
    LEAD_UNITS,
    ExpectedAxis,
    NotAsPromised,
    Promise,
    if_meant,
)
from gridmill.sources.evidence.labels.fields import kind_of, turned_fields
from gridmill.sources.evidence.observed import Axis, Evidence, Field
from gridmill.sources.evidence.units import are_same, convert, is_convertible

__all__ = [
    "check_scalars",
    "has_labels_of",
    "is_of",
    "orders_of",
    "position_of",
    "positions_in",
    "positions_of",
]

Values = np.ndarray[Any, Any]

# Of a step between two labels: float32 and float64 of one grid differ by less.
TOLERANCE = 0.01
# What members and leads are called.
MEMBERS = ("realization", "ensemble_member", "number", "member", "ensemble")
LEADS = ("forecast_period", "lead_time", "step", "leadtime", "lead")


def check_scalars(evidence: Evidence, promise: Promise) -> None:
    """Compare coordinates of one value with the label that the file fills, by their names.

    Raises
    ------
    NotAsPromised
        One is another.
    """
    for dim, expected in promise.axes.items():
        axis = _scalar(evidence, dim)
        if axis is None or dim == promise.append_dim or dim in promise.unchecked:
            continue
        if expected.labels.ndim:
            continue
        _order_of_text(axis, dim, expected)
        if not expected.is_number:
            continue
        found = _numbers(axis, expected)
        if found is not None and found.size == 1 and not _near(found.ravel(), expected).all():
            raise NotAsPromised(
                f"its {axis.name} is {found.flat[0]:g}, and it is to fill {expected.labels}"
                f"{if_meant(dim)}"
            )


def _scalar(evidence: Evidence, dim: str) -> Axis | None:
    """Return the coordinate of one value that says a file's label of a dim."""
    if dim in evidence.scalars:
        return evidence.scalars[dim]
    for axis in evidence.axes:
        if axis.name == dim and axis.values is not None and axis.values.size == 1:
            return axis
    names = next((names for names in (MEMBERS, LEADS) if dim in names), ())
    for axis in evidence.scalars.values():
        is_called = axis.name in names and axis.standard_name is None
        if names and (axis.standard_name == names[0] or is_called):
            return axis
    return None


def position_of(evidence: Evidence, dim: str, promise: Promise) -> tuple[int | None] | None:
    """Return which position along a dim a file's label of one value says.

    A position of None where it is none of the archive's; None where the file says nothing.
    """
    axis, expected = _scalar(evidence, dim), promise.axes[dim]
    if axis is None or dim == promise.append_dim or dim in promise.unchecked:
        return None
    if _is_text(expected.labels) and axis.values is not None and _is_text(axis.values):
        found = np.array([label == axis.values.flat[0] for label in expected.labels.ravel()])
    else:
        try:
            numbers = _numbers(axis, expected) if expected.is_number else None
        except NotAsPromised:
            return (None,)
        if numbers is None or numbers.size != 1:
            return None
        found = _near(numbers.ravel(), expected)
    return (int(found.argmax()) if found.any() else None,)


def positions_of(axis: Axis, dim: str, promise: Promise) -> Values | None:
    """Return which position along a dim each label of a file's axis is; -1 for none of them.

    None where one of the two says no labels, or they may differ.
    """
    both = _comparable(axis, dim, promise)
    return None if both is None else _positions(*both)


def positions_in(axis: Axis, dim: str, promise: Promise) -> Values | None:
    """Return which position in a file's axis each label of a dim is.

    None where one of the two says no labels, they may differ, or one is not in the file.
    """
    both = _comparable(axis, dim, promise)
    positions = None if both is None else _positions(both[1], both[0], both[2])
    return None if positions is None or (positions < 0).any() else positions


def _comparable(axis: Axis, dim: str, promise: Promise) -> tuple[Values, Values, bool] | None:
    """Return a file's labels, a dim's in the same units, and whether they are longitudes."""
    expected = promise.axes[dim]
    if axis.values is None or dim == promise.append_dim or dim in promise.unchecked:
        return None
    if _is_text(expected.labels) and _is_text(axis.values):
        return axis.values.ravel(), expected.labels.ravel(), False
    try:
        found = _numbers(axis, expected) if expected.is_number and expected.labels.size else None
    except NotAsPromised:
        return None
    if found is None:
        return None
    return found.ravel(), np.asarray(expected.labels, "float64").ravel(), expected.is_longitude


def _positions(labels: Values, others: Values, is_longitude: bool) -> Values:
    """Return which of others each label is; -1 for none of them."""
    if _is_text(others):
        known = {str(label).rstrip(): at for at, label in enumerate(others)}
        return np.array([known.get(str(label).rstrip(), -1) for label in labels], int)
    tolerance = _tolerance(others)
    if is_longitude:
        labels, others = ((of + tolerance) % 360 for of in (labels, others))
    order = np.argsort(others)
    after = np.searchsorted(others[order], labels).clip(max=others.size - 1)
    sides = order[np.stack([np.maximum(after - 1, 0), after])]
    apart = np.abs(others[sides] - labels)
    nearest = np.take_along_axis(sides, apart.argmin(axis=0)[None], axis=0)[0]
    return np.where(apart.min(axis=0) <= tolerance, nearest, -1)


def has_labels_of(evidence: Evidence, other: Evidence) -> bool:
    """Whether two variables have the same labels: of dims of several positions, and of two dims."""
    ours, theirs = (list(_labels(one)) for one in (evidence, other))
    return len(ours) == len(theirs) and all(
        (one.name, one.units, one.standard_name) == (of.name, of.units, of.standard_name)
        and _are_alike(one.values, of.values)
        for one, of in zip(ours, theirs, strict=True)
    )


def _labels(evidence: Evidence) -> Iterator[Axis | Field]:
    shape = evidence.values.shape
    yield from (axis for axis, n in zip(evidence.axes, shape, strict=True) if n > 1)
    yield from evidence.fields


def _are_alike(first: Values | None, second: Values | None) -> bool:
    if first is None or second is None:
        return first is second
    is_float = first.dtype.kind == second.dtype.kind == "f"
    return np.array_equal(first, second, equal_nan=is_float)


def is_of(axis: Axis, dim: str, promise: Promise) -> bool:
    """Whether a file's axis is that of a dim, by its name or what it stands for."""
    expected = promise.axes[dim]
    if axis.name == dim or (axis.is_time and dim == promise.append_dim):
        return True
    ours = kind_of(dim, expected.standard_name, expected.units)
    theirs = kind_of(axis.name, axis.standard_name, axis.units)
    is_same = axis.standard_name is not None and axis.standard_name == expected.standard_name
    is_called = any(axis.name in names and dim in names for names in (MEMBERS, LEADS))
    return is_same or is_called or (ours is not None and ours == theirs)


def orders_of(evidence: Evidence, values: Values, promise: Promise) -> dict[int, np.ndarray]:
    """Return by axis of the values where each label is in the file, where that is elsewhere.

    Raises
    ------
    NotAsPromised
        The file has other labels.
    """
    dims = promise.dims
    axes = [axis for axis, n in zip(evidence.axes, evidence.values.shape, strict=True) if n > 1]
    along = [number for number, n in enumerate(values.shape) if n > 1]
    lengths = [n for n in evidence.values.shape if n > 1]
    if len(dims) != values.ndim or lengths != [values.shape[number] for number in along]:
        return {}  # the author's code took a part, or put several together
    orders: dict[int, np.ndarray] = {}
    for axis, number in zip(axes, along, strict=True):
        dim = dims[number]
        expected = promise.axes[dim]
        if dim == promise.append_dim or dim in promise.unchecked:
            continue
        if (order := _order_of_text(axis, dim, expected)) is not None:
            orders[number] = order
        if not expected.is_number:
            continue
        found = _numbers(axis, expected)
        if found is None or _near(found, expected).all():
            continue
        order = _order(found, expected)
        if order is None:
            raise NotAsPromised(_differs(axis, found, dim, expected) + if_meant(dim))
        orders[number] = order
    at = {axis.name: number for axis, number in zip(axes, along, strict=True)}
    others, name, why = turned_fields(evidence.fields, at, orders, promise)
    if why:
        raise NotAsPromised(why + if_meant(name))
    return orders | others


def _numbers(axis: Axis, expected: ExpectedAxis) -> Values | None:
    """Return a file's labels in the archive's units; None if it has none that are numbers."""
    if axis.values is None or axis.values.dtype.kind not in "iuf" or axis.is_time:
        return None
    if axis.units is None and expected.units == LEAD_UNITS:
        return None  # hours, or seconds: who knows
    if are_same(axis.units, expected.units):
        return np.asarray(axis.values, "float64")
    units, wanted = str(axis.units), str(expected.units)
    if not is_convertible(units, wanted):
        raise NotAsPromised(f"its {axis.name} is in {units!r}, and {expected.whose} in {wanted!r}")
    return convert(axis.values, units, wanted)


def _near(found: Values, expected: ExpectedAxis) -> Any:
    labels = np.asarray(expected.labels, "float64").ravel()
    apart = np.abs(found - labels)
    if expected.is_longitude:
        apart = np.abs((found - labels + 180) % 360 - 180)
    return apart <= _tolerance(labels)


def _tolerance(labels: Values) -> float:
    steps = np.abs(np.diff(labels))
    step = float(steps[steps > 0].min()) if (steps > 0).any() else 0.0
    single = float(np.finfo("float32").eps) * float(np.abs(labels).max(initial=0.0))
    return max(TOLERANCE * step, single, 1e-9)


def _order(found: Values, expected: ExpectedAxis) -> np.ndarray | None:
    """Return where each of the archive's labels is in the file; None if one is not there."""
    labels = np.asarray(expected.labels, "float64")
    tolerance = _tolerance(labels)
    if expected.is_longitude:
        found, labels = ((of + tolerance) % 360 for of in (found, labels))
    ours, theirs = np.argsort(labels), np.argsort(found)
    if not (np.abs(labels[ours] - found[theirs]) <= tolerance).all():
        return None
    order = np.empty(labels.size, int)
    order[ours] = theirs
    return order


def _is_text(labels: Values) -> bool:
    return labels.size > 0 and isinstance(labels.flat[0], str)


def _order_of_text(axis: Axis, dim: str, expected: ExpectedAxis) -> np.ndarray | None:
    """Return where each label of text is in the file; None if it says none, or lies in order."""
    if axis.values is None or not _is_text(axis.values) or not _is_text(expected.labels):
        return None
    found, labels = (
        [str(label).rstrip() for label in of.ravel()] for of in (axis.values, expected.labels)
    )
    if found == labels or (axis.is_auxiliary and not set(found) & set(labels)):
        return None  # all others beside a dimension are other names of the same
    if sorted(found) != sorted(labels):
        raise NotAsPromised(
            f"its {axis.name} is {', '.join(found)}, and {expected.whose} {dim} is "
            f"{', '.join(labels)}{if_meant(dim)}"
        )
    return np.array([found.index(label) for label in labels])


def _differs(axis: Axis, found: Values, dim: str, expected: ExpectedAxis) -> str:
    at = int(np.flatnonzero(~_near(found, expected))[0])
    labels = expected.labels
    return (
        f"its {axis.name} goes from {found[0]:g} to {found[-1]:g}, and {expected.whose} {dim} from "
        f"{labels[0]:g} to {labels[-1]:g}: position {at} is {found[at]:g}, not {labels[at]:g}"
    )
