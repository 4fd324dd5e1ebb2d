"""The figure of the Earth that a message assumes."""

from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.keys import integer, optional_integer, scaled

__all__ = ["read_earth"]

# GRIB2 code table 3.2: semi-axes in metres; 1, 3 and 7 are given in the message.
_EARTHS = {
    0: (6367470.0, 6367470.0),
    2: (6378160.0, 6356775.0),  # IAU 1965
    4: (6378137.0, 6356752.314140),  # GRS 80
    5: (6378137.0, 6356752.314245),  # WGS 84
    6: (6371229.0, 6371229.0),
    8: (6371200.0, 6371200.0),
    9: (6377563.396, 6356256.909),  # Airy 1830
}


def read_earth(handle: int) -> dict[str, float]:
    """Read the figure of the Earth as CF attributes."""
    # In edition 1 ecCodes derives 0 or 2 from the flag "oblate", but not for a satellite's view.
    shape = integer(handle, "shapeOfTheEarth")
    if shape == 0 and optional_integer(handle, "earthIsOblate"):
        shape = 2
    if shape in _EARTHS:
        major, minor = _EARTHS[shape]
    elif shape == 1:
        major = minor = scaled(handle, "RadiusOfSphericalEarth")
    elif shape in (3, 7):
        metres = 1000.0 if shape == 3 else 1.0
        major = metres * scaled(handle, "EarthMajorAxis")
        minor = metres * scaled(handle, "EarthMinorAxis")
    else:
        raise GribRefused(f"the shape of the Earth {shape} (code table 3.2) is not taken")
    if not 0.0 < minor <= major:
        raise GribCorrupt(f"the Earth's axes are {major} m and {minor} m")
    if major == minor:
        return {"earth_radius": major}
    return {"semi_major_axis": major, "semi_minor_axis": minor}
