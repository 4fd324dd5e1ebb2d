"""Templates: labels that never change, one structure at any length, and clear refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.authoring.labels import parse_label
from gridmill.authoring.template import TemplateConfig
from gridmill.model.variables import Coordinate, Encoding
from tiny import START, TinyTemplate, time_coordinate, tiny_var, until


class Monthly(TinyTemplate):
    append_dim_frequency = "MS"


class Noleap(TinyTemplate):
    calendar = "noleap"
    append_dim_frequency = "D"
    coords = (time_coordinate(calendar="noleap"), *TinyTemplate.coords[1:])


class Days360(TinyTemplate):
    calendar = "360_day"
    append_dim_frequency = "D"
    append_dim_start = "2020-02-01"
    coords = (time_coordinate(calendar="360_day"), *TinyTemplate.coords[1:])


class Irregular(TinyTemplate):
    """Labels at the squares of whole hours."""

    append_dim_frequency = None
    append_dim_capacity = None

    def append_dim_coordinates(self, end):
        labels = [START + pd.Timedelta(hours=n * n) for n in range(200)]
        return pd.DatetimeIndex([label for label in labels if label < end])


class Rich(TinyTemplate):
    """Variables with a level and a member dim, a static one, and auxiliary coordinates."""

    coords = (
        *TinyTemplate.coords,
        Coordinate(name="level", dtype="int64"),
        Coordinate(name="member", dtype="int64"),
        Coordinate(name="lead_time", dtype="int64", units="hours"),
        Coordinate(
            name="valid_time",
            dims=("time", "lead_time"),
            dtype="int64",
            units="hours since 2020-01-01",
            calendar="proleptic_gregorian",
        ),
        Coordinate(name="expected_length", dims=("time",), dtype="int32"),
    )
    data_vars = (
        tiny_var("a"),
        tiny_var("u", dims=("time", "level", "y", "x"), encoding=Encoding(chunks=(2, 3, 2, 3))),
        tiny_var("m", dims=("time", "member"), encoding=Encoding(chunks=(4, 5))),
        tiny_var("z", dims=("y", "x"), encoding=Encoding(chunks=(2, 3))),
    )

    def dimension_coordinates(self):
        return {
            **super().dimension_coordinates(),
            "level": [1000, 850, 500],
            "member": np.arange(5),
            "lead_time": pd.timedelta_range("0h", periods=2, freq="h"),
        }

    def derive_coordinates(self, ds):
        return {
            "valid_time": ds.time + ds.lead_time,
            "expected_length": ("time", np.full(ds.sizes["time"], 2, "int32")),
        }


TEMPLATES = [TinyTemplate, Monthly, Noleap, Days360, Irregular, Rich]


def end_after(days: int) -> datetime:
    return datetime(2020, 3, 1) + timedelta(days=days)


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=15, deadline=None)
@given(days=st.tuples(st.integers(0, 90), st.integers(0, 90)))
def test_labels_never_change_with_the_end(template, days):
    """The labels of a shorter template are the first of a longer one, for every kind of axis."""
    short, long = (
        template().get_template(end_after(day)).get_index("time") for day in sorted(days)
    )
    assert list(long[: len(short)]) == list(short)
    assert long.is_monotonic_increasing
    assert long.is_unique


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_end_is_not_included(template):
    """The template ends before the end that was asked for; from its start there is nothing."""
    config = template()
    index = config.get_template(end_after(0)).get_index("time")
    assert len(index) > 0
    again = config.get_template(index[-1]).get_index("time")
    assert list(again) == list(index[:-1])
    empty = config.get_template(config.append_dim_start)
    assert empty.sizes["time"] == 0


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_template_is_written_and_read_back(template, length, tmp_path):
    """At any length, zero too, the metadata is a store that xarray opens, coordinates equal."""
    config = template()
    ds = config.get_template(end_after(90)).isel(time=slice(0, length))
    empty = {n: v.copy(data=np.empty(v.shape, v.dtype)) for n, v in ds.items() if not v.size}
    ds = ds.assign(empty)
    ds.to_zarr(tmp_path / "t", mode="w", compute=False, zarr_format=3, consolidated=False)
    with xr.open_zarr(tmp_path / "t", consolidated=False) as stored:
        assert dict(stored.sizes) == dict(ds.sizes)
        if length:
            assert list(stored.get_index("time")) == list(ds.get_index("time"))
        for name, var in ds.data_vars.items():
            assert stored[name].dims == var.dims
            assert stored[name].dtype == var.dtype


@pytest.mark.parametrize("template", TEMPLATES)
def test_coordinates_along_the_append_dim_outlast_the_archive(template):
    """Each is one chunk as long as the capacity, whatever the template's length."""
    config = template()
    for end in (end_after(0), end_after(30)):
        ds = config.get_template(end)
        along = [coord for coord in ds.coords.values() if "time" in coord.dims]
        assert along
        for coord in along:
            assert coord.encoding["chunks"][0] == config.capacity > ds.sizes["time"]


