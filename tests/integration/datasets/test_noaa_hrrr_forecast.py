"""The `noaa-hrrr-forecast` dataset against NOAA's own inventories and messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from grib_messages import changed, raised
from gridmill.datasets.noaa.hrrr_forecast import (
    NoaaHrrrForecast,
    NoaaHrrrForecastHourly,
    NoaaHrrrForecastHourlyTemplate,
    NoaaHrrrForecastJob,
    NoaaHrrrForecastTemplate,
)
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.selection import select
from gridmill.sources.grib.messages import decode_message_into
from gridmill.testing import ArchiveServer

INIT = pd.Timestamp("2023-07-22T06")


def make_job(**settings) -> NoaaHrrrForecastJob:
    """Make a job of all variables."""
    options = {"data_vars": NoaaHrrrForecastTemplate().data_vars, **settings}
    return NoaaHrrrForecastJob(
        template_ds=xr.Dataset(), append_dim="init_time", region=slice(0, 1), **options
    )


def test_the_hourly_product_has_a_forecast_of_18_hours_every_hour():
    """Its files are those of the other product, and those in between."""
    template = NoaaHrrrForecastHourlyTemplate().get_template("2020-12-04")
    assert (template.sizes["init_time"], template.sizes["lead_time"]) == (24, 19)
    assert template.valid_time.values[5, 18] == np.datetime64("2020-12-03T23")
    job = NoaaHrrrForecastHourly.region_job(
        template_ds=template, data_vars=(), append_dim="init_time", region=slice(5, 6)
    )
    file = job.source_file(pd.Timestamp("2020-12-03T05"), pd.Timedelta(hours=18))
    assert file.get_url() == "hrrr.20201203/conus/hrrr.t05z.wrfsfcf18.grib2"


def test_the_grid_is_projected_as_cf_wants_it():
    """Values lie on y and x in metres; places are beside them, and the mapping says how."""
    ds = NoaaHrrrForecastTemplate().get_template("2020-12-04")

    assert ds.temperature_2m.dims == ("init_time", "lead_time", "y", "x")
    assert np.ptp(np.diff(ds.x.values)) < 1e-6
    assert ds.x.attrs["standard_name"] == "projection_x_coordinate"
    # The corners as NOAA gives them: 21.138° N 122.720° W, and 47.842° N 60.917° W.
    south_west, north_east = (ds.isel(y=n, x=n) for n in (0, -1))
    for corner, place in ((south_west, (21.1381, -122.7195)), (north_east, (47.8422, -60.9174))):
        found = float(corner.latitude), float(corner.longitude)
        np.testing.assert_allclose(found, place, atol=2e-3)
    assert ds.spatial_ref.attrs["grid_mapping_name"] == "lambert_conformal_conic"
    assert ds.wind_u_10m.attrs["standard_name"] == "x_wind"


def test_every_variable_is_in_real_inventories(shared_data):
    """NOAA's own inventories of three years name each variable's message, at f24 in days, too."""
    job, found = make_job(), set()
    for path in sorted((shared_data / "S2_inventories").rglob("hrrr.t*.wrfsfcf*.idx")):
        inventory = parse_idx(path.read_text())
        hours = int(path.name.split("wrfsfcf")[1][:2])
        init = pd.Timestamp(inventory[0].reference_time)
        file = job.source_file(init, pd.Timedelta(hours=hours))
        assert file.get_url().endswith(path.stem)
        for var in job.data_vars:
            if hours or var.window is None:
                (asked,) = job.inventory_selectors(file, var)
                select(inventory, asked)
                found.add((hours, var.name))
    assert {hours for hours, _ in found} == {0, 5, 8, 24}


@pytest.mark.parametrize(
    ("field", "name"), [("UGRD", "wind_u_10m"), ("CFRZR", "categorical_freezing_rain_surface")]
)
def test_real_messages_are_read(shared_data, tmp_path, field, name):
    """NOAA's files pass the checks of parameter, level, lead and grid, and give their values."""
    (sample,) = (shared_data / "S4_decode_zoo").rglob(f"hrrr.t06z.wrfsfcf01-{field}.grib2")
    data, expected = sample.read_bytes(), np.empty((1059, 1799), np.float32)
    decode_message_into(expected, data)
    var = next(v for v in NoaaHrrrForecastTemplate().data_vars if v.name == name)
    root, local = tmp_path / "source", tmp_path / "local"
    local.mkdir()
    with ArchiveServer(root) as server:
        server.release_all()
        job = make_job(data_vars=(var,), source_base=(server.url,), download_dir=local)
        file = job.source_file(INIT, pd.Timedelta(hours=1))
        path = root / "hrrr.20230722/conus/hrrr.t06z.wrfsfcf01.grib2"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        file = replace(file, downloaded_path=job.download_file(file).path)
        np.testing.assert_array_equal(job.read_data(file, var), expected)


class TwoLeads(NoaaHrrrForecastTemplate):
    """Forecasts of an hour from the day of the samples."""

    append_dim_start = "2023-07-22"
    last_lead = timedelta(hours=1)
    data_vars = tuple(
        replace(var, keep_mantissa_bits=None) for var in NoaaHrrrForecastTemplate.data_vars
    )


