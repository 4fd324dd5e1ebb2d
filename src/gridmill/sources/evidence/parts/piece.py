"""What was read of a part of what fills a place, and what its file says of where that lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import converted, put_in_order
from gridmill.sources.evidence.expected import NotAsPromised, Promise
from gridmill.sources.evidence.labels.along import (
    check_scalars,
    has_labels_of,
    orders_of,
    position_of,
    positions_of,
)
from gridmill.sources.evidence.made import Read, turned
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.parts.places import Place, as_index, at_place, run_of
from gridmill.sources.evidence.times import check_time, position_in_time, time_of
from gridmill.sources.evidence.units import are_same

__all__ = ["Piece"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Piece:
    """What was read of some of the dims: these are `along`, by number; the others are free.

    A tile has not all positions of `shape` along the dims that are `short`. The piece `before`
    often has the same labels along them.
    """

    evidence: Evidence
    along: tuple[int, ...]
    shape: tuple[int, ...]
    promise: Promise
    before: Piece | None = None

    @cached_property
    def own(self) -> dict[int, int | None]:
        """By number of a free dim, which position the file says; None where it is none of them."""
        dims, promise = self.promise.dims, self.promise
        said = {
            number: position_in_time(self.evidence, promise)
            if dim == promise.append_dim
            else position_of(self.evidence, dim, promise)
            for number, dim in enumerate(dims)
            if number not in self.along
        }
        return {number: at[0] for number, at in said.items() if at is not None}

    @cached_property
    def short(self) -> dict[int, range | None]:
        """By number of a dim of which it has a part, which one the file says; None if it does not.

        What follows each other in the file does so in the archive, in whatever order.
        """
        lengths = self.evidence.values.shape
        axes = [axis for axis, n in zip(self.evidence.axes, lengths, strict=True) if n > 1]
        dims = self.promise.dims
        return {
            number: run_of(positions_of(axis, dims[number], self.promise))
            for number, axis, n in zip(self.along, axes, self.raw.shape, strict=True)
            if n < self.shape[number]
        }

    @property
    def said(self) -> dict[int, int | range]:
        """By number of a dim, the part that the file says."""
        return {number: run for number, run in self.short.items() if run is not None}

    @cached_property
    def orders(self) -> Mapping[int, Values] | None:
        """Where each label is in the file, see `orders_of`; None where others are there.

        Of a tile, at the place that its labels say.
        """
        if self._is_like(self.before):
            return self.before.orders if self.before else None
        if len(self.said) < len(self.short):
            return None
        try:
            return orders_of(self.evidence, self.raw, self.promise_at(self.said))
        except NotAsPromised:
            return None

    def _is_like(self, other: Piece | None) -> bool:
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
        return self.orders == {} and not self.own and not self.short and is_in_units

    def promise_at(self, place: Mapping[int, int | range]) -> Promise:
        """Return what a file of a place should hold: positions by number of a dim."""
        axes = {}
        dims = self.promise.dims
        for dim, axis in self.promise.axes.items():
            number = dims.index(dim) if dim in dims else None
            if number is None or (number in self.along and number not in place):
                axes[dim] = axis
            elif number in place and axis.labels.size:
                axes[dim] = axis.at(as_index(place[number]))
            elif number in self.along:
                axes[dim] = axis
        fields = {
            name: field.at(tuple(self._part(dim, place) for dim in field.dims))
            for name, field in self.promise.fields.items()
            if set(field.dims) <= {dims[number] for number in self.along}
        }
        return replace(self.promise, axes=axes, fields=fields)

    def _part(self, dim: str, place: Mapping[int, int | range]) -> int | slice:
        return as_index(place.get(self.promise.dims.index(dim)))

    def places(self) -> Iterator[Place]:
        """Yield where it may lie, first where it says; of a tile only those that its labels say."""
        ranges: list[Sequence[int | range | None]] = []
        for number, n in enumerate(self.shape):
            own = self.own.get(number)
            said = [] if own is None else [own]
            every = [*said, *(at for at in range(n) if at != own)]
            run = self.short.get(number)
            tiled = () if number in self.short and run is None else (run,)
            ranges.append(tiled if number in self.along else every)
        yield from product(*ranges)

    def is_own(self, place: Place) -> bool:
        """Whether nothing that the file says is against a place."""
        return all(place[number] == at for number, at in (self.own | self.short).items())

    def compare_at(self, place: Place, values: Values) -> list[str]:
        """Compare it with where it lies; what is only told otherwise is converted there."""
        there = at_place(values, place)
        promise = self.check_labels_at(place)
        orders = None if self.short else self.orders
        if orders is None:  # says what is wrong
            orders = orders_of(self.evidence, there, promise)
        read = [Read(self.raw, orders)]
        remarks = put_in_order([self.evidence], read, there, promise)
        return remarks + converted([self.evidence], read, there, promise)

    def check_labels_at(self, place: Place) -> Promise:
        """Compare its labels of one value with a place; what a file of that should hold.

        Raises
        ------
        NotAsPromised
            It is of another level, member or time.
        """
        at = {number: one for number, one in enumerate(place) if one is not None}
        promise = self.promise_at(at)
        check_scalars(self.evidence, promise)
        self._check_time(at)
        return promise

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What its file says of it by coordinates of one value."""
        return tuple(sorted((name, str(one.values)) for name, one in self.evidence.scalars.items()))

    def _check_time(self, at: Mapping[int, int | range]) -> None:
        """Compare times with the part of the append dim that it fills."""
        dim, expected = self.promise.append_dim, self.promise.time
        number = self.promise.dims.index(dim) if dim in self.promise.dims else -1
        if expected is None or not expected.labels.size or number not in at:
            return
        axis = time_of(self.evidence, dim, expected)
        if axis is not None and axis.values is not None:
            check_time(axis, axis.values, dim, expected.at(as_index(at[number])))
