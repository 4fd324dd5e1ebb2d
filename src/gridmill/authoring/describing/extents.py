"""Where a template's grid lies, in the words of ACDD and of Zarr's conventions.

Sources: Attribute Convention for Data Discovery 1.3 (ESIP); the conventions ``proj:`` and
``spatial:`` of https://github.com/zarr-conventions, both version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["georeference", "horizontal_extent", "vertical_extent"]

Attributes = dict[str, Any]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]

# Of a grid whose longitudes have two dims, or none of their own: what no cell is in is outside.
GAP_DEGREES = 5
# Points of each side of an outline.
POINTS_A_SIDE = 8
# In steps, how far a label may be from where an even axis has it: float32 labels are.
UNEVEN = 1e-3


def horizontal_extent(ds: xr.Dataset) -> Attributes:
    """Return ``geospatial_lat_*``, ``geospatial_lon_*`` and ``geospatial_bounds``.

    Minima and maxima are those of the cells' centres, as they are in the coordinates; longitudes
    go from the western to the eastern end, so that a grid of two dims that crosses the 180th
    meridian has a minimum above its maximum. Empty without latitudes and longitudes.
    """
    latitudes, longitudes = (_named(ds, name) for name in ("latitude", "longitude"))
    if latitudes is None or longitudes is None or not np.isfinite(latitudes.values).any():
        return {}
    south, north = (float(end(latitudes.values)) for end in (np.nanmin, np.nanmax))
    is_axis = longitudes.dims == (longitudes.name,)
    west, east = _ends(longitudes.values, is_axis=is_axis)
    is_plane = latitudes.ndim == 2
    outline = (
        _outline(latitudes.values, longitudes.values)
        if is_plane
        else _rectangle(south, north, west, east)
    )
    return {
        **_range("geospatial_lat", south, north, "degrees_north", latitudes),
        **_range("geospatial_lon", west, east, "degrees_east", longitudes),
        **({"geospatial_bounds": outline, "geospatial_bounds_crs": "EPSG:4326"} if outline else {}),
    }


def vertical_extent(ds: xr.Dataset) -> Attributes:
    """Return ``geospatial_vertical_*`` of the dim that goes up or down; empty without one."""
    for name, coord in ds.coords.items():
        if coord.dims == (name,) and coord.size and coord.attrs.get("axis") == "Z":
            low, high = float(coord.values.min()), float(coord.values.max())
            units = str(coord.attrs.get("units", "1"))
            positive = {"geospatial_vertical_positive": str(coord.attrs.get("positive", "up"))}
            return {**_range("geospatial_vertical", low, high, units, None), **positive}
    return {}


def georeference(ds: xr.Dataset) -> Attributes:
    """Return ``proj:`` and ``spatial:`` attributes; empty without a grid mapping that has a WKT.

    ``spatial:`` is that of cells around the labels of y and x, in the units of the reference
    system; it is left out where they are not evenly spaced. The names are those of version 1 of
    the Zarr conventions geo-proj and spatial; the list of objects that registers them,
    ``zarr_conventions``, is left out: who saves what was read from Zarr as netCDF could not.
    """
    mapping = next((c.attrs for c in ds.coords.values() if c.attrs.get("crs_wkt")), None)
    if mapping is None:
        return {}
    return {"proj:wkt2": mapping["crs_wkt"], **_placed(ds, mapping)}


def _placed(ds: xr.Dataset, mapping: Mapping[str, Any]) -> Attributes:
    y, x = (_axis(ds, letter) for letter in "YX")
    if y is None or x is None:
        return {}
    # The plane of a satellite's view is counted in radians, and its reference system in metres.
    is_angle = y.attrs.get("units") == "radian"
    unit = float(mapping["perspective_point_height"]) if is_angle else 1.0
    rows, columns = _evenly(y.values * unit), _evenly(x.values * unit)
    if rows is None or columns is None:
        return {}
    (top, down), (left, right) = rows, columns
    ys = sorted((top, _rounded(top + down * y.size)))
    xs = sorted((left, _rounded(left + right * x.size)))
    return {
        "spatial:dimensions": [str(y.name), str(x.name)],
        "spatial:shape": [y.size, x.size],
        "spatial:transform": [right, 0.0, left, 0.0, down, top],
        "spatial:bbox": [xs[0], ys[0], xs[1], ys[1]],
        "spatial:registration": "pixel",
    }


def _evenly(labels: Floats) -> tuple[float, float] | None:
    """Return the outer edge of the first cell, and the step; None where steps differ."""
    if labels.size < 2:
        return None
    first, last = float(labels[0]), float(labels[-1])
    step = (last - first) / (labels.size - 1)
    off = np.abs(labels - (first + step * np.arange(labels.size)))
    if not step or not off.max() <= UNEVEN * abs(step):
        return None
    return _rounded(first - step / 2), _rounded(step)


def _named(ds: xr.Dataset, standard_name: str) -> xr.DataArray | None:
    named = [c for c in ds.coords.values() if c.attrs.get("standard_name") == standard_name]
    return next((coord for coord in named if coord.size), None)


def _axis(ds: xr.Dataset, letter: str) -> xr.DataArray | None:
    axes = (c for name, c in ds.coords.items() if c.dims == (name,))
    return next((coord for coord in axes if coord.attrs.get("axis") == letter), None)


def _range(
    prefix: str, low: float, high: float, units: str, axis: xr.DataArray | None
) -> Attributes:
    found: Attributes = {
        f"{prefix}_min": _rounded(low),
        f"{prefix}_max": _rounded(high),
        f"{prefix}_units": units,
    }
    steps = _evenly(axis.values) if axis is not None and axis.ndim == 1 else None
    if steps is not None and axis is not None and axis.dims == (axis.name,):
        found[f"{prefix}_resolution"] = abs(steps[1])
    return found


def _ends(longitudes: Floats, *, is_axis: bool) -> tuple[float, float]:
    """Return the western and the eastern end of longitudes."""
    if is_axis:
        return float(longitudes.min()), float(longitudes.max())
    seen = longitudes[np.isfinite(longitudes)]
    turned = seen % 360.0
    occupied = np.flatnonzero(np.bincount(turned.astype(int) % 360, minlength=360))
    gaps = np.diff(np.append(occupied, occupied[0] + 360))
    widest = int(gaps.argmax())
    if gaps[widest] <= GAP_DEGREES:
        return float(seen.min()), float(seen.max())
    # Counted from within the gap no longitude is on both sides.
    middle = float(occupied[widest]) + float(gaps[widest]) / 2
    counted = (turned - middle) % 360.0
    return float(seen[counted.argmin()]), float(seen[counted.argmax()])


def _rectangle(south: float, north: float, west: float, east: float) -> str:
    corners = [(south, west), (north, west), (north, east), (south, east)]
    if east < west:  # a polygon goes on beyond the 180th meridian
        corners = [(south, west), (north, west), (north, east + 360), (south, east + 360)]
    return _polygon(corners)


def _outline(latitudes: Floats, longitudes: Floats) -> str | None:
    """Write the outline of a grid of two dims; None where it holds a pole, or cells off Earth."""
    sides = [np.unique(np.linspace(0, n - 1, POINTS_A_SIDE).astype(int)) for n in latitudes.shape]
    (rows, columns), (bottom, right) = sides, (n - 1 for n in latitudes.shape)
    ring = [
        *((row, 0) for row in rows),
        *((bottom, column) for column in columns[1:]),
        *((row, right) for row in rows[::-1][1:]),
        *((0, column) for column in columns[::-1][1:]),
    ]
    places = np.array([(latitudes[at], longitudes[at]) for at in ring], "float64")
    if not np.isfinite(places).all():
        return None
    places[:, 1] = np.unwrap(places[:, 1], period=360.0)
    is_closed = abs(places[0, 1] - places[-1, 1]) < 1e-3
    return _polygon([(y, x) for y, x in places[:-1]]) if is_closed else None


def _polygon(corners: list[tuple[float, float]]) -> str:
    ring = [f"{_rounded(y):.10g} {_rounded(x):.10g}" for y, x in [*corners, corners[0]]]
    return f"POLYGON(({', '.join(ring)}))"


def _rounded(value: float) -> float:
    """Round to what other machines' arithmetic gives, too: a micrometre, and far below a cell."""
    return round(float(value), 6)
