"""Coordinates whose labels are text: experiments, models, stations.

They are stored as Zarr's ``string`` with the ``vlen-utf8`` codec, of any length each. NumPy's
strings of a fixed length have no Zarr v3 specification, and readers are warned of them.

Source: zarr-extensions, data-types/string and codecs/vlen-utf8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from gridmill.model.variables import Coordinate

__all__ = ["is_text", "with_text"]


def with_text(ds: xr.Dataset, coords: Sequence[Coordinate], append_dim: str) -> xr.Dataset:
    """Return a template with its coordinates of text as they can be stored.

    Parameters
    ----------
    ds
        The template with its coordinates.
    coords
        As they are declared.
    append_dim
        Nothing along it is text.

    Raises
    ------
    ValueError
        A label is no text, or they lie along the append dim.
    """
    for coord in coords:
        if coord.is_text and coord.name in ds.coords:
            ds = ds.assign_coords({coord.name: _as_text(ds[coord.name], append_dim)})
    return ds


def is_text(values: xr.DataArray) -> bool:
    """Whether a template's coordinate is text, and not for instance dates of a calendar."""
    if values.dtype.kind != "O" or not values.size:
        return False
    return isinstance(values.values.flat[0], str)


def _as_text(values: xr.DataArray, append_dim: str) -> xr.Variable:
    name = values.name
    if append_dim in values.dims:
        raise ValueError(
            f"coordinate {name!r} is text along the append dim {append_dim!r}: take whole numbers, "
            "and say what they mean by flag_values and flag_meanings"
        )
    every: np.ndarray[Any, Any] = np.asarray(values.values, dtype=object)
    for label in every.ravel():
        if not isinstance(label, str) or not label:
            raise ValueError(
                f"coordinate {name!r} is declared as text (dtype 'str') and holds {label!r}: give "
                "text that is not empty, or declare the dtype of its numbers"
            )
    plain = np.array([str(label) for label in every.ravel()], dtype=object)
    return xr.Variable(values.dims, plain.reshape(every.shape))
