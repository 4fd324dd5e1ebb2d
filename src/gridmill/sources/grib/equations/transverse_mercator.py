"""The transverse Mercator projection, by Krüger's series.

Source: C. F. F. Karney, Transverse Mercator with an accuracy of a few nanometers, Journal of
Geodesy 85 (2011), https://doi.org/10.1007/s00190-011-0445-3, equations 7 to 36; cut after the
fourth order of the third flattening, which errs by less than a micrometre within 3,000 km of the
central meridian.
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

__all__ = ["project_transverse_mercator", "unproject_transverse_mercator"]

# Coefficients of n, n**2, n**3 and n**4 for twice, four, six and eight times the angle.
_ALPHA = np.array(
    [
        [1 / 2, -2 / 3, 5 / 16, 41 / 180],
        [0, 13 / 48, -3 / 5, 557 / 1440],
        [0, 0, 61 / 240, -103 / 140],
        [0, 0, 0, 49561 / 161280],
    ]
)
_BETA = np.array(
    [
        [1 / 2, -2 / 3, 37 / 96, -1 / 360],
        [0, 1 / 48, 1 / 15, -437 / 1440],
        [0, 0, 17 / 480, -37 / 840],
        [0, 0, 0, 4397 / 161280],
    ]
)


class _Series(NamedTuple):
    """Scale in metres, where the origin lies north of the equator, and the coefficients."""

    scale: float
    origin: float
    alpha: Floats
    beta: Floats


def _series(grid_mapping: GridMapping, earth: Ellipsoid) -> _Series:
    n = earth.flattening / (2.0 - earth.flattening)
    powers = n ** np.arange(1, 5)
    radius = earth.a / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    scale = radius * number(grid_mapping, "scale_factor_at_central_meridian")
    phi = np.radians(np.array(number(grid_mapping, "latitude_of_projection_origin")))
    alpha = _ALPHA @ powers
    xi, _ = _forward(earth, alpha, phi, np.zeros(()))
    return _Series(scale, float(xi), alpha, _BETA @ powers)


def _forward(earth: Ellipsoid, alpha: Floats, phi: Floats, angle: Floats) -> Pair:
    """Return Karney's xi and eta: equations 7 to 11."""
    # The tangent of the conformal latitude.
    t = earth.t(phi)
    tangent = (1.0 / t - t) / 2.0
    xi = np.arctan2(tangent, np.cos(angle))
    eta = np.arcsinh(np.sin(angle) / np.hypot(tangent, np.cos(angle)))
    return _summed(alpha, xi, eta, 1.0)


def _summed(coefficients: Floats, xi: Floats, eta: Floats, sign: float) -> Pair:
    """Add the series to both coordinates: equations 11 and 15."""
    more = [
        (
            c * np.sin(2 * j * xi) * np.cosh(2 * j * eta),
            c * np.cos(2 * j * xi) * np.sinh(2 * j * eta),
        )
        for j, c in enumerate(coefficients, 1)
    ]
    return xi + sign * sum(pair[0] for pair in more), eta + sign * sum(pair[1] for pair in more)


def project_transverse_mercator(grid_mapping: GridMapping, phi: Floats, angle: Floats) -> Pair:
    """Return metres east and north, from radians."""
    series = _series(grid_mapping, earth := ellipsoid_of(grid_mapping))
    xi, eta = _forward(earth, series.alpha, phi, angle)
    return (
        series.scale * eta + number(grid_mapping, "false_easting"),
        series.scale * (xi - series.origin) + number(grid_mapping, "false_northing"),
    )


def unproject_transverse_mercator(grid_mapping: GridMapping, x: Floats, y: Floats) -> Pair:
    """Return radians, from metres east and north: equations 14 to 19."""
    series = _series(grid_mapping, earth := ellipsoid_of(grid_mapping))
    east = x - number(grid_mapping, "false_easting")
    north = y - number(grid_mapping, "false_northing")
    xi, eta = np.broadcast_arrays(north / series.scale + series.origin, east / series.scale)
    xi, eta = _summed(series.beta, xi, eta, -1.0)
    tangent = np.sin(xi) / np.hypot(np.sinh(eta), np.cos(xi))
    phi = np.sign(tangent) * earth.latitude(np.exp(-np.arcsinh(np.abs(tangent))))
    return phi, np.arctan2(np.sinh(eta), np.cos(xi))
