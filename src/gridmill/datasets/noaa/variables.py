"""The table of NOAA's variables: what each is called, in the archive and in the messages.

To add one to GFS, GEFS or HRRR, add an entry, or a product to an entry. Units and names of
well-known variables come from `gridmill.authoring.cf`; others give theirs in the entry. Names and
levels are those of the inventories (``.idx``); the figures are discipline, category and number of
the GRIB2 code tables 4.1 and 4.2 with NCEP's local additions
(https://www.nco.ncep.noaa.gov/pmb/docs/grib2/grib2_doc), and types of code table 4.5. Where NCEP
had figures of its own before the WMO had any, both are accepted: HRRR has the WMO's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from gridmill import Encoding, Superseded
from gridmill.authoring.cf import ALONG_X, ALONG_Y, WELL_KNOWN, attributes
from gridmill.authoring.forecasts.variables import Code, GribVar, Level, Window
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic

__all__ = ["PRESSURE_LEVELS", "Product", "former_variables", "variables"]

Product = Literal["gfs", "gefs", "hrrr"]

HOUR, SIX_HOURS = timedelta(hours=1), timedelta(hours=6)


@dataclass(frozen=True)
class Period:
    """What values of a product describe: an instant, or the time since a reset."""

    statistic: Statistic = Statistic.INSTANT
    method: str = "point"
    window: Window | None = None
    comment: str | None = None


def _since(
    reset: timedelta, statistic: Statistic, *, non_negative_within: float | None = None
) -> Period:
    if statistic in (Statistic.MAXIMUM, Statistic.MINIMUM):
        hours = reset // HOUR
        comment = f"Over the time since the last multiple of {hours} h before the lead."
        window = Window(kind="extreme", reset_every=reset)
        return Period(statistic, str(statistic), window, comment)
    window = Window(
        kind="accumulation" if statistic is Statistic.ACCUMULATION else "average",
        reset_every=reset,
        non_negative_within=non_negative_within,
    )
    return Period(statistic, "mean", window, "Mean over the time since the previous step.")


NOW = Period()
# By how much a mean may be below 0, the packing of each message says.
RAIN = _since(SIX_HOURS, Statistic.ACCUMULATION, non_negative_within=0.0)
HOURLY_RAIN = _since(HOUR, Statistic.ACCUMULATION, non_negative_within=0.0)
MEAN = _since(SIX_HOURS, Statistic.AVERAGE)
SUN = _since(SIX_HOURS, Statistic.AVERAGE, non_negative_within=0.0)
# GEFS rounds averages of yes and no to 0 or 1 (UPP, parm/gefs/postcntrl_gefs.xml: scale 1.0): what
# would be undone of two of them is -1, 0, 1 or 2, and says nothing.
SHARE = Period(
    Statistic.AVERAGE,
    "mean",
    Window(kind="average", reset_every=SIX_HOURS, as_given=True),
    "Average of yes (1) and no (0) over the time since the last multiple of 6 h before the lead; "
    "the provider rounds it to 0 or 1.",
)
UNDONE_SHARE = _since(SIX_HOURS, Statistic.AVERAGE, non_negative_within=0.1)
COVER = _since(SIX_HOURS, Statistic.AVERAGE, non_negative_within=0.0)
MAXIMUM = _since(SIX_HOURS, Statistic.MAXIMUM)
MINIMUM = _since(SIX_HOURS, Statistic.MINIMUM)

SURFACE = Level("surface", Surface(1, None))
SEA_LEVEL = Level("mean sea level", Surface(101, None))
AT_2_M = Level("2 m above ground", Surface(103, 2.0))
AT_10_M = Level("10 m above ground", Surface(103, 10.0))
AT_80_M = Level("80 m above ground", Surface(103, 80.0))
AT_100_M = Level("100 m above ground", Surface(103, 100.0))
ATMOSPHERE = Level("entire atmosphere", Surface(10, None))
COLUMN = Level("entire atmosphere (considered as a single layer)", Surface(200, None))
LOW = Level("low cloud layer", Surface(214, None))
MIDDLE = Level("middle cloud layer", Surface(224, None))
HIGH = Level("high cloud layer", Surface(234, None))
TOP_SOIL = Level("0-0.1 m below ground", Surface(106, 0.0), Surface(106, 0.1))

# hPa; the WMO's standard levels (Manual on the GDPFS, appendix 2.2.1) as models are compared on.
PRESSURE_LEVELS = (1000, 925, 850, 700, 600, 500, 400, 300, 250, 200, 150, 100, 50)
AT_PRESSURES = tuple(Level(f"{hpa} mb", Surface(100, 100.0 * hpa)) for hpa in PRESSURE_LEVELS)
AT_500_HPA = AT_PRESSURES[PRESSURE_LEVELS.index(500)]


@dataclass(frozen=True)
class Entry:
    """A variable, and what its values describe in each product that has it."""

    name: str
    parameter: str
    codes: tuple[Code, ...]
    levels: tuple[Level, ...]
    periods: dict[Product, Period]
    attrs: Mapping[str, str]
    valid_from: dict[Product, str]

    def to_variable(self, product: Product, dims: Sequence[str], encoding: Encoding) -> GribVar:
        """Return the variable as a product has it."""
        period = self.periods[product]
        step_dim = "lead_time" if "lead_time" in dims else "time"
        known = WELL_KNOWN.get(self.name)
        more: dict[str, Any] = {"comment": period.comment, **self.attrs}
        return GribVar(
            name=self.name,
            dims=tuple(dims),
            encoding=encoding,
            attrs=attributes(self.name, f"{step_dim}: {period.method}", **more),
            keep_mantissa_bits=9 if known is None else known.mantissa_bits,
            parameter=self.parameter,
            levels=self.levels,
            statistic=period.statistic,
            codes=self.codes,
            valid_from=self.valid_from.get(product),
            window=period.window,
        )


def _entry(
    name: str,
    parameter: str,
    codes: Sequence[Code],
    levels: Level | tuple[Level, ...],
    *,
    gfs: Period | None = None,
    gefs: Period | None = None,
    hrrr: Period | None = None,
    attrs: Mapping[str, str] | None = None,
    valid_from: dict[Product, str] | None = None,
) -> Entry:
    given: dict[Product, Period | None] = {"gfs": gfs, "gefs": gefs, "hrrr": hrrr}
    return Entry(
        name,
        parameter,
        tuple(codes),
        (levels,) if isinstance(levels, Level) else levels,
        {product: period for product, period in given.items() if period is not None},
        attrs or {},
        valid_from or {},
    )


# In GEFS's files of the most used variables (pgrb2s) since then, and in pgrb2b before: so does
# github.com/dynamical-org/reformatters switch files. The archives begin after the models' last
# change of what else is here: GFS v16 (2021-03-22), HRRR v4 (2020-12-02).
CPOFP_FROM: dict[Product, str] = {"gefs": "2022-10-18T12:00"}

# fmt: off
TABLE = (
    _entry("temperature_2m", "TMP", [(0, 0, 0)], AT_2_M, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("dew_point_temperature_2m", "DPT", [(0, 0, 6)], AT_2_M, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("relative_humidity_2m", "RH", [(0, 1, 1)], AT_2_M, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("specific_humidity_2m", "SPFH", [(0, 1, 0)], AT_2_M, gfs=NOW, hrrr=NOW),
    _entry("maximum_temperature_2m", "TMAX", [(0, 0, 4), (0, 0, 0)], AT_2_M,
           gfs=MAXIMUM, gefs=MAXIMUM),
    _entry("minimum_temperature_2m", "TMIN", [(0, 0, 5), (0, 0, 0)], AT_2_M,
           gfs=MINIMUM, gefs=MINIMUM),
    _entry("temperature_surface", "TMP", [(0, 0, 0)], SURFACE, gfs=NOW, hrrr=NOW),
    _entry("wind_u_10m", "UGRD", [(0, 2, 2)], AT_10_M, gfs=NOW, gefs=NOW),
    _entry("wind_v_10m", "VGRD", [(0, 2, 3)], AT_10_M, gfs=NOW, gefs=NOW),
    _entry("wind_u_10m", "UGRD", [(0, 2, 2)], AT_10_M, hrrr=NOW, attrs=ALONG_X),
    _entry("wind_v_10m", "VGRD", [(0, 2, 3)], AT_10_M, hrrr=NOW, attrs=ALONG_Y),
    _entry("wind_u_80m", "UGRD", [(0, 2, 2)], AT_80_M, hrrr=NOW, attrs=ALONG_X),
    _entry("wind_v_80m", "VGRD", [(0, 2, 3)], AT_80_M, hrrr=NOW, attrs=ALONG_Y),
    _entry("wind_u_100m", "UGRD", [(0, 2, 2)], AT_100_M, gfs=NOW),
    _entry("wind_v_100m", "VGRD", [(0, 2, 3)], AT_100_M, gfs=NOW),
    _entry("wind_gust_surface", "GUST", [(0, 2, 22)], SURFACE, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("pressure_surface", "PRES", [(0, 3, 0)], SURFACE, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("pressure_reduced_to_mean_sea_level", "PRMSL", [(0, 3, 1)], SEA_LEVEL,
           gfs=NOW, gefs=NOW),
    _entry("pressure_reduced_to_mean_sea_level", "MSLMA", [(0, 3, 198)], SEA_LEVEL, hrrr=NOW),
    _entry("geopotential_height_500hpa", "HGT", [(0, 3, 5)], AT_500_HPA, gfs=NOW, hrrr=NOW),
    _entry("precipitation_surface", "APCP", [(0, 1, 8)], SURFACE,
           gfs=RAIN, gefs=RAIN, hrrr=HOURLY_RAIN),
    _entry("convective_precipitation_surface", "ACPCP", [(0, 1, 10)], SURFACE, gfs=RAIN),
    _entry("percent_frozen_precipitation_surface", "CPOFP", [(0, 1, 39)], SURFACE,
           gfs=NOW, gefs=NOW, hrrr=NOW, valid_from=CPOFP_FROM),
    _entry("categorical_rain_surface", "CRAIN", [(0, 1, 192), (0, 1, 33)], SURFACE,
           gfs=NOW, hrrr=NOW),
    _entry("categorical_snow_surface", "CSNOW", [(0, 1, 195), (0, 1, 36)], SURFACE,
           gfs=NOW, hrrr=NOW),
    _entry("categorical_freezing_rain_surface", "CFRZR", [(0, 1, 193), (0, 1, 34)], SURFACE,
           gfs=NOW, hrrr=NOW),
    _entry("categorical_ice_pellets_surface", "CICEP", [(0, 1, 194), (0, 1, 35)], SURFACE,
           gfs=NOW, hrrr=NOW),
    _entry("mean_categorical_rain_surface", "CRAIN", [(0, 1, 192), (0, 1, 33)], SURFACE,
           gefs=SHARE),
    _entry("mean_categorical_snow_surface", "CSNOW", [(0, 1, 195), (0, 1, 36)], SURFACE,
           gefs=SHARE),
    _entry("mean_categorical_freezing_rain_surface", "CFRZR", [(0, 1, 193), (0, 1, 34)], SURFACE,
           gefs=SHARE),
    _entry("mean_categorical_ice_pellets_surface", "CICEP", [(0, 1, 194), (0, 1, 35)], SURFACE,
           gefs=SHARE),
    _entry("snow_depth_surface", "SNOD", [(0, 1, 11)], SURFACE, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("snow_water_equivalent_surface", "WEASD", [(0, 1, 13)], SURFACE,
           gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("total_cloud_cover_atmosphere", "TCDC", [(0, 6, 1)], ATMOSPHERE,
           gfs=NOW, gefs=COVER, hrrr=NOW),
    _entry("low_cloud_cover", "LCDC", [(0, 6, 3)], LOW, gfs=NOW, hrrr=NOW),
    _entry("middle_cloud_cover", "MCDC", [(0, 6, 4)], MIDDLE, gfs=NOW, hrrr=NOW),
    _entry("high_cloud_cover", "HCDC", [(0, 6, 5)], HIGH, gfs=NOW, hrrr=NOW),
    _entry("precipitable_water_atmosphere", "PWAT", [(0, 1, 3)], COLUMN,
           gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("composite_reflectivity_atmosphere", "REFC", [(0, 16, 196), (0, 16, 5)], ATMOSPHERE,
           hrrr=NOW),
    _entry("downward_short_wave_radiation_flux_surface", "DSWRF", [(0, 4, 192), (0, 4, 7)],
           SURFACE, gfs=SUN, gefs=SUN, hrrr=NOW),
    _entry("downward_long_wave_radiation_flux_surface", "DLWRF", [(0, 5, 192), (0, 5, 3)],
           SURFACE, gfs=MEAN, gefs=MEAN, hrrr=NOW),
    _entry("upward_short_wave_radiation_flux_surface", "USWRF", [(0, 4, 193), (0, 4, 8)],
           SURFACE, gefs=SUN, hrrr=NOW),
    _entry("upward_long_wave_radiation_flux_surface", "ULWRF", [(0, 5, 193), (0, 5, 4)],
           SURFACE, gefs=MEAN, hrrr=NOW),
    _entry("latent_heat_flux_surface", "LHTFL", [(0, 0, 10)], SURFACE,
           gfs=MEAN, gefs=MEAN, hrrr=NOW),
    _entry("sensible_heat_flux_surface", "SHTFL", [(0, 0, 11)], SURFACE,
           gfs=MEAN, gefs=MEAN, hrrr=NOW),
    _entry("visibility_surface", "VIS", [(0, 19, 0)], SURFACE, gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("convective_available_potential_energy_surface", "CAPE", [(0, 7, 6)], SURFACE,
           gfs=NOW, gefs=NOW, hrrr=NOW),
    _entry("convective_inhibition_surface", "CIN", [(0, 7, 7)], SURFACE, gefs=NOW, hrrr=NOW),
    _entry("planetary_boundary_layer_height_surface", "HPBL", [(0, 3, 196), (0, 3, 18)], SURFACE,
           hrrr=NOW),
    _entry("sea_ice_cover_surface", "ICEC", [(10, 2, 0)], SURFACE, gfs=NOW),
    _entry("sea_ice_thickness_surface", "ICETK", [(10, 2, 1)], SURFACE, gefs=NOW),
    _entry("soil_temperature_0_10cm", "TSOIL", [(2, 0, 2), (2, 3, 18)], TOP_SOIL, gefs=NOW),
    _entry("volumetric_soil_moisture_0_10cm", "SOILW", [(2, 0, 192)], TOP_SOIL,
           gfs=NOW, gefs=NOW),
    _entry("temperature", "TMP", [(0, 0, 0)], AT_PRESSURES, gfs=NOW),
    _entry("wind_u", "UGRD", [(0, 2, 2)], AT_PRESSURES, gfs=NOW),
    _entry("wind_v", "VGRD", [(0, 2, 3)], AT_PRESSURES, gfs=NOW),
    _entry("specific_humidity", "SPFH", [(0, 1, 0)], AT_PRESSURES, gfs=NOW),
    _entry("relative_humidity", "RH", [(0, 1, 1)], AT_PRESSURES, gfs=NOW),
    _entry("geopotential_height", "HGT", [(0, 3, 5)], AT_PRESSURES, gfs=NOW),
)
# fmt: on


# Of archives made before 0.1.0.
UNDONE = "averages that are rounded to 0 or 1 say nothing once they are undone"
FORMER = tuple(
    replace(entry, name=entry.name.removeprefix("mean_"), periods={"gefs": UNDONE_SHARE})
    for entry in TABLE
    if entry.name.startswith("mean_categorical")
)


def former_variables(
    product: Product, dims: Sequence[str], encoding: Encoding
) -> tuple[GribVar, ...]:
    """Return the variables that archives of a product made earlier may have, see `variables`."""
    return tuple(
        replace(
            entry.to_variable(product, dims, encoding),
            superseded=Superseded(by=f"mean_{entry.name}", why=UNDONE),
        )
        for entry in FORMER
        if product in entry.periods
    )


def variables(
    product: Product, dims: Sequence[str], encoding: Encoding, *, on_levels: bool = False
) -> tuple[GribVar, ...]:
    """Return a product's variables.

    Parameters
    ----------
    product
        Which of NOAA's models.
    dims
        Of those on one level.
    encoding
        Of those on one level; on several, chunks and shards hold one level.
    on_levels
        Whether to give those on pressure levels, too; the dim ``pressure_level`` stands before
        the grid's.
    """
    entries = [entry for entry in TABLE if product in entry.periods]
    single = [e.to_variable(product, dims, encoding) for e in entries if len(e.levels) == 1]
    if not on_levels:
        return tuple(single)
    layered = replace(
        encoding, chunks=_with_level(encoding.chunks), shards=_with_level(encoding.object_shape)
    )
    level_dims = (*dims[:-2], "pressure_level", *dims[-2:])
    several = [e.to_variable(product, level_dims, layered) for e in entries if len(e.levels) > 1]
    return (*single, *several)


def _with_level(lengths: tuple[int, ...]) -> tuple[int, ...]:
    return (*lengths[:-2], 1, *lengths[-2:])
