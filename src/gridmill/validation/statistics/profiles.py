"""Statistics of every field of an archive, computed in one bounded pass through Dask.

A field is one horizontal slice of a variable: a position along the append dim, and a lead, a member
or a level where there are any. Validators of values and pictures need no more than its statistics,
which are a millionth of the archive.

Covers reading, reducing and merging; not what the numbers mean, see
`gridmill.validation.checks.values`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import dask
import google_crc32c
import numpy as np
import xarray as xr
from dask.delayed import delayed

from gridmill.authoring.transforms.packing import unpack
from gridmill.model.variables import Coordinate, DataVar, Encoding
from gridmill.pipeline.canvas import Slab, slabs_of

__all__ = ["FieldStatistics", "field_dims", "scan"]

Values = np.ndarray[Any, Any]

# What a task reads: many times what the task itself costs, and little for a worker of several.
BLOCK_NBYTES = 16 * 2**20
# What it works on at once.
ROWS_NBYTES = 1 * 2**20
# Tasks handed to Dask at once: enough to keep a large cluster busy, and a graph of bounded size.
BLOCKS_AT_ONCE = 512

HORIZONTAL = {
    "latitude",
    "longitude",
    "grid_latitude",
    "grid_longitude",
    "projection_x_coordinate",
    "projection_y_coordinate",
}


class Readable(Protocol):
    """What is needed of a final store; it travels to Dask's workers."""

    def read(self, variable: str, selection: tuple[slice, ...]) -> Values:
        """Read published values of a variable, in the stored dtype."""


@dataclass(frozen=True)
class FieldStatistics:
    """The statistics of one variable's fields.

    Parameters
    ----------
    fields
        Dims as the variable's without the horizontal ones; positions along the append dim are
        those that were scanned. Variables: ``valid`` (how many values are no NaN), ``minimum``,
        ``maximum``, ``mean``, ``std`` (over the finite values, NaN where there is none) and
        ``digest`` (uint64, the same for fields that are equal bit for bit).
    n_cells
        Values in one field.
    start
        The first scanned position along the append dim.
    unreadable
        Blocks that could not be read: positions along the append dim, and the cause.
    """

    fields: xr.Dataset
    n_cells: int
    start: int
    unreadable: tuple[tuple[slice, str], ...]

    @property
    def missing(self) -> xr.DataArray:
        """Fraction of the values that are NaN, from 0 to 1."""
        return 1 - self.fields["valid"] / max(1, self.n_cells)


def field_dims(var: DataVar, coords: Sequence[Coordinate], append_dim: str) -> tuple[str, ...]:
    """Return the dims of a variable's fields: those that CF marks as horizontal, else the last two.

    Examples
    --------
    >>> from gridmill.model.variables import Encoding
    >>> attrs = {"units": "1", "long_name": "x"}
    >>> dims = ("time", "level", "y", "x")
    >>> var = DataVar(name="t", dims=dims, encoding=Encoding(chunks=(1, 1, 1, 1)), attrs=attrs)
    >>> field_dims(var, [], "time")
    ('y', 'x')
    """
    marked = {coord.name for coord in coords if _is_horizontal(coord)}
    found = tuple(dim for dim in var.dims if dim in marked and dim != append_dim)
    return found or tuple(dim for dim in var.dims if dim != append_dim)[-2:]


