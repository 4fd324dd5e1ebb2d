"""Compares what an author's code calculated of pieces with the place that those are of.

In which order the labels of a piece's own dims lie, the values show as those do that were
calculated of whole fields, or the file is refused.

Pieces of levels or members that are read as the archive has them are taken for those. If the file
has them otherwise, the values show of which each place was made: of those that say so, or of
others, which is refused, and so is what shows neither. What an author combines (an interpolation, a
difference between two levels) says several labels of one variable, and is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import put_in_order
from gridmill.sources.evidence.expected import NotAsPromised
from gridmill.sources.evidence.labels.along import orders_of
from gridmill.sources.evidence.made import Read, is_as_in_file, is_rather_of, is_varied
from gridmill.sources.evidence.parts.piece import Piece
from gridmill.sources.evidence.parts.places import Place, at_place

__all__ = ["compare_calculated"]

Values = np.ndarray[Any, Any]
# By place, the pieces that it may be made of.
MadeOf = Mapping[Place, Sequence[Piece]]


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
    _check_labels(pieces, places, values)
    if not any(piece.orders for piece in pieces):
        return []
    groups = list(_groups(pieces, places))
    shown = (group for group in groups if all(_is_shown(group, place, values) for place in group))
    made_of = next(shown, groups[-1])
    return [remark for place in places for remark in _put_in_order(made_of[place], values, place)]


def _numbers(place: Place) -> list[int]:
    return [at for at in place if isinstance(at, int)]


def _groups(pieces: Sequence[Piece], places: Sequence[Place]) -> Iterator[MadeOf]:
    """Yield of which pieces each place may be made: as they say, one after the other, or of all."""
    said = _as_said(pieces, places)
    if all(said.values()):
        yield said
    yield from _in_turn(pieces, places)
    yield dict.fromkeys(places, pieces)


def _as_said(pieces: Sequence[Piece], places: Sequence[Place]) -> MadeOf:
    return {place: [p for p in pieces if p.own and p.is_own(place)] for place in places}


def _in_turn(pieces: Sequence[Piece], places: Sequence[Place]) -> Iterator[MadeOf]:
    n, rest = divmod(len(pieces), len(places))
    if n and not rest:
        yield {place: pieces[at * n : (at + 1) * n] for at, place in enumerate(places)}
        yield {place: pieces[at :: len(places)] for at, place in enumerate(places)}


def _check_labels(pieces: Sequence[Piece], places: Sequence[Place], values: Values) -> None:
    """Refuse what was made of pieces of other labels than a place has.

    Raises
    ------
    NotAsPromised
        The values show it; or they do not show of which they were made.
    """
    labelled = [piece for piece in pieces if piece.own]
    as_read = list(_in_turn(labelled, places))
    if len({piece.labels for piece in labelled}) < 2 or any(map(_is_own, as_read)):
        return  # what all of them say tells no places apart
    said = _as_said(labelled, places)
    shown = [_Shown(at_place(values, place), place, said, of) for of in as_read for place in places]
    for one in shown:
        if one.wrong is not None and one.is_of_others:
            one.wrong.check_labels_at(one.place)
    doubtful = [one for one in shown if one.may_tell]
    # What mixes labels tells nothing where the same place may be of one label alone.
    alone = {one.place for one in doubtful if one.wrong is not None}
    telling = [one for one in doubtful if one.wrong is not None or one.place not in alone]
    if telling and all(said.values()) and not any(one.tells for one in telling):
        _refuse_untold(labelled, telling)


def _is_own(made_of: MadeOf) -> bool:
    return all(piece.is_own(place) for place, pieces in made_of.items() for piece in pieces)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What values at a place show of what they were made of: as read, or as the labels say."""

    values: Values
    place: Place
    said: MadeOf
    made_of: MadeOf

    @cached_property
    def wrong(self) -> Piece | None:
        """The piece that is of another label, where each variable was read of one label."""
        labels: dict[str, tuple[Any, ...]] = {}
        pieces = self.made_of[self.place]
        if any(labels.setdefault(p.evidence.variable, p.labels) != p.labels for p in pieces):
            return None
        return next((piece for piece in pieces if not piece.is_own(self.place)), None)

    @cached_property
    def is_of_others(self) -> bool:
        """Whether values were made of what was read in turn, and not of what is said."""
        if own := self.said[self.place]:
            return self._is_rather_of(own) is True
        others = [of for place, of in self.made_of.items() if place != self.place]
        return bool(others) and all(self._is_rather_of(of) is True for of in others)

    @property
    def may_tell(self) -> bool:
        """Whether both are others, and values are not alike."""
        own, read = self.said[self.place], self.made_of[self.place]
        return is_varied(self.values) and set(map(id, own)) != set(map(id, read))

    @property
    def tells(self) -> bool:
        """Whether values show of which of both they were made."""
        return self._is_rather_of(self.said[self.place]) is not None

    def _is_rather_of(self, others: Sequence[Piece]) -> bool | None:
        return is_rather_of(self.values, _read(self.made_of[self.place]), _read(others))


def _refuse_untold(pieces: Sequence[Piece], shown: Sequence[_Shown]) -> None:
    dims = pieces[0].promise.dims
    numbers = {
        number
        for one in shown
        for piece in one.made_of[one.place]
        for number, at in piece.own.items()
        if one.place[number] != at
    }
    names = [dims[number] for number in sorted(numbers)]
    variables = list(dict.fromkeys(piece.evidence.variable for piece in pieces))
    read = f"{' and '.join(variables)} {'was' if len(variables) == 1 else 'were'} read"
    raise NotAsPromised(
        f"its {read} with {' and '.join(names)} in another order than the archive, and what "
        "read_data calculated does not show of which of them it is made; return values in the "
        "archive's order, whichever the file has, and add "
        f"{', '.join(map(repr, names))} to unchecked"
    )


def _is_shown(made_of: MadeOf, place: Place, values: Values) -> bool:
    return is_as_in_file(at_place(values, place), _read(made_of[place])) is not None


def _read(pieces: Sequence[Piece]) -> list[Read]:
    return [Read(piece.raw, piece.orders or {}) for piece in pieces]


def _put_in_order(pieces: Sequence[Piece], values: Values, place: Place) -> list[str]:
    seen, there = [piece.evidence for piece in pieces], at_place(values, place)
    return put_in_order(seen, _read(pieces), there, pieces[0].promise_at(pieces[0].said))
