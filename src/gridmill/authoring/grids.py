"""Horizontal grids of models: their dims, coordinates and CF grid mapping, declared once.

A template takes its coordinates from a grid, and a job of GRIB files checks every message's grid
against the same one.

See Also
--------
gridmill.sources.grib.projections : the projections themselves.
gridmill.authoring.forecasts.reading : checks messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gridmill.authoring.cf import GRID_MAPPING
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.gaussian import gaussian_latitudes
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.projections import GridMapping, project, rotated_pole, unproject

__all__ = [
    "CellGrid",
    "GaussianGrid",
    "HorizontalGrid",
    "LatitudeLongitudeGrid",
    "ProjectedGrid",
    "RegionalGrid",
    "RotatedGrid",
]

Labels = dict[str, np.ndarray[Any, np.dtype[np.floating[Any]]]]

# NCEP's and ECMWF's models are on this sphere (GRIB2 code table 3.2, entry 6); metres.
EARTH_RADIUS = 6371229.0
SPHERE: GridMapping = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "earth_radius": EARTH_RADIUS,
}

LATITUDE = {"standard_name": "latitude", "long_name": "Latitude", "units": "degrees_north"}
LONGITUDE = {"standard_name": "longitude", "long_name": "Longitude", "units": "degrees_east"}
PROJECTION_Y = {
    "standard_name": "projection_y_coordinate",
    "long_name": "Northward distance in the plane of the projection",
    "units": "m",
}
PROJECTION_X = {
    "standard_name": "projection_x_coordinate",
    "long_name": "Eastward distance in the plane of the projection",
    "units": "m",
}
ROTATED_LATITUDE = {
    "standard_name": "grid_latitude",
    "long_name": "Latitude about the grid's own pole",
    "units": "degrees",
}
ROTATED_LONGITUDE = {
    "standard_name": "grid_longitude",
    "long_name": "Longitude about the grid's own pole",
    "units": "degrees",
}


class _Geographic:
    """What grids of latitudes and longitudes share."""

    mapping: GridMapping

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        latitude = Coordinate(name="latitude", attrs={**LATITUDE, "axis": "Y"})
        longitude = Coordinate(name="longitude", attrs={**LONGITUDE, "axis": "X"})
        return latitude, longitude, _grid_mapping(self.mapping)

    def labels(self) -> Labels:
        """Give latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        raise NotImplementedError

    def auxiliary(self) -> dict[str, Any]:
        """Give the grid mapping, for `TemplateConfig.derive_coordinates`."""
        return {GRID_MAPPING: ((), np.int32(0))}

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's grid is another one; 1e-5 degrees are granted.

        GRIB writes coordinates in millionths of a degree. Longitudes may be counted from elsewhere:
        230 to 300 is -130 to -60.
        """
        labels, longitudes = self.labels(), grid.longitudes
        if longitudes is not None:
            turns = round(float(longitudes[0] - labels["longitude"][0]) / 360.0)
            longitudes = longitudes - 360.0 * turns
        has = {"latitude": grid.latitudes, "longitude": longitudes}
        return _differences(grid, labels, has, tolerance=1e-5)


@dataclass(frozen=True, kw_only=True)
class LatitudeLongitudeGrid(_Geographic):
    """A global regular grid, from the north pole to the south.

    Parameters
    ----------
    step_degrees
        Distance of neighbours, a divisor of 180.
    first_longitude
        Degrees east: 0 with NCEP, -180 with ECMWF.
    mapping
        The CF grid mapping's attributes.

    Examples
    --------
    >>> grid = LatitudeLongitudeGrid(step_degrees=90.0, first_longitude=-180.0)
    >>> grid.labels()["longitude"]
    array([-180.,  -90.,    0.,   90.])
    """

    step_degrees: float
    first_longitude: float = 0.0
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    def labels(self) -> Labels:
        """Give latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        step = self.step_degrees
        return {
            "latitude": 90 - step * np.arange(round(180 / step) + 1),
            "longitude": self.first_longitude + step * np.arange(round(360 / step)),
        }


