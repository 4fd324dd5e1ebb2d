"""The cells and the points of a source, wherever they lie on the sphere. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gridmill.authoring.grids.curvilinear import CURVILINEAR
from gridmill.authoring.regridding.axes import POLE, TURN
from gridmill.authoring.regridding.geometry.copies import own_part
from gridmill.authoring.regridding.geometry.sphere import directions
from gridmill.authoring.regridding.geometry.targets import (
    ends_of,
    parts_for,
    refined,
)
from gridmill.model.fields.regrid import DEGREES, ROTATED, SourceGrid
from gridmill.sources.grib.projections import unproject

__all__ = ["Cells", "folded", "is_around", "kind_of", "points_of"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Pair = tuple[Floats, Floats]
Corners = Callable[[slice, int, int], Pair]

# Of a step between columns: what is nearer is a neighbour.
NEIGHBOURS = 1.5
# Of the usual edge: what is longer leads to a point that is none.
LONG = 20.0
# Points in one place: at the seam and at the fold of an ocean's grid.
TWICE = 4
# Degrees, of what single precision is off.
LEEWAY = 1e-4
# Of a row, from which it is known how it lies.
SAMPLES = 16
# Of a point's corners: its neighbours, and theirs beside it.
REACH = 2


def kind_of(grid: SourceGrid) -> str:
    """Return the name of a grid's mapping."""
    return str(grid.mapping.get("grid_mapping_name"))


def points_of(grid: SourceGrid) -> Pair:
    """Return latitudes and longitudes of a source's points, of two dims."""
    if kind_of(grid) == CURVILINEAR:
        return _without_filled(*grid.points)  # type: ignore[attr-defined]
    rows, columns = (np.asarray(of, "float64") for of in grid.labels().values())
    if kind_of(grid) == DEGREES:
        return tuple(np.broadcast_arrays(rows[:, np.newaxis], columns))  # type: ignore[return-value]
    return unproject(grid.mapping, *np.broadcast_arrays(columns, rows[:, np.newaxis]))


def _without_filled(latitudes: Floats, longitudes: Floats) -> Pair:
    """Return places with NaN for those that cannot be any, and for those that fill.

    A provider fills with one place where it has none, as over land: no more than `TWICE` points of
    a grid lie in one place, but at a pole.
    """
    with np.errstate(invalid="ignore"):
        is_none = ~((np.abs(latitudes) <= POLE + LEEWAY) & (np.abs(longitudes) <= 2 * TURN))
    places = latitudes + 1j * longitudes  # sorted ten times as fast as pairs
    _, which, many = np.unique(places, return_inverse=True, return_counts=True)
    fills = (many > TWICE)[which.reshape(latitudes.shape)]
    is_none |= fills & (np.abs(latitudes) < POLE - LEEWAY)
    if not is_none.any():
        return latitudes, longitudes
    one, other = (np.where(is_none, np.nan, of) for of in (latitudes, longitudes))
    return one, other


class Cells:
    """The cells of a source as polygons on the sphere, row by row.

    Neighbours share the vertices of their edge, so that nothing lies between them or in both.

    Parameters
    ----------
    grid
        The source's.
    """

    def __init__(self, grid: SourceGrid) -> None:
        self._corners, self.shape = _corners_of(grid)
        # Of all points, the numbers of those whose cells these are.
        whole = tuple(np.size(of) for of in grid.labels().values())
        self.numbers = np.arange(whole[0] * whole[1]).reshape(whole)[
            : self.shape[0], : self.shape[1]
        ]
        places = directions(*self._corners(slice(0, self.shape[0]), 1, 1))
        steps = [np.linalg.norm(np.diff(places, axis=axis), axis=-1) for axis in (0, 1)]
        widest = max(float(np.degrees(np.nanmax(step))) for step in steps)
        self._parts = parts_for(widest)
        self.vertices = 4 * self._parts  # of each
        self._is_torn = _are_torn(places) if kind_of(grid) == CURVILINEAR else None

    def polygons(self, rows: slice) -> Pair:
        """Return latitudes and longitudes of the vertices of some rows' cells."""
        parts, found = self._parts, []
        for along, up in zip(
            self._corners(rows, 1, parts), self._corners(rows, parts, 1), strict=True
        ):
            low = [self._pieces(along[:-1], at) for at in range(parts)]
            right = [self._pieces(up[:, 1:].T, at).T for at in range(parts)]
            high = [self._pieces(along[1:], at) for at in range(parts, 0, -1)]
            left = [self._pieces(up[:, :-1].T, at).T for at in range(parts, 0, -1)]
            vertices = np.stack([*low, *right, *high, *left], axis=-1)
            if self._is_torn is not None:
                vertices[self._is_torn[rows]] = np.nan
            found.append(vertices.reshape(-1, vertices.shape[-1]))
        return found[0], found[1]

    def _pieces(self, along: Floats, at: int) -> Floats:
        return along[:, at : along.shape[1] - self._parts + at : self._parts]


def _are_torn(corners: Floats) -> npt.NDArray[np.bool_]:
    """Return which cells have an edge so long that it leads to another part of the globe."""
    along, down = (np.linalg.norm(np.diff(corners, axis=axis), axis=-1) for axis in (1, 0))
    with np.errstate(invalid="ignore"):
        longest = np.maximum.reduce([along[:-1], along[1:], down[:, :-1], down[:, 1:]])
        return np.asarray(longest > LONG * np.nanmedian(longest))


