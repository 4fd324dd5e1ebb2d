"""Statistics of parts, joined, are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gridmill.model.fields.statistics import BLOCK, ValueStatistics, noted, told
from gridmill.model.records import ObjectReceipt

VALUES = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6),
    elements=st.floats(-1e4, 1e4, width=32) | st.just(float("nan")),
)
RECEIPTS = [ObjectReceipt.of("a/c/0", b"one"), ObjectReceipt.of("a/c/1", b"two")]


def is_as(found: ValueStatistics, values: np.ndarray) -> bool:
    there = values[np.isfinite(values)].astype(float)
    if not there.size:
        return found == ValueStatistics(stop=found.stop)
    return (
        found.count == there.size
        and found.mean == pytest.approx(there.mean(), rel=1e-9, abs=1e-9 + 1e-6 * there.std())
        and found.deviation == pytest.approx(there.std(), rel=1e-6, abs=1e-6)
        and (found.low, found.high) == (there.min(), there.max())
    )


@given(VALUES, st.integers(0, 6))
def test_parts_joined_are_the_whole(values, at):
    """However they are divided, and in whatever order they are joined."""
    parts = [ValueStatistics.of(part) for part in (values[:at], values[at:])]
    assert is_as(parts[0] + parts[1], values)
    assert is_as(parts[1] + parts[0], values)
    assert is_as(ValueStatistics.of(values), values)


@given(VALUES)
def test_it_says_where_the_values_end(values):
    """Behind the last position along the first axis that has any."""
    there = np.isfinite(values).any(axis=tuple(range(1, values.ndim)))
    stop = int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0
    assert ValueStatistics.of(values, has_positions=True).stop == stop


@given(
    st.integers(1, 200),
    st.floats(-(2.0**50), 2.0**50, width=32),
    st.sampled_from([0.0, 1e-30, 1e-12, 1e-3, 1.0, 1e9, 1e30]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 2**32 - 1),
)
def test_single_precision_loses_nothing_that_its_values_have(size, about, spread, missing, seed):
    """Sums of a few distances are taken in it, of any size, and squares neither vanish nor end."""
    drawn = np.random.default_rng(seed)
    values = (about + spread * drawn.standard_normal(size)).astype(np.float32)
    values[drawn.random(size) < missing] = np.nan
    there = values[np.isfinite(values)].astype(float)
    found = ValueStatistics.of(values)
    assert found.count == there.size
    if there.size:
        assert found.mean == pytest.approx(there.mean(), rel=1e-12, abs=1e-6 * there.std())
        assert found.deviation == pytest.approx(there.std(), rel=1e-6, abs=1e-12 * abs(about))
        assert (found.low, found.high) == (there.min(), there.max())


def test_infinite_values_do_not_count():
    """JSON knows none, and no mean survives one."""
    assert is_as(
        ValueStatistics.of(np.array([np.inf, 1.0, 3.0, -np.inf, np.nan])), np.array([1.0, 3.0])
    )


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_what_stands_for_missing_does_not_count(dtype):
    """Whatever the dtype."""
    found = ValueStatistics.of(np.array([1, 3, 99], dtype), missing=99, has_positions=True)
    assert (found.count, found.mean, found.low, found.high, found.stop) == (2, 2.0, 1.0, 3.0, 2)


@pytest.mark.parametrize("scale", [0.01, -0.5])
def test_packed_values_count_as_they_are_unpacked(scale):
    """Also with a negative scale, which turns lowest and highest."""
    stored = np.array([[-5, 7], [-32768, 100]], "int16")
    found = ValueStatistics.of(stored, missing=-32768, scale=scale, offset=20.0)
    assert is_as(found, np.array([-5, 7, 100]) * scale + 20.0)


def test_a_small_spread_about_a_large_mean_is_kept():
    """Where the mean of squares less the square of the mean would be nothing but noise."""
    values = (1e6 + np.random.default_rng(0).normal(0, 0.1, 3 * BLOCK)).astype(np.float64)
    assert ValueStatistics.of(values).deviation == pytest.approx(values.std(), rel=1e-9)


@given(VALUES)
def test_a_record_gives_back_what_it_got(values):
    """As JSON takes it."""
    found = ValueStatistics.of(values, has_positions=True)
    assert told(noted(found, RECEIPTS), RECEIPTS) == found


def test_statistics_of_other_objects_are_forgotten():
    """Whoever stored those, and whatever it knew of statistics."""
    kept = noted(ValueStatistics.of(np.ones(3)), RECEIPTS)
    assert told(kept, [RECEIPTS[0], ObjectReceipt.of("a/c/1", b"new")]) is None
    assert told(kept, RECEIPTS[:1]) is None
    assert told(None, RECEIPTS) is None
    assert noted(None, RECEIPTS) is None


@pytest.mark.parametrize("fill", [1e20, -999.9, -9999.0])
@pytest.mark.parametrize("beside", [np.nan, np.inf, 2.0])
def test_a_fill_of_single_precision_does_not_count(fill, beside):
    """Also one that it does not hold exactly, and beside what is missing anyhow."""
    stored = np.array([1.0, 3.0, fill, beside, fill], "float32")
    found = ValueStatistics.of(stored, missing=fill, has_positions=True)
    there = np.array([1.0, 3.0, beside])
    assert is_as(found, there)
    assert found.stop == (4 if np.isfinite(beside) else 2)


def test_a_variable_of_another_name_has_the_same():
    """It is made of the same objects, by other keys."""
    found = ValueStatistics.of(np.ones(3))
    renamed = [ObjectReceipt.of(key, c) for key, c in (("b/c/0", b"one"), ("b/c/1", b"two"))]
    assert told(noted(found, RECEIPTS), renamed) == found
