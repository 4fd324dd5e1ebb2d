"""Whether the grid of a GRIB message can be what its header says, before ecCodes is asked.

ecCodes computes from headers how many points a grid has and where they lie, and ends the process
where they contradict each other.

Sources of the formats: WMO Manual on Codes I.2, FM 92 GRIB: section 3 and its templates; edition 1,
section 2 and its data representation types.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.framing import GribCorrupt, GribRefused, Section, grib1_sections, uint
from gridmill.sources.grib.gaussian import row_counts
from gridmill.sources.grib.guard.edition1 import NOT_GIVEN, WITH_ROWS

__all__ = ["MOST_POINTS", "check_grid"]

# A field of this size takes 2 GiB in float64; global grids of 1.3 km have fewer. A constant field
# of 200 bytes may claim any number.
MOST_POINTS = 2**28

# GRIB2 grid definition templates with rows, and the octets of each before its list of row lengths.
_WITH_ROWS = {0: 72, 1: 84, 2: 84, 3: 96, 40: 72, 41: 84, 42: 84, 43: 96}
_SPECTRAL = {50, 51, 52, 53, 61, 62, 63}
# Data representation types of edition 1.
_GAUSSIAN_1, _SPECTRAL_1 = {4, 14, 24, 34}, {50, 60, 70, 80}


def check_grid(message: bytes, sections: Sequence[Section]) -> None:
    """Check that ecCodes can be asked for the grid of a message; `sections` as of `find_field`.

    Raises
    ------
    GribCorrupt
        Lengths, rows and points contradict each other.
    GribRefused
        There are spectral coefficients, more than 2**28 points, or rows that no decoder here takes.

    Notes
    -----
    Thread-safe. Takes about 10 µs.
    """
    try:
        if sections:
            for number, start, stop in sections:
                if number == 3:
                    _check_grib2(memoryview(message)[start:stop])
        else:
            _check_grib1(message)
    except IndexError as error:
        raise GribCorrupt("the grid definition ends inside its own headers") from error


def _check_grib2(section: memoryview) -> None:
    n_points, width, template = uint(section, 6, 4), section[10], uint(section, 12, 2)
    if template in _SPECTRAL:
        raise GribRefused(f"template 3.{template}: spectral coefficients are not values on a grid")
    _check_count(n_points)
    base = _WITH_ROWS.get(template)
    if base is None:
        if width:
            raise GribRefused(f"template 3.{template} with a list of row lengths is not taken")
        return
    n_rows = uint(section, 34, 4)
    if width not in (0, 1, 2, 4) or len(section) != base + width * n_rows:
        raise GribCorrupt(
            f"the grid definition has {len(section)} bytes, for {n_rows} rows whose lengths take "
            f"{width} bytes each"
        )
    if width:
        in_rows = np.frombuffer(section[base:], f">u{width}").astype(np.int64)
        if in_rows.sum() < n_points:
            raise GribCorrupt(f"{n_rows} rows of {in_rows.sum()} points for {n_points} points")


def _check_grib1(message: bytes) -> None:
    sections = grib1_sections(message)
    if 2 not in sections:
        return  # octet 7 of section 1 names a grid that ecCodes knows, or does not
    section = memoryview(message)[slice(*sections[2])]
    kind = section[5]
    if kind in _SPECTRAL_1:
        raise GribRefused(f"representation {kind}: spectral coefficients are not values on a grid")
    n_i, n_j = uint(section, 6, 2), uint(section, 8, 2)
    if n_i == NOT_GIVEN:
        if kind not in WITH_ROWS:
            raise GribRefused(f"representation {kind} without a number of columns is not taken")
        _check_rows(section, kind, n_j)
    else:
        _check_count(n_i * n_j)


def _check_rows(section: memoryview, kind: int, n_j: int) -> None:
    in_rows = np.frombuffer(section[-2 * n_j :], ">u2").astype(np.int64)
    _check_count(int(in_rows.sum()))
    if kind in _GAUSSIAN_1:
        _check_area(in_rows, _degrees(section, 13), _degrees(section, 20))


def _check_area(in_rows: NDArray[np.int64], west: float, east: float) -> None:
    """Refuse rows without a point between the two meridians, which ecCodes asserts there is."""
    east += 360.0 if east < west else 0.0
    # Its arithmetic is not this one: what is close is refused as well.
    _, counts = row_counts(in_rows, west, east - 1e-2)
    if in_rows.min() < 2 or counts.min() < 1 or not -360.0 <= west <= east <= 720.0:
        raise GribRefused(
            f"a reduced grid with rows of {in_rows.min()} points around the globe, from {west} to "
            f"{east} degrees, of which one has none"
        )


def _degrees(section: memoryview, start: int) -> float:
    """Read thousandths of a degree in three octets, of which the first bit is the sign."""
    coded = uint(section, start, 3)
    return (-1.0 if coded & 0x800000 else 1.0) * (coded & 0x7FFFFF) / 1000.0


def _check_count(n_points: int) -> None:
    if not 1 <= n_points <= MOST_POINTS:
        raise GribRefused(f"{n_points} points are not between 1 and {MOST_POINTS}")
