"""Weights from one grid to another, as SciPy's sparse matrices. Pure.

Between grids of latitudes and longitudes they are a product: of rows, and of columns. From a grid
with a projection of its own there is one matrix of all points, found in the plane of that
projection.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gridmill.authoring.regridding.axes import (
    TURN,
    Entries,
    Neighbours,
    cells_of,
    check_axis,
    is_around,
    overlaps,
)
from gridmill.model.fields.regrid import RegridMethod, SourceGrid
from gridmill.sources.grib.projections import project

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["NeedsScipy", "Target", "Weights", "check_grids", "has_rows", "key_of", "make_weights"]

Floats = npt.NDArray[np.float64]
# Raised where the same grids mean other weights from now on: those that are kept are not taken.
FORMAT = 1
DEGREES = "latitude_longitude"
ROTATED = "rotated_latitude_longitude"


class NeedsScipy(ImportError, NotImplementedError):  # noqa: N818
    """SciPy is not installed where fields are regridded: no fault of a source file."""


@dataclass(frozen=True, eq=False)
class Target:
    """The archive's grid: its latitudes and its longitudes, degrees."""

    latitudes: Floats
    longitudes: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Number of latitudes and of longitudes."""
        return self.latitudes.size, self.longitudes.size


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
    ours = [of.tobytes().hex() for of in (target.latitudes, target.longitudes)]
    mapping = {name: str(value) for name, value in grid.mapping.items()}
    told = json.dumps([FORMAT, method, labels, mapping, ours], sort_keys=True)
    return f"weights-{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def has_rows(grid: Any) -> bool:
    """Whether a grid has rows and columns whose labels are known."""
    return hasattr(grid, "labels") and hasattr(grid, "mapping") and len(grid.labels()) == 2


def check_grids(grid: SourceGrid, target: Target, method: RegridMethod) -> None:
    """Refuse grids between which there are no such weights.

    Raises
    ------
    ValueError
        Labels do not rise or fall, a source has no rows, or the method does not take its grid.
    """
    if not has_rows(grid):
        raise ValueError(
            f"a source on {type(grid).__name__} has no rows, and is not regridded yet: store it by "
            "cells, or bring it to a grid in read_data()"
        )
    kind = grid.mapping.get("grid_mapping_name")
    if method == "conservative" and kind != DEGREES:
        raise ValueError(
            f"conservative regridding takes grids of latitudes and longitudes, and the source's is "
            f"{kind}: declare method='bilinear'"
        )
    for dim, labels in grid.labels().items():
        check_axis(np.asarray(labels, "float64"), f"the source's {_plural(dim)}")
    check_axis(target.latitudes, "the archive's latitudes")
    check_axis(target.longitudes, "the archive's longitudes")


def make_weights(grid: SourceGrid, target: Target, method: RegridMethod) -> Weights:
    """Compute weights.

    Raises
    ------
    ValueError
        As by `check_grids`.
    NeedsScipy
        SciPy is not installed.
    """
    check_grids(grid, target, method)
    rows, columns = (np.asarray(of, "float64") for of in grid.labels().values())
    source = (rows.size, columns.size)
    if grid.mapping.get("grid_mapping_name") != DEGREES:
        return Weights((_of_plane(grid, rows, columns, target),), source, target.shape)
    of_rows, of_columns = (_by_area if method == "conservative" else _of_neighbours)(
        rows, columns, target
    )
    matrices = (
        _matrix(of_rows, (target.latitudes.size, rows.size + 2)),
        _matrix(of_columns, (target.longitudes.size, columns.size)),
    )
    return Weights(matrices, source, target.shape)


def _by_area(rows: Floats, columns: Floats, target: Target) -> tuple[Entries, Entries]:
    def of(wanted: Floats, labels: Floats, is_longitude: bool) -> Entries:
        cells = (cells_of(one, is_longitude=is_longitude) for one in (wanted, labels))
        return overlaps(*cells, is_longitude=is_longitude)

    found = of(target.latitudes, rows, False)
    return Entries(found.at, found.of + 1, found.weights), of(target.longitudes, columns, True)


def _of_neighbours(rows: Floats, columns: Floats, target: Target) -> tuple[Entries, Entries]:
    # What lies between the last row and the pole is known only where the row goes around it.
    latitudes = Neighbours(rows, caps=is_around(columns))
    found = latitudes.along(target.latitudes)
    shift = 0 if is_around(columns) else 1
    of_rows = Entries(found.at, found.of + shift, found.weights)
    return of_rows, Neighbours(columns, turn=TURN).along(target.longitudes)


def _of_plane(grid: SourceGrid, rows: Floats, columns: Floats, target: Target) -> csr_array:
    """Find each point in the plane of the source's projection, among four of its points."""
    x, y = project(grid.mapping, target.latitudes[:, np.newaxis], target.longitudes)
    is_rotated = grid.mapping.get("grid_mapping_name") == ROTATED
    turn = TURN if is_rotated else None
    places = (np.broadcast_to(of, target.shape).ravel() for of in (y, x))
    (above, below, down, in_rows), (left, right, along, in_columns) = (
        Neighbours(rows).entries(next(places)),
        Neighbours(columns, turn=turn).entries(next(places)),
    )
    at = np.flatnonzero(in_rows & in_columns)
    sides = [
        (of_row[at] * columns.size + of_column[at], (by_row * by_column)[at])
        for of_row, by_row in ((above, 1.0 - down), (below, down))
        for of_column, by_column in ((left, 1.0 - along), (right, along))
    ]
    found = Entries(
        np.tile(at, 4),
        np.concatenate([of for of, _ in sides]),
        np.concatenate([weights for _, weights in sides]),
    )
    return _matrix(found, (x.size, rows.size * columns.size))


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
