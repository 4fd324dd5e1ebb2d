"""Read one variable of a netCDF file into a numpy array, with netCDF4 and without xarray.

Large deflated chunks are inflated by libdeflate; and where all of a variable is wanted, the file
need not be opened as netCDF at all. Together they halve the time.

Covers: packing, missing values, part of a variable, variables in groups; what the file says of the
variable's axes, time and units is told to who observes (`gridmill.sources.evidence`). Does not
cover: giving coordinates, character and compound types, remote files (see
`gridmill.sources.fetch.download`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gridmill.model.epochs import NETCDF_READING, stage
from gridmill.sources.evidence.netcdf import (
    KEPT,
    Description,
    Place,
    describe_hdf5,
    describe_netcdf4,
    labels_netcdf4,
)
from gridmill.sources.evidence.observed import Evidence, dtype_made, is_observed, observe
from gridmill.sources.hdf5_chunks import read_deflated, read_whole
from gridmill.sources.selecting import Labels, positions_of
from gridmill.sources.wholeness import lacks

__all__ = ["netcdf_variables", "read_netcdf"]

PACKING = ("scale_factor", "add_offset")
# Up to here float64 holds every whole number.
EXACT = 2**53
# The HDF5 library in netCDF4's wheels is not thread-safe, and netCDF4 releases the GIL.
_LIBRARY_LOCK = threading.Lock()


@stage(NETCDF_READING)
def read_netcdf(
    path: Path,
    variable: str | Sequence[str],
    *,
    index: Mapping[str, int | slice] | None = None,
    select: Mapping[str, Labels] | None = None,
    dims: Sequence[str] | None = None,
    dtype: npt.DTypeLike | None = None,
) -> np.ndarray:
    """Read a variable's physical values.

    Parameters
    ----------
    path
        A netCDF-3 or netCDF-4 file.
    variable
        Name of the variable; in a group, `"group/name"`. Of several names, as
        `DataVar.names_in_source` has them, the first that the file has.
    index
        What to read, by dimension: a position, which drops the dimension, or a slice. Dimensions
        that are not named are read whole.
    select
        What to read by labels, by dimension: numbers that the dimension's coordinate has in the
        file, in its units. One drops the dimension; several are read in this order, such as the 13
        levels of an archive from a file's 60. What else the file has there is not read.
    dims
        The order of the file's dimensions in the result, without those that are dropped; None
        takes the file's. What is turned so is compared as any other; what ``.T`` turns is not.
    dtype
        Numeric dtype of the result. Values are unpacked (`scale_factor`, `add_offset`) in the
        precision of these attributes and then cast. None takes float32 where a run reads for a
        variable of that dtype, or of less. Else it loses nothing: floating point stays as it is,
        and integers become float32 up to 16 bits, else float64.

    Returns
    -------
    numpy.ndarray
        Dims in the order of `dims`, less those that are dropped; units as in the file; C
        contiguous. NaN is a missing value: `_FillValue`, `missing_value`, netCDF's default fill,
        or outside `valid_range`, `valid_min` and `valid_max`.

    Raises
    ------
    ValueError
        The file has no such variable, the variable has no such dimension, a label to `select` is
        not in the file, a dimension is in `index` and in `select`, `dims` are not its own,
        it is not numeric, it is packed by what is no number, an integer dtype was asked for and a
        value is missing, or none was asked for and float64 does not hold an integer.
    IndexError
        A position lies outside its dimension.
    OSError
        The file does not exist, is not a netCDF file, or is shorter than its header says.
    ImportError
        netCDF4 is not installed.

    Notes
    -----
    Safe to call from several threads, which take turns: one HDF5 call at a time per process. The
    turn is not shared with xarray or others who use HDF5 in the same process. To decode in
    parallel use processes.
    """
    variable = _named(path, variable)
    read = None if index or select or dims else _read_whole(path, variable)
    order: tuple[int, ...] | None = None
    if read is None:
        with _open(path) as file:
            stored = _find_variable(file, path, variable)
            places = _places(stored, path, variable, index or {}, select or {})
            described = describe_netcdf4(stored, places) if is_observed() else None
            read = _read(stored, path, variable, places), described
            order = _order(stored, path, variable, places, dims)
    values, described = read
    if order is not None:
        values = values.transpose(order)
    wanted = _default(values, path, variable) if dtype is None else np.dtype(dtype)
    plain = _plain_array(values, path, variable, wanted)
    if described is not None:
        if order is not None:
            described = replace(described, axes=tuple(described.axes[at] for at in order))
        observe(Evidence(variable=variable, values=plain, **vars(described)))
    return plain


def netcdf_variables(path: Path) -> tuple[str, ...]:
    """Names of a file's variables, in the file's order; those in groups as `"group/name"`.

    Raises
    ------
    OSError
        The file does not exist, or is not a netCDF file.
    ImportError
        netCDF4 is not installed.
    """
    with _open(path) as file:
        return tuple(_variable_names(file))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    netcdf4 = _import_netcdf4(path)
    with _LIBRARY_LOCK, netcdf4.Dataset(path) as file:
        if file.data_model.startswith("NETCDF3"):
            _check_whole(path)
        yield file


def _check_whole(path: Path) -> None:
    """Raise where the library would read values of the classic format that are not there."""
    with path.open("rb") as file:
        lacking = lacks(file, path.stat().st_size)
    if lacking:
        raise OSError(f"{path} is not whole: {lacking}; fetch it again")


def _import_netcdf4(path: Path) -> Any:
    try:
        import netCDF4
    except ImportError as e:
        raise ImportError(
            f"reading {path} needs netCDF4, which is not installed; run: "
            "pip install 'gridmill[netcdf]'"
        ) from e
    return netCDF4


def _variable_names(group: Any, prefix: str = "") -> Iterator[str]:
    yield from (prefix + name for name in group.variables)
    for name, child in group.groups.items():
        yield from _variable_names(child, f"{prefix}{name}/")


def _named(path: Path, names: str | Sequence[str]) -> str:
    """Return the first of several names that a file has; the first where it has none."""
    first, *others = (names,) if isinstance(names, str) else names
    if not others:
        return first
    there = netcdf_variables(path)
    found = next((name for name in (first, *others) if name in there), None)
    if found is None:
        raise ValueError(
            f"{path} has none of the variables {', '.join((first, *others))}; name one of those it "
            f"has: {', '.join(there) or 'none'}"
        )
    return found


def _find_variable(file: Any, path: Path, variable: str) -> Any:
    names = list(_variable_names(file))
    if variable not in names:
        raise ValueError(
            f"{path} has no variable {variable!r}; name one of those it has: "
            f"{', '.join(names) or 'none'}"
        )
    return file[variable]


def _read_whole(path: Path, variable: str) -> tuple[Any, Description | None] | None:
    """Read a variable without opening the file as netCDF; None where that must be done."""
    describe = describe_hdf5 if is_observed() else None
    default_fills = _import_netcdf4(path).default_fillvals
    with _LIBRARY_LOCK:
        found = read_whole(path, variable, describe)
    if found is None:
        return None
    values, attributes, described = found
    fill = np.array(attributes.get("_FillValue", default_fills[values.dtype.str[1:]]), values.dtype)
    is_missing = np.isnan(values) if np.isnan(fill) else values == fill
    meant = np.ma.masked_array(values, is_missing) if is_missing.any() else values
    return _unpacked(meant, *(attributes.get(name) for name in PACKING)), described


def _places(
    stored: Any,
    path: Path,
    variable: str,
    index: Mapping[str, int | slice],
    select: Mapping[str, Labels],
) -> dict[str, Place]:
    """Return what is read, by dimension: labels become positions."""
    if twice := sorted(index.keys() & select.keys()):
        raise ValueError(f"{', '.join(twice)} of {variable!r} is in index and in select: take one")
    labels = {dim: labels_netcdf4(stored, dim) for dim in select if dim in stored.dimensions}
    chosen = {
        dim: positions_of(wanted, labels[dim], dim, str(path)) if dim in labels else 0
        for dim, wanted in select.items()
    }
    return {**index, **chosen}


def _read(stored: Any, path: Path, variable: str, index: dict[str, Place]) -> Any:
    """Read what is there: several positions of a dimension run by run, as they lie in the file."""
    several = [(dim, at) for dim, at in index.items() if isinstance(at, np.ndarray)]
    if not several:
        return _read_part(stored, path, variable, cast("dict[str, int | slice]", index))
    dim, positions = several[0]
    left = [d for d in stored.dimensions if isinstance(index.get(d, slice(None)), KEPT)]
    order, axis = np.argsort(positions), left.index(dim)
    rising = positions[order]
    # A chunk is unpacked once, however many of its positions are asked for.
    chunks = stored.chunking()
    step = chunks[stored.dimensions.index(dim)] if isinstance(chunks, list | tuple) else 1
    is_apart = (np.diff(rising) > 1) & (np.diff(rising // step) != 0)
    runs = [run for run in np.split(rising, np.flatnonzero(is_apart) + 1) if run.size]
    parts = [
        _read(stored, path, variable, {**index, dim: slice(int(run[0]), int(run[-1]) + 1)}).take(
            run - run[0], axis=axis
        )
        for run in runs
    ] or [_read(stored, path, variable, {**index, dim: slice(0, 0)})]
    read = parts[0]
    if len(parts) > 1:
        read = np.ma.concatenate(parts, axis=axis)  # type: ignore[no-untyped-call]
    return read if (np.diff(order) > 0).all() else read.take(np.argsort(order), axis=axis)


def _read_part(stored: Any, path: Path, variable: str, index: dict[str, int | slice]) -> Any:
    if unknown := sorted(index.keys() - set(stored.dimensions)):
        raise ValueError(
            f"{variable!r} in {path} has no dimension {', '.join(map(repr, unknown))}; index by "
            f"those it has: {', '.join(stored.dimensions) or 'none'}"
        )
    if not isinstance(stored.dtype, np.dtype) or stored.dtype.kind not in "iuf":
        raise ValueError(
            f"{variable!r} in {path} is of type {stored.dtype}, and only numbers can be read; "
            "choose a numeric variable"
        )
    _check_packing(stored, path, variable)
    for dim, position in index.items():
        _check_position(position, dim, stored.shape[stored.dimensions.index(dim)], path, variable)
    stored.set_auto_maskandscale(True)
    at = tuple(index.get(dim, slice(None)) for dim in stored.dimensions)
    found = _read_deflated(stored, path, variable, at)
    if found is None:
        return stored[at or ...]
    return _unpacked(stored._toma(found), *(getattr(stored, name, None) for name in PACKING))


def _order(
    stored: Any,
    path: Path,
    variable: str,
    index: Mapping[str, Place],
    dims: Sequence[str] | None,
) -> tuple[int, ...] | None:
    """Return where each wanted dim is among those that are left; None for the file's own order."""
    left = [dim for dim in stored.dimensions if isinstance(index.get(dim, slice(None)), KEPT)]
    if dims is None or left == list(dims):
        return None
    if sorted(left) != sorted(dims):
        raise ValueError(
            f"{variable!r} in {path} has the dimensions {', '.join(left)}, and "
            f"{', '.join(dims)} are asked for; name each once"
        )
    return tuple(left.index(dim) for dim in dims)


