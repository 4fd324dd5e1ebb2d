"""Other units are found in simulated weather, and weather is not taken for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.validation.statistics.level_shifts import FieldSeries, find_level_shifts
from simulated import CADENCES, CHANGES, KINDS, TEMPERATURES, Fields, damages_of

# As `LevelShift` has it: a day of hours.
WINDOW = 24


def shifts(fields: Fields, step_h: float) -> list[int]:
    """Look at fields (n, cells) as the validator does."""
    width = min(WINDOW, len(fields) // 3)
    if width < max(8, 24 / step_h):
        return []
    statistics = fields.mean(1), fields.std(1), fields.min(1), fields.max(1)
    return find_level_shifts(FieldSeries(*statistics), width)


def simulated(kind: str, seed: int, least: int = 0) -> Iterator[tuple[float, Fields]]:
    """Give fields at every cadence, of every length from `least` on."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    for step_h, lengths in CADENCES.items():
        for n in lengths:
            if n >= least:
                yield step_h, KINDS[kind](rng, n, step_h)


@pytest.mark.parametrize("kind", KINDS)
def test_weather_is_not_taken_for_other_units(kind):
    """Seasons, days, fronts, droughts, snow and polar nights are no alarm."""
    found = [shifts(fields, step_h) for seed in (1, 2) for step_h, fields in simulated(kind, seed)]
    assert found == [[]] * len(found)
    assert len(found) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_other_units_are_found_where_they_begin(kind):
    """Nearly always where a quantity is always there; mostly where it is 0 for months."""
    n_series, found = 0, Counter[str]()
    for seed in (1, 2, 3):
        for step_h, fields in simulated(kind, seed, least=72):
            n_series += 1
            begin = int(len(fields) * (0.3 + 0.1 * seed))
            first = begin + int(np.argmax((fields[begin:] != 0).any(axis=1)))
            for name in damages_of(kind):
                changed = np.concatenate([fields[:begin], CHANGES[name](fields[begin:])])
                found[name] += any(abs(at - first) <= 12 for at in shifts(changed, step_h))
    units = [name for name in damages_of(kind) if "tenth" not in name and name != "sign"]
    always = (*TEMPERATURES, "pressure", "wind", "global_rain", "clouds")
    rate = sum(found[name] for name in units) / (len(units) * n_series)
    assert rate >= (0.95 if kind in always else 0.5), found
    if kind in ("global_temperature", "pressure"):
        assert found["a tenth more"] >= 0.9 * n_series


@given(seed=st.integers(0, 2**32 - 1), begin=st.integers(30, 90), n=st.integers(26, 60))
def test_a_month_of_other_units_is_found_at_both_ends(seed, begin, n):
    """Who noticed, and went on in the right units, has a hole to repair."""
    fields = KINDS["global_temperature"](np.random.default_rng(seed), 180, 6)
    fields[begin : begin + n] -= 273.15
    assert shifts(fields, 6) == [begin, begin + n]


@given(shape=st.tuples(st.integers(0, 40), st.integers(1, 3)), value=st.sampled_from([0.0, 1, 273]))
def test_what_stands_still_has_no_units_to_change(shape, value):
    """Constant fields, and fewer than there can be a shift in."""
    assert shifts(np.full(shape, value), 6) == []
