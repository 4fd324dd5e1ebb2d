"""The `noaa-gefs-extended-forecast` dataset: NOAA's inventories of both kinds, a small grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.noaa.gefs_extended_forecast import (
    NoaaGefsExtendedForecast,
    NoaaGefsExtendedForecastFile,
    NoaaGefsExtendedForecastJob,
    NoaaGefsExtendedForecastTemplate,
    twice_as_fine,
)
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.selection import select
from gridmill.testing import ArchiveServer, DatasetContract
from made_providers import idx_line, made, twin, write_provider

COARSE = LatitudeLongitudeGrid(step_degrees=60.0)
MEMBERS = np.arange(2, dtype="int32")
NAMES = ("temperature_2m", "precipitation_surface")
END = "2020-10-01T12"


def small() -> type[NoaaGefsExtendedForecast]:
    """Return the dataset at 30° and 60°, with leads around the change."""
    made_of = twin(
        NoaaGefsExtendedForecast,
        LatitudeLongitudeGrid(step_degrees=30.0),
        lead_hours=(0, 237, 240, 246, 252),
        more_labels={"ensemble_member": MEMBERS},
    )
    config = made_of.template_config
    config.data_vars = tuple(var for var in config.data_vars if var.name in NAMES)
    made_of.region_job.coarse_grid = COARSE
    return made_of


Small = small()


def write(folder: Path) -> Path:
    """Write two forecasts, each file on its own grid."""
    return write_provider(Small, folder, END, inventory=idx_line, suffix=".idx")


class TestSmall(DatasetContract):
    """All of the contract, on a few cells."""

    dataset = Small
    until = END

    def make_source(self, folder: Path) -> str:
        """Write all of it."""
        return str(write(folder))


@pytest.mark.parametrize(("hours", "kind"), [(240, "pgrb2s.0p25"), (246, "pgrb2a.0p50")])
def test_the_resolution_of_a_file_depends_on_its_lead(hours, kind):
    """The finer one as far as it goes."""
    coord = NoaaGefsExtendedForecastFile(
        init_time=pd.Timestamp("2026-08-01T06"),
        lead_time=pd.Timedelta(hours=hours),
        ensemble_member=1,
    )
    folder = "pgrb2sp25" if hours == 240 else "pgrb2ap5"
    wanted = f"gefs.20260801/06/atmos/{folder}/gep01.t06z.{kind}.f{hours:03d}"
    assert coord.get_url() == wanted


@pytest.mark.parametrize(
    ("name", "member", "hours"),
    [("gep01.t00z.pgrb2s.0p25.f015.idx", 1, 15), ("gec00.t00z.pgrb2a.0p50.f432.idx", 0, 432)],
)
def test_every_variable_is_in_real_inventories_of_both_resolutions(
    shared_data, name, member, hours
):
    """NOAA's own inventories name one message for each."""
    inventory = parse_idx(next(shared_data.rglob(name)).read_text())
    data_vars = NoaaGefsExtendedForecastTemplate().data_vars
    job = NoaaGefsExtendedForecastJob(
        template_ds=xr.Dataset(), data_vars=data_vars, append_dim="init_time", region=slice(0, 1)
    )
    file = job.source_file(pd.Timestamp("2025-08-01"), pd.Timedelta(hours=hours))
    file = replace(file, ensemble_member=member)
    found = {select(inventory, s) for v in data_vars for s in job.inventory_selectors(file, v)}
    assert len(found) == len(data_vars) == 13


def test_fields_of_both_resolutions_lie_on_one_grid(tmp_path):
    """Those of the finer grid are as made; others go through every point that they have."""
    root = write(tmp_path / "source")
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = Small(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill(END, client="none", now=END)
    assert (report.positions_after, report.new_gaps) == (2, 0)
    # Between leads 0 and 237 this archive has none: the rain of the first is not to be had.
    assert all("their period begins after the step before" in note for note in report.notes)
    init = pd.Timestamp("2020-10-01T06")
    with dataset.store.open_dataset() as ds:
        for hours, shape in ((240, (7, 12)), (246, (4, 6)), (252, (4, 6))):
            lead = pd.Timedelta(hours=hours)
            coord = NoaaGefsExtendedForecastFile(init_time=init, lead_time=lead, ensemble_member=1)
            at = ds.sel(init_time=init, lead_time=lead, ensemble_member=1)
            own = made("temperature_2m", coord, 0.0, shape)
            wanted = own if hours == 240 else interpolated(own)
            np.testing.assert_allclose(at.temperature_2m.values, wanted, rtol=1e-6)
            if hours > 240:
                np.testing.assert_array_equal(at.temperature_2m.values[::2, ::2], own)
                rate = interpolated(made("precipitation_surface", coord, 1.0, shape)) / 3600
                np.testing.assert_allclose(at.precipitation_surface.values, rate, rtol=1e-5)


def interpolated(values: np.ndarray) -> np.ndarray:
    """Interpolate by NumPy, along one axis after the other and around the globe."""
    found = np.concatenate([values, values[:, :1]], axis=1).astype("float64")
    for axis in (0, 1):
        places = np.arange(found.shape[axis], dtype="float64")
        wanted = np.arange(0, places[-1] + 0.25, 0.5)
        found = np.apply_along_axis(lambda v, w=wanted, p=places: np.interp(w, p, v), axis, found)
    return found[:, :-1]


def test_what_is_missing_stays_missing():
    """A point that needs a missing one has none."""
    values = np.ones((3, 4))
    values[0, 0] = np.nan
    assert np.isnan(twice_as_fine(values)).sum() == 6
