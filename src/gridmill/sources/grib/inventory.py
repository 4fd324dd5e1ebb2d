"""Inventories of GRIB files: which message lies at which bytes.

Covers NOAA's ``.idx`` (the text that ``wgrib2 -s`` prints, a line a message) and ECMWF's
``.index`` (a JSON object a line), the choice of messages, the merging of byte ranges that lie
close together, and the check that the bytes which came really are the message that the inventory
promised. Pure text and arithmetic: it neither downloads nor decodes.

Sources of the formats: https://www.cpc.ncep.noaa.gov/products/wesley/wgrib2/ (options ``-s``,
``-ftime2``, ``-ens`` and ``-prob`` name every text that a line can hold);
https://confluence.ecmwf.int/display/DAC/ECMWF+open+data%3A+real-time+forecasts (section *Index
files*); WMO Manual on Codes I.2, FM 92 GRIB, section 0 and the end section.

See Also
--------
gridmill.sources.grib.messages : decodes the messages.
"""

import heapq
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate, pairwise
from mmap import mmap
from typing import Any, NamedTuple, cast

__all__ = [
    "AmbiguousMessage",
    "ByteRange",
    "InventoryError",
    "InventoryMalformed",
    "InventoryMismatch",
    "Message",
    "MessageNotFound",
    "Selector",
    "Statistic",
    "check_message",
    "local_byte_ranges",
    "merge_byte_ranges",
    "message_nbytes",
    "parse_idx",
    "parse_index",
    "parse_inventory",
    "select",
    "with_file_size",
]


class InventoryError(ValueError):
    """An inventory is of no use for its file: an error of that file, not of the run."""


class InventoryMalformed(InventoryError):  # noqa: N818
    """The text is not an inventory, or is cut off."""


class InventoryMismatch(InventoryError):  # noqa: N818
    """The inventory contradicts the GRIB file that it describes."""


class MessageNotFound(ValueError):  # noqa: N818
    """No message of an inventory answers a selector."""


class AmbiguousMessage(ValueError):  # noqa: N818
    """Several messages of an inventory answer a selector that must name one."""


class Statistic(StrEnum):
    """What a value says about its period; GRIB2 code table 4.10, and the instant.

    ``OTHER`` stands for an entry of the table that has no name here.
    """

    INSTANT = "instant"
    AVERAGE = "average"
    ACCUMULATION = "accumulation"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    DIFFERENCE = "difference"
    ROOT_MEAN_SQUARE = "root mean square"
    STANDARD_DEVIATION = "standard deviation"
    OTHER = "other"


