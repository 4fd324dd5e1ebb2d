"""The `eccc-hrdps-forecast` dataset: a real file of the provider's, and a small grid."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import eccodes
import numpy as np
import pandas as pd
import xarray as xr

from gridmill.authoring.grids import RotatedGrid
from gridmill.datasets.eccc.hrdps_forecast import (
    GRID,
    EcccHrdpsForecast,
    EcccHrdpsForecastFile,
    EcccHrdpsForecastJob,
    EcccHrdpsForecastTemplate,
)
from gridmill.testing import ArchiveServer, DatasetContract
from made_providers import made, twin, write_provider

SMALL_GRID = RotatedGrid(
    southern_pole=GRID.southern_pole,
    first_latitude=GRID.first_latitude,
    first_longitude=GRID.first_longitude,
    step_degrees=0.0225,
    shape=(5, 7),
)
Small = twin(EcccHrdpsForecast, SMALL_GRID, last_lead=timedelta(hours=3))
END = "2026-07-10T12"


class TestSmall(DatasetContract):
    """All of the contract, on a few cells."""

    dataset = Small
    until = END

    def make_source(self, folder: Path) -> str:
        """Write two forecasts of three hours."""
        return str(write_provider(Small, folder, END))


def test_each_file_is_fetched_once_and_fills_its_place(tmp_path):
    """Instants are as made, totals become the mean of each hour; what is empty is not asked for."""
    root = write_provider(Small, tmp_path / "source", END)
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = Small(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill(END, client="none", now=END)
        paths = [request.path for request in server.requests]
    assert (report.positions_after, report.new_gaps, list(report.notes)) == (2, 0, [])
    # Twelve instants at four leads; clouds and three totals at three.
    assert len(paths) == len(set(paths)) == 2 * (12 * 4 + 4 * 3)
    with dataset.store.open_dataset() as ds:
        for init in pd.date_range("2026-07-10", periods=2, freq="6h"):
            for hours in (1, 2, 3):
                lead = pd.Timedelta(hours=hours)
                coord = EcccHrdpsForecastFile(init_time=init, lead_time=lead)
                at = ds.sel(init_time=init, lead_time=lead)
                wanted = made("wind_gust_10m", coord, 0.0, (5, 7))
                np.testing.assert_array_equal(at.wind_gust_10m.values, wanted)
                total = made("downward_short_wave_radiation_flux_surface", coord, 1.0, (5, 7))
                found = at.downward_short_wave_radiation_flux_surface.values
                np.testing.assert_allclose(found, total / 3600, rtol=1e-5)


def test_a_real_file_has_the_values_that_eccodes_reads(shared_data, tmp_path):
    """CAPE passes the checks of parameter, lead and grid; the marks for none are missing."""
    name = "20260219T00Z_MSC_HRDPS_CAPE_Sfc_RLatLon0.0225_PT000H.grib2"
    sample = next(shared_data.rglob(name))
    var = next(v for v in EcccHrdpsForecastTemplate().data_vars if v.parameter == "CAPE")
    (tmp_path / "local").mkdir()
    job = EcccHrdpsForecastJob(
        template_ds=xr.Dataset(),
        data_vars=(var,),
        append_dim="init_time",
        region=slice(0, 1),
        source_base=(str(tmp_path / "source"),),
        download_dir=tmp_path / "local",
    )
    file = replace(job.source_file(pd.Timestamp("2026-02-19"), pd.Timedelta(0)), field="CAPE_Sfc")
    path = tmp_path / "source" / file.get_url()[0]
    assert path.name == name
    path.parent.mkdir(parents=True)
    path.write_bytes(sample.read_bytes())
    values = job.read_data(replace(file, downloaded_path=job.download_file(file).path), var)

    with sample.open("rb") as opened:
        handle = eccodes.codes_grib_new_from_file(opened)
    expected = eccodes.codes_get_values(handle).reshape(1290, 2540)
    eccodes.codes_release(handle)
    np.testing.assert_array_equal(values, expected.astype("float32"))
    job.transform_values_inplace(values, replace(var, keep_mantissa_bits=None))
    assert np.isnan(values).mean() == (expected < -0.1).mean() > 0
    assert np.nanmin(values) >= -0.1


def test_the_provider_gets_no_more_downloads_at_a_time_than_it_asks_for():
    """It asks for eight, and others may allow more."""
    assert EcccHrdpsForecastJob.download_settings.most_at_host == 8
