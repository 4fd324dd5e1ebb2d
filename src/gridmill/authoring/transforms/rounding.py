"""Rounding of mantissas, so that values compress well."""

from __future__ import annotations

from typing import Final

import numpy as np

from gridmill.authoring.transforms.blocks import (
    FloatArray,
    UIntArray,
    contiguous_blocks,
    scratch_of,
)
from gridmill.model.epochs import ROUNDING, stage

__all__ = ["round_mantissa_inplace"]

# Stored mantissa bits of IEEE 754 binary16, binary32 and binary64, by item size in bytes.
_MANTISSA_BITS: Final = {2: 10, 4: 23, 8: 52}


@stage(ROUNDING)
def round_mantissa_inplace(values: FloatArray, keep_mantissa_bits: int) -> None:
    """Round each value to `keep_mantissa_bits` mantissa bits, so that it compresses well.

    Rounds to nearest, ties to even. The bits given up become zero. Twice is the same as once.

    Parameters
    ----------
    values
        Any dims; float16, float32 or float64, any units. Changed in place; may be a view with any
        strides or byte order. NaN and infinities keep their exact bits, NaN payload included.
    keep_mantissa_bits
        From 0 to the dtype's 10, 23 or 52; the latter leaves every value as it is. The error is at
        most ``2 ** -(keep_mantissa_bits + 1)`` of a normal value's magnitude.

    Raises
    ------
    TypeError
        `values` is not float16, float32 or float64.
    ValueError
        `keep_mantissa_bits` is outside the dtype's range, or `values` is read-only.

    Notes
    -----
    Where rounding up would overflow to infinity, the result is the largest finite value that has
    `keep_mantissa_bits` (for float32 and 7 bits, magnitudes above 3.396e38); its error is below
    ``2 ** -keep_mantissa_bits``. Below the smallest normal value (1.2e-38 for float32) the
    *absolute* error is bounded instead, as for any rounding of subnormal numbers.

    The method is that of Klöwer et al. (2021), https://doi.org/10.1038/s43588-021-00156-2; results
    equal those of `numcodecs.bitround.BitRound` for finite values that do not overflow.

    Examples
    --------
    >>> temperature = np.array([273.15, -40.1, np.nan, np.inf], dtype="float32")
    >>> round_mantissa_inplace(temperature, 7)
    >>> temperature
    array([274., -40.,  nan,  inf], dtype=float32)
    """
    mantissa_bits = _validated_mantissa_bits(values, keep_mantissa_bits)
    dropped_bits = mantissa_bits - keep_mantissa_bits
    if dropped_bits == 0:
        return
    bits_dtype = np.dtype(f"u{values.dtype.itemsize}")
    scratch = scratch_of(values, bits_dtype)
    for block in contiguous_blocks(values):
        _round_block(block.view(bits_dtype), scratch[: block.size], mantissa_bits, dropped_bits)


def _validated_mantissa_bits(values: FloatArray, keep_mantissa_bits: int) -> int:
    """Return how many mantissa bits the dtype stores, having checked the request against it."""
    if values.dtype.kind != "f" or values.dtype.itemsize not in _MANTISSA_BITS:
        raise TypeError(
            f"cannot round the mantissa of dtype {values.dtype}: only float16, float32 and float64 "
            "have one that this function knows; convert the values first or declare no rounding"
        )
    mantissa_bits = _MANTISSA_BITS[values.dtype.itemsize]
    if not 0 <= keep_mantissa_bits <= mantissa_bits:
        raise ValueError(
            f"keep_mantissa_bits is {keep_mantissa_bits}, but {values.dtype} can keep 0 to "
            f"{mantissa_bits} mantissa bits; choose one in that range"
        )
    return mantissa_bits


def _round_block(
    bits: UIntArray, scratch: UIntArray, mantissa_bits: int, dropped_bits: int
) -> None:
    """Round the floats whose bits are `bits`; restore those that integer rounding would ruin."""
    integer = bits.dtype.type
    sign_bit = integer(1 << (8 * bits.itemsize - 1))
    infinity = integer(int(sign_bit) - (1 << mantissa_bits))
    largest = integer(int(infinity) - (1 << dropped_bits))

    magnitudes = np.bitwise_and(bits, ~sign_bit, out=scratch)
    if not bits.size or magnitudes.max() <= largest:
        _round_bits(bits, scratch, dropped_bits)
        return
    extreme = np.flatnonzero(magnitudes > largest)
    original = bits[extreme]
    _round_bits(bits, scratch, dropped_bits)
    saturated = (original & sign_bit) | largest
    bits[extreme] = np.where((original & ~sign_bit) < infinity, saturated, original)


def _round_bits(bits: UIntArray, scratch: UIntArray, dropped_bits: int) -> None:
    """Round to nearest, ties to even, by adding just under half a quantum, or half if odd."""
    integer = bits.dtype.type
    np.right_shift(bits, integer(dropped_bits), out=scratch)
    np.bitwise_and(scratch, integer(1), out=scratch)
    np.add(scratch, integer((1 << (dropped_bits - 1)) - 1), out=scratch)
    np.add(bits, scratch, out=bits)
    np.bitwise_and(bits, ~integer((1 << dropped_bits) - 1), out=bits)
