"""What values physical quantities can have on Earth, by CF standard name. Pure.

The bounds are wide: weather records with room to spare. They are there to notice another unit, a
broken decoder or garbage, not to rate a forecast. Names and canonical units are those of the CF
standard name table (https://cfconventions.org/standard-names.html); other units are converted by
cf-units, where it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Range", "physical_range"]

Range = tuple[float, float]

FRACTION = ("1", -0.001, 1.001)
WIND = ("m s-1", -200.0, 200.0)
SPEED = ("m s-1", -0.01, 200.0)
RATE = ("kg m-2 s-1", -1e-4, 0.15)
AMOUNT = ("kg m-2", -0.1, 3000.0)
HEAT = ("W m-2", -2000.0, 2000.0)

# Canonical units, lowest and highest value.
RANGES: Mapping[str, tuple[str, float, float]] = {
    "air_temperature": ("K", 150.0, 350.0),
    "dew_point_temperature": ("K", 100.0, 320.0),
    "surface_temperature": ("K", 150.0, 390.0),
    "soil_temperature": ("K", 150.0, 370.0),
    "sea_surface_temperature": ("K", 268.0, 315.0),
    "sea_water_temperature": ("K", 268.0, 315.0),
    "brightness_temperature": ("K", 50.0, 400.0),
    "relative_humidity": ("1", -0.01, 2.0),
    "specific_humidity": ("1", -1e-3, 0.06),
    "humidity_mixing_ratio": ("1", -1e-3, 0.06),
    "eastward_wind": WIND,
    "northward_wind": WIND,
    "x_wind": WIND,
    "y_wind": WIND,
    "wind_speed": SPEED,
    "wind_speed_of_gust": SPEED,
    "wind_from_direction": ("degree", -0.01, 360.01),
    "upward_air_velocity": ("m s-1", -100.0, 100.0),
    "lagrangian_tendency_of_air_pressure": ("Pa s-1", -300.0, 300.0),
    "air_pressure": ("Pa", 0.0, 115_000.0),
    "surface_air_pressure": ("Pa", 40_000.0, 112_000.0),
    "air_pressure_at_mean_sea_level": ("Pa", 85_000.0, 112_000.0),
    "geopotential": ("m2 s-2", -15_000.0, 700_000.0),
    "geopotential_height": ("m", -1500.0, 70_000.0),
    "surface_altitude": ("m", -500.0, 9000.0),
    "precipitation_flux": RATE,
    "rainfall_flux": RATE,
    "snowfall_flux": RATE,
    "convective_precipitation_flux": RATE,
    "stratiform_precipitation_flux": RATE,
    "precipitation_amount": AMOUNT,
    "rainfall_amount": AMOUNT,
    "snowfall_amount": AMOUNT,
    "atmosphere_mass_content_of_water_vapor": ("kg m-2", -0.1, 150.0),
    "surface_snow_amount": ("kg m-2", -0.1, 200_000.0),
    "surface_snow_thickness": ("m", -0.01, 500.0),
    "surface_downwelling_shortwave_flux_in_air": ("W m-2", -10.0, 1700.0),
    "surface_downwelling_longwave_flux_in_air": ("W m-2", 0.0, 800.0),
    "surface_upwelling_shortwave_flux_in_air": ("W m-2", -10.0, 1700.0),
    "surface_upwelling_longwave_flux_in_air": ("W m-2", 0.0, 1200.0),
    "toa_outgoing_longwave_flux": ("W m-2", 0.0, 600.0),
    "surface_upward_latent_heat_flux": HEAT,
    "surface_upward_sensible_heat_flux": HEAT,
    "cloud_area_fraction": FRACTION,
    "low_type_cloud_area_fraction": FRACTION,
    "medium_type_cloud_area_fraction": FRACTION,
    "high_type_cloud_area_fraction": FRACTION,
    "land_area_fraction": FRACTION,
    "land_binary_mask": FRACTION,
    "sea_area_fraction": FRACTION,
    "sea_ice_area_fraction": FRACTION,
    "vegetation_area_fraction": FRACTION,
    "volume_fraction_of_condensed_water_in_soil": FRACTION,
    "sea_ice_thickness": ("m", -0.01, 30.0),
    "sea_surface_wave_significant_height": ("m", -0.01, 40.0),
    "sea_water_salinity": ("1e-3", -0.1, 60.0),
    "visibility_in_air": ("m", -0.1, 500_000.0),
    "atmosphere_convective_available_potential_energy": ("J kg-1", -1.0, 20_000.0),
    "atmosphere_convective_inhibition": ("J kg-1", -10_000.0, 10_000.0),
}


def physical_range(attrs: Mapping[str, Any]) -> Range | None:
    """Return the lowest and highest value that a quantity can have, from its CF attributes.

    Parameters
    ----------
    attrs
        Of the variable: `standard_name` and `units` count.

    Returns
    -------
    tuple or None
        In those units, both ends included; None where the name or the units are not known.

    Examples
    --------
    >>> physical_range({"standard_name": "air_temperature", "units": "K"})
    (150.0, 350.0)
    >>> low, high = physical_range({"standard_name": "air_temperature", "units": "degC"})
    >>> round(low, 2), round(high, 2)
    (-123.15, 76.85)
    >>> physical_range({"standard_name": "air_temperature", "units": "furlong"}) is None
    True
    """
    # A standard name may have a modifier: "air_temperature standard_error" is another quantity.
    known = RANGES.get(str(attrs.get("standard_name", "")))
    if known is None:
        return None
    canonical, *bounds = known
    converted = _converted(bounds, canonical, str(attrs.get("units", "")))
    return None if converted is None else (converted[0], converted[1])


def _converted(values: Sequence[float], units: str, into: str) -> list[float] | None:
    """Convert between units; None where they do not go together, or without cf-units."""
    if units == into:
        return list(values)
    try:
        from cf_units import Unit
    except ImportError:
        return None
    try:
        return [float(Unit(units).convert(value, Unit(into))) for value in values]
    except ValueError:
        return None
