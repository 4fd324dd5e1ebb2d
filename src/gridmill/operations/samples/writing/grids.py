"""A declared grid for that of a message, and its code; what is written was compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridmill.authoring.grids import (
    CellGrid,
    GaussianGrid,
    HorizontalGrid,
    LatitudeLongitudeGrid,
    ProjectedGrid,
    RegionalGrid,
    RotatedGaussianGrid,
    RotatedGrid,
    SatelliteGrid,
)
from gridmill.authoring.grids.declared import EARTH_RADIUS, SPHERE
from gridmill.operations.samples.writing.code import Call, Raw
from gridmill.sources.grib.grids import Grid

__all__ = ["GridCode", "grid_code"]

EARTH = {"earth_radius": EARTH_RADIUS}


@dataclass(frozen=True)
class GridCode:
    """A grid, its code, and the arrays that the code loads from a file in the package."""

    grid: HorizontalGrid
    code: Call
    arrays: dict[str, np.ndarray[Any, Any]]


def grid_code(grid: Grid | None) -> GridCode:
    """Declare a grid; None, where nobody knows it, is global in steps of 1°.

    Raises
    ------
    ValueError
        No kind of grid declares it.
    """
    if grid is None:
        whole = {"step_degrees": 1.0}
        return _made(LatitudeLongitudeGrid, whole)
    for kind, named in _candidates(grid):
        made = _made(kind, named)
        if not made.grid.differences(grid):
            return made
    raise ValueError(
        f"no declared grid is that of the messages, {grid.grid_type} {grid.shape}: see "
        "gridmill.authoring.grids for those that there are"
    )


def _made(kind: Callable[..., Any], named: dict[str, Any]) -> GridCode:
    arrays = {key: one for key, one in named.items() if isinstance(one, np.ndarray)}
    shown = {key: Raw(f'CELLS["{key}"]') if key in arrays else one for key, one in named.items()}
    return GridCode(kind(**named), Call(kind.__name__, (), _with_earth(shown)), arrays)


def _with_earth(named: dict[str, Any]) -> dict[str, Any]:
    """Write the sphere of most models by its name."""
    if named.get("mapping", {}).get("earth_radius") == EARTH_RADIUS:
        mapping = {**named["mapping"], "earth_radius": Raw("EARTH_RADIUS")}
        return {**named, "mapping": mapping}
    return named


Candidate = tuple[Callable[..., Any], dict[str, Any]]


def _candidates(grid: Grid) -> Iterator[Candidate]:
    """Return the grids that may be a message's, the shortest declaration first."""
    if len(grid.dims) == 1:
        cells = {"latitudes": grid.latitudes, "longitudes": grid.longitudes}
        mesh = {"mesh": grid.mesh} if grid.mesh else {}
        yield CellGrid, {**cells, **mesh, **_mapping(grid)}
    elif grid.grid_type == "regular_gg":
        yield GaussianGrid, {**_rows(grid.shape), **_mapping(grid)}
    elif grid.dims == ("latitude", "longitude"):
        yield from _geographic(grid)
    elif grid.dims == ("rlat", "rlon"):
        yield from _rotated(grid)
    elif grid.grid_mapping["grid_mapping_name"] == "geostationary":
        yield SatelliteGrid, _satellite(grid)
    else:
        yield from _projected(grid)


