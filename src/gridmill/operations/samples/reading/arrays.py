"""What netCDF, HDF5, Zarr and GeoTIFF files hold: names, labels and attributes, no field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gridmill.operations.samples.facts import ArrayAxis, ArraySample, ArrayVariable, Sample

__all__ = ["read_array_sample"]

# Labels of one coordinate; of more, it is a field (latitudes of a swath), read as any other.
MOST_LABELS = 16_000_000
TIME_NAMES = ("time", "valid_time", "date", "t")


def read_array_sample(sample: Sample) -> ArraySample:
    """Read what a file of arrays says.

    Raises
    ------
    ValueError
        It cannot be opened, or has no variable on a grid.
    """
    try:
        with _opened(sample) as (ds, group):
            return _described(sample, ds, group)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{sample.name} cannot be read: {error}") from error


@contextmanager
def _opened(sample: Sample) -> Iterator[tuple[Any, str]]:
    """Open a file with xarray, lazily; and the group that has the variables."""
    import xarray as xr

    if sample.kind == "geotiff":
        from gridmill.operations.samples.reading.geotiff import raster_dataset

        yield raster_dataset(sample), ""
        return
    if sample.kind == "zarr":
        with xr.open_zarr(sample.path) as ds:
            yield ds, ""
        return
    group = _main_group(sample)
    with xr.open_dataset(sample.path, engine="netcdf4", group=group or None) as ds:
        yield ds, group


def _main_group(sample: Sample) -> str:
    """Return the group with the most variables of two dims or more; the root where it has any."""
    import netCDF4

    counts: dict[str, int] = {}
    with netCDF4.Dataset(sample.path) as file:
        pending = [("", file)]
        while pending:
            name, group = pending.pop()
            counts[name] = sum(var.ndim >= 2 for var in group.variables.values())
            pending += [(f"{name}/{key}".strip("/"), sub) for key, sub in group.groups.items()]
    return "" if counts[""] else max(counts, key=lambda name: (counts[name], -len(name)))


def _described(sample: Sample, ds: Any, group: str) -> ArraySample:
    time_dim, times, calendar = _times_of(ds)
    bounds = {var.attrs.get("bounds", var.encoding.get("bounds")) for var in ds.variables.values()}
    variables, left_out = [], []
    for name, var in ds.data_vars.items():
        if name in bounds or "grid_mapping_name" in var.attrs or var.ndim < 1:
            continue
        if reason := _reason(var, time_dim):
            left_out.append(f"{name}: {reason}")
            continue
        variables.append(_variable(str(name), var))
    if not variables:
        raise ValueError(
            f"{sample.name} has no variable of numbers on a grid: "
            f"{'; '.join(left_out) or 'it has ' + (', '.join(map(str, ds.variables)) or 'none')}"
        )
    used = {dim for var in variables for dim in var.dims}
    return ArraySample(
        sample=sample,
        variables=tuple(variables),
        axes=dict(_axes(ds, used)),
        times=times,
        time_dim=time_dim,
        calendar=calendar,
        mappings=dict(_mappings(ds)),
        is_forecast=_has_reference_time(ds),
        group=group,
        left_out=tuple(left_out),
    )


def _variable(name: str, var: Any) -> ArrayVariable:
    return ArrayVariable(
        name=name,
        dims=tuple(map(str, var.dims)),
        shape=tuple(var.shape),
        dtype=str(var.encoding.get("dtype", var.dtype)),
        attrs=dict(var.attrs),
        encoding=dict(var.encoding),
    )


def _reason(var: Any, time_dim: str | None) -> str | None:
    """Say why a variable is not taken."""
    if var.dtype.kind in "Mm":
        return "times, which no archive stores as a field"
    if var.dtype.kind not in "iufb":
        return f"of type {var.dtype}, and only numbers are archived"
    if time_dim is not None and time_dim not in var.dims:
        return "without the dim of time: declare it as a static variable"
    if not set(var.dims) - {time_dim} or 0 in var.shape:
        return "not on a grid"
    return None


def _times_of(ds: Any) -> tuple[str | None, list[Any], str]:
    """Return the dim of time, the times as datetimes, and their calendar."""
    named = [c for c in ds.coords if _is_time(ds[c])]
    named.sort(key=lambda name: (ds[name].ndim != 1, _rank(str(name))))
    for name in named:
        coord = ds[name]
        if coord.ndim > 1 or coord.size == 0:
            continue
        dim = str(coord.dims[0]) if coord.ndim else None
        times, calendar = _as_dates(coord)
        return dim, times, calendar
    return None, [], "proleptic_gregorian"


def _rank(name: str) -> int:
    return TIME_NAMES.index(name) if name in TIME_NAMES else len(TIME_NAMES)


def _is_time(coord: Any) -> bool:
    if coord.attrs.get("standard_name") == "forecast_reference_time":
        return False
    first = coord.values.flat[0] if coord.dtype.kind == "O" and coord.size else None
    return coord.dtype.kind == "M" or hasattr(first, "calendar")


def _as_dates(coord: Any) -> tuple[list[Any], str]:
    values = np.atleast_1d(coord.values)
    if values.dtype.kind == "M":
        whole = values.astype("datetime64[us]")
        return [one for one in whole.tolist() if one is not None], "proleptic_gregorian"
    return list(values), str(values[0].calendar)


def _axes(ds: Any, used: set[str]) -> Iterator[tuple[str, ArrayAxis]]:
    for name, coord in ds.coords.items():
        is_taken = set(coord.dims) <= used and coord.ndim and coord.size <= MOST_LABELS
        if is_taken and coord.dtype.kind in "iufMm":
            yield (
                str(name),
                ArrayAxis(
                    name=str(name),
                    dims=tuple(map(str, coord.dims)),
                    values=coord.values,
                    attrs=_plain(coord.attrs),
                ),
            )


def _mappings(ds: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the attributes of grid mappings, by the name of their variable."""
    for name, var in ds.variables.items():
        if "grid_mapping_name" in var.attrs:
            yield str(name), {key: _number(one) for key, one in var.attrs.items()}


def _number(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def _has_reference_time(ds: Any) -> bool:
    return any(
        var.attrs.get("standard_name") == "forecast_reference_time" for var in ds.variables.values()
    )


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if isinstance(value, str)}
