"""Regions cover the append dim, never overlap, and never split a stored object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.region import (
    MAX_REGION_IN_SHARDS,
    check_region_aligned,
    region_key,
    region_length,
    regions_of,
    touches,
)

LENGTHS = st.integers(1, 60)


@given(st.integers(0, 500), LENGTHS)
def test_regions_cover_every_position_once(append_length, length):
    """Every position lies in exactly one region, in order, and only the last may be shorter."""
    regions = list(regions_of(append_length, length))
    covered = [i for region in regions for i in range(region.start, region.stop)]
    assert covered == list(range(append_length))
    assert all(region.stop - region.start == length for region in regions[:-1])


@given(st.integers(0, 500), st.integers(0, 100), LENGTHS)
def test_regions_do_not_move_when_the_archive_grows(append_length, growth, length):
    """A longer archive has the same regions, but for the last and new ones."""
    before = list(regions_of(append_length, length))
    after = list(regions_of(append_length + growth, length))
    assert after[: max(len(before) - 1, 0)] == before[:-1]
    assert [region_key(r) for r in after][: len(before)] == [region_key(r) for r in before]


@given(st.dictionaries(st.text(max_size=3), LENGTHS, min_size=1, max_size=4))
def test_a_region_is_whole_in_objects_of_every_variable(object_lengths):
    """A region's length is a multiple of all object lengths, the least, or refused if too long."""
    try:
        length = region_length(object_lengths)
    except ValueError as error:
        unnamed = [name for name, n in object_lengths.items() if f"{name} {n}" not in str(error)]
        assert not unnamed
        most = MAX_REGION_IN_SHARDS * max(object_lengths.values())
        fitting = [n for n in range(1, most + 1) if not any(n % m for m in object_lengths.values())]
        assert not fitting
        return
    divided = [n for n in range(1, length + 1) if not any(n % m for m in object_lengths.values())]
    assert divided == [length]
    for region in regions_of(3 * length + 1, length):
        for object_length in object_lengths.values():
            check_region_aligned(region, object_length, 3 * length + 1)


def test_nothing_to_divide_is_an_error():
    """Without a variable along the append dim there are no regions."""
    with pytest.raises(ValueError, match="no variable"):
        region_length({})


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 20), st.integers(0, 60))
def test_a_region_that_splits_an_object_is_refused(start, stop, object_length, append_length):
    """A region passes if and only if each object that it touches is inside it."""
    start, stop, append_length = sorted((start, stop, append_length))
    if start == stop:
        return
    outside = {i // object_length for i in range(append_length) if not start <= i < stop}
    inside = {i // object_length for i in range(start, stop)}
    if outside & inside:
        with pytest.raises(ValueError, match="splits a stored object"):
            check_region_aligned(slice(start, stop), object_length, append_length)
    else:
        check_region_aligned(slice(start, stop), object_length, append_length)


@given(*(st.integers(0, 20) for _ in range(4)))
def test_touching_is_sharing_a_position(start, stop, first, last):
    """`touches` agrees with the sets of positions."""
    shared = set(range(start, stop)) & set(range(first, last))
    assert touches(slice(start, stop), first, last) == bool(shared)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_keys_sort_like_positions(one, other):
    """Keys of regions sort as text in the order of the positions."""
    keys = [region_key(slice(n, n + 1)) for n in (one, other)]
    assert (keys[0] < keys[1]) == (one < other)
