"""Which cells of a target polygons reach into, and the areas that they share with each. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gridmill.authoring.regridding.axes import TURN, Entries
from gridmill.authoring.regridding.geometry.sphere import flat_areas
from gridmill.authoring.regridding.geometry.targets import Plane

__all__ = ["PAIRS_AT_ONCE", "Boxes", "in_blocks", "shared_areas"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
# Some 200 MB while they are cut.
PAIRS_AT_ONCE = 2**18


class Boxes:
    """Finds the positions along rows and columns that polygons may reach.

    Parameters
    ----------
    up, across
        Ends of cells, or points; they rise or fall.
    turn
        What is a whole turn across; None if nothing is.
    are_cells
        Whether they are ends of cells.
    """

    def __init__(self, up: Floats, across: Floats, *, turn: float | None, are_cells: bool) -> None:
        self._up, self._across = np.sort(up), np.sort(across)
        self._falls = up[0] > up[-1], across[0] > across[-1]
        self._turn, self._are_cells = turn, are_cells

    def moved(self, across: Floats, up: Floats, numbers: Places) -> tuple[Floats, Floats, Places]:
        """Return polygons in the turns in which the columns are, with their numbers."""
        keep = ~np.isnan(across).any(axis=1)
        across, up, numbers = across[keep], up[keep], numbers[keep]
        if self._turn is None:
            return across, up, numbers
        turn, first = self._turn, self._across[0]
        last = self._across[-1]
        across = across - turn * np.floor((across.max(axis=1) - first) / turn)[:, np.newaxis]
        again = np.flatnonzero(across.min(axis=1) + turn <= last)
        across = np.concatenate([across, across[again] + turn])
        return across, np.concatenate([up, up[again]]), np.append(numbers, numbers[again])

    def reached(self, across: Floats, up: Floats, margin: Floats) -> tuple[Places, ...]:
        """Return the first row and column that each polygon may reach, and how many of each."""
        found = []
        for values, known, more in ((up, self._up, margin), (across, self._across, margin)):
            low, high = values.min(axis=1) - more, values.max(axis=1) + more
            first = np.searchsorted(known, low, side="right" if self._are_cells else "left")
            stop = np.searchsorted(known, high, side="left" if self._are_cells else "right")
            if self._are_cells:
                first, stop = np.maximum(first - 1, 0), np.minimum(stop, known.size - 1)
            found += [first, np.maximum(stop - first, 0)]
        return tuple(found)

    def pairs(self, reach: tuple[Places, ...]) -> tuple[Places, Places, Places]:
        """Return polygons, rows and columns that may have to do with each other."""
        row, rows, column, columns = reach
        many = rows * columns
        which = np.repeat(np.arange(many.size), many)
        at = np.arange(which.size) - np.repeat(np.cumsum(many) - many, many)
        down, along = np.divmod(at, columns[which])
        return which, row[which] + down, column[which] + along

    def position(self, rows: Places, columns: Places) -> Places:
        """Return positions in the target's own order, counted row by row."""
        heights, widths = (of.size - self._are_cells for of in (self._up, self._across))
        rows = heights - 1 - rows if self._falls[0] else rows
        columns = widths - 1 - columns if self._falls[1] else columns
        return rows * widths + columns

    def sides(self, rows: Places, columns: Places) -> tuple[Floats, ...]:
        """Return left, right, low and high ends of cells."""
        across, up = self._across, self._up
        return across[columns], across[columns + 1], up[rows], up[rows + 1]


def in_blocks(many: Places, most: int) -> Iterator[slice]:
    """Yield slices whose sums are not far above `most`."""
    ends = np.cumsum(many)
    start = 0
    while start < many.size:
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield slice(start, stop)
        start = stop


