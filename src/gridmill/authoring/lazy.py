"""The variables of a template: their structure, and no values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import LazilyIndexedArray

from gridmill.model.variables import Completeness, DataVar

__all__ = ["lazy_variable", "zeros"]


def lazy_variable(var: DataVar, sizes: Mapping[Any, int]) -> xr.Variable:
    """Return a variable of these sizes without any value.

    Raises
    ------
    ValueError
        It has a dim without a size.
    """
    missing = [dim for dim in var.dims if dim not in sizes]
    if missing:
        raise ValueError(f"variable {var.name!r} has dims {missing} without a coordinate")
    shape = tuple(sizes[dim] for dim in var.dims)
    nothing = _NeverComputed(var.name, shape, np.dtype(var.encoding.value_dtype))
    # As xarray itself opens an array lazily, which takes less to import than Dask.
    lazy = LazilyIndexedArray(nothing)
    return xr.Variable(var.dims, lazy, dict(var.attrs), var.encoding.to_xarray())


def zeros(completeness: Completeness, sizes: Mapping[Any, int]) -> xr.Variable:
    """Return a coordinate of zeros, which take no memory."""
    shape = tuple(sizes[dim] for dim in completeness.own_dims)
    zeros = np.broadcast_to(np.zeros((), completeness.dtype), shape)
    return xr.Variable(completeness.own_dims, zeros)


class _NeverComputed(BackendArray):
    """An array of a shape that has no values: asking for one raises, and says why."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype

    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError(f"{self.name!r} is a template: it has a structure and no values")
