"""Brings fields to the archive's grid by weights. Pure, and bounded in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gridmill.authoring.regridding.weights import Weights
from gridmill.authoring.transforms.casting import cast_into
from gridmill.model.epochs import BILINEAR, CONSERVATIVE, note_stage
from gridmill.model.fields.regrid import Regrid
from gridmill.model.variables import DataVar

__all__ = ["regrid_into"]

Values = np.ndarray[Any, Any]
Floats = npt.NDArray[np.float64]
# 8 MB of float64: several such live at once.
BLOCK_VALUES = 2**20
# By which a sum of weights is off that is 1.
ROUNDING = 1e-9
STAGES = {"bilinear": BILINEAR, "conservative": CONSERVATIVE}


def regrid_into(values: Values, weights: Weights, how: Regrid, var: DataVar, out: Values) -> None:
    """Bring fields to another grid.

    Parameters
    ----------
    values
        The last two dims are `Weights.source`; not changed. What says missing is the variable's.
    weights
        Of the method that `how` names.
    how
        What share of the weights must have values.
    var
        The variable.
    out
        Gets the values: the last two dims are `Weights.shape`, the others those of `values`.

    Raises
    ------
    ValueError
        A value cannot be stored in the variable's dtype.
    """
    note_stage(STAGES[how.method])
    fill = var.encoding.value_fill
    for at in np.ndindex(values.shape[:-2]):
        for rows, sums, shares in _blocks(weights, values[at], fill):
            made = _means(sums, shares, how.at_least)
            if fill == fill:
                made[np.isnan(made)] = fill
            cast_into(made, out[(*at, rows)], var.name, var.encoding.missing)


def _means(sums: Floats, shares: Floats, at_least: float) -> Floats:
    """Divide weighted sums by the weights that had values; NaN where these are too few."""
    shares[np.abs(shares - 1.0) <= ROUNDING] = 1.0
    enough = (shares > ROUNDING) & (shares >= at_least - ROUNDING)
    means: Floats = np.divide(sums, shares, out=np.full(sums.shape, np.nan), where=enough)
    return means


def _blocks(weights: Weights, field: Values, fill: float) -> Iterator[tuple[slice, Floats, Floats]]:
    """Yield rows of the archive, their weighted sums, and the weights of values that are there."""
    if len(weights.matrices) == 2:
        yield from _of_rows_and_columns(weights, field, fill)
        return
    (points,) = weights.matrices
    known, there = (of.ravel() for of in _known(field, fill))
    height, width = weights.shape
    step = max(1, BLOCK_VALUES // width)
    for first in range(0, height, step):
        last = min(first + step, height)
        part = points[first * width : last * width]
        shape = (last - first, width)
        sums, shares = ((part @ of).reshape(shape) for of in (known, there))
        del part  # a copy: none beside the next one
        yield slice(first, last), sums, shares


def _of_rows_and_columns(
    weights: Weights, field: Values, fill: float
) -> Iterator[tuple[slice, Floats, Floats]]:
    rows, columns = weights.matrices
    height, width = weights.shape
    a_row = max(width, field.shape[1] * max(1, field.shape[0] // height))
    step = max(1, BLOCK_VALUES // a_row)
    for first in range(0, height, step):
        at = slice(first, min(first + step, height))
        part = rows[at]
        low, high = (int(part.indices.min()), int(part.indices.max()) + 1) if part.nnz else (1, 1)
        part = part[:, low:high]
        known, there = _with_poles(field, low, high, fill)
        yield at, part @ (columns @ known.T).T, part @ _shares(columns, there)


def _shares(columns: Any, there: Floats) -> Floats:
    """Return the weights of values that are there; quickly where all are."""
    if there.all():
        sums = np.asarray(columns.sum(axis=1), "float64")
        return np.broadcast_to(sums, (len(there), sums.size))
    return np.asarray((columns @ there.T).T)


def _with_poles(field: Values, low: int, high: int, fill: float) -> tuple[Floats, Floats]:
    """Return rows of a field, counted from the south or north pole that is before the first."""
    last = len(field) + 1
    parts = [_known(field[max(low - 1, 0) : min(high, last) - 1], fill)]
    if low == 0:
        parts.insert(0, _around(field[:1], fill))
    if high == last + 1:
        parts.append(_around(field[-1:], fill))
    known, there = (np.concatenate(of) if len(of) > 1 else of[0] for of in zip(*parts, strict=True))
    return known, there


def _around(row: Values, fill: float) -> tuple[Floats, Floats]:
    """Return the pole beyond a row: its mean, as often as it has points."""
    known, there = (np.full(of.shape, of.mean()) for of in _known(row, fill))
    return known, there


def _known(field: Values, fill: float) -> tuple[Floats, Floats]:
    """Return a field with 0 where no value is there, and 1 where one is."""
    known = field.astype("float64")
    there = ~np.isnan(known)
    if fill == fill:
        there &= field != field.dtype.type(fill)
    known[~there] = 0.0
    return known, there.astype("float64")
