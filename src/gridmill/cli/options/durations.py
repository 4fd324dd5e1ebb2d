"""Durations and dates as options give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

__all__ = ["parse_duration", "seconds_until"]

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


def seconds_until(text: str, option: str) -> float:
    """Read a duration, or a date (UTC) from which one follows.

    Raises
    ------
    BadParameter
        It is neither, or the date has passed.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return parse_duration(text, option).total_seconds()
    left = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    if left < timedelta(0):
        raise _bad(f"{text!r} has passed", option)
    return left.total_seconds()


def _bad(message: str, option: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=option)
