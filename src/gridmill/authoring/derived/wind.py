"""Wind from its components."""

from __future__ import annotations

import numpy as np

from gridmill.authoring.transforms.blocks import Float64Array
from gridmill.model.epochs import WIND_DIRECTION, WIND_SPEED, stage
from gridmill.model.fields.derived import Derived
from gridmill.model.variables import DataVar

__all__ = ["wind_from_direction", "wind_speed"]


def wind_speed(eastward: DataVar, northward: DataVar) -> Derived:
    """Derive wind speed: the square root of the sum of both components' squares.

    It is the same whichever way the grid's axes point.
    """
    units = str(eastward.attrs["units"])
    return Derived(
        inputs=(eastward, northward), formula=speed_of, takes=(units, units), gives=units
    )


def wind_from_direction(eastward: DataVar, northward: DataVar) -> Derived:
    """Derive the direction from which the wind blows, in degrees clockwise from north.

    From 0 to below 360; 0 where both components are 0. The components must point east and north:
    those along the axes of a rotated or projected grid give directions relative to these.
    """
    units = str(eastward.attrs["units"])
    return Derived(
        inputs=(eastward, northward),
        formula=from_direction_of,
        takes=(units, units),
        gives="degree",
    )


@stage(WIND_SPEED)
def speed_of(eastward: Float64Array, northward: Float64Array) -> Float64Array:
    """Return the speed.

    Examples
    --------
    >>> speed_of(np.array([3.0]), np.array([-4.0]))
    array([5.])
    """
    return np.hypot(eastward, northward)


@stage(WIND_DIRECTION)
def from_direction_of(eastward: Float64Array, northward: Float64Array) -> Float64Array:
    """Return the direction.

    Examples
    --------
    >>> from_direction_of(np.array([0.0, -1.0, 0.0]), np.array([-1.0, 0.0, 0.0]))
    array([ 0., 90.,  0.])
    """
    degrees: Float64Array = np.degrees(np.arctan2(-eastward, -northward)) % 360
    # Of an angle just below north the remainder is rounded to 360.
    degrees[(degrees >= 360) | ((eastward == 0) & (northward == 0))] = 0
    return degrees
