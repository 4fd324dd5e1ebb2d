"""Labels of the append dim, from what people write, on any calendar."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["STANDARD_CALENDARS", "fixed_step", "just_after", "parse_label"]

# Labels on these are datetime64; on others they are objects of cftime.
STANDARD_CALENDARS = ("proleptic_gregorian", "standard", "gregorian")

ISO_8601 = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.\d+)?)?)?)?)?)?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?"
)

BASIC = re.compile(r"\d{8}(?:T\d\d(?:\d\d(?:\d\d)?)?)?Z?")


def parse_label(value: Any, calendar: str = "proleptic_gregorian") -> Any:
    """Turn an ISO 8601 string or a datetime into a `pandas.Timestamp` or a cftime object.

    Zone-aware values are converted to UTC; labels themselves carry no zone.

    Raises
    ------
    ValueError
        It is no date, or one whose day and month would have to be guessed.

    Examples
    --------
    >>> parse_label("2017-01-21T06:00Z")
    Timestamp('2017-01-21 06:00:00')
    >>> parse_label("2017-02-30", "360_day")
    cftime.datetime(2017, 2, 30, 0, 0, 0, 0, calendar='360_day', has_year_zero=True)
    """
    if isinstance(value, str) and not (ISO_8601.fullmatch(value) or BASIC.fullmatch(value)):
        raise ValueError(
            f"{value!r} is not a date: write year, month and day in this order, like "
            "2017-01-21T06:00 (ISO 8601)"
        )
    if calendar not in STANDARD_CALENDARS:
        return _parse_cftime(value, calendar)
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{value!r} is not a date: write it like 2017-01-21T06:00") from error
    if pd.isna(stamp):
        raise ValueError(f"{value!r} is not a date: write it like 2017-01-21T06:00")
    return stamp.tz_convert(None) if stamp.tzinfo is not None else stamp


def _parse_cftime(value: Any, calendar: str) -> Any:
    import cftime

    if isinstance(value, cftime.datetime):
        return value
    if isinstance(value, datetime | np.datetime64):
        return _on_calendar(parse_label(value), calendar)
    found = ISO_8601.fullmatch(str(value))
    try:
        if found is None:
            raise ValueError
        year, month, day, *clock = (int(found[n] or n in (2, 3)) for n in range(1, 7))
        label = cftime.datetime(year, month, day, *clock, calendar=calendar)
    except ValueError as error:
        raise ValueError(
            f"{value!r} is not a date of the {calendar} calendar: write it like 2017-01-21"
        ) from error
    zone = found["zone"]
    return label if zone in (None, "Z") else label - datetime.strptime(zone, "%z").utcoffset()


def _on_calendar(moment: datetime, calendar: str) -> Any:
    """Return a moment as a label; a day that the calendar does not have becomes the one before."""
    import cftime

    clock = (moment.hour, moment.minute, moment.second)
    for day in (moment.day, 30, 29, 28):
        try:
            return cftime.datetime(moment.year, moment.month, day, *clock, calendar=calendar)
        except ValueError:
            continue
    raise ValueError(f"{moment} is not on the {calendar} calendar")


def just_after(label: Any) -> Any:
    """Return the smallest end of a template that includes a label."""
    return label + pd.Timedelta(microseconds=1).to_pytimedelta()


def fixed_step(frequency: str | None) -> timedelta | None:
    """Return the length of a step; None where it has none, as that of a month.

    Examples
    --------
    >>> fixed_step("6h"), fixed_step("D"), fixed_step("MS")
    (datetime.timedelta(seconds=21600), datetime.timedelta(days=1), None)
    """
    try:
        step: Any = pd.tseries.frequencies.to_offset(frequency)
    except ValueError:
        return None
    if isinstance(step, pd.offsets.Day):
        return timedelta(days=step.n)
    if not isinstance(step, pd.offsets.Tick):
        return None
    return pd.Timedelta(step).to_pytimedelta() or None
