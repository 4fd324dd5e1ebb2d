"""How names are read by a pattern, and written."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources.listings.pattern import Pattern

GOES = "OR_ABI-L2-RRQPEF-M{mode:d}_G{satellite:02d}_s{start:%Y%j%H%M%S%f}_e{}_c{created}.nc"
NAME = "OR_ABI-L2-RRQPEF-M6_G19_s20250011200204_e20250011209512_c20250011209584.nc"
TENTH = timedelta(milliseconds=100)


def test_a_name_of_goes_is_read():
    """Date with day of year and tenths, whole numbers, text, and what nobody needs."""
    assert Pattern(GOES).fields_of(NAME) == {
        "mode": 6,
        "satellite": 19,
        "start": datetime(2025, 1, 1, 12, 0, 20, 400_000),
        "created": "20250011209584",
    }


@pytest.mark.parametrize(
    "name",
    [
        NAME + ".md5",
        "x" + NAME,
        NAME.replace("G19", "G9"),
        NAME.replace("s2025001", "s2025999"),
        NAME.replace("M6", "M"),
        NAME.replace("_e", "/_e"),
        NAME.replace("s20250011200204", "s٢٠٢٥0011200204"),
    ],
)
def test_another_name_is_no_name_of_the_pattern(name):
    """Longer, shorter, other widths, no date, a folder, other digits: None, and no error."""
    assert Pattern(GOES).fields_of(name) is None


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.integers(0, 10**9),
    st.text("abcXYZ0123456789-.", min_size=1),
)
def test_what_is_written_is_read_again(start, number, text):
    """Whatever the fields hold."""
    pattern = Pattern("a.b+{start:%Y%m%dT%H%M%S.%f}_{number:d}_{text}.nc")
    fields = {"start": start, "number": number, "text": text}
    assert pattern.fields_of(pattern.with_fields(fields)) == fields


def test_what_is_not_known_is_a_star():
    """Of the place of a file that is missed."""
    name = Pattern(GOES).with_fields({"satellite": 8})
    assert name == "OR_ABI-L2-RRQPEF-M*_G08_s*_e*_c*.nc"


def test_a_field_given_twice_is_the_same_twice():
    """As in folders that repeat the day."""
    pattern = Pattern("{day:%Y%m%d}_{day}.nc")
    assert pattern.fields_of("20250101_20250101.nc") == {"day": datetime(2025, 1, 1)}
    assert pattern.fields_of("20250101_20250102.nc") is None


@pytest.mark.parametrize(
    "text", ["{a:x}", "{a", "a}", "{1a}", "{a b}", "{a:%Q}", "{a:%}", "{a:3d}"]
)
def test_what_is_no_pattern_is_refused(text):
    """With what would be one."""
    with pytest.raises(ValueError, match=r"form|brace|no name"):
        Pattern(text)


def test_an_unknown_field_is_refused():
    """Named with those that there are."""
    with pytest.raises(ValueError, match=r"no field 'stop'.*'start'"):
        Pattern(GOES).with_fields({"stop": 1})
