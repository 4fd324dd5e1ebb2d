"""What a netCDF file says of a variable: its axes, its time, its units.

By netCDF4 where the file is open with it, and by h5py where it is not. What cannot be understood is
not told. Sources: CF conventions 1.11, chapters 4 and 5 (coordinates, bounds), and the netCDF-4
format (dimension scales, netCDF User's Guide, appendix C).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from gridmill.sources.evidence.labels.text import text_of
from gridmill.sources.evidence.observed import Axis, Field

__all__ = [
    "KEPT",
    "Description",
    "Place",
    "describe_hdf5",
    "describe_netcdf4",
    "labels_netcdf4",
]

# Larger ones are no coordinate of a grid.
MOST_LABELS = 4_000_000
Attributes = Mapping[str, Any]
Found = tuple[np.ndarray[Any, Any], Attributes, tuple[str, ...]]
Find = Callable[[str], Found | None]
# A position, which drops its dimension, a slice, or several positions.
Place: TypeAlias = int | slice | np.ndarray[Any, Any]
# Those that do not drop it.
KEPT = (slice, np.ndarray)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of one variable, see `Evidence`."""

    axes: tuple[Axis, ...]
    scalars: Mapping[str, Axis] = field(default_factory=dict)
    units: str | None = None
    fields: tuple[Field, ...] = ()


def describe_hdf5(stored: Any, places: Sequence[int | slice] = ()) -> Description:
    """Describe a variable of a file that is open with h5py, or the part of it that is read."""
    group, scales = stored.parent, _scales_hdf5(stored)
    # Each needs a name, also where the file gives none.
    dims = [name or f"dim {number}" for number, (name, _) in enumerate(scales)]
    # What is open need not be looked for, which takes HDF5 longer than all that is asked of it.
    opened = {name: scale for name, scale in scales if scale is not None}

    def find(name: str) -> Found | None:
        there = opened.get(name)
        if there is not None and _is_dimension(there):
            return None
        there = _in_scope_hdf5(group, name) if there is None and name else there
        return _found_hdf5(name, there, dims)

    index = dict(zip(dims, places, strict=bool(places)))
    return _described(dims, _attributes_hdf5(stored), find, index)


def _in_scope_hdf5(group: Any, name: str) -> Any:
    """Return what a group has, or the nearest one above it."""
    there = group.get(name)
    while there is None and group.name != "/":
        group = group.parent
        there = group.get(name)
    return there


def _is_dimension(scale: Any) -> bool:
    """Whether a scale stands for a dimension without a coordinate, by what HDF5 tells fastest."""
    import h5py

    with suppress(RuntimeError):  # it has no name, or one that only its attributes tell
        return bool(h5py.h5ds.get_scale_name(scale.id).startswith(NO_COORDINATE.encode()))
    return False


def _found_hdf5(name: str, there: Any, along: Sequence[str]) -> Found | None:
    """Read a coordinate; None of what is none."""
    kind = there.dtype.kind if hasattr(there, "dtype") else ""
    if kind not in tuple("iufOS"):
        return None
    attributes = _attributes_hdf5(there)
    if str(attributes.pop("NAME", "")).startswith(NO_COORDINATE) or there.size > MOST_LABELS:
        return None
    if kind in "OS":
        # A coordinate of its own dim has that, and does not say so.
        own = [dim or (name if at == 0 else "") for at, dim in enumerate(_dims_hdf5(there))]
        is_text = _holds_text(there)
        return _text_found(np.asarray(there[()]), attributes, own, along) if is_text else None
    return _unpacked(there[()], attributes), attributes, _dims_hdf5(there)


def _holds_text(stored: Any) -> bool:
    import h5py

    return h5py.check_string_dtype(stored.dtype) is not None


def describe_netcdf4(stored: Any, index: Mapping[str, Place]) -> Description:
    """Describe the part of a variable that is read, of a file that is open with netCDF4."""
    return _described(stored.dimensions, _attributes(stored), _finder(stored), index)


def labels_netcdf4(stored: Any, dim: str) -> np.ndarray[Any, Any] | None:
    """Return what the file says along a dimension of a variable; None if that is no numbers."""
    found = _finder(stored)(dim)
    return None if found is None or found[0].ndim != 1 else found[0]


def _finder(stored: Any) -> Find:
    """Return what finds coordinates of a variable of a file that is open with netCDF4."""
    group = stored.group()

    def find(name: str) -> Found | None:
        there = _in_scope(group, name)
        if there is None or there.size > MOST_LABELS:
            return None
        is_text = there.dtype is str or there.dtype == "S1"
        if not is_text and (not isinstance(there.dtype, np.dtype) or there.dtype.kind not in "iuf"):
            return None
        if is_text:
            there.set_auto_chartostring(False)  # which depends on an attribute
            values = np.asarray(np.ma.getdata(there[...]))
            return _text_found(values, _attributes(there), there.dimensions, stored.dimensions)
        values = there[...]
        if np.ma.is_masked(values):
            return None
        return np.ma.getdata(values), _attributes(there), tuple(there.dimensions)

    return find


