"""What the in-place transforms guarantee, as properties and against naive references."""

from __future__ import annotations

import doctest
import os
import pickle
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.bitround import BitRound

from gridmill.authoring.transforms import blocks, deaccumulation, interpolation, rounding, scaling
from gridmill.authoring.transforms.deaccumulation import (
    DeaccumulationCounts,
    deaccumulate_inplace,
    deaccumulation_footprint,
)
from gridmill.authoring.transforms.interpolation import (
    interpolate_single_gaps_inplace,
    interpolation_footprint,
)
from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.authoring.transforms.scaling import scale_inplace

unhurried = settings(max_examples=60, deadline=None)

MANTISSA_BITS = {"float16": 10, "float32": 23, "float64": 52}

VIEWS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "strided": lambda a: a[::2, ::-3],
    "column": lambda a: a[:, 1:2],
    "moved": lambda a: np.moveaxis(a[1:], 0, 1),
    "byte-swapped": lambda a: a.byteswap().view(a.dtype.newbyteorder()),
}


def bits_of(values):
    """Return the bits of floats, which tell NaN payloads and signed zeros apart."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


@st.composite
def any_floats_and_bits(draw):
    """Draw an array of arbitrary bit patterns (NaN, infinities, subnormals) and bits to keep."""
    dtype = np.dtype(draw(st.sampled_from(sorted(MANTISSA_BITS))))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7))
    bits = draw(hnp.arrays(f"u{dtype.itemsize}", shape))
    return bits.view(dtype), draw(st.integers(0, MANTISSA_BITS[dtype.name]))


def rounded(values, keep):
    """Return a rounded copy."""
    result = values.copy()
    round_mantissa_inplace(result, keep)
    return result


@pytest.mark.parametrize("module", [rounding, scaling, deaccumulation, interpolation])
def test_examples_in_docstrings_hold(module):
    """Every example in a module's docstrings gives the output that it shows."""
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


