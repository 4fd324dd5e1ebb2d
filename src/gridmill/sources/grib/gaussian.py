"""Gaussian grids, regular and reduced: the latitudes of their rows, and the points of each row.

It is computed here and not asked of ecCodes, which ends the process where first latitude, number of
rows and N contradict each other (``distinctLatitudes``, ``latitudes``; ecCodes 2.50).

Sources: W. H. Press et al., Numerical Recipes, 3rd edition (2007), section 4.6.1 (zeros of Legendre
polynomials by Newton's method); WMO Manual on Codes I.2, FM 92 GRIB, templates 3.0 and 3.40, notes
on quasi-regular grids.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.framing import GribCorrupt, GribRefused

__all__ = ["gaussian_latitudes", "gaussian_rows", "reduced_longitudes", "row_counts"]

_Floats = NDArray[np.float64]

# The finest that is spoken of is O8000; Newton's method takes seconds there, and a damaged header
# must not make it take minutes.
MOST_PARALLELS = 8_000
# Edition 1 writes thousandths of a degree, and some cut them off.
GRANTED = 3e-3


@lru_cache(maxsize=16)
def gaussian_latitudes(n: int) -> _Floats:
    """Compute the latitudes of a Gaussian grid with `n` parallels between a pole and the equator.

    Returns
    -------
    ndarray
        ``(2 * n,)`` float64, degrees, from north to south, read-only; right to 1e-12 degrees.

    Raises
    ------
    GribRefused
        `n` is not between 1 and 8000.

    Examples
    --------
    >>> gaussian_latitudes(32)[0].round(6)
    np.float64(87.863799)
    """
    if not 1 <= n <= MOST_PARALLELS:
        raise GribRefused(f"Gaussian: N is {n}, not between 1 and {MOST_PARALLELS}")
    order = 2 * n
    x = np.cos(np.pi * (np.arange(1, n + 1) - 0.25) / (order + 0.5))
    change = np.ones_like(x)
    # Quadratic: what a change of less than this leaves is below the last bit.
    while np.abs(change).max() > 1e-9:
        legendre, before = x.copy(), np.ones_like(x)
        for degree in range(2, order + 1):
            legendre, before = (
                ((2 * degree - 1) * x * legendre - (degree - 1) * before) / degree,
                legendre,
            )
        change = legendre * (x * x - 1) / (order * (x * legendre - before))
        x = x - change
    northern = np.degrees(np.arcsin(x))
    latitudes = np.concatenate([northern, -northern[::-1]])
    latitudes.setflags(write=False)
    return latitudes


def gaussian_rows(n: int, first: float, last: float, count: int) -> _Floats:
    """Find the `count` rows of a Gaussian grid that lie from `first` to `last`.

    Parameters
    ----------
    n
        Parallels between a pole and the equator.
    first, last
        Degrees, as a header writes them: 3e-3 degrees are granted.
    count
        Number of rows.

    Returns
    -------
    ndarray
        ``(count,)`` float64, degrees, from `first` to `last`.

    Raises
    ------
    GribCorrupt
        The three contradict each other.
    """
    southward = gaussian_latitudes(n)
    latitudes = southward if first >= last else southward[::-1]
    at = int(np.abs(latitudes - first).argmin())
    rows = latitudes[at : at + count]
    there = f"{rows.size} from {rows[0]} to {rows[-1]} lie" if rows.size else "none lie"
    if not count or rows.size != count or max(abs(rows[[0, -1]] - (first, last))) > GRANTED:
        raise GribCorrupt(
            f"the grid contradicts itself: {count} Gaussian latitudes of N {n} from {first} to "
            f"{last}, where {there}"
        )
    return rows.copy()


def row_counts(
    in_full_rows: NDArray[np.int64], west: float, east: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the points of each row of a reduced grid between two meridians.

    Parameters
    ----------
    in_full_rows
        ``(rows,)``: how many points each row has around the globe.
    west, east
        Degrees east, both included; `east` is not below `west`.

    Returns
    -------
    first, counts
        ``(rows,)`` int64: the first point of each row, counted from Greenwich, and how many.
    """
    granted = 1e-3 * in_full_rows / 360.0  # edition 1 writes thousandths of a degree
    first = np.ceil(west * in_full_rows / 360.0 - granted).astype(np.int64)
    last = np.floor(east * in_full_rows / 360.0 + granted).astype(np.int64)
    return first, np.clip(last - first + 1, 0, in_full_rows)


def reduced_longitudes(
    in_full_rows: NDArray[np.int64], west: float, east: float, n_points: int
) -> tuple[NDArray[np.int64], _Floats]:
    """Place the points of a reduced grid.

    Parameters
    ----------
    in_full_rows, west, east
        See `row_counts`.
    n_points
        How many there are by the header.

    Returns
    -------
    counts, longitudes
        ``(rows,)`` int64: points a row; ``(n_points,)`` float64: degrees from -180 to below 180.

    Raises
    ------
    GribCorrupt
        The rows have another number of points.
    """
    first, counts = row_counts(in_full_rows, west, east)
    if counts.sum() != n_points:
        raise GribCorrupt(
            f"the grid contradicts itself: {counts.sum()} points in {counts.size} rows from {west} "
            f"to {east} degrees, and {n_points} in its header"
        )
    starts = np.cumsum(counts) - counts
    places = np.arange(n_points) - np.repeat(starts - first, counts)
    longitudes = places * 360.0 / np.repeat(in_full_rows, counts)
    return counts, (longitudes + 180.0) % 360.0 - 180.0
