"""How numbers, sizes, durations and labels are said to people. Pure."""

from __future__ import annotations

from typing import Any

__all__ = [
    "count_of",
    "every",
    "format_clock",
    "format_duration",
    "format_nbytes",
    "format_speed",
    "made_under",
    "moment",
    "short_label",
    "shorten_label",
]


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count_of(1, "region"), count_of(3000, "region")
    ('1 region', '3,000 regions')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def every(frequency: str) -> str:
    """Return how often labels follow each other, from pandas' name of a frequency.

    Examples
    --------
    >>> every("D"), every("6h"), every("MS"), every("W-SUN")
    ('every day', 'every 6 hours', 'every month', 'every W-SUN')
    """
    units = {"s": "second", "min": "minute", "h": "hour", "D": "day", "MS": "month", "YS": "year"}
    unit = frequency.lstrip("0123456789")
    number = frequency.removesuffix(unit) or "1"
    noun = units.get(unit)
    if noun is None:
        return f"every {frequency}"
    return f"every {noun}" if number == "1" else f"every {number} {noun}s"


def format_nbytes(nbytes: float) -> str:
    """Write a number of bytes with a decimal unit.

    Examples
    --------
    >>> format_nbytes(0), format_nbytes(999), format_nbytes(1_234_567), format_nbytes(5e13)
    ('0 B', '999 B', '1.2 MB', '50 TB')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while power < len(units) - 1 and round(nbytes) >= 1000:
        nbytes /= 1000
        power += 1
    digits = 1 if power and nbytes < 9.95 else 0
    return f"{nbytes:.{digits}f} {units[power]}"


def format_speed(nbytes_per_s: float) -> str:
    """Write bytes a second; a dash where nothing moves.

    Examples
    --------
    >>> format_speed(2.5e6), format_speed(0)
    ('2.5 MB/s', '–')
    """
    return f"{format_nbytes(nbytes_per_s)}/s" if nbytes_per_s else "–"


def format_duration(seconds: float) -> str:
    """Write a duration as a person would say it.

    Examples
    --------
    >>> format_duration(7.41), format_duration(95), format_duration(2 * 3600 + 300)
    ('7.4 s', '1 min 35 s', '2 h 05 min')
    >>> format_duration(0.0123), format_duration(400 * 3600)
    ('12 ms', '16 days 16 h')
    """
    whole = round(seconds)
    if 0 < seconds < 0.095:
        return f"{1000 * seconds:.0f} ms"
    if whole < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def format_clock(seconds: float) -> str:
    """Write a duration that changes in place.

    Examples
    --------
    >>> format_clock(7.4), format_clock(95), format_clock(2 * 3600 + 300)
    ('0:07', '1:35', '2:05:00')
    """
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def shorten_label(label: str) -> str:
    """Leave out the parts of a label that are zero.

    Examples
    --------
    >>> shorten_label("2017-01-31 00:00:00"), shorten_label("2017-01-31 23:00:00")
    ('2017-01-31', '2017-01-31 23:00')
    """
    return label.removesuffix(":00").removesuffix(" 00:00")


def short_label(label: Any) -> str:
    """Write a label as ISO 8601, without what is zero.

    Examples
    --------
    >>> import pandas as pd
    >>> short_label(pd.Timestamp("2020-01-01 06:00")), short_label(pd.Timestamp("2020-01-01"))
    ('2020-01-01T06:00', '2020-01-01')
    """
    text = str(label.isoformat())
    text = text.removesuffix("T00:00:00")
    return text.removesuffix(":00") if text.count(":") == 2 and "." not in text else text


def moment(text: str) -> str:
    """Write an ISO 8601 moment in UTC, to the second.

    Examples
    --------
    >>> moment("2026-11-23T09:37:55.123+00:00")
    '2026-11-23 09:37:55 UTC'
    """
    return f"{text[:19].replace('T', ' ')} UTC"


def made_under(what: str, regions: int) -> str:
    """Say how many regions were made under an epoch or version that was raised since.

    Examples
    --------
    >>> made_under("epoch 1 of deaccumulation, now 2", 14)
    '14 regions made under epoch 1 of deaccumulation, now 2'
    """
    return f"{count_of(regions, 'region')} made under {what}"
