"""Refuses declarations by which a variable cannot be regridded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.model.fields.regrid import DEGREES
from gridmill.model.variables import Coordinate, DataVar

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.authoring.template import TemplateConfig

__all__ = ["check_regridded", "check_target", "onto_grid"]

UNITS = {
    "latitude": ("degrees_north", "degree_north"),
    "longitude": ("degrees_east", "degree_east"),
}
# Rows and columns of an archive, by what CF calls them.
GRIDS = (
    ("latitude", "longitude"),
    ("grid_latitude", "grid_longitude"),
    ("projection_y_coordinate", "projection_x_coordinate"),
    ("projection_y_angular_coordinate", "projection_x_angular_coordinate"),
)


def check_regridded(config: TemplateConfig) -> None:
    """Refuse what contradicts itself in variables that are regridded.

    Raises
    ------
    ValueError
        The last dims are not the rows and columns of the archive's grid, a dtype has no fractions,
        or it is declared on a derived variable instead of on its inputs.
    """
    for var in (*config.data_vars, *config.former_vars):
        if var.derived is not None and var.regridded is not None:
            raise ValueError(
                f"{var.name!r} is derived: declare regridded= on its inputs, which are brought to "
                "the archive's grid before it is made of them"
            )
        for source in var.sources:
            if source.regridded is not None:
                _check(config, source)


def _check(config: TemplateConfig, var: DataVar) -> None:
    coords = {coord.name: coord for coord in config.coords}
    kinds = tuple(_kind(coords.get(dim)) for dim in var.dims[-2:])
    if kinds not in GRIDS:
        raise ValueError(
            f"{var.name!r} of dims {var.dims} is regridded: its last two dims must be the "
            "archive's latitude and longitude, or rows and columns of its projection, with CF's "
            "standard names, in this order"
        )
    if kinds != GRIDS[0] and _mapping(config) is None:
        raise ValueError(
            f"{var.name!r} is regridded to the plane of a projection: declare the grid mapping, "
            "as a coordinate without dims with the attribute grid_mapping_name; the grids of "
            "gridmill.authoring.grids have one among their coords"
        )
    if not var.encoding.value_dtype.startswith("float"):
        raise ValueError(
            f"{var.name!r} is regridded, and its dtype {var.encoding.value_dtype} has no "
            "fractions: declare float32, or pack it by scale_factor"
        )


def onto_grid(config: TemplateConfig, var: DataVar) -> DataVar:
    """Return a variable that knows of what is regridded onto which grid mapping."""
    if var.derived is not None:
        inputs = tuple(onto_grid(config, one) for one in var.derived.inputs)
        return replace(var, derived=replace(var.derived, inputs=inputs))
    coords = {coord.name: coord for coord in config.coords}
    if var.regridded is None or _kind(coords.get(var.dims[-1])) == "longitude":
        return var
    return replace(var, regridded=replace(var.regridded, onto=_mapping(config)))


def _mapping(config: TemplateConfig) -> Mapping[str, Any] | None:
    """Return the archive's grid mapping, if one is declared that is of a plane."""
    for coord in config.coords:
        name = coord.attrs.get("grid_mapping_name")
        if name is not None and name != DEGREES:
            return {key: value for key, value in coord.attrs.items() if key != "long_name"}
    return None


def _kind(coord: Coordinate | None) -> str | None:
    attrs = {} if coord is None else coord.attrs
    if attrs.get("standard_name") in {name for pair in GRIDS for name in pair}:
        return str(attrs["standard_name"])
    for kind, units in UNITS.items():
        if attrs.get("standard_name") == kind or attrs.get("units") in units:
            return kind
    return None


def check_target(config: TemplateConfig, ds: xr.Dataset) -> None:
    """Refuse grids between which there are no weights.

    Raises
    ------
    ValueError
        As by `gridmill.authoring.regridding.weights.check_grids`, with the variable's name.
    """
    sources = [source for var in config.data_vars for source in var.sources]
    if all(source.regridded is None for source in sources):
        return  # without what weights need
    from gridmill.authoring.regridding.geometry.targets import Target
    from gridmill.authoring.regridding.weights import check_grids

    for source in sources:
        if source.regridded is None:
            continue
        rows, columns = (np.asarray(ds.get_index(dim), "float64") for dim in source.dims[-2:])
        target = Target(rows, columns, source.regridded.onto)
        try:
            check_grids(source.regridded.grid, target)
        except ValueError as error:
            raise ValueError(f"{source.name!r} cannot be regridded: {error}") from error
