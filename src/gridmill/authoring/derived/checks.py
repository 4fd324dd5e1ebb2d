"""Refuses declarations by which a variable cannot be made of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridmill.authoring.derived.making import conversion
from gridmill.authoring.derived.steps import steps_of, timedelta_of
from gridmill.model.fields.derived import Aggregation, Derived
from gridmill.model.variables import DataVar

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.authoring.template import TemplateConfig

__all__ = ["check_bounds", "check_made"]


def check_made(config: TemplateConfig) -> None:
    """Refuse what contradicts itself in variables that are derived or aggregated.

    Raises
    ------
    ValueError
        A dtype has no fractions, units cannot be converted, `cell_methods` does not say how values
        are aggregated, or steps do not fit the append dim.
    """
    for var in (*config.data_vars, *config.former_vars):
        if not var.is_made:
            continue
        _check_dtypes(var)
        if var.derived is not None:
            _check_units(var, var.derived)
            _check_inputs(config, var, var.derived)
        if var.aggregated is not None:
            _check_aggregation(config, var, var.aggregated)


def _check_dtypes(var: DataVar) -> None:
    for one in (var, *var.sources):
        if not one.encoding.value_dtype.startswith("float"):
            raise ValueError(
                f"{var.name!r} is made of others, but {one.name!r} has dtype "
                f"{one.encoding.value_dtype}, which has no fractions: declare float32, or pack it "
                "by scale_factor"
            )


def _check_units(var: DataVar, how: Derived) -> None:
    pairs = [
        (str(source.attrs["units"]), unit)
        for source, unit in zip(how.inputs, how.takes or (), strict=False)
    ]
    if how.gives is not None:
        pairs.append((how.gives, str(var.attrs["units"])))
    for first, second in pairs:
        try:
            conversion(first, second)
        except ValueError as error:
            raise ValueError(f"{var.name!r}, derived by {how.name}: {error}") from error


def _check_inputs(config: TemplateConfig, var: DataVar, how: Derived) -> None:
    """Refuse an input that has the name of another variable, and is not that."""
    known = {one.name: one for one in config.data_vars}
    for source in how.inputs:
        stored = known.get(source.name)
        if stored is None or stored is var:
            continue
        if stored.is_made or stored.attrs["units"] != source.attrs["units"]:
            raise ValueError(
                f"{var.name!r} is derived from {source.name!r}, and a stored variable of this name "
                "is another one: give both the same declaration, or the input another name"
            )


def _check_aggregation(config: TemplateConfig, var: DataVar, how: Aggregation) -> None:
    who, dim = repr(var.name), config.append_dim
    if dim not in var.dims or how.period is None:
        raise ValueError(
            f"{who} is aggregated, which needs the append dim {dim!r} and append_dim_frequency"
        )
    start = config.label(config.append_dim_start)
    if not isinstance(start, pd.Timestamp):
        raise ValueError(f"{who} is aggregated, which calendar {config.calendar!r} cannot be yet")
    wanted = f"{dim}: {how.method}"
    if wanted not in str(var.attrs.get("cell_methods", "")):
        raise ValueError(
            f"{who} is aggregated by {how.method}, and its cell_methods is "
            f"{var.attrs.get('cell_methods')!r}: it must say {wanted!r}"
        )
    index = pd.date_range(start, periods=2, freq=how.period)
    length, every = index[1] - index[0], timedelta_of(how.every)
    if length % every or not every < length:
        raise ValueError(
            f"{who} is aggregated of steps of {how.every}, of which one position ({length}) must "
            "have several, and whole ones"
        )
    (first, n) = steps_of(index[:1], how).offsets
    if how.at_least is not None and how.at_least > n - first:
        raise ValueError(
            f"{who} needs at least {how.at_least} steps, and a position has {n - first}"
        )


def check_bounds(config: TemplateConfig, ds: xr.Dataset) -> None:
    """Refuse bounds of the append dim which are not the times that aggregations cover.

    Raises
    ------
    ValueError
        A position's bounds begin at another time than what is aggregated, or end at another.
    """
    dim = config.append_dim
    bounds = next((c.attrs.get("bounds") for c in config.coords if c.name == dim), None)
    made = [var.name for var in config.data_vars if var.aggregated is not None]
    if bounds not in ds.coords or not made or not ds.sizes[dim]:
        return
    index = ds.get_index(dim)
    last = pd.date_range(index[-1], periods=2, freq=config.append_dim_frequency)
    ends = index[1:].append(last[1:])
    wanted = np.stack([index.to_numpy(), ends.to_numpy()], axis=1)
    found = ds[bounds].values
    wrong = np.flatnonzero((found != wanted).any(axis=1))
    if wrong.size:
        at = int(wrong[0])
        raise ValueError(
            f"{bounds} of {dim} {index[at]} is {found[at]}, but {made[0]!r} is aggregated from "
            f"{wanted[at][0]} to {wanted[at][1]}: a position covers the time up to the next label"
        )
