"""What is packed is what readers get, to half a step, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gridmill.authoring.transforms.casting import cast_into
from gridmill.authoring.transforms.packing import cannot_be_packed, pack, unpack
from gridmill.model.variables import PACKED, Encoding, whole_range


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """Give any encoding that packs."""
    dtype = draw(st.sampled_from(PACKED))
    return Encoding(
        chunks=(1,),
        dtype=dtype,
        fill_value=draw(st.integers(*whole_range(dtype))),
        scale_factor=draw(st.sampled_from([None, 0.01, 1.0, -2.5, 1e-6, 3])),
        add_offset=draw(st.sampled_from([0.0, 273.15, -1e5, 7])),
    )


def read_by_xarray(stored: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Decode what is stored as readers do."""
    kept = {"scale_factor", "add_offset", "_FillValue"}
    attrs = {key: value for key, value in encoding.to_xarray().items() if key in kept}
    return xr.conventions.decode_cf_variable("a", xr.Variable("x", stored, attrs)).values


@given(encodings(), st.lists(st.integers(-(2**31), 2**32 - 1), min_size=1, max_size=6))
def test_whatever_is_stored_is_packed_as_it_was(encoding, numbers):
    """In the precision in which values are worked on, so that published values merge unchanged."""
    low, high = whole_range(encoding.dtype)
    stored = np.clip(np.array(numbers), low, high).astype(encoding.dtype)
    np.testing.assert_array_equal(unpack(stored, encoding), read_by_xarray(stored, encoding))
    found, refused = pack(unpack(stored, encoding).astype(encoding.value_dtype), encoding)
    assert refused is None
    assert found.dtype == stored.dtype
    np.testing.assert_array_equal(found, stored)


@given(encodings(), st.lists(st.floats(width=32), min_size=1, max_size=6))
def test_readers_get_what_was_packed_to_half_a_step(encoding, values):
    """NaN stays NaN; what is beyond the range, or would be the fill value, is refused."""
    given = np.array(values, encoding.value_dtype)
    stored, refused = pack(given, encoding)
    refused = np.zeros(given.shape, bool) if refused is None else refused
    read = read_by_xarray(stored, encoding)
    assert np.isnan(read[np.isnan(given) | refused]).all()
    kept = ~np.isnan(given) & ~refused
    half = abs(encoding.scale) / 2 * (1 + 1e-6)
    np.testing.assert_allclose(read[kept], given[kept].astype("float64"), rtol=1e-12, atol=half)
    low, high = (end * encoding.scale + encoding.offset for end in whole_range(encoding.dtype))
    low, high = min(low, high), max(low, high)
    missing = encoding.fill * encoding.scale + encoding.offset
    for value in given[refused].astype("float64"):
        is_beyond = not low - half <= value <= high + half or not low + half < value < high - half
        assert is_beyond or abs(value - missing) <= half


def test_a_refusal_names_value_rule_and_remedy():
    """As of any other cast."""
    encoding = Encoding(
        chunks=(1,), dtype="uint8", fill_value=255, scale_factor=0.5, add_offset=10.0
    )
    _, refused = pack(np.array([10.0, 137.5]), encoding)
    assert refused is not None
    assert refused.tolist() == [False, True]
    told = cannot_be_packed(np.float64(137.5), encoding, "rain")
    assert told == (
        "rain: 137.5 cannot be packed into uint8 with scale_factor 0.5 and add_offset 10.0, which "
        "takes 10 to 137, 255 being missing; declare another scale_factor, add_offset or dtype"
    )


def test_values_are_packed_block_by_block_whatever_their_layout():
    """A slice of a slab is no block of memory, and one is larger than a block."""
    encoding = Encoding(chunks=(1,), dtype="int16", fill_value=-1, scale_factor=0.1)
    values = np.arange(2 * 300 * 400, dtype="float32").reshape(2, 300, 400)[:, ::3, ::-1] / 100
    stored, refused = pack(values, encoding)
    assert refused is None
    assert stored.shape == values.shape
    np.testing.assert_array_equal(stored, np.rint(values.astype("float64") / 0.1))
    values = np.array(values)
    values[1, 2, 3] = 1e9
    _, refused = pack(values, encoding)
    assert refused is not None
    assert np.argwhere(refused).tolist() == [[1, 2, 3]]


# -- whole numbers that are not packed ------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_becomes_what_says_missing(dtype):
    """And nothing else does."""
    out = np.empty(3, "uint8")
    cast_into(np.array([1, np.nan, 3], dtype), out, "a", missing=255)
    assert out.tolist() == [1, 255, 3]
    with pytest.raises(ValueError, match=r"a: 300.0 cannot be stored as uint8"):
        cast_into(np.array([300, np.nan, 3], dtype), out, "a", missing=255)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_nan_is_refused_where_nothing_says_missing(dtype):
    """It would become 0; the next step is named."""
    with pytest.raises(ValueError, match="nothing says missing; declare a fill_value that cannot"):
        cast_into(np.array([1, np.nan]), np.empty(2, dtype), "a")
