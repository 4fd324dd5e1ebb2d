"""Accumulations, or averages since a reset, as the mean of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gridmill.authoring.transforms.blocks import (
    BoolArray,
    Float64Array,
    FloatArray,
    indices_where,
    require_floats,
    scratch_of,
    step_blocks_with,
    validated_coordinate,
)
from gridmill.authoring.transforms.windows import Windows
from gridmill.model.epochs import DEACCUMULATION, stage

__all__ = ["DeaccumulationCounts", "deaccumulate_inplace", "deaccumulation_footprint"]


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
    resolution: npt.ArrayLike | None = None,
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
        For a quantity that cannot be negative: results from minus this (in units of the result),
        and what `resolution` adds, up to 0 become 0, and lower ones NaN. Infinity makes every
        negative result 0. None, the default, is for a quantity of either sign.
    resolution
        In units of the source values: how far each may lie from what it stands for, as a message
        is written in steps. Broadcasts to `values`; not changed. 0 and NaN add nothing, and so
        does None, the default. A result may then be negative by the sum of both values'
        resolution, with the weights that the formula gives them.

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
    - Totals decrease where packing is coarse, hence `resolution`: averages in steps of 10 W m-2
      that are undone from 6 h and 3 h give results that are wrong by up to 30 W m-2. In GFS they
      also decrease by several mm between two leads (https://github.com/NOAA-EMC/UPP/issues/1430).
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
    require_floats(values)
    times = validated_coordinate(step_seconds, values, axis, "step_seconds")
    windows = Windows.of(times, reset_every_s, window_start_s)
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
    steps = None if resolution is None else np.nan_to_num(np.asarray(resolution, "float64"))
    counts = DeaccumulationCounts()
    scratch = scratch_of(values, values.dtype)
    with np.errstate(invalid="ignore"):
        for block, beside in step_blocks_with(values, steps, axis):
            means = scratch[: block[0].size].reshape(block.shape[1:])
            tolerance = _Tolerance(non_negative_within, beside, windows, kind)
            counts += _deaccumulate_block(block, means, windows, kind, tolerance)
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
    times = validated_coordinate(step_seconds, available, axis, "step_seconds")
    windows = Windows.of(times, reset_every_s, window_start_s)
    complete = available.copy()
    dependent = np.flatnonzero(windows.first_index < np.arange(times.size))
    np.moveaxis(complete, axis, 0)[dependent] &= np.moveaxis(available, axis, 0)[dependent - 1]
    return complete


@dataclass(frozen=True)
class _Tolerance:
    """By how much results of a block may be negative."""

    least: float | None
    resolution: Float64Array | None
    windows: Windows
    kind: str

    @property
    def is_asked(self) -> bool:
        """Whether the quantity cannot be negative."""
        return self.least is not None

    def at(self, index: int, base: int | None) -> Float64Array | float:
        """Return it for a step whose base is another one, or the window's start; for each cell."""
        assert self.least is not None
        if self.resolution is None:
            return self.least
        start_s, end_s = self.windows.start_s[index], self.windows.step_s[index]
        base_s = start_s if base is None else self.windows.step_s[base]
        own = self._weight(end_s, start_s, end_s - base_s)
        tolerance: Float64Array = self.least + own * self.resolution[index]
        if base is not None:
            weight = self._weight(base_s, start_s, end_s - base_s)
            tolerance = tolerance + weight * self.resolution[base]
        return tolerance

    def _weight(self, time_s: float, start_s: float, length_s: float) -> float:
        """Return the factor of a source value in the mean of a step of that length."""
        return float((1.0 if self.kind == "accumulation" else time_s - start_s) / length_s)


def _deaccumulate_block(
    block: FloatArray, scratch: FloatArray, windows: Windows, kind: str, tolerance: _Tolerance
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
            counts += _step_means(block, index, windows, kind, tolerance, out=scratch)
            np.copyto(current, scratch)
    return counts


def _step_means(
    block: FloatArray,
    index: int,
    windows: Windows,
    kind: str,
    tolerance: _Tolerance,
    *,
    out: FloatArray,
) -> DeaccumulationCounts:
    """Write the means of one step to `out`."""
    end_s, start_s = float(windows.step_s[index]), float(windows.start_s[index])
    is_first = index == windows.first_index[index]
    if is_first:
        opening = windows.opening_value(index)
        _mean_since(block[index], opening, end_s, start_s, start_s, kind, out=out)
    else:
        previous_s = float(windows.step_s[index - 1])
        _mean_since(block[index], block[index - 1], end_s, previous_s, start_s, kind, out=out)
    lowest = float(out.min())
    counts = DeaccumulationCounts()
    if tolerance.is_asked and not lowest >= 0:
        counts = _clamp_negative(out, tolerance.at(index, None if is_first else index - 1))
    if np.isnan(lowest) and not is_first:
        counts += _bridge_gaps(block, index, windows, kind, tolerance, out=out)
    return counts


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
    block: FloatArray,
    index: int,
    windows: Windows,
    kind: str,
    tolerance: _Tolerance,
    *,
    out: FloatArray,
) -> DeaccumulationCounts:
    """Where the previous step alone is missing, write the mean since the last step that is not."""
    counts = DeaccumulationCounts()
    end_s, start_s = float(windows.step_s[index]), float(windows.start_s[index])
    gaps = np.isnan(block[index - 1]) & ~np.isnan(block[index])
    bases = [*range(index - 2, int(windows.first_index[index]) - 1, -1), None]
    for base in bases:
        if not gaps.any():
            break
        found = gaps if base is None else gaps & ~np.isnan(block[base])
        gaps = gaps & ~found
        at = indices_where(found)
        value = windows.opening_value(index) if base is None else block[base][at]
        base_s = start_s if base is None else float(windows.step_s[base])
        means = block[index][at]
        _mean_since(means, value, end_s, base_s, start_s, kind, out=means)
        if tolerance.is_asked:
            granted = np.broadcast_to(tolerance.at(index, base), found.shape)[at]
            counts += _clamp_negative(means, granted)
        out[at] = means
    return counts


def _clamp_negative(means: FloatArray, tolerance: Float64Array | float) -> DeaccumulationCounts:
    """Raise negative means within `tolerance` to 0, make lower ones NaN, and count both."""
    negative_count = int(np.count_nonzero(means < 0))
    invalid = means < -np.asarray(tolerance)
    invalid_count = int(np.count_nonzero(invalid))
    np.maximum(means, 0, out=means)
    if invalid_count:
        means[invalid] = np.nan
    return DeaccumulationCounts(clamped=negative_count - invalid_count, invalid=invalid_count)
