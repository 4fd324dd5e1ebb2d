"""Dimensions, variables and extents of what readers see, as STAC's datacube extension has them.

Source: https://github.com/stac-extensions/datacube, version 2.3.0.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["bounding_box", "cube_dimensions", "cube_variables", "interval", "moment_of"]

WHOLE_EARTH = [-180.0, -90.0, 180.0, 90.0]
# Beyond, a catalogue would be as large as a coordinate: its ends and step say enough.
MOST_VALUES = 200
X_NAMES = ("longitude", "grid_longitude", "projection_x_coordinate")
Y_NAMES = ("latitude", "grid_latitude", "projection_y_coordinate")
# By the start of their names, units of coordinates along a vertical.
PRESSURE = ("Pa", "hPa", "mbar", "millibar")


def moment_of(label: Any) -> str:
    """Return a date as STAC wants it (RFC 3339).

    A day that only another calendar has, like 30 February, is the month's last.

    Examples
    --------
    >>> moment_of(np.datetime64("2020-01-01T06"))
    '2020-01-01T06:00:00Z'
    """
    if isinstance(label, np.datetime64):
        label = pd.Timestamp(label)
    day = min(label.day, calendar.monthrange(label.year, label.month)[1])
    time = f"{label.hour:02}:{label.minute:02}:{label.second:02}"
    return f"{label.year:04}-{label.month:02}-{day:02}T{time}Z"


def interval(ds: xr.Dataset, append_dim: str) -> list[str]:
    """Return the first and the last date that values are for, leads included."""
    index = ds.get_index(append_dim)
    last = index[-1]
    for name in set(map(str, ds.indexes)) - {append_dim}:
        if ds[name].dtype.kind == "m":
            last = last + pd.Timedelta(ds[name].values.max()).to_pytimedelta()
    return [moment_of(index[0]), moment_of(last)]


def bounding_box(ds: xr.Dataset) -> list[float]:
    """Return west, south, east and north in degrees; of the whole earth if no coordinate says it.

    West is larger than east where the grid crosses 180°.

    Examples
    --------
    >>> lon = ("x", [350.0, 0.0, 10.0], {"units": "degrees_east"})
    >>> lat = ("y", [-5.0, 5.0], {"units": "degrees_north"})
    >>> bounding_box(xr.Dataset(coords={"x": lon, "y": lat}))
    [-10.0, -5.0, 10.0, 5.0]
    """
    lon, lat = (_degrees(ds, kind) for kind in ("east", "north"))
    if lon is None or lat is None:
        return WHOLE_EARTH
    west, east = _around(lon)
    return [west, float(np.nanmin(lat)), east, float(np.nanmax(lat))]


def cube_dimensions(ds: xr.Dataset) -> dict[str, Any]:
    """Return ``cube:dimensions``: those of whatever `cube_variables` describes."""
    described = (*ds.data_vars.values(), *_auxiliary(ds).values())
    used = dict.fromkeys(str(dim) for var in described for dim in var.dims)
    return {dim: _dimension(ds, dim) for dim in used}


def cube_variables(ds: xr.Dataset) -> dict[str, Any]:
    """Return ``cube:variables``: data variables, and coordinates that index no dimension."""
    data = {str(name): _variable(var, "data") for name, var in ds.data_vars.items()}
    others = {name: _variable(coord, "auxiliary") for name, coord in _auxiliary(ds).items()}
    return {**data, **others}


def _auxiliary(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    return {str(name): coord for name, coord in ds.coords.items() if name not in ds.dims}


def _degrees(ds: xr.Dataset, towards: str) -> np.ndarray[Any, Any] | None:
    """Return longitudes (east) or latitudes (north), of whatever shape."""
    for coord in ds.coords.values():
        if str(coord.attrs.get("units", "")) in (f"degrees_{towards}", f"degree_{towards}"):
            return np.asarray(coord.values, float)
    return None


def _around(lon: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the west and east ends of longitudes: the other side of their widest gap."""
    around = np.unique(np.round((lon[np.isfinite(lon)] + 180) % 360 - 180, 9))
    gaps = np.diff([*around, around[0] + 360])
    widest = int(gaps.argmax())
    if len(around) > 1 and gaps[widest] <= 2 * np.median(gaps) + 1e-6 and gaps[widest] < 90:
        return -180.0, 180.0
    return float(around[(widest + 1) % len(around)]), float(around[widest])


