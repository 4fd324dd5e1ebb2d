"""Gates hold what is beyond them and nothing else, however a field is divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gridmill.model.fields.gates import (
    MostJump,
    MostMissing,
    NotARepeat,
    NotConstant,
    ValidRange,
    why_held,
)
from gridmill.model.fields.summary import FieldSummary
from tiny import tiny_var

FLOATS = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))
LIMIT = 1e6
GATES = (ValidRange(-3, 5), MostMissing(0.4), NotConstant(), NotARepeat(), MostJump(2.5))


def fields(n: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
    """Return fields of one shape, with values that are equal now and then."""
    elements = FLOATS | st.sampled_from([0.0, 1.0, 7.0])

    def of(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.tuples(*[hnp.arrays(np.float32, shape, elements=elements)] * n)

    return hnp.array_shapes(max_dims=3, max_side=5).flatmap(of)


@given(fields(2), st.data())
def test_parts_of_a_field_sum_up_to_the_whole(pair, data):
    """What is written slab by slab is held for the same reasons as what is written at once."""
    field, before = (values.ravel() for values in pair)
    at = data.draw(st.integers(0, field.size))
    whole = FieldSummary.of(field, before)
    parts = [FieldSummary.of(field[s], before[s]) for s in (slice(0, at), slice(at, None))]
    joined = parts[0] + parts[1]
    assert joined.change == pytest.approx(whole.change)
    for name in ("size", "missing", "low", "high", "compared", "differing"):
        assert getattr(joined, name) == getattr(whole, name)


@given(fields(), st.floats(-LIMIT, LIMIT), st.floats(0, LIMIT))
def test_a_range_holds_exactly_what_has_a_value_beyond_it(pair, low, width):
    """Missing values are in no range and beyond none."""
    (field,) = pair
    present = field[~np.isnan(field)].astype(float)
    is_beyond = bool(((present < low) | (present > low + width)).any())
    assert bool(ValidRange(low, low + width).check(field)) == is_beyond


@given(fields(), st.floats(0, 0.99))
def test_a_share_holds_exactly_what_lacks_more(pair, share):
    """At the bound nothing is held."""
    (field,) = pair
    assert bool(MostMissing(share).check(field)) == (np.isnan(field).sum() > share * field.size)


@given(fields())
def test_a_constant_is_two_equal_values_or_more_and_no_other(pair):
    """A field without values, or with one, is no constant field."""
    (field,) = pair
    present = field[~np.isnan(field)]
    assert bool(NotConstant().check(field)) == (present.size > 1 and np.unique(present).size == 1)


@given(fields(2))
def test_a_repeat_is_the_same_field_also_in_what_is_missing(pair):
    """What has no value at all repeats nothing."""
    field, before = pair
    has_values = not np.isnan(field).all()
    gate = NotARepeat()
    assert bool(gate.check(field, field.copy())) == has_values
    assert bool(gate.check(field, before)) == (
        has_values and np.array_equal(field, before, equal_nan=True)
    )
    assert not gate.check(field)


@given(fields(2), st.floats(0, 100))
def test_a_jump_is_a_mean_change_beyond_the_bound(pair, bound):
    """Only places with both values count; where there are none, nothing has changed."""
    field, before = (values.astype(float) for values in pair)
    changes = np.abs(field - before)
    changes = changes[~np.isnan(changes)]
    mean = changes.mean() if changes.size else 0.0
    if abs(mean - bound) > 1e-6 * max(1, bound):
        assert bool(MostJump(bound).check(*pair)) == (mean > bound)
    assert not MostJump(0).check(pair[0], pair[0].copy())
    assert not MostJump(0).check(pair[0])


@given(fields(2))
def test_the_first_gate_that_holds_is_named(pair):
    """An operator reads one reason, beginning with what the author put first."""
    seen = FieldSummary.of(*pair)
    holding = [gate for gate in GATES if gate.why(seen)]
    expected = f"{holding[0].name}: {holding[0].why(seen)}" if holding else ""
    assert why_held(GATES, seen) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "uint16"])
def test_a_declared_missing_value_is_missing(dtype):
    """In whole numbers, too, which have no NaN; before as well as now."""
    field, before = np.array([1, 99, 3], dtype), np.array([1, 99, 99], dtype)
    seen = FieldSummary.of(field, before, missing=99)
    assert (seen.size, seen.missing, seen.low, seen.high) == (3, 1, 1, 3)
    assert (seen.compared, seen.differing, seen.change) == (1, 1, 0)


def test_small_whole_numbers_do_not_overflow():
    """The difference of the extremes of a dtype is not one of its values."""
    seen = FieldSummary.of(np.array([-128], "int8"), np.array([127], "int8"))
    assert seen.change == 255


def test_infinities():
    """Infinite is beyond every finite range, and no change where it stays."""
    field = np.array([np.inf, 1.0])
    assert ValidRange(0, 5).check(field)
    assert not ValidRange(0).check(field)
    assert not MostJump(0).check(field, field.copy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ValidRange(2, 1), "low comes first"),
        (lambda: ValidRange(float("nan"), 1), "low comes first"),
        (lambda: MostMissing(1), "less than 1"),
        (lambda: MostMissing(-0.1), "less than 1"),
        (lambda: MostJump(-1), "at least 0"),
        (lambda: MostJump(float("inf")), "finite"),
        (lambda: tiny_var("a", gates=(NotConstant,)), "no gate"),
    ],
)
def test_what_is_no_gate_is_refused_where_it_is_declared(make, message):
    """A bound that never holds, or always, is a mistake."""
    with pytest.raises(ValueError, match=message):
        make()
