"""Weights from one grid to another, as SciPy's sparse matrices. Pure.

Between grids of latitudes and longitudes they are a product: of rows, and of columns. Else there is
one matrix of all points: found in the plane of the source's projection, or where the source is
known by its points alone, among quadrangles of these; and of areas, by cutting the source's cells
at the archive's.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gridmill.authoring.grids.curvilinear import CURVILINEAR
from gridmill.authoring.regridding.axes import (
    TURN,
    Entries,
    Neighbours,
    cells_of,
    check_axis,
    is_around,
    overlaps,
)
from gridmill.authoring.regridding.geometry.clipping import shared_areas
from gridmill.authoring.regridding.geometry.copies import own_part
from gridmill.authoring.regridding.geometry.quads import among_quads
from gridmill.authoring.regridding.geometry.sources import Cells, kind_of, points_of
from gridmill.authoring.regridding.geometry.targets import Plane, Target
from gridmill.model.fields.regrid import DEGREES, ROTATED, RegridMethod, SourceGrid
from gridmill.sources.grib.projections import project

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["NeedsScipy", "Weights", "check_grids", "has_rows", "key_of", "make_weights"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
# Raised where the same grids mean other weights from now on: those that are kept are not taken.
FORMAT = 2
# Of a cell's area: by which what lies in it may differ from the cell, and is still all of it.
COVERED = 1e-4
# Of points, and of polygons' vertices: some 50 and 250 MB while they are found and cut.
POINTS_AT_ONCE = 2**17
VERTICES_AT_ONCE = 2**19


class NeedsScipy(ImportError, NotImplementedError):  # noqa: N818
    """SciPy is not installed where fields are regridded: no fault of a source file."""


@dataclass(frozen=True, eq=False)
class Weights:
    """How much each value of a source counts for each of the archive.

    Parameters
    ----------
    matrices
        Two: of rows, ``(row, row of the source)``, where the source has one more before its first
        and after its last, the mean of each pole's neighbours; and of columns. Or one: of all
        points, ``(point, point of the source)``.
    source, shape
        Number of rows and columns of the source, and of the archive.
    """

    matrices: tuple[csr_array, ...]
    source: tuple[int, int]
    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(m.data.nbytes + m.indices.nbytes + m.indptr.nbytes for m in self.matrices)

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` takes."""
        arrays: dict[str, Any] = {"source": self.source, "shape": self.shape}
        for number, matrix in enumerate(self.matrices):
            parts = {"data": matrix.data, "at": matrix.indices, "ends": matrix.indptr}
            arrays |= {f"{name}{number}": part for name, part in parts.items()}
            arrays[f"lengths{number}"] = matrix.shape
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Weights:
        """Read what was kept.

        Raises
        ------
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile
            It is damaged.
        """
        sparse = _scipy_sparse()
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            many = sum(name.startswith("data") for name in kept.files)
            matrices = tuple(
                sparse.csr_array(
                    tuple(kept[f"{part}{number}"] for part in ("data", "at", "ends")),
                    shape=tuple(kept[f"lengths{number}"].tolist()),
                )
                for number in range(many)
            )
            source, shape = (tuple(kept[name].tolist()) for name in ("source", "shape"))
        return cls(matrices, source, shape)


def key_of(grid: SourceGrid, target: Target, method: RegridMethod) -> str:
    """Return what names weights: a hash of both grids' content, and of the method."""
    labels = {dim: np.asarray(of, "float64").tobytes().hex() for dim, of in grid.labels().items()}
    ours: list[Any] = [of.tobytes().hex() for of in (target.rows, target.columns)]
    mapping = {name: str(value) for name, value in grid.mapping.items()}
    if target.mapping is not None:
        ours.append({name: str(value) for name, value in target.mapping.items()})
    told = json.dumps([FORMAT, method, labels, mapping, ours], sort_keys=True)
    return f"weights-{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def has_rows(grid: Any) -> bool:
    """Whether a grid has rows and columns whose labels are known."""
    return hasattr(grid, "labels") and hasattr(grid, "mapping") and len(grid.labels()) == 2


