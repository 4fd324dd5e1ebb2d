"""Pieces that an author's code stacks are compared with where each of them lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources.evidence.compare import NotAsPromised, compare
from gridmill.sources.evidence.expected import ExpectedAxis, Promise
from gridmill.sources.evidence.observed import Axis, Evidence, Field

LEVELS = np.array([1000.0, 850.0, 500.0])
LATS = np.array([60.0, 20.0, -10.0, -40.0])
LONS = np.array([0.0, 72.0, 144.0, 216.0, 288.0])
FIELDS = np.random.default_rng(1).random((3, 4, 5), dtype="float32")
TURNED = "read with latitude in another order, and turned"


def promise(dims: Sequence[str] = ("level", "latitude", "longitude"), **changes: Any) -> Promise:
    """Return what a file of all levels should hold."""
    axes = {
        "level": ExpectedAxis(labels=LEVELS, units="hPa"),
        "latitude": ExpectedAxis(labels=LATS, units="degrees_north"),
        "longitude": ExpectedAxis(labels=LONS, units="degrees_east"),
    }
    wanted = {dim: axes[dim] for dim in dims}
    return Promise(**{"axes": wanted, "append_dim": "time", "units": "K", **changes})


def piece(
    values: np.ndarray, lat: Any = LATS, lon: Any = LONS, units: str = "K", **level: Any
) -> Evidence:
    """Return what a reader told of a field of one level."""
    return Evidence(
        variable="t",
        values=np.array(values, "float32"),
        axes=(
            Axis(name="lat", values=lat, units="degrees_north"),
            Axis(name="lon", values=lon, units="degrees_east"),
        ),
        scalars={name: Axis(name=name, values=np.asarray(one)) for name, one in level.items()},
        units=units,
    )


def stacked(seen: Sequence[Evidence], axis: int = 0) -> np.ndarray:
    """Return what an author makes of pieces."""
    return np.stack([one.values for one in seen], axis=axis)


@given(
    st.permutations(range(4)),
    st.permutations(range(5)),
    st.sampled_from([0, 360]),
    st.sets(st.sampled_from(range(3)), min_size=1),
    st.booleans(),
    st.sampled_from([0, 2]),
)
def test_what_lies_in_another_order_is_turned_where_it_lies(
    rows: list[int], columns: list[int], turn: int, which: set[int], says: bool, axis: int
) -> None:
    """Flipped, rolled or shuffled, one piece or all; along whatever axis they are stacked."""
    seen = []
    for at, field in enumerate(FIELDS):
        own = {"level": LEVELS[at]} if says else {}
        if at in which:
            lat, lon = LATS[rows], LONS[columns] + turn
            seen.append(piece(field[np.ix_(rows, columns)], lat, lon, **own))
        else:
            seen.append(piece(field, **own))
    values = stacked(seen, axis)
    dims = ["latitude", "longitude"]
    dims.insert(axis, "level")
    remarks = compare(seen, values, promise(dims))
    np.testing.assert_array_equal(np.moveaxis(values, axis, 0), FIELDS)
    is_other = list(rows) != sorted(rows) or list(columns) != sorted(columns)
    assert [remark.startswith("read with ") for remark in remarks] == [True] * is_other


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_what_an_author_turned_is_not_turned_again(scale: float) -> None:
    """Whether or not they also converted it; and what was not is."""
    seen = [piece(field[::-1], LATS[::-1]) for field in FIELDS]
    values = np.ascontiguousarray(FIELDS * scale, "float32")
    assert compare(seen, values, promise()) == []
    np.testing.assert_array_equal(values, (FIELDS * scale).astype("float32"))
    values = stacked(seen) * np.float32(scale)
    assert compare(seen, values, promise()) == [TURNED]
    np.testing.assert_allclose(values, FIELDS * scale, rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_fields_of_a_curvilinear_grid_lie_as_their_coordinates_say(shift: float) -> None:
    """Which two dims have, and each piece again; one that is elsewhere is refused."""
    rows, columns = np.mgrid[0.0:4.0, 0.0:5.0]
    known = {"latitude": 50 + rows + columns / 9, "longitude": columns - rows / 9}
    numbers = ExpectedAxis(labels=np.array([], "U1"))
    axes = {"level": ExpectedAxis(labels=LEVELS, units="hPa"), "y": numbers, "x": numbers}
    units = {"latitude": "degrees_north", "longitude": "degrees_east"}
    wanted = promise(
        axes=axes,
        fields={
            name: ExpectedAxis(labels=labels, units=units[name], dims=("y", "x"))
            for name, labels in known.items()
        },
    )
    seen = []
    for field in FIELDS:
        there = [
            Field(name=name, dims=("y", "x"), values=labels[::-1] + shift, units=units[name])
            for name, labels in known.items()
        ]
        told = piece(field[::-1])
        seen.append(replace(told, axes=(Axis(name="y"), Axis(name="x")), fields=tuple(there)))
    values = stacked(seen)
    if shift:
        with pytest.raises(NotAsPromised, match="its latitude at point"):
            compare(seen, values, wanted)
        return
    assert compare(seen, values, wanted) == ["read with y in another order, and turned"]
    np.testing.assert_array_equal(values, FIELDS)


def test_the_same_field_twice_is_turned_twice() -> None:
    """Each piece has a place of its own."""
    seen = [piece(FIELDS[0][::-1], LATS[::-1]) for _ in range(3)]
    values = stacked(seen)
    assert compare(seen, values, promise()) == [TURNED]
    np.testing.assert_array_equal(values, np.stack([FIELDS[0]] * 3))


@pytest.mark.parametrize("shift", [0.5, -10.0])
def test_another_grid_is_refused(shift: float) -> None:
    """Of one piece of three; unless that is meant."""
    seen = [piece(FIELDS[0]), piece(FIELDS[1], lon=LONS + shift * 5), piece(FIELDS[2])]
    with pytest.raises(NotAsPromised, match=r"its lon goes from .* position 0 is"):
        compare(seen, stacked(seen), promise())
    unchecked = frozenset(["longitude"])
    assert compare(seen, stacked(seen), promise(unchecked=unchecked)) == []


@pytest.mark.parametrize(("labels", "wrong"), [((1000, 500, 850), 500), ((1000, 700, 500), 700)])
def test_a_piece_of_another_label_is_refused(labels: Sequence[float], wrong: float) -> None:
    """Two that changed places, or one that the archive does not have at all."""
    seen = [piece(field, level=float(at)) for field, at in zip(FIELDS, labels, strict=True)]
    with pytest.raises(NotAsPromised, match=f"its level is {wrong}, and it is to fill 850"):
        compare(seen, stacked(seen), promise())


def test_pieces_that_are_read_in_another_order_lie_where_they_say() -> None:
    """Whichever was read first."""
    seen = [piece(FIELDS[at], level=LEVELS[at]) for at in (2, 0, 1)]
    assert compare(seen, FIELDS.copy(), promise()) == []


def test_what_is_read_twice_or_is_alike_everywhere_is_no_contradiction() -> None:
    """A look at a field before it is read; fields without rain."""
    seen = [piece(field, level=level) for field, level in zip(FIELDS, LEVELS, strict=True)]
    assert compare([seen[1], *seen, seen[1]], stacked(seen), promise()) == []
    dry = [piece(np.zeros((4, 5)), LATS[::-1], level=level) for level in LEVELS]
    assert compare([dry[1], *dry], stacked(dry), promise()) == []
    assert compare(dry, stacked(dry) + np.eye(3)[0][:, None, None], promise()) == []


def test_members_that_are_text_are_compared() -> None:
    """By the names that the file says."""
    names = np.array(["a", "b", "c"], object)
    axes = {**promise().axes, "member": ExpectedAxis(labels=names)}
    axes.pop("level")
    wanted = promise(axes={dim: axes[dim] for dim in ("member", "latitude", "longitude")})
    seen = [
        piece(field, member=np.array(name, object))
        for field, name in zip(FIELDS, "abc", strict=True)
    ]
    assert compare(seen, stacked(seen), wanted) == []
    with pytest.raises(NotAsPromised, match="its member is a, and the archive's member is b"):
        compare(seen, stacked([seen[at] for at in (1, 0, 2)]), wanted)


def test_units_of_pieces_are_those_of_the_archive() -> None:
    """Or are converted; and another quantity is named."""
    seen = [piece(FIELDS[0]), piece(FIELDS[1], units="degC"), piece(FIELDS[2])]
    values = stacked(seen)
    assert compare(seen, values, promise()) == ["read with t in 'degC', converted to 'K'"]
    np.testing.assert_allclose(values, FIELDS + np.array([0, 273.15, 0])[:, None, None], rtol=1e-6)
    seen = [piece(FIELDS[0]), piece(FIELDS[1], units="Pa"), piece(FIELDS[2])]
    with pytest.raises(NotAsPromised, match="its t is in 'Pa', and the archive's in 'K'"):
        compare(seen, stacked(seen), promise())


def components(order: Any = slice(None), lat: Any = None, **more: Any) -> list[Evidence]:
    """Return eastward and northward wind of each level, one after the other, as read."""
    fields = np.random.default_rng(2).normal(0, 9, (6, 4, 5))[:, order]
    return [piece(one, LATS[order] if lat is None else lat, **more) for one in fields]


@pytest.mark.parametrize("speed", [np.hypot, lambda u, v: u - 2 * v])
def test_what_was_calculated_of_pieces_in_another_order_is_turned(speed: Any) -> None:
    """Whatever each of them says of its level; beside a weight of each row, and the latitudes."""
    rows = Evidence(
        variable="weight", values=LATS, axes=(Axis(name="lat", values=LATS[::-1]),), units="1"
    )
    latitude = Evidence(variable="lat", values=LATS, axes=(Axis(name="lat", values=LATS[::-1]),))
    for more in ({}, {"level": 9.0}):
        seen = components(slice(None, None, -1), **more)
        values = speed(stacked(seen[::2]), stacked(seen[1::2]))
        wanted = values[:, ::-1].copy()
        assert compare([*seen, rows, latitude], values, promise()) == [TURNED]
        np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize("by_name", [False, True])
def test_whatever_is_read_first_each_place_is_made_of_its_own(by_name: bool) -> None:
    """All eastward components before the others, or as their labels say."""
    seen = components(slice(None, None, -1))
    eastward, northward = seen[::2], seen[1::2]
    values = np.hypot(stacked(eastward), stacked(northward))
    wanted = values[:, ::-1].copy()
    if by_name:
        order = [2, 0, 1]
        eastward, northward = (
            [
                replace(of[at], scalars={"level": Axis(name="level", values=LEVELS[at])})
                for at in order
            ]
            for of in (eastward, northward)
        )
    assert compare([*eastward, *northward], values, promise()) == [TURNED]
    np.testing.assert_array_equal(values, wanted)


POINTS = np.linspace(60.0, 20, 40), np.arange(0.0, 360, 6)
WINDS = np.random.default_rng(2).normal(0, 9, (6, 40, 60)).astype("float32")


def levels(**changes: Any) -> Promise:
    """Return what a file of three levels of a larger grid should hold."""
    latitude, longitude = POINTS
    axes = {
        "level": ExpectedAxis(labels=LEVELS, units="hPa"),
        "latitude": ExpectedAxis(labels=latitude, units="degrees_north"),
        "longitude": ExpectedAxis(labels=longitude, units="degrees_east"),
    }
    return promise(axes=axes, **changes)


def winds(
    labels: Sequence[float], others: Sequence[float] | None = None, order: Sequence[int] = (0, 1, 2)
) -> list[Evidence]:
    """Return both components of each level, as a file's own labels say."""
    pairs = zip(order, labels, others or labels, strict=True)
    return [
        replace(piece(field, *POINTS, level=level), variable=name)
        for at, *both in pairs
        for name, field, level in zip("uv", WINDS[2 * at : 2 * at + 2], both, strict=True)
    ]


