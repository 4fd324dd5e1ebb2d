"""Grids of GRIB messages: where the values lie.

Orientation
-----------
Every grid, and every array that is decoded, has the same one. Rows follow the message's own j order
(north to south for most latitude-longitude grids, south to north for most projected ones), columns
run towards increasing longitude or x: messages that scan from east to west, column by column or
back and forth are turned. Longitudes increase without a jump, so ECMWF's grids, which start at
180°E, run from -180. Reduced grids have no rows of one length: they come as points. The cells of
HEALPix and of unstructured meshes stay in their own order.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.earth import read_earth
from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.gaussian import gaussian_rows, reduced_longitudes
from gridmill.sources.grib.keys import (
    import_eccodes,
    integer,
    is_defined,
    optional_integer,
    optional_real,
    real,
    text,
)
from gridmill.sources.grib.layout import Layout
from gridmill.sources.grib.projections import GridMapping, project, unproject

__all__ = ["Grid", "grid_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Where the values of a message lie, in the orientation that the module documents.

    Equal when all of it is equal, coordinates bit for bit; hashable and picklable.

    Attributes
    ----------
    grid_type
        ecCodes' name: ``regular_ll``, ``regular_gg``, ``reduced_gg``, ``reduced_ll``, and those
        four about another pole, ``rotated_…``; ``lambert``, ``lambert_azimuthal_equal_area``,
        ``polar_stereographic``, ``mercator``, ``transverse_mercator``, ``space_view``,
        ``ncep_32769``; ``healpix``, ``unstructured_grid``.
    dims
        ``("latitude", "longitude")``, ``("rlat", "rlon")``, ``("y", "x")``, ``("point",)`` for a
        reduced grid, or ``("cell",)``.
    shape
        Length of each of `dims`.
    latitudes, longitudes
        float64, degrees, read-only. Along their dims, or along ``point`` or ``cell``; None on a
        projected or rotated grid, where `points` computes them, and of a mesh that the message
        does not hold.
    y, x
        float64, read-only, in the coordinates of `grid_mapping`: metres, degrees about another
        pole, radians of a satellite's view; None elsewhere.
    grid_mapping
        CF attributes of the grid mapping variable, with the figure of the Earth (CF conventions,
        appendix F).
    winds_follow_grid
        Whether vector components are along the grid's x and y instead of east and north.
    mesh
        Of an unstructured grid, which one it is: ``uuidOfHGrid``, and the numbers of the grid and
        of its reference (GRIB2 template 3.101); empty otherwise.
    """

    grid_type: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    latitudes: NDArray[np.float64] | None = None
    longitudes: NDArray[np.float64] | None = None
    y: NDArray[np.float64] | None = None
    x: NDArray[np.float64] | None = None
    grid_mapping: GridMapping
    winds_follow_grid: bool
    mesh: str = ""

    def __post_init__(self) -> None:
        """Make the coordinates and the mapping read-only."""
        for coordinate in self._coordinates():
            if coordinate is not None:
                coordinate.setflags(write=False)
        object.__setattr__(self, "grid_mapping", MappingProxyType(dict(self.grid_mapping)))

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute latitude and longitude of every value.

        Returns
        -------
        latitudes, longitudes
            float64, degrees, of `shape`, possibly views of one row or column. Longitudes are those
            of `longitudes`, and from -180 to below 180 on a projected grid. NaN beyond the Earth.

        Raises
        ------
        GribRefused
            The message does not hold its mesh.
        """
        if self.y is not None and self.x is not None:
            return unproject(self.grid_mapping, self.x[np.newaxis, :], self.y[:, np.newaxis])
        latitudes, longitudes = self.latitudes, self.longitudes
        if latitudes is None or longitudes is None:
            raise GribRefused(
                f"the message does not hold the places of its cells, only which mesh it is on "
                f"({self.mesh}): its provider publishes them in a file of their own"
            )
        if len(self.dims) == 1:
            return latitudes, longitudes
        return (
            np.broadcast_to(latitudes[:, np.newaxis], self.shape),
            np.broadcast_to(longitudes, self.shape),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self._description() == other._description() and all(
            np.array_equal(mine, theirs) if mine is not None and theirs is not None else True
            for mine, theirs in zip(self._coordinates(), other._coordinates(), strict=True)
        )

    def __hash__(self) -> int:
        return hash((self.grid_type, self.dims, self.shape))

    def __reduce__(self) -> tuple[Any, ...]:
        return _grid_from_state, ({**self.__dict__, "grid_mapping": dict(self.grid_mapping)},)

    def _coordinates(self) -> tuple[NDArray[np.float64] | None, ...]:
        return (self.latitudes, self.longitudes, self.y, self.x)

    def _description(self) -> tuple[object, ...]:
        # `dims` says which of the coordinates are there.
        mapping = dict(self.grid_mapping)
        return (self.grid_type, self.dims, self.shape, mapping, self.winds_follow_grid, self.mesh)


def _grid_from_state(state: dict[str, Any]) -> Grid:
    return Grid(**state)


def grid_of(handle: int, layout: Layout) -> Grid:
    """Read the grid of a message that is loaded; see `gridmill.sources.grib.messages.read_grid`."""
    read = _GRID_READERS.get(layout.grid_type)
    if read is None:
        known = ", ".join(_GRID_READERS)
        raise GribRefused(f"grids of type {layout.grid_type!r} are not taken, only {known}")
    if len(layout.shape) == 1 and read is not _read_reduced_grid:
        raise GribCorrupt(f"a grid of type {layout.grid_type!r} without rows or columns")
    return read(handle, layout)


_Attributes = dict[str, str | float | tuple[float, ...]]


def _read_latitude_longitude_grid(handle: int, layout: Layout) -> Grid:
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
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


def _read_rotated_grid(handle: int, layout: Layout) -> Grid:
    """Read latitudes and longitudes about another pole: the grid's own."""
    grid = _read_latitude_longitude_grid(handle, layout)
    return replace(
        grid,
        dims=("rlat", "rlon"),
        y=grid.latitudes,
        x=_around_zero(grid.longitudes),
        latitudes=None,
        longitudes=None,
        grid_mapping={**_read_pole(handle), **read_earth(handle)},
    )


