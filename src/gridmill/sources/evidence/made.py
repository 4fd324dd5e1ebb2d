"""In which order an author's code made values of what it read, as the values themselves show. Pure.

`read_data` may give what a reader gave, or what it calculated of that, turned or not. Values that
follow what was read, place by place, lie as in the file; those that follow it turned lie as in the
archive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import chain, combinations_with_replacement
from math import lgamma, log
from typing import Any

import numpy as np

__all__ = [
    "MOST_COMPARED",
    "Read",
    "is_as_in_file",
    "is_made_of",
    "is_rather_of",
    "is_same",
    "is_varied",
    "turned",
]

Values = np.ndarray[Any, Any]
# By axis, where each label of the archive is in the file.
Orders = Mapping[int, np.ndarray[Any, Any]]
Columns = Callable[[list[Values]], list[Values]]
# Fewer ways to arrange values than these are found by chance.
FEWEST_WAYS = 1000.0
# How many values are looked at one by one, and by least squares; of more, so many are drawn.
MOST_POINTS, MOST_SQUARED = 1_000_000, 100_000
# How many are before all of them are.
SAMPLE = 64
# What least squares leave of what is a sum: what rounding does.
ROUNDED = 1e-6
# What they may leave of what is more than a sum, and how many times as much in the other order.
LEFT, TIMES = 0.25, 4.0
# The same of what differs from the mean of its row, which is less alike in both orders.
LEFT_OF_ROWS, TIMES_OF_ROWS = 0.55, 1.7
# The share of places at which values are what was read, if a mask has the others; and how many
# different values there are at least of what is no category.
MOSTLY, FEWEST_CLASSES = 0.4, 8
# What rounding to float32 does, some times over.
SINGLE = 8 * float(np.finfo("float32").eps)
# How many values tell of which of two fields others were made.
MOST_COMPARED = 4096
# Of more than so many, squares and products are too many to try.
MOST_MULTIPLIED = 3
# Into how many classes what was read is put, and how many values a class has at least on average.
MOST_CLASSES, OF_CLASS = 256, 8


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of a file, in the shape of what was made of it.

    Parameters
    ----------
    raw
        The values in the file's order.
    orders
        Where that differs from the archive's; empty if it does not.
    """

    raw: Values
    orders: Orders

    @cached_property
    def turned(self) -> Values:
        """The values in the archive's order."""
        return turned(self.raw, self.orders)


def turned(values: Values, orders: Orders) -> Values:
    """Return values in another order."""
    for number, order in orders.items():
        values = np.take(values, order, axis=number)
    return values


def is_same(values: Values, raw: Values) -> bool:
    """Whether values are those that were read, in the dtype that they are stored in."""
    if values.dtype.kind in "iu" and raw.dtype.kind == "f":  # what stands for NaN may be any
        known = np.isfinite(raw)
        values, raw = values[known], raw[known]
    with np.errstate(all="ignore"):
        return np.array_equal(values, raw.astype(values.dtype), equal_nan=values.dtype.kind == "f")


def is_made_of(values: Values, raw: Values) -> bool:
    """Whether values are what was read, in this order, shifted or scaled by one number.

    Of what has few different values nothing shows it.
    """
    some = np.linspace(0, values.size - 1, min(SAMPLE, values.size)).astype(int)
    if not _is_shifted(values.flat[some], raw.flat[some]):
        return False
    return is_varied(raw) and _is_shifted(values.ravel(), raw.ravel())


def is_varied(raw: Values) -> bool:
    """Whether values are so different that they show where they are."""
    return np.unique(raw[np.isfinite(raw)][:MOST_SQUARED]).size >= FEWEST_CLASSES


def _is_shifted(ours: Values, theirs: Values) -> bool:
    known = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = (of[known].astype("float64") for of in (ours, theirs))
    return ours.size == 0 or _share_shifted(ours, theirs) == 1.0


