"""Regions that are larger than memory are assembled on disk, slab by slab."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.pipeline.canvas import Canvas, slabs_of

lengths = st.integers(1, 7)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...], int]:
    """Draw a shape, an object shape, which dims stay whole, and a limit in bytes."""
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(lengths) for _ in range(ndim))
    object_shape = tuple(draw(lengths) for _ in range(ndim))
    whole = tuple(draw(st.booleans()) for _ in range(ndim))
    return shape, object_shape, whole, draw(st.integers(1, 400))


@given(arrays())
def test_slabs_cover_an_array_once_in_whole_objects(case) -> None:
    """Slabs never overlap, cover everything, split no stored object and respect whole dims."""
    shape, object_shape, whole, most = case
    covered = np.zeros(shape, dtype=int)
    for slab in slabs_of(shape, object_shape, 4, whole=whole, most_nbytes=most):
        covered[slab] += 1
        for at, part, n, fixed in zip(slab, object_shape, shape, whole, strict=True):
            assert at.start % part == 0
            assert at.stop % part == 0 or at.stop == n
            assert not fixed or (at.start, at.stop) == (0, n)
    assert (covered == 1).all()


@given(arrays())
def test_slabs_stay_below_the_limit_where_objects_allow_it(case) -> None:
    """A slab is larger than the limit only if it is one object along every divisible dim."""
    shape, object_shape, whole, most = case
    for slab in slabs_of(shape, object_shape, 4, whole=whole, most_nbytes=most):
        nbytes = 4 * math.prod(at.stop - at.start for at in slab)
        divisible = [
            at.stop - at.start > part
            for at, part, fixed in zip(slab, object_shape, whole, strict=True)
            if not fixed
        ]
        assert nbytes <= most or not any(divisible)


@given(st.data())
def test_what_no_piece_covers_is_filled(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Pieces are made in their places; of those that overlap the last counts, of failed ones none.

    In memory as on disk, and whatever the canvas before has left in memory.
    """
    shape, object_shape, whole, most = data.draw(arrays())
    slabs = slabs_of(shape, object_shape, 4, whole=whole, most_nbytes=most)
    folder: Path = tmp_path_factory.mktemp("canvas")
    expected = np.full(shape, -1, dtype="float32")
    with Canvas(shape, "float32", -1, slabs, folder / "slabs") as canvas:
        for number in range(data.draw(st.integers(0, 5))):
            place = tuple(data.draw(places(n)) for n in shape)
            room = canvas.room(place)
            assert room.shape == canvas.shape_at(place)
            room[...] = number
            if data.draw(st.booleans()):  # else reading it failed in the end
                canvas.put(place, room)
                expected[place] = number
        for number, slab in enumerate(slabs):
            np.testing.assert_array_equal(canvas.values(number), expected[slab])
            canvas.values(number).fill(7)
            canvas.close(number)


def test_a_single_value_has_its_place(tmp_path: Path) -> None:
    """A variable without dims is one cell."""
    for is_put, expected in ((True, 5), (False, -1)):
        with Canvas((), "float32", -1, [()], tmp_path) as canvas:
            room = canvas.room(())
            room[...] = 5
            if is_put:
                canvas.put((), room)
            assert canvas.values(0) == expected


def places(length: int) -> st.SearchStrategy[int | slice]:
    """Draw a position, all of them, or some."""
    some = st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True).map(sorted)
    return st.one_of(
        st.integers(0, length - 1), st.just(slice(None)), some.map(lambda ends: slice(*ends))
    )


@given(st.data())
def test_a_canvas_on_disk_gives_what_one_in_memory_gives(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Pieces put in any order come back slab by slab as they would from one array."""
    shape, object_shape, whole, most = data.draw(arrays())
    slabs = slabs_of(shape, object_shape, 4, whole=whole, most_nbytes=most)
    folder: Path = tmp_path_factory.mktemp("canvas")
    expected = np.full(shape, np.nan, dtype="float32")
    places = []
    with Canvas(shape, "float32", math.nan, slabs, folder / "slabs") as canvas:
        for at in data.draw(st.lists(st.integers(0, shape[0] - 1), unique=True)):
            rest = tuple(slice(data.draw(st.integers(0, n - 1)), n) for n in shape[1:])
            piece = np.random.default_rng(at).normal(size=canvas.shape_at((at, *rest)))
            canvas.put((at, *rest), piece.astype("float32"))
            expected[(at, *rest)] = piece
            places.append((at, *rest))
        for number, slab in enumerate(slabs):
            values = canvas.values(number)
            np.testing.assert_array_equal(values, expected[slab])
            values.fill(7)  # the next canvas has this memory
            np.testing.assert_array_equal(canvas.filled(number, places), ~np.isnan(expected[slab]))
            canvas.close(number)
    assert not list(folder.rglob("slab-*"))


def test_a_boolean_canvas_is_false_where_no_piece_is(tmp_path):
    """Its fill value may be given as 0."""
    with Canvas(
        (3, 2), "bool", 0, slabs_of((3, 2), (1, 2), 1, whole=(True, True)), tmp_path
    ) as one:
        one.put((0, slice(None)), np.array([True, True]))
        assert one.values(0).tolist() == [[True, True], [False, False], [False, False]]
