"""What an encoding cannot hold is refused when the dataset is defined, and named."""

from __future__ import annotations

import re
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gridmill.authoring.encoding.survival import check_new
from gridmill.authoring.transforms.casting import as_array, cast_into
from gridmill.model.variables import Coordinate, Encoding
from tiny import SHAPE, TinyTemplate, time_coordinate, tiny_var, until

UNITS = ("days", "hours", "minutes", "seconds")
DTYPES = ("int8", "int16", "int32", "int64", "float32", "float64")
STEPS = {"10min": 600, "h": 3600, "6h": 6 * 3600, "D": 86400}


def template(**changes) -> TinyTemplate:
    """Return the declaration of a dataset with changes."""
    return type("Changed", (TinyTemplate,), changes)()


def timed(units: str, dtype: str, **changes) -> TinyTemplate:
    """Return a dataset whose times are stored in these units."""
    time = time_coordinate(units=units, dtype=dtype)
    return template(coords=(time, Coordinate(name="y"), Coordinate(name="x")), **changes)


@given(
    st.sampled_from(UNITS),
    st.sampled_from(DTYPES),
    st.sampled_from(sorted(STEPS)),
    st.sampled_from(["1970-01-01", "2019-12-31T12:00", "2020-01-01"]),
    st.integers(1, 400),
)
def test_what_is_accepted_is_read_as_it_is_and_nothing_else_is_refused(unit, dtype, step, since, n):
    """By xarray itself, for every dtype, unit and step."""
    units = f"{unit} since {since}"
    config = timed(units, dtype, append_dim_frequency=step)
    labels = pd.date_range("2020-01-01", periods=n, freq=step)
    end = labels[-1] + pd.Timedelta(seconds=1)
    if np.dtype(dtype).kind == "f":
        # What xarray makes of fractions is judged by xarray.
        with suppress(ValueError):
            assert_read_as_it_is(config.get_template(end), labels, dtype)
        return
    if not survives(labels, units, dtype):
        with pytest.raises(ValueError, match=r"'time': 2020.* cannot be stored as"):
            config.get_template(end)
        return
    assert_read_as_it_is(config.get_template(end), labels, dtype)


def assert_read_as_it_is(ds: xr.Dataset, labels: pd.DatetimeIndex, dtype: str) -> None:
    """Store times as xarray does, and read them."""
    stored = xr.conventions.encode_cf_variable(ds["time"].variable)
    decoded = xr.conventions.decode_cf_variable("time", stored.astype(dtype))
    assert list(decoded.values) == list(labels.values)