FORMULAS = [np.hypot, lambda u, v: u - 2 * v, lambda u, v: np.degrees(np.arctan2(u, v)) % 360]


@pytest.mark.parametrize("speed", FORMULAS)
@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize(
    ("labels", "wrong"), [((500, 850, 1000), 500), ((1000, 500, 850), 500), ((1000, 700, 500), 700)]
)
def test_what_was_calculated_of_other_levels_is_refused(
    speed: Any, in_turn: bool, labels: Sequence[float], wrong: float
) -> None:
    """Of a file whose levels are upside down, or others; in whatever turn it is read."""
    seen = winds([float(label) for label in labels])
    values = speed(stacked(seen[::2]), stacked(seen[1::2]))
    if in_turn:
        seen = [*seen[::2], *seen[1::2]]
    place = 1000 if labels[0] == wrong else 850
    with pytest.raises(NotAsPromised, match=f"its level is {wrong}, and it is to fill {place}"):
        compare(seen, values, levels())
    assert compare(seen, values, levels(unchecked=frozenset(["level"]))) == []


def test_both_that_went_into_a_calculation_are_of_its_level() -> None:
    """Where only one of them lies upside down."""
    seen = winds([1000.0, 850.0, 500.0], [500.0, 850.0, 1000.0])
    values = np.hypot(stacked(seen[::2]), stacked(seen[1::2]))
    with pytest.raises(NotAsPromised, match="its level is 500, and it is to fill 1000"):
        compare(seen, values, levels())


