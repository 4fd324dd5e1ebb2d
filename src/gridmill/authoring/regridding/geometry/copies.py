"""Columns and rows of a source that repeat others, as oceans' grids have them. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridmill.authoring.regridding.geometry.sphere import directions

__all__ = ["own_part"]

Floats = npt.NDArray[np.float64]
# Columns, or rows, beyond the seam: as many as models exchange between processors, on both sides.
HALO = 8
FOLD = 4
# Of a step: what lies as near is the same place.
SAME = 1e-2
FEWEST = 3


def own_part(latitudes: Floats, longitudes: Floats) -> tuple[slice, slice]:
    """Return the rows and columns before those of the beginning, or of the fold, come again.

    Parameters
    ----------
    latitudes, longitudes
        Of the points, ``(row, column)``, degrees; NaN for none.

    Examples
    --------
    >>> own_part(*np.meshgrid([0.0, 10.0], np.arange(0.0, 371.0, 10.0), indexing="ij"))
    (slice(0, 2, None), slice(0, 36, None))
    """
    width = slice(0, _own_columns(latitudes, longitudes))
    repeated = _rows_that_repeat(latitudes[:, width], longitudes[:, width])
    return slice(0, len(latitudes) - repeated), width


def _own_columns(latitudes: Floats, longitudes: Floats) -> int:
    """Return how many columns there are until those of the beginning come again."""
    ends = np.r_[0 : min(HALO, latitudes.shape[1])]
    first = directions(latitudes[:, ends], longitudes[:, ends])
    near = SAME * _step(first)
    count = int(latitudes.shape[1])
    while count > FEWEST:
        last = directions(latitudes[:, count - 1], longitudes[:, count - 1])
        before = first[:, : max(0, min(HALO, count - FEWEST))]
        apart = np.linalg.norm(before - last[:, np.newaxis], axis=-1)
        with np.errstate(invalid="ignore"):
            is_far = (apart > near).any(axis=0) | np.isnan(apart).all(axis=0)
        if is_far.all():
            return count
        count -= 1
    return int(latitudes.shape[1])


def _rows_that_repeat(latitudes: Floats, longitudes: Floats) -> int:
    """Return how many of the last rows lie, folded, where rows before them do."""
    count = 0
    while count < min(FOLD, len(latitudes) - FEWEST):
        at = len(latitudes) - 1 - count
        rows = slice(max(0, at - FOLD), at + 1)
        *before, last = directions(latitudes[rows], longitudes[rows])
        if not any(_holds(one, last, SAME * _step(last[np.newaxis])) for one in before):
            return count
        count += 1
    return 0


def _holds(row: Floats, points: Floats, near: float) -> bool:
    """Whether each of some points lies where one of a row does."""
    from scipy.spatial import cKDTree  # as heavy as the matrices, and needed with them alone

    there = row[np.isfinite(row).all(axis=-1)]
    wanted = points[np.isfinite(points).all(axis=-1)]
    if not (len(there) and len(wanted)):
        return False
    return bool((cKDTree(there).query(wanted)[0] <= near).all())


def _step(places: Floats) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.nanmedian(np.linalg.norm(np.diff(places, axis=1), axis=-1)))