def survives(labels: pd.DatetimeIndex, units: str, dtype: str) -> bool:
    """Say by whole numbers whether labels can be stored."""
    unit, _, since = units.partition(" since ")
    seconds = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}[unit]
    offsets = ((labels - pd.Timestamp(since)) // pd.Timedelta(seconds=1)).to_numpy()
    values, rest = np.divmod(offsets, seconds)
    info = np.iinfo(dtype)
    return bool((rest == 0).all() and (values >= info.min).all() and (values <= info.max).all())


@pytest.mark.parametrize(
    ("units", "dtype", "frequency", "start"),
    [
        ("seconds since 1970-01-01", "int32", "D", "2020-01-01"),
        ("hours since 2020-01-01", "int16", "D", "2020-01-01"),
    ],
)
def test_an_archive_that_could_not_go_on_one_day_is_not_made(units, dtype, frequency, start):
    """Its last label at its capacity is tried before its first is stored."""
    config = timed(units, dtype, append_dim_frequency=frequency, append_dim_start=start)
    config.append_dim_capacity = 60 * 366
    config.get_template(pd.Timestamp(start) + pd.Timedelta(days=2))
    with pytest.raises(
        ValueError, match=r"coordinate 'time': 20\d\d.*cannot be stored as .*may grow"
    ):
        check_new(config)


def test_the_built_in_encoding_lasts():
    """Hours in int64 outlast any archive."""
    check_new(TinyTemplate())


@pytest.mark.parametrize(
    ("dtype", "labels", "named"),
    [
        ("int8", [0.0, 130.0], "130.0"),
        ("int32", [0.5, 1.0], "0.5"),
        ("float32", [0.0, 1e9 + 1], None),
    ],
)
def test_other_coordinates_survive_too(dtype, labels, named):
    """Latitudes in integers and leads beyond a byte are other latitudes and leads."""

    class Changed(TinyTemplate):
        coords = (time_coordinate(), Coordinate(name="y", dtype=dtype), Coordinate(name="x"))

        def dimension_coordinates(self):
            return {"y": np.array(labels), "x": np.arange(3.0)}

    if named is None:
        Changed().get_template("2020-01-02")
        return
    with pytest.raises(ValueError, match=f"coordinate 'y': {named} cannot be stored as {dtype}"):
        Changed().get_template("2020-01-02")


def test_leads_survive_their_dtype():
    """130 hours in int8 would be read as -126."""

    class Changed(TinyTemplate):
        coords = (
            time_coordinate(),
            Coordinate(name="y", dtype="int8", units="hours"),
            Coordinate(name="x"),
        )

        def dimension_coordinates(self):
            return {"y": pd.to_timedelta([0, 130], unit="h"), "x": np.arange(3.0)}

    with pytest.raises(ValueError, match=r"coordinate 'y': .* cannot be stored as int8 in 'hours'"):
        Changed().get_template("2020-01-02")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 1, 2], "2020-01-01 01:00:00 comes after 2020-01-01 01:00:00, at position 2"),
        ([0, 2, 1], "2020-01-01 01:00:00 comes after 2020-01-01 02:00:00, at position 2"),
        ([2, 1, 0], "2020-01-01 01:00:00 comes after 2020-01-01 02:00:00, at position 1"),
        ([0, None, 2], "NaT comes after 2020-01-01 00:00:00, at position 1"),
        ([None, 1], "NaT comes first, at position 0"),
    ],
)
def test_labels_of_the_append_dim_strictly_increase(labels, said):
    """Of one that is there twice nobody knows which file fills it."""
    index = pd.DatetimeIndex(
        [
            pd.NaT if n is None else pd.Timestamp("2020-01-01") + pd.Timedelta(hours=n)
            for n in labels
        ]
    )
    config = template(append_dim_frequency=None, append_dim_coordinates=lambda self, end: index)
    with pytest.raises(ValueError, match=re.escape(f"time: {said}: labels must strictly increase")):
        config.get_template(until(9))


def test_a_dim_has_each_label_once():
    """A source file that names it would fill the first one for both."""

    class Twice(TinyTemplate):
        def dimension_coordinates(self):
            return {"y": np.array([1.0, 1.0]), "x": np.arange(3.0)}

    with pytest.raises(ValueError, match=r"y has the label 1\.0 twice"):
        check_new(Twice())


def test_each_place_of_a_dim_has_a_label():
    """NaN is none: nobody could ask for it, and no file be compared with it."""

    class Holed(TinyTemplate):
        def dimension_coordinates(self):
            return {"y": np.array([1.0, np.nan]), "x": np.arange(3.0)}

    with pytest.raises(ValueError, match="y has no label at position 1"):
        check_new(Holed())


def test_a_coordinate_has_the_calendar_of_its_template():
    """Labels of one would be published on the axis of another."""
    time = time_coordinate(calendar="360_day")
    with pytest.raises(
        ValueError, match="calendar '360_day', and the template 'proleptic_gregorian'"
    ):
        check_new(template(coords=(time, Coordinate(name="y"), Coordinate(name="x"))))


@pytest.mark.parametrize(
    "value",
    [float("nan"), np.float32("inf"), [1.0, float("nan")], {1}, np.array([np.nan]), "\ud800"],
)
def test_attributes_are_strict_json(value):
    """Other readers cannot open an archive with NaN in its metadata; the path is named."""
    attributes = {**TinyTemplate.dataset_attributes, "valid": {"range": value}}
    with pytest.raises(
        ValueError, match=r"dataset_attributes\['valid'\]\['range'\].*no strict JSON"
    ):
        check_new(template(dataset_attributes=attributes))


