"""Finds where values lie in others, as they themselves show it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from gridmill.sources.evidence.made import is_same, is_varied

__all__ = [
    "Place",
    "as_index",
    "at_place",
    "axes_that_fit",
    "lying",
    "picked",
    "run_of",
    "stored_as",
]

Values = np.ndarray[Any, Any]
# By axis a position, or some that follow each other; None for all.
Place = tuple[int | range | None, ...]
# So many values are looked for, and the rarest of them at no more places than these.
ANCHORS, MOST_HITS = 4, 256


def at_place(values: Values, place: Place) -> Values:
    """Return the part of values at a place, not copied."""
    return values[tuple(as_index(at) for at in place)]


def as_index(at: int | range | None) -> int | slice:
    """Return what takes a position, or some, without a copy."""
    if isinstance(at, range):
        return slice(at.start, at.stop)
    return slice(None) if at is None else at


def stored_as(raw: Values, dtype: np.dtype[Any]) -> Values:
    """Return values in the dtype that they are stored in."""
    with np.errstate(all="ignore"):
        return raw.astype(dtype, copy=False)


def axes_that_fit(small: Sequence[int], big: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the axes along which values of one shape can lie in those of another, in order.

    Examples
    --------
    >>> axes_that_fit((4, 5), (3, 4, 5))
    [(1, 2)]
    >>> axes_that_fit((2, 5), (3, 4, 5))
    [(0, 2), (1, 2)]
    """
    fits = list(combinations(range(len(big)), len(small)))
    return [a for a in fits if all(n <= big[at] for n, at in zip(small, a, strict=True))]


def lying(small: Values, big: Values, along: Sequence[int]) -> Iterator[Place]:
    """Yield where values lie in others of the same dtype, unchanged and next to each other.

    Values of which few differ show nothing.

    Parameters
    ----------
    small, big
        What is looked for, and where.
    along
        The axes of `big` along which those of `small` lie.
    """
    for begin, at in _anchored(small, big):
        place: list[int | range | None] = [*at]
        for number, before, n in zip(along, begin, small.shape, strict=True):
            first = at[number] - before
            if not 0 <= first <= big.shape[number] - n:
                break
            place[number] = None if n == big.shape[number] else range(first, first + n)
        else:
            if is_same(at_place(big, tuple(place)), small):
                yield tuple(place)


def picked(small: Values, big: Values, along: Sequence[int]) -> Iterator[tuple[int | Values, ...]]:
    """Yield by axis which positions of others values were taken from, in whatever steps and order.

    Parameters as of `lying`: every other one, or a list of positions. Values of which few differ
    show nothing.
    """
    for begin, at in _anchored(small, big):
        taken: list[int | Values] = [*at]
        for axis, number in enumerate(along):
            found = _positions_of(_line(small, begin, axis), _line(big, at, number))
            if found is None:
                break
            taken[number] = found
        else:
            if is_same(big[np.ix_(*map(np.atleast_1d, taken))].reshape(small.shape), small):
                yield tuple(taken)


def _anchored(small: Values, big: Values) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield where a value is in one and in the other array that is rare there."""
    if not is_varied(small):
        return
    found = np.flatnonzero(np.isfinite(small))
    anchors = found[np.linspace(0, found.size - 1, ANCHORS).astype(int)]
    hits = {int(at): np.flatnonzero(big == small.flat[at]) for at in anchors}
    anchor = min(hits, key=lambda at: hits[at].size)
    begin = tuple(map(int, np.unravel_index(anchor, small.shape)))
    for hit in hits[anchor][:MOST_HITS]:
        yield begin, tuple(map(int, np.unravel_index(hit, big.shape)))


def _line(values: Values, at: Sequence[int], axis: int) -> Values:
    """Return the values along an axis that lie at a position of all others."""
    place: list[int | slice] = [*at]
    place[axis] = slice(None)
    return values[tuple(place)]


def _positions_of(line: Values, there: Values) -> Values | None:
    """Return at which positions values are that were taken of a row; None where it is unclear.

    Of those that the row has several times, which one it is follows from the steps of the others.
    """
    order = np.argsort(there, kind="stable")
    first, stop = (np.searchsorted(there[order], line, side) for side in ("left", "right"))
    if (first == stop).any():
        return None
    known = np.flatnonzero(stop - first == 1)
    positions = order[first]
    if known.size == line.size:
        return positions
    if known.size < 2:
        return None
    step, rest = divmod(int(positions[known[-1]] - positions[known[0]]), int(known[-1] - known[0]))
    guessed = positions[known[0]] + step * (np.arange(line.size) - known[0])
    is_there = rest == 0 and guessed.min() >= 0 and guessed.max() < there.size
    return guessed if is_there else None


def run_of(positions: Values | None) -> range | None:
    """Return which labels some positions are, if those follow each other in whatever order."""
    if positions is None or positions.size == 0:
        return None
    ordered = np.sort(positions)
    follow = ordered[0] >= 0 and (np.diff(ordered) == 1).all()
    return range(int(ordered[0]), int(ordered[-1]) + 1) if follow else None
