"""Requests and bytes of reads, from lengths alone."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gridmill.authoring.encoding.access import access_costs, cost_of, public_cut
from gridmill.authoring.encoding.chunking import Cut

lengths = st.integers(1, 12)


@given(
    st.lists(st.tuples(lengths, lengths, st.integers(1, 4)), min_size=1, max_size=4), st.booleans()
)
def test_requests_are_those_of_the_chunks_that_hold_a_value(
    axes: list[tuple[int, int, int]], is_sharded: bool
) -> None:
    """Counted one by one along each dim, they are what the formula says."""
    wanted = [axis[0] for axis in axes]
    cut = Cut(tuple(a[1] for a in axes), tuple(a[1] * a[2] for a in axes), 4)
    cost = cost_of("map", wanted, cut, is_sharded=is_sharded)
    chunks = math.prod(
        len({i // c for i in range(n)}) for n, c in zip(wanted, cut.chunks, strict=True)
    )
    shards = math.prod(
        len({i // s for i in range(n)}) for n, s in zip(wanted, cut.shards, strict=True)
    )
    assert cost.chunks == chunks
    assert cost.requests == chunks + shards * is_sharded


def test_an_analysis_has_no_forecast() -> None:
    """Where there is no lead, only a series and a map are read."""
    sizes = {"time": 5000, "latitude": 721, "longitude": 1440}
    cut = public_cut(tuple(sizes))
    assert cut is not None
    assert [(c.what, c.requests) for c in access_costs(cut, sizes, "time")] == [
        ("point series", 2),
        ("map", 15 * 29 + 2 * 4),
    ]


def test_a_static_variable_has_a_map_alone() -> None:
    """It has no position along the append dim."""
    sizes = {"latitude": 721, "longitude": 1440}
    cut = Cut((721, 1440), (721, 1440), 4)
    (cost,) = access_costs(cut, sizes, "time", is_sharded=False)
    assert (cost.what, cost.requests) == ("map", 1)


def test_levels_have_no_public_cut() -> None:
    """Five dims are compared with an ensemble's only if there are members."""
    dims = ("init_time", "lead_time", "pressure_level", "latitude", "longitude")
    assert public_cut(dims) is None
