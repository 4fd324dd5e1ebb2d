"""Whether the sections of an edition 1 message can be what their headers say.

Source of the format: WMO Manual on Codes I.2, FM 92 GRIB edition 1, sections 2 to 4.
"""

import numpy as np

from gridmill.sources.grib.framing import GribCorrupt, GribRefused, grib1_sections, uint

__all__ = ["NOT_GIVEN", "WITH_ROWS", "check_packing", "check_structure"]

# A number of columns that is not given: each row has its own.
NOT_GIVEN = 65_535
# Data representation types, and the octets of each before the lists that may follow.
WITH_ROWS = {0: 32, 4: 32, 10: 42, 14: 42, 20: 42, 24: 42, 30: 52, 34: 52}
# Octet 4 of section 4, and octet 14.
_SECOND_ORDER, _MORE_FLAGS = 0x40, 0x10
_MATRIX, _SECONDARY_BITMAPS = 0x40, 0x20
_FIRST_DATA = 11


def check_structure(message: bytes) -> None:
    """Check what ecCodes 2.50 follows while it loads a message.

    Raises
    ------
    GribCorrupt
        Vertical coordinates and row lengths do not lie inside section 2.
    GribRefused
        There are several values a point.
    """
    sections = grib1_sections(message)
    data = memoryview(message)[slice(*sections[4])]
    if data[3] & _MORE_FLAGS and len(data) > 13:
        several = _MATRIX if data[3] & _SECOND_ORDER else _MATRIX | _SECONDARY_BITMAPS
        if data[13] & several:
            raise GribRefused("a matrix of values at each point is not taken")
    if 2 in sections:
        _check_lists(memoryview(message)[slice(*sections[2])])


def _check_lists(section: memoryview) -> None:
    n_vertical, place, kind = section[3], section[4], section[5]
    base = WITH_ROWS.get(kind, 32)
    lists = base if place == 255 else place - 1
    has_rows = uint(section, 6, 2) == NOT_GIVEN and kind in WITH_ROWS
    n_rows = uint(section, 8, 2) if has_rows else 0
    stop = lists + 4 * n_vertical + 2 * n_rows
    is_outside = not base <= lists <= stop <= len(section)
    if is_outside or (has_rows and (place == 255 or not n_rows or stop != len(section))):
        raise GribCorrupt(
            f"the grid definition has {len(section)} bytes, for representation {kind} with "
            f"{n_vertical} vertical coordinates at byte {lists} and lists up to byte {stop}"
        )


def check_packing(message: bytes) -> None:
    """Check the number of values against bitmap and data, of simple packing.

    Raises
    ------
    GribCorrupt
        They contradict each other.
    GribRefused
        The bitmap is not in the message.
    """
    view = memoryview(message)
    sections = {number: view[slice(*span)] for number, span in grib1_sections(message).items()}
    data = sections[4]
    flags, bits = data[3], data[10]
    n_marked = _count_marked(sections.get(3))
    if bits > 32:
        raise GribCorrupt(f"values of {bits} bits")
    if flags & _SECOND_ORDER:
        _check_second_order(data)
        return
    if bits == 0:
        return
    n_values = ((len(data) - _FIRST_DATA) * 8 - (flags & 0x0F)) // bits
    if n_marked is not None and n_values < n_marked:
        raise GribCorrupt(f"{n_values} values of {bits} bits for {n_marked} points")


def _check_second_order(data: memoryview) -> None:
    """Check that first and second order values start inside the section (octets 12 and 15)."""
    first, second, n_groups = uint(data, 11, 2), uint(data, 14, 2), uint(data, 16, 2)
    if not (len(data) > 21 and first <= len(data) and second <= len(data) and n_groups):
        raise GribCorrupt(
            f"second order packing of {n_groups} groups with values at bytes {first} and {second} "
            f"of {len(data)}"
        )


def _count_marked(section: memoryview | None) -> int | None:
    """Count the points that have a value; None without a bitmap."""
    if section is None:
        return None
    if uint(section, 4, 2):
        raise GribRefused(f"the bitmap is number {uint(section, 4, 2)}, not in the message")
    unused = section[3]
    n_bits = (len(section) - 6) * 8 - unused
    if n_bits < 1:
        raise GribCorrupt(f"a bitmap of {len(section) - 6} bytes of which {unused} bits are unused")
    bits = np.unpackbits(np.frombuffer(section[6:], np.uint8), count=n_bits)
    return int(bits.sum())
