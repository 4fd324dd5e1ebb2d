"""How often a provider's files come, from a few times. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

__all__ = ["Cadence", "cadence_of", "step_of"]

MINUTE, DAY = 60, 86_400
# Steps that providers have, in seconds, and what pandas calls them.
ALIASES = (
    (7 * DAY, "7D"), (DAY, "D"), (12 * 3600, "12h"), (6 * 3600, "6h"), (3 * 3600, "3h"),
    (3600, "h"), (1800, "30min"), (900, "15min"), (600, "10min"), (300, "5min"), (120, "2min"),
    (60, "min"),
)  # fmt: skip


@dataclass(frozen=True)
class Cadence:
    """A step between times: an alias of pandas, None where they are irregular.

    `is_known` says whether the times show it; else it is the coarsest that fits them.
    """

    alias: str | None
    is_known: bool


def cadence_of(times: Sequence[Any], *, coarsest: str = "D") -> Cadence:
    """Return the step of which all differences between times are multiples.

    Parameters
    ----------
    times
        datetimes, or those of cftime, in order, each once.
    coarsest
        What is taken for a single time at midnight.

    Examples
    --------
    >>> from datetime import datetime
    >>> cadence_of([datetime(2024, 1, day) for day in (1, 2, 4)])
    Cadence(alias='D', is_known=True)
    >>> cadence_of([datetime(2024, month, 1) for month in (1, 2, 3)])
    Cadence(alias='MS', is_known=True)
    >>> cadence_of([datetime(2024, 1, 1, 6)])
    Cadence(alias='6h', is_known=False)
    """
    first, *rest = times
    if not rest:
        return _of_one(first, coarsest)
    if calendar := _calendar_step(times):
        return Cadence(calendar, is_known=True)
    seconds = math.gcd(*(round((time - first) / timedelta(seconds=1)) for time in rest))
    # Providers' steps divide a day, or are whole days.
    is_step = seconds >= MINUTE and (DAY % seconds == 0 or seconds % DAY == 0)
    if not is_step or any(time.microsecond for time in times):
        return Cadence(None, is_known=True)
    return Cadence(_alias(seconds), is_known=_is_even(times, seconds))


def step_of(alias: str | None) -> timedelta | None:
    """Return the length of a step; None for months, years, and where there is none.

    Examples
    --------
    >>> step_of("6h"), step_of("MS")
    (datetime.timedelta(seconds=21600), None)
    """
    found = re.fullmatch(r"(\d*)(D|h|min|s)", alias or "")
    if found is None:
        return None
    unit = {"D": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}
    return int(found[1] or 1) * unit.get(found[2], timedelta(seconds=1))


def _is_even(times: Sequence[Any], seconds: int) -> bool:
    """Whether some neighbours lie one step apart: else there may be more between them."""
    pairs = pairwise(times)
    return len(times) > 1 and any((b - a) == timedelta(seconds=seconds) for a, b in pairs)


def _of_one(time: Any, coarsest: str) -> Cadence:
    since_midnight = (time.hour * 60 + time.minute) * 60
    most = next(seconds for seconds, alias in ALIASES if alias == coarsest)
    alias = next(
        alias for seconds, alias in ALIASES if seconds <= most and since_midnight % seconds == 0
    )
    return Cadence(alias, is_known=False)


def _calendar_step(times: Sequence[Any]) -> str | None:
    """Return ``MS`` or ``YS`` where times lie a month or a year apart."""
    months = [time.year * 12 + time.month for time in times]
    steps = {b - a for a, b in pairwise(months)}
    spread = max(time.day for time in times) - min(time.day for time in times)
    if not steps or 0 in steps or spread > 3:
        return None
    if steps == {1}:
        return "MS"
    return "YS" if steps == {12} else None


def _alias(seconds: int) -> str:
    for known, alias in ALIASES:
        if known == seconds:
            return alias
    for unit, letter in ((DAY, "D"), (3600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"
