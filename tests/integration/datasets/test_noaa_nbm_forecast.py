"""The `noaa-nbm-forecast` dataset: a real field of NOAA's, and a small grid."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import eccodes
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.grids import ProjectedGrid
from gridmill.datasets.noaa.nbm_forecast import (
    GRID,
    NoaaNbmForecast,
    NoaaNbmForecastFile,
    NoaaNbmForecastJob,
    NoaaNbmForecastTemplate,
    period_before,
)
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.selection import MessageNotFound, select
from gridmill.testing import ArchiveServer, DatasetContract
from made_providers import idx_line, made, twin, write_provider

SMALL_GRID = ProjectedGrid(
    mapping=GRID.mapping,
    first_latitude=GRID.first_latitude,
    first_longitude=GRID.first_longitude,
    step_m=GRID.step_m,
    shape=(5, 7),
)
Small = twin(NoaaNbmForecast, SMALL_GRID, lead_hours=(1, 2, 35, 36, 39, 42), last_lead=None)
END = "2025-09-01T12"
HOUR = pd.Timedelta(hours=1)


class TestSmall(DatasetContract):
    """All of the contract, on a few cells."""

    dataset = Small
    until = END

    def make_source(self, folder: Path) -> str:
        """Write two forecasts of six leads."""
        return str(write_provider(Small, folder, END, inventory=idx_line, suffix=".idx"))


def make_job(var, **settings) -> NoaaNbmForecastJob:
    """Make a job of one variable on the real grid."""
    return NoaaNbmForecastJob(
        template_ds=xr.Dataset(),
        data_vars=(var,),
        append_dim="init_time",
        region=slice(0, 1),
        **settings,
    )


def variable(parameter: str):
    """Return the declared variable of a name in the inventories."""
    return next(v for v in NoaaNbmForecastTemplate().data_vars if v.parameter == parameter)


def test_precipitation_is_the_mean_of_the_period_before(tmp_path):
    """An hour to 36 h, six hours beyond, and nothing at leads between; instants are as made."""
    root = write_provider(Small, tmp_path / "source", END, inventory=idx_line, suffix=".idx")
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = Small(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill(END, client="none", now=END)
    assert (report.positions_after, report.new_gaps, list(report.notes)) == (2, 0, [])
    init = pd.Timestamp("2025-09-01T06")
    with dataset.store.open_dataset() as ds:
        # Also at 39 h, where no file of precipitation is expected.
        np.testing.assert_array_equal(ds.completeness, np.ones((2, 6)))
        for hours in (1, 2, 35, 36, 39, 42):
            coord = NoaaNbmForecastFile(init_time=init, lead_time=hours * HOUR)
            at = ds.sel(init_time=init, lead_time=hours * HOUR)
            speed = made("wind_speed_10m", coord, 0.0, (5, 7))
            np.testing.assert_array_equal(at.wind_speed_10m.values, speed)
            rate = made("precipitation_surface", coord, 1.0, (5, 7)) / 3600
            wanted = np.full((5, 7), np.nan) if hours == 39 else rate
            np.testing.assert_allclose(at.precipitation_surface.values, wanted, rtol=1e-5)


@pytest.mark.parametrize(("lead", "hours"), [(1, 1), (36, 1), (39, 0), (42, 6), (45, 0), (264, 6)])
def test_the_period_of_precipitation_depends_on_the_lead(lead, hours):
    """As in the blend's own files."""
    assert period_before(timedelta(hours=lead)) == timedelta(hours=hours)


def test_only_the_deterministic_field_is_taken_from_an_inventory():
    """Lines of NOAA's form: probabilities, percentiles and deviations have the same names."""
    lines = (
        "APCP:surface:30-36 hour acc fcst:",
        "APCP:surface:35-36 hour acc fcst:prob >0.254:prob fcst 255/255",
        "APCP:surface:35-36 hour acc fcst:",
        "TMP:2 m above ground:36 hour fcst:ens std dev",
        "TMP:2 m above ground:36 hour fcst:",
    )
    inventory = parse_idx(
        "\n".join(f"{n + 1}:{n * 100}:d=2025090100:{line}" for n, line in enumerate(lines))
    )
    chosen = []
    for parameter in ("APCP", "TMP"):
        job = make_job(variable(parameter))
        file = job.source_file(pd.Timestamp("2025-09-01"), 36 * HOUR)
        (asked,) = job.inventory_selectors(file, job.data_vars[0])
        chosen.append(select(inventory, asked).start)
    assert chosen == [200, 400]
    with pytest.raises(MessageNotFound):
        select(inventory[:2], asked)


def test_a_real_field_has_the_values_that_eccodes_reads(shared_data, tmp_path):
    """Rows that run to and fro pass the checks of parameter, level, lead and grid."""
    name = "blend.t00z.core.f001.tmp.co.grib2"
    data = next(shared_data.rglob(name)).read_bytes()
    (tmp_path / "local").mkdir()
    var = variable("TMP")
    job = make_job(var, source_base=(str(tmp_path / "source"),), download_dir=tmp_path / "local")
    file = job.source_file(pd.Timestamp("2025-09-01"), HOUR)
    path = tmp_path / "source" / file.get_url()
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    path.with_name(f"{path.name}.idx").write_text(
        "1:0:d=2025090100:TMP:2 m above ground:1 hour fcst:\n"
    )
    values = job.read_data(replace(file, downloaded_path=job.download_file(file).path), var)
    handle = eccodes.codes_new_from_message(data)
    expected = eccodes.codes_get_values(handle).reshape(GRID.shape)
    eccodes.codes_release(handle)
    # ecCodes gives values as they lie in the message: every second row from east to west.
    expected[1::2] = expected[1::2, ::-1].copy()
    np.testing.assert_array_equal(values, expected.astype("float32"))
