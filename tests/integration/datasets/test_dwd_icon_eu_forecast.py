"""The `dwd-icon-eu-forecast` dataset on a mesh of a few cells: DWD's files were not at hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from gridmill.authoring.grids import MeshGrid
from gridmill.datasets.dwd.icon_eu_forecast import DwdIconEuForecast, DwdIconEuForecastFile
from gridmill.sources.fetch.download import fetch
from gridmill.testing import ArchiveServer, DatasetContract
from made_providers import made, twin, write_provider

CELLS = 11
SMALL_GRID = MeshGrid(cells=CELLS, mesh="grid 62,")
Small = twin(DwdIconEuForecast, SMALL_GRID, last_lead=timedelta(hours=2))
END = "2026-10-07T12"


class TestSmall(DatasetContract):
    """All of the contract, on a few cells."""

    dataset = Small
    until = END

    def make_source(self, folder: Path) -> str:
        """Write two forecasts of three leads, and where the cells lie."""
        return str(write_provider(Small, folder, END))


def test_values_and_the_places_of_the_cells_are_the_providers(tmp_path):
    """Places are read once, of the first forecast; totals become the mean of each hour."""
    root = write_provider(Small, tmp_path / "source", END)
    dataset = Small(tmp_path / "a.zarr", source_base=str(root))
    report = dataset.backfill(END, client="none", now=END)
    assert (report.positions_after, report.new_gaps, len(report.notes)) == (2, 0, 1)
    assert "unverified" in report.notes[0]
    first, init = pd.date_range("2026-10-07", periods=2, freq="6h")
    with dataset.store.open_dataset() as ds:
        place = DwdIconEuForecastFile(init_time=first, lead_time=pd.Timedelta(0))
        wanted = made("latitude", place, 0.0, (CELLS,))
        np.testing.assert_array_equal(ds.latitude.values, wanted)
        assert ds.latitude.attrs["standard_name"] == "latitude"
        lead = pd.Timedelta(hours=2)
        coord = DwdIconEuForecastFile(init_time=init, lead_time=lead)
        at = ds.sel(init_time=init, lead_time=lead)
        wanted = made("temperature_2m", coord, 0.0, (CELLS,))
        np.testing.assert_array_equal(at.temperature_2m.values, wanted)
        rain = made("precipitation_surface", coord, 1.0, (CELLS,)) / 3600
        np.testing.assert_allclose(at.precipitation_surface.values, rain, rtol=1e-5)


def test_the_colon_of_a_start_arrives_at_the_provider(tmp_path):
    """It is quoted once in the address, and not once more on the way."""
    coord = DwdIconEuForecastFile(
        init_time=pd.Timestamp("2026-10-07T06"), lead_time=pd.Timedelta(0), field="T_2M"
    )
    path = tmp_path / "source/icon-eu/p/T_2M/r/2026-10-07T06:00/s/PT000H00M.grib2"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GRIB")
    with ArchiveServer(tmp_path / "source") as server:
        server.release_all()
        done = fetch(f"{server.url}/{coord.get_url()[0]}", tmp_path / "local")
    assert done.path.read_bytes() == b"GRIB"


def test_another_mesh_is_refused(tmp_path):
    """What lies on DWD's former mesh is no value of this archive."""
    former = twin(DwdIconEuForecast, MeshGrid(cells=CELLS, mesh="grid 27,"), last_lead=timedelta(0))
    root = write_provider(former, tmp_path / "source", END)
    dataset = twin(DwdIconEuForecast, SMALL_GRID, last_lead=timedelta(0))(
        tmp_path / "a.zarr", source_base=str(root)
    )
    report = dataset.backfill(END, variables=["temperature_2m"], client="none", now=END)
    assert report.positions_after == 0
    assert any("grid 27" in (problem.detail or "") for problem in report.problems)


def test_the_address_is_that_of_the_new_tree():
    """Starts are written as DWD writes them, and nothing is packed by bzip2."""
    coord = DwdIconEuForecastFile(
        init_time=pd.Timestamp("2026-10-07T06"), lead_time=pd.Timedelta(hours=81), field="T_2M"
    )
    assert coord.get_url()[0] == "icon-eu/p/T_2M/r/2026-10-07T06%3A00/s/PT081H00M.grib2"