@pytest.mark.parametrize("speed", FORMULAS)
@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1)])
def test_levels_that_an_author_put_in_order_are_left(speed: Any, order: Sequence[int]) -> None:
    """Each place is made of what says so, however it was read."""
    seen = winds([float(LEVELS[at]) for at in order], order=order)
    values = speed(WINDS[::2], WINDS[1::2])
    assert compare(seen, values, levels()) == []
    by_component = [*seen[::2], *seen[1::2]]
    assert compare(by_component, values, levels()) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("formula", "n_inputs"),
    [
        (lambda u, v: np.hypot(8 * u + 3, 8 * v), 2),
        (lambda t, q: np.clip(50 + 30 * q - 20 * t + 5 * t * q, 0, 100), 2),
        (lambda a, b, c: a * b + c**3, 3),
        (lambda t, q, p, u: (280 + 10 * t) * np.exp(q / 9) * (1 + p / 50) ** -0.3 + u**2 / 10, 4),
    ],
)
def test_levels_that_resemble_each_other_are_told_apart(
    formula: Any, n_inputs: int, seed: int
) -> None:
    """What is read upside down and put in order is left; what was not put in order is refused."""
    draw = np.random.default_rng(seed)
    alike, own = draw.normal(size=(2, n_inputs, 3, 40, 60))
    fields = (0.8 * alike[:, :1] + 0.6 * own).astype("float32")
    values = formula(*fields)

    def read(order: Sequence[int], labels: Sequence[int]) -> list[Evidence]:
        return [
            replace(piece(of[at], *POINTS, level=LEVELS[label]), variable=f"v{number}")
            for at, label in zip(order, labels, strict=True)
            for number, of in enumerate(fields)
        ]

    assert compare(read([2, 1, 0], [2, 1, 0]), values.copy(), levels()) == []
    with pytest.raises(NotAsPromised, match="its level is 500, and it is to fill 1000"):
        compare(read([0, 1, 2], [2, 1, 0]), values.copy(), levels())


