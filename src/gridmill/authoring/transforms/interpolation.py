"""Gaps of a single step, filled from their neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridmill.authoring.transforms.blocks import (
    BoolArray,
    FloatArray,
    indices_where,
    require_floats,
    step_blocks,
    validated_coordinate,
)
from gridmill.model.epochs import INTERPOLATION, stage

__all__ = ["interpolate_single_gaps_inplace", "interpolation_footprint"]


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
    require_floats(values)
    positions = validated_coordinate(coordinate, values, axis, "coordinate")
    weights = (positions[1:-1] - positions[:-2]) / (positions[2:] - positions[:-2])
    filled = 0
    for block in step_blocks(values, axis):
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


def _fill_gaps(before: FloatArray, current: FloatArray, after: FloatArray, *, weight: float) -> int:
    """Fill the NaN of `current` between finite neighbours; return how many there were."""
    if not np.isnan(current.min()):
        return 0
    gaps = indices_where(np.isnan(current) & np.isfinite(before) & np.isfinite(after))
    current[gaps] = before[gaps] + (after[gaps] - before[gaps]) * weight
    return int(gaps[0].size)
