"""Compares what an author's code calculated of pieces with the grid that those are on.

Of which level or member each piece is, only its author knows then. In which order the labels of its
own dims lie, the values show as those do that were calculated of whole fields, or the file is
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import put_in_order
from gridmill.sources.evidence.labels.along import orders_of
from gridmill.sources.evidence.made import Read, is_as_in_file
from gridmill.sources.evidence.parts.piece import Piece
from gridmill.sources.evidence.parts.places import Place, at_place

__all__ = ["compare_calculated"]

Values = np.ndarray[Any, Any]


def compare_calculated(
    pieces: Sequence[Piece], values: Values, taken: Collection[Place]
) -> list[str]:
    """Check what was calculated of pieces; turn what lies in another order than the archive.

    Weights of a row, and others of fewer dims than most, are no fields and left alone.

    Parameters
    ----------
    pieces
        Those that lie nowhere as they are.
    values
        What was made of them.
    taken
        Places at which others lie.

    Returns
    -------
    list of str
        What was turned.

    Raises
    ------
    NotAsPromised
        They are on another grid, or in another order that the values do not show.
    """
    most = max((len(piece.along) for piece in pieces), default=0)
    alike: dict[tuple[Any, ...], list[Piece]] = {}
    for piece in pieces:
        if len(piece.along) == most and None not in piece.short.values():
            alike.setdefault((piece.along, *piece.short.items()), []).append(piece)
    return [remark for of in alike.values() for remark in _compare_alike(of, values, taken)]


def _compare_alike(pieces: Sequence[Piece], values: Values, taken: Collection[Place]) -> list[str]:
    """Compare what is of the same dims, and of the same part of them."""
    places = sorted((place for place in pieces[0].places() if place not in taken), key=_numbers)
    if not places:
        return []  # what was read twice
    for piece in pieces:
        if piece.orders is None:  # says what is wrong
            orders_of(piece.evidence, piece.raw, piece.promise_at(piece.said))
    if not any(piece.orders for piece in pieces):
        return []
    groups = list(_groups(pieces, places))
    shown = (group for group in groups if all(_is_shown(group, place, values) for place in group))
    made_of = next(shown, groups[-1])
    return [remark for place in places for remark in _put_in_order(made_of[place], values, place)]


def _numbers(place: Place) -> list[int]:
    return [at for at in place if isinstance(at, int)]


def _groups(
    pieces: Sequence[Piece], places: Sequence[Place]
) -> Iterator[Mapping[Place, Sequence[Piece]]]:
    """Yield of which pieces each place may be made: as they say, one after the other, or of all."""
    said = {place: [p for p in pieces if p.own and p.is_own(place)] for place in places}
    if all(said.values()):
        yield said
    n, rest = divmod(len(pieces), len(places))
    if n and not rest:
        yield {place: pieces[at * n : (at + 1) * n] for at, place in enumerate(places)}
        yield {place: pieces[at :: len(places)] for at, place in enumerate(places)}
    yield dict.fromkeys(places, pieces)


def _is_shown(made_of: Mapping[Place, Sequence[Piece]], place: Place, values: Values) -> bool:
    return is_as_in_file(at_place(values, place), _read(made_of[place])) is not None


def _read(pieces: Sequence[Piece]) -> list[Read]:
    return [Read(piece.raw, piece.orders or {}) for piece in pieces]


def _put_in_order(pieces: Sequence[Piece], values: Values, place: Place) -> list[str]:
    seen, there = [piece.evidence for piece in pieces], at_place(values, place)
    return put_in_order(seen, _read(pieces), there, pieces[0].promise_at(pieces[0].said))