def test_a_level_of_one_field_is_shown_by_how_values_rise() -> None:
    """Whatever the formula."""
    seen = [piece(field, level=at) for field, at in zip(FIELDS, (500.0, 850.0, 1e3), strict=True)]
    values = np.exp(5 * FIELDS)
    with pytest.raises(NotAsPromised, match="its level is 500, and it is to fill 1000"):
        compare(seen, values, promise())
    assert compare(seen, values[::-1].copy(), promise()) == []


def test_levels_that_nothing_shows_are_refused_unless_they_are_read_in_order() -> None:
    """What an author makes of all of them is no field's; alike ones may lie anywhere."""
    values = np.random.default_rng(3).random((3, 40, 60))
    assert compare(winds([1000.0, 850.0, 500.0]), values.copy(), levels()) == []
    seen = winds([500.0, 850.0, 1000.0])
    with pytest.raises(NotAsPromised, match="its u and v were read with level in another order"):
        compare(seen, values.copy(), levels())
    assert compare(seen, np.zeros((3, 40, 60)), levels()) == []
    unchecked = frozenset(["level"])
    assert compare(seen, values.copy(), levels(unchecked=unchecked)) == []


def test_what_an_author_makes_of_several_levels_is_theirs() -> None:
    """Interpolated between two, or the difference of neighbours."""
    between = [(1010.0, 990.0), (900.0, 800.0), (550.0, 450.0)]
    fields = np.random.default_rng(4).random((6, 4, 5), "float32")
    levels = [level for pair in between for level in pair]
    seen = [piece(field, level=level) for field, level in zip(fields, levels, strict=True)]
    assert compare(seen, (fields[::2] + fields[1::2]) / 2, promise()) == []
    pairs = [(0, 1), (0, 2), (1, 2)]
    seen = [piece(FIELDS[at], level=LEVELS[at]) for pair in pairs for at in pair]
    values = np.stack([FIELDS[a] - FIELDS[b] for a, b in pairs])
    assert compare(seen, values, promise()) == []


