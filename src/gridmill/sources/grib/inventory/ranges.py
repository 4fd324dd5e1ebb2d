"""The bytes of the messages of an inventory: merged, found again in what came, and checked. Pure.

The check is that the bytes which came really are the message that the inventory promised.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import cast

from gridmill.sources.grib.framing import message_nbytes
from gridmill.sources.grib.inventory.message import ByteRange, InventoryMismatch, Message

__all__ = ["check_message", "local_byte_ranges", "merge_byte_ranges", "with_file_size"]


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


def _nbytes(byte_range: ByteRange) -> int:
    """Size of a range that is known to be closed."""
    return cast(int, byte_range.stop) - byte_range.start


def _covers(outer: ByteRange, inner: ByteRange) -> bool:
    return outer.stop is None or (inner.stop is not None and inner.stop <= outer.stop)


def _range_text(byte_range: ByteRange) -> str:
    return f"{byte_range.start}:{'' if byte_range.stop is None else byte_range.stop}"
