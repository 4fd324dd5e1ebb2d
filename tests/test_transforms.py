"""What the in-place transforms guarantee, as properties and against naive references."""

from __future__ import annotations

import doctest

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.bitround import BitRound

from gridmill import transforms
from gridmill.transforms import round_mantissa_inplace

unhurried = settings(max_examples=60, deadline=None)

MANTISSA_BITS = {"float16": 10, "float32": 23, "float64": 52}


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


def test_examples_in_docstrings_hold():
    """Every example in the module's docstrings gives the output that it shows."""
    results = doctest.testmod(transforms)
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
    @pytest.mark.parametrize(
        "view",
        [
            lambda a: a,
            lambda a: a.T,
            lambda a: a[::2, ::-3],
            lambda a: a[:, 1:2],
            lambda a: np.moveaxis(a[1:], 0, 1),
            lambda a: a.byteswap().view(a.dtype.newbyteorder()),
        ],
        ids=["contiguous", "transposed", "strided", "column", "moved", "byte-swapped"],
    )
    def test_rounds_views_as_it_rounds_copies(self, monkeypatch, view, block_elements):
        """A view of any layout is rounded in place and nothing outside it is touched."""
        monkeypatch.setattr(transforms, "_BLOCK_ELEMENTS", block_elements)
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