@dataclass(frozen=True, kw_only=True)
class RegionalGrid(_Geographic):
    """A regular grid of latitudes and longitudes over a part of the Earth.

    Parameters
    ----------
    first_latitude, first_longitude
        The point in the first row and column, degrees. Longitudes increase, as every message's are
        turned to; give the western one, below 180 unless the grid crosses the 180th meridian.
    step_degrees
        Distance of neighbours; of latitudes, and of longitudes where they differ. That of latitudes
        is negative where the first row is the northern one.
    shape
        Number of latitudes and of longitudes.
    mapping
        The CF grid mapping's attributes.

    Examples
    --------
    DWD's ICON-EU, from the south-west, and MRMS over the contiguous United States:

    >>> icon_eu = RegionalGrid(
    ...     first_latitude=29.5,
    ...     first_longitude=-23.5,
    ...     step_degrees=0.0625,
    ...     shape=(657, 1377),
    ... )
    >>> float(icon_eu.labels()["latitude"][-1]), float(icon_eu.labels()["longitude"][-1])
    (70.5, 62.5)
    >>> mrms = RegionalGrid(
    ...     first_latitude=54.995,
    ...     first_longitude=-129.995,
    ...     step_degrees=(-0.01, 0.01),
    ...     shape=(3500, 7000),
    ... )
    >>> float(mrms.labels()["latitude"][-1])
    20.005
    """

    first_latitude: float
    first_longitude: float
    step_degrees: float | tuple[float, float]
    shape: tuple[int, int]
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    def labels(self) -> Labels:
        """Give latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        first = (self.first_latitude, self.first_longitude)
        return _evenly(("latitude", "longitude"), first, self.step_degrees, self.shape)


@dataclass(frozen=True, kw_only=True)
class GaussianGrid(_Geographic):
    """A global Gaussian grid with rows of one length, from north to south.

    Parameters
    ----------
    parallels
        Rows between a pole and the equator: N of GRIB messages, 47 of T62.
    columns
        Points of a row; None takes four for each parallel.
    mapping
        The CF grid mapping's attributes.

    Examples
    --------
    >>> labels = GaussianGrid(parallels=47, columns=192).labels()
    >>> labels["latitude"].size, float(labels["longitude"][1])
    (94, 1.875)
    """

    parallels: int
    columns: int | None = None
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    def labels(self) -> Labels:
        """Give latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        columns = self.columns or 4 * self.parallels
        longitudes = np.round(360.0 / columns * np.arange(columns), 9)
        return {"latitude": gaussian_latitudes(self.parallels).copy(), "longitude": longitudes}


class _Planar:
    """What grids share whose latitudes and longitudes have two dims."""

    mapping: GridMapping
    dims: ClassVar[tuple[str, str]] = ("y", "x")
    axes: ClassVar[tuple[Mapping[str, str], Mapping[str, str]]] = (PROJECTION_Y, PROJECTION_X)
    # In the coordinates of the plane.
    granted: ClassVar[float] = 1.0

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        (y, x), (about_y, about_x) = self.dims, self.axes
        return (
            Coordinate(name=y, attrs={**about_y, "axis": "Y"}),
            Coordinate(name=x, attrs={**about_x, "axis": "X"}),
            # In float32 a place is known to a metre.
            Coordinate(name="latitude", dims=self.dims, dtype="float32", attrs=LATITUDE),
            Coordinate(name="longitude", dims=self.dims, dtype="float32", attrs=LONGITUDE),
            _grid_mapping(self.mapping),
        )

    def labels(self) -> Labels:
        """Give the coordinates of the plane, for `TemplateConfig.dimension_coordinates`."""
        raise NotImplementedError

    def auxiliary(self) -> dict[str, Any]:
        """Give places and grid mapping, for `TemplateConfig.derive_coordinates`."""
        latitudes, longitudes = self._places
        return {
            "latitude": (self.dims, latitudes),
            "longitude": (self.dims, longitudes),
            GRID_MAPPING: ((), np.int32(0)),
        }

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's grid is another one; `granted` is granted."""
        wrong = [
            f"{name} {grid.grid_mapping.get(name)}, not {value}"
            for name, value in self.mapping.items()
            if not _is_same(grid.grid_mapping.get(name), value)
        ]
        has = dict(zip(self.dims, (grid.y, grid.x), strict=True))
        return wrong + _differences(grid, self.labels(), has, tolerance=self.granted)

    @cached_property
    def _places(self) -> tuple[Any, Any]:
        y, x = (self.labels()[dim] for dim in self.dims)
        places = unproject(self.mapping, x[np.newaxis, :], y[:, np.newaxis])
        latitudes, longitudes = (values.astype("float32") for values in places)
        return latitudes, longitudes


