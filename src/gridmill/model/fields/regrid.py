"""How a variable's fields come from the grid of their source files to the archive's. Pure.

See Also
--------
gridmill.authoring.regridding : weights, and how they are applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

__all__ = [
    "DEGREES",
    "REGRID_METHODS",
    "ROTATED",
    "Regrid",
    "RegridMethod",
    "SourceGrid",
    "told_grid",
]

RegridMethod = Literal["bilinear", "conservative"]
# CF grid mappings of grids whose rows and columns are degrees.
DEGREES = "latitude_longitude"
ROTATED = "rotated_latitude_longitude"
REGRID_METHODS: tuple[RegridMethod, ...] = ("bilinear", "conservative")


class SourceGrid(Protocol):
    """What is asked of a source's grid: those of `gridmill.authoring.grids` with rows have it."""

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The CF grid mapping's attributes."""

    def labels(self) -> Mapping[str, Any]:
        """Return the labels of rows and of columns, by their dims."""


@dataclass(frozen=True, kw_only=True)
class Regrid:
    """A variable's source files have another grid: its fields are brought to the archive's.

    Parameters
    ----------
    grid
        That of the source files, see `gridmill.authoring.grids`. What files say of their grid is
        compared with it. Where files come on several, `RegionJob.grid_of` says which a file has.
    method
        ``"bilinear"``: of the four points around, also across the ends of the longitudes of a
        global grid and over the poles. ``"conservative"``: the mean of the source's cells by the
        area that they share with the archive's, so that the integral over the sphere stays.
    at_least
        The share of a point's weights that must have values, above 0 and at most 1: what is missing
        in the source, or lies beyond it, has none. What is given rests on those that do, by their
        weights. By default all must: beside a missing value nothing is known.
    onto
        The CF grid mapping of the archive, if its own grid is projected or rotated: the template
        fills it in.

    Raises
    ------
    ValueError
        `method` is none of these, or `at_least` no such share.
    """

    grid: SourceGrid
    method: RegridMethod
    at_least: float = 1.0
    onto: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.method not in REGRID_METHODS:
            raise ValueError(f"method {self.method!r} is none of {', '.join(REGRID_METHODS)}")
        if not 0 < self.at_least <= 1:
            raise ValueError(f"at_least {self.at_least} must be above 0 and at most 1: a share")

    @property
    def content(self) -> list[Any]:
        """What of it decides whether stored values are those that it gives."""
        ends = {
            dim: [labels.size, *(f"{labels[at]:.7g}" for at in (0, -1))]
            for dim, labels in _arrays(self.grid).items()
        }
        mappings = [
            {name: str(value) for name, value in sorted(mapping.items())}
            for mapping in (self.grid.mapping, self.onto)
            if mapping is not None
        ]
        return [self.method, self.at_least, ends, *mappings]


def told_grid(grid: SourceGrid) -> str:
    """Say what a grid is, for readers.

    Examples
    --------
    >>> from gridmill.authoring.grids import LatitudeLongitudeGrid
    >>> told_grid(LatitudeLongitudeGrid(step_degrees=0.5))
    '361 latitudes from 90 to -90 and 720 longitudes from 0 to 359.5'
    """
    names = {"latitude": "latitudes", "longitude": "longitudes"}
    parts = [
        f"{labels.size} {names.get(dim, dim)} from {labels[0]:.7g} to {labels[-1]:.7g}"
        for dim, labels in _arrays(grid).items()
    ]
    kind = str(grid.mapping.get("grid_mapping_name", ""))
    told = " and ".join(parts)
    return told if kind == "latitude_longitude" else f"{told} ({kind})"


def _arrays(grid: SourceGrid) -> dict[str, np.ndarray[Any, Any]]:
    return {dim: np.asarray(labels, "float64") for dim, labels in grid.labels().items()}