def scan(
    store: Readable,
    var: DataVar,
    sizes: Mapping[str, int],
    *,
    over: Sequence[str],
    append_dim: str,
    positions: slice,
) -> FieldStatistics:
    """Compute the statistics of a variable's fields, on the current Dask client or in threads.

    Parameters
    ----------
    store
        Reads published values; sent to the workers.
    var
        The variable.
    sizes
        Length of every dim, as published.
    over
        Its horizontal dims, see `field_dims`.
    append_dim, positions
        Which positions to scan; all of a variable without that dim.

    Notes
    -----
    Memory is bounded by the block and not by the archive, on the workers and here.
    """
    whole = tuple(slice(0, sizes[dim]) for dim in var.dims)
    if append_dim in var.dims:
        whole = (positions, *whole[1:])
    axes = tuple(var.dims.index(dim) for dim in over)
    kept = [axis for axis in range(len(var.dims)) if axis not in axes]
    merged = _Merged(tuple(whole[a].stop - whole[a].start for a in kept))
    unreadable = []
    for block, part in _reduced(store, var, whole, axes):
        if isinstance(part, str):
            unreadable.append((block[0] if append_dim in var.dims else slice(0, 1), part))
            continue
        place = tuple(
            slice(block[a].start - whole[a].start, block[a].stop - whole[a].start) for a in kept
        )
        merged.add(place, part, seed=tuple(block[a].start for a in axes))
    return FieldStatistics(
        fields=merged.as_dataset([var.dims[a] for a in kept]),
        n_cells=prod_of(sizes[dim] for dim in over),
        start=positions.start if append_dim in var.dims else 0,
        unreadable=tuple(unreadable),
    )


def prod_of(lengths: Any) -> int:
    """Multiply lengths."""
    return int(np.prod(list(lengths), dtype=np.int64))


# -- blocks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """What one block contributes: arrays over the dims that are kept."""

    valid: Values
    minimum: Values
    maximum: Values
    mean: Values
    m2: Values
    digest: Values


def _reduced(
    store: Readable, var: DataVar, whole: Slab, axes: tuple[int, ...]
) -> Iterator[tuple[Slab, _Part | str]]:
    """Yield blocks with what they contribute, or why one cannot be read."""
    blocks = list(_blocks(var, whole))
    for first in range(0, len(blocks), BLOCKS_AT_ONCE):
        batch = blocks[first : first + BLOCKS_AT_ONCE]
        tasks = [
            delayed(_reduce_block, pure=False)(store, var.name, block, axes, var.encoding)
            for block in batch
        ]
        yield from zip(batch, dask.compute(*tasks), strict=True)  # type: ignore[attr-defined,no-untyped-call]


def _blocks(var: DataVar, whole: Slab) -> Iterator[Slab]:
    """Divide what is scanned into blocks of whole objects, or of chunks where those are large."""
    encoding = var.encoding
    itemsize = np.dtype(encoding.dtype).itemsize
    shape = [at.stop - at.start for at in whole]
    is_large = prod_of(encoding.object_shape) * itemsize > BLOCK_NBYTES
    unit = encoding.chunks if is_large else encoding.object_shape
    none_whole = [False] * len(shape)
    for slab in slabs_of(shape, unit, itemsize, whole=none_whole, most_nbytes=BLOCK_NBYTES):
        yield tuple(
            slice(at.start + bounds.start, at.stop + bounds.start)
            for at, bounds in zip(slab, whole, strict=True)
        )


def _reduce_block(
    store: Readable, name: str, block: Slab, axes: tuple[int, ...], encoding: Encoding
) -> _Part | str:
    """Reduce one block over the horizontal dims; runs on a worker."""
    try:
        values = np.asarray(store.read(name, block))
    except Exception as error:
        # Whatever a damaged object makes of codecs, the scan of the others goes on.
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    missing = None if encoding.is_packed else encoding.missing
    values = unpack(values, encoding) if encoding.is_packed else values
    kept = [axis for axis in range(values.ndim) if axis not in axes]
    shape = tuple(values.shape[axis] for axis in kept)
    rows = np.ascontiguousarray(values.transpose(*kept, *axes)).reshape(prod_of(shape), -1)
    return _reduce_rows(rows, shape, missing)


