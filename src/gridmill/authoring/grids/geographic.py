"""Grids whose rows and columns are parallels and meridians."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridmill.authoring.cf import GRID_MAPPING
from gridmill.authoring.grids.declared import (
    LATITUDE,
    LONGITUDE,
    SPHERE,
    Labels,
    differing,
    evenly,
    grid_mapping,
)
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.gaussian import gaussian_latitudes
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.projections import GridMapping

__all__ = ["GaussianGrid", "LatitudeLongitudeGrid", "RegionalGrid"]


class _Geographic(ABC):
    """What grids of latitudes and longitudes share."""

    mapping: GridMapping

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        latitude = Coordinate(name="latitude", attrs={**LATITUDE, "axis": "Y"})
        longitude = Coordinate(name="longitude", attrs={**LONGITUDE, "axis": "X"})
        return latitude, longitude, grid_mapping(self.mapping)

    @abstractmethod
    def labels(self) -> Labels:
        """Return latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""

    def auxiliary(self) -> dict[str, Any]:
        """Return the grid mapping, for `TemplateConfig.derive_coordinates`."""
        return {GRID_MAPPING: ((), np.int32(0))}

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's grid is another one; 1e-5 degrees are granted.

        GRIB writes coordinates in millionths of a degree. Longitudes may be counted from elsewhere:
        230 to 300 is -130 to -60.
        """
        labels, longitudes = self.labels(), grid.longitudes
        if longitudes is not None:
            turns = round(float(longitudes[0] - labels["longitude"][0]) / 360.0)
            longitudes = longitudes - 360.0 * turns
        has = {"latitude": grid.latitudes, "longitude": longitudes}
        return differing(grid, labels, has, tolerance=1e-5)


@dataclass(frozen=True, kw_only=True)
class LatitudeLongitudeGrid(_Geographic):
    """A global regular grid, from the north pole to the south.

    Parameters
    ----------
    step_degrees
        Distance of neighbours, a divisor of 180.
    first_longitude
        Degrees east: 0 with NCEP, -180 with ECMWF.
    mapping
        The CF grid mapping's attributes.

    Examples
    --------
    >>> grid = LatitudeLongitudeGrid(step_degrees=90.0, first_longitude=-180.0)
    >>> grid.labels()["longitude"]
    array([-180.,  -90.,    0.,   90.])
    """

    step_degrees: float
    first_longitude: float = 0.0
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    def labels(self) -> Labels:
        """Return latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        step = self.step_degrees
        return {
            "latitude": 90 - step * np.arange(round(180 / step) + 1),
            "longitude": self.first_longitude + step * np.arange(round(360 / step)),
        }


@dataclass(frozen=True, kw_only=True)
class RegionalGrid(_Geographic):
    """A regular grid of latitudes and longitudes over a part of the Earth.

    Parameters
    ----------
    first_latitude, first_longitude
        The point in the first row and column, degrees. Longitudes increase, as every message's are
        turned to; give the western one, below 180 unless the grid crosses the 180th meridian.
    step_degrees
        Distance of neighbours; of latitudes, and of longitudes where they differ. That of latitudes
        is negative where the first row is the northern one.
    shape
        Number of latitudes and of longitudes.
    mapping
        The CF grid mapping's attributes.

    Examples
    --------
    DWD's ICON-EU, from the south-west, and MRMS over the contiguous United States:

    >>> icon_eu = RegionalGrid(
    ...     first_latitude=29.5,
    ...     first_longitude=-23.5,
    ...     step_degrees=0.0625,
    ...     shape=(657, 1377),
    ... )
    >>> float(icon_eu.labels()["latitude"][-1]), float(icon_eu.labels()["longitude"][-1])
    (70.5, 62.5)
    >>> mrms = RegionalGrid(
    ...     first_latitude=54.995,
    ...     first_longitude=-129.995,
    ...     step_degrees=(-0.01, 0.01),
    ...     shape=(3500, 7000),
    ... )
    >>> float(mrms.labels()["latitude"][-1])
    20.005
    """

    first_latitude: float
    first_longitude: float
    step_degrees: float | tuple[float, float]
    shape: tuple[int, int]
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    def labels(self) -> Labels:
        """Return latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        first = (self.first_latitude, self.first_longitude)
        return evenly(("latitude", "longitude"), first, self.step_degrees, self.shape)


@dataclass(frozen=True, kw_only=True)
class GaussianGrid(_Geographic):
    """A global Gaussian grid with rows of one length, from north to south.

    Parameters
    ----------
    parallels
        Rows between a pole and the equator: N of GRIB messages, 47 of T62.
    columns
        Points of a row; None takes four for each parallel.
    mapping
        The CF grid mapping's attributes.

    Examples
    --------
    >>> labels = GaussianGrid(parallels=47, columns=192).labels()
    >>> labels["latitude"].size, float(labels["longitude"][1])
    (94, 1.875)
    """

    parallels: int
    columns: int | None = None
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    def labels(self) -> Labels:
        """Return latitudes and longitudes, for `TemplateConfig.dimension_coordinates`."""
        columns = self.columns or 4 * self.parallels
        longitudes = np.round(360.0 / columns * np.arange(columns), 9)
        return {"latitude": gaussian_latitudes(self.parallels).copy(), "longitude": longitudes}
