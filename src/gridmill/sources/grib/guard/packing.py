"""Whether the values of a GRIB message can be there, which keeps damaged bytes from the decoder.

ecCodes 2.50 ends the process, by an assertion or a segmentation fault, on headers that contradict
each other.

Sources of the formats: WMO Manual on Codes I.2, FM 92 GRIB (data representation templates 5.0 to
5.42, data templates 7.2 and 7.3); ISO/IEC 15444-1, annex A (JPEG 2000 markers);
https://www.w3.org/TR/png (chunks).
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.framing import GribCorrupt, GribRefused, Section, uint
from gridmill.sources.grib.guard.edition1 import check_packing

__all__ = ["check_consistency", "is_all_missing"]


def check_consistency(message: bytes, sections: Sequence[Section]) -> None:
    """Check that the values of a message can be there; `sections` as of `find_field`.

    What is checked: the number of values against points and bitmap, and that the packed data can
    hold so many (templates 5.0, 5.2, 5.3, 5.40 and 5.41; in edition 1 simple packing); and that
    values are counted from a number.

    Raises
    ------
    GribCorrupt
        They cannot.
    GribRefused
        The message uses a bitmap that it does not carry, or a packing other than simple, complex,
        IEEE, JPEG 2000, PNG and CCSDS, in edition 1 simple and second order.

    Notes
    -----
    Thread-safe. Costs 1 to 10 % of the decoding.
    """
    try:
        if sections:
            view = memoryview(message)
            _check_grib2({number: view[start:stop] for number, start, stop in sections})
        else:
            check_packing(message)
    except IndexError as error:
        raise GribCorrupt("a section of the message ends inside its own headers") from error


def is_all_missing(message: bytes, sections: Sequence[Section]) -> bool:
    """Whether the bitmap of a message says that it has no value; `sections` as of `find_field`.

    Encoders then write what they like where the data would be: nothing, or groups without a member.
    """
    at = {number: start for number, start, _ in sections}
    if not at or message[at[6] + 5] != 0 or uint(message, at[5] + 5, 4) != 0:
        return False
    bitmap = memoryview(message)[at[6] : at[7]]
    return _count_ones(bitmap[6:], uint(message, at[3] + 6, 4)) == 0


# `uint` counts bytes from 0, so octet n of a section is its byte n - 1.


def _check_grib2(section: dict[int, memoryview]) -> None:
    n_points, n_values = uint(section[3], 6, 4), uint(section[5], 5, 4)
    template = uint(section[5], 9, 2)
    if template not in _PACKING_CHECKS:
        known = ", ".join(f"5.{number}" for number in _PACKING_CHECKS)
        raise GribRefused(f"data representation template 5.{template} is not taken, only {known}")
    bits = 32 if template == _IEEE else section[5][19]
    # Else the field is constant and has no data; but complex packing has its groups even then.
    has_data = bool(bits) or template in (_COMPLEX, _COMPLEX_DIFFERENCES)
    n_marked = _check_bitmap(section[6], n_points)
    if n_values > n_points or (bits and n_values != n_marked):
        marked = "" if n_marked == n_points else f", of which {n_marked} are marked"
        raise GribCorrupt(f"{n_values} values for {n_points} points{marked}: they contradict")
    if n_values and template != _IEEE and uint(section[5], 11, 4) & _NOT_FINITE == _NOT_FINITE:
        raise GribCorrupt("the reference value of its packing is not a finite number")
    if has_data and n_values:
        _PACKING_CHECKS[template](section[5], section[7][5:], n_values)


def _check_bitmap(section: memoryview, n_points: int) -> int:
    """Count the points that have a value."""
    indicator = section[5]
    if indicator == 255:
        return n_points
    if indicator != 0:
        raise GribRefused(f"the bitmap is number {indicator}, which is not in the message")
    if (len(section) - 6) * 8 < n_points:
        raise GribCorrupt(f"a bitmap of {len(section) - 6} bytes for {n_points} points")
    return _count_ones(section[6:], n_points)


def _count_ones(bitmap: memoryview, n_points: int) -> int:
    """Count the ones of the first `n_points` bits."""
    whole, rest = divmod(n_points, 8)
    ones = int(np.bitwise_count(np.frombuffer(bitmap[:whole], np.uint8)).sum())
    return ones + ((bitmap[whole] >> (8 - rest)).bit_count() if rest else 0)


def _check_simple(header: memoryview, data: memoryview, n_values: int) -> None:
    if n_values * header[19] > len(data) * 8:
        raise GribCorrupt(f"{len(data)} bytes do not hold {n_values} values of {header[19]} bits")


def _check_complex(header: memoryview, data: memoryview, n_values: int) -> None:
    """Check that groups add up to the values and fit into the data: templates 7.2 and 7.3."""
    n_groups, management = uint(header, 31, 4), header[22]
    if management > 2:
        # ecCodes would take groups of missing values for values, and decode numbers without sense.
        raise GribCorrupt(
            f"missing value management {management} is not in code table 5.5 (0 to 2)"
        )
    if n_groups == 0:
        return  # a constant field: all values are the reference
    if max(header[19], header[36], header[46]) > 32 or n_groups > n_values:
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
    least_width, least_length, increment = header[35], uint(header, 37, 4), header[41]
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
        n_bits += increment * int((widths * lengths).sum())
    # The length of the last group stands in the header.
    beyond = uint(header, 42, 4) - (least_length + increment * int(lengths[-1]))
    n_in_groups += beyond
    n_bits += beyond * (least_width + int(widths[-1]))
    if widest > 32 or n_in_groups != n_values or n_bits > n_octets * 8:
        raise GribCorrupt(
            f"{n_groups} groups of {n_in_groups} values and {n_bits} bits, for {n_values} values "
            f"in {n_octets} bytes"
        )


def _count_extra_octets(header: memoryview) -> int:
    """Count what spatial differencing puts before the groups: first values and a minimum."""
    if uint(header, 9, 2) != _COMPLEX_DIFFERENCES:
        return 0
    order, n_octets = header[47], header[48]
    if order not in (1, 2) or n_octets > 4:
        raise GribCorrupt(f"spatial differencing of order {order}, {n_octets} octets")
    return (order + 1) * n_octets


def _check_jpeg(_header: memoryview, data: memoryview, n_values: int) -> None:
    """Check the size marker: one component, from the origin, of as many pixels as values."""
    width, height = uint(data, 8, 4), uint(data, 12, 4)
    if (
        bytes(data[:4]) != b"\xff\x4f\xff\x51"
        or width * height != n_values
        or uint(data, 16, 8) != 0
        or uint(data, 40, 2) != 1
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
        stop = start + 12 + uint(data, start, 4)
        if stop > len(data) or zlib.crc32(data[start + 4 : stop - 4]) != uint(data, stop - 4, 4):
            raise GribCorrupt(f"the PNG image's chunk at its byte {start} is damaged")
        if bytes(data[start + 4 : start + 8]) == b"IEND":
            break
        start = stop
    else:
        raise GribCorrupt("the PNG image has no end")
    depth = {2: 24, 6: 32}.get(data[25], data[24])
    if uint(data, 16, 4) * uint(data, 20, 4) != n_values or depth != -(-header[19] // 8) * 8:
        raise GribCorrupt(
            f"the PNG image has {uint(data, 16, 4)} x {uint(data, 20, 4)} pixels of {depth} bits "
            f"for {n_values} values of {header[19]} bits"
        )


def _check_nothing(_header: memoryview, _data: memoryview, _n_values: int) -> None:
    """Leave it to ecCodes, which names what is wrong."""


# The exponent of an IEEE number of four octets: ecCodes takes these for a number of 1e38.
_NOT_FINITE = 0x7F800000
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
