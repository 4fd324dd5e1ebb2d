"""A file fills only the place that it says it is of; what is only told otherwise is converted."""

from __future__ import annotations

from datetime import datetime

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources.evidence.compare import NotAsPromised, compare
from gridmill.sources.evidence.expected import (
    ExpectedAxis,
    Promise,
    expected_axes,
    expected_times,
)
from gridmill.sources.evidence.observed import Axis, Evidence

LATS = np.array([60.0, 20.0, -40.0])
LONS = np.array([0.0, 90.0, 180.0, 270.0])
FIELD = np.arange(12.0).reshape(3, 4) ** 2 + 250
DAYS = pd.date_range("2020-01-01", periods=5, freq="D")
SINCE = "hours since 1900-01-01"


def template(labels=DAYS, **attrs) -> xr.Dataset:
    """Return a template's coordinates."""
    coords = {
        "time": ("time", labels, {"standard_name": "time", **attrs}),
        "latitude": ("latitude", LATS, {"units": "degrees_north"}),
        "longitude": ("longitude", LONS, {"units": "degrees_east"}),
    }
    return xr.Dataset(coords=coords)


def promise(at=1, *, ds=None, frequency="D", units="K", unchecked=(), **scalars) -> Promise:
    """Return what a file of one day should hold."""
    ds = template() if ds is None else ds
    n = ds.sizes["time"]
    times = expected_times(ds, "time", slice(0, n), frequency).at(at)
    known = expected_axes(ds, "time")
    axes = {dim: known[dim] for dim in ("latitude", "longitude")}
    more = {name: ExpectedAxis(labels=np.asarray(label)) for name, label in scalars.items()}
    return Promise(
        axes={"time": times, **more, **axes},
        append_dim="time",
        units=units,
        unchecked=frozenset(unchecked),
    )


def time_axis(label, units=SINCE, calendar=None, bounds=None, name="time") -> Axis:
    """Return a file's time."""

    def number(one):
        return float(cftime.date2num(one, units, calendar or "standard"))

    return Axis(
        name=name,
        values=np.asarray(number(label)),
        units=units,
        calendar=calendar,
        bounds=None if bounds is None else np.array([number(one) for one in bounds]),
    )


def evidence(values=FIELD, *, lat=LATS, lon=LONS, time=None, units="K", **scalars) -> Evidence:
    """Return what a file says."""
    return Evidence(
        variable="t",
        values=np.array(values, "float32"),
        axes=(
            Axis(name="lat", values=lat, units="degrees_north"),
            Axis(name="lon", values=lon, units="degrees_east"),
        ),
        scalars={
            **({} if time is None else {"time": time}),
            **{name: Axis(name=name, values=np.asarray(one)) for name, one in scalars.items()},
        },
        units=units,
    )


def filled(seen: Evidence, values=None, **changes) -> tuple[np.ndarray, list[str]]:
    """Return what is stored of what was read, and what is said of it."""
    place = np.array(seen.values if values is None else values, "float32")
    remarks = compare([seen], place, promise(**changes))
    return place, remarks


DAY = time_axis(DAYS[1].to_pydatetime())

# -- labels -----------------------------------------------------------------------------------


@given(st.permutations(range(3)), st.permutations(range(4)), st.sampled_from([0, 360, -360]))
def test_another_order_of_the_same_labels_is_turned(rows, columns, turn):
    """Flipped, rolled or shuffled: every value comes to its own label."""
    rows, columns = list(rows), list(columns)
    seen = evidence(
        FIELD[np.ix_(rows, columns)], lat=LATS[rows], lon=LONS[columns] + turn, time=DAY
    )
    stored, remarks = filled(seen)
    np.testing.assert_array_equal(stored, FIELD.astype("float32"))
    is_other = rows != sorted(rows) or columns != sorted(columns)
    assert [remark.startswith("read with ") for remark in remarks] == [True] * is_other


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_what_an_author_turned_is_not_turned_again(scale):
    """Whether or not they also converted it."""
    seen = evidence(FIELD[::-1], lat=LATS[::-1], time=DAY)
    stored, remarks = filled(seen, values=FIELD * scale)
    np.testing.assert_array_equal(stored, (FIELD * scale).astype("float32"))
    assert remarks == []


def test_what_an_author_converted_and_did_not_turn_is_turned():
    """Each value follows what was read in its place: the file turned, and the code did not."""
    seen = evidence(FIELD[::-1], lat=LATS[::-1], time=DAY)
    stored, remarks = filled(seen, values=FIELD[::-1] - 273.15)
    np.testing.assert_allclose(stored, FIELD - 273.15, rtol=1e-6)
    assert remarks == ["read with latitude in another order, and turned"]


