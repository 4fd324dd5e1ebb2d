"""Values of a GRIB message by the formulas of its specification, and why two decoders differ.

A third opinion, slow and short: integers without a bound, and arithmetic in float64. What JPEG2000,
PNG and CCSDS hold are their integers as ecCodes unpacks them, so that for these it is an opinion on
the arithmetic alone. Sources: WMO Manual on Codes, FM 92, templates 5.0, 5.2, 5.3 and 5.4, and for
edition 1 section 4 with table 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import eccodes
import numpy as np

# Beyond this the integers of a 32-bit decoder wrap around.
WIDEST = 31
# What is nearer to 0 than float32 can say in full.
TINY = 1e-30
UNEXPLAINED = "unexplained"
WITH_CODEC = (40, 41, 42)


@dataclass(frozen=True)
class Packing:
    """How a message's values are packed: its template, and what the formula needs."""

    template: int
    reference: float
    binary: int
    decimal: int
    nbits: int
    missing: int = 0

    def values(self, integers: list[int | None]) -> np.ndarray:
        """Return the values of integers; None is a missing one."""
        scale, unit = np.float64(2.0) ** self.binary, np.float64(10.0) ** -self.decimal
        found = [np.nan if x is None else (self.reference + x * scale) * unit for x in integers]
        return np.array(found, dtype=float)


def by_formula(message: bytes) -> tuple[Packing, np.ndarray]:
    """Return how a message is packed, and its values in the order in which they are stored.

    Raises
    ------
    NotImplementedError
        Its template is none of those here.
    """
    return _edition_1(message) if message[7] == 1 else _edition_2(message)


def cause(message: bytes, mine: np.ndarray, theirs: np.ndarray) -> str:
    """Say which of two decoders gives what the formulas give, and what the other does.

    Parameters
    ----------
    message
        With one field.
    mine, theirs
        Values, in any order.
    """
    try:
        with np.errstate(all="ignore"):
            packing, values = by_formula(message)
            values = np.sort(values.astype(np.float32))
    except (
        NotImplementedError,
        KeyError,
        IndexError,
        ValueError,
        eccodes.CodesInternalError,
    ) as error:
        return f"{UNEXPLAINED}: no third opinion ({type(error).__name__})"
    if is_same(mine, values):
        return f"ours is right: {_their_fault(packing, theirs, values)}"
    if packing.template != 4 and packing.nbits == 0 and _is_all(mine, packing.reference):
        return "constant field: ecCodes takes the reference value without its decimal scale"
    if all(np.nanmax(np.abs(one), initial=0.0) < TINY for one in (mine, theirs)):
        return "values next to 0: ecCodes takes IEEE's denormal numbers for normal ones"
    if not np.isfinite(values[~np.isnan(values)]).all():
        return "beyond what float32 holds"
    is_theirs = is_same(theirs, values)
    return f"{UNEXPLAINED}: {'theirs is right' if is_theirs else 'neither is as the formula says'}"