def check_grids(grid: SourceGrid, target: Target) -> None:
    """Refuse grids between which there are no such weights.

    Raises
    ------
    ValueError
        Labels do not rise or fall, or a source has no rows.
    """
    if not has_rows(grid):
        raise ValueError(
            f"a source on {type(grid).__name__} has no rows, and is not regridded yet: store it by "
            "cells, or bring it to a grid in read_data()"
        )
    for dim, labels in grid.labels().items():
        check_axis(np.asarray(labels, "float64"), f"the source's {_plural(dim)}")
    names = ("latitudes", "longitudes") if target.kind == DEGREES else ("rows", "columns")
    for labels, name in zip((target.rows, target.columns), names, strict=True):
        check_axis(labels, f"the archive's {name}")


def make_weights(grid: SourceGrid, target: Target, method: RegridMethod) -> Weights:
    """Compute weights.

    Raises
    ------
    ValueError
        As by `check_grids`.
    NeedsScipy
        SciPy is not installed.
    """
    check_grids(grid, target)
    rows, columns = (np.asarray(of, "float64") for of in grid.labels().values())
    source = (rows.size, columns.size)
    if kind_of(grid) == target.kind == DEGREES:
        of_rows, of_columns = (_by_area if method == "conservative" else _of_neighbours)(
            rows, columns, target
        )
        matrices = (
            _matrix(of_rows, (target.rows.size, rows.size + 2)),
            _matrix(of_columns, (target.columns.size, columns.size)),
        )
        return Weights(matrices, source, target.shape)
    lengths = (target.rows.size * target.columns.size, rows.size * columns.size)
    if method == "conservative":
        matrix = _of_cells(grid, target, lengths)
    elif kind_of(grid) == CURVILINEAR:
        matrix = _matrix(_among_points(grid, target), lengths)
    else:
        matrix = _of_plane(grid, rows, columns, target)
    return Weights((matrix,), source, target.shape)


def _by_area(rows: Floats, columns: Floats, target: Target) -> tuple[Entries, Entries]:
    def of(wanted: Floats, labels: Floats, is_longitude: bool) -> Entries:
        cells = (cells_of(one, is_longitude=is_longitude) for one in (wanted, labels))
        return overlaps(*cells, is_longitude=is_longitude)

    found = of(target.rows, rows, False)
    return Entries(found.at, found.of + 1, found.weights), of(target.columns, columns, True)


def _of_neighbours(rows: Floats, columns: Floats, target: Target) -> tuple[Entries, Entries]:
    # What lies between the last row and the pole is known only where the row goes around it.
    latitudes = Neighbours(rows, caps=is_around(columns))
    found = latitudes.along(target.rows)
    shift = 0 if is_around(columns) else 1
    of_rows = Entries(found.at, found.of + shift, found.weights)
    return of_rows, Neighbours(columns, turn=TURN).along(target.columns)


