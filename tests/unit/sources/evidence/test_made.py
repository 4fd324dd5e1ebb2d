"""Whatever an author's code makes of a file in another order, each value comes to its own label."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources.evidence import made as made_module
from gridmill.sources.evidence.compare import NotAsPromised, compare
from gridmill.sources.evidence.expected import ExpectedAxis, Promise
from gridmill.sources.evidence.observed import Axis, Evidence

LATS = np.linspace(80, -80, 17)
LONS = np.arange(0.0, 360, 10)
FINE_LATS, FINE_LONS = np.linspace(80, -80, 81), np.arange(0.0, 360, 2)
LAND = np.random.default_rng(7).random((LATS.size, LONS.size)) < 0.4
TURNED = ["read with latitude in another order, and turned"]
PROMISE = Promise(
    axes={
        "latitude": ExpectedAxis(labels=LATS, units="degrees_north"),
        "longitude": ExpectedAxis(labels=LONS, units="degrees_east"),
    },
    append_dim="time",
    unchecked=frozenset({"time"}),
)


def told(values: np.ndarray, variable: str = "t", *, is_flipped: bool = True) -> Evidence:
    """Return what a file says of values in its own order."""
    lats = LATS[::-1] if is_flipped else LATS
    return Evidence(
        variable=variable,
        values=values,
        axes=(
            Axis(name="lat", values=lats, units="degrees_north"),
            Axis(name="lon", values=LONS, units="degrees_east"),
        ),
    )


def temperature(seed: int) -> np.ndarray:
    """Return a field that is much alike in both hemispheres, as the Earth's are."""
    noise = np.random.default_rng(seed).normal(size=(LATS.size, LONS.size))
    waves = np.sin(np.deg2rad(LONS) * 3 + seed) * np.cos(np.deg2rad(LATS * 2))[:, None]
    zonal = 300 - 50 * np.sin(np.deg2rad(LATS))[:, None] ** 2
    return (zonal + 4 * waves + 2 * noise).astype("float32")


def rain(seed: int) -> np.ndarray:
    """Return a field that is zero nearly everywhere."""
    values = np.random.default_rng(seed).gamma(1, 4, size=(LATS.size, LONS.size))
    return np.where(values > 8, values, 0).astype("float32")


def random(seed: int) -> np.ndarray:
    """Return a field without any order."""
    return np.random.default_rng(seed).normal(size=(LATS.size, LONS.size)).astype("float32")


def sea(seed: int) -> np.ndarray:
    """Return a field that is known in places."""
    return np.where(LAND, np.float32(np.nan), temperature(seed))


FIELDS = [temperature, rain, random, sea]
ONE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as read": lambda x: x,
    "scaled": lambda x: x * np.float32(0.01),
    "shifted": lambda x: x - np.float32(273.15),
    "of the other sign": lambda x: -x,
    "clipped": lambda x: np.clip(x, np.nanquantile(x, 0.1), np.nanquantile(x, 0.9)),
    "what is large": lambda x: np.where(x > np.nanmedian(x), x, np.nan),
    "what is small, else zero": lambda x: np.where(x < np.nanquantile(x, 0.8), x, 0),
    "whether it is large": lambda x: (x > np.nanmedian(x)).astype("float32"),
    "its exponential": lambda x: np.exp(x / np.nanmax(np.abs(x))),
    "rounded": lambda x: np.round(x),
    "without gaps": lambda x: np.nan_to_num(x, nan=-1),
}
TWO: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: x - y,
    "mean": lambda x, y: (x + y) / 2,
    "speed": lambda x, y: np.hypot(x, y),
    "product": lambda x, y: x * y,
    "one where the other is large": lambda x, y: np.where(y > np.nanmedian(y), x, np.nan),
    "one of them": lambda x, y: y,
}

TABLE = np.random.default_rng(3).permutation(32)
# What is no sum, and rises with nothing, by how many fields it is made of.
CLASSES: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "wind direction": (2, lambda u, v: np.degrees(np.arctan2(-u, -v)) % 360),
    "bits": (1, lambda x: codes_of(x) & 3),
    "a table": (1, lambda x: TABLE[codes_of(x)]),
    "categories": (2, lambda x, y: 2 * (x > np.quantile(x, 0.4)) + (y > np.quantile(y, 0.6))),
}

