"""What it takes of memory to bring a file's fields from their own grid to the archive's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt, prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gridmill.authoring.grids.curvilinear import CURVILINEAR
from gridmill.authoring.regridding.applying import BLOCK_VALUES
from gridmill.authoring.regridding.geometry.sources import kind_of
from gridmill.authoring.regridding.reading import source_grid
from gridmill.authoring.regridding.weights import POINTS_AT_ONCE, has_rows
from gridmill.model.fields.regrid import DEGREES
from gridmill.model.variables import DataVar

if TYPE_CHECKING:
    from gridmill.authoring.region_job import RegionJob
    from gridmill.authoring.source_file import SourceFileCoord

__all__ = ["most_regridding_nbytes", "regridding_nbytes"]

# The reader's own array, and what it is copied into.
COPIES = 2
# Values as float64, and which of them are there; for a block, sums, shares and means.
WORKING_NBYTES = 25
# Of a weight: float64, and the number of a point.
ENTRY_NBYTES = 12
# The same while weights are made of polygons or quadrangles: with both numbers, and once more.
MADE_ENTRY_NBYTES = 56
# Of a source's points while their corners are found: as places are known, and as labels are.
PLACED_NBYTES = 180
LABELLED_NBYTES = 110
# Of polygons and pairs after that: of a source's and an archive's point, and at most.
MAKING_NBYTES = 2000
MOST_CUT_NBYTES = 240 << 20
MOST_FOUND_NBYTES = 120 << 20
# Of points of the archive while they are found in a plane.
FINDING_NBYTES = 400
# A block's fields and their shares, between rows and columns and after both.
BLOCKS_HELD = 6


class _File(Protocol):
    """A source file and its place."""

    @property
    def coord(self) -> SourceFileCoord: ...

    def gives(self, source: str) -> bool: ...

    def place_in_source(self, append_dim: str) -> Mapping[str, int | slice]: ...


def most_regridding_nbytes(
    job: RegionJob[Any, Any],
    variables: Sequence[DataVar],
    files: Sequence[_File],
    sizes: Mapping[str, int],
) -> int:
    """Return the most that reading one of the files takes beside the archive's own values.

    0 where no variable is regridded. A worker reads one file after the other.
    """
    sources = [one for var in variables for one in var.sources if one.regridded is not None]

    def piece(file: _File, dims: Sequence[str]) -> list[int]:
        place = file.place_in_source(job.append_dim)
        return [_length(place.get(dim), sizes[dim]) for dim in dims]

    found = (
        regridding_nbytes(job, file.coord, source, piece(file, source.dims))
        for source in sources
        for file in files
        if file.gives(source.name)
    )
    return max(found, default=0)


def _length(at: int | slice | None, size: int) -> int:
    """Return how much of a dim a place fills; a source's steps may be more than its size."""
    if isinstance(at, slice):
        return int((size if at.stop is None else at.stop) - (at.start or 0))
    return size if at is None else 1


def regridding_nbytes(
    job: RegionJob[Any, Any], coord: SourceFileCoord, var: DataVar, piece: Sequence[int]
) -> int:
    """Return what reading a file needs beside the variable's own memory; 0 without regridding.

    Parameters
    ----------
    job, coord, var
        The file, and what is read from it.
    piece
        Shape of what it fills of the archive.
    """
    grid = source_grid(job, coord, var)
    if grid is None or var.regridded is None or not has_rows(grid):
        return 0
    lengths = [np.size(labels) for labels in grid.labels().values()]
    points, ours = prod(lengths), prod(piece[-2:])
    fields = prod(piece[:-2]) * points * np.dtype(var.encoding.value_dtype).itemsize
    if kind_of(grid) == DEGREES and var.regridded.onto is None:
        block = min(points + ours, BLOCKS_HELD * BLOCK_VALUES)
        return COPIES * fields + WORKING_NBYTES * block
    is_bilinear = var.regridded.method == "bilinear"
    # Cells of two grids that lie anyhow meet so often: by Minkowski's sum of two squares.
    entries = 4 * ours if is_bilinear else points + ours + 3 * isqrt(points * ours)
    block = min(ours, BLOCK_VALUES)
    held = entries + entries * block // ours  # of a block there is a copy
    used = COPIES * fields + WORKING_NBYTES * (points + block) + ENTRY_NBYTES * held
    is_curved = kind_of(grid) == CURVILINEAR
    if is_bilinear and not is_curved:
        found = FINDING_NBYTES * min(ours, POINTS_AT_ONCE)
        return max(used, found + 2 * ENTRY_NBYTES * entries)
    most = MOST_FOUND_NBYTES if is_bilinear else MOST_CUT_NBYTES
    cut = min(most, MAKING_NBYTES * (points + ours))
    corners = points * (PLACED_NBYTES if is_curved else LABELLED_NBYTES)
    return max(used, max(cut, corners) + MADE_ENTRY_NBYTES * entries)
