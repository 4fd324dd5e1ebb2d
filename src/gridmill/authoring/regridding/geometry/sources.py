"""The cells and the points of a source, wherever they lie on the sphere. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gridmill.authoring.grids.curvilinear import CURVILINEAR
from gridmill.authoring.regridding.geometry.sphere import directions
from gridmill.authoring.regridding.geometry.targets import (
    DEGREES,
    ROTATED,
    ends_of,
    parts_for,
    refined,
)
from gridmill.model.fields.regrid import SourceGrid
from gridmill.sources.grib.projections import unproject

__all__ = ["Cells", "is_around", "is_folded", "kind_of", "points_of"]

Floats = npt.NDArray[np.float64]
Pair = tuple[Floats, Floats]
Corners = Callable[[int, int], Pair]

# Of a step between columns: what is nearer is a neighbour.
NEIGHBOURS = 1.5
# Of the usual edge: what is longer leads to a point that is none.
LONG = 20.0


def kind_of(grid: SourceGrid) -> str:
    """Return the name of a grid's mapping."""
    return str(grid.mapping.get("grid_mapping_name"))


def points_of(grid: SourceGrid) -> Pair:
    """Return latitudes and longitudes of a source's points, of two dims."""
    if kind_of(grid) == CURVILINEAR:
        points: Pair = grid.points  # type: ignore[attr-defined]
        return points
    rows, columns = (np.asarray(of, "float64") for of in grid.labels().values())
    if kind_of(grid) == DEGREES:
        return tuple(np.broadcast_arrays(rows[:, np.newaxis], columns))  # type: ignore[return-value]
    return unproject(grid.mapping, *np.broadcast_arrays(columns, rows[:, np.newaxis]))


class Cells:
    """The cells of a source as polygons on the sphere, row by row.

    Neighbours share the vertices of their edge, so that nothing lies between them or in both.

    Parameters
    ----------
    grid
        The source's.
    """

    def __init__(self, grid: SourceGrid) -> None:
        corners, shape = _corners_of(grid)
        self.shape = shape
        latitudes, longitudes = corners(1, 1)
        places = directions(latitudes, longitudes)
        steps = [np.linalg.norm(np.diff(places, axis=axis), axis=-1) for axis in (0, 1)]
        widest = max(float(np.degrees(np.nanmax(step))) for step in steps)
        self._parts = parts = parts_for(widest)
        self._along_rows = corners(1, parts)
        self._along_columns = corners(parts, 1)

    def polygons(self, rows: slice) -> Pair:
        """Return latitudes and longitudes of the vertices of some rows' cells."""
        first, stop = rows.start, rows.stop
        found = []
        for along, up in zip(self._along_rows, self._along_columns, strict=True):
            low = [self._pieces(along[first:stop], at) for at in range(self._parts)]
            high = [
                self._pieces(along[first + 1 : stop + 1], at) for at in range(self._parts, 0, -1)
            ]
            right = [self._steps(up[:, 1:], first, stop, at) for at in range(self._parts)]
            left = [self._steps(up[:, :-1], first, stop, at) for at in range(self._parts, 0, -1)]
            vertices = np.stack([*low, *right, *high, *left], axis=-1)
            found.append(vertices.reshape(-1, vertices.shape[-1]))
        return found[0], found[1]

    def _pieces(self, along: Floats, at: int) -> Floats:
        return along[:, at : along.shape[1] - self._parts + at : self._parts]

    def _steps(self, up: Floats, first: int, stop: int, at: int) -> Floats:
        numbers = np.arange(first, stop) * self._parts + at
        return up[numbers]


def _corners_of(grid: SourceGrid) -> tuple[Corners, tuple[int, int]]:
    """Return what gives corners with so many parts of an edge, and the number of cells."""
    if kind_of(grid) == CURVILINEAR:
        latitudes, longitudes = grid.points  # type: ignore[attr-defined]
        ends = grid.ends  # type: ignore[attr-defined]
        known = _between(latitudes, longitudes) if ends is None else directions(*ends)
        return _refining(known), latitudes.shape
    rows, columns = (np.asarray(of, "float64") for of in grid.labels().values())
    angles = kind_of(grid) in (DEGREES, ROTATED)
    up = ends_of(rows, is_latitude=angles)
    across = ends_of(columns, is_longitude=angles)

    def corners(down: int, along: int) -> Pair:
        y, x = np.broadcast_arrays(refined(up, down)[:, np.newaxis], refined(across, along))
        return (y, x) if kind_of(grid) == DEGREES else unproject(grid.mapping, x, y)

    return corners, (rows.size, columns.size)


def _between(latitudes: Floats, longitudes: Floats) -> Floats:
    """Return corners midway between points, as unit vectors, and as far beyond the last ones."""
    places = directions(latitudes, longitudes)
    if is_around(places):
        wide = np.concatenate([places[:, -1:], places, places[:, :1]], axis=1)
    else:
        wide = _with_ends(places, 1)
    tall = _with_ends(wide, 0)
    return _unit(tall[1:, 1:] + tall[:-1, 1:] + tall[1:, :-1] + tall[:-1, :-1])


def _with_ends(places: Floats, axis: int) -> Floats:
    """Add a point before the first and one after the last, as far off as their neighbours."""
    one = np.moveaxis(places, axis, 0)
    wide = np.concatenate([2 * one[:1] - one[1:2], one, 2 * one[-1:] - one[-2:-1]])
    return np.moveaxis(wide, 0, axis)


def _refining(corners: Floats) -> Corners:
    def refine(places: Floats, axis: int, parts: int) -> Floats:
        one = np.moveaxis(places, axis, 0)
        at = np.arange((len(one) - 1) * parts + 1)
        low = np.minimum(at // parts, len(one) - 2)
        share = (at - low * parts)[:, np.newaxis, np.newaxis] / parts
        return np.moveaxis(one[low] + share * (one[low + 1] - one[low]), 0, axis)

    def at(down: int, along: int) -> Pair:
        made = refine(refine(corners, 0, down), 1, along)
        x, y, z = np.moveaxis(_unit(made), -1, 0)
        return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))

    return at


def _unit(places: Floats) -> Floats:
    made: Floats = places / np.linalg.norm(places, axis=-1, keepdims=True)
    return made


def is_around(places: Floats) -> bool:
    """Whether the last column of unit vectors is the neighbour of the first.

    Of 'float32' places, too: by what most rows say.
    """
    if places.shape[1] < 3:
        return False
    steps = np.linalg.norm(np.diff(places, axis=1), axis=-1)
    seam = np.linalg.norm(places[:, -1] - places[:, 0], axis=-1)
    with np.errstate(invalid="ignore"):
        return bool(np.nanmedian(seam) < NEIGHBOURS * np.nanmedian(steps))


def is_folded(row: Floats, before: Floats) -> bool:
    """Whether a last row of unit vectors lies folded, its one half beside the other.

    As at the seam between the two northern poles of an ocean's grid.
    """
    apart = np.linalg.norm(row - row[::-1], axis=-1)
    step = np.linalg.norm(row - before, axis=-1)
    with np.errstate(invalid="ignore"):
        return bool(np.nanmedian(apart) < 2 * NEIGHBOURS * np.nanmedian(step))