OWN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "masked": lambda x: np.where(LAND, 0, x),
    "without land": lambda x: np.where(LAND, np.nan, x),
    "weighted": lambda x: x * np.cos(np.deg2rad(LATS))[:, None],
    "an anomaly": lambda x: x - (300 - 50 * np.sin(np.deg2rad(LATS)) ** 2)[:, None],
    "smoothed": lambda x: 0.75 * x + 0.25 * np.roll(x, 1, axis=1),
}


def smooth(seed: int) -> np.ndarray:
    """Return a field of waves that are long beside the grid."""
    draw = np.random.default_rng(seed)
    y, x = np.deg2rad(FINE_LATS)[:, None], np.deg2rad(FINE_LONS)
    phases, sizes = draw.uniform(0, 2 * np.pi, (3, 4)), draw.normal(size=(3, 4)) + 2
    return sum(
        sizes[0, k] * np.sin((k + 1) * x + phases[0, k]) / (k + 1)
        + sizes[1, k] * np.cos((k + 1) * 2 * y + phases[1, k]) / (k + 1)
        + sizes[2, k] * np.sin((k + 1) * x + phases[2, k]) * np.sin((k + 1) * y) / (k + 1)
        for k in range(4)
    ).astype("float32")


def codes_of(field: np.ndarray) -> np.ndarray:
    """Return whole numbers from 0 to 31, whatever the field is."""
    ends = np.quantile(field, np.linspace(0, 1, 33)[1:-1])
    return np.searchsorted(ends, field, "right")


def stored(made: np.ndarray, *seen: Evidence) -> tuple[np.ndarray, list[str]]:
    """Return what is stored of what an author's code made, and what is said of it."""
    place = np.array(made, "float32")
    return place, compare(seen, place, PROMISE)


@pytest.mark.parametrize("style", ONE)
@given(st.sampled_from(FIELDS), st.integers(0, 10_000), st.booleans())
def test_what_is_made_of_a_field_comes_to_its_own_labels(style, field, seed, is_turned):
    """Turned by the author or not; each style of code, each kind of field."""
    read = field(seed)
    made = ONE[style](read)
    place, remarks = stored(made[::-1] if is_turned else made, told(read))
    np.testing.assert_array_equal(place, made[::-1].astype("float32"))
    is_alike = np.array_equal(made, made[::-1], equal_nan=True)
    assert remarks == ([] if is_turned or is_alike else TURNED)


@pytest.mark.parametrize("style", OWN)
@given(st.sampled_from([temperature, random, sea]), st.integers(0, 10_000))
def test_what_an_author_turned_and_went_on_with_is_left(style, field, seed):
    """With a mask, weights or means that lie as the archive, or with neighbours."""
    read = field(seed)
    made = OWN[style](read[::-1]).astype("float32")
    place, remarks = stored(made, told(read))
    np.testing.assert_array_equal(place, made)
    assert remarks == []


@pytest.mark.parametrize("style", TWO)
@given(st.sampled_from([temperature, random]), st.integers(0, 10_000), st.booleans())
def test_what_is_made_of_two_fields_comes_to_its_own_labels(style, field, seed, is_turned):
    """Two variables of a file, or one that is read twice."""
    first, second = field(seed), field(seed + 1)
    made = TWO[style](first, second)
    seen = told(first, "u"), told(second, "v")
    place, remarks = stored(made[::-1] if is_turned else made, *seen)
    np.testing.assert_array_equal(place, made[::-1])
    assert remarks == ([] if is_turned else TURNED)


@pytest.mark.parametrize("style", CLASSES)
@given(st.integers(0, 10_000), st.booleans())
def test_what_is_alike_where_fields_are_alike_comes_to_its_own_labels(style, seed, is_turned):
    """Directions, codes and categories of smooth fields."""
    number, style_of = CLASSES[style]
    read = [smooth(seed + at) for at in range(number)]
    made = style_of(*read).astype("float32")
    fields = [made_module.Read(one, {0: np.arange(FINE_LATS.size)[::-1]}) for one in read]
    found = made_module.is_as_in_file(made[::-1] if is_turned else made, fields)
    assert found is (not is_turned)


