"""What a field holds, in a few numbers that can be joined from its parts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan
from typing import Any, Self

import numpy as np

__all__ = ["FieldSummary"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class FieldSummary:
    """What gates need to know of a field: the values of one variable at one position.

    Parameters
    ----------
    size, missing
        Number of values, and how many of them are missing.
    low, high
        Lowest and highest value; infinity and minus infinity where all are missing.
    compared
        How many places have a value here and at the position before.
    differing
        How many places have another value than at the position before, or a value in one of both
        alone.
    change
        Sum of the absolute differences of those compared.

    Examples
    --------
    >>> left, right = FieldSummary.of(np.array([1.0, 2.0])), FieldSummary.of(np.array([np.nan]))
    >>> left + right == FieldSummary.of(np.array([1.0, 2.0, np.nan]))
    True
    """

    size: int = 0
    missing: int = 0
    low: float = inf
    high: float = -inf
    compared: int = 0
    differing: int = 0
    change: float = 0.0

    @classmethod
    def of(cls, field: Values, before: Values | None = None, *, missing: float = nan) -> Self:
        """Sum up a field, or a part of it.

        Parameters
        ----------
        field
            Of any dims and of a numeric dtype; NaN is missing.
        before
            The same part at the position before, NaN where nothing is known; None if nothing is.
        missing
            Another value that means missing; NaN if none does.
        """
        there = _is_there(field, missing)
        present = field[there]
        found = cls(
            size=field.size,
            missing=field.size - present.size,
            low=float(present.min()) if present.size else inf,
            high=float(present.max()) if present.size else -inf,
        )
        return found if before is None else found + cls._of_change(field, before, there, missing)

    @classmethod
    def _of_change(cls, field: Values, before: Values, there: Values, missing: float) -> Self:
        was_there = _is_there(before, missing)
        both = there & was_there
        now, was = field[both], before[both]
        is_other = now != was
        # In double precision; infinities that are equal differ by nothing.
        changes = np.abs(now[is_other].astype(float) - was[is_other].astype(float))
        lone = int(np.count_nonzero(there != was_there))
        return cls(
            compared=now.size,
            differing=int(np.count_nonzero(is_other)) + lone,
            change=float(changes.sum()),
        )

    def __add__(self, other: FieldSummary) -> Self:
        """Join the summaries of two parts of a field."""
        return type(self)(
            size=self.size + other.size,
            missing=self.missing + other.missing,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            compared=self.compared + other.compared,
            differing=self.differing + other.differing,
            change=self.change + other.change,
        )


def _is_there(field: Values, missing: float) -> Values:
    there = np.ones(field.shape, bool)
    if np.issubdtype(field.dtype, np.inexact):
        there &= ~np.isnan(field)
    if missing == missing:
        there &= field != missing
    return there