def _around_zero(longitudes: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Count the longitudes of a region about the grid's own meridian, without a jump."""
    assert longitudes is not None
    turn = 360.0 if longitudes[0] > 180.0 or longitudes.mean() > 180.0 else 0.0
    return np.round(longitudes - turn, 9)


def _read_pole(handle: int) -> _Attributes:
    if angle := real(handle, "angleOfRotationInDegrees"):
        raise GribRefused(f"a grid about another pole that is turned by {angle} degrees besides")
    return _pole(
        real(handle, "latitudeOfSouthernPoleInDegrees"),
        real(handle, "longitudeOfSouthernPoleInDegrees"),
    )


def _pole(southern_latitude: float, southern_longitude: float) -> _Attributes:
    return {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": -southern_latitude,
        "grid_north_pole_longitude": _to_180(southern_longitude + 180.0),
        "north_pole_grid_longitude": 0.0,
    }


def _read_ncep_rotated_grid(handle: int, layout: Layout) -> Grid:
    """Read NCEP's template 3.32769, of RAP: a rotated grid by its centre and two true corners.

    Source: https://www.nco.ncep.noaa.gov/pmb/docs/grib2/grib2_doc/grib2_temp3-32769.shtml. Where
    others have the last point, ecCodes reads the centre.
    """
    centre = (real(handle, f"{name}OfLastGridPointInDegrees") for name in ("latitude", "longitude"))
    latitude, longitude = centre
    mapping: _Attributes = {**_pole(latitude - 90.0, longitude), **read_earth(handle)}
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
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


def _read_cells(handle: int, layout: Layout) -> Grid:
    """Read a mesh whose cells ecCodes places, as those of HEALPix, or that another file holds."""
    number, reference = (
        optional_integer(handle, key) for key in ("numberOfGridUsed", "numberOfGridInReference")
    )
    is_elsewhere = layout.grid_type == "unstructured_grid"
    uuid = text(handle, "uuidOfHGrid") if is_defined(handle, "uuidOfHGrid") else "none"
    grid = None if is_elsewhere else _read_reduced_grid(handle, layout)
    return Grid(
        grid_type=layout.grid_type,
        dims=("cell",),
        shape=layout.shape,
        latitudes=None if grid is None else grid.latitudes,
        longitudes=None if grid is None else grid.longitudes,
        grid_mapping={"grid_mapping_name": "latitude_longitude", **read_earth(handle)},
        winds_follow_grid=_read_winds_follow_grid(handle),
        mesh=f"uuid {uuid}, grid {number}, reference {reference}" if is_elsewhere else "",
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


def _read_reduced_grid(handle: int, layout: Layout) -> Grid:
    in_rows = import_eccodes().codes_get_array(handle, "pl").astype(np.int64)
    first, last = _latitudes_of_ends(handle, layout)
    if layout.grid_type == "reduced_gg":
        rows = gaussian_rows(integer(handle, "N"), first, last, in_rows.size)
    else:
        rows = np.round(np.linspace(first, last, in_rows.size), 9)
    west = real(handle, "longitudeOfFirstGridPointInDegrees")
    east = real(handle, "longitudeOfLastGridPointInDegrees")
    east += 360.0 if east < west else 0.0
    counts, longitudes = reduced_longitudes(in_rows, west, east, layout.shape[0])
    return Grid(
        grid_type=layout.grid_type,
        dims=("point",),
        shape=layout.shape,
        latitudes=np.repeat(rows, counts),
        longitudes=longitudes,
        grid_mapping={"grid_mapping_name": "latitude_longitude", **read_earth(handle)},
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


def _read_lambert_grid(handle: int, layout: Layout) -> Grid:
    parallels = real(handle, "Latin1InDegrees"), real(handle, "Latin2InDegrees")
    origin = real(handle, "LaDInDegrees")
    if parallels[0] == -parallels[1] or max(map(abs, (*parallels, origin))) >= 90.0:
        raise GribRefused(f"Lambert: parallels {parallels} and origin {origin} make no cone")
    attributes: _Attributes = {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": parallels[0] if parallels[0] == parallels[1] else parallels,
        "longitude_of_central_meridian": _to_180(real(handle, "LoVInDegrees")),
        "latitude_of_projection_origin": origin,
    }
    return _read_projected_grid(handle, layout, attributes, "DxInMetres", "DyInMetres")


def _read_polar_stereographic_grid(handle: int, layout: Layout) -> Grid:
    sign = -1.0 if integer(handle, "projectionCentreFlag") & 0x80 else 1.0
    meridian = _to_180(real(handle, "orientationOfTheGridInDegrees"))
    attributes: _Attributes = {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": sign * 90.0,
        # Some southern grids give the latitude of true scale without its sign.
        "standard_parallel": sign * abs(real(handle, "LaDInDegrees")),
        "straight_vertical_longitude_from_pole": meridian,
    }
    return _read_projected_grid(handle, layout, attributes, "DxInMetres", "DyInMetres")


def _read_mercator_grid(handle: int, layout: Layout) -> Grid:
    attributes: _Attributes = {
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


def _read_azimuthal_grid(handle: int, layout: Layout) -> Grid:
    attributes: _Attributes = {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "latitude_of_projection_origin": real(handle, "standardParallelInDegrees"),
        "longitude_of_projection_origin": _to_180(real(handle, "centralLongitudeInDegrees")),
    }
    lengths = (f"{axis}DirectionGridLengthInMetres" for axis in "xy")
    return _read_projected_grid(handle, layout, attributes, *lengths)


def _read_transverse_mercator_grid(handle: int, layout: Layout) -> Grid:
    scale = real(handle, "m")
    if not 0.5 < scale < 2.0:
        raise GribRefused(
            f"transverse Mercator: the scale factor {scale} at the reference point makes no map"
        )
    attributes: _Attributes = {
        "grid_mapping_name": "transverse_mercator",
        "latitude_of_projection_origin": integer(handle, "LaR") / 1e6,
        "longitude_of_central_meridian": _to_180(integer(handle, "LoR") / 1e6),
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
    return _planar(
        handle,
        layout,
        attributes,
        np.linspace(x_first, x_last, n_i),
        np.linspace(y_first, y_last, n_j),
    )


def _read_space_view_grid(handle: int, layout: Layout) -> Grid:
    """Read the view of a satellite (GRIB2 template 3.90), with scanning angles as coordinates."""
    earth = read_earth(handle)
    major = earth.get("earth_radius") or earth["semi_major_axis"]
    minor = earth.get("earth_radius") or earth["semi_minor_axis"]
    distance = real(handle, "NrInRadiusOfEarth")
    latitude = real(handle, "latitudeOfSubSatellitePointInDegrees")
    if latitude or distance <= 1.0:
        raise GribRefused(
            f"a view from {distance} radii above {latitude} degrees north is not geostationary"
        )
    attributes: _Attributes = {
        "grid_mapping_name": "geostationary",
        "latitude_of_projection_origin": 0.0,
        "longitude_of_projection_origin": _to_180(
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
    return _planar(handle, layout, attributes, x[::-1] if layout.i_negative else x, y)


def _scanning_angles(handle: int, axis: str, count: int) -> NDArray[np.float64]:
    """Count from the sub-satellite point, in apparent diameters of the Earth, in message order."""
    upper = axis.upper()
    centre = real(handle, f"{upper}pInGridLengths") - integer(handle, f"{upper}o")
    return (np.arange(count, dtype=np.float64) - centre) / integer(handle, f"d{axis}")


def _planar(
    handle: int,
    layout: Layout,
    attributes: _Attributes,
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
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


def _read_projected_grid(
    handle: int, layout: Layout, attributes: _Attributes, x_key: str, y_key: str
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
    west = first_x - dx * (n_i - 1) if layout.i_negative else first_x
    y = first_y + np.arange(n_j, dtype=np.float64) * (dy if layout.j_positive else -dy)
    return _planar(handle, layout, attributes, west + np.arange(n_i, dtype=np.float64) * dx, y)


_GRID_READERS = {
    "regular_ll": _read_latitude_longitude_grid,
    "regular_gg": _read_latitude_longitude_grid,
    "reduced_ll": _read_reduced_grid,
    "reduced_gg": _read_reduced_grid,
    "lambert": _read_lambert_grid,
    "polar_stereographic": _read_polar_stereographic_grid,
    "mercator": _read_mercator_grid,
    "lambert_azimuthal_equal_area": _read_azimuthal_grid,
    "transverse_mercator": _read_transverse_mercator_grid,
    "space_view": _read_space_view_grid,
    "rotated_ll": _read_rotated_grid,
    "rotated_gg": _read_rotated_grid,
    "reduced_rotated_ll": _read_reduced_grid,
    "reduced_rotated_gg": _read_reduced_grid,
    "ncep_32769": _read_ncep_rotated_grid,
    "healpix": _read_cells,
    "unstructured_grid": _read_cells,
}


def _read_winds_follow_grid(handle: int) -> bool:
    return bool(optional_integer(handle, "uvRelativeToGrid"))


def _to_180(longitude: float) -> float:
    """The same meridian, from -180 to below 180 degrees, to 1e-9 degrees."""
    return round((longitude + 180.0) % 360.0 - 180.0, 9)
