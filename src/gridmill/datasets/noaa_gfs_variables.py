"""The table of NOAA GFS's variables: what each is called, in the archive and in the messages.

To add one, add an entry. Names and levels are those of the inventories (``.idx``); the figures are
discipline, category and number of the GRIB2 code tables 4.1 and 4.2 with NCEP's local additions
(https://www.nco.ncep.noaa.gov/pmb/docs/grib2/grib2_doc), and types of code table 4.5.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

from gridmill import Encoding
from gridmill.grib_region_job import GribVar, Window
from gridmill.sources.grib import Surface
from gridmill.sources.inventory import Selector, Statistic

__all__ = ["variables"]

# `variables` replaces it.
ANY = Encoding(chunks=(1, 1, 1, 1))

SIX_HOURS = timedelta(hours=6)
# Totals come in sixteenths of a kg m-2: over an hour, 1.7e-5 kg m-2 s-1.
RAIN = Window(kind="accumulation", reset_every=SIX_HOURS, non_negative_within=2e-5)
MEAN = Window(kind="average", reset_every=SIX_HOURS)
# Averages of 6 h come in fiftieths of a W m-2, and undoing them multiplies that by up to 6.
SUN = Window(kind="average", reset_every=SIX_HOURS, non_negative_within=0.5)
EXTREME = Window(kind="extreme", reset_every=SIX_HOURS)
SINCE_RESET = "Over the time since the last multiple of 6 h before the lead."

SURFACE = ("surface", Surface(1, None))
SEA_LEVEL = ("mean sea level", Surface(101, None))
AT_2_M = ("2 m above ground", Surface(103, 2.0))
AT_10_M = ("10 m above ground", Surface(103, 10.0))
AT_100_M = ("100 m above ground", Surface(103, 100.0))
AT_500_HPA = ("500 mb", Surface(100, 50000.0))
ATMOSPHERE = ("entire atmosphere", Surface(10, None))
COLUMN = ("entire atmosphere (considered as a single layer)", Surface(200, None))
LOW, MIDDLE, HIGH = (
    (f"{name} cloud layer", Surface(kind, None))
    for name, kind in (("low", 214), ("middle", 224), ("high", 234))
)
TOP_SOIL = ("0-0.1 m below ground", Surface(106, 0.0))

STATISTICS: dict[str, tuple[Statistic, str]] = {
    "accumulation": (Statistic.ACCUMULATION, "mean"),
    "average": (Statistic.AVERAGE, "mean"),
    "maximum": (Statistic.MAXIMUM, "maximum"),
    "minimum": (Statistic.MINIMUM, "minimum"),
}


def _variable(
    name: str,
    parameter: str,
    code: tuple[int, int, int],
    level: tuple[str, Surface],
    units: str,
    long_name: str,
    standard_name: str | None = None,
    *,
    bits: int | None = 9,
    window: Window | None = None,
    extreme: Literal["maximum", "minimum"] | None = None,
    below: Surface | None = None,
    comment: str | None = None,
) -> GribVar:
    statistic, method = Statistic.INSTANT, "point"
    if window is not None:
        statistic, method = STATISTICS[extreme or window.kind]
    attrs = {
        "standard_name": standard_name,
        "long_name": long_name,
        "units": units,
        "cell_methods": f"lead_time: {method}",
        "grid_mapping": "latitude_longitude",
        "comment": comment,
    }
    return GribVar(
        name=name,
        encoding=ANY,
        attrs={key: value for key, value in attrs.items() if value is not None},
        keep_mantissa_bits=bits,
        # A total since the start and one since the last reset are the same, and come twice, up to
        # 6 h: the first is the one that is reset.
        selector=Selector(parameter=parameter, level=level[0], statistic=statistic, occurrence=0),
        code=code,
        surface=level[1],
        second_surface=below,
        window=window,
    )


# Mantissa bits: 9 keep temperatures to 0.25 K, pressures need more (13 keep 1000 hPa to 4 Pa).
# fmt: off
VARIABLES = (
    _variable("temperature_2m", "TMP", (0, 0, 0), AT_2_M, "K",
              "Air temperature at 2 m", "air_temperature", bits=10),
    _variable("dew_point_temperature_2m", "DPT", (0, 0, 6), AT_2_M, "K",
              "Dew point temperature at 2 m", "dew_point_temperature", bits=10),
    _variable("relative_humidity_2m", "RH", (0, 1, 1), AT_2_M, "%",
              "Relative humidity at 2 m", "relative_humidity"),
    _variable("specific_humidity_2m", "SPFH", (0, 1, 0), AT_2_M, "kg kg-1",
              "Specific humidity at 2 m", "specific_humidity"),
    _variable("maximum_temperature_2m", "TMAX", (0, 0, 4), AT_2_M, "K",
              "Maximum air temperature at 2 m", "air_temperature", bits=10,
              window=EXTREME, extreme="maximum", comment=SINCE_RESET),
    _variable("minimum_temperature_2m", "TMIN", (0, 0, 5), AT_2_M, "K",
              "Minimum air temperature at 2 m", "air_temperature", bits=10,
              window=EXTREME, extreme="minimum", comment=SINCE_RESET),
    _variable("temperature_surface", "TMP", (0, 0, 0), SURFACE, "K",
              "Temperature of the surface", "surface_temperature", bits=10),
    _variable("wind_u_10m", "UGRD", (0, 2, 2), AT_10_M, "m s-1",
              "Eastward wind at 10 m", "eastward_wind"),
    _variable("wind_v_10m", "VGRD", (0, 2, 3), AT_10_M, "m s-1",
              "Northward wind at 10 m", "northward_wind"),
    _variable("wind_u_100m", "UGRD", (0, 2, 2), AT_100_M, "m s-1",
              "Eastward wind at 100 m", "eastward_wind"),
    _variable("wind_v_100m", "VGRD", (0, 2, 3), AT_100_M, "m s-1",
              "Northward wind at 100 m", "northward_wind"),
    _variable("wind_gust_surface", "GUST", (0, 2, 22), SURFACE, "m s-1",
              "Wind gusts near the surface", "wind_speed_of_gust"),
    _variable("pressure_surface", "PRES", (0, 3, 0), SURFACE, "Pa",
              "Pressure at the surface", "surface_air_pressure", bits=13),
    _variable("pressure_reduced_to_mean_sea_level", "PRMSL", (0, 3, 1), SEA_LEVEL, "Pa",
              "Pressure reduced to mean sea level", "air_pressure_at_mean_sea_level", bits=13),
    _variable("geopotential_height_500hpa", "HGT", (0, 3, 5), AT_500_HPA, "m",
              "Geopotential height at 500 hPa", "geopotential_height", bits=12),
    _variable("precipitation_surface", "APCP", (0, 1, 8), SURFACE, "kg m-2 s-1",
              "Precipitation, mean since the previous lead", "precipitation_flux", window=RAIN),
    _variable("convective_precipitation_surface", "ACPCP", (0, 1, 10), SURFACE, "kg m-2 s-1",
              "Convective precipitation, mean since the previous lead",
              "convective_precipitation_flux", window=RAIN),
    _variable("percent_frozen_precipitation_surface", "CPOFP", (0, 1, 39), SURFACE, "%",
              "Frozen part of the precipitation"),
    _variable("categorical_rain_surface", "CRAIN", (0, 1, 192), SURFACE, "1",
              "Whether it rains", bits=None),
    _variable("categorical_snow_surface", "CSNOW", (0, 1, 195), SURFACE, "1",
              "Whether it snows", bits=None),
    _variable("categorical_freezing_rain_surface", "CFRZR", (0, 1, 193), SURFACE, "1",
              "Whether freezing rain falls", bits=None),
    _variable("categorical_ice_pellets_surface", "CICEP", (0, 1, 194), SURFACE, "1",
              "Whether ice pellets fall", bits=None),
    _variable("snow_depth_surface", "SNOD", (0, 1, 11), SURFACE, "m",
              "Snow depth", "surface_snow_thickness"),
    _variable("snow_water_equivalent_surface", "WEASD", (0, 1, 13), SURFACE, "kg m-2",
              "Water equivalent of the snow", "surface_snow_amount"),
    _variable("total_cloud_cover_atmosphere", "TCDC", (0, 6, 1), ATMOSPHERE, "%",
              "Total cloud cover", "cloud_area_fraction"),
    _variable("low_cloud_cover", "LCDC", (0, 6, 3), LOW, "%",
              "Low cloud cover", "low_type_cloud_area_fraction"),
    _variable("middle_cloud_cover", "MCDC", (0, 6, 4), MIDDLE, "%",
              "Middle cloud cover", "medium_type_cloud_area_fraction"),
    _variable("high_cloud_cover", "HCDC", (0, 6, 5), HIGH, "%",
              "High cloud cover", "high_type_cloud_area_fraction"),
    _variable("precipitable_water_atmosphere", "PWAT", (0, 1, 3), COLUMN, "kg m-2",
              "Precipitable water", "atmosphere_mass_content_of_water_vapor"),
    _variable("downward_short_wave_radiation_flux_surface", "DSWRF", (0, 4, 192), SURFACE, "W m-2",
              "Short-wave radiation down, mean since the previous lead",
              "surface_downwelling_shortwave_flux_in_air", window=SUN),
    _variable("downward_long_wave_radiation_flux_surface", "DLWRF", (0, 5, 192), SURFACE, "W m-2",
              "Long-wave radiation down, mean since the previous lead",
              "surface_downwelling_longwave_flux_in_air", window=MEAN),
    _variable("latent_heat_flux_surface", "LHTFL", (0, 0, 10), SURFACE, "W m-2",
              "Latent heat up, mean since the previous lead",
              "surface_upward_latent_heat_flux", window=MEAN),
    _variable("sensible_heat_flux_surface", "SHTFL", (0, 0, 11), SURFACE, "W m-2",
              "Sensible heat up, mean since the previous lead",
              "surface_upward_sensible_heat_flux", window=MEAN),
    _variable("visibility_surface", "VIS", (0, 19, 0), SURFACE, "m",
              "Visibility", "visibility_in_air"),
    _variable("convective_available_potential_energy_surface", "CAPE", (0, 7, 6), SURFACE, "J kg-1",
              "Convective available potential energy",
              "atmosphere_convective_available_potential_energy"),
    _variable("sea_ice_cover_surface", "ICEC", (10, 2, 0), SURFACE, "1",
              "Sea ice cover", "sea_ice_area_fraction"),
    _variable("volumetric_soil_moisture_0_10cm", "SOILW", (2, 0, 192), TOP_SOIL, "1",
              "Volumetric soil moisture, 0 to 0.1 m below ground",
              "volume_fraction_of_condensed_water_in_soil", below=Surface(106, 0.1)),
)
# fmt: on


def variables(encoding: Encoding) -> tuple[GribVar, ...]:
    """Give the table's variables, stored in a way that suits a product's grid."""
    return tuple(replace(var, encoding=encoding) for var in VARIABLES)
