"""The `ecmwf-ifs-ens-forecast` dataset on a small grid: members in two streams."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.ecmwf.ifs_ens_forecast import (
    EcmwfIfsEnsForecast,
    EcmwfIfsEnsForecastFile,
    EcmwfIfsEnsForecastJob,
    EcmwfIfsEnsForecastTemplate,
)
from gridmill.testing import ArchiveServer, DatasetContract
from made_providers import index_line, made, twin, write_provider

SMALL_GRID = LatitudeLongitudeGrid(step_degrees=45.0, first_longitude=-180.0)
MEMBERS = np.arange(3, dtype="int32")
# The control is in a stream of its own from the third forecast on.
START, END = "2026-05-11T12", "2026-05-13"
Small = twin(
    EcmwfIfsEnsForecast,
    SMALL_GRID,
    append_dim_start=START,
    last_lead=timedelta(hours=6),
    more_labels={"ensemble_member": MEMBERS},
)
INITS = pd.date_range(START, periods=3, freq="12h")


def write(folder: Path) -> Path:
    """Write three forecasts of three leads and members, with inventories."""
    return write_provider(Small, folder, END, inventory=index_line, suffix=".index")


class TestSmall(DatasetContract):
    """All of the contract, on a few cells, over the change of streams."""

    dataset = Small
    until = END

    def make_source(self, folder: Path) -> str:
        """Write all of it."""
        return str(write(folder))


@pytest.mark.parametrize(
    ("member", "init", "stream"),
    [(0, INITS[1], "enfo-ef"), (0, INITS[2], "oper-fc"), (1, INITS[2], "enfo-ef")],
)
def test_the_control_has_files_of_its_own_since_cycle_50r1(member, init, stream):
    """Before, it is among the others."""
    coord = EcmwfIfsEnsForecastFile(
        init_time=init, lead_time=pd.Timedelta(hours=6), ensemble_member=member
    )
    folder = f"{init:%Y%m%d/%H}z/ifs/0p25/{stream[:4]}"
    assert coord.get_url() == f"{folder}/{init:%Y%m%d%H}0000-6h-{stream}.grib2"


def test_members_of_two_streams_lie_in_one_archive(tmp_path):
    """Each member's values are at its place on both sides of the change, by byte ranges alone."""
    root = write(tmp_path / "source")
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = Small(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill(END, client="none", now=END)
    assert (report.positions_after, report.new_gaps, list(report.notes)[1:]) == (3, 0, [])
    with dataset.store.open_dataset() as ds:
        assert (ds.completeness.values == 1).all()
        for init in INITS:
            for member in MEMBERS:
                lead = pd.Timedelta(hours=6)
                coord = EcmwfIfsEnsForecastFile(
                    init_time=init, lead_time=lead, ensemble_member=int(member)
                )
                at = ds.sel(init_time=init, lead_time=lead, ensemble_member=member)
                wind = made("wind_u_100m", coord, 0.0, (5, 8))
                np.testing.assert_array_equal(at.wind_u_100m.values, wind)
                cover = made("total_cloud_cover_atmosphere", coord, 0.0, (5, 8)) * np.float32(100)
                np.testing.assert_array_equal(at.total_cloud_cover_atmosphere.values, cover)
                rain = made("precipitation_surface", coord, 1.0, (5, 8)) * 1000 / 3600
                np.testing.assert_allclose(at.precipitation_surface.values, rain, rtol=1e-4)


def test_a_real_field_of_the_deterministic_forecast_is_read_as_the_control(shared_data, tmp_path):
    """ECMWF's cloud cover passes the checks of name, level, lead and grid; 0 to 1 become %."""
    data = next(shared_data.rglob("ecmwf-ifs-oper-surface.grib2")).read_bytes()
    var = next(v for v in EcmwfIfsEnsForecastTemplate().data_vars if v.parameter == "tcc")
    (tmp_path / "local").mkdir()
    job = WithoutInventory(
        template_ds=xr.Dataset(),
        data_vars=(var,),
        append_dim="init_time",
        region=slice(0, 1),
        source_base=(str(tmp_path / "source"),),
        download_dir=tmp_path / "local",
    )
    file = AsOfToday(
        init_time=pd.Timestamp("2026-03-10"), lead_time=pd.Timedelta(0), ensemble_member=0
    )
    path = tmp_path / "source" / file.get_url()
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    values = job.read_data(replace(file, downloaded_path=job.download_file(file).path), var)
    assert values.shape == (721, 1440)
    assert (values.min(), values.max()) == (0.0, 100.0)
    # The mean that ecCodes gives of the same message.
    assert np.mean(values, dtype="float64") == pytest.approx(67.7752148, abs=1e-4)


class WithoutInventory(EcmwfIfsEnsForecastJob):
    """The sample has none."""

    def inventory_url(self, url: str) -> None:
        """There is none."""


class AsOfToday(EcmwfIfsEnsForecastFile):
    """A control in its own stream at whatever time."""

    is_apart = True