def test_a_template_has_no_values():
    """Computing a data variable raises and says why; coordinates are in memory."""
    ds = Rich().get_template(until(5))
    for var in ds.data_vars.values():
        with pytest.raises(RuntimeError, match="template"):
            var.compute()
    assert ds["valid_time"].shape == (5, 2)


def test_regions_fit_every_variable_along_the_append_dim():
    """Static variables do not count; others divide the region."""
    assert Rich().region_length == 4


def test_the_capacity_is_that_of_an_object_and_no_end():
    """A template may outgrow it: how coordinates are stored stays as it is."""

    class Small(TinyTemplate):
        append_dim_capacity = 5

    for length in (5, 6, 11):
        ds = Small().get_template(until(length))
        assert ds.sizes["time"] == length
        assert ds.time.encoding["chunks"] == (5,)


@pytest.mark.parametrize(
    ("template", "least"),
    [(Monthly, 12 * 59), (Noleap, 365 * 59), (Days360, 360 * 59), (Irregular, 10**6)],
)
def test_the_default_capacity_lasts_for_decades(template, least):
    """Without one declared there is room for 60 years, or for a million irregular labels."""
    config = type("Default", (template,), {"append_dim_capacity": None})()
    assert config.capacity >= least


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("frequency", ["MS", "7D", "D", "36h", "7h"])
def test_the_default_capacity_is_the_number_of_labels_of_60_years(calendar, frequency):
    """Archives were made with that number: a step of a fixed length does not change it."""

    class Long(TinyTemplate):
        append_dim_frequency = frequency
        append_dim_start = "2001-02-03T05:30"
        append_dim_capacity = None

    Long.calendar = calendar
    Long.coords = (time_coordinate(calendar=calendar), *TinyTemplate.coords[1:])
    assert Long().capacity == len(Long().append_dim_coordinates(Long().label("2061-02-01T05:30")))


@pytest.mark.parametrize("frequency", ["h", "15min", "s"])
def test_the_default_capacity_is_counted_without_its_labels(frequency, monkeypatch):
    """A calendar of 360 days would take minutes to write down those of 60 years."""
    config = type("Hourly", (Days360,), {"append_dim_frequency": frequency})()
    config.append_dim_capacity = None
    monkeypatch.delattr(TemplateConfig, "append_dim_coordinates")
    # From the third day of the second month on, to the first of it.
    config.append_dim_start = "2020-02-03"
    seconds = {"h": 3600, "15min": 900, "s": 1}[frequency]
    assert config.capacity == (60 * 360 - 2) * 86_400 // seconds


@pytest.mark.parametrize(
    ("frequency", "inits_a_year"),
    [("h", 8760), ("1h", 8760), ("6h", 1460), ("D", 365), ("7D", 365)],
)
def test_forecasts_start_at_any_step(frequency, inits_a_year):
    """With or without its number; times of validity have a year of them a chunk, or more."""

    class Forecasts(ForecastTemplate):
        dims = ("init_time", "lead_time", "latitude", "longitude")
        append_dim_start = "2024-01-01"
        append_dim_frequency = frequency
        dataset_attributes: ClassVar = {"dataset_id": "f", "title": "F", "Conventions": "CF-1.11"}
        grid = LatitudeLongitudeGrid(step_degrees=30.0)
        lead_hours = (0, 6)
        data_vars = ()

    valid = next(coord for coord in Forecasts().coords if coord.name == "valid_time")
    assert valid.chunks == (inits_a_year, 2)


def test_narrowed_is_another_template():
    """A later start and fewer variables change the copy, with its lengths, and not the original."""

    class Mixed(TinyTemplate):
        append_dim_capacity = None
        data_vars = (tiny_var("a"), tiny_var("b", encoding=Encoding(chunks=(8, 2, 3))))

    config = Mixed()
    assert (config.region_length, config.capacity) == (8, config.capacity)
    twin = config.narrowed(start="2020-01-02", variables=["a"])
    assert [var.name for var in twin.data_vars] == ["a"]
    assert twin.region_length == 4
    ds = twin.get_template("2020-01-02T02:00")
    assert list(ds.get_index("time")) == [START + pd.Timedelta(days=1, hours=h) for h in (0, 1)]
    assert ds.time.encoding["chunks"] == (twin.capacity,)
    assert [var.name for var in config.data_vars] == ["a", "b"]
    assert config.region_length == 8
    assert config.get_template(until(1)).get_index("time")[0] == START
    assert config.narrowed().get_template(until(3)).sizes == config.get_template(until(3)).sizes


@pytest.mark.parametrize(
    "start", ["2020-01-01T00:30", "2019-12-31T23:00", "2020-01-01T00:00:00.000001"]
)
def test_a_start_off_the_axis_is_refused(start):
    """Narrowing and positions take labels of the axis only."""
    config = TinyTemplate()
    with pytest.raises(ValueError, match="not on the dataset's time axis"):
        config.narrowed(start=start)
    with pytest.raises(ValueError, match="not on the dataset's time axis"):
        config.position(start, config.get_template(until(5)).get_index("time"))


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_label_has_its_position(template):
    """position finds each label, and the template's end."""
    config = template()
    index = config.get_template(end_after(20)).get_index("time")
    assert [config.position(label, index) for label in index[:30]] == list(
        range(min(30, len(index)))
    )
    longer = config.get_template(end_after(100)).get_index("time")
    assert config.position(longer[len(index)], index) == len(index)


