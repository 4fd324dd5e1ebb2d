"""How finely the pieces of a variable were written, laid out beside its values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridmill.authoring.transforms.blocks import Float64Array
from gridmill.pipeline.canvas import Index, Slab

__all__ = ["Resolutions"]


class Resolutions:
    """In which steps pieces were written, as their readers told.

    Parameters
    ----------
    shape
        Of the variable.

    Examples
    --------
    >>> resolutions = Resolutions((2, 3))
    >>> resolutions.note((1, slice(None)), 0.1)
    >>> resolutions.within((slice(0, 2), slice(0, 3)))
    array([[0. ],
           [0.1]])
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self._told: list[tuple[Index, float]] = []

    def note(self, place: Index, step: float) -> None:
        """Note it of a piece; of those that overlap, the last one counts, as of their values."""
        self._told.append((place, step))

    def within(self, slab: Slab) -> Float64Array | None:
        """Lay it out over a slab: of length 1 along dims that every piece fills.

        It is 0 where nobody told it; None where nobody told any.
        """
        if not self._told:
            return None
        is_cut = [
            any(not _is_whole(place[dim], length) for place, _ in self._told)
            for dim, length in enumerate(self._shape)
        ]
        lengths = [n if cut else 1 for n, cut in zip(self._shape, is_cut, strict=True)]
        steps = np.zeros(lengths)
        for place, step in self._told:
            at = (one if cut else 0 for one, cut in zip(place, is_cut, strict=True))
            steps[tuple(at)] = step
        pairs = zip(slab, is_cut, strict=True)
        return steps[tuple(part if cut else slice(None) for part, cut in pairs)]


def _is_whole(at: int | slice, length: int) -> bool:
    return isinstance(at, slice) and len(range(*at.indices(length))) == length