def _read_deflated(
    stored: Any, path: Path, variable: str, at: tuple[int | slice, ...]
) -> np.ndarray | None:
    """Read stored values faster than HDF5 does; None where only it can read them."""
    filters = stored.filters()  # None in netCDF-3
    if not filters or not filters["zlib"] or not hasattr(stored, "_toma"):
        return None
    packing = [np.asarray(getattr(stored, name, 0)) for name in PACKING]
    if any(value.ndim or value.dtype.kind not in "iuf" for value in packing):
        return None
    parts = [
        slice(*one.indices(n)) if isinstance(one, slice) else slice(one % n, one % n + 1, 1)
        for one, n in zip(at, stored.shape, strict=True)
    ]
    if any(part.step != 1 or part.stop <= part.start for part in parts):
        return None
    found = read_deflated(path, variable, stored.shape, parts)
    dropped = tuple(axis for axis, one in enumerate(at) if not isinstance(one, slice))
    return None if found is None else found.squeeze(dropped)


def _unpacked(values: Any, scale: Any, offset: Any) -> Any:
    """Unpack stored values as netCDF4 does those that it reads itself."""
    if scale is not None and offset is not None:
        is_packed = scale != 1 or offset != 0
        return values * scale + offset if is_packed else values.astype(np.asarray(scale).dtype)
    if scale is not None and scale != 1:
        return values * scale
    return values if offset is None or offset == 0 else values + offset