def test_unknown_variables_are_named():
    """The error lists what is unknown and what is known; the order is the declared one."""
    config = TinyTemplate()
    assert [var.name for var in config.select(["b", "a"])] == ["a", "b"]
    with pytest.raises(ValueError, match=r"\['nope'\].*known: a, b"):
        config.select(["a", "nope"])


def declared(**changes) -> type[TemplateConfig]:
    return type("Declared", (TinyTemplate,), changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_attributes": {"title": "x"}}, "dataset_id"),
        ({"data_vars": (tiny_var("a"), tiny_var("a"))}, "more than once"),
        ({"data_vars": (tiny_var("x"),)}, "more than once"),
        ({"data_vars": (tiny_var("a", dims=("y", "time", "x")),)}, "must come first"),
        ({"data_vars": (tiny_var("a", dims=("time", "y")),)}, "one chunk length a dim"),
        ({"append_dim_start": "soon"}, "not a date"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes, message):
    """On construction, with the name of what is wrong."""
    with pytest.raises(ValueError, match=message):
        declared(**changes)()


class Undeclared(TinyTemplate):
    def derive_coordinates(self, ds):
        return {"valid_time": ds.time + np.timedelta64(1, "h")}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (declared(coords=(*TinyTemplate.coords, Coordinate(name="crs", dims=()))), "'crs'"),
        (declared(data_vars=(tiny_var("a", dims=("time", "y", "z")),)), "'z'"),
        # xarray would store it in chunks that change with the archive's length.
        (Undeclared, "valid_time"),
        (declared(coords=TinyTemplate.coords[1:]), "time"),
    ],
)
def test_coordinates_must_be_declared_and_given(template, message):
    """A coordinate without values, values without a declaration, and a dim without either."""
    with pytest.raises(ValueError, match=message):
        template().get_template(until(2))


def test_the_author_is_told_what_to_define():
    """A template without dimension_coordinates says so."""
    bare: ClassVar = type("Bare", (TemplateConfig,), dict(vars(TinyTemplate)))
    del bare.dimension_coordinates
    with pytest.raises(NotImplementedError, match="Bare must define dimension_coordinates"):
        bare().get_template(until(1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-01-02", "2020-01-02"),
        ("2020-01-02T03:04", "2020-01-02T03:04"),
        ("2020-01-02 03:04:05", "2020-01-02T03:04:05"),
        ("2020-01-02T03:00Z", "2020-01-02T03:00"),
        ("2020-01-02T03:00+02:00", "2020-01-02T01:00"),
        (datetime(2020, 1, 2, 3, tzinfo=UTC), "2020-01-02T03:00"),
        (datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2020-01-02T01:00"),
        (np.datetime64("2020-01-02T03"), "2020-01-02T03:00"),
    ],
)
@pytest.mark.parametrize("calendar", ["proleptic_gregorian", "360_day", "noleap"])
def test_labels_are_read_in_any_calendar(value, expected, calendar):
    """Dates and times, with a zone or without, are UTC labels of the calendar."""
    label = parse_label(value, calendar)
    assert label.strftime("%Y-%m-%dT%H:%M:%S") == pd.Timestamp(expected).strftime(
        "%Y-%m-%dT%H:%M:%S"
    )
    if calendar != "proleptic_gregorian":
        assert isinstance(label, cftime.datetime)
        assert label.calendar == calendar
    # What is shown to people is taken back.
    assert parse_label(str(label), calendar) == label
    assert parse_label(label, calendar) == label


@pytest.mark.parametrize(
    ("calendar", "value"),
    [
        ("proleptic_gregorian", "soon"),
        ("proleptic_gregorian", ""),
        ("proleptic_gregorian", "2020-02-30"),
        ("proleptic_gregorian", None),
        ("360_day", "2020-01-31"),
        ("noleap", "2020-02-29"),
        ("noleap", "soon"),
    ],
)
def test_what_is_no_date_is_refused(calendar, value):
    """A string that the calendar does not have is one clear error."""
    with pytest.raises(ValueError, match="not a date"):
        parse_label(value, calendar)


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
def test_the_present_has_a_label_on_every_day(calendar, present):
    """On the 31st and on leap days too: an update runs on every day of the real calendar."""
    label = parse_label(present, calendar)
    assert (label.year, label.month) == (present.year, present.month)
    assert present.day - 3 <= label.day <= present.day


def test_only_forecasts_have_leads_to_limit():
    """A dataset without leads says so, rather than ignoring the limit."""
    with pytest.raises(ValueError, match="has no leads to limit"):
        TinyTemplate().narrowed(max_lead="24h")