def is_as_in_file(values: Values, read: Sequence[Read]) -> bool | None:
    """Whether values lie as those in the file that they were made of.

    Parameters
    ----------
    values
        What was made.
    read
        Of what; the order of one at least is not the archive's.

    Returns
    -------
    bool or None
        False: they lie as in the archive, or in either order alike. None: nothing shows it, or
        they were made of what was read in several orders.
    """
    if all(is_same(values, turned(values, one.orders)) for one in read):
        return False
    found = next((it for it in (test(values, read) for test in TESTS) if it is not None), None)
    is_one_order = all(_are_equal(one.orders, read[0].orders) for one in read)
    return None if found and not is_one_order else found


def is_rather_of(values: Values, first: Sequence[Read], second: Sequence[Read]) -> bool | None:
    """Whether values were made of some that were read, not of others; None: nothing shows it.

    Each may lie in the file's order or in the archive's.
    """
    rises = [any(map(partial(_rises_or_falls, values), _ways(of))) for of in (first, second)]
    if rises[0] != rises[1]:
        return rises[0]
    by_sums = map(_share_left_of, (_columns, _multiplied, _cubed))
    for share in (*by_sums, _share_left_by_classes):
        found = _is_better((share(values, first), share(values, second)), LEFT, TIMES)
        if found is not None:
            return found
    return None


def _ways(read: Sequence[Read]) -> list[Values]:
    """Return one alone in both orders; nothing of several."""
    return [way for one in read[: len(read) == 1] for way in (one.raw, one.turned)]


def _share_left_of(columns: Columns) -> Callable[[Values, Sequence[Read]], float | None]:
    def share(values: Values, read: Sequence[Read]) -> float | None:
        return _least(_left_of(values, read, columns, MOST_COMPARED))

    return share


def _share_left_by_classes(values: Values, read: Sequence[Read]) -> float | None:
    return _least(_left_by_classes(values, read, MOST_COMPARED))


def _least(left: tuple[float | None, float | None]) -> float | None:
    return min((one for one in left if one is not None), default=None)


def _are_equal(first: Orders, second: Orders) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(order, second[number]) for number, order in first.items()
    )


# -- what shows an order: True for the file's, False for the archive's, None for neither ------


def _by_itself(values: Values, read: Sequence[Read]) -> bool | None:
    """Values are what was read."""
    as_read = any(is_same(values, one.raw) for one in read if one.orders)
    as_turned = any(is_same(values, one.turned) for one in read)
    return as_read if as_read != as_turned else None


def _by_shift(values: Values, read: Sequence[Read]) -> bool | None:
    """Values are what was read, shifted or scaled by one number."""
    as_read = as_turned = False
    for one in read:
        shares = _shares_shifted(values, one, _known(values, one))
        as_read |= shares[0] == 1.0 > shares[1]
        as_turned |= shares[1] == 1.0 > shares[0] or (not one.orders and shares[1] == 1.0)
    return as_read if as_read != as_turned else None


def _mostly_by_shift(values: Values, read: Sequence[Read]) -> bool | None:
    """Values are that, and in fewer places what a mask has there."""
    as_read = as_turned = False
    for one in read:
        at = _known(values, one) & (one.raw != one.turned)  # what tells the orders apart
        if np.unique(one.raw[at]).size >= FEWEST_CLASSES:
            shares = _shares_shifted(values, one, at)
            as_read |= shares[0] >= MOSTLY and shares[1] < MOSTLY / 2
            as_turned |= shares[1] >= MOSTLY and shares[0] < MOSTLY / 2
    return as_read if as_read != as_turned else None


def _by_sum(values: Values, read: Sequence[Read]) -> bool | None:
    """Values are a multiple of what was read, or the sum of such multiples."""
    left = _left_of(values, read, _columns)
    as_read, as_turned = (one is not None and one <= ROUNDED for one in left)
    return as_read if as_read != as_turned else None


def _by_rise(values: Values, read: Sequence[Read]) -> bool | None:
    """Values rise throughout with what was read, or fall: whatever the formula."""
    others = [one for one in read if one.orders]
    as_read = any(_rises_or_falls(values, one.raw) for one in others)
    as_turned = any(_rises_or_falls(values, one.turned) for one in others)
    return as_read if as_read != as_turned else None