def _check_packing(stored: Any, path: Path, variable: str) -> None:
    for name in PACKING:
        value = np.asarray(getattr(stored, name, 1.0))
        # netCDF4 itself would warn, and give what is stored for what is meant.
        if value.size != 1 or value.dtype.kind not in "iuf":
            raise ValueError(
                f"{variable!r} in {path} has {name}={getattr(stored, name)!r}, which is no number: "
                "what its values mean is not known"
            )


def _check_position(
    position: int | slice, dim: str, length: int, path: Path, variable: str
) -> None:
    # Along an unlimited dimension netCDF4 itself would give fill values.
    if not isinstance(position, slice) and not -length <= position < length:
        raise IndexError(
            f"position {position} of {variable!r} in {path} is outside dimension {dim!r}, which "
            f"has length {length}"
        )


def _default(values: Any, path: Path, variable: str) -> np.dtype:
    """Return the dtype that is read where none is asked for."""
    made = dtype_made()
    if made is not None and made.kind == "f" and made.itemsize <= 4:
        return np.dtype("float32")
    return _lossless(values, path, variable)


def _lossless(values: Any, path: Path, variable: str) -> np.dtype:
    """Return the floating-point dtype that holds all of these values."""
    dtype: np.dtype = values.dtype
    if dtype.kind == "f":
        return dtype.newbyteorder("=")
    if dtype.itemsize > 4:
        known = np.ma.getdata(values)[~np.ma.getmaskarray(values)]
        if known.size and not -EXACT <= int(known.min()) <= int(known.max()) <= EXACT:
            raise ValueError(
                f"{variable!r} in {path} has whole numbers beyond 2^53, which float64 cannot hold; "
                f"read it with dtype={dtype.name!r}"
            )
    return np.dtype("float32" if dtype.itemsize <= 2 else "float64")


def _plain_array(values: Any, path: Path, variable: str, dtype: np.dtype) -> np.ndarray:
    plain = np.ascontiguousarray(np.ma.getdata(values), dtype=dtype)
    # ascontiguousarray makes a scalar one-dimensional.
    plain = plain.reshape(np.shape(values))
    if not plain.flags.writeable:  # a single missing value is numpy's constant for that
        plain = plain.copy()
    mask = np.ma.getmask(values)
    if not np.any(mask):
        return plain
    if dtype.kind != "f":
        raise ValueError(
            f"{variable!r} in {path} has missing values, which {dtype} cannot hold; read it as "
            "float32 or float64"
        )
    plain[mask] = np.nan
    return plain
