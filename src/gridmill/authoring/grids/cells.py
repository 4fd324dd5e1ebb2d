"""Grids without rows: cells, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridmill.authoring.cf import GRID_MAPPING
from gridmill.authoring.grids.declared import (
    LATITUDE,
    LONGITUDE,
    SPHERE,
    grid_mapping,
)
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.projections import GridMapping

__all__ = ["CellGrid", "MeshGrid"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CellGrid:
    """Cells without rows, one after the other: reduced grids, HEALPix, unstructured meshes.

    Parameters
    ----------
    latitudes, longitudes
        Of each cell's centre, ``(cell,)``, degrees, in the order of the messages' values. A message
        on an unstructured mesh does not hold them: take them from the provider's file (ICON's
        ``CLAT`` and ``CLON``). For others `gridmill.sources.grib.messages.read_grid` gives them.
    mesh
        What the messages must say of the mesh they are on, `Grid.mesh`, whole or in part, such as
        its ``uuidOfHGrid``; empty does not check it.
    mapping
        The CF grid mapping's attributes.
    """

    latitudes: np.ndarray[Any, np.dtype[np.float64]]
    longitudes: np.ndarray[Any, np.dtype[np.float64]]
    mesh: str = ""
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        about = {"long_name": "Number of the cell, in the provider's order", "units": "1"}
        return (
            Coordinate(name="cell", dtype="int32", attrs=about),
            Coordinate(name="latitude", dims=("cell",), attrs=LATITUDE),
            Coordinate(name="longitude", dims=("cell",), attrs=LONGITUDE),
            grid_mapping(self.mapping),
        )

    def labels(self) -> dict[str, Any]:
        """Return the numbers of the cells, for `TemplateConfig.dimension_coordinates`."""
        return {"cell": np.arange(self.latitudes.size, dtype="int32")}

    def auxiliary(self) -> dict[str, Any]:
        """Return places and grid mapping, for `TemplateConfig.derive_coordinates`."""
        return {
            "latitude": (("cell",), self.latitudes),
            "longitude": (("cell",), self.longitudes),
            GRID_MAPPING: ((), np.int32(0)),
        }

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's mesh is another one; 1e-5 degrees are granted."""
        if grid.shape != self.latitudes.shape:
            told = f"{grid.grid_type} {grid.shape}: not {self.latitudes.size} cells"
            return [f"the message's grid is {told}"]
        if self.mesh not in grid.mesh:
            return [f"the message's mesh is {grid.mesh or grid.grid_type}, not {self.mesh}"]
        if grid.latitudes is None or grid.longitudes is None:
            return []
        far = np.abs(grid.latitudes - self.latitudes)
        turned = np.abs((grid.longitudes - self.longitudes + 180.0) % 360.0 - 180.0)
        off = np.flatnonzero(~(np.maximum(far, turned) <= 1e-5))
        if not off.size:
            return []
        at, where = off[0], (grid.latitudes[off[0]], grid.longitudes[off[0]])
        return [
            f"the message's cell {at} is at {where[0]}, {where[1]}, not at {self.latitudes[at]}, "
            f"{self.longitudes[at]}"
        ]


@dataclass(frozen=True, kw_only=True)
class MeshGrid:
    """Cells of a mesh whose places the code does not know: the provider has them in files.

    Declare latitudes and longitudes as variables without the append dim, dims ``("cell",)``, and
    read them from the provider's files, ICON's ``CLAT`` and ``CLON``. Where their values are at
    hand in the package take `CellGrid`.

    Parameters
    ----------
    cells
        How many there are.
    mesh
        What the messages must say of the mesh they are on, see `CellGrid`.
    mapping
        The CF grid mapping's attributes.
    """

    cells: int
    mesh: str
    mapping: GridMapping = field(default_factory=lambda: SPHERE)

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Declare the coordinates, for `TemplateConfig.coords`."""
        about = {"long_name": "Number of the cell, in the provider's order", "units": "1"}
        return (Coordinate(name="cell", dtype="int32", attrs=about), grid_mapping(self.mapping))

    def labels(self) -> dict[str, Any]:
        """Return the numbers of the cells, for `TemplateConfig.dimension_coordinates`."""
        return {"cell": np.arange(self.cells, dtype="int32")}

    def auxiliary(self) -> dict[str, Any]:
        """Return the grid mapping, for `TemplateConfig.derive_coordinates`."""
        return {GRID_MAPPING: ((), np.int32(0))}

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's mesh is another one."""
        if grid.shape != (self.cells,):
            return [f"the message's grid is {grid.grid_type} {grid.shape}: not {self.cells} cells"]
        if self.mesh not in grid.mesh:
            return [f"the message's mesh is {grid.mesh or grid.grid_type}, not {self.mesh}"]
        return []
