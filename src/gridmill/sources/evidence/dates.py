"""Labels of time as the numbers by which a file tells them, by cftime."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridmill.sources.evidence.units import length_in_seconds

__all__ = ["are_same_calendar", "as_numbers", "as_text", "calendar_of", "seconds_in"]

# Those that agree since 1582, and other names.
NAMES = {
    "gregorian": "standard",
    "proleptic_gregorian": "standard",
    "365_day": "noleap",
    "366_day": "all_leap",
}


def calendar_of(labels: Any) -> str:
    """Return the calendar of labels: ``datetime64`` or cftime objects."""
    first = next(iter(np.ravel(labels)), None)
    return str(getattr(first, "calendar", "standard"))


def are_same_calendar(first: str | None, second: str | None) -> bool:
    """Whether two calendars have the same days; None means CF's standard calendar."""
    names = [(name or "standard").lower() for name in (first, second)]
    return len({NAMES.get(name, name) for name in names}) == 1


def as_numbers(labels: Any, units: str | None, calendar: str | None) -> Any:
    """Return labels as numbers in a file's units and calendar.

    Parameters
    ----------
    labels
        ``datetime64`` or cftime objects, of one dimension.
    units
        Like ``hours since 1970-01-01``.
    calendar
        None means CF's standard calendar.

    Raises
    ------
    ValueError
        The units are not understood, or the labels are of another calendar.
    """
    import cftime

    dates = labels.astype("datetime64[us]").astype(object) if labels.dtype.kind == "M" else labels
    numbers = cftime.date2num(list(dates), units, calendar or "standard")
    return np.asarray(numbers, "float64")


def as_text(number: float, units: str | None, calendar: str | None) -> str:
    """Return a number of a file's time as a date, to the minute."""
    import cftime

    found: Any = cftime.num2date(number, units, calendar or "standard")
    return str(found.isoformat(sep=" ", timespec="minutes"))


def seconds_in(units: str | None) -> float:
    """Return how long one of a file's units of time is."""
    return length_in_seconds((units or "").partition(" since ")[0])
