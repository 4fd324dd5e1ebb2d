"""GRIB messages as bytes: where they start, what sections they have, whether these agree.

Covers the framing of editions 1 and 2, messages that pack several fields, and the checks that keep
damaged bytes away from the decoder: ecCodes 2.50 ends the process, by an assertion or a
segmentation fault, on headers that contradict each other. It decodes no value.

Sources of the formats: WMO Manual on Codes I.2, FM 92 GRIB (sections 0 to 8, data representation
templates 5.0 to 5.42, data templates 7.2 and 7.3); ISO/IEC 15444-1, annex A (JPEG 2000 markers);
https://www.w3.org/TR/png (chunks).

See Also
--------
gridmill.sources.grib.messages : decodes the messages.
"""

import mmap
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.framing import message_nbytes

__all__ = [
    "EncodedMessage",
    "GribCorrupt",
    "GribRefused",
    "Section",
    "check_consistency",
    "find_field",
    "grid_definition",
    "iter_messages",
]


class GribRefused(ValueError):  # noqa: N818
    """The message is well formed, but gridmill does not take it; the text says why."""


class GribCorrupt(ValueError):  # noqa: N818
    """The bytes are not a whole GRIB message, contradict themselves, or cannot be decoded."""


class EncodedMessage(NamedTuple):
    """One field, still encoded.

    Attributes
    ----------
    offset
        Where the message starts in the file or buffer, in bytes.
    submessage
        The field's place, counted from 1, in a message that packs several; else None.
    data
        A whole GRIB message with this field alone.
    """

    offset: int
    submessage: int | None
    data: bytes


class Section(NamedTuple):
    """A section of an edition 2 message, from byte `start`; `stop` is not included."""

    number: int
    start: int
    stop: int


