"""Variables that are made of others: by a formula, or of many steps; against plain NumPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hourly import START, Apart, DailyTemplate, HourlyTemplate, Together, dataset, field, write_hour

HOURS = pd.date_range(START, periods=72, freq="h")
IN_PLAIN_NUMPY = {"mean": np.mean, "minimum": np.min, "maximum": np.max, "sum": np.sum}


def speeds(times: pd.DatetimeIndex) -> np.ndarray:
    """Return wind speed by plain NumPy, in double precision."""
    u, v = (np.stack([field(name, t) for t in times]).astype("float64") for name in "uv")
    return np.sqrt(u**2 + v**2)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for time in HOURS:
        write_hour(folder, time)
    return folder


@pytest.mark.parametrize("job", [Together, Apart])
def test_a_derived_variable_is_what_its_formula_gives(tmp_path, source, job):
    """Also where each input is a file of its own, and none of them is stored."""
    report = dataset(tmp_path / "a.zarr", source, HourlyTemplate, job).backfill(HOURS[10])
    assert report.succeeded, (report.failures, list(report.problems))
    ds = xr.open_zarr(tmp_path / "a.zarr")
    assert list(ds.data_vars) == ["speed"]
    np.testing.assert_allclose(ds.speed, speeds(HOURS[:10]), rtol=1e-6)


@pytest.mark.parametrize("job", [Together, Apart])
def test_days_are_made_of_their_hours(tmp_path, source, job):
    """The mean, minimum, maximum and sum of the hours from each label up to the next."""
    report = dataset(tmp_path / "a.zarr", source, DailyTemplate, job).backfill("2020-01-04")
    assert report.succeeded, (report.failures, list(report.problems))
    ds = xr.open_zarr(tmp_path / "a.zarr")
    hourly = speeds(HOURS).reshape(3, 24, 3, 4)
    for method, of in IN_PLAIN_NUMPY.items():
        np.testing.assert_allclose(ds[f"speed_{method}"], of(hourly, axis=1), rtol=1e-6)
