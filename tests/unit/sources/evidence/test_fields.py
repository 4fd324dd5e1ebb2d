"""Grids of two-dimensional coordinates, members and leads are compared with the template's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.sources.evidence.compare import NotAsPromised, compare
from gridmill.sources.evidence.expected import Promise, expected_axes
from gridmill.sources.evidence.observed import Axis, Evidence, Field

ROWS, COLUMNS = np.mgrid[0:4, 0:5].astype(float)
LATS, LONS = 50 + ROWS + 0.1 * COLUMNS, (358 + 0.7 * COLUMNS - 0.2 * ROWS) % 360
VALUES = 250 + ROWS**2 + COLUMNS**3


def promise(place=(), **changes) -> Promise:
    """Return what a file of a curvilinear grid, a member and a lead should hold."""
    template = xr.Dataset(
        coords={
            "latitude": (("y", "x"), LATS, {"units": "degrees_north"}),
            "longitude": (("y", "x"), LONS, {"standard_name": "longitude"}),
            "y": np.arange(4) * 0,
            "x": np.arange(5) * 0,
            "ensemble_member": [0, 1, 2],
            "lead_time": pd.to_timedelta([0, 6, 12], unit="h"),
        }
    ).drop_vars(["y", "x"])
    known = expected_axes(template, "time")
    scalars = {name: known[name].at(at) for name, at in place}
    unlabelled = expected_axes(xr.Dataset({"v": (("y", "x"), VALUES)}), "time")
    axes = {
        **scalars,
        **{dim: unlabelled.get(dim, known_less(n)) for dim, n in (("y", 4), ("x", 5))},
    }
    fields = {name: known[name] for name in ("latitude", "longitude")}
    return replace(Promise(axes=axes, append_dim="time", fields=fields), **changes)


def known_less(n: int):
    """Return the axis of a dim without labels."""
    return replace(
        expected_axes(xr.Dataset(coords={"t": ["?"]}), "time")["t"], labels=np.array(["?"] * n)
    )


def evidence(lats=LATS, lons=LONS, dims=("j", "i"), values=VALUES, **changes) -> Evidence:
    """Return what a file says."""
    fields = (
        Field(name="nav_lat", dims=dims, values=lats, units="degrees_north"),
        Field(name="nav_lon", dims=dims, values=lons, units="degrees_east"),
    )
    axes = tuple(Axis(name=name) for name in ("j", "i"))
    return replace(Evidence(variable="v", values=values, axes=axes, fields=fields), **changes)


@pytest.mark.parametrize("turn", [(), (0,), (1,), (0, 1)])
def test_a_grid_that_runs_the_other_way_is_turned_and_said(turn):
    """Along either axis; longitudes from -180 to 180 are the same."""
    lats, lons, values = (np.flip(of, turn) for of in (LATS, LONS, VALUES))
    out = values.copy()
    remarks = compare([evidence(lats, (lons + 180) % 360 - 180, values=values)], out, promise())
    np.testing.assert_array_equal(out, VALUES)
    assert len(remarks) == bool(turn)


@pytest.mark.parametrize("kind", ["lats", "lons"])
def test_another_grid_is_refused_with_both(kind):
    """By half a step; unless that is meant."""
    moved = {"lats": LATS + 0.5} if kind == "lats" else {"lons": LONS + 0.35}
    name = {"lats": "latitude", "lons": "longitude"}[kind]
    with pytest.raises(NotAsPromised, match=rf"its {name} at point \(\d, \d\) is .*the archive's"):
        compare([evidence(**moved)], VALUES.copy(), promise())
    assert compare([evidence(**moved)], VALUES.copy(), promise(unchecked=frozenset([name]))) == []


def test_the_same_grid_in_single_precision_is_the_same():
    """And so is one that says nothing at some points, or in the order of the other dims."""
    single = evidence(LATS.astype("f4"), LONS.astype("f4"))
    holes = np.where(ROWS == 2, np.nan, LATS)
    across = evidence(LATS.T, LONS.T, dims=("i", "j"))
    for seen in (single, evidence(holes), across):
        assert compare([seen], VALUES.copy(), promise()) == []


@pytest.mark.parametrize(("apart", "is_near"), [(1e-6, True), (0.009, True), (0.011, False)])
def test_a_single_point_may_be_off_by_a_hundredth_of_a_step(apart, is_near):
    """Which is more than rounding to single precision does to a label."""
    moved = evidence(LATS + apart * ((ROWS == 1) & (COLUMNS == 3)))
    if is_near:
        assert compare([moved], VALUES.copy(), promise()) == []
    else:
        with pytest.raises(NotAsPromised, match=r"its latitude at point \(1, 3\)"):
            compare([moved], VALUES.copy(), promise())


@pytest.mark.parametrize(
    ("dim", "position", "axis", "is_right"),
    [
        ("ensemble_member", 1, Axis(name="realization", values=np.array(1)), True),
        ("ensemble_member", 1, Axis(name="number", values=np.array([2])), False),
        (
            "ensemble_member",
            1,
            Axis(name="z", values=np.array(2), standard_name="realization"),
            False,
        ),
        ("ensemble_member", 1, Axis(name="z", values=np.array(2)), True),
        ("lead_time", 1, Axis(name="step", values=np.array(6), units="hours"), True),
        ("lead_time", 1, Axis(name="step", values=np.array(12), units="hours"), False),
        ("lead_time", 1, Axis(name="step", values=np.array(12)), True),
        ("lead_time", 1, Axis(name="lead_time", values=np.array(360), units="minutes"), True),
        (
            "lead_time",
            2,
            Axis(name="fp", values=np.array(6), units="hours", standard_name="forecast_period"),
            False,
        ),
    ],
)
def test_a_file_of_one_member_or_lead_fills_its_own(dim, position, axis, is_right):
    """By any of the names that these have; what has no unit says nothing of a lead."""
    seen = evidence(scalars={axis.name: axis})
    wanted = promise([(dim, position)])
    if is_right:
        assert compare([seen], VALUES.copy(), wanted) == []
    else:
        with pytest.raises(NotAsPromised, match=f"its {axis.name} is"):
            compare([seen], VALUES.copy(), wanted)
