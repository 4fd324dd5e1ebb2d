"""Compares pieces that an author's code put together with where each of them lies.

A field of each level that was read and stacked is a piece of what fills the place, and so is a tile
that was joined to others. Where it lies, the values show: there it is what was read, in either
order, or that shifted or scaled by one number. What they show nowhere was calculated with, see
`calculated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice
from math import prod
from typing import Any

import numpy as np

from gridmill.sources.evidence.expected import Promise
from gridmill.sources.evidence.labels.along import is_of
from gridmill.sources.evidence.made import SAMPLE, is_made_of, is_same, is_varied
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.parts.calculated import compare_calculated
from gridmill.sources.evidence.parts.piece import Piece
from gridmill.sources.evidence.parts.places import (
    Place,
    at_place,
    axes_that_fit,
    lying,
    stored_as,
)

__all__ = ["compare_pieces"]

Values = np.ndarray[Any, Any]
# Of more pieces times places, each is looked for only where its own labels say that it is.
MOST_PAIRS = 20_000


def compare_pieces(
    seen: Sequence[Evidence], values: Values, promise: Promise, *, is_all: bool = True
) -> list[str]:
    """Check each piece that lies in the values, as `compare` does with what was read whole.

    Parameters
    ----------
    seen, values, promise
        See `gridmill.sources.evidence.compare.compare`.
    is_all
        Whether nothing was read whole, of which values may be made beside what lies nowhere.

    Returns
    -------
    list of str
        What was converted, each once.

    Raises
    ------
    NotAsPromised
        A piece lies where it does not belong.
    """
    if len(promise.dims) != values.ndim:
        return []
    pieces: list[Piece] = []
    for one in seen:
        found = _piece_of(one, values, promise)
        if found is not None:
            pieces.append(replace(found, before=pieces[-1] if pieces else None))
    taken: set[Place] = set()
    lost: list[Piece] = []
    remarks: dict[str, None] = {}
    for piece in pieces:
        if piece.is_nothing_to_compare:
            continue
        place = _found(piece, values, taken, n_pieces=len(pieces))
        if place is None:
            lost.append(piece)
        else:
            taken.add(place)
            remarks |= dict.fromkeys(piece.compare_at(place, values))
    if is_all:
        remarks |= dict.fromkeys(compare_calculated(lost, values, taken))
    return list(remarks)


def _piece_of(evidence: Evidence, values: Values, promise: Promise) -> Piece | None:
    """Return what was read as a piece of values; None if it is none, or of which dims is unclear.

    A coordinate that was read itself is none.
    """
    names = [axis.name for axis in evidence.axes]
    axes = [a for a, n in zip(evidence.axes, evidence.values.shape, strict=True) if n > 1]
    lengths = [n for n in evidence.values.shape if n > 1]
    if not axes or evidence.variable in names or evidence.values.size >= values.size:
        return None
    fits = axes_that_fit(lengths, values.shape)
    whole = [along for along in fits if [values.shape[number] for number in along] == lengths]
    fits = whole or fits
    if len(fits) > 1:
        dims = promise.dims
        meant = [
            [is_of(axis, dims[number], promise) for axis, number in zip(axes, along, strict=True)]
            for along in fits
        ]
        most = max(map(sum, meant))
        fits = [along for along, of in zip(fits, meant, strict=True) if sum(of) == most]
    return Piece(evidence, fits[0], values.shape, promise) if len(fits) == 1 else None


def _found(piece: Piece, values: Values, taken: set[Place], n_pieces: int) -> Place | None:
    """Return where a piece lies; None if values show it nowhere.

    Where it says, it may be though another one is: what was read twice. Elsewhere what is alike
    everywhere shows nothing.
    """
    n_places = prod(n for number, n in enumerate(values.shape) if number not in piece.along)
    most = n_places if n_places * n_pieces <= MOST_PAIRS else bool(piece.own)
    places = list(islice(piece.places(), most))
    free = [place for place in places if place not in taken]
    own = [place for place in free if piece.is_own(place)]
    if piece.own:
        own += [place for place in places if place in taken and piece.is_own(place)]
    others = [place for place in free if not piece.is_own(place)] if is_varied(piece.raw) else []
    shows = (
        place
        for is_it in (_is_one_of, _is_made_of_one)
        for place in (*own, *others)
        if is_it(at_place(values, place), piece)
    )
    tiled = lying(stored_as(piece.raw, values.dtype), values, piece.along) if piece.short else ()
    return next(chain(shows, tiled), None)


def _is_one_of(there: Values, piece: Piece) -> bool:
    return any(_is_near_sample(there, way) and is_same(there, way) for way in piece.ways)


def _is_made_of_one(there: Values, piece: Piece) -> bool:
    return there.dtype.kind == "f" and any(is_made_of(there, way) for way in piece.ways)


def _is_near_sample(there: Values, way: Values) -> bool:
    """Whether some values are the same, in the dtype that they are stored in."""
    at = np.linspace(0, there.size - 1, min(SAMPLE, there.size)).astype(int)
    return is_same(there.flat[at], way.flat[at])