def test_what_an_author_turned_and_calculated_with_is_left() -> None:
    """Its values follow the archive's order; so do those of pieces that lay in it."""
    seen = components(slice(None, None, -1))
    values = np.hypot(stacked(seen[::2]), stacked(seen[1::2]))[:, ::-1].copy()
    before = values.copy()
    assert compare(seen, values, promise()) == []
    np.testing.assert_array_equal(values, before)
    seen = components()
    values = np.hypot(stacked(seen[::2]), stacked(seen[1::2]))
    before = values.copy()
    assert compare(seen, values, promise()) == []
    np.testing.assert_array_equal(values, before)


def test_pieces_of_another_grid_that_went_into_a_calculation_are_refused() -> None:
    """And those in another order of which the values show nothing; unless that is meant."""
    seen = components(lat=LATS + 1)
    values = np.hypot(stacked(seen[::2]), stacked(seen[1::2]))
    with pytest.raises(NotAsPromised, match="its lat goes from 61 to -39"):
        compare(seen, values, promise())
    assert compare(seen, values, promise(unchecked=frozenset(["latitude"]))) == []
    seen = components(slice(None, None, -1))
    values = np.random.default_rng(3).random(values.shape)
    with pytest.raises(NotAsPromised, match="the values do not show in which order they are"):
        compare(seen, values, promise())


def test_missing_values_hide_no_order() -> None:
    """They are turned with the others."""
    fields = FIELDS.copy()
    fields[:, 0, :2] = np.nan
    seen = [piece(field[::-1], LATS[::-1]) for field in fields]
    values = stacked(seen)
    assert compare(seen, values, promise()) == [TURNED]
    np.testing.assert_array_equal(values, fields)


# -- tiles, and what was taken of more ----------------------------------------------------------

WIDE_LATS, WIDE_LONS = np.arange(70.0, -80, -10), np.arange(0.0, 360, 20)
WIDE = np.random.default_rng(5).normal(280, 9, (15, 18)).astype("float32")


def wide(**changes: Any) -> Promise:
    """Return what a file of a larger grid should hold."""
    axes = {
        "latitude": ExpectedAxis(labels=WIDE_LATS, units="degrees_north"),
        "longitude": ExpectedAxis(labels=WIDE_LONS, units="degrees_east"),
    }
    return Promise(**{"axes": axes, "append_dim": "time", "units": "K", **changes})


def tile(rows: slice, columns: slice = slice(None), lat: Any = None, **more: Any) -> Evidence:
    """Return what a reader told of a part of the larger grid."""
    lats = WIDE_LATS[rows] if lat is None else lat
    return piece(WIDE[rows, columns], lats, WIDE_LONS[columns], **more)


NORTH, SOUTH = slice(0, 7), slice(7, 15)


def test_tiles_lie_where_they_say() -> None:
    """Joined along one dim or two, on one level or several, whichever was read first."""
    assert compare([tile(SOUTH), tile(NORTH)], WIDE.copy(), wide()) == []
    parts = [tile(rows, columns) for rows in (NORTH, SOUTH) for columns in (slice(9), slice(9, 18))]
    assert compare(parts, WIDE.copy(), wide()) == []
    axes = {"level": ExpectedAxis(labels=LEVELS, units="hPa"), **wide().axes}
    values = np.stack([WIDE, WIDE + 1, WIDE + 2])
    seen = [
        piece(of[rows], WIDE_LATS[rows], WIDE_LONS, level=level)
        for level, of in zip(LEVELS, values, strict=True)
        for rows in (NORTH, SOUTH)
    ]
    assert compare(seen, values.copy(), wide(axes=axes)) == []
    with pytest.raises(NotAsPromised, match="its level is 1000, and it is to fill 850"):
        compare(seen, values[[1, 0, 2]], wide(axes=axes))


def test_tiles_in_another_order_are_turned_where_they_say() -> None:
    """Each by itself; one that an author turned is not turned again."""
    seen = [tile(NORTH), piece(WIDE[SOUTH][::-1], WIDE_LATS[SOUTH][::-1], WIDE_LONS)]
    values = np.concatenate([one.values for one in seen])
    assert compare(seen, values, wide()) == [TURNED]
    np.testing.assert_array_equal(values, WIDE)
    assert compare(seen, values, wide()) == []
    np.testing.assert_array_equal(values, WIDE)


