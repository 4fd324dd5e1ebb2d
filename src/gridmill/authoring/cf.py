"""CF metadata that many datasets share: coordinates, and a table of well-known variables.

Names and units are those of the CF conventions (https://cfconventions.org) and of their table of
standard names. What a dataset calls by a name of `WELL_KNOWN` means the same as in any other.

See Also
--------
gridmill.authoring.grids : latitudes and longitudes, y and x, and grid mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gridmill.model.variables import Coordinate

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ALONG_X",
    "ALONG_Y",
    "ENSEMBLE_MEMBER",
    "EPOCH",
    "GRID_MAPPING",
    "INIT_TIME",
    "LEAD_TIME",
    "NO_LEAP_SECONDS",
    "ON_SCALE",
    "PRESSURE_LEVEL",
    "TIME",
    "TIME_BOUNDS",
    "TIME_OF_CELLS",
    "WELL_KNOWN",
    "WellKnown",
    "attributes",
    "time_bounds",
    "valid_time",
]

EPOCH = "seconds since 1970-01-01"
# Name of the variable that holds the grid mapping: the one that GIS libraries look for.
GRID_MAPPING = "spatial_ref"
# Models' days have 86400 s, and temperatures are measured from 0 K: CF sections 4.4 and 3.1.2.
NO_LEAP_SECONDS = {"units_metadata": "leap_seconds: none"}
ON_SCALE = {"units_metadata": "temperature: on_scale"}

TIME = Coordinate(
    name="time",
    dtype="int64",
    units=EPOCH,
    calendar="proleptic_gregorian",
    attrs={"standard_name": "time", "long_name": "Time", "axis": "T", **NO_LEAP_SECONDS},
)
# Of values that stand for the time from a label to the next one; see `time_bounds`.
TIME_OF_CELLS = replace(
    TIME, attrs={**TIME.attrs, "long_name": "Begin of the time", "bounds": "time_bnds"}
)
TIME_BOUNDS = Coordinate(
    name="time_bnds",
    dims=("time", "bnds"),
    dtype="int64",
    units=EPOCH,
    calendar="proleptic_gregorian",
)
INIT_TIME = Coordinate(
    name="init_time",
    dtype="int64",
    units=EPOCH,
    calendar="proleptic_gregorian",
    attrs={
        "standard_name": "forecast_reference_time",
        "long_name": "Start of the forecast",
        "axis": "T",
        **NO_LEAP_SECONDS,
    },
)
LEAD_TIME = Coordinate(
    name="lead_time",
    dtype="int64",
    units="seconds",
    attrs={"standard_name": "forecast_period", "long_name": "Time since the forecast's start"},
)
ENSEMBLE_MEMBER = Coordinate(
    name="ensemble_member",
    dtype="int32",
    attrs={
        "standard_name": "realization",
        "long_name": "Member of the ensemble; 0 is the control forecast",
        "units": "1",
    },
)
PRESSURE_LEVEL = Coordinate(
    name="pressure_level",
    attrs={
        "standard_name": "air_pressure",
        "long_name": "Pressure",
        "units": "hPa",
        "positive": "down",
        "axis": "Z",
    },
)


def time_bounds(ds: xr.Dataset, length: Any) -> dict[str, Any]:
    """Return begin and end of the times of a template, for `TemplateConfig.derive_coordinates`.

    Parameters
    ----------
    ds
        The template with its dimension coordinates.
    length
        From a label to its end, as `pandas.Timedelta` takes it.
    """
    starts = ds.get_index("time")
    ends = pd.DatetimeIndex(starts) + pd.Timedelta(length)
    bounds = np.stack([starts, ends], axis=-1)
    return {TIME_BOUNDS.name: (TIME_BOUNDS.dims, bounds)}


def valid_time(*, inits_a_day: int, leads: int) -> Coordinate:
    """Declare the times for which forecasts are valid, a year of forecasts a chunk.

    Parameters
    ----------
    inits_a_day
        Forecasts that start on a day.
    leads
        Leads of a forecast.
    """
    return Coordinate(
        name="valid_time",
        dims=("init_time", "lead_time"),
        dtype="int64",
        units=EPOCH,
        calendar="proleptic_gregorian",
        # A few MB before compression, and an update rewrites one object.
        chunks=(365 * inits_a_day, leads),
        attrs={
            "standard_name": "time",
            "long_name": "Time for which the forecast is valid",
            **NO_LEAP_SECONDS,
        },
    )


class WellKnown(NamedTuple):
    """What is known of a variable, whichever model it comes from.

    `mantissa_bits` are what its precision is worth: 9 keep one part in 500, 10 steps of 0.25 K
    in temperatures, 13 steps of 8 Pa in 1000 hPa. None does not round.
    """

    units: str
    long_name: str
    standard_name: str | None = None
    mantissa_bits: int | None = 9


def attributes(name: str, cell_methods: str, **more: str | None) -> dict[str, Any]:
    """Return a variable's CF attributes.

    Parameters
    ----------
    name
        One of `WELL_KNOWN`, or any if `more` gives ``units`` and ``long_name``.
    cell_methods
        CF section 7.3: ``"lead_time: mean"``.
    more
        Further attributes, which override those of the table; None leaves one out.

    Raises
    ------
    KeyError
        The variable is not well-known, and `more` does not say what it is.

    Examples
    --------
    >>> attributes("temperature_2m", "time: point", comment="of the model")["comment"]
    'of the model'
    """
    known: Mapping[str, Any] = {}
    if name in WELL_KNOWN:
        known = WELL_KNOWN[name]._asdict()
    elif not {"units", "long_name"} <= more.keys():
        raise KeyError(f"{name!r} is not in cf.WELL_KNOWN: give units and long_name")
    attrs = {
        "standard_name": known.get("standard_name"),
        "long_name": known.get("long_name"),
        "units": known.get("units"),
        **(ON_SCALE if known.get("units") == "K" else {}),
        "cell_methods": cell_methods,
        "grid_mapping": GRID_MAPPING,
        **more,
    }
    return {key: value for key, value in attrs.items() if value is not None}


# Of winds along a model's grid, where `WELL_KNOWN` has the eastward and northward ones.
ALONG_X: Mapping[str, str] = {
    "standard_name": "x_wind",
    "long_name": "Wind along the grid's x axis",
}
ALONG_Y: Mapping[str, str] = {
    "standard_name": "y_wind",
    "long_name": "Wind along the grid's y axis",
}

_RAIN = "kg m-2 s-1"

# fmt: off
WELL_KNOWN: Mapping[str, WellKnown] = {
    # Near the surface.
    "temperature_2m": WellKnown("K", "Air temperature at 2 m", "air_temperature", 10),
    "dew_point_temperature_2m": WellKnown(
        "K", "Dew point temperature at 2 m", "dew_point_temperature", 10),
    "relative_humidity_2m": WellKnown("%", "Relative humidity at 2 m", "relative_humidity"),
    "specific_humidity_2m": WellKnown("kg kg-1", "Specific humidity at 2 m", "specific_humidity"),
    "maximum_temperature_2m": WellKnown(
        "K", "Maximum air temperature at 2 m", "air_temperature", 10),
    "minimum_temperature_2m": WellKnown(
        "K", "Minimum air temperature at 2 m", "air_temperature", 10),
    "temperature_surface": WellKnown(
        "K", "Temperature of the surface", "surface_temperature", 10),
    "wind_u_10m": WellKnown("m s-1", "Eastward wind at 10 m", "eastward_wind"),
    "wind_v_10m": WellKnown("m s-1", "Northward wind at 10 m", "northward_wind"),
    "wind_u_80m": WellKnown("m s-1", "Eastward wind at 80 m", "eastward_wind"),
    "wind_v_80m": WellKnown("m s-1", "Northward wind at 80 m", "northward_wind"),
    "wind_u_100m": WellKnown("m s-1", "Eastward wind at 100 m", "eastward_wind"),
    "wind_v_100m": WellKnown("m s-1", "Northward wind at 100 m", "northward_wind"),
    "wind_speed_10m": WellKnown("m s-1", "Wind speed at 10 m", "wind_speed"),
    # A direction keeps steps of 1/16 degree.
    "wind_direction_10m": WellKnown(
        "degree", "Direction that the wind at 10 m comes from", "wind_from_direction", 12),
    "wind_gust_10m": WellKnown("m s-1", "Wind gusts at 10 m", "wind_speed_of_gust"),
    "wind_gust_surface": WellKnown(
        "m s-1", "Wind gusts near the surface", "wind_speed_of_gust"),
    "pressure_surface": WellKnown("Pa", "Pressure at the surface", "surface_air_pressure", 13),
    "pressure_reduced_to_mean_sea_level": WellKnown(
        "Pa", "Pressure reduced to mean sea level", "air_pressure_at_mean_sea_level", 13),
    "visibility_surface": WellKnown("m", "Visibility", "visibility_in_air"),
    # Precipitation.
    "precipitation_surface": WellKnown(
        _RAIN, "Precipitation, mean rate since the previous step", "precipitation_flux"),
    "convective_precipitation_surface": WellKnown(
        _RAIN, "Convective precipitation, mean rate since the previous step",
        "convective_precipitation_flux"),
    "snowfall_surface": WellKnown(
        _RAIN, "Snowfall as water, mean rate since the previous step", "snowfall_flux"),
    "runoff_surface": WellKnown(
        _RAIN, "Runoff, mean rate since the previous step", "runoff_flux"),
    "percent_frozen_precipitation_surface": WellKnown("%", "Frozen part of the precipitation"),
    "categorical_rain_surface": WellKnown("1", "Whether it rains", None, None),
    "categorical_snow_surface": WellKnown("1", "Whether it snows", None, None),
    "categorical_freezing_rain_surface": WellKnown(
        "1", "Whether freezing rain falls", None, None),
    "categorical_ice_pellets_surface": WellKnown("1", "Whether ice pellets fall", None, None),
    "mean_categorical_rain_surface": WellKnown(
        "1", "Whether it rains, average since the last reset", None, None),
    "mean_categorical_snow_surface": WellKnown(
        "1", "Whether it snows, average since the last reset", None, None),
    "mean_categorical_freezing_rain_surface": WellKnown(
        "1", "Whether freezing rain falls, average since the last reset", None, None),
    "mean_categorical_ice_pellets_surface": WellKnown(
        "1", "Whether ice pellets fall, average since the last reset", None, None),
    # The ground.
    "snow_depth_surface": WellKnown("m", "Snow depth", "surface_snow_thickness"),
    "snow_water_equivalent_surface": WellKnown(
        "kg m-2", "Water equivalent of the snow", "surface_snow_amount"),
    "sea_ice_cover_surface": WellKnown("1", "Sea ice cover", "sea_ice_area_fraction"),
    "sea_ice_thickness_surface": WellKnown("m", "Sea ice thickness", "sea_ice_thickness"),
    "soil_temperature_0_10cm": WellKnown(
        "K", "Soil temperature, 0 to 0.1 m below ground", "soil_temperature", 10),
    "volumetric_soil_moisture_0_10cm": WellKnown(
        "1", "Volumetric soil moisture, 0 to 0.1 m below ground",
        "volume_fraction_of_condensed_water_in_soil"),
    # Clouds, and the air column.
    "total_cloud_cover_atmosphere": WellKnown("%", "Total cloud cover", "cloud_area_fraction"),
    "low_cloud_cover": WellKnown("%", "Low cloud cover", "low_type_cloud_area_fraction"),
    "middle_cloud_cover": WellKnown(
        "%", "Middle cloud cover", "medium_type_cloud_area_fraction"),
    "high_cloud_cover": WellKnown("%", "High cloud cover", "high_type_cloud_area_fraction"),
    "precipitable_water_atmosphere": WellKnown(
        "kg m-2", "Precipitable water", "atmosphere_mass_content_of_water_vapor"),
    "total_column_water_atmosphere": WellKnown(
        "kg m-2", "Water in the column, in all phases", "atmosphere_mass_content_of_water"),
    "convective_available_potential_energy_surface": WellKnown(
        "J kg-1", "Convective available potential energy",
        "atmosphere_convective_available_potential_energy"),
    "convective_inhibition_surface": WellKnown(
        "J kg-1", "Convective inhibition", "atmosphere_convective_inhibition"),
    "planetary_boundary_layer_height_surface": WellKnown(
        "m", "Height of the planetary boundary layer", "atmosphere_boundary_layer_thickness"),
    "composite_reflectivity_atmosphere": WellKnown(
        "dBZ", "Composite radar reflectivity", "equivalent_reflectivity_factor"),
    # Fluxes at the surface.
    "downward_short_wave_radiation_flux_surface": WellKnown(
        "W m-2", "Short-wave radiation down", "surface_downwelling_shortwave_flux_in_air"),
    "downward_long_wave_radiation_flux_surface": WellKnown(
        "W m-2", "Long-wave radiation down", "surface_downwelling_longwave_flux_in_air"),
    "upward_short_wave_radiation_flux_surface": WellKnown(
        "W m-2", "Short-wave radiation up", "surface_upwelling_shortwave_flux_in_air"),
    "upward_long_wave_radiation_flux_surface": WellKnown(
        "W m-2", "Long-wave radiation up", "surface_upwelling_longwave_flux_in_air"),
    "latent_heat_flux_surface": WellKnown(
        "W m-2", "Latent heat up", "surface_upward_latent_heat_flux"),
    "sensible_heat_flux_surface": WellKnown(
        "W m-2", "Sensible heat up", "surface_upward_sensible_heat_flux"),
    # On pressure levels.
    "geopotential_height_500hpa": WellKnown(
        "m", "Geopotential height at 500 hPa", "geopotential_height", 12),
    "temperature": WellKnown("K", "Air temperature", "air_temperature", 10),
    "wind_u": WellKnown("m s-1", "Eastward wind", "eastward_wind"),
    "wind_v": WellKnown("m s-1", "Northward wind", "northward_wind"),
    "specific_humidity": WellKnown("kg kg-1", "Specific humidity", "specific_humidity"),
    "relative_humidity": WellKnown("%", "Relative humidity", "relative_humidity"),
    "geopotential_height": WellKnown("m", "Geopotential height", "geopotential_height", 12),
    "geopotential": WellKnown("m2 s-2", "Geopotential", "geopotential", 12),
}
# fmt: on