def _corners_of(grid: SourceGrid) -> tuple[Corners, tuple[int, int]]:
    """Return what gives corners of some rows' cells, with so many parts of an edge; and the shape.

    A corner is the same to the last bit, whichever rows are asked for.
    """
    if kind_of(grid) == CURVILINEAR:
        return _corners_between(grid)
    rows, columns = (np.asarray(of, "float64") for of in grid.labels().values())
    angles = kind_of(grid) in (DEGREES, ROTATED)
    up = ends_of(rows, is_latitude=angles)
    across = ends_of(columns, is_longitude=angles)

    def corners(of: slice, down: int, along: int) -> Pair:
        some = refined(up, down)[of.start * down : of.stop * down + 1]
        y, x = np.broadcast_arrays(some[:, np.newaxis], refined(across, along))
        return (y, x) if kind_of(grid) == DEGREES else unproject(grid.mapping, x, y)

    return corners, (rows.size, columns.size)


def _corners_between(grid: SourceGrid) -> tuple[Corners, tuple[int, int]]:
    """Return the corners of a curvilinear grid's cells, each row and column of them once."""
    latitudes, longitudes = points_of(grid)
    height, width = (of.stop for of in own_part(latitudes, longitudes))
    ends = grid.ends  # type: ignore[attr-defined]
    if ends is None:
        known = _between(latitudes[:, :width], longitudes[:, :width])
    else:
        known = directions(*ends)
    return _refining(known[: height + 1, : width + 1]), (height, width)


def _between(latitudes: Floats, longitudes: Floats) -> Floats:
    """Return corners midway between points, as unit vectors, and as far beyond the last ones."""
    places = directions(latitudes, longitudes)
    around = is_around(places)
    for _ in range(REACH):
        places = _with_neighbours(places, around)
    if around:
        wide = np.concatenate([places[:, -1:], places, places[:, :1]], axis=1)
    else:
        wide = _with_ends(places, 1)
    tall = _with_ends(wide, 0)
    if around:
        for end, row, before in ((0, 0, 1), (-1, -1, -2)):
            beside = folded(places[row], places[before])
            if beside is not None:
                tall[end] = _around(places[row][beside])
    return _unit(tall[1:, 1:] + tall[:-1, 1:] + tall[1:, :-1] + tall[:-1, :-1])


def _around(row: Floats) -> Floats:
    """Return a row with its last point before the first, and that after the last."""
    return np.concatenate([row[-1:], row, row[:1]])


def _with_neighbours(places: Floats, around: bool) -> Floats:
    """Assign places to points that have none beside two that do, so that these have corners."""
    sums, many = np.zeros(places.shape), np.zeros(places.shape[:2])
    for axis, wraps in ((0, False), (1, around)):
        one = np.moveaxis(places, axis, 0)
        mode = "wrap" if wraps else "constant"
        options = {} if wraps else {"constant_values": np.nan}
        wide = np.pad(one, ((2, 2), (0, 0), (0, 0)), mode, **options)  # type: ignore[call-overload]
        for near, far in ((wide[1:-3], wide[:-4]), (wide[3:-1], wide[4:])):
            guess = np.moveaxis(2 * near - far, 0, axis)
            known = np.isfinite(guess).all(axis=-1)
            sums += np.where(known[..., np.newaxis], guess, 0.0)
            many += known
    with np.errstate(invalid="ignore"):
        guessed = _unit(sums / many[..., np.newaxis])
    return np.where(np.isnan(places), guessed, places)


def _with_ends(places: Floats, axis: int) -> Floats:
    """Add a point before the first and one after the last, as far off as their neighbours."""
    one = np.moveaxis(places, axis, 0)
    wide = np.concatenate([2 * one[:1] - one[1:2], one, 2 * one[-1:] - one[-2:-1]])
    return np.moveaxis(wide, 0, axis)


def _refining(corners: Floats) -> Corners:
    def refine(places: Floats, axis: int, parts: int) -> Floats:
        one = np.moveaxis(places, axis, 0)
        low, pieces = np.divmod(np.arange((len(one) - 1) * parts + 1), parts)
        share = pieces[:, np.newaxis, np.newaxis] / parts
        between = one[low] + share * (one[np.minimum(low + 1, len(one) - 1)] - one[low])
        # A corner stays what it is, also beside one that is none.
        return np.moveaxis(np.where(share > 0, between, one[low]), 0, axis)

    def at(rows: slice, down: int, along: int) -> Pair:
        made = refine(refine(corners[rows.start : rows.stop + 1], 0, down), 1, along)
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


def folded(row: Floats, before: Floats) -> Places | None:
    """Return for each point of a last row the one beside it across a fold; None if it has none.

    As at the seam between the two northern poles of an ocean's grid, of which one half of the last
    row lies beside the other.
    """
    many = len(row)
    at = np.unique(np.linspace(0, many - 1, SAMPLES).astype(int))
    shifts = np.arange(many)
    with np.errstate(invalid="ignore"):
        apart = np.linalg.norm(row[at] - row[(shifts[:, np.newaxis] - at) % many], axis=-1)
        known = np.where(np.isfinite(apart), apart, np.nan)
        if np.isnan(known).all():
            return None
        mean = np.nansum(known, axis=1) / np.maximum(np.isfinite(known).sum(axis=1), 1)
        mean[np.isnan(known).all(axis=1)] = np.inf
        beside = (int(np.argmin(mean)) - shifts) % many
        step = np.nanmedian(np.linalg.norm(row - before, axis=-1))
        is_beside = np.nanmedian(np.linalg.norm(row - row[beside], axis=-1))
        return np.asarray(beside) if is_beside < 2 * NEIGHBOURS * step else None
