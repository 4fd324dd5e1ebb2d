"""Horizontal grids of models: their dims, coordinates and CF grid mapping, declared once.

A template takes its coordinates from a grid, and a job of GRIB files checks every message's grid
against the same one.

See Also
--------
gridmill.sources.grib.projections : the projections themselves.
gridmill.authoring.forecasts.reading : checks messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gridmill.authoring.cf import GRID_MAPPING
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.projections import GridMapping, project, unproject

__all__ = ["HorizontalGrid", "LatitudeLongitudeGrid", "ProjectedGrid"]

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


@dataclass(frozen=True, kw_only=True)
class LatitudeLongitudeGrid:
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

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        latitude = Coordinate(name="latitude", attrs={**LATITUDE, "axis": "Y"})
        longitude = Coordinate(name="longitude", attrs={**LONGITUDE, "axis": "X"})
        return latitude, longitude, _grid_mapping(self.mapping)

    def labels(self) -> Labels:
        """Give latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        step = self.step_degrees
        return {
            "latitude": 90 - step * np.arange(round(180 / step) + 1),
            "longitude": self.first_longitude + step * np.arange(round(360 / step)),
        }

    def auxiliary(self) -> dict[str, Any]:
        """Give the grid mapping, for `TemplateConfig.derive_coordinates`."""
        return {GRID_MAPPING: ((), np.int32(0))}

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's grid is another one; 1e-5 degrees are granted.

        GRIB writes coordinates in millionths of a degree.
        """
        has = {"latitude": grid.latitudes, "longitude": grid.longitudes}
        return _differences(grid, self.labels(), has, tolerance=1e-5)


@dataclass(frozen=True, kw_only=True)
class ProjectedGrid:
    """A regular grid in the plane of a map projection, from its south-western corner.

    Parameters
    ----------
    mapping
        The CF grid mapping's attributes, see `gridmill.sources.grib.projections`.
    first_latitude, first_longitude
        The south-western point, degrees.
    step_m
        Distance of neighbours, metres.
    shape
        Length of y and of x.
    """

    mapping: GridMapping
    first_latitude: float
    first_longitude: float
    step_m: float
    shape: tuple[int, int]

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        return (
            Coordinate(name="y", attrs={**PROJECTION_Y, "axis": "Y"}),
            Coordinate(name="x", attrs={**PROJECTION_X, "axis": "X"}),
            # In float32 a place is known to a metre.
            Coordinate(name="latitude", dims=("y", "x"), dtype="float32", attrs=LATITUDE),
            Coordinate(name="longitude", dims=("y", "x"), dtype="float32", attrs=LONGITUDE),
            _grid_mapping(self.mapping),
        )

    def labels(self) -> Labels:
        """Give y and x in metres, for `TemplateConfig.dimension_coordinates`."""
        x, y = project(self.mapping, self.first_latitude, self.first_longitude)
        return {
            "y": float(y) + self.step_m * np.arange(self.shape[0]),
            "x": float(x) + self.step_m * np.arange(self.shape[1]),
        }

    def auxiliary(self) -> dict[str, Any]:
        """Give places and grid mapping, for `TemplateConfig.derive_coordinates`."""
        latitudes, longitudes = self._places
        return {
            "latitude": (("y", "x"), latitudes),
            "longitude": (("y", "x"), longitudes),
            GRID_MAPPING: ((), np.int32(0)),
        }

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's grid is another one; a metre is granted."""
        wrong = [
            f"{name} {grid.grid_mapping.get(name)}, not {value}"
            for name, value in self.mapping.items()
            if grid.grid_mapping.get(name) != value
        ]
        return wrong + _differences(grid, self.labels(), {"y": grid.y, "x": grid.x}, tolerance=1.0)

    @cached_property
    def _places(self) -> tuple[Any, Any]:
        labels = self.labels()
        places = unproject(self.mapping, labels["x"][np.newaxis, :], labels["y"][:, np.newaxis])
        latitudes, longitudes = (values.astype("float32") for values in places)
        return latitudes, longitudes


HorizontalGrid = LatitudeLongitudeGrid | ProjectedGrid


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
