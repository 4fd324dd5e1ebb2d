"""Makes the values of a variable of those that source files hold. Pure, and bounded in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from gridmill.authoring.transforms.blocks import BoolArray, Float64Array
from gridmill.authoring.transforms.casting import cast_into
from gridmill.model.epochs import AGGREGATION, stage
from gridmill.model.fields.derived import Aggregation, Derived
from gridmill.model.variables import DataVar
from gridmill.sources.evidence.units import are_same, convert, is_understood

__all__ = ["conversion", "make_into", "rests_on_whole"]

Values = np.ndarray[Any, Any]
# 8 MB of float64: several such live at once.
BLOCK_VALUES = 2**20


def make_into(
    var: DataVar, sources: Sequence[Values], offsets: Sequence[int] | None, out: Values
) -> None:
    """Make a variable's values.

    Parameters
    ----------
    var
        The variable.
    sources
        The values of its `DataVar.sources`, each of the same shape: `out`'s, or along its first dim
        the steps that are aggregated. What says missing is each variable's own. Not changed.
    offsets
        Where each position's steps begin, and where the last one's end; None where nothing is
        aggregated.
    out
        Gets the values, in `Encoding.value_dtype`.

    Raises
    ------
    ValueError
        A formula gives values of another shape, or what cannot be stored.
    """
    step = _stepwise(var, sources)
    for positions, rest in _blocks(out.shape, offsets):
        if offsets is None or var.aggregated is None:
            made = step((positions, *rest))
        else:
            steps = slice(offsets[positions.start], offsets[positions.stop])
            made = aggregated(var.aggregated, step((steps, *rest)))[np.newaxis]
        _store(made, out[(positions, *rest)], var)


def rests_on_whole(
    var: DataVar, offsets: Sequence[int] | None, masks: Sequence[BoolArray]
) -> BoolArray:
    """Return where a variable's values can be made, by where those of its sources are there."""
    there: BoolArray = np.logical_and.reduce(masks) if len(masks) > 1 else masks[0]
    if var.aggregated is None or offsets is None:
        return there
    found = np.zeros((len(offsets) - 1, *there.shape[1:]), bool)
    for at, (first, stop) in enumerate(pairwise(offsets)):
        needed = stop - first if var.aggregated.at_least is None else var.aggregated.at_least
        found[at] = there[first:stop].sum(axis=0) >= min(needed, stop - first)
    return found


@stage(AGGREGATION)
def aggregated(how: Aggregation, steps: Float64Array) -> Float64Array:
    """Aggregate along the first dim; NaN where too few of the steps have a value.

    Examples
    --------
    >>> steps = np.array([[1.0, 1.0], [3.0, np.nan]])
    >>> aggregated(Aggregation(method="mean", every="h"), steps)
    array([ 2., nan])
    >>> aggregated(Aggregation(method="mean", every="h", at_least=1), steps)
    array([2., 1.])
    """
    there = ~np.isnan(steps)
    count = there.sum(axis=0)
    empty = {"minimum": np.inf, "maximum": -np.inf}.get(how.method, 0.0)
    known = np.where(there, steps, empty)
    found = {"minimum": np.min, "maximum": np.max}.get(how.method, np.sum)(known, axis=0)
    if how.method == "mean":
        found = found / np.maximum(count, 1)
    needed = len(steps) if how.at_least is None else min(how.at_least, len(steps))
    return np.where(count >= needed, found, np.nan)


@lru_cache(maxsize=256)
def conversion(first: str, second: str) -> tuple[float, float] | None:
    """Return factor and offset from one unit to another; None if they mean the same.

    Raises
    ------
    ValueError
        Values of one cannot be told in the other, or not by a factor and an offset.
    """
    if first == second:
        return None
    if not (is_understood(first) and is_understood(second)):
        raise ValueError(
            f"{first!r} cannot be converted to {second!r}: at least one is not understood; declare "
            "both as UDUNITS writes them, and install gridmill[netcdf], which converts them"
        )
    if are_same(first, second):
        return None
    try:
        offset, one, two = convert(np.array([0.0, 1.0, 2.0]), first, second).tolist()
    except ValueError as error:
        raise ValueError(f"{first!r} cannot be converted to {second!r}") from error
    if not np.isclose(two - one, one - offset, rtol=1e-9):
        raise ValueError(f"{first!r} is not converted to {second!r} by a factor and an offset")
    return one - offset, offset


def _blocks(
    shape: tuple[int, ...], offsets: Sequence[int] | None
) -> Iterator[tuple[Any, tuple[slice, ...]]]:
    """Yield parts of an array: positions of its first dim, one where many steps make it."""
    if not shape:
        yield ..., ()
        return
    n, *rest = shape
    row = max(1, int(np.prod(rest[1:], dtype=int)))
    at_once = 1 if offsets is not None else max(1, BLOCK_VALUES // max(1, row * (rest or [1])[0]))
    for start in range(0, n, at_once):
        stop = min(start + at_once, n)
        n_steps = stop - start if offsets is None else offsets[stop] - offsets[start]
        if not rest:
            yield slice(start, stop), ()
            continue
        width = max(1, BLOCK_VALUES // max(1, row * n_steps))
        for first in range(0, rest[0], width):
            yield slice(start, stop), (slice(first, min(first + width, rest[0])),)


def _stepwise(var: DataVar, sources: Sequence[Values]) -> Callable[[Any], Float64Array]:
    """Return what gives a part of the variable's values at the source's steps, as float64."""

    def known(at: Any, values: Values, source: DataVar) -> Float64Array:
        part = np.array(values[at], "float64")
        fill = source.encoding.value_fill
        if fill == fill:
            part[values[at] == values.dtype.type(fill)] = np.nan
        return part

    def step(at: Any) -> Float64Array:
        pairs = zip(sources, var.sources, strict=True)
        parts = [known(at, values, source) for values, source in pairs]
        return parts[0] if var.derived is None else _derived(var, var.derived, parts)

    return step


def _derived(var: DataVar, how: Derived, parts: list[Float64Array]) -> Float64Array:
    missing = np.logical_or.reduce([np.isnan(part) for part in parts])
    takes = how.takes or tuple(str(source.attrs["units"]) for source in how.inputs)
    for part, source, unit in zip(parts, how.inputs, takes, strict=True):
        _convert_inplace(part, conversion(str(source.attrs["units"]), unit))
    flat = [part.reshape(-1) for part in parts]
    found = np.array(how.formula(*flat), "float64")
    if found.shape != flat[0].shape:
        raise ValueError(
            f"the formula {how.name} of {var.name} gives shape {found.shape} for arrays of shape "
            f"{flat[0].shape}: give one value for each"
        )
    if how.gives is not None:
        _convert_inplace(found, conversion(how.gives, str(var.attrs["units"])))
    found[missing.reshape(-1)] = np.nan
    return found.reshape(parts[0].shape)


def _convert_inplace(values: Float64Array, by: tuple[float, float] | None) -> None:
    if by is not None:
        values *= by[0]
        values += by[1]


def _store(made: Float64Array, out: Values, var: DataVar) -> None:
    fill = var.encoding.value_fill
    if fill == fill:
        made = np.where(np.isnan(made), fill, made)
    cast_into(made, out, var.name, var.encoding.missing)
