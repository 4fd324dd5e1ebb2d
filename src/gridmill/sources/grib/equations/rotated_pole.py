"""Latitudes and longitudes about another pole.

Source: CF conventions, appendix F, rotated latitude-longitude; the equations are those of a
spherical triangle between both poles and the point.
"""

import numpy as np

from gridmill.sources.grib.equations.ellipsoid import Floats, GridMapping, Pair, number

__all__ = ["from_rotated", "rotated_pole", "to_rotated"]


def rotated_pole(southern_latitude: float, southern_longitude: float) -> dict[str, str | float]:
    """Return the CF attributes of a pole that GRIB writes as the southern one, degrees.

    Examples
    --------
    >>> rotated_pole(-40.0, 10.0)["grid_north_pole_longitude"]
    -170.0
    """
    return {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": -southern_latitude,
        "grid_north_pole_longitude": round((southern_longitude + 360.0) % 360.0 - 180.0, 9),
        "north_pole_grid_longitude": 0.0,
    }


def to_rotated(grid_mapping: GridMapping, phi: Floats, angle: Floats) -> Pair:
    """Return grid longitudes and latitudes in degrees; `angle` is east of the grid's north pole."""
    latitudes, longitudes = _turned(grid_mapping, phi, angle)
    return np.degrees(longitudes), np.degrees(latitudes)


def from_rotated(grid_mapping: GridMapping, x: Floats, y: Floats) -> Pair:
    """Return radians, the second east of the grid's north pole, from grid longitudes, latitudes."""
    return _turned(grid_mapping, np.radians(y), np.radians(x))


def _turned(grid_mapping: GridMapping, phi: Floats, angle: Floats) -> Pair:
    """Turn coordinates of one system into those of the other: both ways are the same."""
    pole = np.radians(number(grid_mapping, "grid_north_pole_latitude"))
    sine = np.sin(pole) * np.sin(phi) + np.cos(pole) * np.cos(phi) * np.cos(angle)
    north = np.cos(pole) * np.sin(phi) - np.sin(pole) * np.cos(phi) * np.cos(angle)
    east = -np.cos(phi) * np.sin(angle)
    # Of an arc sine alone little is left near the poles.
    return np.arctan2(sine, np.hypot(north, east)), np.arctan2(east, north)
