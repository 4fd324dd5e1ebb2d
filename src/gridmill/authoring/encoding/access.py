"""What reads cost by the way a variable is cut: requests, bytes and waiting. Pure.

A reader asks a store once a chunk, and fetches it whole. A shard's index is one more request, the
first time that a reader touches the shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gridmill.authoring.encoding.chunking import COMPRESSION, Cut

__all__ = ["ROUND_TRIP_S", "AccessCost", "access_costs", "cost_of", "public_cut"]

# Chunks and shards of dynamical.org's archives, the best known public ones of their kind, by the
# number of dims: its analysis of GFS, its forecast of GFS, its 35 days of GEFS; August 2026.
PUBLIC = {
    3: ((1440, 50, 50), (1440, 400, 400)),
    4: ((1, 105, 121, 121), (1, 210, 726, 726)),
    5: ((1, 31, 64, 17, 16), (1, 31, 192, 374, 368)),
}

# Of a request to a bucket, for a reader in another region.
ROUND_TRIP_S = 0.05
# What zarr asks for at once, by default.
AT_ONCE = 10
# Of the append dim, what one asks a series for, if it has so much.
SERIES = 1000
LEADS = {"lead_time", "step"}
MEMBERS = {"ensemble_member", "member", "number"}


@dataclass(frozen=True, kw_only=True)
class AccessCost:
    """What one read costs.

    Parameters
    ----------
    what
        ``"point series"``, ``"map"`` or ``"forecast"``.
    selection
        Lengths along each dim that the reader wants.
    chunks, shards
        How many it touches; shards is 0 where there are none.
    nbytes
        Stored bytes that it fetches, without indexes: a third of the raw ones.
    """

    what: str
    selection: tuple[int, ...]
    chunks: int
    shards: int
    nbytes: int

    @property
    def requests(self) -> int:
        """Requests for chunks and for indexes of shards."""
        return self.chunks + self.shards

    @property
    def waiting_s(self) -> float:
        """Seconds of waiting for answers, ten at a time; transfer comes on top."""
        return ROUND_TRIP_S * sum(math.ceil(n / AT_ONCE) for n in (self.chunks, self.shards))


def access_costs(
    cut: Cut, sizes: Mapping[str, int], append_dim: str | None, *, is_sharded: bool = True
) -> tuple[AccessCost, ...]:
    """Compute what the three reads cost that most readers do.

    - *point series*: one point of the grid, at up to 1000 positions of the append dim, at the first
      lead, member and level;
    - *map*: the whole grid at one position of every other dim;
    - *forecast*: one point at one position of the append dim, at all leads and members. Only where
      there is a lead.

    Parameters
    ----------
    cut
        Chunks and shards.
    sizes
        Lengths of the dims, in their order; the last two are the grid's.
    append_dim
        The one along which the archive grows; None for a static variable.
    is_sharded
        Whether chunks lie in shards.

    Examples
    --------
    >>> cut = Cut((1, 105, 121, 121), (1, 210, 726, 726), 4)
    >>> sizes = {"init_time": 7000, "lead_time": 209, "latitude": 721, "longitude": 1440}
    >>> for cost in access_costs(cut, sizes, "init_time"):
    ...     print(cost.what, cost.requests, cost.nbytes // 10**6, round(cost.waiting_s, 2))
    point series 2000 2049 10.0
    map 74 147 0.45
    forecast 3 4 0.1
    """
    return tuple(
        cost_of(what, wanted, cut, is_sharded=is_sharded)
        for what, wanted in _selections(sizes, append_dim)
    )


def public_cut(dims: Sequence[str], itemsize: int = 4) -> Cut | None:
    """Return how the best-known public archive cuts a variable of such dims; None if it has none.

    Examples
    --------
    >>> public_cut(("time", "latitude", "longitude"))
    Cut(chunks=(1440, 50, 50), shards=(1440, 400, 400), itemsize=4)
    """
    kinds = (bool(LEADS & set(dims)), bool(MEMBERS & set(dims)))
    if {3: (False, False), 4: (True, False), 5: (True, True)}.get(len(dims)) != kinds:
        return None
    return Cut(*PUBLIC[len(dims)], itemsize)


def cost_of(what: str, wanted: Sequence[int], cut: Cut, *, is_sharded: bool = True) -> AccessCost:
    """Compute what it costs to read the first `wanted` of each dim."""
    chunks = _touched(wanted, cut.chunks)
    shards = _touched(wanted, cut.shards) if is_sharded else 0
    nbytes = chunks * cut.chunk_nbytes // COMPRESSION
    return AccessCost(
        what=what, selection=tuple(wanted), chunks=chunks, shards=shards, nbytes=nbytes
    )


def _selections(
    sizes: Mapping[str, int], append_dim: str | None
) -> Iterator[tuple[str, tuple[int, ...]]]:
    dims, grid = list(sizes), set(list(sizes)[-2:])
    if append_dim in sizes:
        yield (
            "point series",
            tuple(min(sizes[dim], SERIES) if dim == append_dim else 1 for dim in dims),
        )
    yield "map", tuple(sizes[dim] if dim in grid else 1 for dim in dims)
    if LEADS & set(dims):
        whole = LEADS | MEMBERS
        yield "forecast", tuple(sizes[dim] if dim in whole else 1 for dim in dims)


def _touched(wanted: Sequence[int], lengths: Sequence[int]) -> int:
    return math.prod(-(-n // length) for n, length in zip(wanted, lengths, strict=True))
