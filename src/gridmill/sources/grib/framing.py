"""GRIB messages as bytes: where they start, how long they are, and what sections they have.

Covers the framing of editions 1 and 2, and messages that pack several fields. It decodes no value.

Sources of the formats: WMO Manual on Codes I.2, FM 92 GRIB (sections 0 to 8).

See Also
--------
gridmill.sources.grib.guard : whether the sections agree with each other.
gridmill.sources.grib.messages : decodes the messages.
"""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "EncodedMessage",
    "GribCorrupt",
    "GribRefused",
    "Section",
    "find_field",
    "grib1_sections",
    "grid_definition",
    "iter_messages",
    "message_nbytes",
    "uint",
    "without_local_section",
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

    Bytes between messages (bulletin headers, padding) are skipped, and so is a message that is cut
    off or damaged, until all others have been yielded. A message that packs several
    fields, as NCEP's wind components may be, is taken apart into one message a field.

    Raises
    ------
    GribCorrupt
        There is no GRIB message, or one is cut off or contradicts its own lengths; then it comes
        last, about the first of them.

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
        grib1_sections(message)
        return []
    sections = _find_sections(message, 0)
    if sum(section.number == 7 for section in sections) != 1:
        raise GribRefused("the message packs several fields: take it apart with iter_messages")
    return sections


def grid_definition(message: bytes, sections: Sequence[Section]) -> bytes | None:
    """Return section 3 of a message, which says all of its grid; None in edition 1."""
    for number, start, stop in sections:
        if number == 3:
            return message[start:stop]
    return None


def without_local_section(message: bytes, sections: Sequence[Section]) -> bytes:
    """Return an edition 2 message without its section 2, whose contents are its centre's own."""
    body = b"".join(message[start:stop] for number, start, stop in sections if number != 2)
    return _framed(message, body)


def message_nbytes(data: bytes | memoryview | mmap.mmap, start: int = 0) -> int:
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


def _large_grib1_nbytes(data: bytes | memoryview | mmap.mmap, start: int, coded: int) -> int:
    section1 = start + 8
    flags = bytes(data[section1 + 7 : section1 + 8])
    position = section1 + _uint24(data, section1)
    for present in (0x80, 0x40):  # sections 2 and 3 are optional
        if flags and flags[0] & present:
            position += _uint24(data, position)
    excess = _uint24(data, position)
    return (coded & 0x7FFFFF) * 120 - excess + 4 if excess < 120 else coded


def _uint24(data: bytes | memoryview | mmap.mmap, position: int) -> int:
    octets = bytes(data[position : position + 3])
    if len(octets) < 3:
        raise ValueError(f"the message ends at byte {len(data)}, inside its headers")
    return int.from_bytes(octets, "big")


def _iter_buffer(buffer: bytes | mmap.mmap) -> Iterator[EncodedMessage]:
    first_problem: GribCorrupt | None = None
    found = False
    offset = buffer.find(b"GRIB")
    while offset >= 0:
        stop = offset + len(b"GRIB")
        # Letters in a bulletin's header are not the start of a message.
        if buffer[offset + 7 : offset + 8] in (b"\1", b"\2"):
            found = True
            try:
                message = _cut_message(buffer, offset)
                fields = _split_fields(message, offset)
            except GribCorrupt as error:
                first_problem = first_problem or error
            else:
                stop = offset + len(message)
                for place, field in enumerate(fields, start=1):
                    yield EncodedMessage(offset, place if len(fields) > 1 else None, field)
        offset = buffer.find(b"GRIB", stop)
    if first_problem is not None:
        raise first_problem
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
            fields.append(_framed(message, body))
    return fields


def _framed(message: bytes, body: bytes) -> bytes:
    """Put sections between the first 8 octets of a message with its length, and its end."""
    return message[:8] + (16 + len(body) + 4).to_bytes(8, "big") + body + b"7777"


def _find_sections(message: bytes, offset: int) -> list[Section]:
    """Find the sections 1 to 7 of an edition 2 message, in its order."""
    sections = []
    start, end = 16, len(message) - 4
    while start < end:
        nbytes = uint(message, start, 4)
        number = message[start + 4]
        # The data section of a constant field is empty, and a local section may be.
        least = 5 if number in (2, 7) else 6
        if not 1 <= number <= 7 or nbytes < least or start + nbytes > end:
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


def grib1_sections(message: bytes) -> dict[int, tuple[int, int]]:
    """Find the sections 1 to 4 of an edition 1 message, which lie one behind the other.

    Returns
    -------
    dict
        By number, where a section starts and where it stops; 2 and 3 are optional.

    Raises
    ------
    GribCorrupt
        A section is too short, or they do not fill the message.
    """
    start, end = 8, len(message) - 4
    flags = message[15]
    is_large = bool(message[4] & 0x80)  # see `message_nbytes`: section 4 does not say its length
    present = [True, bool(flags & 0x80), bool(flags & 0x40), True]
    found = {}
    for number, is_present in enumerate(present, start=1):
        if not is_present:
            continue
        nbytes = int.from_bytes(message[start : start + 3], "big")
        if number == 4 and is_large:
            nbytes = end - start
        shortest = (28, 32, 6, 12)[number - 1]
        beyond = start + nbytes > end or (number == 4 and start + nbytes != end)
        if nbytes < shortest or beyond:
            raise GribCorrupt(
                f"the message is damaged: section {number} has {nbytes} bytes at its byte {start} "
                f"of {len(message)}"
            )
        found[number] = (start, start + nbytes)
        start += nbytes
    return found


def uint(data: bytes | memoryview, start: int, nbytes: int) -> int:
    """Read a big-endian unsigned integer; IndexError where the data end before it."""
    if start + nbytes > len(data):
        raise IndexError(start)
    return int.from_bytes(data[start : start + nbytes], "big")
