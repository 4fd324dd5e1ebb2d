"""Variables that are made of others: by a formula, or of many steps; against plain NumPy."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.derived import Aggregation
from gridmill.testing import ArchiveServer, DatasetContract
from gridmill.validation import SourcesAgree
from hourly import (
    START,
    Apart,
    DailyTemplate,
    HourlyTemplate,
    Together,
    dataset,
    field,
    in_a_process,
    var,
    write_hour,
)

STORE = Path("nowhere")
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


def gaps_of(made) -> list[str]:
    """Return the addresses of the source files that are lacking, by the records."""
    records = made.store.tracker.all_records()
    files = {file for record in records for group in record.groups for file in group}
    return sorted(file.url for file in files if file.status.value != "succeeded")


def test_where_an_input_is_missing_the_derived_value_is(tmp_path, source):
    """The other input is there; what is missing is a gap by its own name, and heals alone."""
    late = source / "v_2020010104.nc"
    late.rename(tmp_path / "late.nc")
    made = dataset(tmp_path / "a.zarr", source, HourlyTemplate, Apart)
    made.backfill(HOURS[10], now=HOURS[30], client="none")
    wanted = speeds(HOURS[:10])
    ds = xr.open_zarr(tmp_path / "a.zarr")
    assert np.isnan(ds.speed[4]).all()
    np.testing.assert_allclose(np.delete(ds.speed, 4, 0), np.delete(wanted, 4, 0), rtol=1e-6)
    assert gaps_of(made) == ["v_2020010104.nc"]
    (tmp_path / "late.nc").rename(late)
    made.backfill(HOURS[10], now=HOURS[30], client="none", revalidate=True)
    np.testing.assert_allclose(xr.open_zarr(tmp_path / "a.zarr").speed, wanted, rtol=1e-6)
    assert gaps_of(made) == []


def test_an_input_that_cannot_be_read_makes_the_derived_value_pending(tmp_path, source):
    """A file without one of the inputs is a failure to read that names it."""
    with xr.open_dataset(source / "u_v_2020010104.nc") as whole:
        only_u = whole.drop_vars("v").load()
    only_u.to_netcdf(source / "u_v_2020010104.nc")
    made = dataset(tmp_path / "a.zarr", source, HourlyTemplate)
    report = made.backfill(HOURS[10], now=HOURS[30], client="none")
    ds = xr.open_zarr(tmp_path / "a.zarr")
    assert np.isnan(ds.speed[4]).all()
    assert not np.isnan(ds.speed[5]).any()
    assert report.positions_after == 10
    (unread,) = (
        known.variables["speed"].unread
        for known in made.store.tracker.all_records()
        if known.variables["speed"].unread
    )
    assert "v" in unread[0][1]


def test_a_late_hour_makes_its_day_again_and_no_other(tmp_path, source):
    """The hour is a gap of its own and its day is missing; then that day's hours are fetched."""
    for what in ("u_v", "u", "v"):
        (source / f"{what}_2020010205.nc").rename(tmp_path / f"{what}.nc")
    with ArchiveServer(source) as server:
        server.release_all()
        made = dataset(tmp_path / "a.zarr", server.url, DailyTemplate)
        made.backfill("2020-01-04", now="2020-01-05", client="none")
        ds = xr.open_zarr(tmp_path / "a.zarr")
        assert np.isnan(ds.speed_mean[1]).all()
        assert not np.isnan(ds.speed_mean[[0, 2]]).any()
        assert gaps_of(made) == ["u_v_2020010205.nc"]
        (tmp_path / "u_v.nc").rename(source / "u_v_2020010205.nc")
        server.release_all()
        before = len(server.requests)
        made.reformat_operational_update(client="none", now="2020-01-04")
        # One byte asks whether a file was revised.
        fetched = {r.path for r in server.requests[before:] if r.nbytes > 1}
    assert fetched == {f"u_v_20200102{hour:02}.nc" for hour in range(24)}
    hourly = speeds(HOURS).reshape(3, 24, 3, 4)
    for method, of in IN_PLAIN_NUMPY.items():
        found = xr.open_zarr(tmp_path / "a.zarr")[f"speed_{method}"]
        np.testing.assert_allclose(found, of(hourly, axis=1), rtol=1e-6)
    assert gaps_of(made) == []