def test_codes_of_what_is_the_opposite_at_the_other_pole_are_refused():
    """They are codes of it in either order, and nothing shows of which."""
    rows = np.array([-4, -3, -2, -1, 1, 2, 3, 4], "float32")
    codes = np.array([1, -1, -1, 1, 1, 1, -1, -1], "float32")
    read, made = (np.repeat(of[:, None], 16, axis=1) for of in (rows, codes))
    field = made_module.Read(read, {0: np.arange(8)[::-1]})
    assert made_module.is_as_in_file(made, [field]) is None


@given(st.integers(0, 10_000), st.booleans())
def test_a_field_that_is_read_twice_is_turned_once(seed, is_turned):
    """To look at it first, and then to give it."""
    read = temperature(seed)
    place, _ = stored(read[::-1] if is_turned else read, told(read), told(read))
    np.testing.assert_array_equal(place, read[::-1])


@given(st.sampled_from(sorted(ONE)), st.integers(0, 10_000), st.integers(1, LONS.size - 1))
def test_what_is_made_of_a_field_that_begins_elsewhere_is_turned(style, seed, east):
    """From another longitude, and from the other pole."""
    read = random(seed)
    axes = (
        Axis(name="lat", values=LATS[::-1], units="degrees_north"),
        Axis(name="lon", values=np.roll(LONS, east), units="degrees_east"),
    )
    made = ONE[style](read)
    place, remarks = stored(made, Evidence(variable="t", values=read, axes=axes))
    np.testing.assert_array_equal(place, np.roll(made[::-1], -east, axis=1).astype("float32"))
    assert remarks == ["read with latitude and longitude in another order, and turned"]


@pytest.mark.parametrize("samples", [50, 200])
@given(st.sampled_from(sorted(ONE)), st.integers(0, 10_000), st.booleans())
def test_of_many_values_some_are_enough(samples, style, seed, is_turned):
    """Of a field that is too large, so many places are drawn."""
    read = random(seed)
    made = ONE[style](read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_module, "MOST_POINTS", samples)
        patch.setattr(made_module, "MOST_SQUARED", samples)
        place, _ = stored(made[::-1] if is_turned else made, told(read))
    np.testing.assert_array_equal(place, made[::-1].astype("float32"))


@pytest.mark.parametrize("constant", [0.0, np.nan])
def test_a_constant_field_is_left(constant):
    """It is the same in any order."""
    read = np.full((LATS.size, LONS.size), constant, "float32")
    place, remarks = stored(read, told(read))
    np.testing.assert_array_equal(place, read)
    assert remarks == []


@given(st.integers(0, 10_000))
def test_whole_numbers_are_turned_with_what_stands_for_missing(seed):
    """Whatever number that is."""
    read = sea(seed).round()
    place = np.nan_to_num(read, nan=-999).astype("int16")
    assert compare([told(read)], place, PROMISE) == TURNED
    np.testing.assert_array_equal(place, np.nan_to_num(read, nan=-999)[::-1].astype("int16"))


@given(st.integers(0, 10_000))
def test_values_that_do_not_show_their_order_are_refused(seed):
    """With variable, rule and next step; nothing is stored upside down in silence."""
    with pytest.raises(NotAsPromised) as caught:
        stored(random(seed + 1), told(random(seed)))
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == (
        "its t lies with latitude in another order than the archive, and of what read_data made "
        "of it the values do not show in which order they are; return them in the archive's "
        "order, whichever the file has, and add 'latitude' to unchecked"
    )


@given(st.sampled_from([temperature, random]), st.integers(0, 10_000))
def test_a_sum_of_fields_in_several_orders_is_refused(field, seed):
    """One of them would be upside down, whatever is done; unless the code turned the other."""
    first, second = field(seed), field(seed + 1)
    seen = told(first, "u"), told(second, "v", is_flipped=False)
    with pytest.raises(NotAsPromised, match="its u and v lies with latitude in another order"):
        stored(first + second, *seen)
    place, remarks = stored(first[::-1] + second, *seen)
    np.testing.assert_array_equal(place, first[::-1] + second)
    assert remarks == []