@dataclass(frozen=True, kw_only=True)
class ProjectedGrid(_Planar):
    """A regular grid in the plane of a map projection; a metre is granted to messages.

    Parameters
    ----------
    mapping
        The CF grid mapping's attributes, see `gridmill.sources.grib.projections`.
    first_latitude, first_longitude
        The western point of the first row, degrees.
    step_m
        Distance of neighbours, metres; of rows, and of columns where they differ. That of rows is
        negative where the first one is the northern one.
    shape
        Length of y and of x.
    """

    mapping: GridMapping
    first_latitude: float
    first_longitude: float
    step_m: float | tuple[float, float]
    shape: tuple[int, int]

    def labels(self) -> Labels:
        """Give y and x in metres, for `TemplateConfig.dimension_coordinates`."""
        x, y = project(self.mapping, self.first_latitude, self.first_longitude)
        steps = self.step_m if isinstance(self.step_m, tuple) else (self.step_m, self.step_m)
        return {
            "y": float(y) + steps[0] * np.arange(self.shape[0]),
            "x": float(x) + steps[1] * np.arange(self.shape[1]),
        }


@dataclass(frozen=True, kw_only=True)
class RotatedGrid(_Planar):
    """A regular grid of latitudes and longitudes about another pole; 1e-5 degrees are granted.

    Parameters
    ----------
    southern_pole
        Latitude and longitude of its southern pole, degrees, as GRIB messages write them.
    first_latitude, first_longitude
        The point in the first row and column, degrees about that pole; longitudes increase from it.
    step_degrees
        As for `RegionalGrid`.
    shape
        Number of rows and columns.
    earth
        The CF attributes of the figure of the Earth.

    Examples
    --------
    HRDPS of Environment and Climate Change Canada:

    >>> hrdps = RotatedGrid(
    ...     southern_pole=(-36.08852, 245.305142),
    ...     first_latitude=-12.302501,
    ...     first_longitude=-14.82122,
    ...     step_degrees=0.0225,
    ...     shape=(1290, 2540),
    ... )
    >>> hrdps.auxiliary()["latitude"][1][0, :2]
    array([39.626034, 39.63193 ], dtype=float32)
    """

    southern_pole: tuple[float, float]
    first_latitude: float
    first_longitude: float
    step_degrees: float | tuple[float, float]
    shape: tuple[int, int]
    earth: Mapping[str, float] = field(default_factory=lambda: {"earth_radius": EARTH_RADIUS})

    dims: ClassVar = ("rlat", "rlon")
    axes: ClassVar = (ROTATED_LATITUDE, ROTATED_LONGITUDE)
    granted: ClassVar = 1e-5

    @property
    def mapping(self) -> GridMapping:  # type: ignore[override]
        """The CF grid mapping's attributes."""
        return {**rotated_pole(*self.southern_pole), **self.earth}

    def labels(self) -> Labels:
        """Give rlat and rlon in degrees, for `TemplateConfig.dimension_coordinates`."""
        first = (self.first_latitude, self.first_longitude)
        return _evenly(self.dims, first, self.step_degrees, self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class CellGrid:
    """Cells without rows, one after the other: reduced grids, HEALPix, unstructured meshes.

    Parameters
    ----------
    latitudes, longitudes
        Of each cell's centre, ``(cell,)``, degrees, in the order of the messages' values. A message
        on an unstructured mesh does not hold them: take them from the provider's file (ICON's
        ``CLAT`` and ``CLON``). For others `gridmill.sources.grib.messages.read_grid` gives them.
    mesh
        What the messages must say of the mesh they are on, `Grid.mesh`, whole or in part, such as
        its ``uuidOfHGrid``; empty does not check it.
    mapping
        The CF grid mapping's attributes.
    """

    latitudes: np.ndarray[Any, np.dtype[np.float64]]
    longitudes: np.ndarray[Any, np.dtype[np.float64]]
    mesh: str = ""
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        about = {"long_name": "Number of the cell, in the provider's order", "units": "1"}
        return (
            Coordinate(name="cell", dtype="int32", attrs=about),
            Coordinate(name="latitude", dims=("cell",), attrs=LATITUDE),
            Coordinate(name="longitude", dims=("cell",), attrs=LONGITUDE),
            _grid_mapping(self.mapping),
        )

    def labels(self) -> dict[str, Any]:
        """Give the numbers of the cells, for `TemplateConfig.dimension_coordinates`."""
        return {"cell": np.arange(self.latitudes.size, dtype="int32")}

    def auxiliary(self) -> dict[str, Any]:
        """Give places and grid mapping, for `TemplateConfig.derive_coordinates`."""
        return {
            "latitude": (("cell",), self.latitudes),
            "longitude": (("cell",), self.longitudes),
            GRID_MAPPING: ((), np.int32(0)),
        }

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's mesh is another one; 1e-5 degrees are granted."""
        if grid.shape != self.latitudes.shape:
            told = f"{grid.grid_type} {grid.shape}: not {self.latitudes.size} cells"
            return [f"the message's grid is {told}"]
        if self.mesh not in grid.mesh:
            return [f"the message's mesh is {grid.mesh or grid.grid_type}, not {self.mesh}"]
        if grid.latitudes is None or grid.longitudes is None:
            return []
        far = np.abs(grid.latitudes - self.latitudes)
        turned = np.abs((grid.longitudes - self.longitudes + 180.0) % 360.0 - 180.0)
        off = np.flatnonzero(~(np.maximum(far, turned) <= 1e-5))
        if not off.size:
            return []
        at, where = off[0], (grid.latitudes[off[0]], grid.longitudes[off[0]])
        return [
            f"the message's cell {at} is at {where[0]}, {where[1]}, not at {self.latitudes[at]}, "
            f"{self.longitudes[at]}"
        ]


HorizontalGrid = (
    LatitudeLongitudeGrid | RegionalGrid | GaussianGrid | ProjectedGrid | RotatedGrid | CellGrid
)


def _evenly(
    dims: tuple[str, str],
    first: tuple[float, float],
    step: float | tuple[float, float],
    shape: tuple[int, int],
) -> Labels:
    """Count from the first label of two dims, to 1e-9 degrees."""
    steps = step if isinstance(step, tuple) else (step, step)
    return {
        dim: np.round(start + length * np.arange(count), 9)
        for dim, start, length, count in zip(dims, first, steps, shape, strict=True)
    }


def _is_same(has: Any, want: Any) -> bool:
    """Whether a mapping's attribute is another one, but for the last bits of a number."""
    if isinstance(want, float) and isinstance(has, float):
        return math.isclose(has, want, rel_tol=1e-12, abs_tol=1e-9)
    return bool(has == want)


def _grid_mapping(mapping: GridMapping) -> Coordinate:
    return Coordinate(
        name=GRID_MAPPING,
        dims=(),
        dtype="int32",
        attrs={"long_name": "Grid mapping and figure of the Earth", **mapping},
    )


def _differences(
    grid: Grid, expected: Labels, has: Mapping[str, Any], *, tolerance: float
) -> list[str]:
    for dim, labels in expected.items():
        there = has[dim]
        if there is None or there.shape != labels.shape:
            return [f"the message's grid is {grid.grid_type} {grid.shape}: not {labels.size} {dim}"]
        if not np.abs(there - labels).max() <= tolerance:
            return [
                f"the message's {dim} runs from {there[0]} to {there[-1]}, not from "
                f"{labels[0]} to {labels[-1]}"
            ]
    return []
