"""Grids that are given by the places of their points alone: oceans', WRF's, swaths'."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from gridmill.authoring.grids.declared import LATITUDE, LONGITUDE
from gridmill.model.variables import Coordinate
from gridmill.sources.grib.grids import Grid

__all__ = ["CURVILINEAR", "CurvilinearGrid", "Places"]

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Places = tuple[Floats, Floats]
# No grid mapping of CF's: it has none for such grids.
CURVILINEAR = "curvilinear"


@dataclass(frozen=True, kw_only=True, eq=False)
class CurvilinearGrid:
    """A source's grid of rows and columns that is known by latitudes and longitudes of two dims.

    Parameters
    ----------
    places
        Latitudes and longitudes of the points, ``(row, column)``, degrees, NaN where there is no
        point; or a function that returns both. Tasks carry what is given here: for more than some
        ten thousand points give a function of a module, of which they carry the name.
    corners
        The same of the cells' corners, one row and one column more, for conservative regridding.
        Without it they lie midway between points.
    dims
        Names of rows and columns.

    Raises
    ------
    ValueError
        Shapes do not fit each other; found when they are first looked at.

    Examples
    --------
    >>> latitudes, longitudes = np.meshgrid([10.0, 20.0], [0.0, 5.0, 10.0], indexing="ij")
    >>> grid = CurvilinearGrid(places=(latitudes, longitudes))
    >>> {dim: labels.size for dim, labels in grid.labels().items()}
    {'y': 2, 'x': 3}
    """

    places: Places | Callable[[], Places]
    corners: Places | Callable[[], Places] | None = None
    dims: tuple[str, str] = ("y", "x")

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def mapping(self) -> Mapping[str, Any]:
        """What tells two such grids apart."""
        known = (*self.points, *(self.ends or ()))
        content = b"".join(np.ascontiguousarray(one).tobytes() for one in known)
        places = hashlib.sha256(content).hexdigest()[:32]
        return {"grid_mapping_name": CURVILINEAR, "places": places}

    @cached_property
    def points(self) -> Places:
        """Latitudes and longitudes of the points, float64."""
        return _pair(self.places, "places")

    @cached_property
    def ends(self) -> Places | None:
        """Latitudes and longitudes of the cells' corners, float64; None if they are not given."""
        if self.corners is None:
            return None
        found = _pair(self.corners, "corners")
        rows, columns = self.points[0].shape
        if found[0].shape != (rows + 1, columns + 1):
            raise ValueError(
                f"corners of shape {found[0].shape} must have one row and one column more than the "
                f"places of shape {(rows, columns)}"
            )
        return found

    @property
    def coords(self) -> tuple[Coordinate, ...]:
        """Say what the source's coordinates are."""
        return (
            Coordinate(name="latitude", dims=self.dims, dtype="float32", attrs=LATITUDE),
            Coordinate(name="longitude", dims=self.dims, dtype="float32", attrs=LONGITUDE),
        )

    def labels(self) -> dict[str, Any]:
        """Return the numbers of rows and of columns."""
        return dict(zip(self.dims, map(np.arange, self.points[0].shape), strict=True))

    def auxiliary(self) -> dict[str, Any]:
        """Return the places of the points, with their dims."""
        latitudes, longitudes = self.points
        return {"latitude": (self.dims, latitudes), "longitude": (self.dims, longitudes)}

    def differences(self, grid: Grid) -> list[str]:
        """Say in what a message's grid is another one; 1e-3 degrees are granted."""
        shape = self.points[0].shape
        if grid.shape != shape:
            return [f"the message's grid is {grid.grid_type} {grid.shape}: not {shape}"]
        there = [one for one in (grid.latitudes, grid.longitudes) if one is not None]
        if [one.shape for one in there] != [shape, shape]:
            return []
        apart = [np.abs(one - own) for one, own in zip(there, self.points, strict=True)]
        apart[1] = np.abs((apart[1] + 180.0) % 360.0 - 180.0)
        if max(float(np.nanmax(one)) for one in apart) <= 1e-3:
            return []
        return [f"the message's points are elsewhere than those of the grid of shape {shape}"]


def _pair(given: Places | Callable[[], Places], name: str) -> Places:
    latitudes, longitudes = given() if callable(given) else given
    one, other = (np.asarray(of, "float64") for of in (latitudes, longitudes))
    if one.ndim != 2 or one.shape != other.shape or min(one.shape) < 2:
        raise ValueError(
            f"{name} are latitudes of shape {one.shape} and longitudes of shape {other.shape}: "
            "both must have the same two dims, of at least two positions"
        )
    return one, other
