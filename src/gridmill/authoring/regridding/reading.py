"""A source file's fields on their own grid: what they should be there, and how they leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.authoring.grids.curvilinear import CURVILINEAR
from gridmill.authoring.grids.declared import is_same
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.geometry.sources import kind_of
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.kept import weights_for
from gridmill.authoring.regridding.weights import Weights
from gridmill.model.fields.regrid import Regrid, SourceGrid
from gridmill.model.variables import DataVar
from gridmill.sources.evidence.expected import ExpectedAxis, Promise

if TYPE_CHECKING:
    from gridmill.authoring.region_job import RegionJob
    from gridmill.authoring.source_file import SourceFileCoord

__all__ = ["Regridding", "regridding_of", "source_grid"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Regridding:
    """How a file's fields of a variable come to the archive's grid.

    Parameters
    ----------
    var
        The variable.
    how
        As it declares it.
    grid
        The file's.
    weights
        From this to the archive's.
    """

    var: DataVar
    how: Regrid
    grid: SourceGrid
    weights: Weights

    def room(self, piece: Values) -> Values:
        """Return memory for the fields on their own grid that fill a piece of the archive."""
        return np.empty((*piece.shape[:-2], *self.weights.source), piece.dtype)

    def of(self, promise: Promise, *, with_fields: bool) -> Promise:
        """Return what a file should hold, by what should come of it.

        Where each point of a projected grid is takes a second for two million: only `with_fields`.
        """
        declared = {c.name: c.attrs for c in getattr(self.grid, "coords", ())}
        ours = list(promise.axes)[-2:]
        axes = {dim: axis for dim, axis in promise.axes.items() if dim not in ours}
        for dim, labels in self.grid.labels().items():
            # Numbers of rows and columns are no labels: files have others, or none.
            known = np.array([], "U1") if kind_of(self.grid) == CURVILINEAR else np.asarray(labels)
            axes[dim] = _axis(known, declared.get(dim, {}))
        places = getattr(self.grid, "auxiliary", dict) if with_fields else dict
        auxiliary: Mapping[str, Any] = places()
        fields = {
            name: replace(_axis(values.astype("float32"), declared.get(name, {})), dims=dims)
            for name, (dims, values) in auxiliary.items()
            if len(dims) == 2
        }
        return replace(promise, axes=axes, fields=fields)

    def bring(self, values: Values, piece: Values) -> None:
        """Bring fields to the archive's grid, into a piece of it."""
        regrid_into(values, self.weights, self.how, self.var, piece)


def source_grid(job: RegionJob[Any, Any], coord: SourceFileCoord, var: DataVar) -> Any:
    """Return the grid of a file's fields of a variable; None where that is the archive's."""
    if var.regridded is None:
        return None
    return job.grid_of(coord) or var.regridded.grid


def regridding_of(
    job: RegionJob[Any, Any],
    coord: SourceFileCoord,
    var: DataVar,
    axes: Mapping[str, ExpectedAxis],
    place: Mapping[str, Any],
) -> Regridding | None:
    """Return how a file's fields come to the archive's grid; None where they are on it.

    Parameters
    ----------
    job, coord, var
        The file, and what is read from it.
    axes
        The archive's labels, by dim.
    place
        What the file fills, by dim.

    Raises
    ------
    ValueError
        It fills a part of the archive's grid only.
    NeedsScipy
        SciPy is not installed.
    """
    grid = source_grid(job, coord, var)
    if grid is None or var.regridded is None:
        return None
    rows, columns = (np.asarray(axes[dim].labels, "float64") for dim in var.dims[-2:])
    target = Target(rows, columns, var.regridded.onto)
    if _is_on(grid, target):
        return None
    if parts := [dim for dim in var.dims[-2:] if dim in place]:
        raise ValueError(
            f"{var.name!r} is regridded, and out_loc() names {', '.join(parts)}: a file must fill "
            "the whole grid"
        )
    weights = weights_for(grid, target, var.regridded.method)
    return Regridding(var, var.regridded, grid, weights)


def _is_on(grid: SourceGrid, target: Target) -> bool:
    """Whether a grid is the archive's own."""
    if kind_of(grid) != target.kind or not _is_same_mapping(grid, target):
        return False
    pairs = zip(grid.labels().values(), (target.rows, target.columns), strict=True)
    return all(
        of.size == ours.size and np.allclose(of, ours, np.finfo("float32").eps, 1e-6)
        for of, ours in pairs
    )


def _is_same_mapping(grid: SourceGrid, target: Target) -> bool:
    if target.mapping is None:
        return True
    return all(is_same(target.mapping.get(name), value) for name, value in grid.mapping.items())


def _axis(labels: Values, attributes: Mapping[str, Any]) -> ExpectedAxis:
    return ExpectedAxis(
        labels=labels,
        units=attributes.get("units"),
        standard_name=attributes.get("standard_name"),
        whose="the declared source's",
    )