def test_a_tile_that_lies_elsewhere_is_refused() -> None:
    """Halves that changed places, a whole file that turned, another grid; unless that is meant."""
    swapped = np.concatenate([WIDE[SOUTH], WIDE[NORTH]])
    with pytest.raises(NotAsPromised, match=r"its lat goes from 70 to 10, and .* from -10 to -70"):
        compare([tile(NORTH), tile(SOUTH)], swapped, wide())
    over = WIDE_LATS[::-1]
    seen = [piece(WIDE[rows], over[rows], WIDE_LONS) for rows in (NORTH, SOUTH)]
    with pytest.raises(NotAsPromised, match=r"its lat goes from -70 to -10, and .* from 70 to 10"):
        compare(seen, WIDE.copy(), wide())
    seen = [tile(NORTH, lat=WIDE_LATS[NORTH] + 5), tile(SOUTH)]
    with pytest.raises(NotAsPromised, match=r"its lat goes from 75 to 15, and .* from 70 to 10"):
        compare(seen, WIDE.copy(), wide())
    assert compare(seen, WIDE.copy(), wide(unchecked=frozenset(["latitude"]))) == []


def test_tiles_that_were_calculated_with_are_turned_or_refused() -> None:
    """By what their values show where their labels say that they went."""
    seen = [piece(WIDE[rows][::-1], WIDE_LATS[rows][::-1], WIDE_LONS) for rows in (NORTH, SOUTH)]
    values = np.concatenate([np.exp(one.values / 280) for one in seen])
    assert compare(seen, values, wide()) == [TURNED]
    np.testing.assert_array_equal(values, np.exp(WIDE / 280))
    assert compare(seen, values, wide()) == []
    with pytest.raises(NotAsPromised, match="the values do not show in which order they are"):
        compare(seen, np.random.default_rng(3).random(values.shape), wide())


def test_a_mask_of_the_whole_field_hides_no_tile() -> None:
    """What was read beside them says nothing of where they lie."""
    mask = replace(piece(WIDE > 280, WIDE_LATS, WIDE_LONS), variable="mask", units="1")
    seen = [mask, tile(NORTH), tile(SOUTH)]
    assert compare(seen, np.where(WIDE > 280, WIDE, np.nan), wide()) == []
    swapped = np.concatenate([WIDE[SOUTH], WIDE[NORTH]])
    with pytest.raises(NotAsPromised, match="its lat goes from 70 to 10"):
        compare(seen, swapped, wide())


def test_a_field_of_half_the_resolution_is_no_tile() -> None:
    """What was interpolated of it is the author's."""
    coarse = piece(WIDE[::2, ::2], WIDE_LATS[::2], WIDE_LONS[::2])
    values = np.repeat(np.repeat(coarse.values, 2, 0), 2, 1)[:15]
    before = values.copy()
    assert compare([coarse], values, wide()) == []
    np.testing.assert_array_equal(values, before)


HOURS = np.datetime64("2020-01-01T00", "ns") + np.arange(4) * np.timedelta64(1, "h")
SINCE = "hours since 2020-01-01"


def hourly() -> Promise:
    """Return what a file of four hours should hold."""
    ends = HOURS + np.timedelta64(1, "h")
    times = ExpectedAxis(labels=HOURS, starts=HOURS, ends=ends)
    return wide(axes={"time": times, **wide().axes})


def hour(at: int | slice, values: np.ndarray) -> Evidence:
    """Return what a reader told of one hour, or of some."""
    told = Axis(name="time", values=np.arange(4.0)[at], units=SINCE)
    one = piece(WIDE, WIDE_LATS, WIDE_LONS)
    if isinstance(at, int):
        return replace(one, values=values, scalars={"time": told})
    return replace(one, values=values, axes=(told, *one.axes))


@pytest.mark.parametrize("by", [1, 2])
def test_hours_that_are_joined_are_compared_with_their_own(by: int) -> None:
    """Read one by one, or two at a time; hours without rain may lie anywhere."""
    values = np.stack([WIDE, WIDE + 1, np.zeros_like(WIDE), WIDE + 3])
    places = range(4) if by == 1 else (slice(0, 2), slice(2, 4))
    seen = [hour(at, values[at]) for at in places]
    assert compare(seen[::-1], values.copy(), hourly()) == []
    with pytest.raises(NotAsPromised, match=r"its time is 2020-01-01 .*, and it is to fill"):
        compare(seen, np.roll(values, 2, axis=0), hourly())
    unchecked = replace(hourly(), unchecked=frozenset(["time"]))
    assert compare(seen, np.roll(values, 2, axis=0), unchecked) == []


