"""The archive's grid, and in which plane its rows and columns are straight. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gridmill.authoring.regridding.axes import cells_of
from gridmill.authoring.regridding.geometry.sphere import (
    areas,
    directions,
    flatten,
    refined_at_poles,
)
from gridmill.model.fields.regrid import DEGREES, ROTATED
from gridmill.sources.grib.projections import project, unproject

__all__ = ["Plane", "Target", "ends_of", "parts_for", "refined"]

Floats = npt.NDArray[np.float64]
Pair = tuple[Floats, Floats]
Part = tuple[Floats, Floats, npt.NDArray[np.int64]]

# How much longer than elsewhere an edge may be in a plane: one that crosses the cut of a projection
# is as long as the map is wide.
STRETCHED = 4.0
# Degrees. Between vertices an edge is straight in one plane or another: a cell's area is off by
# a millionth then. Longer edges get more vertices.
STRAIGHT = 0.04
MOST_PARTS = 16


@dataclass(frozen=True, eq=False)
class Target:
    """The archive's grid: labels of its rows and columns.

    Parameters
    ----------
    rows, columns
        Latitudes and longitudes, degrees; or coordinates in the plane of `mapping`.
    mapping
        The archive's CF grid mapping; None where the labels are latitudes and longitudes.
    """

    rows: Floats
    columns: Floats
    mapping: Mapping[str, Any] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.rows.size, self.columns.size

    @property
    def kind(self) -> str:
        """The name of the grid mapping."""
        return DEGREES if self.mapping is None else str(self.mapping["grid_mapping_name"])

    def places(self) -> Pair:
        """Return latitudes and longitudes of all points, of its shape."""
        return self.unprojected(self.rows[:, np.newaxis], self.columns)

    def unprojected(self, rows: Floats, columns: Floats) -> Pair:
        """Return latitudes and longitudes of what is in the plane of the labels."""
        rows, columns = np.broadcast_arrays(rows, columns)
        if self.mapping is None:
            return rows, columns
        return unproject(self.mapping, columns, rows)


class Plane:
    """The plane in which the cells and points of a target lie in straight rows and columns.

    For latitudes and longitudes, also about another pole, it is that of longitude and sine of
    latitude, in which areas are those on the sphere; else that of the projection. `across` are
    coordinates along rows, `up` those along columns; for cells they are of their ends, for points
    of the points.

    Parameters
    ----------
    target
        The grid.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.is_sphere = target.kind in (DEGREES, ROTATED)
        self._longest, self._parts = np.inf, 1
        if not self.is_sphere:
            scale, step = _scale(target)
            self._longest, self._parts = STRETCHED * scale, parts_for(np.degrees(step))

    def ends(self) -> Pair:
        """Return where cells end: up and across, in the order of the labels."""
        rows = ends_of(self.target.rows, is_latitude=self.is_sphere)
        columns = ends_of(self.target.columns, is_longitude=self.is_sphere)
        return (np.sin(np.radians(rows)) if self.is_sphere else rows), columns

    def labels(self) -> Pair:
        """Return where points are: up and across."""
        rows = self.target.rows
        return (np.sin(np.radians(rows)) if self.is_sphere else rows), self.target.columns

    def flat(self, latitudes: Floats, longitudes: Floats) -> tuple[Floats, Floats]:
        """Return polygons in the plane, ``(polygon, vertex)``: across, and up.

        NaN are those that it cuts, or that lie beyond it.
        """
        if self.is_sphere:
            return flatten(*self._turned(latitudes, longitudes))
        return self._drawn(latitudes, longitudes)

    def flat_parts(self, latitudes: Floats, longitudes: Floats) -> Iterator[Part]:
        """Yield polygons as `flat` does, with their numbers; those at poles apart, refined."""
        numbers = np.arange(len(latitudes))
        if not self.is_sphere:
            yield *self._drawn(latitudes, longitudes), numbers
            return
        places = self._turned(latitudes, longitudes)
        *refined, at_pole = refined_at_poles(*places)
        if at_pole.any():
            yield *flatten(refined[0], refined[1]), numbers[at_pole]
        yield *flatten(*(of[~at_pole] for of in places)), numbers[~at_pole]

    def _turned(self, latitudes: Floats, longitudes: Floats) -> Pair:
        """Return places about the pole of the target."""
        if self.target.mapping is None:
            return latitudes, longitudes
        x, y = project(self.target.mapping, latitudes, longitudes)
        return y, x

    def _drawn(self, latitudes: Floats, longitudes: Floats) -> Pair:
        """Return polygons in the plane of a projection."""
        assert self.target.mapping is not None
        across, up = project(self.target.mapping, latitudes, longitudes)
        places = directions(latitudes, longitudes)
        edges = np.linalg.norm(np.roll(places, -1, axis=1) - places, axis=-1)
        drawn = np.hypot(*(np.roll(of, -1, axis=1) - of for of in (across, up)))
        with np.errstate(invalid="ignore"):
            is_cut = ~(drawn <= self._longest * (edges + 1e-6)).all(axis=1)
        across, up = (np.where(is_cut[:, np.newaxis], np.nan, of) for of in (across, up))
        return across, up

    def areas(self, across: Floats, up: Floats) -> Floats:
        """Return the areas on the sphere of polygons in a projection's plane, steradians.

        Their edges are straight there, and great circles between as many points as it takes.
        """
        across, up = (_with_middles(of, self._parts) for of in (across, up))
        return areas(*self.target.unprojected(up, across))

    def cell_areas(self) -> Floats:
        """Return the areas of the target's cells, steradians, of its shape."""
        up, across = self.ends()
        if self.is_sphere:
            return np.asarray(np.abs(np.outer(np.diff(up), np.radians(np.diff(across)))))
        low, left = up[:-1], across[:-1, np.newaxis]
        high, right = up[1:], across[1:, np.newaxis]
        found = np.empty(self.target.shape)
        for row in range(len(found)):
            sides = np.concatenate([left, right, right, left], axis=1)
            heights = np.array([low[row], low[row], high[row], high[row]])
            found[row] = self.areas(sides, np.broadcast_to(heights, sides.shape))
        return found


