"""NOAA's inventories, ``.idx``: the text that ``wgrib2 -s`` prints, a line a message. Pure.

Source of the format: https://www.cpc.ncep.noaa.gov/products/wesley/wgrib2/ (options ``-s``,
``-ftime2``, ``-ens`` and ``-prob`` name every text that a line can hold).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from gridmill.sources.grib.inventory.lines import not_negative, parse_lines
from gridmill.sources.grib.inventory.message import Message, Statistic

__all__ = ["parse_idx"]


def parse_idx(text: str) -> tuple[Message, ...]:
    """Read NOAA's ``.idx``, the lines that ``wgrib2 -s`` prints, in their order.

    Each line gives where its message starts; it stops where the next one in the file starts.

    Raises
    ------
    InventoryMalformed
        There is no line, or one has too few fields or a number or date that cannot be read.

    Examples
    --------
    >>> first, last = parse_idx(
    ...     "1:0:d=2025080100:PRMSL:mean sea level:anl:\\n"
    ...     "2:892922:d=2025080100:APCP:surface:0-1 day acc fcst:ENS=+1\\n"
    ... )
    >>> first.byte_range, first.statistic
    (ByteRange(start=0, stop=892922), <Statistic.INSTANT: 'instant'>)
    >>> last.byte_range
    ByteRange(start=892922, stop=None)
    >>> str(last.end_step), last.statistic, last.member
    ('1 day, 0:00:00', <Statistic.ACCUMULATION: 'accumulation'>, 1)
    """
    return _with_stops(parse_lines(_parse_idx_line, text))


def _parse_idx_line(_line_number: int, line: str) -> Message:
    number, start, date, parameter, level, step, *rest = line.split(":")
    count, _, submessage = number.partition(".")
    start_step, end_step, statistic = _parse_idx_step(step)
    qualifiers = tuple(text.strip() for text in rest if text.strip())
    return Message(
        number=int(count),
        submessage=int(submessage) if submessage else None,
        start=not_negative(int(start), "offset"),
        stop=None,
        reference_time=_parse_idx_date(date),
        parameter=parameter,
        level=level,
        step=step,
        start_step=start_step,
        end_step=end_step,
        statistic=statistic,
        member=next((m for m in map(_parse_member, qualifiers) if m is not None), None),
        qualifiers=qualifiers,
        raw=line,
    )


def _with_stops(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Let each message stop where the next one in the file starts; submessages share a start."""
    starts = sorted({message.start for message in messages})
    stop_of = dict(pairwise(starts))
    return tuple(replace(message, stop=stop_of.get(message.start)) for message in messages)


@lru_cache(maxsize=1024)
def _parse_idx_date(text: str) -> datetime:
    """Read ``d=YYYYMMDDHH``, or ``D=YYYYMMDDHHmmss`` of ``wgrib2 -S``."""
    kind, _, digits = text.partition("=")
    if kind not in ("d", "D") or len(digits) not in (10, 12, 14):
        raise ValueError(f"{text!r} is not a date as d=YYYYMMDDHH")
    return datetime.strptime(digits, "%Y%m%d%H%M%S"[: len(digits) - 2])


_IDX_STEP = re.compile(
    r"(?:(?P<start>-?\d+)-)?(?P<end>-?\d+) (?P<unit>\S+)(?: (?P<word>\S+))? (?P<what>fcst|anl)"
)
_MEMBER = re.compile(r"(?:\w+-)?ENS=(?P<number>[-+]?\d+|hi-res ctl|low-res ctl)")
_UNITS = {
    "sec": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    # wgrib2's names of GRIB2 code table 4.4, entries 10 to 12.
    "3-hours": timedelta(hours=3),
    "6-hours": timedelta(hours=6),
    "12-hours": timedelta(hours=12),
}
_STATISTICS = {
    "ave": Statistic.AVERAGE,
    "acc": Statistic.ACCUMULATION,
    "max": Statistic.MAXIMUM,
    "min": Statistic.MINIMUM,
    "last-first": Statistic.DIFFERENCE,
    "first-last": Statistic.DIFFERENCE,
    "RMS": Statistic.ROOT_MEAN_SQUARE,
    "StdDev": Statistic.STANDARD_DEVIATION,
}
_Period = tuple[timedelta | None, timedelta | None, Statistic | None]


@lru_cache(maxsize=4096)
def _parse_idx_step(text: str) -> _Period:
    """Normalise wgrib2's ``-ftime2``; whole days print as days, so 0-24 hours read 0-1 day."""
    if text == "anl":
        return timedelta(0), timedelta(0), Statistic.INSTANT
    found = _IDX_STEP.fullmatch(text)
    unit = _UNITS.get(found["unit"]) if found else None
    if found is None or unit is None:
        return None, None, None
    end = int(found["end"]) * unit
    if found["start"] is None:
        return (end, end, Statistic.INSTANT) if found["word"] is None else (None, None, None)
    word = found["word"]
    statistic = None if word is None else _STATISTICS.get(word, Statistic.OTHER)
    return int(found["start"]) * unit, end, statistic


@lru_cache(maxsize=1024)
def _parse_member(qualifier: str) -> int | None:
    found = _MEMBER.fullmatch(qualifier)
    if found is None:
        return None
    return 0 if found["number"].endswith("ctl") else int(found["number"])
