"""Compares the time that a source file says with that of its place. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridmill.sources.evidence.dates import (
    are_same_calendar,
    as_text,
    calendar_of,
    seconds_in,
)
from gridmill.sources.evidence.expected import ExpectedAxis, NotAsPromised, Promise, if_meant
from gridmill.sources.evidence.observed import Axis, Evidence

__all__ = ["check_time", "position_in_time", "time_of"]

Values = np.ndarray[Any, Any]


def check_time(axis: Axis, values: Values, dim: str, expected: ExpectedAxis) -> None:
    """Raise unless the time that a file says is that of its place.

    Of several times that fill one position (the hours of a daily mean) one has to be of it. Where
    the author's code chose from them otherwise, nobody knows which is whose.

    Raises
    ------
    NotAsPromised
        It is another.
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
        when = as_text(found[at], axis.units, axis.calendar)
        label = str(expected.labels.flat[min(at, expected.labels.size - 1)])[:16].replace("T", " ")
        raise NotAsPromised(
            f"its {axis.name} is {when}, and it is to fill {label}, which reaches to the next "
            f"label; declare bounds where that is not so{if_meant(dim)}"
        )


def _fit_in(found: Values, axis: Axis, expected: ExpectedAxis) -> Values:
    """Whether each time is its label, lies in what that stands for, or has bounds that hold it."""
    try:
        labels, starts, ends = expected.numbers(axis.units, axis.calendar)
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


def time_of(evidence: Evidence, dim: str, expected: ExpectedAxis) -> Axis | None:
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


def position_in_time(evidence: Evidence, promise: Promise) -> tuple[int | None] | None:
    """Return which position along the append dim a file's one time says.

    A position of None where it is none of the place's; None where the file says nothing.
    """
    expected = promise.time
    if expected is None or not expected.labels.size:
        return None
    axis = time_of(evidence, promise.append_dim, expected)
    if axis is None or axis.values is None or axis.values.size != 1:
        return None
    if not are_same_calendar(axis.calendar, calendar_of(expected.labels)):
        return (None,)
    fits = np.flatnonzero(_fit_in(np.ravel(np.asarray(axis.values, "float64")), axis, expected))
    return (int(fits[0]) if fits.size else None,)
