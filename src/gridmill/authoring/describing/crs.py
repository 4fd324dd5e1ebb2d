"""Coordinate reference systems as WKT2 (ISO 19162:2019), from the attributes of a CF grid mapping.

PROJ writes the same, in another way with each of its releases: what is published would differ with
the library that is installed, and every update would import it. Axes are in the order of CF's x and
y, which for degrees is longitude and latitude. A test holds these texts against pyproj.

Sources: CF conventions, appendix F, for the attributes; EPSG's registry for methods and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["crs_wkt"]

GridMapping = Mapping[str, Any]

DEGREE = 'ANGLEUNIT["degree",0.0174532925199433]'
METRE = 'LENGTHUNIT["metre",1]'
GREENWICH = f'PRIMEM["Greenwich",0,{DEGREE}]'
ON_ELLIPSOID = (
    f'CS[ellipsoidal,2],AXIS["longitude",east,ORDER[1],{DEGREE}],'
    f'AXIS["latitude",north,ORDER[2],{DEGREE}]'
)
ON_PLANE = f'CS[Cartesian,2],AXIS["(E)",east,ORDER[1],{METRE}],AXIS["(N)",north,ORDER[2],{METRE}]'


class _Parameter(NamedTuple):
    """A parameter of a method: its name and code with EPSG, and its value."""

    name: str
    code: int | None
    value: float
    unit: str = DEGREE


class _Method(NamedTuple):
    """A method of EPSG's registry, or of PROJ's where it has no code, with its parameters."""

    name: str
    code: int | None
    parameters: tuple[_Parameter, ...]


def crs_wkt(mapping: GridMapping) -> str | None:
    """Return a grid mapping's reference system as WKT2; None of one that has no such text here.

    Parameters
    ----------
    mapping
        CF attributes, as for `gridmill.sources.grib.projections.project`, or those of
        ``latitude_longitude``.

    Examples
    --------
    >>> crs_wkt({"grid_mapping_name": "latitude_longitude", "earth_radius": 6371229.0})[:64]
    'GEOGCRS["unknown",DATUM["unknown",ELLIPSOID["unknown",6371229,0,'
    >>> crs_wkt({"grid_mapping_name": "healpix"})
    """
    name = mapping.get("grid_mapping_name")
    try:
        datum = _datum(mapping)
        if name == "latitude_longitude":
            return f'GEOGCRS["unknown",{datum},{_meridian(mapping)},{ON_ELLIPSOID}]'
        method = _METHODS[str(name)](mapping)
    except KeyError:
        return None
    base = f'BASEGEOGCRS["unknown",{datum},{GREENWICH}]'
    if name == "rotated_latitude_longitude":
        conversion = _conversion("DERIVINGCONVERSION", method)
        return f'GEOGCRS["unknown",{base},{conversion},{ON_ELLIPSOID}]'
    return f'PROJCRS["unknown",{base},{_conversion("CONVERSION", method)},{ON_PLANE}]'


def _datum(mapping: GridMapping) -> str:
    if "earth_radius" in mapping:
        axis, inverse = float(mapping["earth_radius"]), 0.0
    else:
        axis = float(mapping["semi_major_axis"])
        inverse = _inverse_flattening(mapping, axis)
    ellipsoid = f'ELLIPSOID["unknown",{_number(axis)},{_number(inverse)},{METRE}]'
    return f'DATUM["unknown",{ellipsoid}]'


def _inverse_flattening(mapping: GridMapping, axis: float) -> float:
    if "inverse_flattening" in mapping:
        return float(mapping["inverse_flattening"])
    other = float(mapping["semi_minor_axis"])
    return 0.0 if other == axis else axis / (axis - other)


def _meridian(mapping: GridMapping) -> str:
    east = float(mapping.get("longitude_of_prime_meridian", 0.0))
    return f'PRIMEM["unknown",{_number(east)},{DEGREE}]' if east else GREENWICH


def _conversion(keyword: str, method: _Method) -> str:
    parts = [f'METHOD["{method.name}"{_id(method.code)}]', *map(_as_text, method.parameters)]
    return f'{keyword}["unknown",{",".join(parts)}]'


def _as_text(parameter: _Parameter) -> str:
    value = f"{_number(parameter.value)},{parameter.unit}"
    return f'PARAMETER["{parameter.name}",{value}{_id(parameter.code)}]'


def _id(code: int | None) -> str:
    return "" if code is None else f',ID["EPSG",{code}]'


def _number(value: float) -> str:
    return f"{float(value):.15g}"


def _parallels(mapping: GridMapping) -> list[float]:
    given = mapping["standard_parallel"]
    numbers = given if isinstance(given, Iterable) else [given]
    return [float(number) for number in numbers]


def _shift(mapping: GridMapping, east: int = 8806, north: int = 8807) -> tuple[_Parameter, ...]:
    names = ("False easting", "False northing")
    if east == 8826:
        names = ("Easting at false origin", "Northing at false origin")
    shifts = (float(mapping.get(key, 0.0)) for key in ("false_easting", "false_northing"))
    return tuple(
        _Parameter(name, code, shift, METRE)
        for name, code, shift in zip(names, (east, north), shifts, strict=True)
    )


def _at_origin(mapping: GridMapping, meridian: str) -> tuple[_Parameter, ...]:
    latitude = float(mapping["latitude_of_projection_origin"])
    return (
        _Parameter("Latitude of natural origin", 8801, latitude),
        _Parameter("Longitude of natural origin", 8802, float(mapping[meridian])),
    )


def _scale(factor: float) -> _Parameter:
    return _Parameter("Scale factor at natural origin", 8805, factor, 'SCALEUNIT["unity",1]')


def _lambert(mapping: GridMapping) -> _Method:
    parallels = _parallels(mapping)
    origin = _at_origin(mapping, "longitude_of_central_meridian")
    if set(parallels) == {origin[0].value}:
        own = (*origin, _scale(1.0), *_shift(mapping))
        return _Method("Lambert Conic Conformal (1SP)", 9801, own)
    first, second = parallels[0], parallels[-1]
    return _Method(
        "Lambert Conic Conformal (2SP)",
        9802,
        (
            _Parameter("Latitude of false origin", 8821, origin[0].value),
            _Parameter("Longitude of false origin", 8822, origin[1].value),
            _Parameter("Latitude of 1st standard parallel", 8823, first),
            _Parameter("Latitude of 2nd standard parallel", 8824, second),
            *_shift(mapping, 8826, 8827),
        ),
    )


def _polar(mapping: GridMapping) -> _Method:
    meridian = float(mapping["straight_vertical_longitude_from_pole"])
    parallel = float(mapping["standard_parallel"])
    return _Method(
        "Polar Stereographic (variant B)",
        9829,
        (
            _Parameter("Latitude of standard parallel", 8832, parallel),
            _Parameter("Longitude of origin", 8833, meridian),
            *_shift(mapping),
        ),
    )


def _mercator(mapping: GridMapping) -> _Method:
    meridian = float(mapping["longitude_of_projection_origin"])
    return _Method(
        "Mercator (variant B)",
        9805,
        (
            _Parameter("Latitude of 1st standard parallel", 8823, _parallels(mapping)[0]),
            _Parameter("Longitude of natural origin", 8802, meridian),
            *_shift(mapping),
        ),
    )


def _azimuthal(mapping: GridMapping) -> _Method:
    origin = _at_origin(mapping, "longitude_of_projection_origin")
    is_sphere = "earth_radius" in mapping
    name = "Lambert Azimuthal Equal Area" + (" (Spherical)" if is_sphere else "")
    return _Method(name, 1027 if is_sphere else 9820, (*origin, *_shift(mapping)))


def _transverse(mapping: GridMapping) -> _Method:
    origin = _at_origin(mapping, "longitude_of_central_meridian")
    scale = _scale(float(mapping["scale_factor_at_central_meridian"]))
    return _Method("Transverse Mercator", 9807, (*origin, scale, *_shift(mapping)))


def _geostationary(mapping: GridMapping) -> _Method:
    meridian = float(mapping["longitude_of_projection_origin"])
    height = float(mapping["perspective_point_height"])
    return _Method(
        f"Geostationary Satellite (Sweep {str(mapping['sweep_angle_axis']).upper()})",
        None,
        (
            _Parameter("Longitude of natural origin", 8802, meridian),
            _Parameter("Satellite Height", None, height, METRE),
            *_shift(mapping),
        ),
    )


def _rotated(mapping: GridMapping) -> _Method:
    name = "Pole rotation (netCDF CF convention)"
    latitude = float(mapping["grid_north_pole_latitude"])
    longitude = float(mapping["grid_north_pole_longitude"])
    own = float(mapping.get("north_pole_grid_longitude", 0.0))
    return _Method(
        name,
        None,
        (
            _Parameter("Grid north pole latitude (netCDF CF convention)", None, latitude),
            _Parameter("Grid north pole longitude (netCDF CF convention)", None, longitude),
            _Parameter("North pole grid longitude (netCDF CF convention)", None, own),
        ),
    )


_METHODS: dict[str, Callable[[GridMapping], _Method]] = {
    "lambert_conformal_conic": _lambert,
    "polar_stereographic": _polar,
    "mercator": _mercator,
    "lambert_azimuthal_equal_area": _azimuthal,
    "transverse_mercator": _transverse,
    "geostationary": _geostationary,
    "rotated_latitude_longitude": _rotated,
}