def _by_products(values: Values, read: Sequence[Read]) -> bool | None:
    """Values are explained by what was read, its squares and products, in one order far better."""
    return _is_better(_left_of(values, read, _multiplied), LEFT, TIMES)


def _by_rows(values: Values, read: Sequence[Read]) -> bool | None:
    """So is what of them differs from the means of what stays in its row."""
    moved = {number for one in read for number in one.orders}
    along = tuple(n for n, length in enumerate(values.shape) if n not in moved and length > 1)
    if not along:
        return None
    rows = [Read(_without_mean(one.raw, along), one.orders) for one in read]
    left = _left_of(_without_mean(values, along), rows, _columns)
    return _is_better(left, LEFT_OF_ROWS, TIMES_OF_ROWS)


def _by_classes(values: Values, read: Sequence[Read]) -> bool | None:
    """Values are alike where what was read is alike, in one order far more than in the other.

    Directions, codes of a table, bits and categories are no sums and rise with nothing.
    """
    return _is_better(_left_by_classes(values, read), LEFT, TIMES)


def _is_better(left: tuple[float | None, float | None], most: float, times: float) -> bool | None:
    as_read, as_turned = left
    if as_read is None or as_turned is None:
        return None
    less, more = sorted((as_read, as_turned))
    # Where both orders explain all, what rounding leaves tells nothing.
    return as_read < as_turned if less <= most and more >= times * max(less, ROUNDED) else None


def _without_mean(values: Values, along: tuple[int, ...]) -> Values:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=along, keepdims=True)
    return np.asarray(values - total / np.maximum(known.sum(axis=along, keepdims=True), 1))


TESTS: tuple[Callable[[Values, Sequence[Read]], bool | None], ...] = (
    _by_itself,
    _by_sum,  # before the others, for it looks at a part of many points
    _by_shift,
    _by_rise,
    _mostly_by_shift,
    _by_products,
    _by_rows,
    _by_classes,
)

# -- how they are looked at -------------------------------------------------------------------


def _known(values: Values, one: Read) -> Values:
    """Return where neither values nor what was read, in either order, are missing."""
    known: Values = np.isfinite(values) & np.isfinite(one.raw) & np.isfinite(one.turned)
    return known


def _drawn(at: Values, most: int) -> Values:
    """Return the flat positions of places; of more than so many, the same at each time."""
    places = np.flatnonzero(at)
    if places.size <= most:
        return places
    return np.sort(np.random.default_rng(0).choice(places, most, replace=False))


def _shares_shifted(values: Values, one: Read, at: Values) -> tuple[float, float]:
    """Return at which share of some places values are what was read, shifted, and it turned."""
    places = _drawn(at, MOST_POINTS)
    if places.size == 0:
        return 0.0, 0.0
    ours, raw, turned = (
        of.ravel()[places].astype("float64") for of in (values, one.raw, one.turned)
    )
    return _share_shifted(ours, raw), _share_shifted(ours, turned)


def _share_shifted(ours: Values, theirs: Values) -> float:
    apart = ours - theirs
    near = SINGLE * max(np.abs(ours).max(), np.abs(theirs).max())
    share = max((np.abs(apart - shift) <= near).mean() for shift in (0.0, np.median(apart)))
    at = theirs != 0
    if at.any() and ours.any():
        scaled = theirs * np.median(ours[at] / theirs[at])
        share = max(share, (np.abs(ours - scaled) <= SINGLE * np.abs(ours).max()).mean())
    return float(share)


def _rises_or_falls(values: Values, raw: Values) -> bool:
    places = _drawn(np.isfinite(values) & np.isfinite(raw), MOST_POINTS)
    ours, theirs = values.ravel()[places], raw.ravel()[places]
    if not _has_order(ours):
        return False
    order = np.argsort(theirs, kind="stable")
    ours, theirs = ours[order].astype("float64"), theirs[order]
    steps = np.diff(ours)
    is_formula = not steps[np.diff(theirs) == 0].any()
    return bool(is_formula and ((steps >= 0).all() or (steps <= 0).all()))


