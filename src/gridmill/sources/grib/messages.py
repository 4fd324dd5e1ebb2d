"""GRIB messages: iterate, identify, place on a grid, and decode into a caller's buffer.

Edition 2 in the packings simple, complex, complex with spatial differencing, CCSDS, JPEG 2000, PNG
and IEEE, and edition 1 in what the installed ecCodes decodes. The decoder is ecCodes, imported when
first needed: ``pip install 'gridmill[grib]'``. It does not download, and it encodes nothing.

Orientation
-----------
Every array and coordinate of this module has the same one. Rows follow the message's own j order
(north to south for most latitude-longitude grids, south to north for most projected ones), columns
run towards increasing longitude or x: messages that scan from east to west, column by column or
back and forth are turned. Longitudes increase without a jump, so ECMWF's grids, which start at
180°E, run from -180. Reduced Gaussian grids have no rows of one length: they come as points.

Sources of the formats: WMO Manual on Codes I.2, FM 92 GRIB (code tables 3.1, 3.2, 4.4, 4.10 and
4.11, flag tables 3.3 and 3.4); https://confluence.ecmwf.int/display/ECC (keys).

See Also
--------
gridmill.sources.grib.inventory : finds the bytes of the messages that are needed.
gridmill.sources.grib.sections : framing and consistency of the bytes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridmill.model.epochs import GRIB_DECODING, note_stage
from gridmill.sources.grib.framing import (
    EncodedMessage,
    GribCorrupt,
    GribRefused,
    Section,
    find_field,
    grid_definition,
    iter_messages,
)
from gridmill.sources.grib.guard import check_consistency
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.projections import GridMapping, project, unproject

__all__ = [
    "EncodedMessage",
    "GribCorrupt",
    "GribRefused",
    "Grid",
    "MessageIdentity",
    "OpenMessage",
    "Surface",
    "decode_message_into",
    "iter_messages",
    "message_identity",
    "open_message",
    "read_grid",
]


class Surface(NamedTuple):
    """A level: GRIB2 code table 4.5 (GRIB1 table 3), and the value in that type's SI unit."""

    type: int
    value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageIdentity:
    """What a message is, by its code figures: names fail where ecCodes has none for them.

    Those names are `OpenMessage.short_name` and `OpenMessage.units`.

    Attributes
    ----------
    edition
        1 or 2.
    centre
        Originating centre as ecCodes abbreviates it, ``kwbc`` for NCEP.
    discipline
        GRIB2 code table 0.0; None in edition 1.
    category
        GRIB2 code table 4.1; in edition 1 the version of the parameter table.
    number
        GRIB2 code table 4.2; in edition 1 the indicator of the parameter.
    first_surface, second_surface
        None where missing; two of them bound a layer.
    reference_time
        Analysis or start of the forecast, in UTC, naive.
    start_step, end_step
        Period that the values describe, from `reference_time`; equal for an instant. None where it
        is coded in months or years.
    statistic
        None where the message does not say it.
    member
        Ensemble member, negative for a negatively perturbed one, 0 for a control; None for a
        message that is no single member.
    derived_forecast
        GRIB2 code table 4.7 (0 is the ensemble mean); None for a message that is not derived.
    """

    edition: int
    centre: str
    discipline: int | None
    category: int
    number: int
    first_surface: Surface | None
    second_surface: Surface | None
    reference_time: datetime
    start_step: timedelta | None
    end_step: timedelta | None
    statistic: Statistic | None
    member: int | None
    derived_forecast: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Where the values of a message lie, in the orientation that the module documents.

    Equal when all of it is equal, coordinates bit for bit; hashable and picklable.

    Attributes
    ----------
    grid_type
        ecCodes' name: ``regular_ll``, ``regular_gg``, ``reduced_gg``, ``reduced_ll``, ``lambert``,
        ``polar_stereographic``, ``mercator``.
    dims
        ``("latitude", "longitude")``, ``("y", "x")``, or ``("point",)`` for a reduced grid.
    shape
        Length of each of `dims`.
    latitudes, longitudes
        float64, degrees, read-only. Along their dims, or along ``point``; None on a projected grid,
        where `points` computes them.
    y, x
        float64, metres, read-only, in the coordinates of `grid_mapping`; None elsewhere.
    grid_mapping
        CF attributes of the grid mapping variable, with the figure of the Earth (CF conventions,
        appendix F).
    winds_follow_grid
        Whether vector components are along the grid's x and y instead of east and north.
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
            of `longitudes`, and from -180 to below 180 on a projected grid.
        """
        if self.y is not None and self.x is not None:
            return unproject(self.grid_mapping, self.x[np.newaxis, :], self.y[:, np.newaxis])
        latitudes, longitudes = self.latitudes, self.longitudes
        assert latitudes is not None
        assert longitudes is not None
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
        return (self.grid_type, self.dims, self.shape, mapping, self.winds_follow_grid)


def _grid_from_state(state: dict[str, Any]) -> Grid:
    return Grid(**state)


def decode_message_into(buffer: NDArray[np.float32], message: bytes) -> None:
    """Decode the values of `message` into `buffer`, in place; missing values become NaN.

    Parameters
    ----------
    buffer
        float32, of the shape that `read_grid` gives, or one-dimensional and contiguous of that
        size. Strides do not matter otherwise: a slice of a larger array will do. Its contents are
        replaced; after an error they are undefined.
    message
        One whole GRIB message with one field, as `iter_messages` yields it.

    Raises
    ------
    GribRefused
        The grid does not have the shape of `buffer`, or the message holds spectral coefficients or
        a staggered grid.
    GribCorrupt
        The message is damaged, or holds a value beyond the range of float32.
    TypeError
        `buffer` is not float32.
    ImportError
        ecCodes is not installed.

    Notes
    -----
    Thread-safe, and ecCodes decodes outside the GIL. Idempotent. Memory beyond `buffer`: ecCodes'
    own copy of the message and its float64 array of the values. ecCodes' float32 call would save
    half of that, but refuses JPEG 2000 and PNG (ecCodes 2.50).
    """
    with open_message(message) as opened:
        opened.decode_into(buffer)


def read_grid(message: bytes) -> Grid:
    """Read where the values of `message` lie.

    Raises
    ------
    GribRefused
        The grid's type is none of those that `Grid` lists, or it is staggered, or its Earth or
        projection has no CF equivalent.
    GribCorrupt
        The message is damaged, or its grid contradicts itself.
    ImportError
        ecCodes is not installed.

    Notes
    -----
    Thread-safe. Takes about a millisecond; packing and values do not matter.
    """
    with open_message(message) as opened:
        return opened.grid


def message_identity(message: bytes) -> MessageIdentity:
    """Read what `message` is.

    Raises
    ------
    GribCorrupt
        The message is damaged, or its date does not exist.
    GribRefused
        The message packs several fields.
    ImportError
        ecCodes is not installed.

    Notes
    -----
    Thread-safe. Takes about 1 ms; grid, packing and values do not matter, so a message that nobody
    needs cannot spoil the search of a whole file.
    """
    with open_message(message) as opened:
        return opened.identity


@dataclass(frozen=True)
class OpenMessage:
    """A message that is loaded into ecCodes once, for all that is asked of it.

    What is asked is read when it is first asked, and kept. Errors are those of `message_identity`,
    `read_grid` and `decode_message_into`.

    Parameters
    ----------
    message
        Its bytes.
    sections
        See `gridmill.sources.grib.sections.find_field`.
    handle
        ecCodes' own, valid inside `open_message`.
    """

    message: bytes
    sections: Sequence[Section]
    handle: int

    @cached_property
    def identity(self) -> MessageIdentity:
        """See `message_identity`."""
        handle = self.handle
        edition = _integer(handle, "edition")
        reference_time = _read_reference_time(handle)
        read_rest = _read_grib1_identity if edition == 1 else _read_grib2_identity
        return MessageIdentity(
            edition=edition,
            centre=_text(handle, "centre"),
            reference_time=reference_time,
            **read_rest(handle),
        )

    @cached_property
    def short_name(self) -> str:
        """ecCodes' name of the parameter; ``unknown`` for MRMS, CMC precipitation and others.

        It and the units take 0.7 ms each, a tenth of the decoding: ecCodes searches its tables.
        """
        return _text(self.handle, "shortName")

    @cached_property
    def units(self) -> str:
        """The units that ecCodes names for the parameter; ``unknown`` where it knows none."""
        return _text(self.handle, "units")

    @cached_property
    def grid(self) -> Grid:
        """See `read_grid`. Messages whose grid definition is the same share one object."""
        definition = self._definition
        known = None if definition is None else _grids.get(definition)
        return known if known is not None else _remember(_grids, definition, self._read_grid())

    def decode_into(self, buffer: NDArray[np.float32]) -> None:
        """See `decode_message_into`."""
        note_stage(GRIB_DECODING)
        if buffer.dtype != np.float32:
            raise TypeError(f"the buffer is {buffer.dtype}, not float32")
        check_consistency(self.message, self.sections)
        layout = self._layout()
        lines = layout.lines_of(buffer)
        values = _read_values(self.handle, layout)
        _copy_lines(lines, values, layout)

    @cached_property
    def _definition(self) -> bytes | None:
        return grid_definition(self.message, self.sections)

    def _read_grid(self) -> Grid:
        layout = self._layout()
        read = _GRID_READERS.get(layout.grid_type)
        if read is None:
            known = ", ".join(_GRID_READERS)
            raise GribRefused(f"grids of type {layout.grid_type!r} are not taken, only {known}")
        return read(self.handle, layout)

    def _layout(self) -> "_Layout":
        definition = self._definition
        known = None if definition is None else _layouts.get(definition)
        if known is not None:
            return known
        return _remember(_layouts, definition, _read_layout(self.handle))


@contextmanager
def open_message(message: bytes) -> Iterator[OpenMessage]:
    """Load a message for several questions: each of the functions above loads it anew.

    Notes
    -----
    Thread-safe, but one thread may use the open message at a time.
    """
    sections = find_field(message)
    with _handle(message) as handle:
        yield OpenMessage(message, sections, handle)


@contextmanager
def _handle(message: bytes) -> Iterator[int]:
    """Load `message` into ecCodes; release it whatever happens, and name ecCodes' errors."""
    eccodes = _import_eccodes()
    handle = None
    try:
        handle = eccodes.codes_new_from_message(message)
        yield handle
    except eccodes.CodesInternalError as error:
        raise GribCorrupt(f"ecCodes cannot read the message: {error}") from error
    finally:
        if handle is not None:
            eccodes.codes_release(handle)