class Short(NoaaHrrrForecast):
    """What its archive holds."""

    template_config = TwoLeads


def test_backfill_and_update_hold_the_fields_of_a_mirror(shared_data, tmp_path, client):
    """Real fields under other dates and leads arrive at their places, for the bytes they have."""
    fields = {"UGRD": "wind_u_10m", "CFRZR": "categorical_freezing_rain_surface"}
    lines = {"UGRD": "UGRD:10 m above ground", "CFRZR": "CFRZR:surface"}
    samples = {
        field: next((shared_data / "S4_decode_zoo").rglob(f"*wrfsfcf01-{field}.grib2")).read_bytes()
        for field in fields
    }
    inits = [pd.Timestamp("2023-07-22T00") + n * pd.Timedelta(hours=6) for n in range(3)]
    made: dict[tuple[pd.Timestamp, int, str], bytes] = {}
    for init in inits:
        for lead in (0, 1):
            path = tmp_path / f"m/hrrr.{init:%Y%m%d}/conus/hrrr.t{init:%H}z.wrfsfcf{lead:02d}.grib2"
            path.parent.mkdir(parents=True, exist_ok=True)
            content, idx = b"", []
            for number, field in enumerate(fields, 1):
                keys = {"dataTime": init.hour * 100, "forecastTime": lead}
                message = raised(changed(samples[field], keys), init.hour + lead)
                step = f"{lead} hour fcst" if lead else "anl"
                idx.append(f"{number}:{len(content)}:d={init:%Y%m%d%H}:{lines[field]}:{step}:\n")
                content += message
                made[init, lead, field] = message
            path.write_bytes(content)
            path.with_name(f"{path.name}.idx").write_text("".join(idx))
    with ArchiveServer(tmp_path / "m") as server:
        server.release_all()
        dataset = Short(tmp_path / "a.zarr", source_base=server.url)
        names = list(fields.values())
        dataset.backfill("2023-07-22T12", variables=names, client=client, now="2023-07-22T12")
        report = dataset.reformat_operational_update(client=client, now="2023-07-22T14")
        assert (report.positions_after, report.stops_because, report.failures) == (3, None, [])
        assert dataset.validate(now="2023-07-22T14").findings == ()
        served = sum(r.nbytes for r in server.requests if not r.path.endswith(".idx"))
    assert served == sum(map(len, made.values()))

    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, decode_timedelta=True) as ds:
        for (init, lead, field), message in made.items():
            expected = np.empty((1059, 1799), np.float32)
            decode_message_into(expected, message)
            at = {"init_time": init, "lead_time": pd.Timedelta(lead, "h")}
            np.testing.assert_array_equal(ds[fields[field]].sel(at).values, expected)


def test_an_archive_goes_on_with_a_second_mirror(shared_data, tmp_path):
    """What is done stays done, and what the first one lacks comes from the other."""
    (sample,) = (shared_data / "S4_decode_zoo").rglob("hrrr.t06z.wrfsfcf01-CFRZR.grib2")
    name = "categorical_freezing_rain_surface"
    roots = [tmp_path / "first", tmp_path / "second"]
    for init in pd.date_range("2023-07-22", periods=3, freq="6h"):
        for lead in (0, 1):
            keys = {"dataTime": init.hour * 100, "forecastTime": lead}
            step = f"{lead} hour fcst" if lead else "anl"
            for root in roots:
                path = root / f"hrrr.{init:%Y%m%d}/conus/hrrr.t{init:%H}z.wrfsfcf{lead:02d}.grib2"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(changed(sample.read_bytes(), keys))
                idx = f"1:0:d={init:%Y%m%d%H}:CFRZR:surface:{step}:\n"
                path.with_name(f"{path.name}.idx").write_text(idx)
    lacking = list(roots[0].rglob("hrrr.t12z*"))
    for path in lacking:
        path.unlink()
    with ArchiveServer(roots[0]) as first, ArchiveServer(roots[1]) as second:
        first.release_all()
        second.release_all()
        alone = Short(tmp_path / "a.zarr", source_base=first.url)
        alone.backfill("2023-07-22T12", variables=[name], client="none", now="2023-07-22T12")
        before = {record.start: record for record in alone.store.tracker.all_records()}
        asked = len(first.requests)
        both = Short(tmp_path / "a.zarr", source_base=(first.url, second.url))
        (skipped, _) = both.plan("2023-07-22T12").describe()["regions"]
        assert (skipped["todo"], both.plan("2023-07-22T12").describe()["warnings"]) == ({}, [])
        report = both.reformat_operational_update(client="none", now="2023-07-22T14")
        assert (report.positions_after, report.failures) == (3, [])
        assert not any(r.nbytes > 1 for r in first.requests[asked:] if r.status == 200)
        assert {request.path for request in second.requests} == {
            f"{path.relative_to(roots[0])}" for path in lacking
        }
    after = {record.start: record for record in both.store.tracker.all_records()}
    for start, record in before.items():
        assert after[start].variables == record.variables
        assert after[start].groups == record.groups
    taken = {file.fetched_from for group in after[2].groups for file in group}
    assert all(url.startswith(second.url) for url in taken)