def _dimension(ds: xr.Dataset, dim: str) -> dict[str, Any]:
    if dim not in ds.indexes:
        return {"type": "count", "extent": [0, ds.sizes[dim] - 1]}
    coord = ds[dim]
    said = _described(coord.attrs)
    index = ds.get_index(dim)
    if isinstance(index, (pd.DatetimeIndex, xr.CFTimeIndex)):
        extent = [moment_of(index[0]), moment_of(index[-1])]
        return {"type": "temporal", **said, "extent": extent, "step": _time_step(index)}
    if coord.dtype.kind == "m":
        hours = coord.values / np.timedelta64(1, "h")
        return {"type": "lead_time", **said, **_numbers(hours), "unit": "h"}
    if coord.dtype.kind not in "iuf":
        # All of them or none: what is listed counts as all that there is.
        if coord.size > MOST_VALUES:
            return {"type": "count", **said, "extent": [0, coord.size - 1]}
        return {"type": dim, **said, "values": [str(value) for value in coord.values]}
    axis = _axis(coord)
    found = {**said, **_numbers(coord.values, with_values=axis not in ("x", "y"))}
    if axis is None:
        return {"type": str(coord.attrs.get("standard_name", dim)), **found}
    crs = {} if axis == "z" else _reference_system(ds)
    return {"type": "spatial", "axis": axis, **found, **crs}


def _described(attrs: Mapping[str, Any]) -> dict[str, str]:
    said = {"description": attrs.get("long_name"), "unit": attrs.get("units")}
    return {key: str(value) for key, value in said.items() if value}


def _numbers(values: np.ndarray[Any, Any], *, with_values: bool = True) -> dict[str, Any]:
    """Return extent, step and, where they are few, the values."""
    plain = [float(f"{value:.9g}") for value in values.tolist()]
    found: dict[str, Any] = {"extent": [min(plain), max(plain)]}
    if with_values and len(plain) <= MOST_VALUES:
        found["values"] = plain
    steps = np.diff(np.asarray(plain))
    is_even = steps.size and np.allclose(steps, steps[0], rtol=1e-4, atol=0)
    found["step"] = float(f"{steps.mean():.6g}") if is_even else None
    return found


def _time_step(index: Any) -> str | None:
    """Return the step between dates as an ISO 8601 duration; None if it is not always the same."""
    steps = set(index[1:] - index[:-1])
    if len(steps) != 1:
        return None
    seconds = int(steps.pop().total_seconds())
    if seconds % 86400 == 0:
        return f"P{seconds // 86400}D"
    return f"PT{seconds // 3600}H" if seconds % 3600 == 0 else f"PT{seconds}S"


def _axis(coord: xr.DataArray) -> str | None:
    """Return x, y or z where CF marks a coordinate as one of them."""
    attrs, units = coord.attrs, str(coord.attrs.get("units", ""))
    name, said = attrs.get("standard_name"), str(attrs.get("axis", "")).lower()
    if name in X_NAMES or units == "degrees_east" or said == "x":
        return "x"
    if name in Y_NAMES or units == "degrees_north" or said == "y":
        return "y"
    return "z" if said == "z" or "positive" in attrs or units in PRESSURE else None


def _reference_system(ds: xr.Dataset) -> dict[str, str]:
    """Return the grid's reference system, if WKT says it; STAC takes it for EPSG:4326 without."""
    wkts = (coord.attrs.get("crs_wkt") for coord in ds.coords.values())
    return next(({"reference_system": str(wkt)} for wkt in wkts if wkt), {})


def _variable(var: xr.DataArray, kind: str) -> dict[str, Any]:
    is_number = var.dtype.kind in "iuf"
    dtype = {"data_type": var.dtype.name} if is_number else {}
    return {"dimensions": [*map(str, var.dims)], "type": kind, **_described(var.attrs), **dtype}