def _rows(shape: tuple[int, ...]) -> dict[str, int]:
    rows, columns = shape
    return {"parallels": rows // 2, **({"columns": columns} if columns != 2 * rows else {})}


def _mapping(grid: Grid) -> dict[str, Any]:
    """Return the mapping where it is not that of most models."""
    given = {**SPHERE, **grid.grid_mapping}
    for figure in ("semi_major_axis", "semi_minor_axis", "inverse_flattening"):
        if figure in grid.grid_mapping:
            given.pop("earth_radius", None)
    return {} if given == dict(SPHERE) else {"mapping": dict(given)}


def _geographic(grid: Grid) -> Iterator[Candidate]:
    assert grid.latitudes is not None
    assert grid.longitudes is not None
    mapping, (rows, columns) = _mapping(grid), grid.shape
    step, west = 180.0 / max(rows - 1, 1), float(grid.longitudes[0])
    if columns == round(360.0 / step):
        for digits in (6, 15):
            first = {} if west == 0 else {"first_longitude": round(west, 6)}
            yield LatitudeLongitudeGrid, {"step_degrees": round(step, digits), **first, **mapping}
    first_latitude, first_longitude = float(grid.latitudes[0]), _western(west)
    for steps in _steps(grid.latitudes, grid.longitudes):
        yield (
            RegionalGrid,
            {
                "first_latitude": round(first_latitude, 9),
                "first_longitude": round(first_longitude, 9),
                "step_degrees": steps,
                "shape": grid.shape,
                **mapping,
            },
        )


def _western(longitude: float) -> float:
    return longitude - 360.0 if longitude >= 180.0 else longitude


def _steps(*labels: np.ndarray[Any, Any]) -> Iterator[float | tuple[float, ...]]:
    """Return the distances of neighbours along rows and columns, rounded as far as may be."""
    exact = [(some[-1] - some[0]) / max(some.size - 1, 1) or 1.0 for some in labels]
    for digits in (3, 4, 6, 9, 15):
        steps = tuple(round(float(step), digits) for step in exact)
        yield steps[0] if len(set(steps)) == 1 else steps


def _rotated(grid: Grid) -> Iterator[Candidate]:
    assert grid.y is not None
    assert grid.x is not None
    attributes = dict(grid.grid_mapping)
    latitude, longitude = (
        float(attributes.pop(f"grid_north_pole_{name}"))  # type: ignore[arg-type]
        for name in ("latitude", "longitude")
    )
    for key in ("grid_mapping_name", "north_pole_grid_longitude"):
        attributes.pop(key)
    pole = (-latitude, round(longitude + 180.0, 9))
    shared = {"southern_pole": pole, **({} if attributes == EARTH else {"earth": attributes})}
    if grid.grid_type == "rotated_gg":
        yield RotatedGaussianGrid, {**shared, **_rows(grid.shape)}
        return
    first = {"first_latitude": float(grid.y[0]), "first_longitude": float(grid.x[0])}
    for steps in _steps(grid.y, grid.x):
        rest = {"step_degrees": steps, "shape": grid.shape}
        rounded = {key: round(one, 9) for key, one in first.items()}
        earth = {"earth": shared["earth"]} if "earth" in shared else {}
        yield RotatedGrid, {"southern_pole": pole, **rounded, **rest, **earth}


def _projected(grid: Grid) -> Iterator[Candidate]:
    assert grid.y is not None
    assert grid.x is not None
    latitudes, longitudes = grid.points()
    for digits in (6, 12):
        for steps in _steps(grid.y, grid.x):
            yield (
                ProjectedGrid,
                {
                    "mapping": dict(grid.grid_mapping),
                    "first_latitude": round(float(latitudes[0, 0]), digits),
                    "first_longitude": round(float(longitudes[0, 0]), digits),
                    "step_m": steps,
                    "shape": grid.shape,
                },
            )


def _satellite(grid: Grid) -> dict[str, Any]:
    """Count in diameters of the Earth what a message's angles are."""
    assert grid.y is not None
    assert grid.x is not None
    attributes: dict[str, Any] = dict(grid.grid_mapping)
    major = attributes.get("earth_radius") or attributes["semi_major_axis"]
    minor = attributes.get("earth_radius") or attributes["semi_minor_axis"]
    distance = round(attributes["perspective_point_height"] / major + 1.0, 9)
    whole = 2.0 * np.arcsin(1.0 / distance)
    y_step, x_step = float(grid.y[1] - grid.y[0]), float(grid.x[1] - grid.x[0])
    return {
        "satellite_longitude": attributes["longitude_of_projection_origin"],
        "distance": distance,
        "diameter": (round(whole * minor / major / abs(y_step), 3), round(whole / x_step, 3)),
        "centre": (round(float(-grid.y[0] / y_step), 3), round(float(-grid.x[0] / x_step), 3)),
        "shape": grid.shape,
        "northern_row_first": y_step < 0,
        "earth": {"semi_major_axis": major, "semi_minor_axis": minor},
    }