def _of_plane(grid: SourceGrid, rows: Floats, columns: Floats, target: Target) -> csr_array:
    """Find each point in the plane of the source's labels, some rows at a time."""
    step = max(1, POINTS_AT_ONCE // target.columns.size)
    parts = []
    for first in range(0, target.rows.size, step):
        part = replace(target, rows=target.rows[first : first + step])
        lengths = (part.rows.size * part.columns.size, rows.size * columns.size)
        parts.append(_matrix(_in_plane(grid, rows, columns, part), lengths))
    made: csr_array = _scipy_sparse().vstack(parts, format="csr")
    return made


def _in_plane(grid: SourceGrid, rows: Floats, columns: Floats, target: Target) -> Entries:
    """Find each point in the plane of the source's labels, among four of its points."""
    places = target.places()
    kind = kind_of(grid)
    x, y = places[::-1] if kind == DEGREES else project(grid.mapping, *places)
    # The poles beyond the last rows of a global grid are rows of their own, -1 and one too many.
    has_poles = kind == DEGREES and is_around(columns)
    turn = TURN if kind in (DEGREES, ROTATED) else None
    above, below, down, in_rows = Neighbours(rows, caps=has_poles).entries(y.ravel())
    left, right, along, in_columns = Neighbours(columns, turn=turn).entries(x.ravel())
    if has_poles:
        above, below = above - 1, below - 1
    at = np.flatnonzero(in_rows & in_columns)
    sides = [
        (of_row[at], of_column[at], (by_row * by_column)[at])
        for of_row, by_row in ((above, 1.0 - down), (below, down))
        for of_column, by_column in ((left, 1.0 - along), (right, along))
    ]
    of_rows, of_columns, weights = (np.concatenate(of) for of in zip(*sides, strict=True))
    return _with_whole_rows(np.tile(at, 4), of_rows, of_columns, weights, (rows.size, columns.size))


def _with_whole_rows(
    at: Places, rows: Places, columns: Places, weights: Floats, shape: tuple[int, int]
) -> Entries:
    """Return weights of points; those of a pole are shared by the row around it."""
    is_pole = (rows < 0) | (rows >= shape[0])
    beside = np.clip(rows, 0, shape[0] - 1)
    poles = np.flatnonzero(is_pole & (weights != 0))
    shared = beside[poles, np.newaxis] * shape[1] + np.arange(shape[1])
    others = ~is_pole
    return Entries(
        np.concatenate([at[others], np.repeat(at[poles], shape[1])]),
        np.concatenate([(rows * shape[1] + columns)[others], shared.ravel()]),
        np.concatenate([weights[others], np.repeat(weights[poles] / shape[1], shape[1])]),
    )


def _among_points(grid: SourceGrid, target: Target) -> Entries:
    """Find each point among those of the source that are no copies of others."""
    latitudes, longitudes = points_of(grid)
    own = own_part(latitudes, longitudes)
    found = among_quads(latitudes[own], longitudes[own], target)
    rows, columns = np.divmod(found.of, own[1].stop)
    return Entries(found.at, rows * latitudes.shape[1] + columns, found.weights)


def _of_cells(grid: SourceGrid, target: Target, lengths: tuple[int, int]) -> csr_array:
    """Return which share of each cell of the archive lies in which cell of the source, by area.

    A cell is wholly covered where it is but for `COVERED`: corners of cells are places on the
    sphere, and how their edges run between them is known to no more.
    """
    cells, plane = Cells(grid), Plane(target)
    height, width = cells.shape
    step = max(1, VERTICES_AT_ONCE // (width * cells.vertices))
    parts = []
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        found = shared_areas(*cells.polygons(rows), plane)
        parts.append((found.at, cells.numbers[rows].ravel()[found.of], found.weights))
    areas = Entries(*(np.concatenate(one) for one in zip(*parts, strict=True)))
    wanted = plane.cell_areas().ravel()
    shares = _matrix(areas, lengths)
    covered = np.asarray(shares.sum(axis=1))
    whole = np.where(covered >= wanted * (1 - COVERED), covered, wanted)
    shares.data /= np.repeat(whole, np.diff(shares.indptr))
    return shares


def _matrix(entries: Entries, lengths: tuple[int, int]) -> csr_array:
    """Make a matrix; a weight of 0 is none, so that a missing value there does not count."""
    sparse = _scipy_sparse()
    few = max(*lengths, entries.weights.size) < np.iinfo("int32").max
    at, of = (one.astype("int32" if few else "int64") for one in (entries.at, entries.of))
    matrix = sparse.csr_array((entries.weights, (at, of)), shape=lengths)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _scipy_sparse() -> Any:
    try:
        from scipy import sparse
    except ImportError as error:
        raise NeedsScipy(
            "regridding needs SciPy, which is not installed; run: pip install 'gridmill[regrid]'"
        ) from error
    return sparse


def _plural(dim: str) -> str:
    return f"{dim}s" if dim in ("latitude", "longitude") else dim
