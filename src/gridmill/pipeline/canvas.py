"""Where one variable of one region is assembled: in memory, or on disk where it is large.

Provider files are slices across the whole grid, stored objects are columns through many of
them. What is larger than a worker should hold is scattered to scratch files, one a slab, as it
is decoded, and read back slab by slab: each message is decoded once, and memory is bounded by
the slab and not by the region.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np

__all__ = ["SLAB_NBYTES", "Canvas", "Index", "Slab", "Values", "slabs_of"]

Slab = tuple[slice, ...]
Index = tuple[int | slice, ...]
Values = np.ndarray[Any, Any]

# A worker holds about four times this at its peak (the scratch file mapped, and what encoding
# copies) and stays below 1 GiB.
SLAB_NBYTES = 128 * 2**20


def slabs_of(
    shape: Sequence[int],
    chunk_shape: Sequence[int],
    itemsize: int,
    *,
    whole: Sequence[bool],
    most_nbytes: int = SLAB_NBYTES,
) -> list[Slab]:
    """Divide an array into slabs of whole chunks that fit into memory.

    Parameters
    ----------
    shape, chunk_shape
        Lengths of the array and of one inner chunk, along each dim.
    itemsize
        Bytes of one value.
    whole
        Along each dim, whether a slab must be as long as the array.
    most_nbytes
        The size to stay below; one column of chunks may be larger.

    Examples
    --------
    >>> slabs_of((4, 6), (4, 2), 1, whole=(True, False), most_nbytes=16)
    [(slice(0, 4, None), slice(0, 4, None)), (slice(0, 4, None), slice(4, 6, None))]
    """
    lengths = list(shape)
    while prod(lengths) * itemsize > most_nbytes:
        chunks = [
            1 if fixed else -(-length // part)
            for length, part, fixed in zip(lengths, chunk_shape, whole, strict=True)
        ]
        dim = max(range(len(chunks)), key=chunks.__getitem__, default=0)
        if not chunks or chunks[dim] <= 1:
            break
        lengths[dim] = -(-chunks[dim] // 2) * chunk_shape[dim]
    grid = np.ndindex(
        *(-(-n // length) if n else 1 for n, length in zip(shape, lengths, strict=True))
    )
    return [
        tuple(
            slice(at * length, min((at + 1) * length, n))
            for at, length, n in zip(cell, lengths, shape, strict=True)
        )
        for cell in grid
    ]


class Canvas:
    """The values of one variable of one region, assembled piece by piece.

    Parameters
    ----------
    shape, dtype, fill
        Of the whole; `fill` stands where no piece was put.
    slabs
        How it is divided, see `slabs_of`. One slab is kept in memory, several in files.
    folder
        For the files.

    Notes
    -----
    Pieces may be put in any order; where they overlap, the last one counts. Not thread-safe. Used
    in a `with`, at whose end its memory goes to the next canvas: a worker makes one after the
    other, and to get and give back 100 MB for each costs as much time as three in a hundred of all
    it does. So do copies of that size: a piece is made where it belongs, and only what no piece
    covers is filled.
    """

    def __init__(
        self, shape: Sequence[int], dtype: str, fill: float, slabs: Sequence[Slab], folder: Path
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        # As one of its values: NumPy casts no integer to a boolean where it copies by a mask.
        self.fill: Any = self.dtype.type(fill)
        self.slabs = slabs
        self._folder = folder
        self._put: list[Index] = []
        self._memory: Values | None = None
        self._covered = _Covered(self.shape)
        self._slab: Values | None = None
        if len(slabs) == 1:
            self._memory = _borrow(self.shape, self.dtype)
        else:
            folder.mkdir()
            for number, slab in enumerate(slabs):
                with self._file(number).open("wb") as file:
                    file.truncate(prod(_lengths(slab)) * self.dtype.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._memory is not None:
            _give_back(self._memory)
            self._memory = None

    def shape_at(self, place: Index) -> tuple[int, ...]:
        """Return the shape of the piece that fills a place."""
        pairs = zip(place, self.shape, strict=True)
        return tuple(len(range(*at.indices(n))) for at, n in pairs if isinstance(at, slice))

    def room(self, place: Index) -> Values:
        """Return memory for the piece at a place, of shape `shape_at(place)`: fill and `put` it.

        What it holds counts only then.
        """
        if self._memory is None or not self._covered.is_free(place):
            return np.empty(self.shape_at(place), self.dtype)
        return self._memory[(*place, ...)]  # the ellipsis: a view, of a single value, too

    def put(self, place: Index, piece: Values) -> None:
        """Put a piece of shape `shape_at(place)` into its place."""
        self._put.append(place)
        if self._memory is not None:
            if not np.may_share_memory(piece, self._memory):
                self._covered.fill_free(self._memory, place, self.fill)
                self._memory[place] = piece
            self._covered.add(place)
            return
        for number, slab in enumerate(self.slabs):
            cut = _cut(place, slab, self.shape)
            if cut is None:
                continue
            inside, of_piece = cut
            # Mapped for a moment only: mapped pages count as the worker's memory.
            self._map(number)[inside] = piece[of_piece]

    def values(self, number: int) -> Values:
        """Return the values of a slab, to be changed at will until it is closed.

        Those of a canvas in one piece once; several slabs one after the other, and again from the
        first one on.
        """
        if self._memory is not None:
            self._covered.fill_free(self._memory, (slice(None),) * len(self.shape), self.fill)
            return self._memory
        self._leave()
        values = self._slab = _borrow(_lengths(self.slabs[number]), self.dtype)
        values.fill(self.fill)
        stored = self._map(number)
        for place in self._put:
            cut = _cut(place, self.slabs[number], self.shape)
            if cut is not None:
                values[cut[0]] = stored[cut[0]]
        return values

    def filled(self, number: int, places: Sequence[Index]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return where in a slab one of these places is."""
        filled = np.zeros(_lengths(self.slabs[number]), dtype=bool)
        for place in places:
            cut = _cut(place, self.slabs[number], self.shape)
            if cut is not None:
                filled[cut[0]] = True
        return filled

    def inside(self, number: int, place: Index) -> Index | None:
        """Return the part of a place that is in a slab, as seen from the slab; None if none is."""
        cut = _cut(place, self.slabs[number], self.shape)
        return None if cut is None else cut[0]

    def close(self, number: int) -> None:
        """Release a slab's disk space and memory."""
        if self._memory is None:
            self._file(number).unlink()
        self._leave()

    def _leave(self) -> None:
        """Release the memory of the slab that was returned last."""
        if self._slab is not None:
            _give_back(self._slab)
            self._slab = None

    def _file(self, number: int) -> Path:
        return self._folder / f"slab-{number}"

    def _map(self, number: int) -> Values:
        shape = _lengths(self.slabs[number])
        return np.memmap(self._file(number), self.dtype, mode="r+", shape=shape)