def _text_found(
    values: np.ndarray[Any, Any],
    attributes: Attributes,
    dims: Sequence[str],
    along: Sequence[str],
) -> Found | None:
    """Return labels of one dim, or one; None if they are no text, or have more."""
    read = text_of(values, dims, along)
    return None if read is None or read[0].ndim > 1 else (read[0], attributes, read[1])


ATTRIBUTES = frozenset(
    (
        "units",
        "standard_name",
        "calendar",
        "bounds",
        "coordinates",
        "scale_factor",
        "add_offset",
        "NAME",
    )
)
# How the scale of a dimension without a coordinate is named: netCDF-4, appendix C.
NO_COORDINATE = "This is a netCDF dimension but"
# What coordinates of time are called that no variable refers to.
TIMES = ("time", "valid_time", "forecast_reference_time", "init_time", "TIME", "time_counter")


def _scales_hdf5(stored: Any) -> list[tuple[str, Any]]:
    """Return the name of each dim and the scale that gives it; without one its label, and None."""
    found = [(dim, dim[0] if len(dim) else None) for dim in stored.dims]
    return [(dim.label if of is None else of.name.rpartition("/")[2], of) for dim, of in found]


def _dims_hdf5(stored: Any) -> tuple[str, ...]:
    return tuple(name for name, _ in _scales_hdf5(stored))


def _attributes_hdf5(stored: Any) -> dict[str, Any]:
    attributes = stored.attrs
    return {key: _plain(attributes[key]) for key in attributes if key in ATTRIBUTES}


def _attributes(stored: Any) -> dict[str, Any]:
    return {key: stored.getncattr(key) for key in stored.ncattrs() if key in ATTRIBUTES}


def _in_scope(group: Any, name: str) -> Any:
    """Return a variable of a group or of one that it is in; None if there is none."""
    while group is not None:
        if name in group.variables:
            return group.variables[name]
        group = group.parent
    return None


def _plain(value: Any) -> Any:
    value = np.asarray(value).reshape(-1)[0] if np.size(value) == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _unpacked(values: Any, attributes: Attributes) -> Any:
    scale, offset = attributes.get("scale_factor"), attributes.get("add_offset")
    if scale is None and offset is None:
        return np.asarray(values)
    return np.asarray(values) * (1 if scale is None else scale) + (0 if offset is None else offset)


def _described(
    dims: Sequence[str],
    attributes: Attributes,
    find: Find,
    index: Mapping[str, Place],
) -> Description:
    find = cache(find)  # of what `coordinates` names, each is asked for in several roles
    axes, scalars = [], {}
    named = str(attributes.get("coordinates", "")).split()
    for dim in dims:
        axis, at = _axis_along(dim, named, find), index.get(dim, slice(None))
        if isinstance(at, KEPT):
            axes.append(axis.at(at))
        else:
            scalars[dim] = axis.at(at)
    for name in named:
        axis = _axis(name, find)
        if axis.values is not None and axis.values.size == 1:
            scalars.setdefault(name, axis)
    if not any(axis.is_time for axis in (*axes, *scalars.values())):
        # A file of one moment says it also where no variable refers to it.
        others = (_axis(name, find) for name in TIMES if name not in dims)
        scalars.update(
            (a.name, a) for a in others if a.is_time and a.values is not None and a.values.size == 1
        )
    fields = (_field(name, find, index) for name in named)
    return Description(
        axes=tuple(axes),
        scalars=scalars,
        units=_text(attributes.get("units")),
        fields=tuple(one for one in fields if one is not None),
    )


def _field(name: str, find: Find, index: Mapping[str, Place]) -> Field | None:
    """Return the part of a coordinate of two dims that is read; None if it has others."""
    found = find(name)
    if found is None or found[0].ndim != 2:
        return None
    values, attributes, dims = found
    places = [index.get(dim, slice(None)) for dim in dims]
    if any(not isinstance(place, KEPT) for place in places):
        return None
    return Field(
        name=name,
        dims=(dims[0], dims[1]),
        values=values[places[0]][:, places[1]],
        units=_text(attributes.get("units")),
        standard_name=_text(attributes.get("standard_name")),
    )


def _axis_along(dim: str, named: Sequence[str], find: Find) -> Axis:
    """Return the coordinate of a dim; without one, the only text that names its positions."""
    axis = _axis(dim, find)
    if axis.values is not None:
        return axis
    found = ((name, find(name)) for name in named)
    texts = [name for name, of in found if of and of[2] == (dim,) and of[0].dtype.kind == "O"]
    return replace(_axis(texts[0], find), is_auxiliary=True) if len(texts) == 1 else axis


def _axis(name: str, find: Find) -> Axis:
    found = find(name)
    if found is None or found[0].ndim > 1:
        return Axis(name=name)
    values, attributes, _ = found
    bounds = find(str(attributes["bounds"])) if "bounds" in attributes else None
    has_bounds = bounds is not None and bounds[0].shape == (*values.shape, 2)
    return Axis(
        name=name,
        values=values,
        units=_text(attributes.get("units")),
        standard_name=_text(attributes.get("standard_name")),
        calendar=_text(attributes.get("calendar")),
        bounds=bounds[0] if bounds is not None and has_bounds else None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