def test_whole_numbers_are_not_converted():
    """Fractions would be cut off, and what says missing would become a value."""
    seen = evidence(np.full_like(FIELD, 3.0), time=DAY, units="degC")
    place = seen.values.astype("int16")
    with pytest.raises(NotAsPromised, match=r"'degC'.*'K': whole numbers \(int16\) are not conv"):
        compare([seen], place, promise())
    assert (place == 3).all()


@given(st.sampled_from(["lat", "lon"]), st.floats(0.5, 40), st.booleans())
def test_another_grid_is_refused(which, shift, is_minus):
    """By whatever part of a step it is off."""
    labels = {"lat": LATS, "lon": LONS}[which]
    step = {"lat": 40.0, "lon": 90.0}[which]
    moved = labels + (-shift if is_minus else shift) * step / 45
    with pytest.raises(NotAsPromised, match=rf"its {which} goes from .* position 0 is .*, not"):
        filled(evidence(**{which: moved}, time=DAY))


def test_single_precision_of_the_same_labels_is_the_same():
    """Half a file's providers write float32."""
    thirds = (np.arange(3) / 3).astype("float32")
    ds = template().assign_coords(latitude=("latitude", np.arange(3) / 3))
    _, remarks = filled(evidence(lat=thirds, time=DAY), ds=ds)
    assert remarks == []


def test_labels_in_other_units_are_compared_in_the_archives():
    """Kilometres for metres; and what is no length is named."""
    ds = template().assign_coords(latitude=("latitude", LATS * 1000, {"units": "m"}))

    def seen(units):
        known = evidence(time=DAY)
        axes = (Axis(name="y", values=LATS, units=units), known.axes[1])
        return Evidence(
            variable="t", values=known.values, axes=axes, scalars=known.scalars, units="K"
        )

    assert filled(seen("km"), ds=ds)[1] == []
    with pytest.raises(NotAsPromised, match="its y is in 'K', and the archive's in 'm'"):
        filled(seen("K"), ds=ds)


def test_a_label_that_the_file_says_of_itself_is_that_of_its_place():
    """Of a level or a member, by the dim's name."""
    assert filled(evidence(time=DAY, level=850.0), level=850.0)[1] == []
    with pytest.raises(NotAsPromised, match=r"its level is 500, and it is to fill 850\.0"):
        filled(evidence(time=DAY, level=500.0), level=850.0)


def test_what_is_meant_to_differ_is_not_compared():
    """By the names that the author gives."""
    seen = evidence(lat=LATS + 1, time=time_axis(DAYS[3].to_pydatetime()), units="degC")
    stored, remarks = filled(seen, unchecked=("latitude", "time", "units"))
    np.testing.assert_array_equal(stored, FIELD.astype("float32"))
    assert remarks == []


def test_what_has_not_the_shape_of_its_place_is_compared_by_its_time_alone():
    """Which place that is, nothing says."""
    stored, remarks = filled(evidence(lat=LATS + 9, time=DAY), values=FIELD[:2])
    np.testing.assert_array_equal(stored, FIELD[:2].astype("float32"))
    assert remarks == []


# -- time -------------------------------------------------------------------------------------


@given(st.integers(-72 * 60, 72 * 60), st.sampled_from([SINCE, "days since 2000-01-01"]))
def test_a_time_fits_if_it_is_before_the_next_label(minutes, units):
    """The day of its place at any hour, and no other day."""
    time = time_axis((DAYS[1] + pd.Timedelta(minutes=minutes)).to_pydatetime(), units)
    if 0 <= minutes < 24 * 60:
        assert filled(evidence(time=time))[1] == []
        return
    with pytest.raises(NotAsPromised, match=r"its time is .*, and it is to fill 2020-01-02"):
        filled(evidence(time=time))


@pytest.mark.parametrize(
    ("hours", "fits"), [(range(24, 48), True), (range(1, 25), True), (range(24), False)]
)
def test_of_many_times_for_one_position_one_is_of_it(hours, fits):
    """What is made of a day's hours is labelled by the day, wherever they begin."""
    numbers = np.array([float(cftime.date2num(DAYS[0].to_pydatetime(), SINCE)) + h for h in hours])
    known = evidence(time=DAY)
    hourly = Evidence(
        variable="t",
        values=np.stack([known.values] * len(numbers)),
        axes=(Axis(name="time", values=numbers, units=SINCE), *known.axes),
        units="K",
    )
    place = known.values.copy()
    if fits:
        assert compare([hourly], place, promise()) == []
        return
    with pytest.raises(NotAsPromised, match="its time is 2020-01-01 00:00, and it is to fill"):
        compare([hourly], place, promise())


