"""The view of a geostationary satellite that sweeps along y, as Meteosat's do, or x, as GOES's do.

Sources: CGMS 03, LRIT/HRIT Global Specification (2013), section 4.4.3.2, normalized geostationary
projection, with the axes of the ellipsoid in place of its constants; for the sweep along x, GOES-R
Product Definition and User's Guide, volume 3 (2019), section 5.1.2.8.
"""

import numpy as np

from gridmill.sources.grib.equations.ellipsoid import Floats, GridMapping, Pair, number, semi_axes

__all__ = ["project_geostationary", "unproject_geostationary"]


def _axes(grid_mapping: GridMapping) -> tuple[float, float, float]:
    """Semi-axes, and the distance of the satellite from the Earth's centre; metres."""
    major, minor = semi_axes(grid_mapping)
    return major, minor, major + number(grid_mapping, "perspective_point_height")


def _sweeps_x(grid_mapping: GridMapping) -> bool:
    return grid_mapping.get("sweep_angle_axis", "y") == "x"


def project_geostationary(grid_mapping: GridMapping, phi: Floats, angle: Floats) -> Pair:
    """Return scanning angles east and north in radians; NaN where the satellite sees nothing."""
    a, b, distance = _axes(grid_mapping)
    geocentric = np.arctan((b / a) ** 2 * np.tan(phi))
    radius = b / np.sqrt(1.0 - (1.0 - (b / a) ** 2) * np.cos(geocentric) ** 2)
    towards = radius * np.cos(geocentric) * np.cos(angle)
    east = radius * np.cos(geocentric) * np.sin(angle)
    north = radius * np.sin(geocentric)
    depth = distance - towards
    is_seen = depth * towards - east**2 - (north * a / b) ** 2 >= 0
    if _sweeps_x(grid_mapping):
        x, y = np.arctan(east / np.hypot(depth, north)), np.arctan(north / depth)
    else:
        x, y = np.arctan(east / depth), np.arctan(north / np.hypot(depth, east))
    return np.where(is_seen, x, np.nan), np.where(is_seen, y, np.nan)


def unproject_geostationary(grid_mapping: GridMapping, x: Floats, y: Floats) -> Pair:
    """Return radians, from scanning angles; NaN in space."""
    a, b, distance = _axes(grid_mapping)
    ratio = (a / b) ** 2
    ahead = np.cos(x) * np.cos(y)
    if _sweeps_x(grid_mapping):
        sideways, upwards = np.sin(x) + 0.0 * y, np.cos(x) * np.sin(y)
    else:
        sideways, upwards = np.sin(x) * np.cos(y), np.sin(y) + 0.0 * x
    flat = ahead**2 + sideways**2 + ratio * upwards**2
    along = distance * ahead
    with np.errstate(invalid="ignore"):
        root = np.sqrt(along**2 - flat * (distance**2 - a**2))
    reach = (along - root) / flat
    towards = distance - reach * ahead
    east, north = reach * sideways, reach * upwards
    return np.arctan(ratio * north / np.hypot(towards, east)), np.arctan2(east, towards)