@cache
def _import_eccodes() -> Any:
    try:
        import eccodes
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no library
        raise ImportError(f"GRIB needs ecCodes: pip install 'gridmill[grib]' ({error})") from error
    return eccodes


# Values.


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How the values follow each other: flag table 3.4, bits 1 to 4."""

    grid_type: str
    shape: tuple[int, ...]
    i_negative: bool = False
    j_positive: bool = False
    j_consecutive: bool = False
    alternating: bool = False

    def lines_of(self, array: NDArray[Any]) -> NDArray[Any]:
        """View `array`, oriented as the module documents, as the message's lines in its order."""
        if array.shape != self.shape:
            if array.shape != (int(np.prod(self.shape)),) or not array.flags.c_contiguous:
                raise GribRefused(
                    f"the message's grid, {self.grid_type}, has the shape {self.shape}; the "
                    f"buffer has {array.shape}"
                )
            array = array.reshape(self.shape)
        if self.i_negative:
            array = array[:, ::-1]
        return array.T if self.j_consecutive else array


# By grid definition section: a file's messages, and those of all leads, have a few in all, and to
# read one through ecCodes takes as long as a tenth of the decoding.
_grids: dict[bytes, Grid] = {}
_layouts: dict[bytes, _Layout] = {}
_MOST_KNOWN = 64
_Known = TypeVar("_Known")


