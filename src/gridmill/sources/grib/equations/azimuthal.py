"""Lambert's azimuthal equal-area projection.

Source: J. P. Snyder, Map Projections - A Working Manual, USGS Professional Paper 1395 (1987), from
which the equations' numbers are.
"""

from typing import NamedTuple

import numpy as np

from gridmill.sources.grib.equations.ellipsoid import (
    Ellipsoid,
    Floats,
    GridMapping,
    Pair,
    ellipsoid_of,
    number,
)

__all__ = ["project_azimuthal", "unproject_azimuthal"]


class _Centre(NamedTuple):
    """The authalic latitude of the origin, and Snyder's R q and D."""

    beta: float
    radius: float
    d: float


def _centre(grid_mapping: GridMapping, earth: Ellipsoid) -> _Centre:
    """Equations 3-13 and 24-20; D is 1 at the poles, where its terms vanish."""
    origin = float(np.radians(number(grid_mapping, "latitude_of_projection_origin")))
    beta = float(earth.authalic(origin))
    radius = earth.a * float(np.sqrt(earth.q(np.pi / 2) / 2))
    is_polar = np.isclose(abs(origin), np.pi / 2)
    d = 1.0 if is_polar else earth.a * float(earth.m(origin)) / (radius * np.cos(beta))
    return _Centre(beta, radius, float(d))


def project_azimuthal(grid_mapping: GridMapping, phi: Floats, angle: Floats) -> Pair:
    """Equations 24-17 to 24-19."""
    earth = ellipsoid_of(grid_mapping)
    centre = _centre(grid_mapping, earth)
    beta = earth.authalic(phi)
    sine, cosine = np.sin(centre.beta), np.cos(centre.beta)
    along = sine * np.sin(beta) + cosine * np.cos(beta) * np.cos(angle)
    b = centre.radius * np.sqrt(2.0 / (1.0 + along))
    x = b * centre.d * np.cos(beta) * np.sin(angle)
    y = b / centre.d * (cosine * np.sin(beta) - sine * np.cos(beta) * np.cos(angle))
    return x, y


def unproject_azimuthal(grid_mapping: GridMapping, x: Floats, y: Floats) -> Pair:
    """Equations 24-26 to 24-29; what lies beyond the Earth is NaN."""
    earth = ellipsoid_of(grid_mapping)
    centre = _centre(grid_mapping, earth)
    x, y = np.broadcast_arrays(x / centre.d, y * centre.d)
    rho = np.hypot(x, y)
    with np.errstate(invalid="ignore"):
        arc = 2.0 * np.arcsin(rho / (2.0 * centre.radius))
    sine, cosine = np.sin(centre.beta), np.cos(centre.beta)
    part = np.divide(y, rho, out=np.zeros_like(rho), where=rho > 0)
    beta = np.arcsin(np.clip(np.cos(arc) * sine + part * np.sin(arc) * cosine, -1.0, 1.0))
    angle = np.arctan2(x * np.sin(arc), rho * cosine * np.cos(arc) - y * sine * np.sin(arc))
    return earth.from_authalic(beta), angle