def test_hours_of_a_place_without_labels_are_left() -> None:
    """Nobody told which times the place has."""
    unknown = ExpectedAxis(labels=np.array([], "U1"))
    promised = replace(hourly(), axes={**hourly().axes, "time": unknown})
    values = np.stack([WIDE, WIDE + 1, WIDE + 2, WIDE + 3])
    assert compare([hour(at, values[at]) for at in range(4)], values.copy(), promised) == []
    assert compare([hour(slice(0, 2), values[:2])], values.copy(), promised) == []


BOX = (slice(3, 9), slice(4, 13))


def box(**changes: Any) -> Promise:
    """Return what a file of an area should hold."""
    axes = {
        "latitude": ExpectedAxis(labels=WIDE_LATS[BOX[0]], units="degrees_north"),
        "longitude": ExpectedAxis(labels=WIDE_LONS[BOX[1]], units="degrees_east"),
    }
    return wide(axes=axes, **changes)


def test_an_area_that_was_taken_of_a_field_is_the_one_that_is_promised() -> None:
    """In either order, in units that are converted; another one is refused."""
    assert compare([tile(slice(None))], WIDE[BOX].copy(), box()) == []
    assert compare([tile(slice(None))], WIDE[BOX] * np.float32(2), box()) == []
    over = piece(WIDE[::-1], WIDE_LATS[::-1], WIDE_LONS)
    values = WIDE[::-1][6:12, BOX[1]].copy()
    assert compare([over], values, box()) == [TURNED]
    np.testing.assert_array_equal(values, WIDE[BOX])
    with pytest.raises(NotAsPromised, match=r"its lat goes from -40 to 10, and .* from 40 to -10"):
        compare([over], WIDE[::-1][BOX].copy(), box())
    with pytest.raises(NotAsPromised, match="its lon goes from 100 to 260"):
        compare([tile(slice(None))], WIDE[3:9, 5:14].copy(), box())
    assert compare([tile(slice(None))], WIDE[3:9, 5:14].copy(), box(unchecked={"longitude"})) == []
    celsius = WIDE[BOX].copy()
    remarks = compare([tile(slice(None), units="degC")], celsius, box())
    assert remarks == ["read with t in 'degC', converted to 'K'"]
    np.testing.assert_allclose(celsius, WIDE[BOX] + 273.15, rtol=1e-6)


def test_points_that_were_taken_by_their_labels_are_those() -> None:
    """Every other one; and what was calculated of a part is the author's."""
    axes = {
        "latitude": ExpectedAxis(labels=WIDE_LATS[::2], units="degrees_north"),
        "longitude": ExpectedAxis(labels=WIDE_LONS[::3], units="degrees_east"),
    }
    assert compare([tile(slice(None))], WIDE[::2, ::3].copy(), wide(axes=axes)) == []
    assert compare([tile(slice(None))], WIDE[BOX] ** 2, box()) == []


EVERY = {
    "every other": (slice(None, None, 2), slice(None, None, 3)),
    "backwards": (slice(None, None, -2), slice(1, None, 3)),
    "a list": (np.array([0, 3, 4, 9]), np.array([17, 2, 3, 5, 11])),
}
every_pick = pytest.mark.parametrize("pick", EVERY.values(), ids=EVERY)


def picks(pick: Any, **changes: Any) -> Promise:
    """Return what a file of the points that are picked should hold."""
    axes = {
        "latitude": ExpectedAxis(labels=WIDE_LATS[pick[0]], units="degrees_north"),
        "longitude": ExpectedAxis(labels=WIDE_LONS[pick[1]], units="degrees_east"),
    }
    return wide(axes=axes, **changes)