def test_bounds_say_what_a_time_stands_for():
    """A mean that says its end is of the label that it ends with, or of that which it begins with.

    One that says its middle is of the day that it is made of: to fill the next one, where a
    provider sends a day's file twice, is wrong.
    """
    noon, begin, end = (DAYS[0] + pd.Timedelta(hours=hours) for hours in (12, 0, 24))
    begin, noon, end = (one.to_pydatetime() for one in (begin, noon, end))
    for said in (begin, noon, end):
        assert filled(evidence(time=time_axis(said, bounds=(begin, end))), at=0)[1] == []
    assert filled(evidence(time=time_axis(end, bounds=(begin, end))))[1] == []
    told = (
        r"its time is .*, of 2020-01-01 00:00 to 2020-01-02 00:00, and it is to fill 2020-01-02 0"
    )
    for said in (begin, noon):
        with pytest.raises(NotAsPromised, match=told):
            filled(evidence(time=time_axis(said, bounds=(begin, end))))
    with pytest.raises(NotAsPromised):
        filled(evidence(time=time_axis(noon)))


@pytest.mark.parametrize("hours", [0, 12, 24])
def test_where_the_template_has_bounds_those_of_a_file_decide(hours):
    """Days that are labelled by their end: whatever a file says between, it is one day's."""
    bounds = np.stack([DAYS - pd.Timedelta("1D"), DAYS], axis=1)
    ds = template(bounds="time_bnds").assign_coords(time_bnds=(("time", "bnds"), bounds))
    for first, fits in ((DAYS[0], True), (DAYS[1], False), (DAYS[0] - pd.Timedelta("1D"), False)):
        begin, end = first.to_pydatetime(), (first + pd.Timedelta("1D")).to_pydatetime()
        said = (first + pd.Timedelta(hours=hours)).to_pydatetime()
        seen = evidence(time=time_axis(said, bounds=(begin, end)))
        if fits:
            assert filled(seen, ds=ds)[1] == []
        else:
            with pytest.raises(NotAsPromised, match="which reaches to the template's bounds"):
                filled(seen, ds=ds)


def test_a_month_with_bounds_is_of_the_labels_in_it():
    """Also where labels have no frequency, and stand for themselves."""
    months = pd.DatetimeIndex(["2020-01-01", "2020-02-01", "2020-02-16"])
    begin, middle, end = (
        pd.Timestamp(f"2020-{of}").to_pydatetime() for of in ("02", "02-16", "03")
    )
    held = evidence(time=time_axis(middle, bounds=(begin, end)))
    for at in (1, 2):
        assert filled(held, ds=template(months), frequency=None, at=at)[1] == []
    before = evidence(time=time_axis(datetime(2020, 1, 16), bounds=(datetime(2020, 1, 1), begin)))
    with pytest.raises(NotAsPromised):
        filled(before, ds=template(months), frequency=None, at=1)


def test_the_templates_bounds_say_what_a_label_stands_for():
    """A month that is labelled by its middle, and a file that says its first day."""
    months = pd.date_range("2020-01-01", periods=4, freq="MS")
    middle = months + pd.Timedelta(days=15)
    bounds = np.stack([months, months.shift(1)], axis=1)
    ds = template(middle, bounds="time_bnds").assign_coords(time_bnds=(("time", "bnds"), bounds))
    first = time_axis(months[1].to_pydatetime())
    assert filled(evidence(time=first), ds=ds, frequency=None)[1] == []
    with pytest.raises(NotAsPromised):
        filled(evidence(time=first), ds=ds, frequency=None, at=2)


def test_labels_without_a_frequency_stand_for_themselves():
    """Nobody knows how far one reaches."""
    noon = time_axis((DAYS[1] + pd.Timedelta("12h")).to_pydatetime())
    assert filled(evidence(time=DAY), frequency=None)[1] == []
    with pytest.raises(NotAsPromised):
        filled(evidence(time=noon), frequency=None)


def test_the_last_label_of_a_template_reaches_as_far_as_the_others():
    """Its next one is not there yet."""
    noon = time_axis((DAYS[4] + pd.Timedelta("12h")).to_pydatetime())
    assert filled(evidence(time=noon), at=4)[1] == []