def _has_order(values: Values) -> bool:
    """Whether values are so many, and so different, that their order is none by chance."""
    counts = np.unique(values, return_counts=True)[1]
    largest = sorted(map(int, counts))[-8:]  # of eight values there are ways enough
    ways = lgamma(sum(largest) + 1) - sum(lgamma(count + 1) for count in largest)
    return ways >= log(FEWEST_WAYS)


def _left_of(
    values: Values, read: Sequence[Read], columns: Columns, most: int = MOST_SQUARED
) -> tuple[float | None, float | None]:
    """Return which share of values least squares leave, by what was read and by it turned.

    None where there are too few to tell.
    """
    if not read:
        return None, None
    known = np.logical_and.reduce([_known(values, one) for one in read])
    at = _drawn(known, most)
    ours = _normal(values.ravel()[at])
    raw = [_normal(one.raw.ravel()[at]) for one in read]
    turned = [_normal(one.turned.ravel()[at]) for one in read]
    return _left(ours, columns(raw)), _left(ours, columns(turned))


def _normal(values: Values) -> Values:
    values = values.astype("float64")
    spread = values.std() if values.size else 0.0
    return (values - values.mean()) / spread if spread else np.zeros_like(values)


def _columns(read: list[Values]) -> list[Values]:
    return read


def _multiplied(read: list[Values]) -> list[Values]:
    if len(read) > MOST_MULTIPLIED:
        return read
    pairs = [(a, b) for number, a in enumerate(read) for b in read[number:]]
    return read + [a * b for a, b in pairs]


def _cubed(read: list[Values]) -> list[Values]:
    """Return all products of up to three, which come near whatever is smooth."""
    if len(read) > MOST_MULTIPLIED:
        return read
    some = (combinations_with_replacement(read, n) for n in (1, 2, 3))
    return [reduce(np.multiply, of) for of in chain.from_iterable(some)]


def _left(ours: Values, columns: list[Values]) -> float | None:
    free = len(columns) + 1
    if ours.size < 3 * free or not ours.any():
        return None
    design = np.stack([np.ones_like(ours), *columns], axis=1)
    fitted = design @ np.linalg.lstsq(design, ours, rcond=None)[0]
    return float(((ours - fitted) ** 2).sum() / (ours**2).sum())


def _left_by_classes(
    values: Values, read: Sequence[Read], most: int = MOST_SQUARED
) -> tuple[float | None, float | None]:
    """Return which share of values the means of classes leave, as `_left_of` does."""
    if not 0 < len(read) <= MOST_MULTIPLIED:
        return None, None
    at = _drawn(np.logical_and.reduce([_known(values, one) for one in read]), most)
    ours = _normal(values.ravel()[at])
    return (
        _left_of_classes(ours, [one.raw.ravel()[at] for one in read]),
        _left_of_classes(ours, [one.turned.ravel()[at] for one in read]),
    )


def _left_of_classes(ours: Values, read: list[Values]) -> float | None:
    """Return which share of values the means of classes leave, of as many classes as tell."""
    most = int(min(MOST_CLASSES, (ours.size / OF_CLASS) ** (1 / len(read))))
    if most < 2 or not ours.any():
        return None
    classes = np.zeros(ours.size, "int64")
    for one in (of.astype("float64") for of in read):
        ends = np.unique(np.quantile(one, np.linspace(0, 1, most + 1)[1:-1]))
        classes = classes * (most + 1) + np.searchsorted(ends, one, "right")
    classes = np.unique(classes, return_inverse=True)[1]
    counts = np.bincount(classes)
    free = ours.size - counts.size
    if free < 1:
        return None
    apart = ours - (np.bincount(classes, ours) / counts)[classes]
    return float((apart**2).sum() / free * ours.size / (ours**2).sum())
