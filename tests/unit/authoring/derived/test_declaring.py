"""Declarations by which a variable cannot be made of others are refused, with the reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridmill import Coordinate, DataVar, Encoding
from gridmill.authoring.derived import Aggregation, Derived, relative_humidity, wind_speed
from gridmill.authoring.derived.steps import position_of, steps_of
from hourly import DailyTemplate, var

MEAN = Aggregation(method="mean", every="h")
WHOLE = Encoding(chunks=(2, 3, 4), dtype="int16", fill_value=-1)


def template_of(*variables: DataVar, **more):
    return type("Template", (DailyTemplate,), {"data_vars": variables, **more})


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        (var("d", aggregated=MEAN), "cell_methods is None: it must say 'time: mean'"),
        (var("d", method="maximum", aggregated=MEAN), "must say 'time: mean'"),
        (
            var("d", method="mean", aggregated=Aggregation(method="mean", every="7h")),
            "must have several, and whole ones",
        ),
        (
            var("d", method="mean", aggregated=Aggregation(method="mean", every="h", at_least=25)),
            "a position has 24",
        ),
        (var("d", "K", derived=wind_speed(var("u"), var("v"))), "cannot be converted to 'K'"),
        (var("d", derived=wind_speed(var("u"), var("v", "K"))), "cannot be converted to 'm s-1'"),
        (var("d", "%", derived=relative_humidity(var("t"), var("td"))), "'K'"),
        (
            DataVar(
                name="d",
                encoding=WHOLE,
                attrs={"long_name": "d", "units": "m s-1"},
                derived=wind_speed(var("u"), var("v")),
            ),
            "has dtype int16, which has no fractions",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(variable, why):
    """When the dataset is made, before anything is fetched."""
    with pytest.raises(ValueError, match=why):
        template_of(variable)()


def test_an_input_is_the_stored_variable_of_its_name():
    """One in other units is another variable."""
    made = var("d", derived=wind_speed(var("u"), var("v")))
    template_of(var("u"), made)()
    with pytest.raises(ValueError, match="a stored variable of this name is another one"):
        template_of(var("u", "knot"), made)()


def test_inputs_come_once_and_are_what_files_hold():
    """A formula of a formula, and the same input twice, are refused."""
    with pytest.raises(ValueError, match="each once"):
        Derived(inputs=(var("u"), var("u")), formula=np.hypot)
    made = var("d", derived=wind_speed(var("u"), var("v")))
    with pytest.raises(ValueError, match="what source files hold"):
        Derived(inputs=(made,), formula=np.abs)
    with pytest.raises(ValueError, match="method 'median' is none of"):
        Aggregation(method="median", every="h")


@pytest.mark.parametrize(("hours", "fits"), [(0, True), (1, False)])
def test_bounds_of_the_append_dim_are_the_times_that_are_aggregated(hours, fits):
    """From each label to the next; others are refused."""

    def derive_coordinates(self, ds):
        start = ds.get_index("time") + pd.Timedelta(hours=hours)
        both = np.stack([start, start + pd.Timedelta("1D")], axis=1)
        return {"time_bounds": (("time", "bound"), both)}

    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="hours since 2020-01-01",
            calendar="standard",
            attrs={"bounds": "time_bounds"},
        ),
        *DailyTemplate.coords[1:],
        Coordinate(
            name="time_bounds",
            dims=("time", "bound"),
            dtype="int64",
            units="hours since 2020-01-01",
            calendar="standard",
        ),
    )
    template = template_of(
        var("u", method="mean", aggregated=MEAN),
        coords=coords,
        derive_coordinates=derive_coordinates,
    )()
    if fits:
        assert template.get_template("2020-01-04").sizes["time"] == 3
        return
    with pytest.raises(ValueError, match="a position covers the time up to the next label"):
        template.get_template("2020-01-04")


def test_steps_are_those_up_to_the_next_label():
    """Also of months, and of what accumulates up to its own time stamp."""
    months = pd.date_range("2020-01-01", periods=3, freq="MS")
    how = Aggregation(method="sum", every="6h", first="6h", period="MS")
    steps = steps_of(months, how)
    assert steps.offsets == (0, 31 * 4, (31 + 29) * 4, (31 + 29 + 31) * 4)
    assert str(steps.labels[0]) == "2020-01-01 06:00:00"
    assert str(steps.labels[31 * 4 - 1]) == "2020-02-01 00:00:00"
    for at in (0, 31 * 4 - 1, 31 * 4, 200):
        position = steps.positions(at)
        assert position_of(months, how, steps.labels[at]) == slice(position, position + 1)
    several = slice(steps.labels[10], steps.labels[130])
    assert position_of(months, how, several) == steps.positions(slice(10, 131)) == slice(0, 2)
