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
        labels, starts, ends = expected.numbers(axis.units, axis.calendar)
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
