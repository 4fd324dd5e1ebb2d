"""Where the values of a variable change as only another unit changes them. Pure.

Weather moves the level of a field, and seldom its shape by the same measure: when a drought ends,
the mean grows a thousandfold, since it rains in more places, and the largest value does not.
Another unit moves mean, spread and extremes alike, at once, and for good. So a shift is one of

- an *offset*: the means fall into two groups that are further apart than either is wide, and the
  fields before and after have one shape;
- a *scaling*: everything after reaches `factor` times as far from 0 as anything before, or the
  other way round, at once, with mean, spread and extremes in about one ratio;
- a *turn*: what never was below 0 never is above it any more, and reaches about as far.

Measured on 25,480 simulated series (`tests/support/simulated.py`: 14 kinds of fields, among them
droughts and monsoons, lying snow, sea ice, polar nights and fronts; steps of an hour to a month; 24
to 2000 positions): 2 false alarms, both of snow. Found within 12 positions of the first value that
differs, of 25,872 changes, where at least 72 positions are looked at:

- temperature in degrees Celsius or Fahrenheit for kelvin: 98-99 %;
- factors of 100 to 86400, up or down, on temperature, pressure, wind, cloud cover and the rain of
  all of Earth: 98-100 %; on heat fluxes and sea ice 77-85 %; on what is 0 for days or months (a
  region's rain, a monsoon, snow, polar sunshine, freezing rain) 59-84 %, a hundredth of snow 33 %;
- another sign of what has one: 62-99 %; of a heat flux, which has two, 12 %; of a wind none;
- a tenth more or less: 98-99 % of global temperature and of pressure, else at most 10 %: weather
  does more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FieldSeries", "find_level_shifts"]

Values = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

# How much of their width shapes may differ, as medians of windows do in weather.
SHAPE_TOLERANCE = 0.35
# By how much mean, spread and extremes may disagree on a factor: a power of it, and a factor.
RATIO_POWER, RATIO_FACTOR = 0.35, 3.0
# Values this much smaller than the largest have no sign: packing leaves less than nothing of rain.
TINY = 1e-3
# A turned quantity reaches as far as before, up to weather.
TURN_FACTOR = 10.0


@dataclass(frozen=True)
class FieldSeries:
    """Statistics of a variable's fields, in order, (n,) each, all finite.

    Parameters
    ----------
    mean, std, minimum, maximum
        Over a field, in the variable's units.
    """

    mean: Values
    std: Values
    minimum: Values
    maximum: Values

    @property
    def reach(self) -> Values:
        """How far values are from 0 at most."""
        reach: Values = np.maximum(abs(self.minimum), abs(self.maximum))
        return reach

    def __getitem__(self, at: Any) -> FieldSeries:
        """Return a part."""
        return FieldSeries(self.mean[at], self.std[at], self.minimum[at], self.maximum[at])

    def __len__(self) -> int:
        """How many fields there are."""
        return len(self.mean)


def find_level_shifts(series: FieldSeries, width: int, factor: float = 10.0) -> list[int]:
    """Find the positions from which on values are in other units.

    Parameters
    ----------
    series
        Of at least ``2 * width`` fields, or nothing is found.
    width
        How many fields at least have one unit: so many that every hour of the day is among them.
    factor
        The least ratio that is a scaling.

    Returns
    -------
    list of int
        Positions, sorted.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fields = 285 + 10 * rng.standard_normal((60, 500))
    >>> fields[40:] -= 273.15
    >>> series = FieldSeries(fields.mean(1), fields.std(1), fields.min(1), fields.max(1))
    >>> find_level_shifts(series, width=10)
    [40]
    """
    return sorted(
        set(
            _offsets(series, width)
            or list(_scalings(series, width, factor))
            or _turns(series, width)
        )
    )


# -- offsets ----------------------------------------------------------------------------------


def _offsets(series: FieldSeries, width: int) -> list[int]:
    values = series.mean
    ordered = np.sort(values)
    gaps = np.diff(ordered)[width - 1 : len(values) - width]
    if not len(gaps):
        return []
    at = width - 1 + int(np.argmax(gaps))
    low, high, gap = ordered[: at + 1], ordered[at + 1 :], gaps.max()
    rounding = 1e-3 * abs(values).max()
    if gap <= max(np.ptp(low), np.ptp(high), rounding):
        return []
    edges = _edges(values > ordered[at], width)
    return [edge for edge in edges if _has_one_shape(series, edge, width)]


def _edges(state: Mask, width: int) -> list[int]:
    """Return where a state changes; none if any of its runs is shorter than a window."""
    edges = (np.flatnonzero(np.diff(state.astype(int))) + 1).tolist()
    runs = np.diff([0, *edges, len(state)])
    return edges if runs.min() >= width else []


def _has_one_shape(series: FieldSeries, at: int, width: int) -> bool:
    """Whether fields before and after are alike, as they are or upside down, but for a factor."""
    before, after = series[max(0, at - width) : at], series[at : at + width]
    spread = [float(np.median(part.std)) for part in (before, after)]
    if min(spread) <= 0:
        return False
    above, below = (
        [float(np.median(part.maximum - part.mean)) for part in (before, after)],
        [float(np.median(part.mean - part.minimum)) for part in (before, after)],
    )
    ratio = spread[1] / spread[0]
    tolerance = SHAPE_TOLERANCE * (above[1] + below[1])
    same = max(abs(above[0] * ratio - above[1]), abs(below[0] * ratio - below[1]))
    turned = max(abs(above[0] * ratio - below[1]), abs(below[0] * ratio - above[1]))
    return min(same, turned) < tolerance


# -- scalings ---------------------------------------------------------------------------------


def _scalings(series: FieldSeries, width: int, factor: float) -> Iterator[int]:
    """Yield where everything after reaches further, or less far, by a factor than all before."""
    known = np.flatnonzero(series.std > 0)  # of nothing, another unit makes nothing
    if len(known) < 3 * width:
        return
    part = series[known]
    windows = np.lib.stride_tricks.sliding_window_view(part.reach, width).max(axis=1)
    before, after = windows[:-width], windows[width:]
    most_before, least_before = np.maximum.accumulate(before), np.minimum.accumulate(before)
    most_after = np.maximum.accumulate(after[::-1])[::-1]
    least_after = np.minimum.accumulate(after[::-1])[::-1]
    # A window that holds both sides reaches as far as the larger one.
    candidates = [run[-1] + width for run in _runs(least_after > factor * most_before)]
    candidates += [run[0] + width for run in _runs(least_before > factor * most_after)]
    for at in candidates:
        if _has_one_ratio(part, at) and _is_at_once(part.reach, at, width):
            yield int(known[at])


def _has_one_ratio(series: FieldSeries, at: int) -> bool:
    """Whether mean, spread and extremes are larger after than before by about one factor."""
    logs = [
        np.log(part[at:].max() / part[:at].max())
        for part in (abs(series.mean), series.std, series.reach)
        if part[at:].max() > 0 and part[:at].max() > 0
    ]
    allowed = RATIO_POWER * abs(logs[-1]) + np.log(RATIO_FACTOR)
    return bool(max(logs) - min(logs) < allowed)


def _is_at_once(reach: Values, at: int, width: int) -> bool:
    """Whether half of it, in orders of magnitude, is between neighbouring fields."""
    near = max(2, width // 2)
    jump = abs(np.log(reach[at : at + near].max() / reach[max(0, at - near) : at].max()))
    return bool(jump >= 0.5 * abs(np.log(reach[at:].max() / reach[:at].max())))


def _runs(marked: Mask) -> list[list[int]]:
    places = np.flatnonzero(marked)
    parts = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [part.tolist() for part in parts if len(part)]


# -- turns ------------------------------------------------------------------------------------


def _turns(series: FieldSeries, width: int) -> list[int]:
    reach = series.reach
    tiny = TINY * reach.max()
    is_above, is_below = series.minimum >= -tiny, series.maximum <= tiny
    if not (is_above | is_below).all():
        return []
    known = np.flatnonzero((is_above ^ is_below) & (series.std > 0))
    if len(known) < 3 * width:
        return []
    reach = reach[known]
    turns = []
    for at in _edges(is_above[known], width):
        ratio = reach[at : at + width].max() / reach[at - width : at].max()
        if 1 / TURN_FACTOR < ratio < TURN_FACTOR:
            turns.append(int(known[at]))
    return turns
