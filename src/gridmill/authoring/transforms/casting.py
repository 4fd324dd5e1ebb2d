"""Puts values into an array of another dtype, unless they would become others. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_array", "cast_into"]


def as_array(found: Any, name: str) -> np.ndarray[Any, Any]:
    """Return what a reader gives as an array of numbers; what is masked becomes NaN.

    Raises
    ------
    ValueError
        It gives nothing, or no numbers.
    """
    if found is None:
        raise ValueError(f"{name}: read_data() returns None: return the array")
    # As netCDF4 gives it; what lies below a mask is no value.
    array = _unmasked(found) if isinstance(found, np.ma.MaskedArray) else np.asarray(found)
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"{name}: read_data() returns {array.dtype}, and only numbers are stored: give numbers "
            "in the variable's units; times and periods are divided by a unit"
        )
    return array


def _unmasked(found: np.ma.MaskedArray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.asarray(found.data)
    if not np.ma.is_masked(found):
        return values
    kind = "float64" if values.dtype.kind in "biu" else values.dtype
    return np.where(np.ma.getmaskarray(found), np.nan, values).astype(kind)


def cast_into(
    found: np.ndarray[Any, Any],
    out: np.ndarray[Any, Any],
    name: str,
    missing: float | None = None,
) -> None:
    """Put values into an array, unless one would not be stored as what it is.

    Integers and booleans take whole numbers that they can hold, and NaN only where something says
    "missing". A floating-point dtype takes what does not become infinite: to be rounded is what
    its author asked for.

    Parameters
    ----------
    found
        The values, of any shape.
    out
        Of the same shape, with the dtype by which the variable is stored.
    name
        Of the variable.
    missing
        What NaN becomes in an integer dtype, see `Encoding.missing`.

    Raises
    ------
    ValueError
        A value would become another one; the first such is named.

    Examples
    --------
    >>> out = np.empty(2, "int8")
    >>> cast_into(np.array([1.0, 2.0]), out, "n")
    >>> out
    array([1, 2], dtype=int8)
    >>> cast_into(np.array([1.0, 300.0]), out, "n")
    Traceback (most recent call last):
    ...
    ValueError: n: 300.0 cannot be stored as int8, which takes whole numbers from -128 to 127; \
declare another dtype
    """
    if found.dtype.kind == "c" and out.dtype.kind != "c":
        found = _real(found, out.dtype, name)
    if out.dtype.kind in "iub" and not np.can_cast(found.dtype, out.dtype, "safe"):
        _cast_whole(found, out, name, missing)
        return
    try:
        with np.errstate(over="raise"):
            out[...] = found
    except FloatingPointError:
        with np.errstate(over="ignore"):
            wrong = found[np.isinf(found.astype(out.dtype)) & np.isfinite(found)].flat[0]
        raise ValueError(
            f"{name}: {wrong!s} cannot be stored as {out.dtype}, which ends at "
            f"{np.finfo(out.dtype).max}; declare float64"
        ) from None


def _real(found: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    has_more = (found.imag != 0) & ~np.isnan(found)
    if has_more.any():
        raise ValueError(
            f"{name}: {found[has_more].flat[0]!s} cannot be stored as {dtype}, which has no "
            "imaginary part; declare complex64, or return its real part"
        )
    return np.asarray(found.real)


def _cast_whole(
    found: np.ndarray[Any, Any], out: np.ndarray[Any, Any], name: str, missing: float | None
) -> None:
    has_missing = missing is not None and not np.isnan(missing)
    is_value = ~np.isnan(found) if has_missing else np.ones(found.shape, bool)
    _check_whole(found[is_value], out.dtype, name)
    if has_missing:
        out[...] = missing
    np.copyto(out, found, where=is_value, casting="unsafe")


def _check_whole(found: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> None:
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    with np.errstate(invalid="ignore"):
        # Both ends as floats: the highest int64 rounds up to what int64 cannot hold.
        is_held = (found >= low) & (found < float(high) + 1) & (found == np.floor(found))
    if is_held.all():
        return
    wrong = found[~is_held].flat[0]
    rule = f"which takes whole numbers from {low} to {high}; declare another dtype"
    if np.isnan(wrong):
        rule = "of which nothing says missing; declare a fill_value that cannot occur"
    raise ValueError(f"{name}: {wrong!s} cannot be stored as {dtype}, {rule}")
