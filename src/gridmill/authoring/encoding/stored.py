"""The encoding that an array of an archive is stored with, from its metadata. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gridmill.model.variables import Encoding

__all__ = ["stored_encoding"]

Metadata = Mapping[str, Any]


def stored_encoding(
    array: Metadata, *, units: str | None = None, calendar: str | None = None
) -> Encoding:
    """Return the encoding with which an array's metadata were written.

    Parameters
    ----------
    array
        Zarr v3 array metadata.
    units, calendar
        Of a time coordinate.

    Raises
    ------
    ValueError, TypeError, LookupError
        No `Encoding` gives these.

    Examples
    --------
    >>> little = {"name": "bytes", "configuration": {"endian": "little"}}
    >>> stored_encoding(
    ...     {
    ...         "data_type": "int16",
    ...         "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [24]}},
    ...         "fill_value": -1,
    ...         "codecs": [little, {"name": "crc32c"}],
    ...         "attributes": {"scale_factor": 0.1, "_FillValue": -1},
    ...     }
    ... )  # doctest: +NORMALIZE_WHITESPACE
    Encoding(chunks=(24,), shards=None, dtype='int16', fill_value=-1, compressors=(),
             checksum=True, units=None, calendar=None, scale_factor=0.1, add_offset=None,
             fill_is_missing=True, index_location='end')
    """
    if array["chunk_grid"]["name"] != "regular" or not isinstance(array["data_type"], str):
        raise ValueError("only regular grids of plain numbers are an Encoding's")
    dtype = np.dtype(array["data_type"])
    whole = tuple(array["chunk_grid"]["configuration"]["chunk_shape"])
    codecs, chunks, shards, location = array["codecs"], whole, None, "end"
    if codecs[0]["name"] == "sharding_indexed":
        inner = codecs[0]["configuration"]
        codecs, chunks, shards = inner["codecs"], tuple(inner["chunk_shape"]), whole
        location = inner.get("index_location", "end")
    if codecs[0]["name"] != "bytes":
        raise ValueError(f"codec {codecs[0]['name']} stands where bytes are expected")
    checksum = codecs[-1]["name"] == "crc32c"
    compressors = codecs[1 : len(codecs) - checksum]
    attributes = array.get("attributes") or {}
    fill_value = _fill_value(array["fill_value"], dtype)
    is_missing = dtype.kind == "f" or "_FillValue" in attributes
    if dtype.kind != "f" and is_missing and attributes["_FillValue"] != fill_value:
        raise ValueError(f"fill value {fill_value} is not the attribute _FillValue")
    return Encoding(
        chunks=chunks,
        shards=shards,
        dtype=dtype.name,
        fill_value=fill_value,
        compressors=tuple(_without_typesize(codec, dtype) for codec in compressors),
        checksum=checksum,
        units=units,
        calendar=calendar,
        scale_factor=attributes.get("scale_factor"),
        add_offset=attributes.get("add_offset"),
        fill_is_missing=is_missing,
        index_location=location,
    )


def _fill_value(stored: Any, dtype: np.dtype[Any]) -> Any:
    """Read a fill value from JSON; None for NaN, which is the default."""
    if dtype.kind != "f":
        return stored
    value = float(stored)
    return None if math.isnan(value) else value


def _without_typesize(codec: Metadata, dtype: np.dtype[Any]) -> Metadata:
    """Leave out what zarr adds of itself, as in what authors declare."""
    configuration = codec.get("configuration", {})
    if codec["name"] != "blosc" or configuration.get("typesize") != dtype.itemsize:
        return codec
    kept = {key: value for key, value in configuration.items() if key != "typesize"}
    return {**codec, "configuration": kept}
