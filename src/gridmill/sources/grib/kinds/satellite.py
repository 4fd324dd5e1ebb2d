"""What a geostationary satellite sees."""

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.earth import read_earth
from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.keys import integer, optional_real, real
from gridmill.sources.grib.kinds.grid import Attributes, Grid, to_180
from gridmill.sources.grib.kinds.plane import planar
from gridmill.sources.grib.layout import Layout

__all__ = ["read_space_view"]


def read_space_view(handle: int, layout: Layout) -> Grid:
    """Read the view of a satellite (GRIB2 template 3.90), with scanning angles as coordinates."""
    earth = read_earth(handle)
    major = earth.get("earth_radius") or earth["semi_major_axis"]
    minor = earth.get("earth_radius") or earth["semi_minor_axis"]
    distance = real(handle, "NrInRadiusOfEarth")
    latitude = real(handle, "latitudeOfSubSatellitePointInDegrees")
    # All bits set stand for a view from infinitely far.
    if latitude or not 1.0 < distance < 100.0:
        raise GribRefused(
            f"a view from {distance} radii above {latitude} degrees north is not geostationary"
        )
    attributes: Attributes = {
        "grid_mapping_name": "geostationary",
        "latitude_of_projection_origin": 0.0,
        "longitude_of_projection_origin": to_180(
            real(handle, "longitudeOfSubSatellitePointInDegrees")
        ),
        "perspective_point_height": (distance - 1.0) * major,
        "sweep_angle_axis": "y",
        "false_easting": 0.0,
        "false_northing": 0.0,
        **earth,
    }
    turned = optional_real(handle, "orientationOfTheGridInDegrees") or 0.0
    if turned not in (0.0, 180.0):
        raise GribRefused(f"the view of a satellite that is turned by {turned} degrees")
    # EUMETSAT's edition 1 turns the image instead of scanning it from the south-east.
    east, north = (
        (-1.0 if turned else 1.0) * 2.0 * np.arcsin(1.0 / distance) * np.array([1.0, minor / major])
    )
    x = _scanning_angles(handle, "x", layout.shape[1]) * (-east if layout.i_negative else east)
    y = _scanning_angles(handle, "y", layout.shape[0]) * (north if layout.j_positive else -north)
    return planar(handle, layout, attributes, x[::-1] if layout.i_negative else x, y)


def _scanning_angles(handle: int, axis: str, count: int) -> NDArray[np.float64]:
    """Count from the sub-satellite point, in apparent diameters of the Earth, in message order."""
    upper, diameter = axis.upper(), integer(handle, f"d{axis}")
    if not 0 < diameter < 2**31:
        raise GribCorrupt(f"the Earth has an apparent diameter of {diameter} along {axis}")
    centre = real(handle, f"{upper}pInGridLengths") - integer(handle, f"{upper}o")
    return (np.arange(count, dtype=np.float64) - centre) / diameter
