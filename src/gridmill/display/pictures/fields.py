"""One horizontal field of an archive, or of a dataset that it is compared with, for a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gridmill.model.variables import DataVar
from gridmill.validation.context import Context
from gridmill.validation.statistics.profiles import field_dims

__all__ = ["Field", "counterpart", "field_of", "newest_field", "reference_field"]

Values = np.ndarray[Any, Any]

# Of a map along each dim: more cells than it has pixels say nothing.
MOST_CELLS = 900


@dataclass(frozen=True)
class Field:
    """One horizontal field, thinned for a map.

    Parameters
    ----------
    values
        Two-dimensional.
    x, y
        Coordinates of its columns and rows; positions where the grid has none.
    title
        Which it is.
    labels
        By dim, where along the others it is.
    is_geographic
        Whether x and y are longitudes and latitudes in degrees.
    """

    values: Values
    x: Values
    y: Values
    title: str
    labels: Mapping[str, Any]
    is_geographic: bool


def newest_field(context: Context, var: DataVar) -> Field | None:
    """Read the newest field of a variable that has a value, of a middle lead, the first member."""
    dims = field_dims(var, context.config.coords, context.append_dim)
    if len(dims) != 2 or not context.published:
        return None
    stats = context.statistics(var)
    valid = stats.fields["valid"]
    others = [dim for dim in valid.dims if dim != context.append_dim]
    at = {dim: valid.sizes[dim] // 2 if "lead" in str(dim) else 0 for dim in others}
    if context.config.varies(var):
        there = np.flatnonzero(valid.isel(at).values)
        if not there.size:
            return None
        at[context.append_dim] = int(there[-1]) + stats.start
    return field_of(context.ds[var.name], {str(k): v for k, v in at.items()}, dims)


def reference_field(context: Context, reference: xr.Dataset, var: DataVar) -> Field | None:
    """Read the field of a reference dataset that is nearest to `newest_field`."""
    name = counterpart(reference, var)
    ours = newest_field(context, var)
    if name is None or ours is None:
        return None
    theirs = reference[name]
    *others, y, x = map(str, theirs.dims)
    return field_of(
        theirs, {dim: _nearest(theirs, dim, ours.labels.get(dim)) for dim in others}, (y, x)
    )


def _nearest(array: xr.DataArray, dim: str, label: Any) -> int:
    """Return the position of the nearest label; the first where there is nothing to compare."""
    if label is None or dim not in array.indexes:
        return 0
    index = array.get_index(dim)
    return int(index.get_indexer(index[:0].insert(0, label), method="nearest")[0])


def counterpart(reference: xr.Dataset, var: DataVar) -> str | None:
    """Return the reference's variable of the same name, or else of the same standard name."""
    if var.name in reference:
        return var.name
    wanted = var.attrs.get("standard_name")
    same = [
        str(n) for n, v in reference.items() if wanted and v.attrs.get("standard_name") == wanted
    ]
    return same[0] if len(same) == 1 else None


def field_of(array: xr.DataArray, at: Mapping[str, int], dims: Sequence[str]) -> Field:
    """Read one field, thinned, at positions along all but its two dims."""
    thin = {dim: slice(None, None, -(-array.sizes[dim] // MOST_CELLS)) for dim in dims}
    cut = array.isel({**at, **thin}).transpose(*dims).load()
    labels = {dim: cut[dim] for dim in at if dim in cut.coords}
    title = ", ".join(f"{dim} {_label(value.values)}" for dim, value in labels.items())
    y, x = (_axis(cut, dim) for dim in dims)
    units = [str(cut[dim].attrs.get("units", "")) for dim in dims if dim in cut.coords]
    is_geographic = [unit[:9] for unit in units] == ["degrees_n", "degrees_e"]
    indexed = {dim: array.get_index(dim)[position] for dim, position in at.items()}
    return Field(cut.values.astype(float), x, y, title, indexed, is_geographic)


def _axis(cut: xr.DataArray, dim: str) -> Values:
    return np.asarray(cut[dim].values if dim in cut.coords else np.arange(cut.sizes[dim]), float)


def _label(value: Values) -> str:
    if value.dtype.kind == "M":
        return str(np.datetime_as_string(value, unit="m")).replace("T00:00", "")
    if value.dtype.kind == "m":
        return f"{value / np.timedelta64(1, 'h'):g} h"
    item = value.item()
    return f"{item:g}" if isinstance(item, float) else str(item).removesuffix(" 00:00:00")
