"""Weights along one axis: of neighbouring points, and of cells that overlap. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Entries", "Neighbours", "cells_of", "check_axis", "is_around", "overlaps"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

TURN = 360.0
POLE = 90.0
# Of a step: what labels are apart that were meant to be the same.
NEAR = 1e-6


@dataclass(frozen=True)
class Entries:
    """What is not 0 of a matrix: rows are the archive's positions, columns the source's."""

    at: Places
    of: Places
    weights: Floats


def check_axis(labels: Floats, name: str) -> None:
    """Refuse labels that are no axis.

    Raises
    ------
    ValueError
        There are fewer than two, or they neither rise nor fall.
    """
    steps = np.diff(labels)
    if labels.size < 2 or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(
            f"{name} {_few(labels)} must be at least two that all rise or all fall, to be regridded"
        )
    if name.endswith("longitudes") and abs(labels[-1] - labels[0]) >= TURN - NEAR:
        raise ValueError(f"{name} {_few(labels)} reach around the globe and name a meridian twice")


def is_around(longitudes: Floats) -> bool:
    """Whether the last of the longitudes is the neighbour of the first."""
    step = abs(float(np.median(np.diff(longitudes))))
    return bool(abs(np.ptp(longitudes) + step - TURN) < 0.01 * step)


class Neighbours:
    """Finds the two labels of an axis between which a place lies.

    Parameters
    ----------
    labels
        All rise, or all fall.
    turn
        What is a whole turn, along it; None if nothing is.
    caps
        Whether the axis goes on to both poles, by one position before the first and one after the
        last: positions are counted from the first of these then, too.
    """

    def __init__(self, labels: Floats, *, turn: float | None = None, caps: bool = False) -> None:
        order = np.argsort(labels)
        known, places = labels[order], order + 1 if caps else order
        self._turn = turn
        if caps:
            known, places = _with_poles(known, places, labels.size)
        if turn is not None and is_around(labels):
            known = np.append(known, known[0] + turn)
            places = np.append(places, places[0])
        self._labels, self._places = known, places
        single = float(np.finfo("float32").eps) * float(np.abs(known).max())
        self._near = max(NEAR * float(np.diff(known).min()), single)

    def entries(self, places: Floats) -> tuple[Places, Places, Floats, npt.NDArray[np.bool_]]:
        """Return the positions on both sides, the second one's weight, and where there are such."""
        first = self._labels[0] - self._near
        if self._turn is not None:
            places = first + (places - first) % self._turn
        at = np.searchsorted(self._labels, places, side="right") - 1
        at = np.clip(at, 0, self._labels.size - 2)
        step = self._labels[at + 1] - self._labels[at]
        share = (places - self._labels[at]) / step
        share[np.abs(share) <= self._near / step] = 0.0
        share[np.abs(share - 1.0) <= self._near / step] = 1.0
        inside = (share >= 0) & (share <= 1)  # NaN is not
        return self._places[at], self._places[at + 1], share, inside

    def along(self, places: Floats) -> Entries:
        """Return the weights of the labels for each place."""
        one, other, share, inside = self.entries(places)
        at = np.flatnonzero(inside)
        return Entries(
            np.concatenate([at, at]),
            np.concatenate([one[at], other[at]]),
            np.concatenate([1.0 - share[at], share[at]]),
        )


def _with_poles(rising: Floats, places: Places, many: int) -> tuple[Floats, Places]:
    """Add the poles that lie beyond the last labels by at most a step."""
    step = float(np.median(np.diff(rising)))
    south, north = (0, many + 1) if places[0] < places[-1] else (many + 1, 0)
    if -POLE < rising[0] <= -POLE + step * (1 + NEAR):
        rising, places = np.append(-POLE, rising), np.append(south, places)
    if POLE > rising[-1] >= POLE - step * (1 + NEAR):
        rising, places = np.append(rising, POLE), np.append(places, north)
    return rising, places


def cells_of(labels: Floats, *, is_longitude: bool) -> Floats:
    """Return both ends of each label's cell, ``(label, 2)``, the lower one first.

    Ends lie midway between labels. The first and the last cell are as wide on both sides, but for
    latitudes, which end at a pole that is at most a step away, and longitudes around the globe.

    Examples
    --------
    >>> cells_of(np.array([90.0, 80.0, 70.0]), is_longitude=False).tolist()
    [[85.0, 90.0], [75.0, 85.0], [65.0, 75.0]]
    >>> cells_of(np.array([0.0, 90.0, 180.0, 270.0]), is_longitude=True).tolist()
    [[-45.0, 45.0], [45.0, 135.0], [135.0, 225.0], [225.0, 315.0]]
    """
    order = np.argsort(labels)
    rising = labels[order]
    middles = (rising[1:] + rising[:-1]) / 2
    first, last = 2 * rising[0] - middles[0], 2 * rising[-1] - middles[-1]
    if is_longitude and is_around(labels):
        first = (rising[0] + rising[-1] - TURN) / 2
        last = first + TURN
    if not is_longitude:
        step = float(np.median(np.diff(rising)))
        first = -POLE if rising[0] <= -POLE + step else max(first, -POLE)
        last = POLE if rising[-1] >= POLE - step else min(last, POLE)
    ends = np.concatenate([[first], middles, [last]])
    cells = np.empty((labels.size, 2))
    cells[order] = np.stack([ends[:-1], ends[1:]], axis=1)
    return cells


def overlaps(wanted: Floats, source: Floats, *, is_longitude: bool) -> Entries:
    """Return which share of each wanted cell lies in which cell of the source, by area.

    Parameters
    ----------
    wanted, source
        Cells as `cells_of` gives them, degrees. The area of a zone is that between the sines of its
        latitudes.
    is_longitude
        Whether they are of longitudes, of which each is found in any turn; else of latitudes.
    """
    numbers = np.arange(len(source))
    if is_longitude:
        source, numbers = _in_all_turns(source, numbers, wanted)
    ours, theirs = np.argsort(wanted[:, 0]), np.argsort(source[:, 0])
    ends = np.unique(np.concatenate([wanted.ravel(), source.ravel()]))
    middles = (ends[1:] + ends[:-1]) / 2
    at, of = (_cell_at(cells, middles) for cells in (wanted[ours], source[theirs]))
    both = np.flatnonzero((at >= 0) & (of >= 0))
    at, of = ours[at[both]], theirs[of[both]]
    width = _width(np.stack([ends[both], ends[both + 1]], axis=1), is_longitude)
    return Entries(at, numbers[of], width / _width(wanted, is_longitude)[at])


def _in_all_turns(source: Floats, numbers: Places, wanted: Floats) -> tuple[Floats, Places]:
    first = int(np.floor((wanted.min() - source.max()) / TURN))
    last = int(np.ceil((wanted.max() - source.min()) / TURN))
    turns = range(first, last + 1)
    repeated = np.concatenate([source + TURN * turn for turn in turns])
    return repeated, np.concatenate([numbers for _ in turns])


def _cell_at(rising: Floats, places: Floats) -> Any:
    """Return in which cell each place lies; -1 if in none."""
    at = np.searchsorted(rising[:, 0], places, side="right") - 1
    is_in = (at >= 0) & (places < rising[np.maximum(at, 0), 1])
    return np.where(is_in, at, -1)


def _width(cells: Floats, is_longitude: bool) -> Floats:
    of = cells if is_longitude else np.sin(np.radians(cells))
    return np.asarray(of[:, 1] - of[:, 0])


def _few(labels: Floats) -> str:
    return f"{labels.size} from {labels[0]:g} to {labels[-1]:g}" if labels.size else "none"
