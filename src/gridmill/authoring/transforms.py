"""Transforms of decoded values, in place: what turns a provider's numbers into the archive's.

Every function whose name ends in `_inplace` changes the NumPy array that it takes and works in
blocks, so that no temporary is as large as the array. A `_footprint` function says which results
of its transform rest on available sources alone: a merge with published values takes those. None
does I/O; each is safe to call from several threads on arrays that do not overlap.

See Also
--------
gridmill.authoring.region_job : calls these from `transform_values_inplace`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_index

from gridmill.model.epochs import DEACCUMULATION, INTERPOLATION, ROUNDING, SCALING, stage

__all__ = [
    "DeaccumulationCounts",
    "deaccumulate_inplace",
    "deaccumulation_footprint",
    "interpolate_single_gaps_inplace",
    "interpolation_footprint",
    "round_mantissa_inplace",
    "scale_inplace",
]

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
Float64Array = np.ndarray[Any, np.dtype[np.float64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
UIntArray = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]

_BLOCK_ELEMENTS: Final = 65_536
"""256 kB of float32: the block and its scratch stay in the L2 cache of current CPUs; smaller
blocks pay more for NumPy's fixed cost of a call than they gain."""

_MANTISSA_BITS: Final = {2: 10, 4: 23, 8: 52}
"""Stored mantissa bits of IEEE 754 binary16, binary32 and binary64, by item size in bytes."""


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
    scratch = np.empty(min(_BLOCK_ELEMENTS, values.size), dtype=bits_dtype)
    for block in _contiguous_blocks(values):
        _round_block(block.view(bits_dtype), scratch[: block.size], mantissa_bits, dropped_bits)


@stage(SCALING)
def scale_inplace(values: FloatArray, *, factor: float = 1.0, offset: float = 0.0) -> None:
    """Replace each value by ``value * factor + offset``, as for a change of units.

    Parameters
    ----------
    values
        Any dims, any floating dtype, which also is the precision of the arithmetic. Changed in
        place; may be a view with any strides or byte order. NaN stays NaN.
    factor
        New units per old unit. The default leaves the scale as it is.
    offset
        In new units. The default adds nothing.

    Raises
    ------
    TypeError
        `values` is not of a floating dtype.
    ValueError
        `factor` or `offset` is not finite, or `factor` is 0, which would erase the data.

    Examples
    --------
    >>> temperature = np.array([25.0, np.nan], dtype="float32")
    >>> scale_inplace(temperature, offset=273.15)  # °C to K
    >>> temperature
    array([298.15,    nan], dtype=float32)
    """
    _require_floats(values)
    factor, offset = float(factor), float(offset)
    if not (np.isfinite([factor, offset]).all() and factor):
        raise ValueError(
            f"factor is {factor} and offset is {offset}, but both must be finite and factor not 0; "
            "declare the values of the change of units"
        )
    for block in _contiguous_blocks(values):
        if factor != 1.0:
            np.multiply(block, factor, out=block)
        if offset != 0.0:
            np.add(block, offset, out=block)


@dataclass(frozen=True, kw_only=True)
class DeaccumulationCounts:
    """How many values `deaccumulate_inplace` could not take as the source gave them."""

    clamped: int = 0
    """Negative results within the tolerance, now 0."""

    invalid: int = 0
    """Negative results beyond the tolerance, now NaN."""

    uncovered: int = 0
    """Source values whose window begins after the previous step, so that no result is known for
    the whole step; now NaN."""

    def __add__(self, other: DeaccumulationCounts) -> DeaccumulationCounts:
        """Return the counts of two disjoint parts together."""
        return DeaccumulationCounts(
            clamped=self.clamped + other.clamped,
            invalid=self.invalid + other.invalid,
            uncovered=self.uncovered + other.uncovered,
        )