def _remember(known: dict[bytes, _Known], definition: bytes | None, value: _Known) -> _Known:
    """Keep what a definition means; that of edition 1 has none."""
    if definition is not None:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[definition] = value
    return value


def _read_layout(handle: int) -> _Layout:
    grid_type = _text(handle, "gridType")
    n_points = _integer(handle, "numberOfDataPoints")
    if grid_type.endswith("sh") or grid_type == "lambert_bf":
        raise GribRefused(f"{grid_type}: spectral coefficients are not values on a grid")
    scanning = _optional_integer(handle, "scanningMode") or 0
    if scanning & 0x0F:
        raise GribRefused(f"scanning mode {scanning:#04x}: staggered grids are not taken")
    n_i, n_j = _optional_integer(handle, "Ni"), _optional_integer(handle, "Nj")
    if n_i is None or n_j is None or _optional_integer(handle, "PLPresent"):
        if scanning & ~0x40:
            raise GribRefused(
                f"scanning mode {scanning:#04x}: points of a grid without rows of one length are "
                "taken only from west to east, row by row"
            )
        return _Layout(grid_type=grid_type, shape=(n_points,))
    if n_i * n_j != n_points:
        raise GribCorrupt(f"{n_j} rows of {n_i} columns are not {n_points} points")
    return _Layout(
        grid_type=grid_type,
        shape=(n_j, n_i),
        i_negative=bool(scanning & 0x80),
        j_positive=bool(scanning & 0x40),
        j_consecutive=bool(scanning & 0x20),
        alternating=bool(scanning & 0x10),
    )


