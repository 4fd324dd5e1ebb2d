"""Refuses declarations by which a variable cannot be regridded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridmill.authoring.regridding.weights import Target, check_grids
from gridmill.model.variables import Coordinate, DataVar

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.authoring.template import TemplateConfig

__all__ = ["check_regridded", "check_target"]

UNITS = {
    "latitude": ("degrees_north", "degree_north"),
    "longitude": ("degrees_east", "degree_east"),
}


def check_regridded(config: TemplateConfig) -> None:
    """Refuse what contradicts itself in variables that are regridded.

    Raises
    ------
    ValueError
        The last dims are not the archive's latitude and longitude, a dtype has no fractions, or it
        is declared on a derived variable instead of on its inputs.
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
    if kinds != ("latitude", "longitude"):
        raise ValueError(
            f"{var.name!r} of dims {var.dims} is regridded: its last two dims must be the "
            "archive's latitude and longitude, with these standard names, in this order"
        )
    if not var.encoding.value_dtype.startswith("float"):
        raise ValueError(
            f"{var.name!r} is regridded, and its dtype {var.encoding.value_dtype} has no "
            "fractions: declare float32, or pack it by scale_factor"
        )


def _kind(coord: Coordinate | None) -> str | None:
    attrs = {} if coord is None else coord.attrs
    for kind, units in UNITS.items():
        if attrs.get("standard_name") == kind or attrs.get("units") in units:
            return kind
    return None


def check_target(config: TemplateConfig, ds: xr.Dataset) -> None:
    """Refuse grids between which there are no weights of the declared method.

    Raises
    ------
    ValueError
        As by `gridmill.authoring.regridding.weights.check_grids`, with the variable's name.
    """
    for var in config.data_vars:
        for source in var.sources:
            if source.regridded is None:
                continue
            target = Target(*(np.asarray(ds.get_index(dim), "float64") for dim in source.dims[-2:]))
            try:
                check_grids(source.regridded.grid, target, source.regridded.method)
            except ValueError as error:
                raise ValueError(f"{source.name!r} cannot be regridded: {error}") from error
