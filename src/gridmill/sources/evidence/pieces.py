"""Compares pieces that an author's code put together with where each of them lies.

A field of each level, read and stacked, is a piece of what fills the place. Where it lies, the
values show: there it is what was read, in either order, or that shifted or scaled by one number.
What is calculated of pieces otherwise is compared by its time alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, islice, product
from math import prod
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import converted, put_in_order
from gridmill.sources.evidence.expected import NotAsPromised, Promise
from gridmill.sources.evidence.labels.along import (
    check_scalars,
    has_labels_of,
    is_of,
    orders_of,
    position_of,
)
from gridmill.sources.evidence.made import SAMPLE, Read, is_made_of, is_same, is_varied, turned
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.units import are_same

__all__ = ["compare_pieces"]

Values = np.ndarray[Any, Any]
# By axis of the values, a position; None for all.
Place = tuple[int | None, ...]
# Of more pieces times places, each is looked for only where its own labels say that it is.
MOST_PAIRS = 20_000


def compare_pieces(seen: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    """Check each piece that lies in the values, as `compare` does with what was read whole.

    Parameters
    ----------
    seen, values, promise
        See `gridmill.sources.evidence.compare.compare`.

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
    pieces: list[_Piece] = []
    for one in seen:
        found = _piece_of(one, values, promise)
        if found is not None:
            pieces.append(replace(found, before=pieces[-1] if pieces else None))
    taken: set[Place] = set()
    remarks: dict[str, None] = {}
    for piece in pieces:
        if piece.is_nothing_to_compare:
            continue
        place = _found(piece, values, taken, n_pieces=len(pieces))
        if place is not None:
            taken.add(place)
            remarks |= dict.fromkeys(piece.compare_at(place, values))
    return list(remarks)


@dataclass(frozen=True)
class _Piece:
    """What was read of some of the dims: these are `along`, by number; the others are free.

    The piece `before` often has the same labels along them.
    """

    evidence: Evidence
    along: tuple[int, ...]
    promise: Promise
    before: _Piece | None = None

    @cached_property
    def own(self) -> dict[int, int | None]:
        """By number of a free dim, which position the file says; None where it is none of them."""
        dims, promise = self.promise.dims, self.promise
        said = {
            number: position_of(self.evidence, dim, promise)
            for number, dim in enumerate(dims)
            if number not in self.along
        }
        return {number: at[0] for number, at in said.items() if at is not None}

    @cached_property
    def orders(self) -> Mapping[int, Values] | None:
        """Where each label is in the file, see `orders_of`; None where others are there."""
        if self._is_like(self.before):
            return self.before.orders if self.before else None
        try:
            return orders_of(self.evidence, self.raw, self.promise_at({}))
        except NotAsPromised:
            return None

    def _is_like(self, other: _Piece | None) -> bool:
        return (
            other is not None
            and other.along == self.along
            and has_labels_of(self.evidence, other.evidence)
        )

    @cached_property
    def raw(self) -> Values:
        """The values in the file's order, without dims of one position."""
        return self.evidence.values.squeeze()

    @cached_property
    def ways(self) -> list[Values]:
        """The values in the orders in which they may lie."""
        return [self.raw, turned(self.raw, self.orders)] if self.orders else [self.raw]

    @property
    def is_nothing_to_compare(self) -> bool:
        """Whether it may lie anywhere as it is."""
        is_in_units = are_same(self.evidence.units, self.promise.units)
        return self.orders == {} and not self.own and is_in_units

    def promise_at(self, place: Mapping[int, int]) -> Promise:
        """Return what a file of a place should hold: positions by number of a free dim."""
        axes = {}
        dims = self.promise.dims
        for dim, axis in self.promise.axes.items():
            number = dims.index(dim) if dim in dims else None
            if number is None or number in self.along:
                axes[dim] = axis
            elif number in place and axis.labels.size:
                axes[dim] = axis.at(place[number])
        return replace(self.promise, axes=axes)

    def places(self, shape: Sequence[int]) -> Iterator[Place]:
        """Yield where it may lie, first where it says."""
        ranges: list[Sequence[int | None]] = []
        for number, n in enumerate(shape):
            own = self.own.get(number)
            said = [] if own is None else [own]
            every = [*said, *(at for at in range(n) if at != own)]
            ranges.append((None,) if number in self.along else every)
        yield from product(*ranges)

    def is_own(self, place: Place) -> bool:
        """Whether nothing that the file says is against a place."""
        return all(place[number] == at for number, at in self.own.items())

    def compare_at(self, place: Place, values: Values) -> list[str]:
        """Compare it with where it lies; what is only told otherwise is converted there."""
        there = _at(values, place)
        at = {number: one for number, one in enumerate(place) if one is not None}
        promise = self.promise_at(at)
        check_scalars(self.evidence, promise)
        orders = self.orders
        if orders is None:  # says what is wrong
            orders = orders_of(self.evidence, there, promise)
        read = [Read(self.raw, orders)]
        remarks = put_in_order([self.evidence], read, there, promise)
        return remarks + converted([self.evidence], read, there, promise)


