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


def test_what_is_calculated_of_pieces_is_left() -> None:
    """What is on another grid, or is a weight of each row, the author's code knows."""
    rng = np.random.default_rng(2)
    seen = [piece(rng.random((4, 5)), LATS[::-1], level=9.0) for _ in range(6)]
    rows = Evidence(
        variable="weight", values=LATS, axes=(Axis(name="lat", values=LATS[::-1]),), units="1"
    )
    latitude = Evidence(variable="lat", values=LATS, axes=(Axis(name="lat", values=LATS[::-1]),))
    values = np.hypot(*(stacked(seen[at::2]) for at in range(2)))
    before = values.copy()
    assert compare([*seen, rows, latitude], values, promise()) == []
    np.testing.assert_array_equal(values, before)


def test_missing_values_hide_no_order() -> None:
    """They are turned with the others."""
    fields = FIELDS.copy()
    fields[:, 0, :2] = np.nan
    seen = [piece(field[::-1], LATS[::-1]) for field in fields]
    values = stacked(seen)
    assert compare(seen, values, promise()) == [TURNED]
    np.testing.assert_array_equal(values, fields)
