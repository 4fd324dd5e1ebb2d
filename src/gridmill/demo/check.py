"""Compares an archive with its source files: every value, and every coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

__all__ = ["Check", "check_coordinates", "check_values", "largest_rounding_error"]

MANTISSA_BITS = 23


@dataclass(frozen=True)
class Check:
    """A claim about an archive, whether it holds, and what was found."""

    claim: str
    passed: bool
    found: str


def check_values(stored: xr.DataArray, source: xr.DataArray, keep_mantissa_bits: int) -> Check:
    """Check every value of a variable against its source.

    Parameters
    ----------
    stored, source
        float32, same shape; NaN where there is no value.
    keep_mantissa_bits
        As declared by the dataset: a value may differ by half of the last kept bit.
    """
    claim = f"every value of {stored.name} equals the source within the declared rounding"
    found, expected = np.asarray(stored.values), np.asarray(source.values)
    if found.shape != expected.shape:
        return Check(claim, False, f"shape {found.shape}, but the source has {expected.shape}")
    error = np.abs(found.astype("float64") - expected)
    gaps = int((np.isnan(found) != np.isnan(expected)).sum())
    wrong = int((error > largest_rounding_error(expected, keep_mantissa_bits)).sum())
    finite = int(np.isfinite(expected).sum())
    most = float(np.nanmax(error, initial=0.0))
    text = f"{finite:,} values, largest difference {most:.5f} {stored.attrs.get('units', '')}"
    if gaps or wrong:
        text += f"; {wrong} beyond the rounding, {gaps} missing on one side"
    return Check(claim, not (gaps or wrong), text.strip())


def check_coordinates(stored: xr.Dataset, source: xr.Dataset, names: Sequence[str]) -> Check:
    """Check that coordinates are exactly those of the source."""
    claim = "every coordinate equals the source exactly"
    unequal = [n for n in names if n not in stored or not _is_equal(stored[n], source[n])]
    found = f"not {', '.join(unequal)}" if unequal else ", ".join(names)
    return Check(claim, not unequal, found)


def largest_rounding_error(values: np.ndarray, keep_mantissa_bits: int) -> np.ndarray:
    """Return half of the last kept bit of each float32 value.

    Examples
    --------
    >>> largest_rounding_error(np.array([300.0], dtype="float32"), 17) == 2.0**-10
    array([ True])
    """
    spacing: np.ndarray = np.spacing(np.abs(values.astype("float32"))).astype("float64")
    return spacing * 2.0 ** (MANTISSA_BITS - keep_mantissa_bits - 1)


def _is_equal(stored: xr.DataArray, source: xr.DataArray) -> bool:
    return stored.dims == source.dims and np.array_equal(stored.values, source.values)
