"""Compares the time for which a file of a forecast is valid with its start and its leads. Pure.

A file that says neither when its forecast began nor how far ahead it looks mostly says for when it
is: the start and the lead of its place, together.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from gridmill.sources.evidence.dates import (
    are_same_calendar,
    as_numbers,
    as_text,
    calendar_of,
    seconds_in,
)
from gridmill.sources.evidence.expected import (
    LEAD_UNITS,
    ExpectedAxis,
    NotAsPromised,
    Promise,
    if_meant,
)
from gridmill.sources.evidence.labels.along import LEADS, is_of
from gridmill.sources.evidence.observed import Axis, Evidence

__all__ = ["check_valid_time"]

Values = np.ndarray[Any, Any]


def check_valid_time(evidence: Evidence, promise: Promise, start: Axis | None) -> bool:
    """Compare the time for which a file is with the start and the lead of its place.

    Parameters
    ----------
    evidence, promise
        See `gridmill.sources.evidence.compare.compare`.
    start
        The file's time that was compared with the append dim; None if it has none.

    Returns
    -------
    bool
        Whether there was one to compare.

    Raises
    ------
    NotAsPromised
        It is another time.
    """
    dim, axis = _lead_dim(promise), _valid_time(evidence)
    if dim is None or axis is None or axis is start or promise.time is None:
        return False
    found, leads = np.ravel(np.asarray(axis.values, "float64")), promise.axes[dim].labels
    if promise.time.labels.size != 1 or found.size == 0:
        return False
    if leads.size not in (1, found.size):  # the author's code chose, and nobody knows what
        return False
    wanted = _valid_of(promise.time, leads)
    numbers = _as_numbers(wanted, axis)
    fits = _fit(found, numbers, axis)
    is_turned = not fits.all() and _fit(np.sort(found), np.sort(numbers), axis, bounds=False).all()
    if is_turned and any(is_of(one, dim, promise) for one in evidence.axes if not one.is_time):
        return True  # its leads say in which order they lie
    if fits.all() or (leads.size == 1 and fits.any()) or _may_be_start(found, axis, promise.time):
        return True
    at = int(np.flatnonzero(~fits)[0])
    label = str(wanted.flat[min(at, wanted.size - 1)])[:16].replace("T", " ")
    raise NotAsPromised(
        f"its {axis.name} is {as_text(float(found[at]), axis.units, axis.calendar)}, and its place "
        f"is valid for {label}, by its start and lead{if_meant(dim)}"
    )


def _lead_dim(promise: Promise) -> str | None:
    """Return the dim of leads; None if there is none, or it may differ."""
    for dim, axis in promise.axes.items():
        is_lead = dim in LEADS or axis.standard_name == "forecast_period"
        if is_lead and axis.is_number and axis.units == LEAD_UNITS:
            return None if dim in promise.unchecked or dim == promise.append_dim else dim
    return None


def _valid_time(evidence: Evidence) -> Axis | None:
    """Return the only coordinate that says for when a file is."""
    times = [
        axis
        for axis in (*evidence.axes, *evidence.scalars.values())
        if axis.is_time and axis.values is not None and axis.standard_name in ("time", None)
    ]
    for name in ("valid_time", "time"):
        if named := [axis for axis in times if axis.name == name]:
            return named[0]
    told = [axis for axis in times if axis.standard_name == "time"]
    return told[0] if len(told) == 1 else None


def _valid_of(start: ExpectedAxis, leads: Values) -> Values:
    began = start.labels.flat[0]
    seconds = np.ravel(np.asarray(leads, "float64"))
    if isinstance(began, np.datetime64):
        return np.asarray(began + np.round(seconds * 1e6).astype("timedelta64[us]"))
    return np.array([began + timedelta(seconds=float(one)) for one in seconds], object)


def _as_numbers(wanted: Values, axis: Axis) -> Values:
    ours = calendar_of(wanted)
    if not are_same_calendar(axis.calendar, ours):
        raise NotAsPromised(
            f"its {axis.name} is of calendar {axis.calendar or 'standard'!r}, and the archive's of "
            f"{ours!r}"
        )
    try:
        return np.asarray(as_numbers(wanted, axis.units, axis.calendar))
    except ValueError as error:
        raise NotAsPromised(
            f"its {axis.name} is in {axis.units!r}, by which {wanted.flat[0]} cannot be told "
            f"({error})"
        ) from error


def _fit(found: Values, wanted: Values, axis: Axis, *, bounds: bool = True) -> Values:
    """Whether each time is the one that is wanted, or has bounds that hold it."""
    near = 1.0 / seconds_in(axis.units)
    fits = np.abs(found - wanted) <= near
    if bounds and axis.bounds is not None and axis.bounds.size == 2 * found.size:
        low, high = np.asarray(axis.bounds, "float64").reshape(-1, 2).T
        fits |= (wanted >= low - near) & (wanted <= high + near)
    return np.asarray(fits)


def _may_be_start(found: Values, axis: Axis, start: ExpectedAxis) -> bool:
    """Whether a time that does not say what it is, is that at which the forecast began."""
    if axis.standard_name is not None or axis.name != "time" or found.size != 1:
        return False
    return bool(_fit(found, _as_numbers(np.ravel(start.labels), axis), axis, bounds=False).all())
