"""Grids whose latitudes and longitudes have two dims: of a plane, another pole, a satellite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gridmill.authoring.cf import GRID_MAPPING
from gridmill.authoring.grids.declared import (
    EARTH_RADIUS,
    LATITUDE,
    LONGITUDE,
    PROJECTION_X,
    PROJECTION_Y,
    ROTATED_LATITUDE,
    ROTATED_LONGITUDE,
    SCANNING_X,
    SCANNING_Y,
    Labels,
    differing,
    evenly,
    grid_mapping,
    is_same,
)
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.gaussian import gaussian_latitudes
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.projections import GridMapping, project, rotated_pole, unproject

__all__ = ["ProjectedGrid", "RotatedGaussianGrid", "RotatedGrid", "SatelliteGrid", "ScanningGrid"]


class _Planar(ABC):
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
            grid_mapping(self.mapping),
        )

    @abstractmethod
    def labels(self) -> Labels:
        """Return the coordinates of the plane, for `TemplateConfig.dimension_coordinates`."""

    def auxiliary(self) -> dict[str, Any]:
        """Return places and grid mapping, for `TemplateConfig.derive_coordinates`."""
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
            if not is_same(grid.grid_mapping.get(name), value)
        ]
        has = dict(zip(self.dims, (grid.y, grid.x), strict=True))
        return wrong + differing(grid, self.labels(), has, tolerance=self.granted)

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
        """Return y and x in metres, for `TemplateConfig.dimension_coordinates`."""
        x, y = project(self.mapping, self.first_latitude, self.first_longitude)
        steps = self.step_m if isinstance(self.step_m, tuple) else (self.step_m, self.step_m)
        return {
            "y": float(y) + steps[0] * np.arange(self.shape[0]),
            "x": float(x) + steps[1] * np.arange(self.shape[1]),
        }


class _Rotated(_Planar):
    """What grids of latitudes and longitudes about another pole share."""

    southern_pole: tuple[float, float]
    earth: Mapping[str, float]
    dims: ClassVar = ("rlat", "rlon")
    axes: ClassVar = (ROTATED_LATITUDE, ROTATED_LONGITUDE)
    granted: ClassVar = 1e-5

    @property
    def mapping(self) -> GridMapping:  # type: ignore[override]
        """The CF grid mapping's attributes."""
        return {**rotated_pole(*self.southern_pole), **self.earth}


@dataclass(frozen=True, kw_only=True)
class RotatedGrid(_Rotated):
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

    def labels(self) -> Labels:
        """Return rlat and rlon in degrees, for `TemplateConfig.dimension_coordinates`."""
        first = (self.first_latitude, self.first_longitude)
        return evenly(self.dims, first, self.step_degrees, self.shape)


@dataclass(frozen=True, kw_only=True)
class RotatedGaussianGrid(_Rotated):
    """A global Gaussian grid about another pole, rows of one length, from its north to its south.

    Parameters
    ----------
    southern_pole, earth
        As for `RotatedGrid`.
    parallels, columns
        As for `GaussianGrid`.

    Examples
    --------
    >>> grid = RotatedGaussianGrid(southern_pole=(30.0, 30.0), parallels=48, columns=192)
    >>> round(float(grid.auxiliary()["latitude"][1][0, 0]), 2)
    -28.57
    """

    southern_pole: tuple[float, float]
    parallels: int
    columns: int | None = None
    earth: Mapping[str, float] = field(default_factory=lambda: {"earth_radius": EARTH_RADIUS})

    def labels(self) -> Labels:
        """Return rlat and rlon in degrees, for `TemplateConfig.dimension_coordinates`."""
        columns = self.columns or 4 * self.parallels
        longitudes = np.round(360.0 / columns * np.arange(columns), 9)
        return {"rlat": gaussian_latitudes(self.parallels).copy(), "rlon": longitudes}


@dataclass(frozen=True, kw_only=True)
class ScanningGrid(_Planar):
    """Scanning angles of a geostationary satellite, counted from a first one as GOES's files do.

    Where the satellite sees no Earth latitudes and longitudes are NaN.

    Parameters
    ----------
    mapping
        The CF grid mapping's attributes.
    first, step
        Of y and of x, radians.
    shape
        Length of y and of x.

    Examples
    --------
    >>> goes_east = {
    ...     "grid_mapping_name": "geostationary",
    ...     "latitude_of_projection_origin": 0.0,
    ...     "longitude_of_projection_origin": -75.0,
    ...     "perspective_point_height": 35786023.0,
    ...     "sweep_angle_axis": "x",
    ...     "semi_major_axis": 6378137.0,
    ...     "semi_minor_axis": 6356752.31414,
    ... }
    >>> grid = ScanningGrid(
    ...     mapping=goes_east, first=(0.09534, -0.024052), step=(-5.6e-5, 5.6e-5), shape=(1, 1)
    ... )
    >>> [round(float(grid.auxiliary()[name][1][0, 0]), 4) for name in ("latitude", "longitude")]
    [33.8462, -84.6909]
    """

    mapping: GridMapping
    first: tuple[float, float]
    step: tuple[float, float]
    shape: tuple[int, int]

    axes: ClassVar = (SCANNING_Y, SCANNING_X)
    granted: ClassVar = 1e-7

    def labels(self) -> Labels:
        """Return y and x in radians, for `TemplateConfig.dimension_coordinates`."""
        return evenly(self.dims, self.first, self.step, self.shape)


@dataclass(frozen=True, kw_only=True)
class SatelliteGrid(_Planar):
    """What a geostationary satellite sees, in scanning angles; 1e-7 radians are granted.

    Numbers are those of the messages' headers (GRIB2 template 3.90). Where the satellite sees no
    Earth latitudes and longitudes are NaN.

    Parameters
    ----------
    satellite_longitude
        Degrees east.
    distance
        Of the satellite from the Earth's centre, in semi-major axes.
    diameter
        How many rows, and how many columns, the Earth would fill.
    centre
        Row and column of the point below the satellite, counted from the first row and the western
        column; it may lie outside.
    shape
        Number of rows and columns.
    northern_row_first
        Whether rows run from north to south.
    earth
        The CF attributes ``semi_major_axis`` and ``semi_minor_axis``, metres.
    """

    satellite_longitude: float
    distance: float
    diameter: tuple[float, float]
    centre: tuple[float, float]
    shape: tuple[int, int]
    northern_row_first: bool = True
    earth: Mapping[str, float]

    axes: ClassVar = (SCANNING_Y, SCANNING_X)
    granted: ClassVar = 1e-7

    @property
    def mapping(self) -> GridMapping:  # type: ignore[override]
        """The CF grid mapping's attributes."""
        return {
            "grid_mapping_name": "geostationary",
            "latitude_of_projection_origin": 0.0,
            "longitude_of_projection_origin": self.satellite_longitude,
            "perspective_point_height": (self.distance - 1.0) * self.earth["semi_major_axis"],
            "sweep_angle_axis": "y",
            "false_easting": 0.0,
            "false_northing": 0.0,
            **self.earth,
        }

    def labels(self) -> Labels:
        """Return y and x in radians, for `TemplateConfig.dimension_coordinates`."""
        flat = self.earth["semi_minor_axis"] / self.earth["semi_major_axis"]
        whole = 2.0 * np.arcsin(1.0 / self.distance)
        across = (-whole * flat if self.northern_row_first else whole * flat), whole
        return {
            dim: angle * (np.arange(count) - at) / many
            for dim, angle, count, at, many in zip(
                self.dims, across, self.shape, self.centre, self.diameter, strict=True
            )
        }