class TestRoundMantissa:
    @unhurried
    @given(any_floats_and_bits())
    def test_is_idempotent(self, case):
        """Rounding twice gives the bits of rounding once."""
        values, keep = case
        once = rounded(values, keep)
        np.testing.assert_array_equal(bits_of(rounded(once, keep)), bits_of(once))

    @unhurried
    @given(any_floats_and_bits())
    def test_keeps_the_bits_of_nan_and_infinity(self, case):
        """NaN payloads and infinities come through bit for bit."""
        values, keep = case
        special = ~np.isfinite(values)
        result = rounded(values, keep)
        np.testing.assert_array_equal(bits_of(result)[special], bits_of(values)[special])

    @unhurried
    @given(any_floats_and_bits())
    def test_keeps_finite_values_finite(self, case):
        """No finite value becomes an infinity or NaN, however large."""
        values, keep = case
        np.testing.assert_array_equal(np.isfinite(rounded(values, keep)), np.isfinite(values))

    @unhurried
    @given(any_floats_and_bits())
    def test_clears_the_dropped_bits(self, case):
        """A finite result has only zeros below the kept mantissa bits."""
        values, keep = case
        result = rounded(values, keep)
        dropped = MANTISSA_BITS[values.dtype.name] - keep
        low_bits = bits_of(result)[np.isfinite(values)] & np.array(
            (1 << dropped) - 1, f"u{values.dtype.itemsize}"
        )
        assert not low_bits.any()

    @unhurried
    @given(any_floats_and_bits())
    def test_bounds_the_relative_error(self, case):
        """A normal value moves by at most 2**-(keep+1) of itself; a saturated one by 2**-keep."""
        values, keep = case
        limits = np.finfo(values.dtype)
        exact = values.astype("longdouble")
        magnitude = abs(exact)
        normal = np.isfinite(values) & (magnitude >= limits.tiny)
        largest = rounded(np.array(limits.max), keep).astype("longdouble")
        bound = np.where(magnitude > largest, 2.0**-keep, 2.0 ** -(keep + 1))
        error = abs(rounded(values, keep).astype("longdouble")[normal] - exact[normal])
        assert (error <= bound[normal] * magnitude[normal]).all()

    @unhurried
    @given(any_floats_and_bits())
    def test_preserves_order_and_sign(self, case):
        """Rounding is monotone: sorted values stay sorted, and no sign changes."""
        values, keep = case
        ordered = np.sort(values[np.isfinite(values)], axis=None)
        result = rounded(ordered, keep)
        assert (result[1:] >= result[:-1]).all()
        np.testing.assert_array_equal(np.signbit(result), np.signbit(ordered))

    @unhurried
    @given(any_floats_and_bits())
    def test_equals_numcodecs_where_that_stays_finite(self, case):
        """Results are those of numcodecs' BitRound unless that overflows to infinity."""
        values, keep = case
        if not values.size:
            return
        encoded = np.asarray(BitRound(keep).encode(values)).view(values.dtype)
        comparable = np.isfinite(values) & np.isfinite(encoded)
        np.testing.assert_array_equal(
            bits_of(rounded(values, keep))[comparable], bits_of(encoded)[comparable]
        )

    @unhurried
    @given(any_floats_and_bits())
    def test_leaves_all_bits_when_all_are_kept(self, case):
        """Keeping every mantissa bit changes nothing."""
        values, _ = case
        full = MANTISSA_BITS[values.dtype.name]
        np.testing.assert_array_equal(bits_of(rounded(values, full)), bits_of(values))

    @pytest.mark.parametrize("block_elements", [1, 7, 65_536])
    @pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
    def test_rounds_views_as_it_rounds_copies(self, monkeypatch, view, block_elements):
        """A view of any layout is rounded in place and nothing outside it is touched."""
        monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", block_elements)
        base = np.random.default_rng(0).normal(size=(12, 11)).astype("float32")
        base[3, 4:8] = np.nan, np.inf, -np.inf, np.finfo("float32").max
        before, touched = base.copy(), np.zeros(base.shape, bool)
        view(touched)[...] = True
        target = view(base)
        expected = rounded(np.array(target, dtype="float32", order="C"), 5)
        round_mantissa_inplace(target, 5)
        np.testing.assert_array_equal(target, expected)
        np.testing.assert_array_equal(base[~touched], before[~touched])

    def test_rounds_beyond_the_first_block(self):
        """An array of several blocks, the last one short, is rounded to its end."""
        values = np.linspace(1, 2, 150_001, dtype="float32")
        values[[0, 70_000, 150_000]] = np.nan, np.inf, np.finfo("float32").max
        expected = np.concatenate([rounded(part, 3) for part in np.array_split(values, 7)])
        round_mantissa_inplace(values, 3)
        np.testing.assert_array_equal(values, expected)

    def test_saturates_instead_of_overflowing(self):
        """The largest finite values round to the largest value with the kept bits, by sign."""
        limit = np.finfo("float32").max
        result = rounded(np.array([limit, -limit], "float32"), 2)
        np.testing.assert_array_equal(result, np.float32([1.75, -1.75]) * np.float32(2.0**127))

    @pytest.mark.parametrize(("dtype", "keep"), [("float32", -1), ("float32", 24), ("float64", 53)])
    def test_rejects_bits_that_the_dtype_has_not(self, dtype, keep):
        """A number of bits outside the dtype's mantissa is refused by name and range."""
        with pytest.raises(ValueError, match=f"{keep}.*{dtype} can keep 0 to"):
            round_mantissa_inplace(np.zeros(2, dtype), keep)

    @pytest.mark.parametrize("dtype", ["int32", "complex64", "longdouble"])
    def test_rejects_other_dtypes(self, dtype):
        """A dtype without a known mantissa is refused by name."""
        with pytest.raises(TypeError, match=str(np.dtype(dtype))):
            round_mantissa_inplace(np.zeros(2, dtype), 3)