@stage(DEACCUMULATION)
def deaccumulate_inplace(
    values: FloatArray,
    *,
    step_seconds: npt.ArrayLike,
    axis: int,
    reset_every_s: float | None = None,
    window_start_s: npt.ArrayLike | None = None,
    kind: Literal["accumulation", "average"] = "accumulation",
    non_negative_within: float | None = None,
) -> DeaccumulationCounts:
    """Turn accumulations, or averages since a reset, into the mean of each step.

    A source value at time ``t`` covers the window ``(w, t]``, where ``w`` is the last reset before
    ``t``. The result at a step is the mean over ``(p, t]``, where ``p`` is the latest earlier step
    of the same window that has a value, or ``w`` if there is none:

    - accumulations ``a``: ``(a(t) - a(p)) / (t - p)``, with ``a(w) = 0``;
    - averages ``m``: ``(m(t) (t - w) - m(p) (p - w)) / (t - p)``.

    Parameters
    ----------
    values
        Any dims; a floating dtype. Accumulations in units of a quantity become its rate per
        second; averages keep their units. NaN is a missing value, and stays NaN. Changed in place;
        may be a view with any strides.
    step_seconds
        1-D, strictly increasing, seconds; the time of each position along `axis`, such as lead
        times, or times since an epoch for a time series.
    axis
        The axis of `values` that `step_seconds` describes. Each position across it (initial time,
        ensemble member, grid cell) is treated alone.
    reset_every_s
        Seconds between resets, which fall on the multiples of this number. None, the default, is
        a total (or average) since second 0 that is never reset.
    window_start_s
        1-D like `step_seconds`, in place of `reset_every_s`: the start ``w`` of each value's
        window, as GRIB messages state it. Windows either are equal or do not overlap. Minus
        infinity stands for an unknown start of accumulations: then the first value serves only
        as a base for the next.
    kind
        What the values are.
    non_negative_within
        For a quantity that cannot be negative: results from minus this (in units of the result)
        up to 0 become 0, and lower ones NaN. Infinity makes every negative result 0. None, the
        default, is for a quantity of either sign.

    Returns
    -------
    DeaccumulationCounts
        How many values were clamped, were invalid, and were not covered by their window.

    Raises
    ------
    TypeError
        `values` is not of a floating dtype, or times are not numbers.
    ValueError
        Times are not finite, not increasing or not one a position; a window begins after its
        step or overlaps another; both or bad resets are given; averages have an unknown start.

    Notes
    -----
    - A step of no length has no mean: lead 0, where ``t = w``, becomes NaN whatever it holds. A
      first step of exactly 0 is taken to be lead 0; for a time series that begins at its epoch,
      give `window_start_s`.
    - After a missing step the next result is the mean over the longer interval ``(p, t]``, which
      is exact. Where a reset lies strictly between two steps, as 6 h does between 5 h and 8 h,
      the mean over ``(5 h, 8 h]`` is unknown: NaN, counted as `uncovered`.
    - The first position has no predecessor, so its result is the mean since ``w``. Where a region
      of a time series begins within a window, give it a margin of at least one step and discard
      the margin's result; a margin of a whole window makes results around missing values, too,
      independent of where the region begins.
    - Totals decrease where packing is coarse, and in GFS by several mm between two leads
      (https://github.com/NOAA-EMC/UPP/issues/1430): hence `non_negative_within`.
    - GFS, GEFS: ``reset_every_s=21600``, with leads 3 h apart or mixed; ECMWF's forecasts: None.
    - Not idempotent: the result is no accumulation.

    See Also
    --------
    deaccumulation_footprint : which results rest on available steps alone

    Examples
    --------
    Precipitation, kg m-2, since the last of the resets every 6 h, at 0, 3, 6 and 9 h:

    >>> rain = np.array([0.0, 10_800.0, 32_400.0, 5_400.0], dtype="float32")
    >>> hours = 3600 * np.array([0, 3, 6, 9])
    >>> deaccumulate_inplace(rain, step_seconds=hours, axis=0, reset_every_s=6 * 3600)
    DeaccumulationCounts(clamped=0, invalid=0, uncovered=0)
    >>> rain  # kg m-2 s-1
    array([nan, 1. , 2. , 0.5], dtype=float32)

    Averages since the start of the run, the second one missing:

    >>> flux = np.array([100.0, np.nan, 300.0], dtype="float32")
    >>> _ = deaccumulate_inplace(flux, step_seconds=[3600, 7200, 10800], axis=0, kind="average")
    >>> flux
    array([100.,  nan, 400.], dtype=float32)
    """
    _require_floats(values)
    times = _validated_coordinate(step_seconds, values, axis, "step_seconds")
    windows = _Windows.of(times, reset_every_s, window_start_s)
    if kind not in ("accumulation", "average"):
        raise ValueError(f"kind is {kind!r}; choose 'accumulation' or 'average'")
    if kind == "average" and np.isinf(windows.start_s).any():
        raise ValueError(
            "window_start_s is minus infinity, but an average can be undone only if the start of "
            "its window is known; give finite starts"
        )
    if non_negative_within is not None and not non_negative_within >= 0:
        raise ValueError(
            f"non_negative_within is {non_negative_within}, but a tolerance is 0 or more; "
            "give None for a quantity of either sign"
        )
    counts = DeaccumulationCounts()
    scratch = np.empty(min(_BLOCK_ELEMENTS, values.size), dtype=values.dtype)
    with np.errstate(invalid="ignore"):
        for block in _step_blocks(values, axis):
            means = scratch[: block[0].size].reshape(block.shape[1:])
            counts += _deaccumulate_block(block, means, windows, kind, non_negative_within)
    return counts