class _Covered:
    """Which values of an array pieces cover, by cells: along a dim, one is a single position.

    Or it is the whole dim, where the first piece fills that.

    Parameters
    ----------
    shape
        Of the array.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._cells: np.ndarray[Any, np.dtype[np.bool_]] | None = None  # broadcasts to the shape

    def is_free(self, place: Index) -> bool:
        """Whether a piece fills whole cells, none of which holds another."""
        cells, touched, covered = self._find(place)
        return covered == touched and not cells.any()

    def add(self, place: Index) -> None:
        """Note a piece."""
        self._find(place)[0][...] = True

    def fill_free(self, values: Values, place: Index, fill: float) -> None:
        """Fill the cells of the array that a place touches and no piece covers."""
        cells, touched, _ = self._find(place)
        if not cells.all():
            at: Any = (*touched, ...)  # a view, of a single value, too
            np.copyto(values[at], fill, where=~cells)

    def _find(self, place: Index) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], Slab, Slab]:
        """Return the cells of a place, what they cover of the array, and what the place does."""
        covered = tuple(
            slice(*at.indices(n)[:2]) if isinstance(at, slice) else slice(at, at + 1)
            for at, n in zip(place, self._shape, strict=True)
        )
        if self._cells is None:
            pairs = zip(covered, self._shape, strict=True)
            self._cells = np.zeros([1 if at == slice(0, n) else n for at, n in pairs], bool)
        known = list(zip(covered, self._cells.shape, self._shape, strict=True))
        at: Any = (*(at if count == n else slice(None) for at, count, n in known), ...)
        touched = tuple(at if count == n else slice(0, n) for at, count, n in known)
        return self._cells[at], touched, covered


# At most one, of at most a slab.
_spare: list[Values] = []
_spare_lock = Lock()


def _borrow(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Values:
    """Return memory for an array, if possible such as was used before."""
    nbytes = prod(shape) * dtype.itemsize
    with _spare_lock:
        known = _spare.pop() if _spare and _spare[0].nbytes >= nbytes else None
    whole = np.empty(nbytes, np.uint8) if known is None else known
    return whole[:nbytes].view(dtype).reshape(shape)


def _give_back(values: Values) -> None:
    whole = values
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    with _spare_lock:
        if whole.nbytes <= SLAB_NBYTES and (not _spare or _spare[0].nbytes < whole.nbytes):
            _spare[:] = [whole]


def _lengths(slab: Slab) -> tuple[int, ...]:
    return tuple(at.stop - at.start for at in slab)


def _cut(place: Index, slab: Slab, shape: Sequence[int]) -> tuple[Index, Index] | None:
    """Return the part of a place that is in a slab: as seen from the slab, and from the piece."""
    inside: list[int | slice] = []
    of_piece: list[int | slice] = []
    for at, bounds, length in zip(place, slab, shape, strict=True):
        if isinstance(at, int):
            if not bounds.start <= at < bounds.stop:
                return None
            inside.append(at - bounds.start)
            continue
        first, last, _ = at.indices(length)
        start, stop = max(first, bounds.start), min(last, bounds.stop)
        if start >= stop:
            return None
        inside.append(slice(start - bounds.start, stop - bounds.start))
        of_piece.append(slice(start - first, stop - first))
    return tuple(inside), tuple(of_piece)
