"""The third opinion on two GRIB decoders that differ: the specification's formulas."""

import eccodes
import numpy as np
import pytest

from grib_messages import encode
from spec_decoder import by_formula, cause, is_same

VALUES = np.random.default_rng(1).normal(280, 15, (31, 16)).round(1)
WITH_MISSING = np.where(VALUES > 290, np.nan, VALUES)


@pytest.mark.parametrize("values", [VALUES, WITH_MISSING], ids=["whole", "missing"])
@pytest.mark.parametrize(
    "packing",
    ["simple", "complex", "complex_spatial_differencing", "ccsds", "jpeg", "png", "ieee"],
)
def test_the_formulas_give_what_eccodes_gives(packing, values):
    """Of every packing, with and without a bitmap: an opinion must first be right itself."""
    try:
        message = encode(values, packing=f"grid_{packing}")
    except eccodes.CodesInternalError:
        pytest.skip(f"this ecCodes does not write {packing}")
    handle = eccodes.codes_new_from_message(message)
    eccodes.codes_set(handle, "missingValue", float("nan"))
    expected = eccodes.codes_get_values(handle).astype(np.float32)
    eccodes.codes_release(handle)
    found = by_formula(message)[1].astype(np.float32)
    assert is_same(np.sort(found), np.sort(expected))


def test_it_says_who_is_right():
    """It takes no side: what only the other gives is named as unexplained."""
    message = encode(VALUES)
    right = np.sort(by_formula(message)[1].astype(np.float32))
    assert cause(message, right, right + 1).startswith("ours is right")
    assert cause(message, right + 1, right) == "unexplained: theirs is right"
    assert cause(message, right + 1, right + 2).startswith("unexplained: neither")
