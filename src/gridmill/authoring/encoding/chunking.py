"""How to cut a variable into chunks and shards, and what is wrong with a cut. Pure.

A reader decompresses whole chunks and asks a store once a chunk, so that chunks of kilobytes cost
requests and chunks of tens of megabytes cost readers of a point. A writer puts whole shards, so
that a shard should end where a write ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from gridmill.model.variables import Encoding
from gridmill.model.wording import count_of

__all__ = ["Cut", "cut_warnings", "propose_cut"]

# Of raw values. Half of it or less after compression: a request takes as long as that transfers.
CHUNK_NBYTES = 2 * 2**20
# An object that a connection moves in a second or two, and a worker holds with ease.
SHARD_NBYTES = 128 * 2**20
LEAST_CHUNK_NBYTES = 50_000
# What rounded float32 fields compress to, roughly: what is stored is what readers ask for.
COMPRESSION = 3
# Squares of a grid, not strips: those who want an area read little beside it.
MOST_PIECES = 64


@dataclass(frozen=True)
class Cut:
    """Lengths of chunks and shards along each dim.

    Parameters
    ----------
    chunks, shards
        As in `Encoding`.
    itemsize
        Bytes of one value.
    """

    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    itemsize: int

    @property
    def chunk_nbytes(self) -> int:
        """Raw bytes of a chunk."""
        return math.prod(self.chunks) * self.itemsize

    @property
    def shard_nbytes(self) -> int:
        """Raw bytes of a shard."""
        return math.prod(self.shards) * self.itemsize


def propose_cut(
    sizes: Mapping[str, int], append_dim: str | None, positions: int, itemsize: int = 4
) -> Cut:
    """Propose chunks and shards for a variable on a grid.

    Parameters
    ----------
    sizes
        Lengths of its dims, in their order; the last two are the grid's, if there are so many.
    append_dim
        The one along which the archive grows; None for a static variable.
    positions
        How many positions of it one write brings: a shard holds as many.
    itemsize
        Bytes of one value.

    Examples
    --------
    >>> propose_cut({"time": 100_000, "latitude": 721, "longitude": 1440}, "time", 24)
    Cut(chunks=(24, 145, 144), shards=(24, 725, 1440), itemsize=4)
    """
    dims = list(sizes)
    lengths = [min(positions, sizes[dim]) if dim == append_dim else sizes[dim] for dim in dims]
    lengths = [max(length, 1) for length in lengths]
    chunks = list(lengths)
    grid = range(max(0, len(dims) - 2), len(dims))
    for axis in range(len(dims)):
        if axis not in grid and dims[axis] != append_dim:
            # Levels and members are wanted one by one more often than all together; leads are not.
            chunks[axis] = 1 if dims[axis] not in ("lead_time", "step") else lengths[axis]
    options = product(
        *(
            _cuts(lengths[axis]) if axis in grid and dims[axis] != append_dim else [chunks[axis]]
            for axis in range(len(dims))
        )
    )
    chunk = min(options, key=lambda cut: _badness(cut, lengths, itemsize))
    return Cut(chunk, _shard(chunk, lengths, itemsize), itemsize)


def cut_warnings(
    encoding: Encoding, dims: tuple[str, ...], append_dim: str, positions: int, itemsize: int
) -> Iterator[str]:
    """Say in a line each what of a declared cut will hurt, with the remedy.

    Parameters
    ----------
    encoding, dims
        Of the variable.
    append_dim
        The one along which the archive grows.
    positions
        How many positions of it one write brings.
    itemsize
        Bytes of one value.
    """
    stored = math.prod(encoding.chunks) * itemsize // COMPRESSION
    if stored < LEAST_CHUNK_NBYTES:
        yield (
            f"chunks {encoding.chunks} are about {stored / 1e3:.0f} kB when compressed: below "
            f"{LEAST_CHUNK_NBYTES // 1000} kB a request costs more than what it fetches; make "
            "them larger"
        )
    if append_dim in dims:
        length = encoding.object_shape[dims.index(append_dim)]
        if positions % length:
            yield (
                f"a write of {count_of(positions, 'position')} along {append_dim} splits a shard "
                f"of {length}: it is put again by each, and readers may meet it between; "
                f"let a shard hold {positions}, or use Icechunk"
            )


def _cuts(length: int) -> list[int]:
    """Return the chunk lengths that divide a length into 1 to `MOST_PIECES` nearly equal pieces."""
    return sorted({-(-length // pieces) for pieces in range(1, min(MOST_PIECES, length) + 1)})


def _badness(cut: tuple[int, ...], lengths: list[int], itemsize: int) -> float:
    """Weigh the distance from the wished size, and what chunks hold beyond the array's end."""
    size = abs(math.log2(math.prod(cut) * itemsize / CHUNK_NBYTES))
    padded = math.prod(-(-n // c) * c for n, c in zip(lengths, cut, strict=True))
    waste = padded / math.prod(lengths) - 1
    strip = abs(math.log2(cut[-1] / cut[-2])) if len(cut) > 1 else 0.0
    return size + 10 * waste + 0.5 * strip


def _shard(chunk: tuple[int, ...], lengths: list[int], itemsize: int) -> tuple[int, ...]:
    """Let a shard grow by whole chunks, the last dims first, as long as it stays small enough."""
    shard = list(chunk)
    for axis in reversed(range(len(chunk))):
        counts = -(-lengths[axis] // chunk[axis])
        for pieces in range(1, counts + 1):
            wide = chunk[axis] * -(-counts // pieces)
            if math.prod(shard) // shard[axis] * wide * itemsize <= SHARD_NBYTES:
                shard[axis] = wide
                break
    return tuple(shard)
