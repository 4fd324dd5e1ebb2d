"""What declared grids share: the sphere, attributes of coordinates, and how grids differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gridmill.authoring.cf import GRID_MAPPING
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.projections import GridMapping

__all__ = [
    "EARTH_RADIUS",
    "LATITUDE",
    "LONGITUDE",
    "PROJECTION_X",
    "PROJECTION_Y",
    "ROTATED_LATITUDE",
    "ROTATED_LONGITUDE",
    "SCANNING_X",
    "SCANNING_Y",
    "SPHERE",
    "WGS84",
    "Labels",
    "differing",
    "evenly",
    "grid_mapping",
    "is_same",
]

Labels = dict[str, np.ndarray[Any, np.dtype[np.floating[Any]]]]

# NCEP's and ECMWF's models are on this sphere (GRIB2 code table 3.2, entry 6); metres.
EARTH_RADIUS = 6371229.0
SPHERE: GridMapping = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "earth_radius": EARTH_RADIUS,
}
# EPSG:4326, on which satellites' products are.
WGS84: GridMapping = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
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
SCANNING_Y = {
    "standard_name": "projection_y_angular_coordinate",
    "long_name": "Scanning angle of the satellite, northward",
    "units": "radian",
}
SCANNING_X = {
    "standard_name": "projection_x_angular_coordinate",
    "long_name": "Scanning angle of the satellite, eastward",
    "units": "radian",
}


def evenly(
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


def is_same(has: Any, want: Any) -> bool:
    """Whether a mapping's attribute is another one, but for the last bits of a number."""
    if isinstance(want, float) and isinstance(has, float):
        return math.isclose(has, want, rel_tol=1e-12, abs_tol=1e-9)
    return bool(has == want)


def grid_mapping(mapping: GridMapping) -> Coordinate:
    return Coordinate(
        name=GRID_MAPPING,
        dims=(),
        dtype="int32",
        attrs={"long_name": "Grid mapping and figure of the Earth", **mapping},
    )


def differing(
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
