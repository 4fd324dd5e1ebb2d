"""How transforms go through an array: in blocks, so that no temporary is as large as the array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_index

__all__ = [
    "BoolArray",
    "Float64Array",
    "FloatArray",
    "UIntArray",
    "contiguous_blocks",
    "indices_where",
    "require_floats",
    "scratch_of",
    "step_blocks",
    "step_blocks_with",
    "validated_coordinate",
]

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
Float64Array = np.ndarray[Any, np.dtype[np.float64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
UIntArray = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]

# 256 kB of float32: the block and its scratch stay in the L2 cache of current CPUs; smaller
# blocks pay more for NumPy's fixed cost of a call than they gain.
_BLOCK_ELEMENTS: Final = 65_536


def scratch_of(values: FloatArray, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an empty array, as long as the largest block of `values`."""
    return np.empty(min(_BLOCK_ELEMENTS, values.size), dtype=dtype)


def contiguous_blocks(values: FloatArray) -> Iterator[FloatArray]:
    """Yield `values` as writeable contiguous 1-D blocks, native byte order, in memory order.

    A block of an array that is laid out so already is a view; any other is a buffer, which is
    written back when the next one is asked for.
    """
    op_flags: Any = [["readwrite", "contig"]]  # NumPy's type stubs misspell "contig"
    blocks: Any = np.nditer(
        [values],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=op_flags,
        op_dtypes=[values.dtype.newbyteorder("=")],
        casting="equiv",
        buffersize=_BLOCK_ELEMENTS,
    )
    with blocks:
        yield from blocks


def step_blocks(values: FloatArray, axis: int) -> Iterator[FloatArray]:
    """Yield views of some of the cells at all steps: the steps come first, none is empty."""
    for block, _ in step_blocks_with(values, None, axis):
        yield block


def step_blocks_with(
    values: FloatArray, beside: Float64Array | None, axis: int
) -> Iterator[tuple[FloatArray, Float64Array | None]]:
    """Yield `step_blocks`, and the same part of an array that broadcasts to the values.

    Along dims in which that repeats itself its part has the length 1.
    """
    repeated = None if beside is None else np.broadcast_to(beside, values.shape)
    pending = [tuple(_steps_first(one, axis) for one in (values, repeated))]
    while pending:
        block, part = pending.pop()
        if block is None or not block.size:
            continue
        if block[:1].size <= _BLOCK_ELEMENTS:
            yield block, None if part is None else _once(part)
            continue
        splittable = [dim for dim in range(1, block.ndim) if block.shape[dim] > 1]
        strides = block.strides
        outermost = max(splittable, key=lambda dim: abs(strides[dim]))
        halves = (_halves(one, outermost) for one in (block, part))
        pending += list(zip(*halves, strict=True))[::-1]


def _steps_first(values: Any, axis: int) -> Any:
    return None if values is None else np.moveaxis(values, axis, 0)[..., np.newaxis]


def _halves(values: Any, axis: int) -> list[Any]:
    return [None, None] if values is None else np.array_split(values, 2, axis=axis)


def _once(repeated: Float64Array) -> Float64Array:
    """Cut an array that was broadcast to length 1 where it repeats itself, but along its steps."""
    inner = (slice(None) if stride else slice(0, 1) for stride in repeated.strides[1:])
    return repeated[(slice(None), *inner)]


def require_floats(values: FloatArray) -> None:
    """Refuse what cannot hold NaN and fractions."""
    if values.dtype.kind != "f":
        raise TypeError(
            f"values have dtype {values.dtype}, but only a floating dtype can be transformed in "
            "place; convert them when they are read"
        )


def validated_coordinate(
    coordinate: npt.ArrayLike, values: npt.NDArray[Any], axis: int, name: str
) -> Float64Array:
    """Return `coordinate` as float64, having checked that it labels `axis` in rising order."""
    length = values.shape[normalize_axis_index(axis, values.ndim)]
    numbers = np.asarray(coordinate)
    if numbers.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} has dtype {numbers.dtype}, but must be numbers; for timedelta64 divide by "
            "np.timedelta64(1, 's')"
        )
    if numbers.shape != (length,):
        raise ValueError(
            f"{name} has shape {numbers.shape}, but the axis has {length} positions; give one "
            "number for each, and check the axis"
        )
    numbers = numbers.astype("float64")
    if not (np.isfinite(numbers).all() and (np.diff(numbers) > 0).all()):
        raise ValueError(
            f"{name} is {numbers}, but must be finite and strictly increasing; sort the positions "
            "and drop duplicates"
        )
    return numbers


def indices_where(mask: BoolArray) -> tuple[npt.NDArray[np.intp], ...]:
    """Return what `numpy.nonzero` does, but 30 times as fast where few are True in several dims."""
    return np.unravel_index(np.flatnonzero(mask), mask.shape)
