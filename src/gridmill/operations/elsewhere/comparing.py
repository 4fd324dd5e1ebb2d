"""Compares two archives as a reader sees them: structure, attributes, values, extent, and cost.

Neither needs to be gridmill's, and nothing of either is written. Values are compared where both
have labels, decoded; what only one has is a difference of extent. How they are stored is no
difference for readers but in cost, and is told there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import islice, product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from zarr.core.sync import sync

from gridmill.authoring.encoding.access import AccessCost, access_costs
from gridmill.authoring.encoding.chunking import Cut
from gridmill.model.wording import count_of
from gridmill.stores.contents.found import found_in, open_found
from gridmill.stores.final_store import FinalStore
from gridmill.stores.lookahead import lookahead

__all__ = ["Compared", "Comparison", "Side", "compare"]

# Values of one variable of one archive that are in memory at once; four such blocks are read ahead.
BLOCK = 4_000_000
AT_ONCE = 4
# Objects that are asked for their sizes; of more, every so many.
MOST_SIZED = 1000

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Side:
    """One of the archives.

    Parameters
    ----------
    url, format
        Where it is, and ``"zarr"`` or ``"icechunk"``.
    sizes
        Lengths of its dims.
    objects, nbytes
        Keys that it has and their bytes.
    is_estimate
        Whether bytes were asked of some objects only.
    costs
        By variable, what reads cost; see `access_costs`.
    """

    url: str
    format: str
    sizes: Mapping[str, int]
    objects: int
    nbytes: int
    is_estimate: bool
    costs: Mapping[str, tuple[AccessCost, ...]]


@dataclass(frozen=True)
class Compared:
    """What became of one variable.

    Parameters
    ----------
    name
        The variable, or coordinate.
    values
        How many were compared.
    differing
        How many of them are other values, or missing on one side.
    missing_in_one
        How many of those are missing on one side.
    max_abs_difference
        Of numbers on both sides; None where there are none.
    first
        Labels of the first that differs.
    is_sampled
        Whether only some blocks were compared.
    """

    name: str
    values: int = 0
    differing: int = 0
    missing_in_one: int = 0
    max_abs_difference: float | None = None
    first: Mapping[str, str] | None = None
    is_sampled: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two archives as a reader sees them.

    Parameters
    ----------
    a, b
        The archives.
    structure, attributes, extent
        What differs, a line each.
    variables
        What became of the values.
    only_in_a
        Of extent and structure, what a reader of B does not have.
    """

    a: Side
    b: Side
    structure: tuple[str, ...]
    attributes: tuple[str, ...]
    extent: tuple[str, ...]
    variables: tuple[Compared, ...]
    only_in_a: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether readers see the same in both."""
        differs = self.structure or self.attributes or self.extent
        return not differs and not any(one.differing for one in self.variables)


def compare(
    a: FinalStore,
    b: FinalStore,
    *,
    variables: Sequence[str] | None = None,
    blocks: int | None = None,
) -> Comparison:
    """Compare two archives.

    Parameters
    ----------
    a, b
        Of any writer, in any format.
    variables
        Compare the values of these; None compares all.
    blocks
        Compare the values of so many blocks of each variable, evenly spread; None compares all.

    Raises
    ------
    ValueError
        Readers see nothing at one of the addresses, or neither has one of the variables.
    """
    with open_found(a) as ours, open_found(b) as theirs:
        _check_names(variables, ours, theirs)
        # A store lists its arrays in any order.
        shared = sorted(str(name) for name in ours.variables if name in theirs.variables)
        comparable = [n for n in shared if _is_comparable(ours[n], theirs[n])]
        common = _common_labels(ours, theirs)
        chosen = [
            name
            for name in comparable
            if variables is None or name in variables or name in ours.coords
        ]
        of = partial(_compare_values, ours, theirs, common, blocks)
        structure, extent = list(_structure(ours, theirs)), list(_extent(ours, theirs))
        return Comparison(
            _side(a, ours),
            _side(b, theirs),
            tuple(line for line, _ in structure),
            tuple(_attributes(ours, theirs, shared)),
            tuple(line for line, _ in extent),
            tuple(of(name) for name in chosen if name not in common),
            tuple(line for line, is_only_in_a in (*extent, *structure) if is_only_in_a),
        )


def _check_names(variables: Sequence[str] | None, *sides: xr.Dataset) -> None:
    known = [{str(name) for name in ds.data_vars} for ds in sides]
    for name in variables or ():
        if not any(name in names for names in known):
            there = ", ".join(sorted(set().union(*known)))
            raise ValueError(f"neither archive has a variable {name}; there are {there}")


# -- what is said of both --------------------------------------------------------------------------


# A line, and whether it is of what only A has.
Told = tuple[str, bool]


def _structure(a: xr.Dataset, b: xr.Dataset) -> Iterator[Told]:
    for name in sorted({*map(str, a.variables), *map(str, b.variables)}):
        if name not in a.variables or name not in b.variables:
            is_in_a = name in a.variables
            yield f"{name} is only in {'A' if is_in_a else 'B'}", is_in_a
            continue
        for what, ours, theirs in (
            ("dims", a[name].dims, b[name].dims),
            ("dtype", a[name].dtype, b[name].dtype),
            ("kind", *(_kind(ds, name) for ds in (a, b))),
        ):
            if ours != theirs:
                yield f"{name}: {what} {_said(ours)} in A, {_said(theirs)} in B", False


def _kind(ds: xr.Dataset, name: str) -> str:
    return "coordinate" if name in ds.coords else "variable"


def _attributes(a: xr.Dataset, b: xr.Dataset, shared: Sequence[str]) -> Iterator[str]:
    sides = [("", a.attrs, b.attrs)]
    sides += [(f"{name}: ", a[name].attrs, b[name].attrs) for name in shared]
    for where, ours, theirs in sides:
        for key in sorted({*ours, *theirs}):
            mine, other = (_as_json(side.get(key)) for side in (ours, theirs))
            if mine != other:
                yield f"{where}{key} is {mine} in A, {other} in B"


def _extent(a: xr.Dataset, b: xr.Dataset) -> Iterator[Told]:
    for dim in (dim for dim in a.dims if dim in b.dims):
        ours, theirs = _index_of(a, dim), _index_of(b, dim)
        if ours is None or theirs is None:
            n, m = a.sizes[dim], b.sizes[dim]
            if n != m:
                yield f"{dim}: {n} positions in A, {m} in B", n > m
            continue
        for which, some, others in (("A", ours, theirs), ("B", theirs, ours)):
            only = some[~some.isin(others)]
            if len(only):
                ends = str(only[0]) if len(only) == 1 else f"{only[0]} … {only[-1]}"
                told = f"{dim}: {count_of(len(only), 'label')} only in {which}, {ends}"
                yield told, which == "A"
        both = ours[ours.isin(theirs)]
        if not both.equals(theirs[theirs.isin(ours)]):
            yield f"{dim}: its labels are in another order", False


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _as_json(value: Any) -> str:
    plain = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    return "absent" if plain is None else json.dumps(plain, sort_keys=True, default=str)


def _index_of(ds: xr.Dataset, dim: Any) -> pd.Index[Any] | None:
    return ds.indexes.get(dim)


# -- values ----------------------------------------------------------------------------------------

# By dim, where labels that both have are in each; None where there are no labels to go by.
Common = Mapping[str, tuple[Values, Values]]


def _common_labels(a: xr.Dataset, b: xr.Dataset) -> Common:
    common = {}
    for dim in (str(dim) for dim in a.dims if dim in b.dims):
        ours, theirs = _index_of(a, dim), _index_of(b, dim)
        if ours is not None and theirs is not None and ours.is_unique and theirs.is_unique:
            there = theirs.get_indexer(ours)
            common[dim] = (np.flatnonzero(there >= 0), there[there >= 0])
    return common


def _is_comparable(a: xr.DataArray, b: xr.DataArray) -> bool:
    return set(a.dims) == set(b.dims)


def _compare_values(
    a: xr.Dataset, b: xr.Dataset, common: Common, blocks: int | None, name: str
) -> Compared:
    ours = a[name].variable
    theirs = b[name].variable.transpose(*ours.dims)
    along = {
        str(dim): common.get(str(dim)) or (np.arange(min(n, m)),) * 2
        for dim, n, m in zip(ours.dims, ours.shape, theirs.shape, strict=True)
    }
    lengths = [len(at) for at, _ in along.values()]
    every = list(_blocks(a[name], lengths, by_object=blocks is not None))
    chosen = every if blocks is None or blocks >= len(every) else _spread(every, blocks)

    def look(block: Sequence[slice]) -> Compared:
        places = list(zip(along.items(), block, strict=True))
        mine = {dim: _as_slice(at[part]) for (dim, (at, _)), part in places}
        other = {dim: _as_slice(at[part]) for (dim, (_, at)), part in places}
        found = _compare_block(name, ours.isel(mine).values, theirs.isel(other).values)
        if found.first is None:
            return found
        return _labelled(found, a, mine)

    whole = reduce(_summed, lookahead(look, chosen, AT_ONCE), Compared(name))
    return _replaced(whole, is_sampled=len(chosen) < len(every))


def _blocks(
    array: xr.DataArray, lengths: Sequence[int], *, by_object: bool
) -> Iterator[tuple[slice, ...]]:
    """Yield what is read at once: all, whole objects, or chunks where those are too large."""
    encoding = array.encoding
    steps = [max(1, n) for n in lengths]
    cuts = [encoding.get("shards") or encoding.get("chunks"), encoding.get("chunks")]
    for cut in cuts if by_object else [None, *cuts]:
        if cut is not None:
            steps = [min(n, max(1, m)) for m, n in zip(lengths, cut, strict=True)]
        if math.prod(steps) <= BLOCK:
            break
    for axis in range(len(steps)):  # one chunk may be larger still
        while math.prod(steps) > BLOCK and steps[axis] > 1:
            steps[axis] = -(-steps[axis] // 2)
    yield from product(
        *(
            [slice(at, min(at + step, n)) for at in range(0, n, step)]
            for n, step in zip(lengths, steps, strict=True)
        )
    )


def _spread(every: Sequence[Any], many: int) -> list[Any]:
    """Choose so many, the first and the last among them."""
    at = np.unique(np.linspace(0, len(every) - 1, many).round().astype(int))
    return [every[i] for i in at]


def _as_slice(index: Values) -> slice | Values:
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _compare_block(name: str, a: Values, b: Values) -> Compared:
    """Compare values; the first that differs by its place in the block."""
    missing_a, missing_b = pd.isnull(a), pd.isnull(b)
    one = np.asarray(missing_a != missing_b)
    with np.errstate(invalid="ignore"):
        differs = np.asarray(((a != b) & ~(missing_a & missing_b)) | one)
    both = differs & ~one
    most = None
    if both.any() and a.dtype.kind in "biuf" and b.dtype.kind in "biuf":
        difference = a[both].astype("float64") - b[both].astype("float64")
        most = float(np.abs(difference).max())
    first = None
    if differs.any():
        first = {str(i): str(at) for i, at in enumerate(np.argwhere(differs)[0])}
    return Compared(name, int(a.size), int(differs.sum()), int(one.sum()), most, first)


def _labelled(found: Compared, a: xr.Dataset, at: Mapping[str, Any]) -> Compared:
    """Name the first place that differs by its labels."""
    labels = {}
    for (dim, part), offset in zip(at.items(), (found.first or {}).values(), strict=True):
        position = int(np.arange(a.sizes[dim])[part][int(offset)])
        index = _index_of(a, dim)
        labels[dim] = str(position if index is None else index[position])
    return _replaced(found, first=labels)


def _summed(a: Compared, b: Compared) -> Compared:
    most = [m for m in (a.max_abs_difference, b.max_abs_difference) if m is not None]
    return Compared(
        a.name,
        a.values + b.values,
        a.differing + b.differing,
        a.missing_in_one + b.missing_in_one,
        max(most, default=None),
        a.first or b.first,
    )


def _replaced(compared: Compared, **changes: Any) -> Compared:
    return Compared(**{**vars(compared), **changes})


# -- cost ------------------------------------------------------------------------------------------


def _side(store: FinalStore, ds: xr.Dataset) -> Side:
    keys = _keys(store)
    some = keys if len(keys) <= MOST_SIZED else list(islice(keys, 0, None, len(keys) // MOST_SIZED))
    sizes = store.published_nbytes(some)
    share = len(keys) / len(some) if some else 1.0
    return Side(
        url=store.url,
        format=store.format,
        sizes={str(dim): int(n) for dim, n in ds.sizes.items()},
        objects=len(keys),
        nbytes=round(sum(sizes.values()) * share),
        is_estimate=len(some) < len(keys),
        costs={str(name): _costs(ds, array) for name, array in ds.data_vars.items()},
    )


def _keys(store: FinalStore) -> list[str]:
    found: Any = found_in(store)

    async def listed() -> list[str]:
        return sorted([key async for key in found.list_prefix("")])

    return sync(listed())


def _costs(ds: xr.Dataset, array: xr.DataArray) -> tuple[AccessCost, ...]:
    """Compute what reads cost, as `gridmill layout` does."""
    encoding = array.encoding
    chunks, shards = encoding.get("chunks"), encoding.get("shards")
    if array.ndim < 2 or chunks is None:
        return ()
    itemsize = np.dtype(encoding.get("dtype", array.dtype)).itemsize
    cut = Cut(tuple(chunks), tuple(shards or chunks), itemsize)
    sizes = {str(dim): int(ds.sizes[dim]) for dim in array.dims}
    append_dim = str(array.dims[0]) if array.ndim > 2 else None
    return access_costs(cut, sizes, append_dim, is_sharded=shards is not None)
