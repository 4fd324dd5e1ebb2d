"""Validators of the values themselves, by the statistics of every field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of
from gridmill.validation.checks.physical_ranges import Range, physical_range
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding
from gridmill.validation.statistics.level_shifts import FieldSeries, find_level_shifts
from gridmill.validation.statistics.profiles import FieldStatistics

__all__ = [
    "AllReadable",
    "LevelShift",
    "MissingValues",
    "NoConstantField",
    "NoRepeatedField",
    "PhysicalRange",
    "Tier",
    "ValueValidator",
    "range_of",
    "series_of",
]

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Values = np.ndarray[Any, Any]

# Findings a variable and validator: beyond, the rest is one.
MOST_SPANS = 8
# Fewer values than these are equal by chance.
FEW_CELLS = 16
# A quantity that is so, so often, is so by nature.
BY_NATURE = 0.5


class ValueValidator(ABC):
    """Looks at the statistics of every field, a variable at a time; subclass it.

    The statistics are computed once, whichever validators look at them.
    """

    name: str

    def check(self, context: Context) -> CheckResult:
        """Look at every selected variable of which readers see anything."""
        seen = [v for v in context.variables if context.published or not context.config.varies(v)]
        findings = [f for var in seen for f in self.look(context, var, context.statistics(var))]
        n = context.positions.stop - context.positions.start
        variables, positions = count_of(len(seen), "variable"), count_of(n, "position")
        return CheckResult(
            validator=self.name, findings=tuple(findings), examined=f"{variables} at {positions}"
        )

    @abstractmethod
    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Yield what is wrong with one variable."""


@dataclass(frozen=True, kw_only=True)
class AllReadable(ValueValidator):
    """Every chunk can be read and decoded."""

    name: str = "readable"

    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Yield the blocks that the scan could not read."""
        causes: dict[tuple[int, int], str] = {}
        for at, cause in stats.unreadable:
            causes.setdefault((at.start, at.stop), cause)
        for (start, stop), cause in sorted(causes.items())[:MOST_SPANS]:
            yield _finding(context, var, slice(start, stop), f"cannot be read: {cause}")


@dataclass(frozen=True, kw_only=True)
class PhysicalRange(ValueValidator):
    """No value is outside of what its quantity can have; none is infinite.

    Parameters
    ----------
    ranges
        By variable, lowest and highest value in its own units. They go before
        `DataVar.valid_range`, and that before the table by CF standard name and units. A quantity
        that is in none of them may have any finite value.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    name: str = "physical range"

    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Compare every field's extremes with the variable's range."""
        low, high = range_of(var, self.ranges) or (-np.inf, np.inf)
        least, most = _arrays(stats, var, context, "minimum", "maximum")
        # Rounding may carry a value at the bound across it, and so may packing.
        step = abs(var.encoding.scale) if var.encoding.is_packed else 0.0
        slack = _rounding(var) * np.array([abs(low), abs(high)]) + step / 2
        wrong = np.isinf(least) | np.isinf(most)
        if np.isfinite(slack).all():
            wrong |= (least < low - slack[0]) | (most > high + slack[1])
        for at in spans_of(wrong):
            inside = wrong[at]
            found = f"{np.min(least[at][inside]):g} … {np.max(most[at][inside]):g}"
            message = f"values {found} {var.attrs['units']} are outside of [{low:g}, {high:g}]"
            yield _finding(context, var, _moved(at, stats.start), message)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """How many more values than usual may be missing.

    Parameters
    ----------
    fraction
        Of a field's values, from 0 to 1.
    younger_than
        For positions whose label is younger than this; None for all.
    """

    fraction: float
    younger_than: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class MissingValues(ValueValidator):
    """No field lacks more values than is usual for its variable, unless a source file is missing.

    What is usual is the median over the positions looked at, for each lead, member or level by
    itself: land in a sea temperature, lead 0 of an accumulation. Fields that are not offered, like
    the last leads of shorter forecasts, are left out.

    Parameters
    ----------
    tiers
        The first that covers a position holds.
    """

    tiers: tuple[Tier, ...] = (
        Tier(fraction=0.2, younger_than=timedelta(days=1)),
        Tier(fraction=0.02),
    )
    name: str = "missing values"

    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Compare every field's missing values with what is usual."""
        missing = _by_position(stats.missing.values, var, context)
        explained = _explained(context, var, stats.start, len(missing))
        compared = ~_over_fields(explained, missing) & ~not_offered(stats, var, context)
        if not compared.any():
            return
        usual = _usual(missing, compared)
        allowed = self._allowed(context, var, stats.start, len(missing))
        excess = missing > usual + _over_fields(allowed, missing)
        if usual.min(initial=1.0) >= 1:  # nothing at all is no usual state
            excess |= missing >= 1
        excess &= compared
        for at in spans_of(excess):
            most = missing[at][excess[at]].max()
            message = (
                f"up to {most:.0%} of a field is missing, usual is {np.median(usual):.0%}, and all "
                "source files arrived"
            )
            yield _finding(context, var, _moved(at, stats.start), message)

    def _allowed(self, context: Context, var: DataVar, start: int, n: int) -> Values:
        if not context.config.varies(var):
            return np.full(n, self.tiers[-1].fraction)
        ages = [context.now - label for label in context.labels[start : start + n]]
        allowed = np.zeros(n)
        for tier in reversed(self.tiers):
            youngest = tier.younger_than
            holds = [youngest is None or age < youngest for age in ages]
            allowed[np.array(holds, bool)] = tier.fraction
        return allowed


