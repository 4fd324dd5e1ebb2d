"""Regions cover the append dim, never overlap, and never split a stored object."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.region import MAX_REGION_IN_SHARDS, Region, region_length, regions_of

LENGTHS = st.integers(1, 60)
REGIONS = st.builds(lambda start, n: Region(start, start + n), st.integers(0, 10**9), LENGTHS)
ANY_REGION = st.just(Region.STATIC) | REGIONS


@given(st.integers(0, 500), LENGTHS)
def test_regions_cover_every_position_once(append_length, length):
    """Every position lies in exactly one region, in order, and only the last may be shorter."""
    regions = list(regions_of(append_length, length))
    covered = [i for region in regions for i in range(region.start, region.stop)]
    assert covered == list(range(append_length))
    assert all(len(region) == length for region in regions[:-1])
    assert sorted(regions) == regions


@given(st.integers(0, 500), st.integers(0, 100), LENGTHS)
def test_regions_do_not_move_when_the_archive_grows(append_length, growth, length):
    """A longer archive has the same regions, but for the last and new ones."""
    before = list(regions_of(append_length, length))
    after = list(regions_of(append_length + growth, length))
    assert after[: max(len(before) - 1, 0)] == before[:-1]
    assert [r.key for r in after][: len(before)] == [r.key for r in before]


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
            region.check_aligned(object_length, 3 * length + 1)


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
            Region(start, stop).check_aligned(object_length, append_length)
    else:
        Region(start, stop).check_aligned(object_length, append_length)


@given(st.integers(0, 20), LENGTHS, st.integers(0, 20), st.integers(0, 20))
def test_overlapping_is_sharing_a_position(start, n, first, last):
    """`overlaps` agrees with the sets of positions; nothing overlaps the static variables."""
    shared = set(range(start, start + n)) & set(range(first, last))
    assert Region(start, start + n).overlaps(first, last) == bool(shared)
    assert not Region.STATIC.overlaps(first, last)


@given(REGIONS, REGIONS)
def test_keys_sort_like_positions(one, other):
    """Keys of regions sort as text in the order of the positions, and name the record."""
    assert (one.key < other.key) == (one.start < other.start)
    assert one.key == f"{one.start:010d}"
    assert Region.STATIC.key == "static"


@given(ANY_REGION, ANY_REGION)
def test_a_region_is_a_value(one, other):
    """Regions are equal, hash and sort by their positions, and survive a pickle."""
    ends = (one.start, one.stop), (other.start, other.stop)
    assert (one == other) == (ends[0] == ends[1])
    assert (one < other) == (ends[0] < ends[1])
    assert pickle.loads(pickle.dumps(one)) == one
    assert {one: 1}[Region(one.start, one.stop)] == 1
    assert eval(repr(one)) == one
    assert one.is_static == (one == Region.STATIC)


def test_a_region_cannot_be_changed():
    """Whoever holds a region may rely on it."""
    with pytest.raises(FrozenInstanceError):
        Region(0, 4).stop = 5


@given(st.integers(-5, 60), st.integers(-5, 60))
def test_what_is_no_region_is_refused(start, stop):
    """A region has positions and none is negative; the error names them."""
    if 0 <= start < stop or (start, stop) == (0, 0):
        assert (Region(start, stop).start, Region(start, stop).stop) == (start, stop)
        return
    with pytest.raises(ValueError, match=f"{start}:{stop} is no region"):
        Region(start, stop)


@given(ANY_REGION)
def test_a_slice_of_whole_positions_becomes_a_region(region):
    """What was written as a slice is the same region, also by numpy's integers."""
    as_numpy = slice(np.int64(region.start), np.int32(region.stop))
    for given_as in (region, region.slice, as_numpy):
        made = Region.of(given_as)
        assert made == region
        assert (type(made.start), type(made.stop)) == (int, int)


@pytest.mark.parametrize(
    "no_region", [slice(0, 4, 2), slice(None, 4), slice(0, None), slice(0.0, 4), (0, 4), None, 3]
)
def test_what_may_be_many_regions_is_not_guessed(no_region):
    """A slice with a step or an open end, and what is no slice, is refused."""
    with pytest.raises(TypeError):
        Region.of(no_region)


def test_the_static_variables_have_one_name_everywhere():
    """Records, uploads and people call their region the same."""
    static = Region.STATIC
    assert {static.key, static.name, static.label([]), str(static)} == {"static"}
    assert not len(static)


PLACES = st.none() | st.integers(0, 90) | st.tuples(st.integers(0, 90), LENGTHS)


@given(st.integers(0, 40), LENGTHS, st.integers(0, 20), st.integers(0, 20), PLACES)
def test_a_file_fills_of_its_region_what_it_fills_of_the_archive(start, n, before, after, place):
    """What a file fills, relative to its region, is the same positions as along the append dim."""
    region = Region(start, start + n)
    within = slice(max(0, start - before), region.stop + after)
    at = slice(place[0], sum(place)) if isinstance(place, tuple) else place
    filled = region.filled_by(at, within)
    if at is None:
        along = range(within.start, within.start + region.stop)
    else:
        ends = (at, at + 1) if isinstance(at, int) else (at.start, at.stop)
        along = range(*(within.start + end for end in ends))
    assert list(range(start + filled.start, start + filled.stop)) == list(along)
    inside = region.clip(filled.start, filled.stop)
    assert [start + i for i in range(n)[inside]] == [i for i in along if start <= i < region.stop]
    assert 0 <= inside.start <= inside.stop <= n


@given(st.integers(0, 40), LENGTHS, st.integers(0, 20), st.integers(0, 20))
def test_a_region_is_found_in_its_processing_region(start, n, before, after):
    """Of an array over the processing region, its place is that of its own positions."""
    region = Region(start, start + n)
    within = slice(max(0, start - before), region.stop + after)
    along = np.arange(within.start, within.stop)
    assert along[region.place_in(within)].tolist() == list(range(start, start + n))


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_nothing_of_the_static_variables_is_along_the_append_dim(start, stop):
    """Their region has no position that a file could fill."""
    assert Region.STATIC.clip(start, stop) == slice(0, 0)
    assert Region.STATIC.filled_by(None, slice(0, 0)) == slice(0, 0)
