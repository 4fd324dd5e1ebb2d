"""Global forecasts of NOAA's GFS, every 6 hours, to 16 days.

Two products on regular grids: 0.25°, hourly to 120 h and 3-hourly to 384 h (`NoaaGfsForecast`),
and 1°, 3-hourly (`NoaaGfsForecast1Deg`). The source is NOAA's open data bucket at Amazon.

`MIRRORS` has it and those with the same paths, in order of preference, for ``source_base=MIRRORS``
or several ``--source-base``: Google has the forecasts since 2021, Azure the last 30 days
(github.com/blaylockbk/Herbie, models/gfs.py). None was tried, and none is asked unless it is named:
a mirror that cannot be reached, or answers 403 for a file that it lacks, holds open what the bucket
says is absent. NOAA's own server NOMADS, com/gfs/prod, has the newest two days some minutes before;
it allows 120 requests a minute (`DownloadSettings.most_a_minute`), and redirects who asks more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np

from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.cf import PRESSURE_LEVEL
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.noaa.about import NCEP
from gridmill.datasets.noaa.variables import PRESSURE_LEVELS, variables

__all__ = [
    "ATTRIBUTES",
    "GRID",
    "MIRRORS",
    "SOURCE",
    "NoaaGfsForecast",
    "NoaaGfsForecast1Deg",
    "NoaaGfsForecast1DegFile",
    "NoaaGfsForecast1DegJob",
    "NoaaGfsForecast1DegTemplate",
    "NoaaGfsForecastFile",
    "NoaaGfsForecastJob",
    "NoaaGfsForecastTemplate",
]

SOURCE = "https://noaa-gfs-bdp-pds.s3.amazonaws.com"
MIRRORS = (
    SOURCE,
    "https://storage.googleapis.com/global-forecast-system",
    "https://noaagfs.blob.core.windows.net/gfs",
)
ATTRIBUTES = {
    "dataset_id": "noaa-gfs-forecast",
    "title": "NOAA GFS forecast, 0.25°",
    "institution": "NOAA National Centers for Environmental Prediction",
    "source": "Global Forecast System (GFS), https://registry.opendata.aws/noaa-gfs-bdp-pds",
    "license": "NOAA data disseminated through NODD are open to the public",
    "summary": "Forecasts of the Global Forecast System of NOAA's National Centers for "
    "Environmental Prediction, from 00, 06, 12 and 18 UTC to 16 days: the surface, clouds, fluxes "
    "and pressure levels, by start and lead on a global grid of latitudes and longitudes.",
    "keywords": "weather forecast, numerical weather prediction, global, GFS, NOAA, NCEP, GRIB2",
    **NCEP,
    "coverage_content_type": "modelResult",
    "Conventions": "CF-1.11, ACDD-1.3",
}
GRID = LatitudeLongitudeGrid(step_degrees=0.25)
GRID_1DEG = LatitudeLongitudeGrid(step_degrees=1.0)
DIMS = ("init_time", "lead_time", "latitude", "longitude")


class NoaaGfsForecastTemplate(ForecastTemplate):
    """Forecasts of 0.25°; a forecast is a region."""

    dims = DIMS
    # Version 16 of the model: the first with hourly leads and these names in the bucket.
    append_dim_start = "2021-05-01"
    dataset_attributes = ATTRIBUTES
    # Half the leads of a place, or a map of a region, from a few chunks of 6 MB before compression.
    data_vars = variables(
        "gfs", DIMS, Encoding(chunks=(1, 105, 121, 121), shards=(1, 210, 726, 726)), on_levels=True
    )
    grid = GRID
    lead_hours = (*range(121), *range(123, 385, 3))
    more_coords = (PRESSURE_LEVEL,)
    more_labels: ClassVar = {"pressure_level": np.array(PRESSURE_LEVELS, dtype=float)}


class NoaaGfsForecast1DegTemplate(NoaaGfsForecastTemplate):
    """Forecasts of 1°."""

    dataset_attributes = {  # noqa: RUF012
        **ATTRIBUTES,
        "dataset_id": "noaa-gfs-forecast-1deg",
        "title": "NOAA GFS forecast, 1°",
    }
    data_vars = variables(
        "gfs", DIMS, Encoding(chunks=(1, 129, 91, 90), shards=(1, 129, 182, 360)), on_levels=True
    )
    grid = GRID_1DEG
    lead_hours = tuple(range(0, 385, 3))


@dataclass(frozen=True, kw_only=True)
class NoaaGfsForecastFile(ForecastFile):
    """The file of one lead."""

    product: str = "0p25"

    def get_url(self) -> str:
        """Return the path in the bucket: ``gfs.20260801/06/atmos/gfs.t06z.pgrb2.0p25.f009``."""
        init, hours = self.init_time, self.lead_time // timedelta(hours=1)
        return f"gfs.{init:%Y%m%d/%H}/atmos/gfs.t{init:%H}z.pgrb2.{self.product}.f{hours:03d}"


@dataclass(frozen=True, kw_only=True)
class NoaaGfsForecast1DegFile(NoaaGfsForecastFile):
    """The file of one lead, of 1°."""

    product: str = "1p00"


class NoaaGfsForecastJob(GribForecastJob[NoaaGfsForecastFile]):
    """Reads the files of 0.25°."""

    # A forecast is complete five hours after its start; twice that, and NOAA has a gap.
    publication_delay = timedelta(hours=10)
    file_type = NoaaGfsForecastFile
    grid = GRID


class NoaaGfsForecast1DegJob(NoaaGfsForecastJob):
    """Reads the files of 1°."""

    file_type = NoaaGfsForecast1DegFile
    grid = GRID_1DEG


class NoaaGfsForecast(DynamicalDataset):
    """Global forecasts of NOAA's GFS, 0.25°."""

    template_config = NoaaGfsForecastTemplate
    region_job = NoaaGfsForecastJob
    source_base = SOURCE
    verified = (
        "NOAA's inventories of 2022-10-14, 2023-11-04 and 2025-08-01 for every variable; for nine "
        "variables values of NOAA's and ECMWF's fields under other dates"
    )


class NoaaGfsForecast1Deg(NoaaGfsForecast):
    """Global forecasts of NOAA's GFS, 1°."""

    template_config = NoaaGfsForecast1DegTemplate
    region_job = NoaaGfsForecast1DegJob
    verified = (
        "values of NOAA's and ECMWF's fields under other dates for nine variables; no inventory of "
        "this resolution"
    )
