"""Horizontal grids of models: their dims, coordinates and CF grid mapping, declared once.

A template takes its coordinates from a grid, and a job of GRIB files checks every message's grid
against the same one.

See Also
--------
gridmill.sources.grib.projections : the projections themselves.
gridmill.authoring.forecasts.reading : checks messages.
"""

from gridmill.authoring.grids.cells import CellGrid, MeshGrid
from gridmill.authoring.grids.curvilinear import CurvilinearGrid
from gridmill.authoring.grids.declared import EARTH_RADIUS, SPHERE, WGS84
from gridmill.authoring.grids.geographic import GaussianGrid, LatitudeLongitudeGrid, RegionalGrid
from gridmill.authoring.grids.planar import (
    ProjectedGrid,
    RotatedGaussianGrid,
    RotatedGrid,
    SatelliteGrid,
    ScanningGrid,
)

__all__ = [
    "EARTH_RADIUS",
    "SPHERE",
    "WGS84",
    "CellGrid",
    "CurvilinearGrid",
    "GaussianGrid",
    "HorizontalGrid",
    "LatitudeLongitudeGrid",
    "MeshGrid",
    "ProjectedGrid",
    "RegionalGrid",
    "RotatedGaussianGrid",
    "RotatedGrid",
    "SatelliteGrid",
    "ScanningGrid",
]

HorizontalGrid = (
    LatitudeLongitudeGrid
    | RegionalGrid
    | GaussianGrid
    | ProjectedGrid
    | RotatedGrid
    | RotatedGaussianGrid
    | SatelliteGrid
    | ScanningGrid
    | CurvilinearGrid
    | CellGrid
    | MeshGrid
)