def deaccumulation_footprint(
    available: BoolArray,
    *,
    step_seconds: npt.ArrayLike,
    axis: int,
    reset_every_s: float | None = None,
    window_start_s: npt.ArrayLike | None = None,
) -> BoolArray:
    """Return where `deaccumulate_inplace` gives the mean of the step itself, from available steps.

    That is where the step is available and so is the step before it, if it is of the same window.

    Parameters
    ----------
    available
        bool, any dims that include the steps: True where the source of a position was available.
        Not changed.
    step_seconds, axis, reset_every_s, window_start_s
        As for `deaccumulate_inplace`, whose `axis` counts in `available` here.

    Returns
    -------
    ndarray
        bool, shaped like `available`, new. Where it is False and `available` is True, the result
        is the mean over a longer interval, because the step before is missing. The first position
        counts as complete: discard it if it is a margin.

    Examples
    --------
    Resets every 6 h, so that 9 h does not need 6 h, but 6 h needs 3 h:

    >>> hours = 3600 * np.array([3, 6, 9, 12])
    >>> available = np.array([False, True, True, True])
    >>> deaccumulation_footprint(available, step_seconds=hours, axis=0, reset_every_s=6 * 3600)
    array([False, False,  True,  True])
    """
    times = _validated_coordinate(step_seconds, available, axis, "step_seconds")
    windows = _Windows.of(times, reset_every_s, window_start_s)
    complete = available.copy()
    dependent = np.flatnonzero(windows.first_index < np.arange(times.size))
    np.moveaxis(complete, axis, 0)[dependent] &= np.moveaxis(available, axis, 0)[dependent - 1]
    return complete


