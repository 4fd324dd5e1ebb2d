"""Values that are made of others, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gridmill import DataVar, Encoding
from gridmill.authoring.derived import Aggregation, Derived, making, relative_humidity, wind_speed
from gridmill.authoring.derived.making import conversion, make_into, rests_on_whole

NUMPY = {"mean": np.mean, "minimum": np.min, "maximum": np.max, "sum": np.sum}
values = st.floats(-1000, 1000, width=32) | st.just(np.nan)


def var(name: str, units: str = "m s-1", encoding: Encoding | None = None, **more) -> DataVar:
    attrs = {"long_name": name, "units": units}
    encoding = encoding or Encoding(chunks=(1, 1))
    return DataVar(name=name, encoding=encoding, attrs=attrs, dims=("time", "x"), **more)


def added(first, second):
    return first + second


SUM = var("s", derived=Derived(inputs=(var("a"), var("b")), formula=added))


@settings(deadline=None)
@given(data=st.data(), block=st.integers(1, 30))
def test_a_formula_is_the_same_block_by_block(data, block):
    """Whatever the blocks; and where an input is missing, so is the result."""
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    a, b = (data.draw(arrays("float32", shape, elements=values)) for _ in range(2))
    out = np.empty(shape, "float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "BLOCK_VALUES", block)
        make_into(SUM, (a, b), None, out)
    np.testing.assert_array_equal(out, (a.astype("float64") + b).astype("float32"))


@settings(deadline=None)
@given(data=st.data(), block=st.integers(1, 30), method=st.sampled_from(sorted(NUMPY)))
def test_positions_are_made_of_their_steps(data, block, method):
    """Of steps of any number, by the plain functions of NumPy, if enough of them have values."""
    counts = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    least = data.draw(st.none() | st.integers(1, 6))
    offsets = [0, *np.cumsum(counts).tolist()]
    steps = data.draw(arrays("float32", (offsets[-1], 3), elements=values))
    how = Aggregation(method=method, every="h", at_least=least)
    out = np.empty((len(counts), 3), "float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "BLOCK_VALUES", block)
        make_into(var("d", aggregated=how), (steps,), offsets, out)
    for at, n in enumerate(counts):
        of = steps[offsets[at] : offsets[at + 1]].astype("float64")
        for x in range(3):
            known = of[:, x][~np.isnan(of[:, x])]
            enough = len(known) >= (n if least is None else min(least, n))
            wanted = NUMPY[method](known) if enough else np.nan
            np.testing.assert_allclose(out[at, x], wanted, rtol=1e-5, atol=1e-4)


@given(data=st.data())
def test_a_position_rests_on_its_own_steps_alone(data):
    """On all of them, of every source, or on as many as are declared."""
    counts = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    least = data.draw(st.none() | st.integers(1, 4))
    offsets = [0, *np.cumsum(counts).tolist()]
    masks = [data.draw(arrays(bool, (offsets[-1], 2))) for _ in range(2)]
    how = Aggregation(method="mean", every="h", at_least=least)
    found = rests_on_whole(var("d", aggregated=how), offsets, masks)
    both = masks[0] & masks[1]
    for at, n in enumerate(counts):
        there = both[offsets[at] : offsets[at + 1]].sum(axis=0)
        np.testing.assert_array_equal(found[at], there >= min(n if least is None else least, n))


def test_inputs_and_results_are_converted():
    """Degrees Celsius to the kelvins of the formula, its percents to the variable's 1."""
    inputs = var("t", "degC"), var("td", "degC")
    humidity = var("rh", "1", derived=relative_humidity(*inputs))
    out = np.empty((1, 1), "float32")
    make_into(humidity, (np.full((1, 1), 20, "f4"), np.full((1, 1), 10, "f4")), None, out)
    assert out[0, 0] == pytest.approx(0.525, abs=1e-3)
    assert conversion("m s-1", "m/s") is None
    assert conversion("knot", "m s-1") == pytest.approx((1852 / 3600, 0))


@pytest.mark.parametrize(("first", "second"), [("K", "m"), ("nonsense", "m"), ("m", "nonsense")])
def test_what_cannot_be_converted_is_refused(first, second):
    """Never taken for the same."""
    with pytest.raises(ValueError, match="cannot be converted"):
        conversion(first, second)


def test_a_declared_fill_value_is_missing_in_inputs_and_results():
    """It is no number to calculate with."""
    filled = Encoding(chunks=(1, 1), fill_value=-9999.0)
    a, b = (var(name, encoding=filled) for name in "ab")
    made = var("s", encoding=filled, derived=wind_speed(a, b))
    out = np.empty((1, 2), "float32")
    make_into(made, (np.array([[-9999, 3]], "f4"), np.array([[1, 4]], "f4")), None, out)
    np.testing.assert_array_equal(out, [[-9999, 5]])


def test_a_formula_gives_a_value_for_each():
    """Another shape is named."""
    made = var("s", derived=Derived(inputs=(var("a"),), formula=lambda a: a[:1]))
    with pytest.raises(ValueError, match="one value for each"):
        make_into(made, (np.zeros((2, 2), "f4"),), None, np.empty((2, 2), "f4"))
