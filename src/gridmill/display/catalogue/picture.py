"""A picture of an archive's newest field, read from as few chunks as that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import xarray as xr

from gridmill.authoring.template import TemplateConfig
from gridmill.display.pictures.drawing import map_picture
from gridmill.display.pictures.fields import field_of
from gridmill.validation.statistics.profiles import field_dims

__all__ = ["newest_picture"]

NEEDED = ("matplotlib", "cmcrameri")
# Decoded bytes of the chunks that a field touches. Where chunks are long in time, a field of the
# whole globe can touch gigabytes: too much for a picture at each publication.
MOST_NBYTES = 256 * 2**20
# Of variables, until one has a field with a value.
MOST_TRIED = 4


def newest_picture(ds: xr.Dataset, config: TemplateConfig) -> bytes | None:
    """Draw the newest field of the first variable that has one; a PNG.

    Parameters
    ----------
    ds
        What readers see, lazy.
    config
        The archive's template.

    Returns
    -------
    bytes or None
        None where matplotlib or cmcrameri is not installed, or no field is cheap to read and has
        a value.
    """
    if any(find_spec(name) is None for name in NEEDED):
        return None
    drawable = [var for var in config.data_vars if var.name in ds and config.varies(var)]
    for var in drawable[:MOST_TRIED]:
        dims = field_dims(var, config.coords, config.append_dim)
        if len(dims) != 2:
            continue
        at = _newest(ds[var.name], dims, config.append_dim)
        if _nbytes_touched(ds[var.name], dims) > MOST_NBYTES:
            continue
        field = field_of(ds[var.name], at, dims)
        if np.isfinite(field.values).any():
            return map_picture(field, var)
    return None


def _newest(array: xr.DataArray, dims: tuple[str, ...], append_dim: str) -> Mapping[str, int]:
    """Return the newest position, a middle lead, the first of all else."""
    others = [str(dim) for dim in array.dims if dim not in dims]
    at = {dim: array.sizes[dim] // 2 if "lead" in dim else 0 for dim in others}
    return {**at, append_dim: array.sizes[append_dim] - 1}


def _nbytes_touched(array: xr.DataArray, dims: tuple[str, ...]) -> int:
    """Return how many decoded bytes are read for one field."""
    chunks = array.encoding.get("chunks") or array.shape
    by_dim: dict[str, int] = dict(zip(map(str, array.dims), chunks, strict=True))
    along = [math.ceil(array.sizes[dim] / by_dim[dim]) for dim in dims]
    return math.prod(along) * math.prod(by_dim.values()) * int(array.dtype.itemsize)
