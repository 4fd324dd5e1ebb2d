"""Packs values into integers and unpacks them, as CF 8.1 has it. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gridmill.authoring.transforms.blocks import BoolArray, Float64Array, FloatArray
from gridmill.model.epochs import PACKING, stage
from gridmill.model.variables import Encoding, whole_range

__all__ = ["cannot_be_packed", "pack", "unpack"]

# As of the other transforms: the block and its scratch stay in the CPU's cache.
BLOCK_ELEMENTS = 65_536


@stage(PACKING)
def pack(
    values: FloatArray, encoding: Encoding
) -> tuple[npt.NDArray[np.integer[Any]], BoolArray | None]:
    """Pack values as an encoding says; they are rounded to the nearest that can be stored.

    Parameters
    ----------
    values
        Any dims; in the units of the variable, NaN being a missing value. Not changed.
    encoding
        A packed one.

    Returns
    -------
    stored : numpy.ndarray
        Dims as `values`, of the encoding's dtype; `fill_value` where there is none.
    refused : numpy.ndarray of bool or None
        Where a value is beyond what can be stored, or would be stored as `fill_value`; it is
        stored as missing. None if that is nowhere.

    Examples
    --------
    >>> tenths = Encoding(chunks=(3,), dtype="int8", scale_factor=0.1, fill_value=-128)
    >>> stored, refused = pack(np.array([1.24, np.nan, 99.0]), tenths)
    >>> stored.tolist(), refused.tolist()
    ([12, -128, -128], [False, False, True])
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    stored = np.empty(flat.shape, encoding.dtype)
    refused: BoolArray | None = None
    for first in range(0, flat.size, BLOCK_ELEMENTS):
        at = slice(first, first + BLOCK_ELEMENTS)
        numbers = _numbers(flat[at], encoding)
        is_held = _is_held(numbers, encoding)
        is_refused = ~(is_held | np.isnan(flat[at]))
        numbers[~is_held] = encoding.fill
        stored[at] = numbers
        if is_refused.any():
            refused = np.zeros(flat.shape, bool) if refused is None else refused
            refused[at] = is_refused
    shape = values.shape
    return stored.reshape(shape), None if refused is None else refused.reshape(shape)


def unpack(stored: npt.NDArray[Any], encoding: Encoding) -> Float64Array:
    """Unpack stored values as readers do; NaN where nothing is stored.

    Examples
    --------
    >>> tenths = Encoding(chunks=(3,), dtype="int8", scale_factor=0.1, fill_value=-128)
    >>> unpack(np.array([12, -128], "int8"), tenths).round(6).tolist()
    [1.2, nan]
    """
    values = stored.astype("float64")
    values[stored == encoding.fill] = np.nan
    values *= encoding.scale
    values += encoding.offset
    return values


def cannot_be_packed(value: Any, encoding: Encoding, name: str) -> str:
    """Say why a value of a variable is refused, and what to do.

    Examples
    --------
    >>> tenths = Encoding(chunks=(3,), dtype="int8", scale_factor=0.1, fill_value=-128)
    >>> cannot_be_packed(99.0, tenths, "rain")
    'rain: 99.0 cannot be packed into int8 with scale_factor 0.1, which takes -12.7 to 12.7, \
-128 being missing; declare another scale_factor, add_offset or dtype'
    """
    low, high = whole_range(encoding.dtype)
    low, high = low + (encoding.fill == low), high - (encoding.fill == high)
    ends = sorted(end * encoding.scale + encoding.offset for end in (low, high))
    offset = "" if encoding.add_offset is None else f" and add_offset {encoding.add_offset}"
    return (
        f"{name}: {value!s} cannot be packed into {encoding.dtype} with scale_factor "
        f"{encoding.scale}{offset}, which takes {ends[0]:g} to {ends[1]:g}, {encoding.fill} being "
        "missing; declare another scale_factor, add_offset or dtype"
    )


def _numbers(values: npt.NDArray[Any], encoding: Encoding) -> Float64Array:
    """Return what values would be stored as, before it is known whether they can be."""
    with np.errstate(over="ignore"):
        numbers = values.astype("float64")
        numbers -= encoding.offset
        numbers /= encoding.scale
    np.rint(numbers, out=numbers)
    return numbers


def _is_held(numbers: Float64Array, encoding: Encoding) -> BoolArray:
    low, high = whole_range(encoding.dtype)
    is_held: BoolArray = (numbers >= low) & (numbers <= high) & (numbers != encoding.fill)
    return is_held
