"""ECMWF's inventories, ``.index``: a JSON object a line. Pure.

Source of the format:
https://confluence.ecmwf.int/display/DAC/ECMWF+open+data%3A+real-time+forecasts (section *Index
files*).
"""

import json
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from gridmill.sources.grib.inventory.lines import not_negative, parse_lines
from gridmill.sources.grib.inventory.message import Message

__all__ = ["parse_index", "parse_index_line"]


def parse_index(text: str) -> tuple[Message, ...]:
    """Read ECMWF's ``.index``, a JSON object a line, whatever the order of its keys.

    Offset and length may be called ``_offset`` and ``_length`` (ECMWF) or ``offset`` and
    ``length``, as in indexes that archives of ECMWF's data make after its example, with
    ``variable``, ``level``, ``lead_hours`` and ``ensemble_member``.

    Raises
    ------
    InventoryMalformed
        There is no line, or one is not JSON, or lacks the parameter, the offset or the length.

    Examples
    --------
    >>> [message] = parse_index(
    ...     '{"param": "t", "levtype": "pl", "levelist": "500", "step": "6", "type": "pf",'
    ...     ' "number": "3", "_offset": 10, "_length": 5}'
    ... )
    >>> message.level, message.byte_range, message.member
    ('500 pl', ByteRange(start=10, stop=15), 3)
    """
    return tuple(parse_lines(parse_index_line, text))


_INDEX_KEYS = frozenset(
    {"param", "variable", "levtype", "levelist", "level", "step", "lead_hours", "date", "time"}
    | {"number", "ensemble_member", "_offset", "offset", "_length", "length"}
)


def parse_index_line(number: int, line: str) -> Message:
    """Read one line of a ``.index``, whose number is counted from 1."""
    entry = json.loads(line)
    start = not_negative(int(_first(entry, "_offset", "offset")), "offset")
    length = int(_first(entry, "_length", "length"))
    if length <= 0:
        raise ValueError(f"length {length} is not positive")
    step = str(_first(entry, "step", "lead_hours", default=""))
    start_step, end_step = _parse_index_step(step)
    level = (_first(entry, "levelist", "level", default=""), entry.get("levtype", ""))
    member = _first(entry, "number", "ensemble_member", default=None)
    if member is None and entry.get("type") == "cf":
        member = 0
    return Message(
        number=number,
        submessage=None,
        start=start,
        stop=start + length,
        reference_time=_parse_index_date(entry.get("date"), entry.get("time", 0)),
        parameter=str(_first(entry, "param", "variable")),
        level=" ".join(str(part) for part in level if part != ""),
        step=step,
        start_step=start_step,
        end_step=end_step,
        statistic=None,
        member=None if member is None else int(member),
        qualifiers=tuple(sorted(f"{k}={v}" for k, v in entry.items() if k not in _INDEX_KEYS)),
        raw=line,
    )


_REQUIRED = object()


def _first(entry: dict[str, Any], *keys: str, default: object = _REQUIRED) -> Any:
    """Value under the first of `keys` that `entry` has."""
    for key in keys:
        if key in entry:
            return entry[key]
    if default is _REQUIRED:
        raise KeyError(" or ".join(keys))
    return default


@lru_cache(maxsize=1024)
def _parse_index_date(date: str | int | None, time: str | int) -> datetime | None:
    """Read MARS's ``date`` YYYYMMDD and ``time`` HHMM, which as a number loses its zeros."""
    if date is None:
        return None
    return datetime.strptime(f"{date}{int(time):04d}", "%Y%m%d%H%M")


_INDEX_STEP = re.compile(r"(?:(?P<start>[^-]+)-)?(?P<end>[^-]+)")
_INDEX_TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|(\d+)")


@lru_cache(maxsize=4096)
def _parse_index_step(text: str) -> tuple[timedelta | None, timedelta | None]:
    """Read ``6``, ``0-24``, ``30m`` or ``1h30m``; plain numbers are hours."""
    found = _INDEX_STEP.fullmatch(text)
    if found is None:
        return None, None
    end = _parse_index_time(found["end"])
    start = end if found["start"] is None else _parse_index_time(found["start"])
    return (None, None) if start is None or end is None else (start, end)


def _parse_index_time(text: str) -> timedelta | None:
    found = _INDEX_TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds, plain_hours = (int(group or 0) for group in found.groups())
    return timedelta(hours=hours + plain_hours, minutes=minutes, seconds=seconds)
