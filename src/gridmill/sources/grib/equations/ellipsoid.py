"""The figure of the Earth in the equations of map projections.

Source: J. P. Snyder, Map Projections - A Working Manual, USGS Professional Paper 1395 (1987), from
which the equations' numbers are.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ellipsoid", "Floats", "GridMapping", "Pair", "ellipsoid_of", "number", "semi_axes"]

GridMapping = Mapping[str, str | float | tuple[float, ...]]
Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]


class Ellipsoid(NamedTuple):
    """Semi-major axis in metres, and eccentricity."""

    a: float
    e: float

    def m(self, phi: ArrayLike) -> Floats:
        """Equation 14-15: radius of the parallel, in semi-major axes."""
        return np.asarray(np.cos(phi) / np.sqrt(1.0 - (self.e * np.sin(phi)) ** 2))

    def t(self, phi: ArrayLike) -> Floats:
        """Equation 15-9: the tangent of half the conformal colatitude."""
        sine = self.e * np.sin(phi)
        half_colatitude = np.pi / 4 - np.asarray(phi) / 2
        return np.asarray(np.tan(half_colatitude) / ((1 - sine) / (1 + sine)) ** (self.e / 2))

    def latitude(self, t: Floats) -> Floats:
        """Equation 7-9: the inverse of `t`; each round gains a factor of about e squared."""
        phi = np.pi / 2 - 2 * np.arctan(t)
        for _ in range(8 if self.e else 0):
            sine = self.e * np.sin(phi)
            phi = np.pi / 2 - 2 * np.arctan(t * ((1 - sine) / (1 + sine)) ** (self.e / 2))
        return phi

    def q(self, phi: ArrayLike) -> Floats:
        """Equation 3-12: the area from the equator to a latitude; twice the sine on a sphere."""
        sine = np.sin(phi)
        if not self.e:
            return np.asarray(2.0 * sine)
        e_sine = self.e * sine
        whole = sine / (1.0 - e_sine**2) + np.arctanh(e_sine) / self.e
        return np.asarray((1.0 - self.e**2) * whole)

    def authalic(self, phi: ArrayLike) -> Floats:
        """Equation 3-11: the latitude on a sphere of the same area."""
        return np.arcsin(np.clip(self.q(phi) / self.q(np.pi / 2), -1.0, 1.0))

    def from_authalic(self, beta: Floats) -> Floats:
        """Equation 3-18: the inverse of `authalic`, to 3e-10 radians."""
        e2 = self.e**2
        return np.asarray(
            beta
            + (e2 / 3 + 31 * e2**2 / 180 + 517 * e2**3 / 5040) * np.sin(2 * beta)
            + (23 * e2**2 / 360 + 251 * e2**3 / 3780) * np.sin(4 * beta)
            + 761 * e2**3 / 45360 * np.sin(6 * beta)
        )

    @property
    def flattening(self) -> float:
        """How much shorter the semi-minor axis is, as a part of the semi-major one."""
        return float(1.0 - np.sqrt(1.0 - self.e**2))


def ellipsoid_of(grid_mapping: GridMapping) -> Ellipsoid:
    """Read the figure of the Earth of a grid mapping."""
    major, minor = semi_axes(grid_mapping)
    return Ellipsoid(major, float(np.sqrt(1.0 - (minor / major) ** 2)))


def semi_axes(grid_mapping: GridMapping) -> tuple[float, float]:
    """Read the semi-axes of the figure of the Earth, metres; CF gives the second one in two ways.

    Examples
    --------
    >>> semi_axes({"semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563})
    (6378137.0, 6356752.314245179)
    """
    major = number(grid_mapping, "earth_radius", "semi_major_axis")
    if "earth_radius" in grid_mapping or "semi_minor_axis" in grid_mapping:
        return major, number(grid_mapping, "earth_radius", "semi_minor_axis")
    if "inverse_flattening" not in grid_mapping:
        raise KeyError("earth_radius, semi_minor_axis or inverse_flattening")
    inverse = number(grid_mapping, "inverse_flattening")  # CF: 0 is a sphere
    return major, major * (1.0 - 1.0 / inverse) if inverse else major


def number(grid_mapping: GridMapping, *names: str) -> float:
    """Value of the first of `names` that the mapping has."""
    for name in names:
        if name in grid_mapping:
            return float(grid_mapping[name])  # type: ignore[arg-type]
    raise KeyError(" or ".join(names))
