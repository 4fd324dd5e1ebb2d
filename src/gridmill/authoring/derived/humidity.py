"""Humidity."""

from __future__ import annotations

import numpy as np

from gridmill.authoring.transforms.blocks import Float64Array
from gridmill.model.epochs import RELATIVE_HUMIDITY, stage
from gridmill.model.fields.derived import Derived
from gridmill.model.variables import DataVar

__all__ = ["relative_humidity"]


def relative_humidity(temperature: DataVar, dew_point: DataVar) -> Derived:
    """Derive relative humidity over water from temperature and dew point.

    The ratio of the saturation vapour pressures at both, by the Magnus formula of Alduchov and
    Eskridge (1996), Improved Magnus form approximation of saturation vapor pressure, J. Appl.
    Meteor. 35, 601-609, equation 21: ``e = 6.1094 hPa exp(17.625 t / (t + 243.04))``, t in degrees
    Celsius; its error is below 0.4 % from -40 to 50 °C. It is over water at all temperatures, and
    not cut at 100 %.
    """
    return Derived(
        inputs=(temperature, dew_point), formula=humidity_of, takes=("K", "K"), gives="%"
    )


@stage(RELATIVE_HUMIDITY)
def humidity_of(temperature: Float64Array, dew_point: Float64Array) -> Float64Array:
    """Return the relative humidity in percent, of kelvins.

    Examples
    --------
    >>> humidity_of(np.array([293.15]), np.array([283.15])).round(1)
    array([52.5])
    """
    humidity: Float64Array = 100 * np.exp(_exponent(dew_point) - _exponent(temperature))
    return humidity


def _exponent(kelvin: Float64Array) -> Float64Array:
    celsius = kelvin - 273.15
    return 17.625 * celsius / (celsius + 243.04)