def test_a_day_may_be_made_of_fewer_hours(tmp_path, source):
    """Where that is declared; when others come, it is made of all of them."""

    class Template(DailyTemplate):
        data_vars = (
            var("u", method="mean", aggregated=Aggregation(method="mean", every="h", at_least=23)),
        )

    names = ["u_v_2020010105.nc", "u_v_2020010205.nc", "u_v_2020010207.nc"]
    for name in names:
        (source / name).rename(tmp_path / name)
    made = dataset(tmp_path / "a.zarr", source, Template)
    made.backfill("2020-01-04", now="2020-01-05", client="none")
    hourly = np.stack([field("u", time) for time in HOURS]).astype("float64").reshape(3, 24, 3, 4)
    found = xr.open_zarr(tmp_path / "a.zarr").u
    np.testing.assert_allclose(found[0], np.delete(hourly[0], 5, 0).mean(axis=0), rtol=1e-6)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[2], hourly[2].mean(axis=0), rtol=1e-6)
    for name in names:
        (tmp_path / name).rename(source / name)
    made.reformat_operational_update(client="none", now="2020-01-04")
    found = xr.open_zarr(tmp_path / "a.zarr").u
    np.testing.assert_allclose(found, hourly.mean(axis=1), rtol=1e-6)


def test_a_killed_update_with_a_late_hour_never_shows_half_a_day(tmp_path, source):
    """Readers in a loop see days that are whole, or missing while their hour is; then all are."""
    late = source / "u_v_2020010205.nc"
    late.rename(tmp_path / "late.nc")
    first = tmp_path / "first.zarr"
    made = dataset(first, source, DailyTemplate)
    made.backfill("2020-01-03", now="2020-01-05", client="none")
    (tmp_path / "late.nc").rename(late)
    wanted = speeds(HOURS).reshape(3, 24, 3, 4).mean(axis=1)
    n_puts = int(
        in_a_process(str(copy_of(first, tmp_path / "whole.zarr")), str(source), NOW, "-1").stdout
    )
    assert n_puts > 5
    for at in range(0, n_puts, max(1, n_puts // 3)):
        store, stop = copy_of(first, tmp_path / f"{at}.zarr"), Event()
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_until, stop, store, wanted)
            try:
                done = in_a_process(str(store), str(source), NOW, str(at))
                again = dataset(store, source, DailyTemplate)
                again.reformat_operational_update(client="none", now=NOW)
            finally:
                stop.set()
            assert reading.result() > 0
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        found = xr.open_zarr(store).speed_mean
        np.testing.assert_allclose(found, wanted[: len(found)], rtol=1e-6)
        assert len(found) == 3


NOW = "2020-01-04"


def copy_of(store, to):
    """Copy an archive with its records."""
    shutil.copytree(store, to)
    shutil.copytree(f"{store}.gridmill", f"{to}.gridmill")
    return to


def read_until(stop: Event, store: os.PathLike, wanted: np.ndarray) -> int:
    """Read the days again and again; how often."""
    times = 0
    while not stop.is_set() or not times:
        found = xr.open_zarr(store).speed_mean.values
        for day, values in enumerate(found):
            if not (day == 1 and np.isnan(values).all()):
                np.testing.assert_allclose(values, wanted[day], rtol=1e-6)
        times += 1
    return times


class MadeContract(DatasetContract):
    """What every dataset must do."""

    def make_source(self, folder):
        for time in HOURS:
            write_hour(folder, time)
        return str(folder)


class TestOfOneFile(MadeContract):
    dataset = type(dataset(STORE, STORE, HourlyTemplate))
    until = "2020-01-01T05"


class TestOfFilesApart(MadeContract):
    dataset = type(dataset(STORE, STORE, HourlyTemplate, Apart))
    until = "2020-01-01T05"


class TestOfHours(MadeContract):
    dataset = type(dataset(STORE, STORE, DailyTemplate, Apart))
    until = "2020-01-04"


def test_a_made_variable_is_planned_and_compared_with_its_sources(tmp_path, source):
    """`plan` counts its files, a card shows them, and validation makes it again."""
    made = dataset(tmp_path / "a.zarr", source, DailyTemplate, Apart)
    plan = made.plan("2020-01-04")
    assert sum(region["source_files"] for region in plan.describe()["regions"]) == 2 * 72
    assert "u_2020010100.nc" in plan.jobs[0]._repr_html_()
    made.backfill("2020-01-04", client="none")
    found = made.validate([SourcesAgree(size=8)], now="2020-01-04")
    assert not [one for result in found.results for one in result.findings]
    (result,) = (one for one in found.results if one.validator == "sources")
    assert "96 of 96 source files read again" in result.examined