@dataclass(frozen=True, kw_only=True)
class NoConstantField(ValueValidator):
    """No field has one value everywhere, but for 0, 1 and the ends of its range.

    A night without sun and a sky all overcast are constant by nature.
    """

    name: str = "constant fields"

    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Compare every field's extremes with each other."""
        least, most, valid = _arrays(stats, var, context, "minimum", "maximum", "valid")
        constant = (least == most) & (valid >= FEW_CELLS) & ~_is_bound(var, least)
        if constant.mean() > BY_NATURE and len(constant) > 1:
            return
        for at in spans_of(constant):
            value = least[at][constant[at]][0]
            message = f"a field has the value {value:g} {var.attrs['units']} everywhere"
            yield _finding(context, var, _moved(at, stats.start), message)


@dataclass(frozen=True, kw_only=True)
class NoRepeatedField(ValueValidator):
    """No field is that of the position before, bit for bit: a file taken twice, a stuck source.

    Constant fields do not count, and variables that repeat themselves half of the time do so by
    nature.
    """

    name: str = "repeated fields"

    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Compare neighbours along the append dim."""
        if not context.config.varies(var):
            return
        names = ("digest", "minimum", "maximum", "valid")
        digest, least, most, valid = _arrays(stats, var, context, *names)
        repeated = np.zeros(digest.shape, bool)
        varies = (least < most) & (valid >= FEW_CELLS)
        repeated[1:] = (digest[1:] == digest[:-1]) & varies[1:]
        if repeated.mean() > BY_NATURE:
            return
        for at in spans_of(repeated):
            message = "fields equal those of the position before, bit for bit"
            yield _finding(context, var, _moved(at, stats.start), message)


@dataclass(frozen=True, kw_only=True)
class LevelShift(ValueValidator):
    """Values do not change as only another unit changes them: other units from some day on.

    See `gridmill.validation.statistics.level_shifts` for what that is, what it finds and what it
    does not.

    Parameters
    ----------
    window
        Positions that have one unit at least; fewer, down to a third and to a day, where less
        than three times as many are looked at.
    factor
        The least ratio that is another unit. Temperatures are told by their offset.
    """

    window: int = 24
    factor: float = 10.0
    name: str = "level shifts"

    def look(self, context: Context, var: DataVar, stats: FieldStatistics) -> Iterator[Finding]:
        """Look for shifts in the series of the fields' means, spreads and extremes."""
        if not context.config.varies(var):
            return
        names = ("mean", "std", "minimum", "maximum")
        found = [series_of(stats, var, context, name) for name in names]
        known = np.flatnonzero(np.isfinite(found).all(axis=0))
        series = FieldSeries(*(values[known] for values in found))
        width = min(self.window, len(series) // 3)
        if width < self._least_width(context):
            return
        for shift in find_level_shifts(series, width, self.factor):
            before, after = series[max(0, shift - width) : shift], series[shift : shift + width]
            message = (
                f"fields with a mean of {np.median(before.mean):g} and a spread of "
                f"{np.median(before.std):g} {var.attrs['units']} are followed by "
                f"{np.median(after.mean):g} and {np.median(after.std):g}: "
                "other units from here on?"
            )
            at = slice(int(known[shift]), len(found[0]))
            yield _finding(context, var, _moved(at, stats.start), message)

    def _least_width(self, context: Context) -> int:
        """Return how many positions a window must have: a day of them, as days are not alike."""
        labels = context.labels[context.positions]
        step = (labels[-1] - labels[0]) / max(1, len(labels) - 1)
        day = timedelta(days=1) / step if step else 0
        return max(2, self.window // 3, int(np.ceil(day)))


def range_of(var: DataVar, ranges: Mapping[str, Range] | None = None) -> Range | None:
    """Return what values a variable can have: as told, as declared, or by its CF name and units."""
    return (ranges or {}).get(var.name) or var.valid_range or physical_range(var.attrs)


def series_of(stats: FieldStatistics, var: DataVar, context: Context, name: str) -> Values:
    """Return one value a position: the mean over leads, members and levels; NaN if one is missing.

    Those that never have a value, like lead 0 of an accumulation, do not count, nor do those that
    are not offered at every position, like the last leads where some forecasts are shorter.
    """
    (rows,) = _arrays(stats, var, context, name)
    absent = not_offered(stats, var, context).reshape(len(rows), -1)
    rows = rows.reshape(len(rows), -1)
    everywhere: Mask = ~np.any(absent[~absent.all(axis=1)], axis=0)
    known = np.isfinite(rows) & (everywhere if everywhere.any() else True)
    total = np.sum(rows, axis=1, where=known)
    count = known.sum(axis=1)
    is_whole = (count > 0) & (count == count.max(initial=0))
    means: Values = np.divide(total, count, out=np.full(len(rows), np.nan), where=is_whole)
    return means


def not_offered(stats: FieldStatistics, var: DataVar, context: Context) -> Mask:
    """Return which fields are empty because no source file fills them, one row a position.

    What is empty at every position is left out, unless the variable has no value at all: it is not
    compared with anything.
    """
    (valid,) = _arrays(stats, var, context, "valid")
    empty: Mask = np.equal(valid, 0)
    always: Mask = np.all(empty, axis=0, keepdims=True)
    suspects = empty if empty.all() else empty & ~always
    found = np.zeros(empty.shape, bool)
    if not suspects.any():
        return found
    for region in context.regions():
        if region.is_static == context.config.varies(var):
            continue
        first, stop = max(region.start - stats.start, 0), region.stop - stats.start
        at = slice(None) if region.is_static else slice(first, stop)
        if not suspects[at].any():
            continue
        offered = _fields_of(context.offered(region)[var.name], var, stats)
        if not region.is_static:
            skipped = max(stats.start - region.start, 0)
            offered = offered[skipped : skipped + len(suspects[at])]
        found[at] = suspects[at] & ~offered
    return found


def _fields_of(offered: Mask, var: DataVar, stats: FieldStatistics) -> Mask:
    """Return for which fields any place is offered; the dims of fields as in their statistics."""
    over = tuple(n for n, dim in enumerate(var.dims) if dim not in stats.fields.dims)
    return np.asarray(offered.any(axis=over))


def _usual(missing: Values, compared: Mask) -> Values:
    """Return the median along positions of what is compared; 1 where nothing is."""
    known = np.where(compared, missing, np.nan)
    known[:, ~compared.any(axis=0)] = 1.0
    median: Values = np.nanmedian(known, axis=0)
    return median


def _over_fields(by_position: Values, fields: Values) -> Values:
    """Return one value a position, to be combined with one a field."""
    return by_position.reshape(-1, *[1] * (fields.ndim - 1))


def spans_of(mask: Mask) -> list[slice]:
    """Return the runs of positions where any field is marked; the last may hold several."""
    runs = _runs(np.asarray(mask.reshape(len(mask), -1).any(axis=1)))
    if len(runs) > MOST_SPANS:
        runs = [*runs[: MOST_SPANS - 1], slice(runs[MOST_SPANS - 1].start, runs[-1].stop)]
    return runs


def _runs(marked: Mask) -> list[slice]:
    """Return where runs of true values are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _explained(context: Context, var: DataVar, start: int, n: int) -> Mask:
    """Return where a source file did not succeed, or the variable is not offered: no wonder."""
    explained = np.zeros(n, bool)
    for region in context.regions():
        record = context.record(region)
        fills: Sequence[Any] = (record.fills(var.name) if record is not None else None) or ()
        for fill in fills:
            if fill.status is SourceFileStatus.SUCCEEDED:
                continue
            if not context.config.varies(var):
                return ~explained
            first, stop = region.start + fill.start, min(region.start + fill.stop, region.stop)
            explained[max(0, first - start) : max(0, stop - start)] = True
    if var.valid_from is not None:
        begun = int(context.labels.searchsorted(context.config.label(var.valid_from)))
        explained[: max(0, begun - start)] = True
    if var.valid_until is not None:
        over = int(context.labels.searchsorted(context.config.label(var.valid_until)))
        explained[max(0, over - start) :] = True
    return explained


def _is_bound(var: DataVar, values: Values) -> Mask:
    """Whether values are 0 or 1, or at an end of what they can be: of 0 to 100, if not known."""
    low, high = range_of(var) or (0.0, 100.0)
    near = 0.01 * (high - low)
    at_end = (values <= low + near) | (values >= high - near)
    result: Mask = (values == 0) | (values == 1) | at_end
    return result


def _rounding(var: DataVar) -> float:
    """Return by how much rounding may change a value, relative to it."""
    bits = 23 if var.keep_mantissa_bits is None else var.keep_mantissa_bits
    return float(2.0 ** -(bits + 1))


def _by_position(array: Values, var: DataVar, context: Context) -> Values:
    """Return an array with one row a position, also for a static variable, which has one."""
    return array if context.config.varies(var) else array[None]


def _arrays(stats: FieldStatistics, var: DataVar, context: Context, *names: str) -> list[Values]:
    return [_by_position(stats.fields[name].values, var, context) for name in names]


def _moved(at: slice, by: int) -> slice:
    return slice(at.start + by, at.stop + by)


def _finding(context: Context, var: DataVar, at: slice, message: str) -> Finding:
    return context.finding(
        message, at if context.config.varies(var) else Region.STATIC.slice, [var.name]
    )
