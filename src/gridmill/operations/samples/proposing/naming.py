"""What a variable of a sample is called in an archive, and its CF metadata. Pure.

Names, units and standard names come from `gridmill.authoring.cf`, from ecCodes' tables, or from the
file itself. Where none of them knows, that is said and asked, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gridmill.authoring.cf import ALONG_X, ALONG_Y, WELL_KNOWN
from gridmill.operations.samples.facts import GribField
from gridmill.operations.samples.proposing.levels import PRESSURE, level_suffix
from gridmill.sources.grib.inventory.message import Statistic

__all__ = ["WMO", "GribNames", "cf_units", "names_of_field", "python_name"]

# By ecCodes' short name, and by NOAA's: whole names, and those to which the level is added.
WHOLE = {
    "2t": "temperature_2m", "2d": "dew_point_temperature_2m", "2r": "relative_humidity_2m",
    "2sh": "specific_humidity_2m", "10u": "wind_u_10m", "10v": "wind_v_10m",
    "100u": "wind_u_100m", "100v": "wind_v_100m", "10si": "wind_speed_10m",
    "10wdir": "wind_direction_10m", "sp": "pressure_surface",
    "prmsl": "pressure_reduced_to_mean_sea_level", "msl": "pressure_reduced_to_mean_sea_level",
    "PRMSL": "pressure_reduced_to_mean_sea_level",
    "tp": "precipitation_surface", "APCP": "precipitation_surface",
    "acpcp": "convective_precipitation_surface", "cp": "convective_precipitation_surface",
    "skt": "temperature_surface", "tcc": "total_cloud_cover_atmosphere", "lcc": "low_cloud_cover",
    "mcc": "middle_cloud_cover", "hcc": "high_cloud_cover", "pwat": "precipitable_water_atmosphere",
    "PWAT": "precipitable_water_atmosphere", "tcw": "total_column_water_atmosphere",
    "sdswrf": "downward_short_wave_radiation_flux_surface",
    "sdlwrf": "downward_long_wave_radiation_flux_surface",
    "ssrd": "downward_short_wave_radiation_flux_surface",
    "strd": "downward_long_wave_radiation_flux_surface",
    "hpbl": "planetary_boundary_layer_height_surface",
    "blh": "planetary_boundary_layer_height_surface",
    "siconc": "sea_ice_cover_surface", "ci": "sea_ice_cover_surface",
}  # fmt: skip
WITH_LEVEL = {
    "t": "temperature", "TMP": "temperature", "u": "wind_u", "UGRD": "wind_u", "v": "wind_v",
    "VGRD": "wind_v", "WIND": "wind_speed", "ws": "wind_speed", "WDIR": "wind_direction",
    "wdir": "wind_direction", "q": "specific_humidity", "SPFH": "specific_humidity",
    "r": "relative_humidity", "RH": "relative_humidity", "gh": "geopotential_height",
    "HGT": "geopotential_height", "z": "geopotential", "DPT": "dew_point_temperature",
    "PRES": "pressure", "gust": "wind_gust", "GUST": "wind_gust", "i10fg": "wind_gust",
    "vis": "visibility", "VIS": "visibility", "cape": "convective_available_potential_energy",
    "CAPE": "convective_available_potential_energy", "cin": "convective_inhibition",
    "CIN": "convective_inhibition", "refc": "composite_reflectivity",
    "REFC": "composite_reflectivity", "sde": "snow_depth", "SNOD": "snow_depth",
    "sdwe": "snow_water_equivalent", "WEASD": "snow_water_equivalent",
    "DSWRF": "downward_short_wave_radiation_flux", "DLWRF": "downward_long_wave_radiation_flux",
    "USWRF": "upward_short_wave_radiation_flux", "ULWRF": "upward_long_wave_radiation_flux",
    "LHTFL": "latent_heat_flux", "SHTFL": "sensible_heat_flux", "TCDC": "total_cloud_cover",
    "crain": "categorical_rain", "CRAIN": "categorical_rain", "csnow": "categorical_snow",
    "CSNOW": "categorical_snow", "cfrzr": "categorical_freezing_rain",
    "CFRZR": "categorical_freezing_rain", "cicep": "categorical_ice_pellets",
    "CICEP": "categorical_ice_pellets",
}  # fmt: skip
# As wgrib2 prints what it has no name for.
NUMBERED = re.compile(r"var discipline=(\d+) .*parmcat=(\d+) parm=(\d+)")
STATISTICS = {Statistic.MAXIMUM: "maximum", Statistic.MINIMUM: "minimum"}
# As ecCodes writes what has no unit, and units of GRIB that UDUNITS has not.
WITHOUT_UNITS = ("(0 - 1)", "Proportion", "Numeric", "~", "dimensionless", "Fraction", "(0-1)")
OTHER_UNITS = {
    "gpm": "m", "dB": "dBZ", "Degree true": "degree", "Degree N": "degrees_north",
    "Degree E": "degrees_east", "deg": "degree", "C": "degC", "psu": "1e-3",
}  # fmt: skip
# GRIB2 code table 4.2, discipline 0: what ecCodes has no name for where a centre writes it in
# another way than it expects; short name, units and title.
WMO = {
    (0, 0, 0): ("t", "K", "Temperature"),
    (0, 0, 6): ("DPT", "K", "Dew point temperature"),
    (0, 1, 0): ("q", "kg kg-1", "Specific humidity"),
    (0, 1, 1): ("r", "%", "Relative humidity"),
    (0, 1, 8): ("tp", "kg m-2", "Total precipitation"),
    (0, 1, 11): ("sde", "m", "Snow depth"),
    (0, 1, 13): ("sdwe", "kg m-2", "Water equivalent of accumulated snow depth"),
    (0, 1, 29): ("asnow", "m", "Total snowfall"),
    (0, 2, 0): ("wdir", "degree", "Wind direction (from which blowing)"),
    (0, 2, 1): ("ws", "m s-1", "Wind speed"),
    (0, 2, 2): ("u", "m s-1", "u-component of wind"),
    (0, 2, 3): ("v", "m s-1", "v-component of wind"),
    (0, 2, 22): ("gust", "m s-1", "Wind speed (gust)"),
    (0, 3, 0): ("PRES", "Pa", "Pressure"),
    (0, 3, 1): ("prmsl", "Pa", "Pressure reduced to mean sea level"),
    (0, 3, 5): ("gh", "gpm", "Geopotential height"),
    (0, 6, 1): ("TCDC", "%", "Total cloud cover"),
    (0, 7, 6): ("cape", "J kg-1", "Convective available potential energy"),
    (0, 7, 7): ("cin", "J kg-1", "Convective inhibition"),
    (0, 19, 0): ("vis", "m", "Visibility"),
}  # fmt: skip
# Of an amount that accumulates; those of its rate are WELL_KNOWN's.
AMOUNTS = {
    "precipitation_surface": "precipitation_amount",
    "convective_precipitation_surface": "convective_precipitation_amount",
    "downward_short_wave_radiation_flux_surface":
        "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air",
    "downward_long_wave_radiation_flux_surface":
        "integral_wrt_time_of_surface_downwelling_longwave_flux_in_air",
}  # fmt: skip

# Of messages whose winds are along the grid, and not eastward and northward.
ALONG_GRID = {"wind_u": ALONG_X, "wind_v": ALONG_Y}


@dataclass(frozen=True, kw_only=True)
class GribNames:
    """What a field is called.

    Attributes
    ----------
    name
        Of the variable.
    more
        What `cf.attributes` is told beside it: nothing for one that is well-known.
    unknown
        Which of ``units``, ``what it is`` nothing says.
    """

    name: str
    more: dict[str, str | None]
    unknown: tuple[str, ...]


def names_of_field(field: GribField, *, has_levels: bool) -> GribNames:
    """Name a field; with `has_levels` it is on several levels of pressure.

    Examples
    --------
    >>> from datetime import datetime, timedelta
    >>> now, zero = datetime(2024, 1, 1), timedelta(0)
    >>> wind = GribField(parameter="UGRD", level="10 m above ground", start=zero, end=zero,
    ...                  time=now, statistic=Statistic.INSTANT)
    >>> names_of_field(wind, has_levels=False).name
    'wind_u_10m'
    """
    parameter = field.short_name or field.parameter
    name = WHOLE.get(parameter)
    is_at_no_level = field.surface is None or field.surface.type not in (PRESSURE, 105, 104)
    if name is None or not is_at_no_level:
        suffix = "" if has_levels else _suffix(field)
        base = WITH_LEVEL.get(parameter) or _described_name(field)
        name = base if not suffix or base.endswith(suffix) else f"{base}_{suffix}"
    prefix = STATISTICS.get(field.statistic) if field.statistic is not None else None
    if prefix is not None and not name.startswith(prefix):
        name = f"{prefix}_{name}"
    name = python_name(name)
    more, unknown = _attributes(field, name)
    if field.grid is not None and field.grid.winds_follow_grid and base_of_wind(name):
        more = {**more, **ALONG_GRID[base_of_wind(name)]}
    return GribNames(name=name, more=more, unknown=unknown)


def base_of_wind(name: str) -> str:
    """Return ``"wind_u"`` or ``"wind_v"`` of a wind's component; else nothing."""
    return next((base for base in ALONG_GRID if name.startswith(base)), "")


