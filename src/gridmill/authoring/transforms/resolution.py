"""How finely a provider wrote values: from who reads them to who transforms them.

A reader tells it while it reads (`tell_resolution`); the pipeline lays it out beside the values of
a variable, and a transform asks for it (`known_resolution`). What a transform could not keep goes
the same way back (`note_lost`). Nothing is told where nobody listens. Each thread has its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gridmill.authoring.transforms.blocks import Float64Array

__all__ = [
    "known_resolution",
    "losses_noted",
    "note_lost",
    "resolutions_told",
    "tell_resolution",
    "with_resolution",
]

_told: ContextVar[list[float] | None] = ContextVar("resolutions_told", default=None)
_known: ContextVar[Float64Array | None] = ContextVar("known_resolution", default=None)
_lost: ContextVar[Counter[str] | None] = ContextVar("losses_noted", default=None)


def tell_resolution(step: float) -> None:
    """Tell in which steps a message, or another piece of a variable, was written; in its units."""
    told = _told.get()
    if told is not None:
        told.append(step)


@contextmanager
def resolutions_told() -> Iterator[list[float]]:
    """Collect what readers tell while the block runs.

    Examples
    --------
    >>> with resolutions_told() as told:
    ...     tell_resolution(0.1)
    >>> told
    [0.1]
    """
    told: list[float] = []
    token = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(token)


def known_resolution() -> Float64Array | None:
    """Return in which steps the values that are transformed were written.

    Returns
    -------
    ndarray or None
        float64, in the values' units, with their dims, some of length 1; 0 where no reader told it.
        None if none did.
    """
    return _known.get()


@contextmanager
def with_resolution(resolution: Float64Array | None) -> Iterator[None]:
    """Let transforms know it while the block runs."""
    token = _known.set(resolution)
    try:
        yield
    finally:
        _known.reset(token)


def note_lost(what: str, count: int) -> None:
    """Note values that a transform made missing, and why, for the report of the run."""
    lost = _lost.get()
    if lost is not None and count:
        lost[what] += count


@contextmanager
def losses_noted() -> Iterator[Counter[str]]:
    """Collect what transforms note while the block runs."""
    lost: Counter[str] = Counter()
    token = _lost.set(lost)
    try:
        yield lost
    finally:
        _lost.reset(token)