def test_attributes_are_named_by_text():
    """A number becomes text in JSON: the archive would differ from its template at once."""
    attributes = {**TinyTemplate.dataset_attributes, "levels": {1: "low"}}
    with pytest.raises(ValueError, match=r"dataset_attributes\['levels'\] has the key 1, .*'1'"):
        check_new(template(dataset_attributes=attributes))


def test_what_numpy_holds_and_json_can_is_taken():
    """A number from an array is a number."""
    attributes = {**TinyTemplate.dataset_attributes, "n": np.int64(3), "r": np.array([1.5, 2.0])}
    check_new(template(dataset_attributes=attributes))


@pytest.mark.parametrize("name", ["scale_factor", "add_offset", "_FillValue", "missing_value"])
def test_attributes_do_not_say_how_values_are_decoded(name):
    """Readers would decode what gridmill did not encode."""
    var = tiny_var("a", attrs={"long_name": "a", "units": "1", name: 2.0})
    with pytest.raises(ValueError, match=f"attrs of variable 'a' have .*{name}"):
        check_new(template(data_vars=(var,)))


def test_a_fill_value_is_no_real_value():
    """With 0 every real zero reads as missing."""
    encoding = Encoding(chunks=(2, *SHAPE), shards=(4, *SHAPE), fill_value=0.0)
    with pytest.raises(ValueError, match="every real zero as missing"):
        check_new(template(data_vars=(tiny_var("a", encoding=encoding),)))


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32"])
def test_what_a_reader_misses_of_a_time_is_no_date(dtype):
    """Of int64 and of floating point something is read as no time; no leads are asked that."""
    lead = Coordinate(name="lead", dims=("y",), dtype="int16", units="hours")
    others = (Coordinate(name="y"), Coordinate(name="x"), lead)
    time = time_coordinate(dtype=dtype, units="hours since 2020-01-01")
    with pytest.raises(ValueError, match=f"'time': no number of dtype {dtype} is read as no time"):
        check_new(template(coords=(time, *others)))
    check_new(template(coords=(time_coordinate(dtype="float64"), *others)))


def stored_as(**changes) -> Encoding:
    """Return how a variable is stored, with changes."""
    return Encoding(chunks=(2, *SHAPE), shards=(4, *SHAPE), **changes)


PACKING = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 273.15, "fill_value": -32768}


@pytest.mark.parametrize(
    ("encoding", "changes"),
    [
        (stored_as(**PACKING), {}),
        (stored_as(**PACKING), {"valid_range": (200.0, 330.0)}),
        (stored_as(dtype="uint8", fill_value=255), {"valid_until": until(8)}),
        (stored_as(dtype="uint8", fill_value=0), {"valid_range": (1, 20)}),
        (stored_as(dtype="uint8"), {}),
        (stored_as(dtype="bool"), {}),
        (stored_as(fill_value=-9999.0), {}),
    ],
)
def test_packing_and_missing_values_that_cannot_occur_are_taken(encoding, changes):
    """They belong to the encoding, and no attribute of an author's says the same."""
    check_new(template(data_vars=(tiny_var("a", encoding=encoding, **changes),)))


@pytest.mark.parametrize(
    ("encoding", "changes", "why"),
    [
        (stored_as(dtype="uint8", fill_value=0), {}, "fill_value 0: readers .* every real zero"),
        (
            stored_as(dtype="uint8", fill_value=9),
            {"valid_range": (1, 20)},
            "fill_value 9: readers .* what valid_range says can occur",
        ),
        (
            stored_as(dtype="int16"),
            {"valid_until": until(8)},
            "ends at .* of int16 nothing says missing: readers would see 0",
        ),
        (
            stored_as(dtype="int16"),
            {"valid_from": until(8)},
            "begins at .* of int16 nothing says missing: readers would see 0",
        ),
        (
            stored_as(**PACKING),
            {"valid_range": (0.0, 1000.0)},
            "valid_range of 'a': 1000.0 cannot be packed into int16",
        ),
        (
            stored_as(**{**PACKING, "fill_value": 0}),
            {"valid_range": (200.0, 330.0)},
            "fill_value 0, which is 273.15 unpacked",
        ),
    ],
)
def test_a_missing_value_that_can_occur_is_refused(encoding, changes, why):
    """Readers could not tell it from a value."""
    with pytest.raises(ValueError, match=why):
        check_new(template(data_vars=(tiny_var("a", encoding=encoding, **changes),)))