@stage(INTERPOLATION)
def interpolate_single_gaps_inplace(
    values: FloatArray, *, coordinate: npt.ArrayLike, axis: int
) -> int:
    """Fill each gap of exactly one step by linear interpolation between its neighbours.

    A gap is a NaN whose two neighbours along `axis` are finite. Longer gaps stay as they are, and
    so do NaN in the first and last position.

    Parameters
    ----------
    values
        Any dims; a floating dtype, any units. NaN is a missing value. Changed in place; may be a
        view with any strides.
    coordinate
        1-D, strictly increasing, one number for each position along `axis`, such as times in
        seconds: the result is linear in it.
    axis
        The axis of `values` that `coordinate` describes.

    Returns
    -------
    int
        How many values were filled.

    Raises
    ------
    TypeError
        `values` is not of a floating dtype, or `coordinate` is not of numbers.
    ValueError
        `coordinate` is not finite, not increasing or not one number a position.

    Notes
    -----
    Idempotent: filling a gap makes no new one.

    See Also
    --------
    interpolation_footprint : which results rest on available steps alone

    Examples
    --------
    >>> series = np.array([1.0, np.nan, 4.0, np.nan, np.nan, 7.0], dtype="float32")
    >>> interpolate_single_gaps_inplace(series, coordinate=[0, 1, 3, 4, 5, 6], axis=0)
    1
    >>> series
    array([ 1.,  2.,  4., nan, nan,  7.], dtype=float32)
    """
    _require_floats(values)
    positions = _validated_coordinate(coordinate, values, axis, "coordinate")
    weights = (positions[1:-1] - positions[:-2]) / (positions[2:] - positions[:-2])
    filled = 0
    for block in _step_blocks(values, axis):
        for index, weight in enumerate(weights, start=1):
            filled += _fill_gaps(*block[index - 1 : index + 2], weight=float(weight))
    return filled


def interpolation_footprint(available: BoolArray, *, gaps: BoolArray, axis: int) -> BoolArray:
    """Return where `interpolate_single_gaps_inplace` gives a value from available steps alone.

    That is where the step is available, and, in a gap that the source has by design, where both
    neighbours are.

    Parameters
    ----------
    available
        bool, any dims that include the steps: True where the source of a position was available.
        Not changed.
    gaps
        bool, broadcasts against `available`: True where the source never has a value, so that the
        interpolated one is the best there is. A position that merely failed is no such gap: what
        is published there may be better than an interpolation.
    axis
        The axis of `available` along which values are interpolated.

    Returns
    -------
    ndarray
        bool, shaped like `available`, new.

    Notes
    -----
    Describes whole positions. A single cell that is NaN within an available position is filled
    from its neighbours, too, and this mask does not tell whether those were available.

    Examples
    --------
    >>> available = np.array([True, False, True, False, True])
    >>> every_second = np.array([False, True, False, False, False])
    >>> interpolation_footprint(available, gaps=every_second, axis=0)
    array([ True,  True,  True, False,  True])
    """
    complete = available.copy()
    steps_first = np.moveaxis(available, axis, 0)
    fillable = np.moveaxis(np.broadcast_to(gaps, available.shape), axis, 0)[1:-1]
    np.moveaxis(complete, axis, 0)[1:-1] |= fillable & steps_first[:-2] & steps_first[2:]
    return complete


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


def _contiguous_blocks(values: FloatArray) -> Iterator[FloatArray]:
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


def _require_floats(values: FloatArray) -> None:
    """Refuse what cannot hold NaN and fractions."""
    if values.dtype.kind != "f":
        raise TypeError(
            f"values have dtype {values.dtype}, but only a floating dtype can be transformed in "
            "place; convert them when they are read"
        )


