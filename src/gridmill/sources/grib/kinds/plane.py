"""Regular grids in the plane of a map projection."""

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.earth import read_earth
from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.keys import integer, optional_real, real
from gridmill.sources.grib.kinds.grid import Attributes, Grid, to_180, winds_follow_grid
from gridmill.sources.grib.layout import Layout
from gridmill.sources.grib.projections import project

__all__ = [
    "planar",
    "read_azimuthal",
    "read_lambert",
    "read_mercator",
    "read_polar_stereographic",
    "read_transverse_mercator",
]


def read_lambert(handle: int, layout: Layout) -> Grid:
    parallels = real(handle, "Latin1InDegrees"), real(handle, "Latin2InDegrees")
    origin = real(handle, "LaDInDegrees")
    if parallels[0] == -parallels[1] or max(map(abs, (*parallels, origin))) >= 90.0:
        raise GribRefused(f"Lambert: parallels {parallels} and origin {origin} make no cone")
    attributes: Attributes = {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": parallels[0] if parallels[0] == parallels[1] else parallels,
        "longitude_of_central_meridian": to_180(real(handle, "LoVInDegrees")),
        "latitude_of_projection_origin": origin,
    }
    return _read_projected_grid(handle, layout, attributes, "DxInMetres", "DyInMetres")


def read_polar_stereographic(handle: int, layout: Layout) -> Grid:
    sign = -1.0 if integer(handle, "projectionCentreFlag") & 0x80 else 1.0
    meridian = to_180(real(handle, "orientationOfTheGridInDegrees"))
    attributes: Attributes = {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": sign * 90.0,
        # Some southern grids give the latitude of true scale without its sign.
        "standard_parallel": sign * abs(real(handle, "LaDInDegrees")),
        "straight_vertical_longitude_from_pole": meridian,
    }
    return _read_projected_grid(handle, layout, attributes, "DxInMetres", "DyInMetres")


def read_mercator(handle: int, layout: Layout) -> Grid:
    attributes: Attributes = {
        "grid_mapping_name": "mercator",
        "standard_parallel": real(handle, "LaDInDegrees"),
        "longitude_of_projection_origin": 0.0,
    }
    grid = _read_projected_grid(handle, layout, attributes, "DiInMetres", "DjInMetres")
    orientation = optional_real(handle, "orientationOfTheGridInDegrees")
    if orientation and not _ends_as_told(handle, grid, layout):
        raise GribRefused(f"Mercator: a grid turned by {orientation} degrees has no CF mapping")
    return grid


def _ends_as_told(handle: int, grid: Grid, layout: Layout) -> bool:
    """Whether the last point is where the message says, within a hundredth of a cell.

    NDFD's grid of Puerto Rico has the longitude of its centre where an orientation belongs.
    """
    latitude, longitude = (
        real(handle, f"{name}OfLastGridPointInDegrees") for name in ("latitude", "longitude")
    )
    x, y = project(grid.grid_mapping, latitude, longitude)
    assert grid.x is not None
    assert grid.y is not None
    far = abs(grid.x[0 if layout.i_negative else -1] - x), abs(grid.y[-1] - y)
    return bool(max(far) < 0.01 * abs(grid.x[-1] - grid.x[0]) / max(grid.x.size - 1, 1))


def read_azimuthal(handle: int, layout: Layout) -> Grid:
    attributes: Attributes = {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "latitude_of_projection_origin": real(handle, "standardParallelInDegrees"),
        "longitude_of_projection_origin": to_180(real(handle, "centralLongitudeInDegrees")),
    }
    lengths = (f"{axis}DirectionGridLengthInMetres" for axis in "xy")
    return _read_projected_grid(handle, layout, attributes, *lengths)


def read_transverse_mercator(handle: int, layout: Layout) -> Grid:
    scale = real(handle, "m")
    if not 0.5 < scale < 2.0:
        raise GribRefused(
            f"transverse Mercator: the scale factor {scale} at the reference point makes no map"
        )
    attributes: Attributes = {
        "grid_mapping_name": "transverse_mercator",
        "latitude_of_projection_origin": integer(handle, "LaR") / 1e6,
        "longitude_of_central_meridian": to_180(integer(handle, "LoR") / 1e6),
        # Written with 24 bits: 0.9996 is meant.
        "scale_factor_at_central_meridian": round(scale, 7),
        "false_easting": real(handle, "XRInMetres"),
        "false_northing": real(handle, "YRInMetres"),
        **read_earth(handle),
    }
    # ecCodes names metres grid lengths.
    ends = [[real(handle, f"{axis}{n}InGridLengths") for n in (1, 2)] for axis in "XY"]
    (x_first, x_last), (y_first, y_last) = ends
    n_j, n_i = layout.shape
    steps = ("DiInMetres", x_last - x_first, n_i), ("DjInMetres", y_last - y_first, n_j)
    for key, whole, count in steps:
        step = real(handle, key)
        if count > 1 and not np.isclose(abs(whole) / (count - 1), step, rtol=0.01):
            raise GribCorrupt(f"{count} points over {whole} m are not in steps of {step} m")
    if layout.i_negative:
        x_first, x_last = x_last, x_first
    return planar(
        handle,
        layout,
        attributes,
        np.linspace(x_first, x_last, n_i),
        np.linspace(y_first, y_last, n_j),
    )


def _read_projected_grid(
    handle: int, layout: Layout, attributes: Attributes, x_key: str, y_key: str
) -> Grid:
    n_j, n_i = layout.shape
    dx, dy = real(handle, x_key), real(handle, y_key)
    if dx <= 0 or dy <= 0:
        raise GribCorrupt(f"the grid's spacing is {dx} m by {dy} m")
    attributes |= {"false_easting": 0.0, "false_northing": 0.0, **read_earth(handle)}
    first_x, first_y = project(
        attributes,
        real(handle, "latitudeOfFirstGridPointInDegrees"),
        real(handle, "longitudeOfFirstGridPointInDegrees"),
    )
    if not np.isfinite([first_x, first_y]).all():
        raise GribCorrupt(f"the first point is not on the map: x {first_x}, y {first_y}")
    west = first_x - dx * (n_i - 1) if layout.i_negative else first_x
    y = first_y + np.arange(n_j, dtype=np.float64) * (dy if layout.j_positive else -dy)
    return planar(handle, layout, attributes, west + np.arange(n_i, dtype=np.float64) * dx, y)


def planar(
    handle: int,
    layout: Layout,
    attributes: Attributes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> Grid:
    return Grid(
        grid_type=layout.grid_type,
        dims=("y", "x"),
        shape=layout.shape,
        y=np.ascontiguousarray(y),
        x=np.ascontiguousarray(x),
        grid_mapping=attributes,
        winds_follow_grid=winds_follow_grid(handle),
    )