def _piece_of(evidence: Evidence, values: Values, promise: Promise) -> _Piece | None:
    """Return what was read as a piece of values; None if it is none, or of which dims is unclear.

    A coordinate that was read itself is none.
    """
    names = [axis.name for axis in evidence.axes]
    axes = [a for a, n in zip(evidence.axes, evidence.values.shape, strict=True) if n > 1]
    lengths = [n for n in evidence.values.shape if n > 1]
    if not axes or evidence.variable in names or evidence.values.size >= values.size:
        return None
    fits = [
        along
        for along in combinations(range(values.ndim), len(axes))
        if [values.shape[number] for number in along] == lengths
    ]
    dims = promise.dims
    if len(fits) > 1:
        meant = [
            [is_of(axis, dims[number], promise) for axis, number in zip(axes, along, strict=True)]
            for along in fits
        ]
        most = max(map(sum, meant))
        fits = [along for along, of in zip(fits, meant, strict=True) if sum(of) == most]
    return _Piece(evidence, fits[0], promise) if len(fits) == 1 else None


def _found(piece: _Piece, values: Values, taken: set[Place], n_pieces: int) -> Place | None:
    """Return where a piece lies; None if values show it nowhere.

    Where it says, it may be though another one is: what was read twice. Elsewhere what is alike
    everywhere shows nothing.
    """
    n_places = prod(n for number, n in enumerate(values.shape) if number not in piece.along)
    most = n_places if n_places * n_pieces <= MOST_PAIRS else bool(piece.own)
    places = list(islice(piece.places(values.shape), most))
    free = [place for place in places if place not in taken]
    own = [place for place in free if piece.is_own(place)]
    if piece.own:
        own += [place for place in places if place in taken and piece.is_own(place)]
    others = [place for place in free if not piece.is_own(place)] if is_varied(piece.raw) else []
    shows = (
        place
        for is_it in (_is_one_of, _is_made_of_one)
        for place in (*own, *others)
        if is_it(_at(values, place), piece)
    )
    return next(shows, None)


def _at(values: Values, place: Place) -> Values:
    """Return the part of values at a place, not copied."""
    return values[tuple(slice(None) if at is None else at for at in place)]


def _is_one_of(there: Values, piece: _Piece) -> bool:
    return any(_is_near_sample(there, way) and is_same(there, way) for way in piece.ways)


def _is_made_of_one(there: Values, piece: _Piece) -> bool:
    return there.dtype.kind == "f" and any(is_made_of(there, way) for way in piece.ways)


def _is_near_sample(there: Values, way: Values) -> bool:
    """Whether some values are the same, in the dtype that they are stored in."""
    at = np.linspace(0, there.size - 1, min(SAMPLE, there.size)).astype(int)
    return is_same(there.flat[at], way.flat[at])
