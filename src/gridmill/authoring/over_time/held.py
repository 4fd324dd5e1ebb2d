"""A template with the labels that an archive holds, where the code declares more of a dim. Pure.

Runs are refused there until `gridmill grow` adds the labels; what only looks at an archive judges
it by its own.

See Also
--------
gridmill.operations.axis.grow : adds the labels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pandas as pd

from gridmill.authoring.template import TemplateConfig
from gridmill.model.variables import Coordinate
from gridmill.stores.metadata import array_metadata

__all__ = ["as_held", "is_horizontal", "labels_not_held", "more_declared", "say_more"]

HORIZONTAL = {"latitude", "longitude", "projection_x_coordinate", "projection_y_coordinate"}
NAMES = {"lat", "latitude", "lon", "longitude", "x", "y", "cell"}


def as_held(config: TemplateConfig, more: Mapping[str, tuple[int, int]]) -> TemplateConfig:
    """Return a template whose dims have as many labels as an archive, the first of them.

    Parameters
    ----------
    config
        As the archive was made with it; it is returned where the code declares no more.
    more
        See `more_declared`.
    """
    if not more:
        return config
    twin = copy.copy(config)
    twin.held = {dim: there for dim, (there, _) in more.items()}
    said = (say_more(dim, *counts) for dim, counts in more.items())
    twin.remarks = (*config.remarks, *said)
    return twin


def labels_not_held(config: TemplateConfig) -> dict[str, pd.Index[Any]]:
    """Return the labels by dim that the code declares and the archive does not have."""
    if not config.held:
        return {}
    declared = config.dimension_coordinates()
    return {dim: pd.Index(declared[dim])[there:] for dim, there in config.held.items()}


def say_more(dim: str, there: int, declared: int) -> str:
    """Say that the code declares more labels of a dim than an archive has."""
    return (
        f"the code declares {declared} labels of {dim} and the archive has {there}: runs are "
        "refused until gridmill grow adds what a provider added, or the code declares what it has"
    )


def more_declared(
    config: TemplateConfig, stored: Mapping[str, Any] | None
) -> dict[str, tuple[int, int]]:
    """Name the dims of which the code declares more labels than an archive has, and both numbers.

    Another horizontal grid is another archive, and no matter of more labels. Arrays that contradict
    each other were damaged: they say nothing of how many there are.
    """
    there: dict[str, set[int]] = {}
    for array in array_metadata(dict(stored or {})).values():
        dims, shape = (array.get(key) or () for key in ("dimension_names", "shape"))
        for dim, length in zip(dims, shape, strict=False):
            there.setdefault(dim, set()).add(length)
    coords = {coord.name: coord for coord in config.coords}
    found = {}
    for dim, labels in config.dimension_coordinates().items():
        lengths = there.get(dim, set())
        is_more = len(lengths) == 1 and min(lengths) < len(labels)
        if is_more and not is_horizontal(dim, coords.get(dim)):
            found[dim] = (min(lengths), len(labels))
    return found


def is_horizontal(dim: str, coord: Coordinate | None) -> bool:
    """Whether a dim is one of the grid's."""
    attrs: Mapping[str, Any] = {} if coord is None else coord.attrs
    return (
        attrs.get("standard_name") in HORIZONTAL or attrs.get("axis") in ("X", "Y") or dim in NAMES
    )
