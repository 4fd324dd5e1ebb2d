"""Count, mean, spread, lowest and highest of values, joined from parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, isfinite, sqrt
from typing import Any, Self

import numpy as np

__all__ = ["ValueStatistics", "noted", "told"]

# Values that are taken together: they stay in a core's cache.
BLOCK = 1 << 16
# Of changes in a mask: with more of them, each is a guess that a processor gets wrong.
MANY_RUNS = 0.05
# How many are summed in single precision, and between which limits their squares keep theirs.
ROWS = 16
SMALL, LARGE = 1e-15, 1e15


@dataclass(frozen=True, slots=True)
class ValueStatistics:
    """What values are like, of any number of parts.

    Parameters
    ----------
    count
        How many there are: neither missing nor infinite.
    mean
        Their mean; 0 where there is none.
    squares
        Sum of the squared distances from the mean.
    low, high
        Lowest and highest; infinity and minus infinity where there is none.
    stop
        Behind the last position along the append dim that has one; 0 where no value has a position.

    Notes
    -----
    Means and squares of two parts are joined as by Chan, Golub and LeVeque: Updating formulae and
    a pairwise algorithm for computing sample variances, Stanford STAN-CS-79-773 (1979).

    Examples
    --------
    >>> left, right = ValueStatistics.of(np.array([1.0, 2.0])), ValueStatistics.of(np.array([6.0]))
    >>> joined = left + right
    >>> joined.count, joined.mean, joined.low, joined.high, round(joined.deviation, 3)
    (3, 3.0, 1.0, 6.0, 2.16)
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = inf
    high: float = -inf
    stop: int = 0

    @classmethod
    def of(
        cls,
        values: np.ndarray[Any, Any],
        *,
        missing: float | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        has_positions: bool = False,
    ) -> Self:
        """Return the statistics of values as they are stored.

        Parameters
        ----------
        values
            Of any shape, of a numeric dtype or bool.
        missing
            A value that stands for none; NaN and infinities are none anyhow.
        scale, offset
            What readers make of the others: ``value * scale + offset``.
        has_positions
            Whether their first dim is the append dim.
        """
        found = cls()
        flat = values.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            found += cls._of_block(flat[start : start + BLOCK], missing)
        stop = _behind_last(values, missing) if has_positions else 0
        low, high = sorted((found.low * scale + offset, found.high * scale + offset))
        return cls(
            found.count,
            found.mean * scale + offset if found.count else 0.0,
            found.squares * scale * scale,
            low if found.count else inf,
            high if found.count else -inf,
            stop,
        )

    @classmethod
    def _of_block(cls, block: np.ndarray[Any, Any], missing: float | None) -> Self:
        if missing is not None and missing == missing:
            block = _those(block, block != block.dtype.type(missing))
        low, high = _ends(block)
        if not isfinite(low + high):
            block = _those(block, np.isfinite(block))
            low, high = _ends(block)
        if not block.size:
            return cls()
        return cls(block.size, *_mean_and_squares(block, low, high), low, high)

    def __add__(self, other: ValueStatistics) -> Self:
        """Join the statistics of two parts."""
        count = self.count + other.count
        if not count:
            return type(self)(stop=max(self.stop, other.stop))
        apart, share = other.mean - self.mean, other.count / count
        return type(self)(
            count=count,
            mean=self.mean + apart * share if self.count else other.mean,
            squares=self.squares + other.squares + apart * apart * self.count * share,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            stop=max(self.stop, other.stop),
        )

    @property
    def deviation(self) -> float:
        """Standard deviation of all values, not of a sample; 0 where there is none."""
        return sqrt(self.squares / self.count) if self.count else 0.0


def noted(found: ValueStatistics | None, objects: Sequence[Any]) -> list[Any] | None:
    """Return statistics as a record keeps them, bound to the objects that they were made of.

    Parameters
    ----------
    found
        None where there are none.
    objects
        Receipts of all objects that hold the values: who stores others forgets the statistics by
        that, also where it knows nothing of them.

    See Also
    --------
    told : reads them.
    """
    if found is None or not objects:
        return None
    some = [found.mean, found.squares, found.low, found.high] if found.count else []
    return [_name_of(objects), found.stop, found.count, *some]


def told(kept: Sequence[Any] | None, objects: Sequence[Any]) -> ValueStatistics | None:
    """Read what `noted` gave; None where nothing was, or other objects hold the values by now."""
    if not kept or kept[0] != _name_of(objects):
        return None
    _, stop, count, *some = kept
    if not count:
        return ValueStatistics(stop=int(stop))
    mean, squares, low, high = map(float, some)
    return ValueStatistics(int(count), mean, squares, low, high, int(stop))


def _name_of(objects: Sequence[Any]) -> str:
    # Without the variable's name: by another one it has the same values.
    every = sorted((o.key.partition("/")[2], o.nbytes, o.crc32c, o.digest) for o in objects)
    return blake2b(repr(every).encode(), digest_size=6).hexdigest()


def _ends(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return lowest and highest; a NaN is both."""
    return (float(values.min()), float(values.max())) if values.size else (inf, -inf)


def _mean_and_squares(values: np.ndarray[Any, Any], low: float, high: float) -> tuple[float, float]:
    """Return the mean of finite values, and the sum of their squared distances from it."""
    fits = max(-low, high) < LARGE and (high - low > SMALL or high == low)
    if values.dtype == np.float32 and fits and values.size >= ROWS:
        return _of_single(values)
    double = values.astype(np.float64)
    mean = float(double.mean())
    double -= mean
    # Not `dot`: BLAS has threads of its own, which wait by spinning.
    return mean, float(np.square(double, out=double).sum())


def _of_single(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Do so without a copy in double precision, which costs more than the sums.

    Only `ROWS` values are summed in single precision, of distances from about the mean: less is
    lost than by the values' own precision.
    """
    even = values.size - values.size % ROWS
    rows, rest = values[:even].reshape(ROWS, -1), values[even:].astype(np.float64)
    about = np.float32(_sum(rows) / even)
    apart, beyond = rows - about, rest - about
    off = (_sum(apart) + float(beyond.sum())) / values.size
    squares = _sum(np.square(apart, out=apart)) + float(np.square(beyond).sum())
    return float(about) + off, max(squares - off * off * values.size, 0.0)


def _sum(rows: np.ndarray[Any, Any]) -> float:
    return float(np.add.reduce(rows, axis=0).sum(dtype=np.float64))


def _those(values: np.ndarray[Any, Any], there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return those values that are there: by their indices where a mask has no pattern."""
    if np.count_nonzero(there[1:] != there[:-1]) > MANY_RUNS * there.size:
        return values.take(np.flatnonzero(there))
    return np.asarray(values[there])


def _behind_last(values: np.ndarray[Any, Any], missing: float | None) -> int:
    """Count positions to the last one that has a value."""
    for stop in range(len(values), 0, -1):
        if _has_value(values[stop - 1], missing):
            return stop
    return 0


def _has_value(values: np.ndarray[Any, Any], missing: float | None) -> bool:
    if values.ndim > 1:  # most often the first row has one
        return any(_has_value(part, missing) for part in values)
    there = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    if missing is not None and missing == missing:
        there = there & (values != values.dtype.type(missing))
    return bool(there.any())