def shared_areas(latitudes: Floats, longitudes: Floats, plane: Plane) -> Entries:
    """Return the areas that polygons share with the cells of a target, steradians.

    Parameters
    ----------
    latitudes, longitudes
        Of vertices, ``(polygon, vertex)``, degrees; NaN for none.
    plane
        Of the target.
    """
    boxes = Boxes(*plane.ends(), turn=TURN if plane.is_sphere else None, are_cells=True)
    found = []
    for some in plane.flat_parts(latitudes, longitudes):
        across, up, numbers = boxes.moved(*some)
        reach = boxes.reached(across, up, np.zeros(len(across)))
        for part in in_blocks(reach[1] * reach[3], PAIRS_AT_ONCE * 4 // across.shape[1]):
            reached = tuple(one[part] for one in reach)
            found.append(_cut(boxes, plane, across[part], up[part], reached, numbers[part]))
    if not found:
        nothing = np.zeros(0, "int64")
        return Entries(nothing, nothing, np.zeros(0))
    return Entries(*(np.concatenate(of) for of in zip(*found, strict=True)))


def _cut(
    boxes: Boxes,
    plane: Plane,
    across: Floats,
    up: Floats,
    reach: tuple[Places, ...],
    numbers: Places,
) -> tuple[Places, Places, Floats]:
    which, rows, columns = boxes.pairs(reach)
    at, of = boxes.position(rows, columns), numbers[which]
    cells = np.stack(boxes.sides(rows, columns))
    across, up = across[which], up[which]
    areas = np.zeros(which.size)
    area_of = flat_areas if plane.is_sphere else plane.areas
    inside = (reach[1] * reach[3])[which] == 1
    inside &= (across >= cells[0][:, np.newaxis]).all(axis=1)
    inside &= (across <= cells[1][:, np.newaxis]).all(axis=1)
    inside &= (up >= cells[2][:, np.newaxis]).all(axis=1)
    inside &= (up <= cells[3][:, np.newaxis]).all(axis=1)
    areas[inside] = area_of(across[inside], up[inside])
    left = np.flatnonzero(~inside)
    across, up, cells = across[left], up[left], cells[:, left]
    for side, sign in ((0, 1.0), (1, -1.0)):
        across, up, some = _half(across, up, cells[side], sign)
        left, cells = left[some], cells[:, some]
    for side, sign in ((2, 1.0), (3, -1.0)):
        up, across, some = _half(up, across, cells[side], sign)
        left, cells = left[some], cells[:, some]
    areas[left] = area_of(across, up)
    has_any = areas > 0
    return at[has_any], of[has_any], areas[has_any]


def _half(cut: Floats, other: Floats, bounds: Floats, sign: float) -> tuple[Floats, Floats, Places]:
    """Keep the half of each polygon beyond a bound of one coordinate, and which have any.

    After Sutherland and Hodgman (1974), all polygons at once: each edge gives its first vertex if
    that is kept, and the place where it crosses the bound. The last vertex is repeated.
    """
    bound = bounds[:, np.newaxis]
    beyond = sign * (cut - bound)
    kept = beyond >= 0
    crosses = kept != np.roll(kept, -1, axis=1)
    following = np.roll(beyond, -1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = beyond / (beyond - following)
        crossing = other + share * (np.roll(other, -1, axis=1) - other)
    wanted = np.stack([kept, crosses], axis=-1).reshape(len(cut), 2 * cut.shape[1])
    ends = np.stack([cut, np.broadcast_to(bound, cut.shape)], axis=-1).reshape(wanted.shape)
    others = np.stack([other, crossing], axis=-1).reshape(wanted.shape)
    many = wanted.sum(axis=1)
    some = np.flatnonzero(many)
    if not some.size:
        return cut[:0], other[:0], some
    order = np.argsort(~wanted[some], axis=1, kind="stable")[:, : many.max()]
    last = np.minimum(np.arange(order.shape[1]), many[some, np.newaxis] - 1)
    order = np.take_along_axis(order, last, axis=1)
    return (
        np.take_along_axis(ends[some], order, axis=1),
        np.take_along_axis(others[some], order, axis=1),
        some,
    )