def iter_messages(source: Path | bytes) -> Iterator[EncodedMessage]:
    """Yield every field of a local file, or of bytes, in order.

    Bytes between messages (bulletin headers, padding) are skipped. A message that packs several
    fields, as NCEP's wind components may be, is taken apart into one message a field.

    Raises
    ------
    GribCorrupt
        There is no GRIB message, or one is cut off or contradicts its own lengths. Messages before
        it have been yielded.

    Notes
    -----
    Thread-safe; holds one message in memory and the file open until it is exhausted or closed.
    """
    if isinstance(source, bytes):
        yield from _iter_buffer(source)
        return
    with source.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise GribCorrupt(f"{source} is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield from _iter_buffer(buffer)


def find_field(message: bytes) -> list[Section]:
    """Check that `message` is one whole message with one field, and find its sections.

    Returns
    -------
    list of Section
        In their order; none of edition 1, whose sections are checked.

    Raises
    ------
    GribCorrupt
        Its start, end, length or sections say that it is not whole, or is more than one.
    GribRefused
        It packs several fields.
    """
    if len(_cut_message(message, 0)) != len(message):
        raise GribCorrupt(f"{len(message)} bytes are more than one message; use iter_messages")
    if message[7] == 1:
        _check_grib1(message)
        return []
    sections = _find_sections(message, 0)
    if sum(section.number == 7 for section in sections) != 1:
        raise GribRefused("the message packs several fields: take it apart with iter_messages")
    return sections


def check_consistency(message: bytes, sections: Sequence[Section]) -> None:
    """Check that the values of a message can be there; `sections` as of `find_field`.

    What is checked: the number of values against points and bitmap, and that the packed data can
    hold so many (templates 5.0, 5.2, 5.3, 5.40 and 5.41).

    Raises
    ------
    GribCorrupt
        They cannot.
    GribRefused
        The message uses a bitmap that it does not carry, or a packing other than simple, complex,
        IEEE, JPEG 2000, PNG and CCSDS (in edition 1 ecCodes decides).

    Notes
    -----
    Thread-safe. Costs 1 to 10 % of the decoding.
    """
    try:
        if sections:
            view = memoryview(message)
            _check_grib2({number: view[start:stop] for number, start, stop in sections})
    except IndexError as error:
        raise GribCorrupt("a section of the message ends inside its own headers") from error


def grid_definition(message: bytes, sections: Sequence[Section]) -> bytes | None:
    """Give section 3 of a message, which says all of its grid; None in edition 1."""
    for number, start, stop in sections:
        if number == 3:
            return message[start:stop]
    return None


def _iter_buffer(buffer: bytes | mmap.mmap) -> Iterator[EncodedMessage]:
    found = False
    offset = buffer.find(b"GRIB")
    while offset >= 0:
        found = True
        message = _cut_message(buffer, offset)
        fields = _split_fields(message, offset)
        for place, field in enumerate(fields, start=1):
            yield EncodedMessage(offset, place if len(fields) > 1 else None, field)
        offset = buffer.find(b"GRIB", offset + len(message))
    if not found:
        raise GribCorrupt(f"there is no GRIB message in {len(buffer)} bytes: {buffer[:40]!r}")


def _cut_message(buffer: bytes | mmap.mmap, offset: int) -> bytes:
    try:
        nbytes = message_nbytes(buffer, offset)
    except ValueError as error:
        raise GribCorrupt(str(error)) from error
    message = buffer[offset : offset + nbytes]
    if len(message) < nbytes:
        raise GribCorrupt(
            f"the message at byte {offset} has {nbytes} bytes by its length field, but the data "
            f"end after {len(message)}: the file is cut off"
        )
    if message[-4:] != b"7777":
        raise GribCorrupt(
            f"the message at byte {offset} ends with {message[-4:]!r} after its {nbytes} bytes, "
            "not with b'7777': it is damaged or cut off"
        )
    return message


def _split_fields(message: bytes, offset: int) -> list[bytes]:
    """Make one message a field: sections 2 to 7, 3 to 7 or 4 to 7 may repeat in edition 2."""
    if message[7] != 2:
        return [message]
    sections = _find_sections(message, offset)
    if sum(section.number == 7 for section in sections) == 1:
        return [message]
    fields: list[bytes] = []
    current: dict[int, bytes] = {}
    bitmap = None
    for number, start, stop in sections:
        current[number] = message[start:stop]
        if number == 6:
            # 254 refers to the bitmap that was last defined in the message.
            bitmap = bitmap if message[start + 5] in (254, 255) else current[6]
            if message[start + 5] == 254:
                if bitmap is None:
                    raise GribCorrupt(f"the message at byte {offset} refers to a bitmap it lacks")
                current[6] = bitmap
        elif number == 7:
            body = b"".join(current[key] for key in sorted(current))
            nbytes = 16 + len(body) + 4
            fields.append(message[:8] + nbytes.to_bytes(8, "big") + body + b"7777")
    return fields


def _find_sections(message: bytes, offset: int) -> list[Section]:
    """Find the sections 1 to 7 of an edition 2 message, in its order."""
    sections = []
    start, end = 16, len(message) - 4
    while start < end:
        nbytes = _uint(message, start, 4)
        number = message[start + 4]
        # The data section of a constant field is empty.
        if not 1 <= number <= 7 or nbytes < (5 if number == 7 else 6) or start + nbytes > end:
            raise GribCorrupt(
                f"the message at byte {offset} is damaged: at its byte {start} of {len(message)} "
                f"is a section with the number {number} and {nbytes} bytes"
            )
        sections.append(Section(number, start, start + nbytes))
        start += nbytes
    present = {section.number for section in sections}
    if not {1, 3, 4, 5, 6, 7} <= present:
        raise GribCorrupt(f"the message at byte {offset} has only the sections {sorted(present)}")
    return sections


# Consistency. `_uint` counts bytes from 0, so octet n of a section is its byte n - 1.


def _check_grib1(message: bytes) -> None:
    """Check that the sections 1 to 4 lie one behind the other inside the message."""
    start, end = 8, len(message) - 4
    flags = message[15]
    present = [True, bool(flags & 0x80), bool(flags & 0x40), True]
    for number, is_present in enumerate(present, start=1):
        if not is_present:
            continue
        nbytes = int.from_bytes(message[start : start + 3], "big")
        shortest = (28, 32, 6, 4)[number - 1]
        if nbytes < shortest or start + nbytes > end:
            raise GribCorrupt(
                f"the message is damaged: section {number} has {nbytes} bytes at its byte {start} "
                f"of {len(message)}"
            )
        start += nbytes


def _check_grib2(section: dict[int, memoryview]) -> None:
    n_points, n_values = _uint(section[3], 6, 4), _uint(section[5], 5, 4)
    template = _uint(section[5], 9, 2)
    if template not in _PACKING_CHECKS:
        known = ", ".join(f"5.{number}" for number in _PACKING_CHECKS)
        raise GribRefused(f"data representation template 5.{template} is not taken, only {known}")
    _check_bitmap(section[6], n_points)
    bits = 32 if template == _IEEE else section[5][19]
    without_bitmap = section[6][5] == 255
    if n_values > n_points or (without_bitmap and bits and n_values != n_points):
        raise GribCorrupt(f"{n_values} values for {n_points} points: the headers contradict")
    # Else the field is constant and has no data; but complex packing has its groups even then.
    if bits or template in (_COMPLEX, _COMPLEX_DIFFERENCES):
        _PACKING_CHECKS[template](section[5], section[7][5:], n_values)


def _check_bitmap(section: memoryview, n_points: int) -> None:
    indicator = section[5]
    if indicator not in (0, 255):
        raise GribRefused(f"the bitmap is number {indicator}, which is not in the message")
    if indicator == 0 and (len(section) - 6) * 8 < n_points:
        raise GribCorrupt(f"a bitmap of {len(section) - 6} bytes for {n_points} points")


def _check_simple(header: memoryview, data: memoryview, n_values: int) -> None:
    if n_values * header[19] > len(data) * 8:
        raise GribCorrupt(f"{len(data)} bytes do not hold {n_values} values of {header[19]} bits")


def _check_complex(header: memoryview, data: memoryview, n_values: int) -> None:
    """Check that groups add up to the values and fit into the data: templates 7.2 and 7.3."""
    n_groups = _uint(header, 31, 4)
    if max(header[19], header[36], header[46]) > 32 or not 1 <= n_groups <= n_values:
        raise GribCorrupt(
            f"{n_groups} groups of {header[19]}, {header[36]} and {header[46]} bits for {n_values} "
            "values"
        )
    starts = [_count_extra_octets(header)]
    for bits in (header[19], header[36], header[46]):  # references, widths, lengths
        starts.append(starts[-1] + (n_groups * bits + 7) // 8)
    n_octets = len(data) - starts[3]
    if n_octets < 0:
        raise GribCorrupt(f"{len(data)} bytes do not hold the headers of {n_groups} groups")
    least_width, least_length, increment = header[35], _uint(header, 37, 4), header[41]
    widest, n_in_groups, n_bits = 0, 0, 0
    for first in range(0, n_groups, _GROUPS_AT_ONCE):
        count = min(_GROUPS_AT_ONCE, n_groups - first)
        # Widths w of least_width + w bits, lengths l of least_length + increment * l values.
        widths = _unpack(data[starts[1] : starts[2]], first, count, header[36])
        lengths = _unpack(data[starts[2] : starts[3]], first, count, header[46])
        widest = max(widest, least_width + int(widths.max()))
        in_these = count * least_length + increment * int(lengths.sum())
        n_in_groups += in_these
        n_bits += least_width * in_these + least_length * int(widths.sum())
        n_bits += increment * int(np.dot(widths, lengths))
    # The length of the last group stands in the header.
    beyond = _uint(header, 42, 4) - (least_length + increment * int(lengths[-1]))
    n_in_groups += beyond
    n_bits += beyond * (least_width + int(widths[-1]))
    if widest > 32 or n_in_groups != n_values or n_bits > n_octets * 8:
        raise GribCorrupt(
            f"{n_groups} groups of {n_in_groups} values and {n_bits} bits, for {n_values} values "
            f"in {n_octets} bytes"
        )


def _count_extra_octets(header: memoryview) -> int:
    """Count what spatial differencing puts before the groups: first values and a minimum."""
    if _uint(header, 9, 2) != _COMPLEX_DIFFERENCES:
        return 0
    order, n_octets = header[47], header[48]
    if order not in (1, 2) or n_octets > 4:
        raise GribCorrupt(f"spatial differencing of order {order}, {n_octets} octets")
    return (order + 1) * n_octets


def _check_jpeg(_header: memoryview, data: memoryview, n_values: int) -> None:
    """Check the size marker: one component, from the origin, of as many pixels as values."""
    width, height = _uint(data, 8, 4), _uint(data, 12, 4)
    if (
        bytes(data[:4]) != b"\xff\x4f\xff\x51"
        or width * height != n_values
        or _uint(data, 16, 8) != 0
        or _uint(data, 40, 2) != 1
    ):
        raise GribCorrupt(
            f"the JPEG 2000 image is damaged, or not one of {n_values} pixels: {bytes(data[:42])!r}"
        )


def _check_png(header: memoryview, data: memoryview, n_values: int) -> None:
    """Check chunks and their checksums, and pixels and depth against values and bits."""
    if bytes(data[:8]) != b"\x89PNG\r\n\x1a\n" or bytes(data[12:16]) != b"IHDR":
        raise GribCorrupt(f"the PNG image is damaged: {bytes(data[:16])!r}")
    start = 8
    while start < len(data):
        stop = start + 12 + _uint(data, start, 4)
        if stop > len(data) or zlib.crc32(data[start + 4 : stop - 4]) != _uint(data, stop - 4, 4):
            raise GribCorrupt(f"the PNG image's chunk at its byte {start} is damaged")
        if bytes(data[start + 4 : start + 8]) == b"IEND":
            break
        start = stop
    else:
        raise GribCorrupt("the PNG image has no end")
    depth = {2: 24, 6: 32}.get(data[25], data[24])
    if _uint(data, 16, 4) * _uint(data, 20, 4) != n_values or depth != -(-header[19] // 8) * 8:
        raise GribCorrupt(
            f"the PNG image has {_uint(data, 16, 4)} x {_uint(data, 20, 4)} pixels of {depth} bits "
            f"for {n_values} values of {header[19]} bits"
        )


def _check_nothing(_header: memoryview, _data: memoryview, _n_values: int) -> None:
    """Leave it to ecCodes, which names what is wrong."""


_SIMPLE, _COMPLEX, _COMPLEX_DIFFERENCES, _IEEE, _JPEG, _PNG, _CCSDS = 0, 2, 3, 4, 40, 41, 42
_PACKING_CHECKS: dict[int, Callable[[memoryview, memoryview, int], None]] = {
    _SIMPLE: _check_simple,
    _COMPLEX: _check_complex,
    _COMPLEX_DIFFERENCES: _check_complex,
    _IEEE: _check_nothing,
    _JPEG: _check_jpeg,
    _PNG: _check_png,
    _CCSDS: _check_nothing,
}


# Arrays of 256 kB stay in the L2 cache of current CPUs.
_GROUPS_AT_ONCE = 32_768


def _unpack(data: memoryview, first: int, count: int, bits: int) -> NDArray[np.int64]:
    """Read unsigned integers of `bits` bits, at most 32, of those that lie end to end in `data`."""
    if bits == 0:
        return np.zeros(count, np.int64)
    start, skipped = divmod(first * bits, 8)
    stop = -(-(first + count) * bits // 8)
    padded = bytes(data[start:stop]) + bytes(8)
    found = np.empty(count, np.uint64)
    # Every eighth number begins at the same bit, `bits` octets after the one before, and the
    # eight octets from its first on hold it whole.
    for lane in range(min(count, 8)):
        octet, bit = divmod(skipped + lane * bits, 8)
        numbers = found[lane::8]
        numbers[...] = np.ndarray(numbers.shape, ">u8", padded, octet, (bits,))
        numbers >>= np.uint64(64 - bits - bit)
    found &= np.uint64((1 << bits) - 1)
    return found.view(np.int64)


def _uint(data: bytes | memoryview, start: int, nbytes: int) -> int:
    """Read a big-endian unsigned integer; IndexError where the data end before it."""
    if start + nbytes > len(data):
        raise IndexError(start)
    return int.from_bytes(data[start : start + nbytes], "big")
