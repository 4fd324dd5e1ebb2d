"""Ensemble forecasts of NOAA's GEFS, 0.25°, every 6 hours, to 10 days, 31 members.

Member 0 is the control forecast.

The history of the product: version 12 of GEFS began with the forecast of 2020-09-23 12 UTC. Before,
files had 1° and other names; the archive does not have them (github.com/dynamical-org/reformatters,
noaa/gefs). The source is NOAA's open data bucket at Amazon. The same paths are in Google's bucket,
which `MIRRORS` has after it for ``source_base=MIRRORS`` (see
`gridmill.datasets.noaa.gfs_forecast`), and for some days below com/gens/prod of NOAA's own server
NOMADS (github.com/blaylockbk/Herbie, models/gefs.py); none was tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np

from gridmill import Completeness, DynamicalDataset, Encoding
from gridmill.authoring.cf import ENSEMBLE_MEMBER
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.noaa.about import NCEP
from gridmill.datasets.noaa.variables import former_variables, variables

__all__ = [
    "MIRRORS",
    "NoaaGefsForecast",
    "NoaaGefsForecastFile",
    "NoaaGefsForecastJob",
    "NoaaGefsForecastTemplate",
]

MIRRORS = (
    "https://noaa-gefs-pds.s3.amazonaws.com",
    "https://storage.googleapis.com/gfs-ensemble-forecast-system",
)
GRID = LatitudeLongitudeGrid(step_degrees=0.25)
DIMS = ("init_time", "ensemble_member", "lead_time", "latitude", "longitude")
# All members of a place in three chunks of 4.5 MB before compression; a shard has 335 MB.
ENCODING = Encoding(chunks=(1, 31, 27, 37, 36), shards=(1, 31, 81, 185, 180))


class NoaaGefsForecastTemplate(ForecastTemplate):
    """Forecasts of all members; a forecast is a region."""

    dims = DIMS
    # Version 12 of the model: the first with 30 perturbed members and 0.25°.
    append_dim_start = "2020-10-01"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "noaa-gefs-forecast",
        "title": "NOAA GEFS forecast, 0.25°",
        "institution": "NOAA National Centers for Environmental Prediction",
        "source": "Global Ensemble Forecast System, https://registry.opendata.aws/noaa-gefs",
        "license": "NOAA data disseminated through NODD are open to the public",
        "summary": "Forecasts of all 31 members of NOAA's Global Ensemble Forecast System, from "
        "00, 06, 12 and 18 UTC to 10 days in steps of 3 hours: fields at and near the surface, by "
        "start, member and lead on a global grid of latitudes and longitudes.",
        "keywords": "weather forecast, ensemble, numerical weather prediction, global, GEFS, NOAA, "
        "NCEP, GRIB2",
        **NCEP,
        "coverage_content_type": "modelResult",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    data_vars = variables("gefs", DIMS, ENCODING)
    former_vars = former_variables("gefs", DIMS, ENCODING)
    grid = GRID
    lead_hours = tuple(range(0, 241, 3))
    more_coords = (
        ENSEMBLE_MEMBER,
        Completeness(dims=("init_time", "ensemble_member", "lead_time")),
    )
    more_labels: ClassVar = {"ensemble_member": np.arange(31, dtype="int32")}


@dataclass(frozen=True, kw_only=True)
class NoaaGefsForecastFile(ForecastFile):
    """The file of one lead of one member."""

    def get_url(self) -> str:
        """Return the path: ``gefs.20260801/06/atmos/pgrb2sp25/gep01.t06z.pgrb2s.0p25.f009``."""
        init, hours = self.init_time, self.lead_time // timedelta(hours=1)
        member = f"p{self.ensemble_member:02d}" if self.ensemble_member else "c00"
        folder = f"gefs.{init:%Y%m%d/%H}/atmos/pgrb2sp25"
        return f"{folder}/ge{member}.t{init:%H}z.pgrb2s.0p25.f{hours:03d}"


class NoaaGefsForecastJob(GribForecastJob[NoaaGefsForecastFile]):
    """Reads the files of the most used variables."""

    # A forecast is complete seven hours after its start; twice that, and NOAA has a gap.
    publication_delay = timedelta(hours=14)
    file_type = NoaaGefsForecastFile
    grid = GRID


class NoaaGefsForecast(DynamicalDataset):
    """Ensemble forecasts of NOAA's GEFS, 0.25°."""

    template_config = NoaaGefsForecastTemplate
    region_job = NoaaGefsForecastJob
    source_base = MIRRORS[0]
    verified = (
        "NOAA's inventory of a member at 15 h of 2025-08-01 for every variable; the values of one "
        "field, soil moisture of the control of 2025-01-01"
    )
