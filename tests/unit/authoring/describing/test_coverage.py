"""Times that are covered, on every calendar and axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.describing.coverage import time_coverage, time_resolution


def test_forecasts_cover_the_times_for_which_they_are_valid():
    """From the first start to the last start's last lead; resolved as their leads are."""
    starts = pd.date_range("2026-01-01", periods=3, freq="6h")
    leads = pd.to_timedelta([0, 3, 6, 12], unit="h")
    ds = xr.Dataset(coords={"init_time": starts, "lead_time": leads})
    ds = ds.assign_coords(valid_time=ds.init_time + ds.lead_time)
    ds["valid_time"].attrs["standard_name"] = "time"
    about = time_coverage(ds, "init_time")
    assert about["time_coverage_end"] == "2026-01-02T00:00:00Z"
    assert about["time_coverage_duration"] == "P1D"
    assert time_resolution(ds, "init_time", "6h") == {"time_coverage_resolution": "PT3H"}


def test_another_calendar_has_its_own_dates():
    """The 30th of February is one of a calendar of 360 days."""
    times = xr.date_range("2000-01-30", periods=2, freq="MS", calendar="360_day", use_cftime=True)
    ds = xr.Dataset(coords={"time": [time.replace(day=30) for time in times]})
    assert time_coverage(ds, "time")["time_coverage_start"] == "2000-02-30T00:00:00Z"


def test_nothing_is_covered_where_there_is_nothing():
    """An archive that was truncated to its beginning says nothing."""
    empty = xr.Dataset(coords={"time": np.array([], "datetime64[ns]")})
    assert time_coverage(empty, "time") == {}


@pytest.mark.parametrize(
    ("frequency", "wanted"),
    [
        ("h", "PT1H"),
        ("6h", "PT6H"),
        ("15min", "PT15M"),
        ("D", "P1D"),
        ("MS", "P1M"),
        ("QS-DEC", "P3M"),
        ("YS-JUN", "P1Y"),
        ("5YS", "P5Y"),
        ("B", None),
        (None, None),
    ],
)
def test_a_frequency_is_a_duration(frequency, wanted):
    """Where it has one length; others are left out."""
    ds = xr.Dataset(coords={"time": pd.date_range("2026-01-01", periods=2)})
    assert time_resolution(ds, "time", frequency).get("time_coverage_resolution") == wanted
