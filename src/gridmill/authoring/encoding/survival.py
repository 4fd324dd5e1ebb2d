"""Whether what a dataset declares survives being stored: labels their encoding, attributes JSON.

What an encoding cannot hold is otherwise cast: seconds in int32 end in 2038 and begin again in
1901, leads beyond 127 hours become negative in int8. Readers then see other labels, and nobody is
told.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.transforms.packing import cannot_be_packed, pack
from gridmill.model.variables import Coordinate, DataVar
from gridmill.sources.evidence.dates import are_same_calendar

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig

__all__ = ["check_coordinates", "check_new", "check_order", "differing", "doubts"]

# What floating point may lose of a number that is no label of time: single precision.
LOSS = 1e-6
# CF says by these how stored values are decoded; they belong to the encoding.
DECODING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "dtype")


def check_coordinates(config: TemplateConfig, ds: xr.Dataset) -> None:
    """Raise unless every label of a template is read as it is declared.

    Parameters
    ----------
    config
        Declares how coordinates are stored; remembers how far it was looked at.
    ds
        The template.

    Raises
    ------
    ValueError
        A label that its coordinate's dtype, units or calendar cannot hold: the first one is named.
    """
    dim = config.append_dim
    for coord in config.coords:
        if coord in shares_of(config.coords):
            continue
        labels, stored = ds[coord.name].variable, _as_stored(coord)
        first = str(config.append_dim_start)
        key = (coord.name, first, stored.dtype, stored.units, stored.calendar)
        known = config.labels_checked.get(key)
        if dim in labels.dims:
            _check_labels(coord, labels.isel({dim: slice(known or 0, None)}))
        elif known is None:
            _check_labels(coord, labels)
        config.labels_checked[key] = ds.sizes[dim]


def check_order(config: TemplateConfig, index: pd.Index[Any]) -> None:
    """Raise unless the labels of the append dim strictly increase.

    A position is told by its label: of one that is there twice, or that comes before an earlier
    one, nobody knows which source file fills it.

    Raises
    ------
    ValueError
        They do not: the first one that does not is named.
    """
    if index.is_monotonic_increasing and index.is_unique and not index.hasnans:
        return
    number, label = next(
        (at, label)
        for at, label in enumerate(index)
        if pd.isna(label) or (at and not label > index[at - 1])
    )
    before = f" comes after {index[number - 1]}" if number else " comes first"
    raise ValueError(
        f"{config.append_dim}: {label}{before}, at position {number}: labels must strictly "
        f"increase; {type(config).__name__}.append_dim_coordinates() has to sort them and to drop "
        "duplicates"
    )


def check_new(config: TemplateConfig) -> None:
    """Raise unless an archive that is about to be made can be read as it is declared, for good.

    One that exists goes on as it was made, see `doubts`: to stop it would help nobody.

    Raises
    ------
    ValueError
        The append dim's last label, at the archive's capacity, cannot be stored; its coordinate has
        another calendar; a time along it has a dtype in which nothing is read as no time; a dim has
        a label twice; an attribute is no strict JSON, or says how
        values are decoded; a fill value is a real value, or there is none where a variable ends;
        values that a variable can have cannot be packed.
    """
    for check in OF_NEW:
        check(config)


def differing(coord: Coordinate, labels: xr.Variable, found: Any) -> Any:
    """Return where labels that were read are not those that are declared, as flat positions.

    Parameters
    ----------
    coord
        Says how they are stored: what floating point rounds is no other label.
    labels
        As declared.
    found
        As readers decode them, of the same shape; None if they cannot.
    """
    return np.flatnonzero(~np.asarray(_same(coord, labels, found)).ravel())


def doubts(config: TemplateConfig) -> list[str]:
    """Say why an archive that exists would not be made today, a line each; see `check_new`."""
    found = []
    for check in OF_NEW:
        try:
            check(config)
        except ValueError as error:
            found.append(f"a new archive would be refused: {error}")
    return found


def _check_labels_once(config: TemplateConfig) -> None:
    """Raise where a dim has a label twice, told to the first one for both, or a place has none."""
    for dim, labels in config.dimension_coordinates().items():
        index = pd.Index(np.asarray(labels))
        if index.hasnans:
            at = int(np.argmax(index.isna()))
            raise ValueError(f"{dim} has no label at position {at}: give each place of a dim one")
        if not index.is_unique:
            raise ValueError(
                f"{dim} has the label {index[index.duplicated()][0]} twice: give each label of a "
                "dim once"
            )


def _check_capacity(config: TemplateConfig) -> None:
    """Try the last label; of an irregular append dim nobody knows it."""
    frequency = config.append_dim_frequency
    coord = next((c for c in config.coords if c.name == config.append_dim), None)
    if frequency is None or coord is None:
        return
    start = config.label(config.append_dim_start)
    # First, since it names a frequency that is none.
    capacity = config.capacity
    config.append_dim_coordinates(config.label(config.append_dim_start))
    step = pd.tseries.frequencies.to_offset(frequency) * max(capacity - 1, 1)
    calendar, use_cftime = config.calendar, not isinstance(start, pd.Timestamp)
    try:
        ends = xr.date_range(
            start, periods=2, freq=step.freqstr, calendar=calendar, use_cftime=use_cftime
        )
    except (OverflowError, ValueError):
        return  # beyond the calendar; how far that is shows when it comes
    labels = xr.Variable(coord.own_dims, ends)
    _check_labels(coord, labels, "; the archive may grow so far (append_dim_capacity)")


def _check_labels(coord: Coordinate, labels: xr.Variable, more: str = "") -> None:
    coord = _as_stored(coord)
    if labels.size == 0 or (labels.dtype.kind in "OSU" and coord.units is None):
        return
    found = _read_back(coord, labels) if coord.units else _cast(coord, labels)
    wrong = differing(coord, labels, found)
    if wrong.size == 0:
        return
    at = int(wrong[0])
    how = f"{coord.dtype}{f' in {coord.units!r}' if coord.units else ''}"
    seen = "nothing that can be decoded" if found is None else str(np.ravel(found)[at])
    raise ValueError(
        f"coordinate {coord.name!r}: {np.ravel(labels.values)[at]} cannot be stored as {how}: "
        f"readers would see {seen}{more}. {_advice(coord)}"
    )


def _as_stored(coord: Coordinate) -> Coordinate:
    """Return a coordinate with the dtype and units by which its archive stores it."""
    stored = coord.as_stored
    if stored is None:
        return coord
    return replace(coord, dtype=stored.dtype, units=stored.units, calendar=stored.calendar)


def _advice(coord: Coordinate) -> str:
    if coord.units:
        return "Declare dtype int64 and units as fine as the labels, like seconds"
    return "Declare dtype float64"


def _read_back(coord: Coordinate, labels: xr.Variable) -> Any:
    """Return the labels as xarray decodes what it stored; None if it does not."""
    encoding = {"dtype": coord.dtype, "units": coord.units, "calendar": coord.calendar}
    given = {key: value for key, value in encoding.items() if value is not None}
    variable = xr.Variable(labels.dims, labels.values, encoding={**given, "_FillValue": None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stored = xr.conventions.encode_cf_variable(variable, name=coord.name)
            # xarray takes finer units where labels need them: the archive could then not go on.
            units = str(stored.attrs.get("units")).partition(" since ")[0]
            is_as_declared = units == str(coord.units).partition(" since ")[0]
            if not is_as_declared or stored.dtype != np.dtype(coord.dtype):
                return None
            use_cftime = labels.dtype.kind == "O"
            coder = xr.coders.CFDatetimeCoder(use_cftime=use_cftime)
            deltas = xr.coders.CFTimedeltaCoder()
            return xr.conventions.decode_cf_variable(
                coord.name, stored, decode_times=coder, decode_timedelta=deltas
            ).values
        except (ValueError, OverflowError, TypeError):
            return None


def _cast(coord: Coordinate, labels: xr.Variable) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return labels.values.astype(coord.dtype)


def _same(coord: Coordinate, labels: xr.Variable, found: Any) -> Any:
    """Whether each label is read as it is; all are not where nothing was."""
    given = labels.values
    if found is None:
        return np.zeros(given.shape, bool)
    if given.dtype.kind != "f" or coord.units:
        return given == found
    loss = LOSS if np.dtype(coord.dtype).kind == "f" else 0.0
    close = np.isclose(given, found.astype("float64"), rtol=loss, atol=0.0, equal_nan=True)
    is_index = coord.own_dims == (coord.name,)
    if is_index and len(np.unique(found)) < len(np.unique(given)):
        return close & False
    return close


# -- attributes ---------------------------------------------------------------------------------


def _check_attributes(config: TemplateConfig) -> None:
    """Other readers cannot open a ``zarr.json`` with NaN or infinity, which are no strict JSON."""
    owners = {
        "dataset_attributes": config.dataset_attributes,
        **{f"coords[{coord.name}].attrs": coord.attrs for coord in config.coords},
        **{f"data_vars[{var.name}].attrs": var.attrs for var in config.data_vars},
    }
    for owner, attrs in owners.items():
        for path, value in _leaves(owner, attrs):
            _check_leaf(path, value)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(
                    f"{path} has the key {key!r}, which is no text: JSON names all by text; write "
                    f"{str(key)!r}"
                )
            yield from _leaves(f"{path}[{key!r}]", item)
    elif isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0:
        for number, item in enumerate(value):
            yield from _leaves(f"{path}[{number}]", item)
    else:
        yield path, value


def _check_leaf(path: str, value: Any) -> None:
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is {value!r}, which is no strict JSON ({error}): other readers could not open "
            "the archive; write it as text, or leave it out"
        ) from error


def _check_calendar(config: TemplateConfig) -> None:
    """Raise where labels of one calendar would be stored as those of another."""
    for coord in config.coords:
        if coord.name != config.append_dim or coord.calendar is None:
            continue
        if not are_same_calendar(coord.calendar, config.calendar):
            raise ValueError(
                f"coordinate {coord.name!r} has calendar {coord.calendar!r}, and the template "
                f"{config.calendar!r}: give both the same"
            )


def _check_packing(config: TemplateConfig) -> None:
    for var in config.data_vars:
        decoding = sorted(set(DECODING) & set(var.attrs))
        if decoding:
            raise ValueError(
                f"attrs of variable {var.name!r} have {decoding}: readers would decode by them "
                "what gridmill stores as it is; leave them out, and give scale_factor, add_offset "
                "and fill_value to its Encoding, which packs"
            )
        _check_missing(var)
        if var.encoding.is_packed and var.valid_range is not None:
            _check_range(var, var.valid_range)


def _check_missing(var: DataVar) -> None:
    """Raise where a real value would be read as missing, or what is missing as a real value."""
    encoding = var.encoding
    part = [
        f"{word} {label}"
        for word, label in (("begins at", var.valid_from), ("ends at", var.valid_until))
        if label is not None
    ]
    if encoding.missing is None and part:
        raise ValueError(
            f"variable {var.name!r} {' and '.join(part)}, and of {encoding.dtype} nothing says "
            f"missing: readers would see {encoding.fill} elsewhere; declare a fill_value that "
            "cannot occur"
        )
    if encoding.fill_value is None or encoding.missing is None or encoding.is_packed:
        return
    low, high = var.valid_range or (0, 0)
    if low <= encoding.fill <= high:
        means = "every real zero" if encoding.fill == 0 else "what valid_range says can occur"
        other = "leave it out, which means NaN, or take" if encoding.is_floating else "take"
        raise ValueError(
            f"variable {var.name!r} has fill_value {encoding.fill}: readers would see {means} as "
            f"missing; {other} a value that cannot occur"
        )


def _check_range(var: DataVar, valid_range: tuple[float, float]) -> None:
    ends = np.array(valid_range, "float64")
    _, refused = pack(ends, var.encoding)
    if refused is not None:
        reason = cannot_be_packed(ends[refused][0], var.encoding, f"valid_range of {var.name!r}")
        raise ValueError(reason)
    missing = var.encoding.fill * var.encoding.scale + var.encoding.offset
    if ends[0] <= missing <= ends[1]:
        raise ValueError(
            f"variable {var.name!r} has fill_value {var.encoding.fill}, which is {missing:g} "
            "unpacked: its valid_range says that this can occur; take a value that cannot"
        )


def _check_no_time(config: TemplateConfig) -> None:
    """Raise where what a reader does not find along the append dim would be read as a date.

    Its cache may be older than the metadata. Of int64 one number is read as no time, without an
    attribute that says so, and NaN of floating point is.
    """
    for coord in config.coords:
        kind = np.dtype(_as_stored(coord).dtype)
        if coord.units is None or config.append_dim not in coord.own_dims:
            continue
        if kind.kind in "iu" and kind != np.int64:
            raise ValueError(
                f"coordinate {coord.name!r}: no number of dtype {kind.name} is read as no time, so "
                f"that a reader who misses a part of it would see dates that are none; declare "
                "dtype int64"
            )


OF_NEW = (
    _check_calendar,
    _check_labels_once,
    _check_attributes,
    _check_packing,
    _check_capacity,
    _check_no_time,
)