class TestScale:
    @unhurried
    @given(
        hnp.arrays("float64", hnp.array_shapes(min_side=0), elements=st.floats(-1e6, 1e6)),
        st.floats(-1e3, 1e3).filter(bool),
        st.floats(-1e3, 1e3),
    )
    def test_equals_the_formula(self, values, factor, offset):
        """Each value becomes value * factor + offset."""
        expected = values * factor + offset
        scale_inplace(values, factor=factor, offset=offset)
        np.testing.assert_array_equal(values, expected)

    @pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
    def test_scales_views_as_it_scales_copies(self, monkeypatch, view):
        """A view of any layout is scaled once in every place, and nothing outside it."""
        monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", 5)
        base = np.arange(132, dtype="float32").reshape(12, 11)
        before, touched = base.copy(), np.zeros(base.shape, bool)
        view(touched)[...] = True
        target = view(base)
        expected = np.array(target, "float32") * np.float32(3) + np.float32(1)
        scale_inplace(target, factor=3, offset=1)
        np.testing.assert_array_equal(target, expected)
        np.testing.assert_array_equal(base[~touched], before[~touched])

    def test_keeps_the_dtype_and_missing_values(self):
        """A float64 factor leaves float32 data float32, and NaN stays NaN."""
        values = np.array([1, np.nan], "float32")
        scale_inplace(values, factor=np.float64(0.1))
        np.testing.assert_array_equal(values, np.array([0.1, np.nan], "float32"))

    @pytest.mark.parametrize("factor", [0.0, np.nan, np.inf])
    def test_rejects_factors_that_erase(self, factor):
        """A factor of zero, NaN or infinity is refused by value."""
        with pytest.raises(ValueError, match=f"factor is {factor}"):
            scale_inplace(np.ones(2), factor=factor)

    def test_rejects_integers(self):
        """Integers, which cannot hold the result, are refused by dtype."""
        with pytest.raises(TypeError, match="int16"):
            scale_inplace(np.ones(2, "int16"), factor=2)


HOUR = 3600


@st.composite
def windowed_steps(draw):
    """Draw irregular steps in seconds, and for each the start of its window, at a step or at 0."""
    gaps = draw(st.lists(st.sampled_from([900, HOUR, 3 * HOUR, 6 * HOUR]), min_size=1, max_size=9))
    steps = np.cumsum(gaps) - draw(st.booleans()) * gaps[0]
    resets = draw(st.lists(st.booleans(), min_size=len(gaps), max_size=len(gaps)))
    starts, start = [], 0
    for index, step in enumerate(steps):
        starts.append(start)
        start = step if resets[index] else start
    return steps.astype("float64"), np.array(starts, "float64")


def accumulated(rates, steps, starts, kind):
    """Return what a provider would deliver for true `rates`, steps first, in float64."""
    begins = np.concatenate([[0], steps[:-1]])
    result = np.empty_like(rates)
    for index, start in enumerate(starts):
        inside = (begins >= start) & (steps <= steps[index])
        amounts = rates[inside] * (steps - begins)[inside, None]
        length = (steps[index] - start) if kind == "average" else 1
        result[index] = amounts.sum(axis=0) / length if length else np.nan
    return result


def naive_deaccumulate(values, steps, starts, kind):
    """Return the means of each step by the definition, one cell after another."""
    result = np.full_like(values, np.nan)
    for index, cell in np.ndindex(values.shape):
        time, start = steps[index], starts[index]
        if time == start or (index and start > steps[index - 1]):
            continue
        base, base_s = 0.0, start
        for earlier in range(index):
            if steps[earlier] > start and not np.isnan(values[earlier, cell]):
                base, base_s = values[earlier, cell], steps[earlier]
        if kind == "accumulation":
            result[index, cell] = (values[index, cell] - base) / (time - base_s)
        else:
            now = values[index, cell] * (time - start)
            result[index, cell] = (now - base * (base_s - start)) / (time - base_s)
    return result


def deaccumulated(values, axis=0, **keywords):
    """Return a deaccumulated copy."""
    result = values.copy()
    deaccumulate_inplace(result, axis=axis, **keywords)
    return result


def real_precipitation(lead):
    """Return the total precipitation since 2020-01-25 12 UTC of the Canadian global model."""
    eccodes = pytest.importorskip("eccodes")
    folder = Path(os.environ["GRIDMILL_TEST_DATA"]) / "S3_real_leads/yt87+pywgrib2_xr/data"
    with (folder / f"CMC_glb_APCP_SFC_0_ps30km_2020012512_{lead}.grib2").open("rb") as file:
        message = eccodes.codes_grib_new_from_file(file)
    values = eccodes.codes_get_values(message)
    eccodes.codes_release(message)
    return values


