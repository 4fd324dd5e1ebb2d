"""Durations and dates as options give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

__all__ = ["moment_since", "parse_duration", "parse_moment", "seconds_until"]

A_DAY = re.compile(r"(?<=\d)d(?![a-z])")


def parse_duration(text: str, option: str) -> timedelta:
    """Read a duration, like 90min or 2h.

    Raises
    ------
    BadParameter
        It is none, or negative.
    """
    import pandas as pd

    try:
        # pandas takes a number without a unit for nanoseconds, and will not know d much longer.
        duration = pd.Timedelta(A_DAY.sub("D", text) if text[-1:].isalpha() else "")
    except ValueError:
        raise _bad(f"{text!r} is no duration, like 90min or 2h", option) from None
    if not duration >= pd.Timedelta(0):
        raise _bad(f"{text!r} is negative", option)
    return duration.to_pytimedelta()


def moment_since(text: str, option: str) -> datetime:
    """Read a moment in ISO 8601 (UTC where it names no zone), or how long ago it was.

    Raises
    ------
    BadParameter
        It is neither.
    """
    try:
        return _in_utc(text)
    except ValueError:
        return datetime.now(UTC) - parse_duration(text, option)


def seconds_until(text: str, option: str) -> float:
    """Read a duration, or a date (UTC) from which one follows.

    Raises
    ------
    BadParameter
        It is neither, or the date has passed.
    """
    try:
        left = _in_utc(text) - datetime.now(UTC)
    except ValueError:
        return parse_duration(text, option).total_seconds()
    if left < timedelta(0):
        raise _bad(f"{text!r} has passed", option)
    return left.total_seconds()


def parse_moment(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> datetime | None:
    """Read a moment in ISO 8601; UTC where it names no zone."""
    try:
        return None if text is None else _in_utc(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time like 2025-07-01T06:00") from error


def _in_utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bad(message: str, option: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=option)
