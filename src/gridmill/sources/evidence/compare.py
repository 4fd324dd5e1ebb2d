"""Compares what a source file says of itself with the place that it is to fill.

What is another order of the same labels, or other units of the same quantity, is converted, and
said. What differs otherwise is an error that names both: to publish it would be to publish values
of another place, time or quantity.

An author's `read_data` may have done more than read: turned a field, converted it, or chosen a part
of it. In which order its values lie, they show themselves (`made`), or the file is refused; they
are in the file's units where they are what was read. Of a part only the time is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridmill.sources.evidence.dates import (
    are_same_calendar,
    as_numbers,
    as_text,
    calendar_of,
    seconds_in,
)
from gridmill.sources.evidence.expected import LEAD_UNITS, ExpectedAxis, Promise
from gridmill.sources.evidence.fields import turned_fields
from gridmill.sources.evidence.made import Read, is_as_in_file, is_same, turned
from gridmill.sources.evidence.observed import Axis, Evidence
from gridmill.sources.evidence.units import are_same, convert, is_convertible

__all__ = ["NO_TIME", "UNTOLD", "NotAsPromised", "compare"]

Values = np.ndarray[Any, Any]

# Of a step between two labels: float32 and float64 of one grid differ by less.
TOLERANCE = 0.01
NO_TIME = "without a time of their own to compare with their place"
# What a reader did not tell of a format that says it.
UNTOLD = (
    "not compared with their place: read_netcdf, read_xarray and read_h5py tell what netCDF and "
    "HDF5 files say"
)


class NotAsPromised(ValueError):  # noqa: N818
    """A source file holds another grid, time or quantity than its place needs."""


def compare(seen: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    """Check what was read against the place that it fills; convert what is only told otherwise.

    Parameters
    ----------
    seen
        What readers told; what nobody told is not checked.
    values
        What is to be stored, with the dims `Promise.dims`; changed in place.
    promise
        What the file should hold.

    Returns
    -------
    list of str
        What was converted, or could not be compared: the same words for every such file.

    Raises
    ------
    NotAsPromised
        The file holds something else; both are named.
    """
    remarks: list[str] = []
    for evidence in seen:
        if promise.time is not None:
            axis = _time_of(evidence, promise.append_dim, promise.time)
            if axis is None or axis.values is None:
                remarks.append(NO_TIME)
            else:
                _check_time(axis, axis.values, promise.append_dim, promise.time)
        _check_scalars(evidence, promise)
    orders = [_orders(evidence, values, promise) for evidence in seen]
    whole = [one for one in zip(seen, orders, strict=True) if one[0].values.size == values.size]
    read = [Read(one.values.reshape(values.shape), of) for one, of in whole]
    remarks += _put_in_order([one for one, _ in whole], read, values, promise)
    return remarks + _converted([one for one, _ in whole], read, values, promise)


# -- time -------------------------------------------------------------------------------------


def _check_time(axis: Axis, values: Values, dim: str, expected: ExpectedAxis) -> None:
    """Raise unless the time that a file says is that of its place.

    Of several times that fill one position (the hours of a daily mean) one has to be of it. Where
    the author's code chose from them otherwise, nobody knows which is whose.
    """
    if values.size not in (0, expected.labels.size) and expected.labels.size != 1:
        return
    found = np.ravel(np.asarray(values, "float64"))
    ours = calendar_of(expected.labels)
    if not are_same_calendar(axis.calendar, ours):
        raise NotAsPromised(
            f"its {axis.name} is of calendar {axis.calendar or 'standard'!r}, and the archive's of "
            f"{ours!r}{_if_meant(dim)}"
        )
    fits = _fit_in(found, axis, expected)
    wrong = np.flatnonzero(~fits)
    if wrong.size and (found.size == expected.labels.size or not fits.any()):
        at = int(wrong[0])
        when = as_text(found[at], axis.units, axis.calendar)
        label = str(expected.labels.flat[min(at, expected.labels.size - 1)])[:16].replace("T", " ")
        raise NotAsPromised(
            f"its {axis.name} is {when}, and it is to fill {label}, which reaches to the next "
            f"label; declare bounds where that is not so{_if_meant(dim)}"
        )


def _fit_in(found: Values, axis: Axis, expected: ExpectedAxis) -> Values:
    """Whether each time is its label, lies in what that stands for, or has bounds that hold it."""
    try:
        labels, starts, ends = (
            as_numbers(np.ravel(np.asarray(of)), axis.units, axis.calendar)
            for of in (expected.labels, expected.starts, expected.ends)
        )
    except ValueError as error:
        raise NotAsPromised(
            f"its {axis.name} is in {axis.units!r}, by which {expected.labels.flat[0]} cannot be "
            f"told ({error})"
        ) from error
    near = 1.0 / seconds_in(axis.units)
    fits = np.abs(found - labels) <= near
    fits |= (found >= starts - near) & (found < ends - near)
    if axis.bounds is not None and axis.bounds.size == 2 * found.size:
        low, high = np.asarray(axis.bounds, "float64").reshape(-1, 2).T
        fits |= (labels >= low - near) & (labels <= high + near)
    return np.asarray(fits)


def _if_meant(name: str) -> str:
    """Return the next step where a file is right and the template speaks of something else."""
    return f"; add {name!r} to unchecked if that is meant"


def _time_of(evidence: Evidence, dim: str, expected: ExpectedAxis) -> Axis | None:
    """Return the coordinate of a file that says the time which the archive appends along."""
    times = [a for a in (*evidence.axes, *evidence.scalars.values()) if a.is_time]
    wanted = expected.standard_name or ("time" if dim == "time" else None)
    for axis in times:
        if axis.name == dim:
            return axis
    named = [axis for axis in times if wanted is not None and axis.standard_name == wanted]
    if not named and wanted == "time":
        named = [a for a in times if a.standard_name is None and a.name in ("time", "valid_time")]
    return named[0] if len(named) == 1 else None


# -- labels -----------------------------------------------------------------------------------


def _check_scalars(evidence: Evidence, promise: Promise) -> None:
    """Compare coordinates of one value with the label that the file fills, by their names."""
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
                f"{_if_meant(dim)}"
            )


# What members and leads are called.
MEMBERS = ("realization", "ensemble_member", "number", "member", "ensemble")
LEADS = ("forecast_period", "lead_time", "step", "leadtime", "lead")


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


def _orders(evidence: Evidence, values: Values, promise: Promise) -> dict[int, np.ndarray]:
    """Return by axis of the values where each label is in the file, where that is elsewhere."""
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
            raise NotAsPromised(_differs(axis, found, dim, expected) + _if_meant(dim))
        orders[number] = order
    at = {axis.name: number for axis, number in zip(axes, along, strict=True)}
    others, name, why = turned_fields(evidence.fields, at, orders, promise)
    if why:
        raise NotAsPromised(why + _if_meant(name))
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
            f"{', '.join(labels)}{_if_meant(dim)}"
        )
    return np.array([found.index(label) for label in labels])


def _differs(axis: Axis, found: Values, dim: str, expected: ExpectedAxis) -> str:
    at = int(np.flatnonzero(~_near(found, expected))[0])
    labels = expected.labels
    return (
        f"its {axis.name} goes from {found[0]:g} to {found[-1]:g}, and {expected.whose} {dim} from "
        f"{labels[0]:g} to {labels[-1]:g}: position {at} is {found[at]:g}, not {labels[at]:g}"
    )


# -- values -----------------------------------------------------------------------------------


def _put_in_order(
    seen: Sequence[Evidence], read: Sequence[Read], values: Values, promise: Promise
) -> list[str]:
    """Put values into the archive's order, unless the author's code did."""
    orders = next((one.orders for one in read if one.orders), None)
    if orders is None:
        return []
    names = [promise.dims[number] for number in orders]
    is_as_read = is_as_in_file(values, read)
    if is_as_read is None:
        variables = " and ".join(dict.fromkeys(one.variable for one in seen))
        raise NotAsPromised(
            f"its {variables} lies with {' and '.join(names)} in another order than the archive, "
            "and of what read_data made of it the values do not show in which order they are; "
            "return them in the archive's order, whichever the file has, and add "
            f"{', '.join(map(repr, names))} to unchecked"
        )
    if not is_as_read:
        return []
    values[...] = turned(values, orders)
    return [f"read with {' and '.join(names)} in another order, and turned"]


def _converted(
    seen: Sequence[Evidence], read: Sequence[Read], values: Values, promise: Promise
) -> list[str]:
    """Put values that are what was read into the archive's units."""
    if "units" in promise.unchecked or all(are_same(one.units, promise.units) for one in seen):
        return []
    same = [e for e, of in zip(seen, read, strict=True) if is_same(values, of.turned)]
    if not same or len({one.units for one in same}) > 1:
        return []  # of what was calculated, the author's code knows the units
    variable, units, wanted = same[0].variable, str(same[0].units), str(promise.units)
    if are_same(same[0].units, promise.units):
        return []
    if not is_convertible(units, wanted):
        raise NotAsPromised(
            f"its {variable} is in {units!r}, and the archive's in {wanted!r}{_if_meant('units')}"
        )
    if values.dtype.kind != "f":
        raise NotAsPromised(
            f"its {variable} is in {units!r}, and the archive's in {wanted!r}: whole numbers "
            f"({values.dtype}) are not converted; declare the file's units, or a floating-point "
            "dtype"
        )
    with np.errstate(over="raise"):
        values[...] = convert(values, units, wanted)
    return [f"read with {variable} in {units!r}, converted to {wanted!r}"]