def _attributes(field: GribField, name: str) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Return what CF attributes are told beside a name, and what nothing says."""
    known = WELL_KNOWN.get(name)
    units = cf_units(field.units)
    is_total = field.statistic is Statistic.ACCUMULATION
    # Of an inventory nobody knows the units: those of its names are the well-known ones.
    if known is not None and (units == known.units or (units is None and not is_total)):
        return {}, ()
    title = field.title or (known.long_name if known else "")
    unknown = [] if title else ["what it is"]
    if units is None:
        unknown.append("units")
    more: dict[str, str | None] = {
        "long_name": title or f"{field.parameter} {field.level}".strip(),
        "units": units or "1",
    }
    standard = AMOUNTS.get(name) if is_total else field.standard_name or None
    if standard or known is not None:
        more["standard_name"] = standard
    return more, tuple(unknown)


def cf_units(units: str) -> str | None:
    """Return the units of ecCodes as CF writes them; None where they are not known.

    Examples
    --------
    >>> cf_units("kg m**-2 s**-1"), cf_units("(0 - 1)"), cf_units("unknown")
    ('kg m-2 s-1', '1', None)
    """
    if not units or units == "unknown":
        return None
    if units in WITHOUT_UNITS or units.startswith("(Code table"):
        return "1"
    return OTHER_UNITS.get(units, units.replace("**", ""))


def python_name(text: str) -> str:
    """Return a variable's name: small letters, figures and underscores.

    Examples
    --------
    >>> python_name("Total Precipitation (1h)"), python_name("2t")
    ('total_precipitation_1h', 'var_2t')
    """
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "variable"
    return name if name[0].isalpha() else f"var_{name}"


def _suffix(field: GribField) -> str:
    if field.surface is not None:
        return level_suffix(field.surface, field.below)
    level = field.level
    for words, suffix in ((" m above ground", "m"), (" mb", "hpa"), (" pl", "hpa")):
        if level.endswith(words):
            return f"{level.removesuffix(words)}{suffix}"
    named = {"sfc": "surface", "entire atmosphere": "atmosphere", "no level": ""}
    return named.get(level, python_name(level).removeprefix("var_") if level else "")


def _described_name(field: GribField) -> str:
    words: Any = field.title or field.parameter
    numbers = NUMBERED.fullmatch(words)
    codes = field.codes if words == "unknown" else numbers and numbers.groups()
    if codes is not None:
        words = "parameter_" + "_".join(map(str, codes))
    return python_name(words)
