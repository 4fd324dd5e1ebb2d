"""Grids by latitude and longitude, Gaussian and reduced ones, and those about another pole."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.earth import read_earth
from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.gaussian import gaussian_rows, reduced_longitudes
from gridmill.sources.grib.keys import import_eccodes, integer, optional_real, real
from gridmill.sources.grib.kinds.grid import Attributes, Grid, winds_follow_grid
from gridmill.sources.grib.layout import Layout
from gridmill.sources.grib.projections import GridMapping, project, rotated_pole, unproject

__all__ = ["read_latitude_longitude", "read_ncep_rotated", "read_reduced", "read_rotated"]


def read_latitude_longitude(handle: int, layout: Layout) -> Grid:
    n_j, n_i = layout.shape
    if layout.grid_type.endswith("_gg"):
        latitudes = _read_gaussian_latitudes(handle, layout)
    else:
        latitudes = _between_ends(handle, "latitude", "j", n_j, negative=not layout.j_positive)
    return Grid(
        grid_type=layout.grid_type,
        dims=("latitude", "longitude"),
        shape=layout.shape,
        latitudes=latitudes,
        longitudes=_between_ends(handle, "longitude", "i", n_i, negative=layout.i_negative),
        grid_mapping={"grid_mapping_name": "latitude_longitude", **read_earth(handle)},
        winds_follow_grid=winds_follow_grid(handle),
    )


def read_reduced(handle: int, layout: Layout) -> Grid:
    in_rows = import_eccodes().codes_get_array(handle, "pl").astype(np.int64)
    first, last = _latitudes_of_ends(handle, layout)
    if layout.grid_type.endswith("_gg"):
        rows = gaussian_rows(integer(handle, "N"), first, last, in_rows.size)
    else:
        rows = np.round(np.linspace(first, last, in_rows.size), 9)
    west = real(handle, "longitudeOfFirstGridPointInDegrees")
    east = real(handle, "longitudeOfLastGridPointInDegrees")
    east += 360.0 if east < west else 0.0
    counts, longitudes = reduced_longitudes(in_rows, west, east, layout.shape[0])
    latitudes, earth = np.repeat(rows, counts), read_earth(handle)
    if "rotated" in layout.grid_type:  # stored by where its points are, as it has no axes
        latitudes, longitudes = unproject({**_read_pole(handle), **earth}, longitudes, latitudes)
    return Grid(
        grid_type=layout.grid_type,
        dims=("point",),
        shape=layout.shape,
        latitudes=latitudes,
        longitudes=longitudes,
        grid_mapping={"grid_mapping_name": "latitude_longitude", **earth},
        winds_follow_grid=winds_follow_grid(handle),
    )


def read_rotated(handle: int, layout: Layout) -> Grid:
    """Read latitudes and longitudes about another pole: the grid's own."""
    grid = read_latitude_longitude(handle, layout)
    return replace(
        grid,
        dims=("rlat", "rlon"),
        y=grid.latitudes,
        x=_around_zero(grid.longitudes),
        latitudes=None,
        longitudes=None,
        grid_mapping={**_read_pole(handle), **read_earth(handle)},
    )


def read_ncep_rotated(handle: int, layout: Layout) -> Grid:
    """Read NCEP's template 3.32769, of RAP: a rotated grid by its centre and two true corners.

    Source: https://www.nco.ncep.noaa.gov/pmb/docs/grib2/grib2_doc/grib2_temp3-32769.shtml. Where
    others have the last point, ecCodes reads the centre.
    """
    centre = (real(handle, f"{name}OfLastGridPointInDegrees") for name in ("latitude", "longitude"))
    latitude, longitude = centre
    mapping: Attributes = {**rotated_pole(latitude - 90.0, longitude), **read_earth(handle)}
    corners = [
        [real(handle, f"{name}OfFirstGridPointInDegrees") for name in ("latitude", "longitude")],
        [integer(handle, f"{name}OfGridPoints") / 1e6 for name in ("latitude", "longitude")],
    ]
    (west, south), (east, north) = (project(mapping, *corner) for corner in corners)
    n_j, n_i = layout.shape
    return Grid(
        grid_type=layout.grid_type,
        dims=("rlat", "rlon"),
        shape=layout.shape,
        y=np.linspace(south, north, n_j),
        x=np.linspace(west, east, n_i),
        grid_mapping=mapping,
        winds_follow_grid=winds_follow_grid(handle),
    )


def _around_zero(longitudes: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Count the longitudes of a region about the grid's own meridian, without a jump."""
    assert longitudes is not None
    turn = 360.0 if longitudes[0] > 180.0 or longitudes.mean() > 180.0 else 0.0
    return np.round(longitudes - turn, 9)


def _read_pole(handle: int) -> GridMapping:
    if angle := real(handle, "angleOfRotationInDegrees"):
        raise GribRefused(f"a grid about another pole that is turned by {angle} degrees besides")
    return rotated_pole(
        real(handle, "latitudeOfSouthernPoleInDegrees"),
        real(handle, "longitudeOfSouthernPoleInDegrees"),
    )


def _between_ends(
    handle: int, name: str, direction: str, count: int, *, negative: bool
) -> NDArray[np.float64]:
    """Space `count` coordinates evenly between the two ends that the message gives.

    The ends are better than the increment, which is rounded to 1e-6 degrees (1/6 degree grids).
    """
    first = real(handle, f"{name}OfFirstGridPointInDegrees")
    last = real(handle, f"{name}OfLastGridPointInDegrees")
    if name == "longitude":
        west, east = (last, first) if negative else (first, last)
        east += 360.0 if east < west else 0.0
        # Beyond 360 degrees the axis starts west of Greenwich instead.
        turn = 360.0 if east > 360.0 and west >= 180.0 else 0.0
        first, last = west - turn, east - turn
    step = (last - first) / max(count - 1, 1)
    increment = optional_real(handle, f"{direction}DirectionIncrementInDegrees")
    wrong_way = name == "latitude" and count > 1 and (step > 0) == negative
    if wrong_way or (count > 1 and increment and abs(abs(step) / increment - 1.0) > 0.01):
        raise GribCorrupt(
            f"the grid contradicts itself: {count} {name}s from {first} to {last} in steps of "
            f"{increment}, {'decreasing' if negative else 'increasing'}"
        )
    return np.round(np.linspace(first, last, count), 9)


def _read_gaussian_latitudes(handle: int, layout: Layout) -> NDArray[np.float64]:
    first, last = _latitudes_of_ends(handle, layout)
    return gaussian_rows(integer(handle, "N"), first, last, layout.shape[0])


def _latitudes_of_ends(handle: int, layout: Layout) -> tuple[float, float]:
    """Read the first and the last latitude, and check their order."""
    first, last = (real(handle, f"latitudeOf{end}GridPointInDegrees") for end in ("First", "Last"))
    if max(abs(first), abs(last)) > 90.0 or (first != last and (last > first) != layout.j_positive):
        raise GribCorrupt(f"the grid contradicts itself: latitudes from {first} to {last}")
    return first, last