KINDS = pytest.mark.parametrize("kind", ["accumulation", "average"])


class TestDeaccumulate:
    @KINDS
    @unhurried
    @given(windowed=windowed_steps(), data=st.data())
    def test_undoes_accumulation(self, kind, windowed, data):
        """Any steps and resets: the rates that were accumulated or averaged come back."""
        steps, starts = windowed
        rates = data.draw(hnp.arrays("float64", (steps.size, 3), elements=st.floats(0, 100)))
        values = accumulated(rates, steps, starts, kind)
        result = deaccumulated(values, step_seconds=steps, window_start_s=starts, kind=kind)
        rates[steps == starts] = np.nan
        np.testing.assert_allclose(result, rates, rtol=1e-9, atol=1e-7)

    @KINDS
    @unhurried
    @given(windowed=windowed_steps(), data=st.data())
    def test_agrees_with_the_definition_around_gaps(self, kind, windowed, data):
        """With values missing anywhere, each result is the mean since the last that is not."""
        steps, starts = windowed
        amount = st.integers(0, 10**6) | st.just(np.nan)
        values = data.draw(
            hnp.arrays("float64", (steps.size, 4), elements=amount, fill=st.nothing())
        )
        result = deaccumulated(values, step_seconds=steps, window_start_s=starts, kind=kind)
        expected = naive_deaccumulate(values, steps, starts, kind)
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-6)

    @unhurried
    @given(
        st.lists(st.integers(1, 8), min_size=1, max_size=12),
        st.sampled_from([None, 3, 6]),
        st.data(),
    )
    def test_regular_resets_are_the_multiples(self, hours, reset_h, data):
        """A regular reset equals explicit windows that begin at its last multiple."""
        steps = np.cumsum(hours) * HOUR
        every = reset_h and reset_h * HOUR
        starts = [0 if every is None else (step - 1) // every * every for step in steps.tolist()]
        values = data.draw(hnp.arrays("float32", (steps.size, 2), elements=st.integers(0, 9999)))
        regular = deaccumulated(values, step_seconds=steps, reset_every_s=every)
        explicit = deaccumulated(values, step_seconds=steps, window_start_s=starts)
        np.testing.assert_array_equal(regular, explicit)

    @KINDS
    @pytest.mark.parametrize("block_elements", [1, 4, 65_536])
    @pytest.mark.parametrize("axis", [0, 1, 2, -1])
    def test_treats_any_axis_layout_and_block_alike(self, monkeypatch, axis, block_elements, kind):
        """The place of the step axis, the strides and the block size do not change a result."""
        rng = np.random.default_rng(1)
        values = np.cumsum(rng.random((6, 5, 7), "float32"), axis=0)
        values[rng.random(values.shape) < 0.2] = np.nan
        keywords = {"step_seconds": HOUR * np.arange(1, 7), "reset_every_s": 3 * HOUR, "kind": kind}
        expected = np.moveaxis(deaccumulated(values, **keywords), 0, axis)
        monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", block_elements)
        for order in "CF":
            target = np.array(np.moveaxis(values, 0, axis), order=order)
            deaccumulate_inplace(target, axis=axis, **keywords)
            np.testing.assert_array_equal(target, expected)
        padded = np.full([2 * n for n in expected.shape], -1, "float32")
        view = padded[::2, ::-2, 1::2]
        view[...] = np.moveaxis(values, 0, axis)
        deaccumulate_inplace(view, axis=axis, **keywords)
        np.testing.assert_array_equal(view, expected)
        view[...] = -1
        assert (padded == -1).all()

    def test_equals_the_true_rates_of_mixed_three_and_six_hour_buckets(self):
        """Leads at 3 h and 6 h of each bucket, then at 6 h alone, as GEFS has them, are exact."""
        steps = HOUR * np.array([0, 3, 6, 9, 12, 18, 24])
        rates = np.array([np.nan, 1, 2, 3, 4, 5, 6], "float32")
        values = HOUR * np.array([0, 3, 9, 9, 21, 30, 36], "float32")
        deaccumulate_inplace(values, step_seconds=steps, axis=0, reset_every_s=6 * HOUR)
        np.testing.assert_array_equal(values, rates)

    @pytest.mark.parametrize("at_zero", [0.0, 5.0, np.nan])
    def test_lead_zero_has_no_mean(self, at_zero):
        """Lead 0 becomes NaN whatever it holds, and the first lead counts from 0."""
        for reset in (None, HOUR):
            values = np.array([at_zero, HOUR], "float32")
            counts = deaccumulate_inplace(
                values, step_seconds=[0, HOUR], axis=0, reset_every_s=reset
            )
            np.testing.assert_array_equal(values, [np.nan, 1])
            assert counts == DeaccumulationCounts()

    def test_a_reset_between_steps_leaves_the_step_unknown(self):
        """Where the window begins after the previous step the result is NaN, and is counted."""
        values = np.array([[5, 5], [4, np.nan], [6, 6]], "float32") * HOUR
        counts = deaccumulate_inplace(
            values, step_seconds=HOUR * np.array([5, 8, 9]), axis=0, reset_every_s=6 * HOUR
        )
        np.testing.assert_array_equal(values, [[1, 1], [np.nan, np.nan], [2, 2]])
        assert counts == DeaccumulationCounts(uncovered=1)

    def test_a_time_series_may_begin_before_its_epoch(self):
        """Resets fall on multiples of the interval before second 0, too, and at 0 itself."""
        steps = HOUR * np.arange(-3, 3)
        values = HOUR * np.array([3, 1, 2, 3, 1, 2], "float32")
        deaccumulate_inplace(values, step_seconds=steps, axis=0, reset_every_s=3 * HOUR)
        np.testing.assert_array_equal(values, np.ones(6))

    def test_a_margin_of_a_window_makes_regions_agree(self):
        """A region with one window of margin gives what the whole series gives, gaps and all."""
        rng = np.random.default_rng(2)
        steps = HOUR * np.arange(1, 49)
        hourly = rng.random((8, 6, 20))
        series = np.cumsum(hourly, axis=1).reshape(48, 20)
        series[rng.random(series.shape) < 0.3] = np.nan
        whole = deaccumulated(series, step_seconds=steps, reset_every_s=6 * HOUR)
        for begin in range(6, 42):
            part = slice(begin - 6, begin + 6)
            region = deaccumulated(series[part], step_seconds=steps[part], reset_every_s=6 * HOUR)
            np.testing.assert_array_equal(region[6:], whole[begin : begin + 6])

    def test_an_unknown_start_makes_the_first_value_a_base_only(self):
        """With windows from minus infinity no result rests on a value that nothing precedes."""
        values = np.array([[100, np.nan], [104, 104], [110, 110]], "float32")
        starts = np.full(3, -np.inf)
        deaccumulate_inplace(values, step_seconds=[7, 9, 11], axis=0, window_start_s=starts)
        np.testing.assert_array_equal(values, [[np.nan, np.nan], [2, np.nan], [3, 3]])

    def test_clamps_noise_and_counts_decreases(self):
        """Decreases within the tolerance become 0, larger ones NaN, and both are counted."""
        values = np.array([[10, 10, 0], [9, 2, 8], [20, 20, np.nan]], "float32")
        counts = deaccumulate_inplace(
            values, step_seconds=[1, 2, 3], axis=0, non_negative_within=1.0
        )
        np.testing.assert_array_equal(values, [[10, 10, 0], [0, np.nan, 8], [11, 18, np.nan]])
        assert counts == DeaccumulationCounts(clamped=1, invalid=1)

    @unhurried
    @given(windowed=windowed_steps(), data=st.data())
    def test_clamping_accounts_for_every_negative_result(self, windowed, data):
        """Results differ from the signed ones only where those are negative, and counts say so."""
        steps, starts = windowed
        amount = st.integers(-(10**5), 10**5) | st.just(np.nan)
        values = data.draw(
            hnp.arrays("float64", (steps.size, 3), elements=amount, fill=st.nothing())
        )
        keywords = {"step_seconds": steps, "window_start_s": starts}
        signed = deaccumulated(values, **keywords)
        counts = deaccumulate_inplace(values, axis=0, non_negative_within=3.0, **keywords)
        expected = np.where(signed < 0, 0, signed)
        np.testing.assert_array_equal(values, np.where(signed < -3, np.nan, expected))
        assert counts.invalid == np.count_nonzero(signed < -3)
        assert counts.clamped == np.count_nonzero(signed < 0) - counts.invalid

    @pytest.mark.parametrize("kind", ["accumulation", "average"])
    @unhurried
    @given(windowed=windowed_steps(), seed=st.integers(0, 2**32 - 1))
    def test_what_is_rounded_to_known_steps_is_never_missing(self, kind, windowed, seed):
        """Whatever values are missing, results of true ones are 0 or more, and off by the steps."""
        times, starts = windowed
        rng = np.random.default_rng(seed)
        shape = (2, times.size, 5)
        length = np.where(times > starts, times - starts, 1)[:, None]
        rates = rng.gamma(0.2, 10, shape)
        true = np.zeros(shape)
        for n, (time, start) in enumerate(zip(times, starts, strict=True)):
            before = 0 if n == 0 or starts[n - 1] != start else true[:, n - 1]
            since = max(start, times[n - 1]) if n else start
            true[:, n] = before + rates[:, n] * (time - since)
        if kind == "average":
            true /= length
        steps = 10.0 ** rng.integers(-2, 3, (2, times.size, 1))
        values = np.rint(true / steps) * steps
        values[rng.random(shape) < 0.2] = np.nan
        exact = np.where(np.isnan(values), np.nan, true)
        keywords = {"step_seconds": times, "window_start_s": starts, "kind": kind, "axis": 1}
        expected = deaccumulated(exact, **keywords)
        counts = deaccumulate_inplace(values, non_negative_within=0.0, resolution=steps, **keywords)
        assert counts.invalid == 0
        np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
        assert not (values < 0).any()

    def test_the_resolution_of_a_place_counts_there_alone(self):
        """However an array is divided into blocks, each cell has its own tolerance."""
        values = np.zeros((2, 3, 200_000), "float32")
        values[:, 0], values[:, 1] = 10, 9
        resolution = np.zeros((2, 3, 1))
        resolution[1, 1] = 1.5
        counts = deaccumulate_inplace(
            values,
            step_seconds=[1, 2, 3],
            axis=1,
            non_negative_within=0.0,
            resolution=resolution,
        )
        assert np.isnan(values[0, 1:]).all()
        assert (values[1, 1] == 0).all()
        assert counts.clamped == 200_000

    @pytest.mark.shared_data
    @pytest.mark.skipif("GRIDMILL_TEST_DATA" not in os.environ, reason="no real files")
    def test_real_totals_decrease_by_packing_noise_alone(self):
        """Real totals that packing makes decrease by 0.001 mm are clamped, and none is invalid."""
        totals = np.zeros((3, 49_400), "float32")
        totals[1:] = [real_precipitation(lead) for lead in ("P003", "P006")]
        rates = totals.copy()
        counts = deaccumulate_inplace(
            rates, step_seconds=[0, 10_800, 21_600], axis=0, non_negative_within=1e-6
        )
        decreases = np.count_nonzero(totals[2] < totals[1])
        assert counts == DeaccumulationCounts(clamped=decreases)
        assert decreases == 1081
        assert np.isnan(rates[0]).all()
        np.testing.assert_allclose(
            rates[1:].sum(axis=0) * 10_800, np.maximum(totals[2], totals[1]), rtol=1e-6, atol=1e-5
        )

    def test_a_constant_average_is_returned_exactly(self):
        """Equal averages are their own means to the last bit, in float32."""
        values = np.full((6, 2), 273.15, "float32")
        steps = [900, 1800, 5400, 9000, 12600, 20000]
        result = deaccumulated(values, step_seconds=steps, kind="average")
        np.testing.assert_array_equal(result, values)

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4)])
    def test_accepts_empty_arrays(self, shape):
        """An array without positions or cells passes through."""
        steps = np.arange(1, shape[0] + 1)
        counts = deaccumulate_inplace(np.empty(shape), step_seconds=steps, axis=0)
        assert counts == DeaccumulationCounts()

    def test_counts_add_up_and_pickle(self):
        """Counts of parts add to those of the whole, and travel between processes."""
        one = DeaccumulationCounts(clamped=1, invalid=2, uncovered=3)
        assert one + one == DeaccumulationCounts(clamped=2, invalid=4, uncovered=6)
        assert pickle.loads(pickle.dumps(one)) == one

    @pytest.mark.parametrize(
        ("keywords", "message"),
        [
            ({"step_seconds": [1, 2]}, r"shape \(2,\), but the axis has 3"),
            ({"step_seconds": [1, 3, 3]}, "strictly increasing"),
            ({"step_seconds": [1, np.nan, 3]}, "finite"),
            ({"step_seconds": [-1, 0, 1]}, r"step at -1.0 s begins at 0.0 s"),
            ({"axis": 2}, "axis 2 is out of bounds"),
            ({"reset_every_s": 0}, "reset_every_s is 0"),
            ({"reset_every_s": 1, "window_start_s": [0, 0, 0]}, "only one"),
            ({"window_start_s": [0, 0]}, r"shape \(2,\), but there are 3 steps"),
            ({"window_start_s": [0, 0, np.nan]}, "begins at nan"),
            ({"window_start_s": [0, 0.5, 2]}, "from 0.0 to 1.0 s"),
            ({"window_start_s": [-np.inf] * 3, "kind": "average"}, "finite starts"),
            ({"kind": "sum"}, "'sum'"),
            ({"non_negative_within": -0.1}, "non_negative_within is -0.1"),
        ],
    )
    def test_rejects_what_has_no_meaning(self, keywords, message):
        """Each contradiction is refused with the value that caused it, before any change."""
        values = np.ones((3, 2))
        with pytest.raises(ValueError, match=message):
            deaccumulate_inplace(values, **{"step_seconds": [1, 2, 3], "axis": 0} | keywords)
        assert (values == 1).all()

    def test_rejects_timedeltas_and_integers(self):
        """Times with a unit of their own, and values that cannot be NaN, are refused."""
        leads = np.array([1, 2], "timedelta64[h]")
        with pytest.raises(TypeError, match="timedelta64"):
            deaccumulate_inplace(np.ones(2), step_seconds=leads, axis=0)
        with pytest.raises(TypeError, match="int64"):
            deaccumulate_inplace(np.ones(2, "int64"), step_seconds=[1, 2], axis=0)