def test_another_calendar_is_named():
    """30 February is no day of ours, and 31 January none of theirs."""
    labels = xr.date_range("2020-01-01", periods=5, calendar="360_day", use_cftime=True)
    ds = template(labels)
    theirs = time_axis(labels[1], calendar="360_day")
    assert filled(evidence(time=theirs), ds=ds)[1] == []
    with pytest.raises(
        NotAsPromised, match="its time is of calendar 'standard', and the archive's of '360_day'"
    ):
        filled(evidence(time=DAY), ds=ds)


@pytest.mark.parametrize("time", [None, Axis(name="time", values=None, units=SINCE)])
def test_a_file_without_a_time_is_counted(time):
    """It is not refused: nothing speaks against it."""
    _, remarks = filled(evidence(time=time))
    assert remarks == ["without a time of their own to compare with their place"]


def test_the_start_of_a_forecast_is_no_valid_time():
    """An archive along init_time is compared with what is called its reference time."""
    starts = template().rename(time="init_time")
    starts["init_time"].attrs["standard_name"] = "forecast_reference_time"
    times = expected_times(starts, "init_time", slice(0, 5), "D").at(1)
    wanted = Promise(axes={"init_time": times}, append_dim="init_time")
    valid = time_axis(DAYS[3].to_pydatetime(), name="valid_time")

    def said(**scalars):
        values = np.zeros(())
        seen = Evidence(variable="t", values=values, axes=(), scalars=scalars)
        return compare([seen], np.zeros(()), wanted)

    assert said(valid_time=valid) == ["without a time of their own to compare with their place"]
    with pytest.raises(NotAsPromised):
        said(init_time=time_axis(DAYS[3].to_pydatetime(), name="init_time"))


# -- units ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "convert"),
    [
        ("degC", lambda k: k - 273.15),
        ("C", lambda k: k - 273.15),
        ("degF", lambda k: (k - 273.15) * 1.8 + 32),
        ("mK", lambda k: k * 1000),
    ],
)
def test_units_of_the_same_quantity_are_converted(units, convert):
    """And it is said."""
    stored, remarks = filled(evidence(convert(FIELD), units=units, time=DAY))
    np.testing.assert_allclose(stored, FIELD, rtol=1e-6)
    assert remarks == [f"read with t in '{units}', converted to 'K'"]


def test_flipped_and_in_other_units_both_are_mended():
    """In one go."""
    seen = evidence(FIELD[::-1] - 273.15, lat=LATS[::-1], units="degC", time=DAY)
    stored, remarks = filled(seen)
    np.testing.assert_allclose(stored, FIELD, rtol=1e-6)
    assert len(remarks) == 2


@pytest.mark.parametrize("units", ["K", "kelvin", "degK", None, "whatever", ""])
def test_the_same_units_and_such_as_nobody_understands_are_left(units):
    """Nothing speaks against them."""
    stored, remarks = filled(evidence(units=units, time=DAY))
    np.testing.assert_array_equal(stored, FIELD.astype("float32"))
    assert remarks == []


def test_another_quantity_is_refused():
    """Pascals are no temperature."""
    with pytest.raises(NotAsPromised, match="its t is in 'Pa', and the archive's in 'K'"):
        filled(evidence(units="Pa", time=DAY))


def test_what_an_author_converted_is_not_converted_again():
    """The values are not those that were read."""
    seen = evidence(FIELD - 273.15, units="degC", time=DAY)
    stored, remarks = filled(seen, values=FIELD)
    np.testing.assert_array_equal(stored, FIELD.astype("float32"))
    assert remarks == []


def test_what_is_made_of_several_variables_is_left_in_its_units():
    """Only grid and time of each are compared."""
    u = evidence(units="m s-1", time=DAY)
    place = np.hypot(u.values, u.values)
    assert compare([u, u], place, promise(units="km h-1")) == []
    other = evidence(lat=LATS + 5, time=DAY)
    with pytest.raises(NotAsPromised):
        compare([u, other], place, promise(units="km h-1"))


def test_what_was_read_twice_is_converted_once():
    """It is what the file has, however often that was looked at; a sum of both is not."""
    seen = evidence(FIELD - 273.15, units="degC", time=DAY)
    place = seen.values.copy()
    assert compare([seen, seen], place, promise()) == ["read with t in 'degC', converted to 'K'"]
    np.testing.assert_allclose(place, FIELD, rtol=1e-6)
    total = 2 * seen.values
    assert compare([seen, seen], total, promise()) == []
    np.testing.assert_array_equal(total, 2 * seen.values)