def _read_values(handle: int, layout: _Layout) -> NDArray[np.float64]:
    # With NaN as ecCodes' missing value, points that the bitmap or in-band codes mark arrive as
    # NaN: no mask and no further pass.
    eccodes = _import_eccodes()
    eccodes.codes_set(handle, "missingValue", float("nan"))
    values: NDArray[np.float64] = eccodes.codes_get_values(handle)
    if values.size != np.prod(layout.shape):
        raise GribCorrupt(f"{values.size} values for a grid of the shape {layout.shape}")
    return values


def _copy_lines(lines: NDArray[Any], values: NDArray[np.float64], layout: _Layout) -> None:
    stored = values.reshape(lines.shape)
    try:
        with np.errstate(over="raise"):
            if layout.alternating:
                np.copyto(lines[0::2], stored[0::2], casting="same_kind")
                np.copyto(lines[1::2], stored[1::2, ::-1], casting="same_kind")
            else:
                np.copyto(lines, stored, casting="same_kind")
    except FloatingPointError as error:
        raise GribCorrupt("a value is beyond the range of float32") from error


# Grids.

_Attributes = dict[str, str | float | tuple[float, ...]]


def _read_latitude_longitude_grid(handle: int, layout: _Layout) -> Grid:
    n_j, n_i = layout.shape
    if layout.grid_type == "regular_gg":
        latitudes = _read_gaussian_latitudes(handle, layout)
    else:
        latitudes = _between_ends(handle, "latitude", "j", n_j, negative=not layout.j_positive)
    return Grid(
        grid_type=layout.grid_type,
        dims=("latitude", "longitude"),
        shape=layout.shape,
        latitudes=latitudes,
        longitudes=_between_ends(handle, "longitude", "i", n_i, negative=layout.i_negative),
        grid_mapping={"grid_mapping_name": "latitude_longitude", **_read_earth(handle)},
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


def _between_ends(
    handle: int, name: str, direction: str, count: int, *, negative: bool
) -> NDArray[np.float64]:
    """Space `count` coordinates evenly between the two ends that the message gives.

    The ends are better than the increment, which is rounded to 1e-6 degrees (1/6 degree grids).
    """
    first = _real(handle, f"{name}OfFirstGridPointInDegrees")
    last = _real(handle, f"{name}OfLastGridPointInDegrees")
    if name == "longitude":
        west, east = (last, first) if negative else (first, last)
        east += 360.0 if east < west else 0.0
        # Beyond 360 degrees the axis starts west of Greenwich instead.
        turn = 360.0 if east > 360.0 and west >= 180.0 else 0.0
        first, last = west - turn, east - turn
    step = (last - first) / max(count - 1, 1)
    increment = _optional_real(handle, f"{direction}DirectionIncrementInDegrees")
    wrong_way = name == "latitude" and count > 1 and (step > 0) == negative
    if wrong_way or (count > 1 and increment and abs(abs(step) / increment - 1.0) > 0.01):
        raise GribCorrupt(
            f"the grid contradicts itself: {count} {name}s from {first} to {last} in steps of "
            f"{increment}, {'decreasing' if negative else 'increasing'}"
        )
    return np.round(np.linspace(first, last, count), 9)


def _read_gaussian_latitudes(handle: int, layout: _Layout) -> NDArray[np.float64]:
    distinct = np.sort(_import_eccodes().codes_get_array(handle, "distinctLatitudes"))
    if distinct.size != layout.shape[0]:
        raise GribCorrupt(f"{distinct.size} Gaussian latitudes for {layout.shape[0]} rows")
    return np.ascontiguousarray(distinct if layout.j_positive else distinct[::-1])


def _read_reduced_grid(handle: int, layout: _Layout) -> Grid:
    latitudes, longitudes = (
        _import_eccodes().codes_get_array(handle, key) for key in ("latitudes", "longitudes")
    )
    if (latitudes.size, longitudes.size) != layout.shape * 2:
        raise GribCorrupt(f"{latitudes.size} positions for {layout.shape[0]} points")
    return Grid(
        grid_type=layout.grid_type,
        dims=("point",),
        shape=layout.shape,
        latitudes=latitudes,
        longitudes=(longitudes + 180.0) % 360.0 - 180.0,
        grid_mapping={"grid_mapping_name": "latitude_longitude", **_read_earth(handle)},
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


def _read_lambert_grid(handle: int, layout: _Layout) -> Grid:
    parallels = _real(handle, "Latin1InDegrees"), _real(handle, "Latin2InDegrees")
    origin = _real(handle, "LaDInDegrees")
    if parallels[0] == -parallels[1] or max(map(abs, (*parallels, origin))) >= 90.0:
        raise GribRefused(f"Lambert: parallels {parallels} and origin {origin} make no cone")
    attributes: _Attributes = {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": parallels[0] if parallels[0] == parallels[1] else parallels,
        "longitude_of_central_meridian": _to_180(_real(handle, "LoVInDegrees")),
        "latitude_of_projection_origin": origin,
    }
    return _read_projected_grid(handle, layout, attributes, "DxInMetres", "DyInMetres")


def _read_polar_stereographic_grid(handle: int, layout: _Layout) -> Grid:
    sign = -1.0 if _integer(handle, "projectionCentreFlag") & 0x80 else 1.0
    meridian = _to_180(_real(handle, "orientationOfTheGridInDegrees"))
    attributes: _Attributes = {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": sign * 90.0,
        # Some southern grids give the latitude of true scale without its sign.
        "standard_parallel": sign * abs(_real(handle, "LaDInDegrees")),
        "straight_vertical_longitude_from_pole": meridian,
    }
    return _read_projected_grid(handle, layout, attributes, "DxInMetres", "DyInMetres")


def _read_mercator_grid(handle: int, layout: _Layout) -> Grid:
    if orientation := _optional_real(handle, "orientationOfTheGridInDegrees"):
        raise GribRefused(f"Mercator: a grid turned by {orientation} degrees has no CF mapping")
    attributes: _Attributes = {
        "grid_mapping_name": "mercator",
        "standard_parallel": _real(handle, "LaDInDegrees"),
        "longitude_of_projection_origin": 0.0,
    }
    return _read_projected_grid(handle, layout, attributes, "DiInMetres", "DjInMetres")


def _read_projected_grid(
    handle: int, layout: _Layout, attributes: _Attributes, x_key: str, y_key: str
) -> Grid:
    n_j, n_i = layout.shape
    dx, dy = _real(handle, x_key), _real(handle, y_key)
    if dx <= 0 or dy <= 0:
        raise GribCorrupt(f"the grid's spacing is {dx} m by {dy} m")
    attributes |= {"false_easting": 0.0, "false_northing": 0.0, **_read_earth(handle)}
    first_x, first_y = project(
        attributes,
        _real(handle, "latitudeOfFirstGridPointInDegrees"),
        _real(handle, "longitudeOfFirstGridPointInDegrees"),
    )
    west = first_x - dx * (n_i - 1) if layout.i_negative else first_x
    return Grid(
        grid_type=layout.grid_type,
        dims=("y", "x"),
        shape=layout.shape,
        y=first_y + np.arange(n_j, dtype=np.float64) * (dy if layout.j_positive else -dy),
        x=west + np.arange(n_i, dtype=np.float64) * dx,
        grid_mapping=attributes,
        winds_follow_grid=_read_winds_follow_grid(handle),
    )


_GRID_READERS = {
    "regular_ll": _read_latitude_longitude_grid,
    "regular_gg": _read_latitude_longitude_grid,
    "reduced_ll": _read_reduced_grid,
    "reduced_gg": _read_reduced_grid,
    "lambert": _read_lambert_grid,
    "polar_stereographic": _read_polar_stereographic_grid,
    "mercator": _read_mercator_grid,
}


def _read_winds_follow_grid(handle: int) -> bool:
    return bool(_optional_integer(handle, "uvRelativeToGrid"))


def _to_180(longitude: float) -> float:
    """The same meridian, from -180 to below 180 degrees, to 1e-9 degrees."""
    return round((longitude + 180.0) % 360.0 - 180.0, 9)


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


def _read_earth(handle: int) -> dict[str, float]:
    """Read the figure of the Earth as CF attributes."""
    # In edition 1 ecCodes derives 0 or 2 from the flag "oblate".
    shape = _integer(handle, "shapeOfTheEarth")
    if shape in _EARTHS:
        major, minor = _EARTHS[shape]
    elif shape == 1:
        major = minor = _scaled(handle, "RadiusOfSphericalEarth")
    elif shape in (3, 7):
        metres = 1000.0 if shape == 3 else 1.0
        major = metres * _scaled(handle, "EarthMajorAxis")
        minor = metres * _scaled(handle, "EarthMinorAxis")
    else:
        raise GribRefused(f"the shape of the Earth {shape} (code table 3.2) is not taken")
    if not 0.0 < minor <= major:
        raise GribCorrupt(f"the Earth's axes are {major} m and {minor} m")
    if major == minor:
        return {"earth_radius": major}
    return {"semi_major_axis": major, "semi_minor_axis": minor}


def _scaled(handle: int, name: str) -> float:
    value = _scaled_or_none(handle, name)
    if value is None:
        raise GribCorrupt(f"scaledValueOf{name} is missing")
    return value


# Identity.

# GRIB2 code table 4.4 and GRIB1 table 4; other units are months and years, of no fixed length.
_TIME_UNITS = {
    0: timedelta(minutes=1),
    1: timedelta(hours=1),
    2: timedelta(days=1),
    10: timedelta(hours=3),
    11: timedelta(hours=6),
    12: timedelta(hours=12),
}
_GRIB2_TIME_UNITS = {**_TIME_UNITS, 13: timedelta(seconds=1)}
_GRIB1_TIME_UNITS = {
    **_TIME_UNITS,
    13: timedelta(minutes=15),  # as ECMWF and DWD use it
    14: timedelta(minutes=30),
    254: timedelta(seconds=1),
}
# GRIB2 code table 4.10.
_STATISTICS = {
    0: Statistic.AVERAGE,
    1: Statistic.ACCUMULATION,
    2: Statistic.MAXIMUM,
    3: Statistic.MINIMUM,
    4: Statistic.DIFFERENCE,
    5: Statistic.ROOT_MEAN_SQUARE,
    6: Statistic.STANDARD_DEVIATION,
    8: Statistic.DIFFERENCE,
}
# GRIB1 code table 5, the entries with one period from P1 to P2.
_GRIB1_PERIODS = {
    2: None,
    3: Statistic.AVERAGE,
    4: Statistic.ACCUMULATION,
    5: Statistic.DIFFERENCE,
}


def _read_reference_time(handle: int) -> datetime:
    date, time = _integer(handle, "dataDate"), _integer(handle, "dataTime")
    second = _optional_integer(handle, "second") or 0
    try:
        minute = datetime(date // 10_000, date // 100 % 100, date % 100, time // 100, time % 100)
    except ValueError as error:
        raise GribCorrupt(f"the reference time {date} {time} does not exist") from error
    return minute + timedelta(seconds=second)


def _read_grib2_identity(handle: int) -> dict[str, Any]:
    start_step, end_step, statistic = _read_grib2_period(handle)
    return {
        "discipline": _integer(handle, "discipline"),
        "category": _integer(handle, "parameterCategory"),
        "number": _integer(handle, "parameterNumber"),
        "first_surface": _read_surface(handle, "First"),
        "second_surface": _read_surface(handle, "Second"),
        "start_step": start_step,
        "end_step": end_step,
        "statistic": statistic,
        "member": _read_member(handle),
        "derived_forecast": _optional_integer(handle, "derivedForecast"),
    }


_Period = tuple[timedelta | None, timedelta | None, Statistic | None]


def _read_grib2_period(handle: int) -> _Period:
    """Read the step and, where the template has one, the outermost time range."""
    forecast_time = _optional_integer(handle, "forecastTime")
    if forecast_time is None:  # satellite and radar products
        return timedelta(0), timedelta(0), Statistic.INSTANT
    unit = _GRIB2_TIME_UNITS.get(_integer(handle, "indicatorOfUnitOfTimeRange"))
    start = None if unit is None else forecast_time * unit
    if not _is_defined(handle, "typeOfStatisticalProcessing"):
        return start, start, Statistic.INSTANT
    figure = _first_of_array(handle, "typeOfStatisticalProcessing")
    statistic = None if figure == 255 else _STATISTICS.get(figure, Statistic.OTHER)
    length_unit = _GRIB2_TIME_UNITS.get(_first_of_array(handle, "indicatorOfUnitForTimeRange"))
    if start is None or length_unit is None or _integer(handle, "numberOfTimeRange") != 1:
        return None, None, statistic
    return start, start + _first_of_array(handle, "lengthOfTimeRange") * length_unit, statistic


def _read_surface(handle: int, which: str) -> Surface | None:
    kind = _optional_integer(handle, f"typeOf{which}FixedSurface")
    if kind is None or kind == 255:
        return None
    return Surface(kind, _scaled_or_none(handle, f"{which}FixedSurface"))


def _scaled_or_none(handle: int, name: str) -> float | None:
    """Read a GRIB2 decimal: the scaled value divided by ten to the scale factor."""
    factor = _optional_integer(handle, f"scaleFactorOf{name}")
    value = _optional_integer(handle, f"scaledValueOf{name}")
    if factor is None or value is None:
        return None
    return value / 10**factor if factor >= 0 else float(value * 10**-factor)


def _read_member(handle: int) -> int | None:
    number = _optional_integer(handle, "perturbationNumber")
    if number is None:
        return None
    kind = _optional_integer(handle, "typeOfEnsembleForecast")  # GRIB2 code table 4.6
    if kind in (0, 1):
        return 0
    return -number if kind == 2 else number


def _read_grib1_identity(handle: int) -> dict[str, Any]:
    start_step, end_step, statistic = _read_grib1_period(handle)
    is_ensemble = bool(_optional_integer(handle, "numberOfForecastsInEnsemble"))
    return {
        "discipline": None,
        "category": _integer(handle, "table2Version"),
        "number": _integer(handle, "indicatorOfParameter"),
        "first_surface": Surface(
            _integer(handle, "indicatorOfTypeOfLevel"), _optional_real(handle, "level")
        ),
        "second_surface": None,
        "start_step": start_step,
        "end_step": end_step,
        "statistic": statistic,
        "member": _optional_integer(handle, "perturbationNumber") if is_ensemble else None,
        "derived_forecast": None,
    }


def _read_grib1_period(handle: int) -> _Period:
    """Read P1, P2 and the time range indicator, GRIB1 code table 5."""
    unit = _GRIB1_TIME_UNITS.get(_integer(handle, "indicatorOfUnitOfTimeRange"))
    p1, p2 = _integer(handle, "P1"), _integer(handle, "P2")
    indicator = _integer(handle, "timeRangeIndicator")
    if unit is None:
        return None, None, None
    if indicator in (0, 1, 10):
        step = {0: p1, 1: 0, 10: p1 * 256 + p2}[indicator] * unit
        return step, step, Statistic.INSTANT
    if indicator in _GRIB1_PERIODS:
        return p1 * unit, p2 * unit, _GRIB1_PERIODS[indicator]
    return None, None, None


# Keys. ecCodes tells an absent key from a missing value; both read as None here.


def _is_defined(handle: int, key: str) -> bool:
    return bool(_import_eccodes().codes_is_defined(handle, key))


def _is_given(handle: int, key: str) -> bool:
    return _is_defined(handle, key) and not _import_eccodes().codes_is_missing(handle, key)


def _integer(handle: int, key: str) -> int:
    return int(_import_eccodes().codes_get_long(handle, key))


def _optional_integer(handle: int, key: str) -> int | None:
    return _integer(handle, key) if _is_given(handle, key) else None


def _real(handle: int, key: str) -> float:
    return float(_import_eccodes().codes_get_double(handle, key))


def _optional_real(handle: int, key: str) -> float | None:
    return _real(handle, key) if _is_given(handle, key) else None


def _text(handle: int, key: str) -> str:
    return str(_import_eccodes().codes_get_string(handle, key))


def _first_of_array(handle: int, key: str) -> int:
    return int(_import_eccodes().codes_get_array(handle, key, int)[0])