def _validated_coordinate(
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


def _step_blocks(values: FloatArray, axis: int) -> Iterator[FloatArray]:
    """Yield views of some of the cells at all steps: the steps come first, none is empty."""
    pending = [np.moveaxis(values, axis, 0)[..., np.newaxis]]
    while pending:
        block = pending.pop()
        if not block.size:
            continue
        if block[:1].size <= _BLOCK_ELEMENTS:
            yield block
            continue
        splittable = [dim for dim in range(1, block.ndim) if block.shape[dim] > 1]
        outermost = max(splittable, key=lambda dim: abs(block.strides[dim]))
        pending += np.array_split(block, 2, axis=outermost)[::-1]


@dataclass(frozen=True)
class _Windows:
    """Which source values accumulate from where, one number for each step."""

    step_s: Float64Array
    start_s: Float64Array
    first_index: npt.NDArray[np.intp]
    """The first step of positive length in the same window; a step that is its own has no base."""

    @classmethod
    def of(
        cls,
        step_s: Float64Array,
        reset_every_s: float | None,
        window_start_s: npt.ArrayLike | None,
    ) -> _Windows:
        """Return the windows of valid steps, given either regular resets or each start."""
        if window_start_s is None:
            start_s = _regular_window_starts(step_s, reset_every_s)
        elif reset_every_s is None:
            start_s = np.asarray(window_start_s, dtype="float64")
        else:
            raise ValueError(
                f"reset_every_s is {reset_every_s} and window_start_s is given, too; "
                "give only one of them"
            )
        _check_windows(step_s, start_s)
        indices = np.arange(step_s.size)
        is_first = np.ones(step_s.size, dtype=bool)
        is_first[1:] = (start_s[1:] != start_s[:-1]) | (step_s[:-1] == start_s[:-1])
        return cls(step_s, start_s, np.maximum.accumulate(np.where(is_first, indices, 0)))

    def has_length(self, index: int) -> bool:
        """Whether any time passes between the window's start and the step."""
        return bool(self.step_s[index] > self.start_s[index])

    def opening_value(self, index: int) -> float:
        """What has accumulated when the window opens: 0, or NaN if it opens no one knows when."""
        return 0.0 if np.isfinite(self.start_s[index]) else np.nan

    def covers_step(self, index: int) -> bool:
        """Whether the window reaches back to the previous step."""
        return index == 0 or bool(self.start_s[index] <= self.step_s[index - 1])


def _regular_window_starts(step_s: Float64Array, reset_every_s: float | None) -> Float64Array:
    """Return the last multiple of `reset_every_s` before each step, or 0 if there is no reset."""
    if reset_every_s is None:
        return np.zeros_like(step_s)
    if not 0 < reset_every_s < np.inf:
        raise ValueError(
            f"reset_every_s is {reset_every_s}, but must be a positive number of seconds; give "
            "None for a total that is never reset"
        )
    start_s: Float64Array = (np.ceil(step_s / reset_every_s) - 1) * reset_every_s
    start_s[:1][step_s[:1] == 0] = 0
    return start_s


def _check_windows(step_s: Float64Array, start_s: Float64Array) -> None:
    """Refuse windows that begin after their step, or overlap another without being the same."""
    if start_s.shape != step_s.shape:
        raise ValueError(
            f"window_start_s has shape {start_s.shape}, but there are {step_s.size} steps; give "
            "one start for each"
        )
    if not (start_s <= step_s).all():
        index = int(np.flatnonzero(~(start_s <= step_s))[0])
        raise ValueError(
            f"the window of the step at {step_s[index]} s begins at {start_s[index]} s, but it "
            "must begin at or before its step; give window_start_s that says where it begins"
        )
    overlaps = (start_s[1:] != start_s[:-1]) & (start_s[1:] < step_s[:-1])
    if overlaps.any():
        index = int(np.flatnonzero(overlaps)[0]) + 1
        raise ValueError(
            f"the window of the step at {step_s[index]} s begins at {start_s[index]} s, within "
            f"the previous step's window from {start_s[index - 1]} to {step_s[index - 1]} s; "
            "windows must be equal or not overlap, so deaccumulate such a source when it is read"
        )


def _deaccumulate_block(
    block: FloatArray,
    scratch: FloatArray,
    windows: _Windows,
    kind: str,
    non_negative_within: float | None,
) -> DeaccumulationCounts:
    """Deaccumulate from the last step to the first, so that each finds its base unchanged."""
    counts = DeaccumulationCounts()
    for index in reversed(range(len(block))):
        current = block[index]
        if not windows.covers_step(index):
            counts += DeaccumulationCounts(uncovered=int(np.count_nonzero(~np.isnan(current))))
            current[...] = np.nan
        elif not windows.has_length(index):
            current[...] = np.nan
        else:
            lowest = _step_means(block, index, windows, kind, out=scratch)
            if non_negative_within is not None and not lowest >= 0:
                counts += _clamp_negative(scratch, non_negative_within)
            np.copyto(current, scratch)
    return counts


def _step_means(
    block: FloatArray, index: int, windows: _Windows, kind: str, *, out: FloatArray
) -> float:
    """Write the means of one step to `out`; return the lowest, or NaN if one is missing."""
    end_s, start_s = float(windows.step_s[index]), float(windows.start_s[index])
    if index == windows.first_index[index]:
        opening = windows.opening_value(index)
        _mean_since(block[index], opening, end_s, start_s, start_s, kind, out=out)
        return float(out.min())
    previous_s = float(windows.step_s[index - 1])
    _mean_since(block[index], block[index - 1], end_s, previous_s, start_s, kind, out=out)
    lowest = float(out.min())
    if np.isnan(lowest):
        _bridge_gaps(block, index, windows, kind, out=out)
    return lowest


def _mean_since(
    current: FloatArray,
    base: FloatArray | float,
    end_s: float,
    base_s: Float64Array | float,
    start_s: float,
    kind: str,
    *,
    out: FloatArray,
) -> None:
    """Write the means over ``(base_s, end_s]`` of values whose window begins at `start_s`.

    The formula for averages is that of `deaccumulate_inplace`, arranged so that equal averages
    give themselves, whatever the precision.
    """
    np.subtract(current, base, out=out)
    if kind == "accumulation":
        np.divide(out, end_s - base_s, out=out, casting="same_kind")
    else:
        np.multiply(out, (end_s - start_s) / (end_s - base_s), out=out, casting="same_kind")
        np.add(out, base, out=out)


def _bridge_gaps(
    block: FloatArray, index: int, windows: _Windows, kind: str, *, out: FloatArray
) -> None:
    """Where the previous step alone is missing, write the mean since the last step that is not."""
    gaps = _indices_where(np.isnan(block[index - 1]) & ~np.isnan(block[index]))
    if not gaps[0].size:
        return
    base = np.full(gaps[0].size, np.nan, dtype=block.dtype)
    base_s = np.full(gaps[0].size, windows.start_s[index])
    for earlier in range(index - 2, windows.first_index[index] - 1, -1):
        open_gaps = np.isnan(base)
        if not open_gaps.any():
            break
        base = np.where(open_gaps, block[earlier][gaps], base)
        base_s = np.where(open_gaps & ~np.isnan(base), windows.step_s[earlier], base_s)
    base[np.isnan(base)] = windows.opening_value(index)
    means = block[index][gaps]
    end_s, start_s = float(windows.step_s[index]), float(windows.start_s[index])
    _mean_since(means, base, end_s, base_s, start_s, kind, out=means)
    out[gaps] = means


def _clamp_negative(means: FloatArray, tolerance: float) -> DeaccumulationCounts:
    """Raise negative means within `tolerance` to 0, make lower ones NaN, and count both."""
    negative_count = int(np.count_nonzero(means < 0))
    invalid = means < -tolerance
    invalid_count = int(np.count_nonzero(invalid))
    np.maximum(means, 0, out=means)
    if invalid_count:
        means[invalid] = np.nan
    return DeaccumulationCounts(clamped=negative_count - invalid_count, invalid=invalid_count)


def _fill_gaps(before: FloatArray, current: FloatArray, after: FloatArray, *, weight: float) -> int:
    """Fill the NaN of `current` between finite neighbours; return how many there were."""
    if not np.isnan(current.min()):
        return 0
    gaps = _indices_where(np.isnan(current) & np.isfinite(before) & np.isfinite(after))
    current[gaps] = before[gaps] + (after[gaps] - before[gaps]) * weight
    return int(gaps[0].size)


def _indices_where(mask: BoolArray) -> tuple[npt.NDArray[np.intp], ...]:
    """Return what `numpy.nonzero` does, but 30 times as fast where few are True in several dims."""
    return np.unravel_index(np.flatnonzero(mask), mask.shape)
