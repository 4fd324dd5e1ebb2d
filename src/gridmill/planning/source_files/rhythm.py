"""Which leads that arrived are stored at once, where readers see them one by one. Pure.

A stored object is written whole, so that each lead that is added to it costs all that it holds. The
objects that the same source files fill are a *cell*. A cell is written when the last of its files
is there, and before that only where what that costs leaves enough of the budget for the last time.
Costs are counted in places along the dims that source files divide: a cell that was written with 3
of its 24 leads, and then with all, took 27 of the 72 that a budget of 3 allows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import inf, lcm, prod
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile

__all__ = ["NOT_THERE", "WAITS", "Choice", "Rhythm", "alike"]

# What a record says of a file that is there and not fetched yet.
WAITS = "it is there, and is stored once more of its shard is"
# And of one that was not, when the provider was asked for the others.
NOT_THERE = "it was not there when it was asked for"

Cell = Mapping[int, int]


@dataclass(frozen=True)
class Choice:
    """Which of the files that arrived wait, and what each cell costs by then, with this run."""

    waits: frozenset[int]
    spent: tuple[int, ...]


class Rhythm:
    """The cells of a group of variables, and when each is written.

    Parameters
    ----------
    job
        Its `write_budget` is how many times what a cell holds in the end may be written.
    variables
        Those that share source files: the coarsest of their shards count.
    files
        Their source files.
    sizes
        Length of every dim, the append dim's being that of the processing region.
    """

    def __init__(
        self,
        job: RegionJob[Any, Any],
        variables: Sequence[DataVar],
        files: Sequence[SourceFile],
        sizes: Mapping[str, int],
    ) -> None:
        self.budget = job.write_budget
        self._dims = sorted({dim for file in files for dim in file.place})
        self._lengths = {
            dim: lcm(*(var.object_length(dim) for var in variables if dim in var.dims))
            for dim in self._dims
        }
        self._sizes = sizes
        self._files = files

    @cached_property
    def cells(self) -> list[dict[int, int]]:
        """By index of the file, how much of a cell it fills."""
        return _joined([self._weights(file) for file in self._files])

    def choose(
        self,
        stored: Collection[int],
        arrived: Collection[int],
        gone: Collection[int],
        spent: Sequence[int] | None,
    ) -> Choice:
        """Choose which of the files that arrived wait.

        Parameters
        ----------
        stored
            Indexes of the files that the store has.
        arrived
            Of those that are new.
        gone
            Of those that nobody awaits any more.
        spent
            What each cell cost so far; None if nothing says so.
        """
        if spent is None or len(spent) != len(self.cells):
            spent = [self._weight(cell, stored) for cell in self.cells]
        waits: set[int] = set()
        costs = []
        for cell, cost in zip(self.cells, spent, strict=True):
            new = {index for index in arrived if index in cell}
            there = {*stored, *new}
            before, now = self._weight(cell, stored), self._weight(cell, there)
            is_last = all(index in there or index in gone for index in cell)
            is_written = bool(new) and (is_last or self._may_write(cell, before, now, cost))
            costs.append(cost + now if is_written else cost)
            waits |= set() if is_written else new
        return Choice(frozenset(waits), tuple(costs))

    def steps(self) -> tuple[int, int]:
        """Count how often something is written if the files come one by one, and the files."""
        written = 0
        for cell in self.cells:
            stored: set[int] = set()
            waiting: set[int] = set()
            spent = 0
            for index in sorted(cell):
                waiting.add(index)
                there = stored | waiting
                now = self._weight(cell, there)
                may = self._may_write(cell, self._weight(cell, stored), now, spent)
                if len(there) == len(cell) or may:
                    stored, waiting, spent, written = there, set(), spent + now, written + 1
        return written, sum(map(len, self.cells))

    def worst(self) -> float:
        """How many times what is stored in the end is written at most, in whatever order it comes.

        Without kills, and without what comes past its deadline or is revised.
        """
        full = sum(sum(cell.values()) for cell in self.cells)
        return sum(map(self._worst_of, self.cells)) / full if full else 1.0

    def _worst_of(self, cell: Cell) -> float:
        full = sum(cell.values())
        total, last = float(full), full - min(cell.values(), default=0)
        while last >= 1 and self._ratio < inf:
            total += last
            last = min(last - 1, int(last / self._ratio))
        return min(total, self.budget * full)

    @cached_property
    def _ratio(self) -> float:
        """How many times as much a cell holds at least each time that it is written.

        What a sequence of such costs adds up to is a geometric series: within the budget, with
        room for the last.
        """
        return self.budget / (self.budget - 1) if self.budget > 1 else inf

    def _may_write(self, cell: Cell, before: int, now: int, spent: int) -> bool:
        """Whether a cell may be written before all of it is there."""
        full = sum(cell.values())
        has_room = spent + now + full <= self.budget * full
        return has_room and now > before and now >= before * self._ratio

    @staticmethod
    def _weight(cell: Cell, indexes: Collection[int]) -> int:
        return sum(weight for index, weight in cell.items() if index in indexes)

    def _weights(self, file: SourceFile) -> dict[tuple[int, ...], int]:
        """Return by cell how much of it a file fills."""
        parts = [self._parts(dim, file.place.get(dim)) for dim in self._dims]
        return {
            tuple(at for at, _ in chosen): prod(length for _, length in chosen)
            for chosen in product(*parts)
        }

    def _parts(self, dim: str, at: int | slice | None) -> list[tuple[int, int]]:
        """Return the numbers of the objects along a dim that a place touches, and how far each."""
        length = self._lengths[dim]
        if isinstance(at, int):
            return [(at // length, 1)]
        start, stop = (0, self._sizes[dim]) if at is None else (at.start, at.stop)
        return [
            (n, min(stop, (n + 1) * length) - max(start, n * length))
            for n in range(start // length, -(-stop // length))
        ]


def alike(waits: Mapping[str, Mapping[int, str]]) -> list[list[str]]:
    """Put variables together for which the same of the files that are there wait.

    Examples
    --------
    >>> alike({"a": {0: WAITS, 1: NOT_THERE}, "b": {0: WAITS}, "c": {1: NOT_THERE}})
    [['a', 'b'], ['c']]
    """
    found: dict[frozenset[int], list[str]] = {}
    for name, of in waits.items():
        found.setdefault(frozenset(at for at in of if of[at] == WAITS), []).append(name)
    return list(found.values())


def _joined(weights: Sequence[Mapping[tuple[int, ...], int]]) -> list[dict[int, int]]:
    """Return the cells, by index of the file; those that one file fills together are one."""
    first: dict[tuple[int, ...], int] = {}  # by object, the first file that fills it
    parents = list(range(len(weights)))

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = parents[parents[at]]
            at = parents[at]
        return at

    for index, of_file in enumerate(weights):
        for one in of_file:
            ends = sorted((root(first.setdefault(one, index)), root(index)))
            parents[ends[1]] = ends[0]
    cells: dict[int, dict[int, int]] = {}
    for index, of_file in enumerate(weights):
        cells.setdefault(root(index), {})[index] = sum(of_file.values())
    return sorted(cells.values(), key=max)