class TestDeaccumulationFootprint:
    @unhurried
    @given(windowed=windowed_steps(), data=st.data())
    def test_is_where_missing_steps_change_nothing(self, windowed, data):
        """Where it is True a result is the same as if every step had been available."""
        steps, starts = windowed
        available = data.draw(hnp.arrays(bool, (2, steps.size)))
        keywords = {"step_seconds": steps, "window_start_s": starts, "axis": 1}
        values = np.random.default_rng(3).random((2, steps.size))
        footprint = deaccumulation_footprint(available, **keywords)
        complete = deaccumulated(values, **keywords)
        partial = deaccumulated(np.where(available, values, np.nan), **keywords)
        np.testing.assert_array_equal(partial[footprint], complete[footprint])
        longer = available & ~footprint
        assert (partial[longer] != complete[longer]).all()
        assert (available | ~footprint).all()

    def test_leaves_its_argument_alone(self):
        """The mask of available steps is not changed."""
        available = np.array([False, True])
        deaccumulation_footprint(available, step_seconds=[1, 2], axis=0)
        np.testing.assert_array_equal(available, [False, True])


def naive_interpolate(series, coordinate):
    """Return one series with its single gaps filled, by the definition."""
    result = series.copy()
    for i in range(1, len(series) - 1):
        if np.isnan(series[i]) and np.isfinite(series[i - 1]) and np.isfinite(series[i + 1]):
            result[i] = np.interp(
                coordinate[i], coordinate[i - 1 : i + 2 : 2], series[i - 1 : i + 2 : 2]
            )
    return result


