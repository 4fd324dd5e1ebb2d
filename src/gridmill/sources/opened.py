"""Read one variable of what xarray or h5py opened, whatever format that is of.

What it says of the variable's axes, time and units is told to who observes
(`gridmill.sources.evidence`), as `gridmill.read_netcdf` does it for netCDF. Covers netCDF, Zarr,
HDF5, and whatever else xarray opens, decoded or not. Does not cover: opening it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.sources.evidence.labels.text import text_of
from gridmill.sources.evidence.netcdf import MOST_LABELS, TIMES, describe_hdf5
from gridmill.sources.evidence.observed import Axis, Evidence, Field, is_observed, observe
from gridmill.sources.selecting import Labels, positions_of

if TYPE_CHECKING:
    import h5py
    import xarray as xr

__all__ = ["read_h5py", "read_xarray"]

EPOCH = "seconds since 1970-01-01"
FILLS = ("_FillValue", "missing_value")
# Kinds of dtypes that text may have.
TEXT = "SUTO"
MEANING = (*FILLS, "scale_factor", "add_offset")


def read_xarray(
    opened: xr.Dataset | xr.DataArray,
    variable: str | Sequence[str] | None = None,
    *,
    select: Mapping[str, Labels] | None = None,
) -> np.ndarray[Any, Any]:
    """Read a variable's values, and let a run compare the file with the place that it fills.

    Parameters
    ----------
    opened
        What ``xarray.open_dataset`` or ``open_zarr`` gave, or a part of it: what was chosen with
        ``isel`` or ``sel`` keeps its coordinates. A Dataset also tells bounds, and the time of a
        file to which no variable refers.
    variable
        Name of the variable of a Dataset, or several, as `DataVar.names_in_source` has them: the
        first that it has is read; None for a DataArray.
    select
        What to read by labels, by dimension, as for `gridmill.read_netcdf`; what the variable does
        not have is left.

    Returns
    -------
    numpy.ndarray
        Dims, units and dtype as in what was opened; NaN is what xarray takes for missing.

    Raises
    ------
    ValueError
        There is no such variable, it is packed and was opened without unpacking it, or a label is
        not there.

    Notes
    -----
    Safe to call from several threads as far as what opened the file is. Close what you opened: a
    run deletes the file behind it.

    Examples
    --------
    >>> import xarray as xr
    >>> read_xarray(xr.Dataset({"t2m": ("x", [1.0, 2.0])}), "t2m").tolist()
    [1.0, 2.0]
    """
    data = _data_array(opened, variable)
    _check_unpacked(data)
    data = _selected(data, select or {})
    values = np.asarray(data.values)
    if is_observed():
        dataset = opened if variable is not None else data.coords.to_dataset()
        observe(_described(data, values, dataset))
    return values


def read_h5py(stored: h5py.Dataset, selection: Any = ()) -> np.ndarray[Any, Any]:
    """Read a variable's stored values, and let a run compare the file with the place that it fills.

    Parameters
    ----------
    stored
        A dataset of numbers in a file that is open with h5py. Its dimension scales, or the
        datasets beside it that bear the labels of its dimensions, are its axes.
    selection
        What to read, as for ``stored[selection]``: positions and slices; by default all.

    Returns
    -------
    numpy.ndarray
        As ``stored[selection]`` gives it: what is packed, or filled where nothing is known, is
        yours to unpack. `gridmill.read_netcdf` does that for netCDF-4.

    Raises
    ------
    ValueError
        It does not hold numbers, or `selection` has more than positions and slices.

    Examples
    --------
    In `RegionJob.read_data`::

        with h5py.File(coord.downloaded_path) as file:
            return read_h5py(file["Grid/precipitation"], np.s_[0])
    """
    if stored.dtype.kind not in "iuf":
        raise ValueError(
            f"{stored.name!r} in {stored.file.filename} is of type {stored.dtype}, and only "
            "numbers can be read; choose a numeric dataset"
        )
    places = _places(selection, stored.ndim)
    values = np.asarray(stored[places])
    if is_observed():
        described = vars(describe_hdf5(stored, places))
        observe(
            Evidence(variable=stored.name.lstrip("/"), values=_meant(stored, values), **described)
        )
    return values


def _selected(data: Any, select: Mapping[str, Labels]) -> Any:
    """Return what has these labels of its dims."""
    places = {
        dim: positions_of(
            wanted, data[dim].values if dim in data.coords else None, dim, _told(data)
        )
        for dim, wanted in select.items()
        if dim in data.dims
    }
    return data.isel(places) if places else data


def _told(data: Any) -> str:
    """Say what was opened, and from where, as far as xarray knows that."""
    source = data.encoding.get("source")
    return f"{data.name}" if source is None else f"{data.name} of {source}"


def _meant(stored: Any, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what stored values mean by CF: unpacked, NaN where none is known."""
    given = {name: np.asarray(stored.attrs[name]) for name in MEANING if name in stored.attrs}
    known = {n: a for n, a in given.items() if a.size == 1 and a.dtype.kind in "iuf"}
    if not known:
        return values
    fills = [known[name].item() for name in FILLS if name in known]
    meant = values * known.get("scale_factor", 1) + known.get("add_offset", 0)
    return np.where(np.isin(values, fills), np.nan, meant) if fills else meant


