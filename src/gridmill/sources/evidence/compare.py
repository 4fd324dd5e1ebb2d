"""Compares what a source file says of itself with the place that it is to fill.

What is another order of the same labels, or other units of the same quantity, is converted, and
said. What differs otherwise is an error that names both: to publish it would be to publish values
of another place, time or quantity.

An author's `read_data` may have done more than read: turned a field, converted it, or chosen a part
of it. In which order its values lie, they show themselves (`made`), or the file is refused; they
are in the file's units where they are what was read. Pieces that it put together are compared
where they lie (`pieces`); of a part only the time is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import converted, put_in_order
from gridmill.sources.evidence.dates import (
    are_same_calendar,
    as_numbers,
    as_text,
    calendar_of,
    seconds_in,
)
from gridmill.sources.evidence.expected import ExpectedAxis, NotAsPromised, Promise, if_meant
from gridmill.sources.evidence.labels.along import check_scalars, orders_of
from gridmill.sources.evidence.labels.valid import check_valid_time
from gridmill.sources.evidence.made import Read
from gridmill.sources.evidence.observed import Axis, Evidence
from gridmill.sources.evidence.pieces import compare_pieces

__all__ = ["NO_TIME", "UNTOLD", "NotAsPromised", "compare"]

Values = np.ndarray[Any, Any]

NO_TIME = "without a time of their own to compare with their place"
# What a reader did not tell of a format that says it.
UNTOLD = (
    "not compared with their place: read_netcdf, read_xarray and read_h5py tell what netCDF and "
    "HDF5 files say"
)


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
            is_told = check_valid_time(evidence, promise, axis)
            if axis is not None and axis.values is not None:
                _check_time(axis, axis.values, promise.append_dim, promise.time)
            elif not is_told:
                remarks.append(NO_TIME)
        check_scalars(evidence, promise)
    orders = [orders_of(evidence, values, promise) for evidence in seen]
    whole = [one for one in zip(seen, orders, strict=True) if one[0].values.size == values.size]
    if not whole:
        return remarks + compare_pieces(seen, values, promise)
    read = [Read(one.values.reshape(values.shape), of) for one, of in whole]
    remarks += put_in_order([one for one, _ in whole], read, values, promise)
    return remarks + converted([one for one, _ in whole], read, values, promise)


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
            f"{ours!r}{if_meant(dim)}"
        )
    fits = _fit_in(found, axis, expected)
    wrong = np.flatnonzero(~fits)
    if wrong.size and (found.size == expected.labels.size or not fits.any()):
        at = int(wrong[0])
        label = str(expected.labels.flat[min(at, expected.labels.size - 1)])[:16].replace("T", " ")
        reach = "the template's bounds" if expected.is_bounded else "the next label"
        raise NotAsPromised(
            f"its {axis.name} is {_told(found, axis, at)}, and it is to fill {label}, which "
            f"reaches to {reach}; declare bounds where that is not so{if_meant(dim)}"
        )


def _told(found: Values, axis: Axis, at: int) -> str:
    """Say one of the times of a file, and what that stands for where the file says it."""
    bounds = () if axis.bounds is None else np.asarray(axis.bounds, "float64").reshape(-1, 2)
    several = (found[at], *(bounds[at] if len(bounds) == found.size else ()))
    when, *ends = (as_text(float(one), axis.units, axis.calendar) for one in several)
    return f"{when}, of {ends[0]} to {ends[1]}" if ends else when


def _fit_in(found: Values, axis: Axis, expected: ExpectedAxis) -> Values:
    """Whether each time is its label, lies in what that stands for, or has bounds that do.

    Where the template says by bounds what a label stands for, a file's own bounds decide alone.
    """
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
    if axis.bounds is None or axis.bounds.size != 2 * found.size:
        return np.asarray(fits)
    low, high = np.sort(np.asarray(axis.bounds, "float64").reshape(-1, 2), axis=1).T
    # What ends where the place begins is of the one before, however long it is.
    overlaps = (low < ends - near) & (high > starts + near)
    is_moment = starts >= ends - near
    overlaps = np.where(is_moment, (labels >= low - near) & (labels < high - near), overlaps)
    if expected.is_bounded:
        return np.asarray(np.where(high > low, overlaps, fits))
    return np.asarray(fits | overlaps)


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