# -- casts --------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=5),
    st.sampled_from(["int8", "uint8", "int16", "int64", "bool"]),
)
def test_a_cast_into_whole_numbers_keeps_them_or_is_refused(values, dtype):
    """NaN, 300 or 273.9 become no other number."""
    found = np.array(values, "float32")
    if not all(is_held(float(value), dtype) for value in found):
        with pytest.raises(ValueError, match="cannot be stored as"):
            cast_into(found, np.empty(found.shape, dtype), "a")
        return
    out = np.empty(found.shape, dtype)
    cast_into(found, out, "a")
    np.testing.assert_array_equal(out.astype("float64"), found)


def is_held(value: float, dtype: str) -> bool:
    """Say by Python's own numbers whether a dtype has a value."""
    if not value.is_integer():
        return False
    info = np.iinfo(dtype) if dtype != "bool" else None
    low, high = (0, 1) if info is None else (info.min, info.max)
    return low <= int(value) <= high


@given(st.lists(st.floats(), min_size=1, max_size=40), st.sampled_from(["float32", "float16"]))
def test_a_cast_to_less_precision_never_makes_infinity(values, dtype):
    """To be rounded is what the author asked for; to become infinite is not."""
    found, out = np.array(values), np.empty(len(values), dtype)
    with np.errstate(over="ignore"):
        expected = found.astype(dtype)
    became = np.isinf(expected) & np.isfinite(found)
    if became.any():
        with pytest.raises(ValueError, match=f"cannot be stored as {dtype}, which ends at"):
            cast_into(found, out, "a")
        return
    cast_into(found, out, "a")
    np.testing.assert_array_equal(out, expected)


def test_a_cast_of_a_complex_number_keeps_it_or_is_refused():
    """Its imaginary part is not dropped."""
    out = np.empty(2, "float32")
    cast_into(np.array([1 + 0j, np.nan]), out, "a")
    np.testing.assert_array_equal(out, [1, np.nan])
    for dtype in ("float32", "int16"):
        with pytest.raises(ValueError, match=r"a: \(1\+2j\) cannot be stored as .* no imaginary"):
            cast_into(np.array([1 + 2j, 0]), np.empty(2, dtype), "a")


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", "float32"), ("int16", "float64"), ("bool", "float64")]
)
def test_what_is_masked_is_missing(dtype, expected):
    """As netCDF4 gives it: what lies below the mask is no value."""
    masked = np.ma.masked_array(np.array([1, 0], dtype), mask=[False, True])
    found = as_array(masked, "a")
    assert type(found) is np.ndarray
    assert found.dtype == expected
    np.testing.assert_array_equal(found, [1, np.nan])
    assert as_array(masked[:1], "a").dtype == dtype


@pytest.mark.parametrize(
    "found", [np.array([3], "m8[h]"), np.array([3], "M8[s]"), np.array(["3"]), np.array([None, 1])]
)
def test_what_a_reader_gives_is_numbers(found):
    """Three hours are not 3, which would be stored without a unit."""
    with pytest.raises(ValueError, match=r"a: read_data.. returns .*, and only numbers are stored"):
        as_array(found, "a")


def test_a_coordinate_along_the_append_dim_is_checked_as_it_grows():
    """What was looked at is not looked at again; what is new is."""

    class Growing(TinyTemplate):
        coords = (*TinyTemplate.coords, Coordinate(name="age", dtype="int8", dims=("time",)))

        def derive_coordinates(self, ds):
            return {"age": ("time", np.arange(float(ds.sizes["time"])))}

    config = Growing()
    config.get_template(until(100))
    config.get_template(until(128))
    with pytest.raises(ValueError, match=r"coordinate 'age': 128\.0 cannot be stored as int8"):
        config.get_template(until(129))