def _with_middles(values: Floats, parts: int) -> Floats:
    """Return vertices with others between them, along the last axis."""
    shares = np.arange(parts) / parts
    steps = np.roll(values, -1, axis=-1) - values
    made = values[..., np.newaxis] + shares * steps[..., np.newaxis]
    return np.asarray(made.reshape(*values.shape[:-1], values.shape[-1] * parts))


def parts_for(degrees: float) -> int:
    """Return into how many parts an edge is divided that are each straight enough."""
    return int(np.clip(np.ceil(degrees / STRAIGHT), 1, MOST_PARTS))


def ends_of(labels: Floats, *, is_latitude: bool = False, is_longitude: bool = False) -> Floats:
    """Return where cells end, one more than labels and in their order.

    Midway between labels, and as far beyond the first and the last; latitudes end at a pole that is
    at most a step away, and longitudes around the globe where they began.
    """
    if is_latitude or is_longitude:
        cells = cells_of(labels, is_longitude=is_longitude)
        first, last = (0, 1) if labels[-1] > labels[0] else (1, 0)
        return np.append(cells[:, first], cells[-1, last])
    middles = (labels[1:] + labels[:-1]) / 2
    ends = [2 * labels[:1] - middles[:1], middles, 2 * labels[-1:] - middles[-1:]]
    return np.concatenate(ends)


def refined(ends: Floats, parts: int) -> Floats:
    """Return ends of cells with points between them, so that each cell has this many parts."""
    at = np.arange((ends.size - 1) * parts + 1) / parts
    return np.interp(at, np.arange(ends.size), ends)


def _scale(target: Target) -> tuple[float, float]:
    """Return how long an edge is in the plane by its length on the unit sphere, at most, and that.

    The length is the longest's.
    """
    places = directions(*target.places())
    scale = longest = 0.0
    for axis, labels in enumerate((target.rows, target.columns)):
        steps = np.linalg.norm(np.diff(places, axis=axis), axis=-1)
        drawn = np.abs(np.diff(labels))
        with np.errstate(divide="ignore", invalid="ignore"):
            scales = (drawn[:, np.newaxis] if axis == 0 else drawn) / steps
        scale = max(scale, float(np.nanmax(np.where(np.isfinite(scales), scales, np.nan))))
        longest = max(longest, float(np.nanmax(steps)))
    return scale, longest