class ByteRange(NamedTuple):
    """Bytes of a file: `start` is included, `stop` is not; None means the end of the file."""

    start: int
    stop: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One line of an inventory.

    Attributes
    ----------
    number
        Counted from 1: as NOAA prints it; for ECMWF the line.
    submessage
        The field's place, counted from 1, inside a message that packs several (``7.2`` in an
        ``.idx``); None for a message with one field. Submessages share their byte range.
    start, stop
        Byte range of the whole message in the file; `stop` is not included. None: the last message
        of an ``.idx``, which gives no length, until `with_file_size`.
    reference_time
        Analysis or start of the forecast, in UTC, naive. None where the line has no date.
    parameter
        Short name, ``TMP`` or ``2t``. wgrib2 prints parameters that it does not know as
        ``var discipline=0 center=7 …``, see `parameter_code`; and a name can change when NOAA
        updates its tables (``CLWMR`` became ``CLMR``).
    level
        NOAA: as printed, ``2 m above ground``. ECMWF: levelist, if any, and levtype: ``500 pl``,
        ``sfc``.
    step
        As printed, ``0-6 hour acc fcst`` or ``6``.
    start_step, end_step
        Period that the value describes, from `reference_time`; equal for an instant. None where
        `step` has no fixed length (months) or is a nested average.
    statistic
        None where the line does not say it: ECMWF's never do (the step of an accumulation from
        the start reads ``6``, so there `start_step` equals `end_step`), and wgrib2's do not for
        NCEP's deprecated TMIN and TMAX.
    member
        Ensemble member, signed as in ``ENS=-3``; 0 for a control forecast; None for one that is no
        single member.
    qualifiers
        Whatever else the line says, in a fixed order: ``ENS=low-res ctl``, ``ens mean``,
        ``prob >0.254``; for ECMWF ``type=fc``, ``stream=oper`` and the like, sorted.
    raw
        The line itself.
    """

    number: int
    submessage: int | None
    start: int
    stop: int | None
    reference_time: datetime | None
    parameter: str
    level: str
    step: str
    start_step: timedelta | None
    end_step: timedelta | None
    statistic: Statistic | None
    member: int | None
    qualifiers: tuple[str, ...]
    raw: str

    @property
    def byte_range(self) -> ByteRange:
        """`start` and `stop` as one value."""
        return ByteRange(self.start, self.stop)

    @property
    def level_type(self) -> str:
        """`level` without its leading number or range: ``mb``, ``m above ground``, ``pl``."""
        return _LEVEL_NUMBER.sub("", self.level)

    @property
    def parameter_code(self) -> tuple[int, int, int] | None:
        """Discipline, category and number of a parameter that wgrib2 has no name for, else None."""
        found = _UNKNOWN_PARAMETER.fullmatch(self.parameter)
        if found is None:
            return None
        return int(found[1]), int(found[2]), int(found[3])

    @property
    def description(self) -> tuple[object, ...]:
        """What the message is, without where it lies: equal for duplicate lines."""
        return (self.reference_time, self.parameter, self.level, self.step, self.qualifiers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """Names one message of an inventory. What is None, or empty, is not asked.

    Attributes
    ----------
    parameter, level
        Compared as text with those of `Message`. A tuple accepts any of its entries: names change
        when a provider updates its tables.
    start_step, end_step, statistic, member
        Compared with those of `Message`; a message that does not state the value does not match.
    qualifiers
        Each must be among the message's.
    occurrence
        Which of several lines with the same description: 0 is the first, -1 the last. GFS prints
        ``APCP:surface:0-6 hour acc fcst`` twice at f006, the 6-hour bucket and the run total. It
        never chooses between lines that differ.

    Examples
    --------
    >>> asked = Selector(parameter="APCP", level="surface", end_step=timedelta(hours=6))
    >>> [message] = parse_idx("1:0:d=2025080100:APCP:surface:0-6 hour acc fcst:")
    >>> asked.matches(message)
    True
    """

    parameter: str | tuple[str, ...] | None = None
    level: str | tuple[str, ...] | None = None
    start_step: timedelta | None = None
    end_step: timedelta | None = None
    statistic: Statistic | None = None
    member: int | None = None
    qualifiers: tuple[str, ...] = ()
    occurrence: int | None = None

    def __post_init__(self) -> None:
        """Refuse a bare string where a tuple of strings is meant.

        Raises
        ------
        TypeError
            `qualifiers` is a string.
        """
        if isinstance(self.qualifiers, str):
            raise TypeError(f"qualifiers={self.qualifiers!r}: give a tuple of strings")

    def matches(self, message: Message) -> bool:
        """Whether `message` is what is asked, `occurrence` aside."""
        return _accepts(self.parameter, message.parameter) and not self.differences(message)

    def differences(self, message: Message) -> tuple[str, ...]:
        """Names of the attributes in which `message` is not what is asked."""
        differing = [
            name
            for name in ("parameter", "level")
            if not _accepts(getattr(self, name), getattr(message, name))
        ]
        for name in ("start_step", "end_step", "statistic", "member"):
            asked = getattr(self, name)
            if asked is not None and asked != getattr(message, name):
                differing.append(name)
        if not set(self.qualifiers) <= set(message.qualifiers):
            differing.append("qualifiers")
        return tuple(differing)

    def __str__(self) -> str:
        asked = {
            "parameter": self.parameter,
            "level": self.level,
            "start_step": self.start_step,
            "end_step": self.end_step,
            "statistic": self.statistic,
            "member": self.member,
            "qualifiers": self.qualifiers or None,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return ", ".join(
            f"{name}={value!r}" if isinstance(value, tuple) else f"{name}={str(value)!r}"
            for name, value in given.items()
        )


def _accepts(asked: str | tuple[str, ...] | None, has: str) -> bool:
    return asked is None or (asked == has if isinstance(asked, str) else has in asked)


def parse_inventory(text: str) -> tuple[Message, ...]:
    """Read an inventory, ECMWF's if its first character is ``{``, else NOAA's.

    The name of a file does not tell: ECMWF's MARS inventories also come as ``.idx``.

    Raises
    ------
    InventoryMalformed
        As `parse_idx` and `parse_index`.
    """
    return parse_index(text) if text.lstrip().startswith("{") else parse_idx(text)


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
    messages = [
        _attempt(_parse_idx_line, number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    if not messages:
        raise InventoryMalformed("the inventory has no line")
    return _with_stops(messages)


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
    messages = tuple(
        _attempt(_parse_index_line, number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    )
    if not messages:
        raise InventoryMalformed("the inventory has no line")
    return messages


def with_file_size(messages: Sequence[Message], nbytes: int) -> tuple[Message, ...]:
    """Close the open range of the last message, and check all ranges, with the file's size.

    Raises
    ------
    InventoryMismatch
        A message starts or stops beyond the file: the file is cut off or the inventory is that of
        another one.
    """
    for message in messages:
        if message.start >= nbytes or (message.stop or 0) > nbytes:
            raise InventoryMismatch(
                f"the file has {nbytes} bytes, but its inventory puts {message.raw!r} at bytes "
                f"{_range_text(message.byte_range)}: fetch both again, or the whole file"
            )
    return tuple(
        replace(message, stop=nbytes) if message.stop is None else message for message in messages
    )


def select(messages: Sequence[Message], selector: Selector) -> Message:
    """Find the one message that `selector` names.

    Raises
    ------
    MessageNotFound
        None matches; the error names the nearest.
    AmbiguousMessage
        Several match: they differ in something that `selector` does not ask; or they are the same
        and `selector` has no `occurrence`; the error lists them.
    """
    found = [message for message in messages if selector.matches(message)]
    if not found:
        raise MessageNotFound(_not_found_text(messages, selector))
    if len(found) == 1:
        return found[0]
    shown = "; ".join(message.raw for message in found[:5])
    if len({message.description for message in found}) > 1:
        raise AmbiguousMessage(
            f"{len(found)} messages match {selector}: {shown}: ask for what tells them apart"
        )
    if selector.occurrence is None:
        raise AmbiguousMessage(
            f"{len(found)} messages with the same description match {selector}: {shown}: "
            "give `occurrence`, 0 for the first or -1 for the last"
        )
    try:
        return found[selector.occurrence]
    except IndexError:
        raise MessageNotFound(
            f"occurrence={selector.occurrence} of {selector} was asked; there are {len(found)}: "
            f"{shown}"
        ) from None


def merge_byte_ranges(ranges: Iterable[ByteRange], *, max_gap_nbytes: int) -> tuple[ByteRange, ...]:
    """Join ranges that overlap, touch, or lie at most `max_gap_nbytes` apart.

    Parameters
    ----------
    ranges
        In any order; duplicates are allowed.
    max_gap_nbytes
        Bytes worth fetching for nothing to save a request. Each join costs at most so many.

    Returns
    -------
    tuple of ByteRange
        Sorted, disjoint, more than `max_gap_nbytes` apart, and covering every one of `ranges`. Only
        the last can be open.

    Raises
    ------
    ValueError
        A range is empty or negative, or `max_gap_nbytes` is negative.

    Examples
    --------
    >>> wanted = [ByteRange(40, 50), ByteRange(0, 10), ByteRange(12, 20)]
    >>> merge_byte_ranges(wanted, max_gap_nbytes=5)
    (ByteRange(start=0, stop=20), ByteRange(start=40, stop=50))
    """
    if max_gap_nbytes < 0:
        raise ValueError(f"max_gap_nbytes={max_gap_nbytes}: give 0 or more")
    merged: list[ByteRange] = []
    for start, stop in sorted(ranges, key=lambda r: r.start):
        if start < 0 or (stop is not None and stop <= start):
            raise ValueError(f"byte range {start}:{stop} is empty or negative")
        if merged and (merged[-1].stop is None or start - merged[-1].stop <= max_gap_nbytes):
            last = merged[-1]
            joined = None if last.stop is None or stop is None else max(last.stop, stop)
            merged[-1] = ByteRange(last.start, joined)
        else:
            merged.append(ByteRange(start, stop))
    return tuple(merged)


def local_byte_ranges(
    ranges: Sequence[ByteRange], merged: Sequence[ByteRange]
) -> tuple[ByteRange, ...]:
    """Where each of `ranges` lies in a local file that holds the `merged` ranges end to end.

    Parameters
    ----------
    ranges
        Ranges of the provider's file.
    merged
        What was fetched of it, as `merge_byte_ranges` returns it.

    Raises
    ------
    ValueError
        A range was not fetched.

    Examples
    --------
    >>> merged = [ByteRange(0, 20), ByteRange(40, 50)]
    >>> local_byte_ranges([ByteRange(40, 50), ByteRange(12, 20)], merged)
    (ByteRange(start=20, stop=30), ByteRange(start=12, stop=20))
    """
    starts = [fetched.start for fetched in merged]
    offsets = [0, *accumulate(_nbytes(fetched) for fetched in merged[:-1])]
    local = []
    for wanted in ranges:
        place = bisect_right(starts, wanted.start) - 1
        if place < 0 or not _covers(merged[place], wanted):
            raise ValueError(
                f"bytes {_range_text(wanted)} are not among those fetched: "
                + ", ".join(map(_range_text, merged))
            )
        shift = offsets[place] - merged[place].start
        local.append(
            ByteRange(wanted.start + shift, None if wanted.stop is None else wanted.stop + shift)
        )
    return tuple(local)


def check_message(message: Message, data: bytes | memoryview) -> None:
    """Check that `data`, fetched for the range of `message`, is one whole GRIB message.

    Raises
    ------
    InventoryMismatch
        `data` is shorter or longer than the range, does not start with ``GRIB`` or end with
        ``7777``, or its length field is not the number of its bytes (an inventory of another
        upload).
    """
    problem = _framing_problem(message.byte_range, data)
    if problem is not None:
        raise InventoryMismatch(
            f"bytes {_range_text(message.byte_range)} of the file are not the message of the "
            f"inventory's line {message.raw!r}: {problem}: fetch both again, or the whole file"
        )


def message_nbytes(data: bytes | memoryview | mmap, start: int = 0) -> int:
    """Read how many bytes the GRIB message at `start` has, from its own length field.

    Notes
    -----
    GRIB2: octets 9-16 of section 0. GRIB1: octets 5-7; beyond 8 MiB ECMWF counts in units of
    120 bytes, sets the highest bit, and puts the excess into the length of section 4 (ecCodes,
    ``grib_io.cc``).

    Raises
    ------
    ValueError
        There is no ``GRIB`` at `start`, the edition is neither 1 nor 2, or the data end before the
        length field.
    """
    head = bytes(data[start : start + 16])
    if head[:4] != b"GRIB":
        raise ValueError(f"byte {start} starts with {head[:4]!r}, not with b'GRIB'")
    if len(head) < 16:
        raise ValueError(f"the message at byte {start} ends inside its section 0")
    edition = head[7]
    if edition == 2:
        return int.from_bytes(head[8:16], "big")
    if edition == 1:
        coded = int.from_bytes(head[4:7], "big")
        return _large_grib1_nbytes(data, start, coded) if coded & 0x800000 else coded
    raise ValueError(f"the message at byte {start} is of GRIB edition {edition}, not 1 or 2")


def _large_grib1_nbytes(data: bytes | memoryview | mmap, start: int, coded: int) -> int:
    section1 = start + 8
    flags = bytes(data[section1 + 7 : section1 + 8])
    position = section1 + _uint24(data, section1)
    for present in (0x80, 0x40):  # sections 2 and 3 are optional
        if flags and flags[0] & present:
            position += _uint24(data, position)
    excess = _uint24(data, position)
    return (coded & 0x7FFFFF) * 120 - excess + 4 if excess < 120 else coded


def _uint24(data: bytes | memoryview | mmap, position: int) -> int:
    octets = bytes(data[position : position + 3])
    if len(octets) < 3:
        raise ValueError(f"the message ends at byte {len(data)}, inside its headers")
    return int.from_bytes(octets, "big")


def _framing_problem(expected: ByteRange, data: bytes | memoryview) -> str | None:
    if expected.stop is not None and len(data) != _nbytes(expected):
        return f"{len(data)} bytes came instead of {_nbytes(expected)}"
    try:
        nbytes = message_nbytes(data)
    except ValueError as error:
        return str(error)
    if nbytes != len(data):
        return f"the message's own length field says {nbytes} bytes, not {len(data)}"
    if bytes(data[-4:]) != b"7777":
        return f"it ends with {bytes(data[-4:])!r}, not with b'7777'"
    return None


def _attempt(parse: Callable[[int, str], Message], number: int, line: str) -> Message:
    try:
        return parse(number, line.strip())
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InventoryMalformed(
            f"line {number} of the inventory cannot be read: {line[:200]!r}: {reason}"
        ) from error


def _parse_idx_line(_line_number: int, line: str) -> Message:
    number, start, date, parameter, level, step, *rest = line.split(":")
    count, _, submessage = number.partition(".")
    start_step, end_step, statistic = _parse_idx_step(step)
    qualifiers = tuple(text.strip() for text in rest if text.strip())
    return Message(
        number=int(count),
        submessage=int(submessage) if submessage else None,
        start=_not_negative(int(start), "offset"),
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


_LEVEL_NUMBER = re.compile(r"^[-+]?[\d.]+(?:-[-+]?[\d.]+)?\s+")
_UNKNOWN_PARAMETER = re.compile(
    r"var discipline=(\d+) (?:\w+=\d+ )*?parmcat=(\d+) parm=(\d+)", re.ASCII
)
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


_INDEX_KEYS = frozenset(
    {"param", "variable", "levtype", "levelist", "level", "step", "lead_hours", "date", "time"}
    | {"number", "ensemble_member", "_offset", "offset", "_length", "length"}
)


def _parse_index_line(number: int, line: str) -> Message:
    entry = json.loads(line)
    start = _not_negative(int(_first(entry, "_offset", "offset")), "offset")
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


def _not_negative(value: int, name: str) -> int:
    if value < 0:
        raise ValueError(f"{name} {value} is negative")
    return value


def _not_found_text(messages: Sequence[Message], selector: Selector) -> str:
    def distance(message: Message) -> tuple[int, bool, float]:
        differing = selector.differences(message)
        return len(differing), "parameter" in differing, -_likeness(selector, message)

    nearest = heapq.nsmallest(3, messages, key=distance)
    shown = "; ".join(
        f"{message.raw!r} (differs in {', '.join(selector.differences(message))})"
        for message in nearest
    )
    return f"none of {len(messages)} messages matches {selector}; nearest: {shown or 'none'}"


def _likeness(selector: Selector, message: Message) -> float:
    """How much alike parameter and level are, as texts: 2 is the same."""
    score = 0.0
    for asked, has in ((selector.parameter, message.parameter), (selector.level, message.level)):
        texts = (asked or "",) if isinstance(asked, str | None) else asked
        score += max((SequenceMatcher(None, text, has).ratio() for text in texts), default=0.0)
    return score


def _nbytes(byte_range: ByteRange) -> int:
    """Size of a range that is known to be closed."""
    return cast(int, byte_range.stop) - byte_range.start


def _covers(outer: ByteRange, inner: ByteRange) -> bool:
    return outer.stop is None or (inner.stop is not None and inner.stop <= outer.stop)


def _range_text(byte_range: ByteRange) -> str:
    return f"{byte_range.start}:{'' if byte_range.stop is None else byte_range.stop}"
