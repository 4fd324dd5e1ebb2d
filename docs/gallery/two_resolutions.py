"""Two resolutions, interpolated to one.

Up to 6 hours the provider's files have 30°, beyond they have 60°. Readers get 30° throughout: files
say by their address which grid they are on, and the coarse ones are interpolated.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from radar_rain import message

from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.authoring.regridding import Regrid
from gridmill.sources.grib.identity import Surface

FINE, COARSE = LatitudeLongitudeGrid(step_degrees=30), LatitudeLongitudeGrid(step_degrees=60)
DIMS = ("init_time", "lead_time", "latitude", "longitude")


class Template(ForecastTemplate):
    """Daily forecasts of 12 hours."""

    dims = DIMS
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "two-resolutions", "title": "Two resolutions"}
    grid = FINE
    lead_hours = (0, 3, 6, 9, 12)
    data_vars = (
        GribVar(
            name="temperature_2m",
            dims=DIMS,
            encoding=Encoding(chunks=(1, 5, 7, 12)),
            attrs={"long_name": "Air temperature at 2 m", "units": "K"},
            parameter="TMP",
            levels=(Level("2 m above ground", Surface(103, 2.0)),),
            codes=((0, 0, 0),),
            regridded=Regrid(grid=COARSE, method="bilinear"),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class LeadFile(ForecastFile):
    """The file of a lead, of either resolution."""

    @property
    def is_coarse(self):
        """Whether it has 60°."""
        return self.lead_time > timedelta(hours=6)

    def get_url(self):
        """Return its path."""
        degrees = 60 if self.is_coarse else 30
        lead = self.lead_time // timedelta(hours=1)
        return f"{self.init_time:%Y%m%d}.{degrees}deg.f{lead:03d}.grib2"


class Job(GribForecastJob):
    """Reads the files of both resolutions."""

    file_type = LeadFile
    publication_delay = timedelta(hours=12)

    def inventory_url(self, url):
        """There is none."""

    def grid_of(self, coord):
        """Return that of a file."""
        return COARSE if coord.is_coarse else FINE


class TwoResolutions(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def twice_as_fine(coarse: np.ndarray) -> np.ndarray:
    """Interpolate linearly by NumPy alone: along longitudes, which close, and latitudes."""
    rows = np.stack([coarse, (coarse + np.roll(coarse, -1, 1)) / 2], axis=-1).reshape(4, 12)
    fine = np.empty((7, 12))
    fine[::2], fine[1::2] = rows, (rows[:-1] + rows[1:]) / 2
    return fine


def main(folder: Path) -> xr.Dataset:
    """Build two forecasts."""
    source, random = folder / "source", np.random.default_rng(0)
    source.mkdir()
    keys = {"typeOfFirstFixedSurface": 103, "scaleFactorOfFirstFixedSurface": 0}
    expected = np.empty((2, 5, 7, 12))
    for at, init in enumerate(pd.date_range("2025-01-01", periods=2)):
        for number, lead in enumerate(Template.lead_hours):
            shape, degrees = ((4, 6), 60) if lead > 6 else ((7, 12), 30)
            field = random.normal(280, 9, shape).astype("float32")
            expected[at, number] = twice_as_fine(field) if lead > 6 else field
            encoded = message(
                field, init, forecastTime=lead, scaledValueOfFirstFixedSurface=2, **keys
            )
            (source / f"{init:%Y%m%d}.{degrees}deg.f{lead:03d}.grib2").write_bytes(encoded)
    dataset = TwoResolutions(folder / "a.zarr", source_base=str(source))
    dataset.backfill("2025-01-03", now="2025-01-04")
    stored = xr.open_zarr(folder / "a.zarr")
    np.testing.assert_allclose(stored.temperature_2m, expected, rtol=1e-6)
    return stored
