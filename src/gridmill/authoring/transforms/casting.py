"""Whether values can be stored in another dtype without becoming others. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_cast"]


def check_cast(found: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> None:
    """Raise unless values keep what they say in another dtype.

    Integers and booleans take whole numbers that they can hold; they have nothing that says
    "missing". A floating-point dtype takes what does not become infinite: to be rounded is what
    its author asked for.

    Parameters
    ----------
    found
        The values, of any shape.
    dtype
        Of the variable as it is stored.
    name
        Of the variable.

    Raises
    ------
    ValueError
        A value would become another one; the first such is named.

    Examples
    --------
    >>> check_cast(np.array([1.0, 2.0]), np.dtype("int8"), "n")
    >>> check_cast(np.array([1.0, 300.0]), np.dtype("int8"), "n")
    Traceback (most recent call last):
    ...
    ValueError: n: 300.0 cannot be stored as int8, which takes whole numbers from -128 to 127; \
declare another dtype
    """
    if np.can_cast(found.dtype, dtype, "safe"):
        return
    if dtype.kind == "f":
        _check_finite(found, dtype, name)
        return
    if dtype.kind not in "iub":
        return
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    with np.errstate(invalid="ignore"):
        # Both ends as floats: the highest int64 rounds up to what int64 cannot hold.
        is_held = (found >= low) & (found < float(high) + 1) & (found == np.floor(found))
    if not is_held.all():
        wrong = found[~is_held].flat[0]
        rule = (
            "which has nothing that says missing"
            if np.isnan(wrong)
            else (f"which takes whole numbers from {low} to {high}")
        )
        raise ValueError(
            f"{name}: {wrong} cannot be stored as {dtype}, {rule}; declare another dtype"
        )


def _check_finite(found: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> None:
    if found.dtype.kind not in "fiu" or found.dtype.itemsize <= dtype.itemsize:
        return
    highest = np.finfo(dtype).max
    with np.errstate(invalid="ignore"):
        beyond = np.isfinite(found) & (np.abs(found) > highest)
    if beyond.any():
        raise ValueError(
            f"{name}: {found[beyond].flat[0]} cannot be stored as {dtype}, which ends at "
            f"{highest}; declare float64"
        )
