"""Forecasts of NOAA's HRRR for the contiguous United States, 3 km.

Two products: every 6 hours, to 48 hours (`NoaaHrrrForecast`), and every hour, to 18 hours
(`NoaaHrrrForecastHourly`); the second has the first 18 hours of the first's forecasts, too.
Fields stay on the model's Lambert grid: dims y and x in metres, with latitudes, longitudes and the
grid mapping beside them. The source is NOAA's open data bucket at Amazon. The same paths are in
Google's bucket, which `MIRRORS` has after it for ``source_base=MIRRORS`` (see
`gridmill.datasets.noaa.gfs_forecast`), and for two days below com/hrrr/prod of NOAA's own server
NOMADS (github.com/blaylockbk/Herbie, models/hrrr.py); none was tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.grids import EARTH_RADIUS, ProjectedGrid
from gridmill.datasets.noaa.about import NCEP
from gridmill.datasets.noaa.variables import variables

__all__ = [
    "MIRRORS",
    "NoaaHrrrForecast",
    "NoaaHrrrForecastFile",
    "NoaaHrrrForecastHourly",
    "NoaaHrrrForecastHourlyTemplate",
    "NoaaHrrrForecastJob",
    "NoaaHrrrForecastTemplate",
]

MIRRORS = (
    "https://noaa-hrrr-bdp-pds.s3.amazonaws.com",
    "https://storage.googleapis.com/high-resolution-rapid-refresh",
)
GRID = ProjectedGrid(
    mapping={
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": 38.5,
        "longitude_of_central_meridian": -97.5,
        "latitude_of_projection_origin": 38.5,
        "false_easting": 0.0,
        "false_northing": 0.0,
        "earth_radius": EARTH_RADIUS,
    },
    first_latitude=21.138123,
    first_longitude=237.280472,
    step_m=3000.0,
    shape=(1059, 1799),
)
DIMS = ("init_time", "lead_time", "y", "x")
ATTRIBUTES = {
    "dataset_id": "noaa-hrrr-forecast",
    "title": "NOAA HRRR forecast, 3 km",
    "institution": "NOAA National Centers for Environmental Prediction",
    "source": "High-Resolution Rapid Refresh, https://registry.opendata.aws/noaa-hrrr-pds",
    "license": "NOAA data disseminated through NODD are open to the public",
    "summary": "Forecasts of NOAA's High-Resolution Rapid Refresh for the contiguous United "
    "States: fields at and near the surface, clouds and fluxes, by start and lead on the model's "
    "own Lambert conformal grid of 3 km.",
    "keywords": "weather forecast, numerical weather prediction, United States, HRRR, NOAA, NCEP, "
    "GRIB2, convection-allowing",
    **NCEP,
    "coverage_content_type": "modelResult",
    "Conventions": "CF-1.11, ACDD-1.3",
}


class NoaaHrrrForecastTemplate(ForecastTemplate):
    """Forecasts of 48 h; a forecast is a region."""

    dims = DIMS
    # Version 4 of the model: the first with 48 h, at 00, 06, 12 and 18 h.
    append_dim_start = "2020-12-03"
    dataset_attributes = ATTRIBUTES
    # All leads of a place in one chunk of 5 MB before compression; four shards a forecast.
    data_vars = variables(
        "hrrr", DIMS, Encoding(chunks=(1, 49, 177, 150), shards=(1, 49, 531, 900))
    )
    grid = GRID
    lead_hours = tuple(range(49))


class NoaaHrrrForecastHourlyTemplate(NoaaHrrrForecastTemplate):
    """Forecasts of 18 h; a forecast is a region."""

    append_dim_frequency = "1h"
    dataset_attributes = {  # noqa: RUF012
        **ATTRIBUTES,
        "dataset_id": "noaa-hrrr-forecast-hourly",
        "title": "NOAA HRRR forecast, 3 km, hourly",
    }
    # All leads of a place in one chunk of 2 MB before compression; four shards a forecast.
    data_vars = variables(
        "hrrr", DIMS, Encoding(chunks=(1, 19, 177, 150), shards=(1, 19, 531, 900))
    )
    lead_hours = tuple(range(19))


@dataclass(frozen=True, kw_only=True)
class NoaaHrrrForecastFile(ForecastFile):
    """The file of one lead."""

    def get_url(self) -> str:
        """Return the path in the bucket: ``hrrr.20260801/conus/hrrr.t06z.wrfsfcf09.grib2``."""
        init, hours = self.init_time, self.lead_time // timedelta(hours=1)
        return f"hrrr.{init:%Y%m%d}/conus/hrrr.t{init:%H}z.wrfsfcf{hours:02d}.grib2"


class NoaaHrrrForecastJob(GribForecastJob[NoaaHrrrForecastFile]):
    """Reads the files of surface fields."""

    # A forecast is complete two hours after its start; three times that, and NOAA has a gap.
    publication_delay = timedelta(hours=6)
    file_type = NoaaHrrrForecastFile
    grid = GRID


class NoaaHrrrForecast(DynamicalDataset):
    """Forecasts of NOAA's HRRR, 3 km, every 6 hours."""

    template_config = NoaaHrrrForecastTemplate
    region_job = NoaaHrrrForecastJob
    source_base = MIRRORS[0]
    verified = (
        "NOAA's inventories of 2022-10-14, 2023-11-04 and 2025-08-01 for every variable; the "
        "values of two fields of 2023-07-22 06 UTC"
    )


class NoaaHrrrForecastHourly(NoaaHrrrForecast):
    """Forecasts of NOAA's HRRR, 3 km, hourly."""

    template_config = NoaaHrrrForecastHourlyTemplate