@st.composite
def gappy_series(draw):
    """Draw values with NaN and infinities among them, steps first, and an irregular coordinate."""
    coordinate = np.cumsum(draw(st.lists(st.integers(1, 9), min_size=1, max_size=9)))
    elements = st.integers(-999, 999) | st.sampled_from([np.nan, np.nan, np.inf])
    shape = (coordinate.size, 3)
    values = draw(hnp.arrays("float64", shape, elements=elements, fill=st.nothing()))
    return values, coordinate


class TestInterpolateSingleGaps:
    @unhurried
    @given(gappy_series())
    def test_agrees_with_the_definition(self, case):
        """Single gaps between finite values are filled and counted, and nothing else changes."""
        values, coordinate = case
        expected = np.stack([naive_interpolate(series, coordinate) for series in values.T], axis=1)
        count = np.count_nonzero(np.isnan(values) & ~np.isnan(expected))
        assert interpolate_single_gaps_inplace(values, coordinate=coordinate, axis=0) == count
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-9)

    @unhurried
    @given(gappy_series())
    def test_is_idempotent(self, case):
        """A second pass finds nothing to fill: gaps do not shrink from their ends."""
        values, coordinate = case
        interpolate_single_gaps_inplace(values, coordinate=coordinate, axis=0)
        once = values.copy()
        assert interpolate_single_gaps_inplace(values, coordinate=coordinate, axis=0) == 0
        np.testing.assert_array_equal(values, once)

    @pytest.mark.parametrize("block_elements", [1, 4, 65_536])
    @pytest.mark.parametrize("axis", [0, 1, -1])
    def test_treats_any_axis_layout_and_block_alike(self, monkeypatch, axis, block_elements):
        """The place of the axis, the strides and the block size do not change a result."""
        rng = np.random.default_rng(4)
        values = rng.random((7, 5, 6), "float32")
        values[rng.random(values.shape) < 0.3] = np.nan
        coordinate = np.array([0, 1, 3, 4, 8, 9, 11])
        expected = values.copy()
        count = interpolate_single_gaps_inplace(expected, coordinate=coordinate, axis=0)
        monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", block_elements)
        for order in "CF":
            target = np.array(np.moveaxis(values, 0, axis), order=order)[..., ::-1]
            flipped = coordinate if axis != -1 else 11 - coordinate[::-1]
            filled = interpolate_single_gaps_inplace(target, coordinate=flipped, axis=axis)
            assert filled == count > 0
            result = np.moveaxis(target[..., ::-1], axis, 0)
            np.testing.assert_allclose(result, expected, rtol=1e-5)

    @pytest.mark.parametrize("shape", [(0, 3), (1, 2), (2, 2), (3, 0)])
    def test_accepts_arrays_too_short_for_a_gap(self, shape):
        """Fewer than three positions, or no cells, leave nothing to fill."""
        values = np.full(shape, np.nan)
        assert interpolate_single_gaps_inplace(values, coordinate=np.arange(shape[0]), axis=0) == 0

    def test_rejects_a_coordinate_out_of_order(self):
        """A coordinate that does not increase is refused by name."""
        with pytest.raises(ValueError, match="coordinate is"):
            interpolate_single_gaps_inplace(np.ones(3), coordinate=[0, 2, 1], axis=0)


class TestInterpolationFootprint:
    @unhurried
    @given(st.data())
    def test_is_where_missing_steps_change_nothing(self, data):
        """Where it is True a result is the same as if every step had been available."""
        size = data.draw(st.integers(1, 9))
        gaps = data.draw(hnp.arrays(bool, size))
        available = data.draw(hnp.arrays(bool, (2, size))) & ~gaps
        values = np.where(gaps, np.nan, np.random.default_rng(5).random((2, size)))
        footprint = interpolation_footprint(available, gaps=gaps, axis=1)
        partial = np.where(available, values, np.nan)
        for array in (values, partial):
            interpolate_single_gaps_inplace(array, coordinate=np.arange(size), axis=1)
        np.testing.assert_array_equal(partial[footprint], values[footprint])
        assert not np.isnan(partial[footprint]).any()
        assert (footprint | ~available).all()