def _reduce_rows(rows: Values, shape: tuple[int, ...], missing: float | None) -> _Part:
    """Reduce rows, a few at a time: what is computed on the way takes several times their bytes."""
    at_once = max(1, ROWS_NBYTES // max(1, rows[:1].nbytes))
    parts = [
        _reduce_some(rows[first : first + at_once], missing)
        for first in range(0, max(1, len(rows)), at_once)
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _Part(**{name: values.reshape(shape) for name, values in joined.items()})


def _reduce_some(rows: Values, missing: float | None) -> dict[str, Values]:
    digests = [google_crc32c.value(row.tobytes()) for row in rows]
    rows = rows if rows.dtype.kind == "f" else rows.astype(float)
    is_missing = np.isnan(rows)
    if missing is not None:
        is_missing |= rows == missing
    use = ~is_missing & np.isfinite(rows)
    count = np.count_nonzero(use, axis=1)
    mean = np.divide(
        np.sum(rows, axis=1, where=use, dtype=float),
        count,
        out=np.full(len(rows), np.nan),
        where=count > 0,
    )
    apart = np.where(use, rows - mean[:, None], 0.0)
    # Extremes over all that is no NaN: an infinity is to be seen.
    low = np.min(rows, axis=1, where=~is_missing, initial=np.inf)
    high = np.max(rows, axis=1, where=~is_missing, initial=-np.inf)
    return {
        "valid": np.count_nonzero(~is_missing, axis=1),
        "minimum": low.astype(float),
        "maximum": high.astype(float),
        "mean": mean,
        "m2": np.sum(apart * apart, axis=1),
        "digest": np.array(digests, dtype=np.uint64),
    }


# -- merging ----------------------------------------------------------------------------------


class _Merged:
    """The parts of all blocks so far.

    Means and squares are merged pairwise (Chan, Golub and LeVeque 1979, Updating formulae and a
    pairwise algorithm for computing sample variances, eq. 2.1).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.valid = np.zeros(shape, np.int64)
        self.minimum = np.full(shape, np.inf)
        self.maximum = np.full(shape, -np.inf)
        self.mean = np.zeros(shape)
        self.m2 = np.zeros(shape)
        self.digest = np.zeros(shape, np.uint64)

    def add(self, place: tuple[slice, ...], part: _Part, seed: tuple[int, ...]) -> None:
        """Merge one block's part; `seed` is its place in the field."""
        before, new = self.valid[place], part.valid
        total = np.maximum(before + new, 1)
        mean = np.nan_to_num(part.mean)
        apart = mean - self.mean[place]
        self.mean[place] += apart * new / total
        self.m2[place] += part.m2 + apart**2 * before * new / total
        self.valid[place] += new
        self.minimum[place] = np.minimum(self.minimum[place], part.minimum)
        self.maximum[place] = np.maximum(self.maximum[place], part.maximum)
        # Blocks come in any order: each is mixed with its place, and the sum does not know order.
        with np.errstate(over="ignore"):
            salt = np.uint64(google_crc32c.value(repr(seed).encode()))
            mixed = (part.digest + (salt << np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
            self.digest[place] += mixed ^ (mixed >> np.uint64(29))

    def as_dataset(self, dims: Sequence[str]) -> xr.Dataset:
        """Return the statistics as `FieldStatistics.fields`."""
        nothing = self.valid == 0
        arrays = {
            "valid": self.valid,
            "minimum": np.where(nothing, np.nan, self.minimum),
            "maximum": np.where(nothing, np.nan, self.maximum),
            "mean": np.where(nothing, np.nan, self.mean),
            "std": np.where(nothing, np.nan, np.sqrt(self.m2 / np.maximum(self.valid, 1))),
            "digest": self.digest,
        }
        return xr.Dataset({name: (dims, array) for name, array in arrays.items()})


def _is_horizontal(coord: Coordinate) -> bool:
    attrs = coord.attrs
    return (
        attrs.get("axis") in ("X", "Y")
        or attrs.get("standard_name") in HORIZONTAL
        or str(attrs.get("units", "")).startswith(("degrees_north", "degrees_east"))
    )
