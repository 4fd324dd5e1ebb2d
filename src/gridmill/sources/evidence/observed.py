"""What a source file says of itself: the axes, the time and the units of what was read from it.

Readers tell it while they read (`observe`), so that an author's `RegionJob.read_data` need not; who
wants to know listens (`observing`). Nothing is looked up where nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["Axis", "Evidence", "Field", "dtype_made", "is_observed", "observe", "observing"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A coordinate of a source file.

    Parameters
    ----------
    name
        Of the dimension, or of a scalar coordinate.
    values
        As they mean, unpacked: of one dimension, or of none; None if the file does not say.
    units, standard_name, calendar
        Its attributes.
    bounds
        Of each value its start and its end, in the same units; None if the file does not say.
    is_auxiliary
        Whether it is text beside a dimension that has no coordinate of its own.
    """

    name: str
    values: np.ndarray[Any, Any] | None = None
    units: str | None = None
    standard_name: str | None = None
    calendar: str | None = None
    bounds: np.ndarray[Any, Any] | None = None
    is_auxiliary: bool = False

    @property
    def is_time(self) -> bool:
        """Whether its values are dates."""
        return " since " in (self.units or "")

    def at(self, index: int | slice | np.ndarray[Any, Any]) -> Axis:
        """Return a part of it: a slice, some positions, or one value without a dimension."""
        if self.values is None or self.values.ndim == 0:
            return self
        bounds = None if self.bounds is None else self.bounds[index]
        return replace(self, values=np.asarray(self.values[index]), bounds=bounds)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A coordinate of two dims, like the latitude of a curvilinear grid.

    Parameters
    ----------
    name, units, standard_name
        See `Axis`.
    dims
        Names of two axes.
    values
        Of these dims; NaN where the file does not say.
    """

    name: str
    dims: tuple[str, str]
    values: np.ndarray[Any, Any]
    units: str | None = None
    standard_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a file says of one variable that was read from it.

    Parameters
    ----------
    variable
        Its name in the file.
    values
        As they were given to who read them; of what is packed there, as they mean.
    axes
        Of the dims of `values`.
    scalars
        By name, coordinates of one value that belong to it: of dims that were dropped, or of none.
    units
        Of the variable.
    fields
        Coordinates of two of the dims.
    """

    variable: str
    values: np.ndarray[Any, Any]
    axes: tuple[Axis, ...]
    scalars: Mapping[str, Axis] = field(default_factory=dict)
    units: str | None = None
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class _Observer:
    seen: list[Evidence]
    dtype: np.dtype[Any] | None


_observer: ContextVar[_Observer | None] = ContextVar("observer", default=None)


@contextmanager
def observing(dtype: np.dtype[Any] | None = None) -> Iterator[list[Evidence]]:
    """Collect what readers of this thread tell while the block runs.

    Parameters
    ----------
    dtype
        Of what is made of what they read, which tells them how precise that need be.
    """
    observer = _Observer([], dtype)
    token = _observer.set(observer)
    try:
        yield observer.seen
    finally:
        _observer.reset(token)


def observe(evidence: Evidence) -> None:
    """Tell what was read, if anybody wants to know.

    Its values are copied: an author's code may change in place what it was given.
    """
    observer = _observer.get()
    if observer is not None:
        observer.seen.append(replace(evidence, values=evidence.values.copy()))


def is_observed() -> bool:
    """Whether anybody wants to know what is read."""
    return _observer.get() is not None


def dtype_made() -> np.dtype[Any] | None:
    """Return the dtype of what is made of what is read; None if nobody said."""
    observer = _observer.get()
    return None if observer is None else observer.dtype