@every_pick
@pytest.mark.parametrize("formula", [lambda t: t, lambda t: t - np.float32(273), np.exp])
@pytest.mark.parametrize("dims", [(0,), (1,), (0, 1)])
def test_points_that_are_picked_by_numbers_are_compared(
    pick: Any, formula: Any, dims: Sequence[int]
) -> None:
    """Of a file that turned they are others, whatever was calculated of them."""
    scaled = (WIDE - 280) / 9
    turn = tuple(slice(None, None, -1 if at in dims else None) for at in range(2))
    taken = np.ix_(*(np.arange(n)[at] for n, at in zip(WIDE.shape, pick, strict=True)))
    right, turned = (
        piece(scaled[at], WIDE_LATS[at[0]], WIDE_LONS[at[1]]) for at in ((slice(None),) * 2, turn)
    )
    values = formula(scaled[taken])
    before = values.copy()
    assert compare([right], values, picks(pick)) == []
    values = formula(turned.values[taken])
    try:
        assert compare([turned], values, picks(pick)) != []
    except NotAsPromised as error:
        assert "goes from" in str(error)  # noqa: PT017
    else:  # the same points in another order
        np.testing.assert_array_equal(values, before)
    unchecked = frozenset(["latitude", "longitude"])
    assert compare([turned], formula(turned.values[taken]), picks(pick, unchecked=unchecked)) == []


def test_what_was_calculated_of_two_picks_is_compared() -> None:
    """And what follows neither their labels nor those of a turned file is the author's."""
    pick = EVERY["every other"]
    over = WIDE_LATS[:14][::-1]
    fields = np.random.default_rng(6).normal(0, 9, (2, 14, 18)).astype("float32")
    seen = [
        replace(piece(of, over, WIDE_LONS), variable=name)
        for name, of in zip("uv", fields, strict=True)
    ]
    axes = dict(picks((slice(0, 14, 2), pick[1])).axes)
    values = np.hypot(*(of[::2, ::3] for of in fields))
    with pytest.raises(NotAsPromised, match="its lat goes from -60 to 60"):
        compare(seen, values, wide(axes=axes))
    right = np.hypot(*(of[::-1][::2, ::3] for of in fields))
    assert compare(seen, right, wide(axes=axes)) == []
    assert compare(seen, np.sort(values.ravel()).reshape(values.shape), wide(axes=axes)) == []


def test_steps_that_are_picked_are_those_of_the_archive() -> None:
    """Every second lead, of a file that has others one day."""
    leads = np.arange(8.0) * 3600
    axes = {"lead_time": ExpectedAxis(labels=leads[::2], units="seconds"), **wide().axes}
    fields = np.stack([WIDE + number for number in range(8)])
    one = piece(WIDE, WIDE_LATS, WIDE_LONS)
    step = Axis(name="step", values=np.arange(8.0), units="hours")
    read = replace(one, values=fields, axes=(step, *one.axes))
    assert compare([read], fields[::2].copy(), wide(axes=axes)) == []
    late = replace(read, axes=(replace(step, values=np.arange(8.0) + 1), *one.axes))
    with pytest.raises(NotAsPromised, match="its step goes from"):
        compare([late], fields[::2].copy(), wide(axes=axes))


def test_the_level_that_was_taken_is_the_one_that_is_promised() -> None:
    """And the hour; as the axis of what was read says."""
    fields = np.stack([WIDE, WIDE[::-1], WIDE[:, ::-1]])
    one = piece(WIDE, WIDE_LATS, WIDE_LONS)
    level = Axis(name="level", values=LEVELS, units="hPa")
    read = replace(one, values=fields, axes=(level, *one.axes))
    at = ExpectedAxis(labels=np.asarray(850.0), units="hPa")
    wanted = wide(axes={"level": at, **wide().axes})
    assert compare([read], fields[1].copy(), wanted) == []
    with pytest.raises(NotAsPromised, match="its level is 500, and it is to fill 850"):
        compare([read], fields[2].copy(), wanted)
    values = np.stack([WIDE, WIDE + 1, WIDE + 2, WIDE + 3])
    promised = replace(hourly(), axes={**wide().axes, "time": hourly().axes["time"].at(1)})
    told = hour(slice(0, 4), values)
    assert compare([told], values[1].copy(), promised) == []
    with pytest.raises(NotAsPromised, match="its time is 2020-01-01 02:00"):
        compare([told], values[2].copy(), promised)


def test_a_field_that_is_laid_out_otherwise_is_still_converted() -> None:
    """Its points one after the other, or its dims changed: it is whole."""
    cells = ExpectedAxis(labels=np.arange(WIDE.size))
    read = tile(slice(None), units="degC")
    values = WIDE.ravel().copy()
    remarks = compare([read], values, wide(axes={"cell": cells}))
    assert remarks == ["read with t in 'degC', converted to 'K'"]
    np.testing.assert_allclose(values, WIDE.ravel() + 273.15, rtol=1e-6)