def _is_all(values: np.ndarray, one: float) -> bool:
    """Whether all values but missing ones are the same, within float32's least normal number."""
    there = values[~np.isnan(values)].astype(float)
    return bool(np.allclose(there, one, rtol=1e-6, atol=2e-38))


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether sorted values are the same but for the rounding of float32."""
    if one.shape != other.shape:
        return False
    finite = np.abs(one[np.isfinite(one)].astype(float))
    step = 1e-6 * finite.max(initial=0.0)
    return bool(np.allclose(one, other, rtol=1e-6, atol=step, equal_nan=True))


def _their_fault(packing: Packing, theirs: np.ndarray, values: np.ndarray) -> str:
    if theirs.shape != values.shape:
        return "another size"
    if packing.template in (2, 3) and _is_wide(values, packing):
        return f"integers of more than {WIDEST} bits"
    if np.isnan(theirs).sum() != np.isnan(values).sum():
        return "other values are missing"
    if np.nanmax(np.abs(values), initial=0.0) < TINY:
        return "values next to 0"
    return "scale" if packing.nbits else "constant field"


def _is_wide(values: np.ndarray, packing: Packing) -> bool:
    unit = np.float64(10.0) ** packing.decimal / np.float64(2.0) ** packing.binary
    with np.errstate(all="ignore"):
        largest = np.nanmax(np.abs(values.astype(float) * unit), initial=0.0)
    return bool(largest >= 2.0 ** (WIDEST - 1))


def _edition_1(message: bytes) -> tuple[Packing, np.ndarray]:
    start, flags = 8, message[15]
    decimal = _signed(message[8 + 26 : 8 + 28])
    start += int.from_bytes(message[8:11], "big")
    for present in (0x80, 0x40):
        start += int.from_bytes(message[start : start + 3], "big") if flags & present else 0
    section = message[start:]
    if section[3] >> 4 & 0b1101 or flags & 0x40:
        raise NotImplementedError("neither simple packing nor without a bitmap")
    reference = _ibm(section[6:10])
    packing = Packing(0, reference, _signed(section[4:6]), decimal, section[10])
    nbytes = int.from_bytes(section[:3], "big")
    many = ((nbytes - 11) * 8 - (section[3] & 15)) // packing.nbits if packing.nbits else 0
    if not many:
        many = _size(message)
    return packing, packing.values(list(_integers(section[11:], packing.nbits, many)))


def _edition_2(message: bytes) -> tuple[Packing, np.ndarray]:
    sections = _sections(message)
    five, seven = sections[5], sections[7][5:]
    many, template = int.from_bytes(five[5:9], "big"), int.from_bytes(five[9:11], "big")
    if template == 4:
        kind = {1: ">f4", 2: ">f8"}[five[11]]
        return Packing(4, 0, 0, 0, 32), _spread(sections, np.frombuffer(seven, kind, many))
    reference = struct.unpack(">f", five[11:15])[0]
    packing = Packing(template, reference, _signed(five[15:17]), _signed(five[17:19]), five[19])
    if template == 0 or (packing.nbits == 0 and template in WITH_CODEC):
        integers: list[int | None] = list(_integers(seven, packing.nbits, many))
    elif template in (2, 3):
        integers = _complex(five, seven, many)
    elif template in WITH_CODEC:
        integers = _unpacked(message)
    else:
        raise NotImplementedError(f"template 5.{template}")
    return packing, _spread(sections, packing.values(integers))


def _sections(message: bytes) -> dict[int, bytes]:
    found, start = {}, 16
    while start < len(message) - 4:
        nbytes = int.from_bytes(message[start : start + 4], "big")
        found[message[start + 4]] = message[start : start + nbytes]
        start += nbytes
    return found


def _spread(sections: dict[int, bytes], values: np.ndarray) -> np.ndarray:
    """Put values where the bitmap has a point."""
    if sections[6][5] == 255:
        return values
    if sections[6][5] != 0:
        raise NotImplementedError("a bitmap that is not in the message")
    points = int.from_bytes(sections[3][6:10], "big")
    is_there = np.unpackbits(np.frombuffer(sections[6][6:], np.uint8))[:points].astype(bool)
    spread = np.full(points, np.nan)
    spread[is_there] = values[: is_there.sum()]
    return spread


def _complex(five: bytes, seven: bytes, many: int) -> list[int | None]:
    """Unpack groups, and undo differences."""
    management, nbits = five[22], five[19]
    groups, (width_0, width_bits) = int.from_bytes(five[31:35], "big"), five[35:37]
    length_0, increment = int.from_bytes(five[37:41], "big"), five[41]
    last, length_bits = int.from_bytes(five[42:46], "big"), five[46]
    if not groups:
        return [0] * many
    order, octets = (five[47], five[48]) if int.from_bytes(five[9:11], "big") == 3 else (0, 0)
    told = [seven[n * octets : (n + 1) * octets] for n in range(order + 1 if order else 0)]
    # The first are scaled values themselves, which have no sign: so ecCodes and wgrib2 read them.
    descriptors = [*(int.from_bytes(one, "big") for one in told[:-1]), *map(_signed, told[-1:])]
    at = len(told) * octets
    table = []
    for width in (nbits, width_bits, length_bits):
        table.append(_integers(seven[at:], width, groups))
        at += -(-groups * width // 8)
    references, widths, lengths = table
    lengths = [length_0 + increment * n for n in lengths[:-1]] + [last]
    found: list[int | None] = []
    start = 8 * at
    for reference, wider, length in zip(references, widths, lengths, strict=True):
        width = width_0 + wider
        held = _integers(seven, width, min(length, many), start)
        found += [_held(x, reference, width, nbits, management) for x in held]
        start += width * length
    return _undone(found[:many], order, descriptors)


def _held(x: int, reference: int, width: int, nbits: int, management: int) -> int | None:
    """Return a value of a group, None where the highest numbers say that it is missing."""
    told, top = (x, (1 << width) - 1) if width else (reference, (1 << nbits) - 1)
    return None if top - told in range(management) and (width or nbits) else reference + x


def _undone(found: list[int | None], order: int, descriptors: list[int]) -> list[int | None]:
    if not order:
        return found
    *first, least = descriptors
    there = [n for n, x in enumerate(found) if x is not None]
    for n, at in enumerate(there):
        if n < order:
            found[at] = first[n]
        else:
            one, two = found[there[n - 1]], found[there[n - 2]] if order == 2 else 0
            found[at] += least + (2 * one - two if order == 2 else one)
    return found


def _unpacked(message: bytes) -> list[int | None]:
    """Return the integers of a message as ecCodes unpacks them: without reference and scales."""
    plain, start = bytearray(message), 16
    while plain[start + 4] != 5:
        start += int.from_bytes(plain[start : start + 4], "big")
    plain[start + 11 : start + 19] = bytes(8)
    handle = eccodes.codes_new_from_message(bytes(plain))
    try:
        return [int(x) for x in eccodes.codes_get_array(handle, "codedValues")]
    finally:
        eccodes.codes_release(handle)


def _size(message: bytes) -> int:
    handle = eccodes.codes_new_from_message(message)
    try:
        return int(eccodes.codes_get_size(handle, "values"))
    finally:
        eccodes.codes_release(handle)


def _integers(content: bytes, width: int, many: int, start: int = 0) -> list[int]:
    """Read numbers of `width` bits one after the other, from the bit `start` on."""
    if not width:
        return [0] * many
    found, mask = [], (1 << width) - 1
    if start + many * width > 8 * len(content):
        raise IndexError("there are fewer numbers")
    for at in range(start, start + many * width, width):
        end = -(-(at + width) // 8)
        found.append(int.from_bytes(content[at // 8 : end], "big") >> 8 * end - at - width & mask)
    return found


def _signed(content: bytes) -> int:
    """Read a number whose first bit is its sign."""
    whole, top = int.from_bytes(content, "big"), 1 << (8 * len(content) - 1)
    return whole if not content or whole < top else top - whole


def _ibm(content: bytes) -> float:
    whole = int.from_bytes(content, "big")
    size = (whole & 0xFFFFFF) / (1 << 24) * 16.0 ** ((whole >> 24 & 0x7F) - 64)
    return -size if whole >> 31 else size