def _places(selection: Any, ndim: int) -> tuple[int | slice, ...]:
    """Return what is selected of every dim."""
    given = list(selection) if isinstance(selection, tuple) else [selection]
    if wrong := [
        one for one in given if not isinstance(one, int | np.integer | slice | EllipsisType)
    ]:
        raise ValueError(
            f"read_h5py() selects by positions and slices, not by {wrong[0]!r}; select more of "
            "what it gives"
        )
    rest = [slice(None)] * (ndim - len(given) + given.count(...))
    at = given.index(...) if ... in given else len(given)
    return (*given[:at], *rest, *given[at + 1 :])


def _data_array(opened: Any, variable: str | Sequence[str] | None) -> Any:
    if variable is None:
        if hasattr(opened, "data_vars"):
            names = ", ".join(map(str, opened.data_vars)) or "none"
            raise ValueError(f"read_xarray(Dataset) needs the name of a variable: it has {names}")
        return opened
    asked = (variable,) if isinstance(variable, str) else tuple(variable)
    for name in asked:
        if name in opened.variables:
            return opened[name]
    names, wanted = ", ".join(map(str, opened.variables)) or "none", ", ".join(map(repr, asked))
    raise ValueError(f"there is no variable {wanted}; name one of those it has: {names}")


def _check_unpacked(data: Any) -> None:
    packed = [name for name in ("scale_factor", "add_offset") if name in data.attrs]
    if packed:
        raise ValueError(
            f"{data.name!r} is packed ({packed[0]}={data.attrs[packed[0]]!r}), and was opened "
            "without unpacking it; open it with mask_and_scale=True"
        )


def _described(data: Any, values: np.ndarray[Any, Any], dataset: Any) -> Evidence:
    axes = tuple(_axis_along(dim, data, dataset) for dim in data.dims)
    single = [c for c in data.coords.values() if c.name not in data.dims and c.size == 1]
    scalars = {str(coord.name): _axis(coord, dataset) for coord in single}
    if not any(axis.is_time for axis in (*axes, *scalars.values())):
        others = (_axis(dataset[name], dataset) for name in _times(dataset, data))
        scalars |= {axis.name: axis for axis in others if axis.is_time}
    return Evidence(
        variable=str(data.name),
        values=values,
        axes=axes,
        scalars=scalars,
        units=_text(data.attrs.get("units")),
        fields=tuple(_fields(data)),
    )


def _times(dataset: Any, data: Any) -> list[str]:
    """Name a file's times of one value to which the variable does not refer."""
    there = (name for name in TIMES if name in dataset.variables and name not in data.dims)
    return [name for name in there if dataset[name].size == 1]


def _fields(data: Any) -> Iterator[Field]:
    for coord in data.coords.values():
        if coord.ndim == 2 and coord.dtype.kind == "f" and coord.size <= MOST_LABELS:
            yield Field(
                name=str(coord.name),
                dims=(str(coord.dims[0]), str(coord.dims[1])),
                values=coord.values,
                units=_text(coord.attrs.get("units")),
                standard_name=_text(coord.attrs.get("standard_name")),
            )


def _axis_along(dim: Any, data: Any, dataset: Any) -> Axis:
    """Return the coordinate of a dim; without one, the only text that names its positions."""
    if dim in data.coords:
        return _axis(data.coords[dim], dataset)
    beside = (one for one in data.coords.values() if one.dims == (dim,) and one.dtype.kind in TEXT)
    axes = [_axis(coord, dataset) for coord in beside]
    texts = [axis for axis in axes if axis.values is not None and axis.values.dtype.kind == "O"]
    return replace(texts[0], is_auxiliary=True) if len(texts) == 1 else Axis(name=str(dim))


def _axis(coord: Any, dataset: Any) -> Axis:
    if coord.ndim > 1 or coord.size > MOST_LABELS:
        return Axis(name=str(coord.name))
    values, units, calendar = _numbers(coord)
    named = coord.attrs.get("bounds", coord.encoding.get("bounds"))
    bounds = dataset[named] if named in dataset.variables else None
    is_bounds = bounds is not None and bounds.shape == (*coord.shape, 2)
    return Axis(
        name=str(coord.name),
        values=values,
        units=units,
        standard_name=_text(coord.attrs.get("standard_name")),
        calendar=calendar,
        bounds=_numbers(bounds, units, calendar)[0] if is_bounds else None,
    )


def _numbers(
    coord: Any, units: str | None = None, calendar: str | None = None
) -> tuple[np.ndarray[Any, Any] | None, str | None, str | None]:
    """Return a coordinate's values as numbers, with their units and calendar.

    Dates and spans of time that xarray decoded are told in seconds.
    """
    values = np.asarray(coord.values)
    if values.dtype.kind == "M":
        return _seconds(values - np.datetime64(0, "s")), EPOCH, "proleptic_gregorian"
    if values.dtype.kind == "m":
        return _seconds(values), "seconds", None
    if values.dtype.kind == "O" and values.size and hasattr(values.flat[0], "calendar"):
        import cftime

        named = values.flat[0].calendar
        numbers = cftime.date2num(values.ravel(), EPOCH, calendar=named)
        return np.asarray(numbers, "float64").reshape(values.shape), EPOCH, named
    if values.dtype.kind in TEXT:
        read = text_of(values)
        return (None if read is None else read[0]), None, None
    if values.dtype.kind not in "iuf":
        return None, _text(coord.attrs.get("units")), None
    return (
        values,
        units or _text(coord.attrs.get("units")),
        calendar or _text(coord.attrs.get("calendar")),
    )


def _seconds(spans: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(spans / np.timedelta64(1, "s"), "float64")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
