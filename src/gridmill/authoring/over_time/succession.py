"""Variables whose names an archive has from before, or that the code declares no longer. Pure."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gridmill.authoring.encoding.stored import stored_encoding
from gridmill.authoring.template import TemplateConfig
from gridmill.model.variables import DataVar
from gridmill.stores.structure import DECODING_ATTRIBUTES

__all__ = [
    "as_named",
    "declared_names",
    "kept_along",
    "no_longer_declared",
    "renames",
    "say_succession",
]

Arrays = Mapping[str, Mapping[str, Any]]
NOT_OURS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def declared_names(coded: TemplateConfig, names: Sequence[str]) -> list[str]:
    """Return what the code calls the variables that an archive is declared to have.

    Those that the code has no longer are left out: see `no_longer_declared`.
    """
    now = {var.previously: var.name for var in coded.data_vars if var.previously is not None}
    known = {var.name for var in coded.data_vars}
    every = [name if name in known else now.get(name) for name in names]
    return list(dict.fromkeys(name for name in every if name is not None))


def renames(config: TemplateConfig, arrays: Collection[str]) -> dict[str, str]:
    """Return by its name in an archive what the code calls a variable that is to be renamed."""
    return {
        var.previously: var.name
        for var in config.data_vars
        if var.previously is not None and var.previously in arrays and var.name not in arrays
    }


def as_named(
    config: TemplateConfig, arrays: Collection[str], adding: Collection[str] = ()
) -> TemplateConfig:
    """Return a template with the names that an archive has for its variables.

    Parameters
    ----------
    config
        What the code declares.
    arrays
        What the archive has.
    adding
        Names that it is about to get.

    Notes
    -----
    A variable that an archive has by both names is there twice, and both are filled.
    """
    variables: list[DataVar] = []
    for var in config.data_vars:
        former = var.previously if var.previously in arrays else None
        if former is None or var.name in arrays or var.name in adding:
            variables.append(var)
        if former is not None:
            aliases = (var.name, *(name for name in var.aliases if name != former))
            variables.append(replace(var, name=former, previously=None, aliases=aliases))
    if len(variables) == len(config.data_vars) and all(
        ours is theirs for ours, theirs in zip(variables, config.data_vars, strict=True)
    ):
        return config
    twin = copy.copy(config)
    twin.data_vars = tuple(variables)
    twin.__dict__.pop("region_length", None)
    return twin


def no_longer_declared(config: TemplateConfig, arrays: Arrays) -> list[DataVar]:
    """Return the data variables that an archive has and the code no longer declares.

    Coordinates are none of them, nor what gridmill would have stored otherwise: the comparison of
    structures names these.
    """
    declared = {var.name for var in (*config.data_vars, *config.former_vars)}
    declared |= {coord.name for coord in config.coords} | config.left_out_vars
    dims = {dim for array in arrays.values() for dim in array.get("dimension_names") or ()}
    auxiliary = {
        name
        for array in arrays.values()
        for name in str((array.get("attributes") or {}).get("coordinates", "")).split()
    }
    found = [_kept_as_it_is(n, arrays[n]) for n in arrays if n not in declared | dims | auxiliary]
    own = {dim for coord in config.coords for dim in coord.own_dims}
    return [var for var in found if var is not None and set(var.dims) <= own]


def kept_along(config: TemplateConfig) -> list[DataVar]:
    """Return the variables along the append dim that the code no longer declares.

    No job makes any of their values: what would move them, or cut an object of theirs, must not.
    """
    return [var for var in config.kept_vars if config.varies(var)]


def _kept_as_it_is(name: str, array: Mapping[str, Any]) -> DataVar | None:
    attributes = dict(array.get("attributes") or {})
    described = {
        key: value
        for key, value in attributes.items()
        if key not in DECODING_ATTRIBUTES and key != "coordinates"
    }
    try:
        dims = tuple(array["dimension_names"])
        # gridmill describes every variable along the grid.
        if len(dims) < 2:
            return None
        return DataVar(name=name, encoding=stored_encoding(array), attrs=described, dims=dims)
    except NOT_OURS:
        return None


def say_succession(
    config: TemplateConfig, arrays: Collection[str], kept: Sequence[DataVar]
) -> list[str]:
    """Say in a line each what an archive calls otherwise than the code, and what it still has.

    Parameters
    ----------
    config
        What the code declares.
    arrays
        What the archive has.
    kept
        Of this what the code no longer declares.
    """
    said = [
        f"the archive calls {new} {old}: gridmill migrate-metadata renames it"
        for old, new in renames(config, arrays).items()
    ]
    both = [v for v in config.data_vars if v.previously in arrays and v.name in arrays]
    said += [
        f"the archive has {var.name} also by its former name {var.previously}: gridmill "
        f"remove-variable {var.previously} ends that"
        for var in both
    ]
    if kept:
        names = ", ".join(var.name for var in kept)
        said.append(
            f"the code no longer declares {names}: it stays as it is, missing at all positions "
            "that are published from now on; gridmill remove-variable takes it away"
        )
    wordless = [v.name for v in kept if v.encoding.missing is None and config.varies(v)]
    if wordless:
        said.append(
            f"nothing says missing in {', '.join(wordless)}: readers see 0, or what else is its "
            "fill, at those positions"
        )
    return said
