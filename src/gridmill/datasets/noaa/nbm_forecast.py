"""Forecasts of NOAA's National Blend of Models, contiguous United States, 2.5 km, to 11 days.

The deterministic fields of the blend's core files, from 00, 06, 12 and 18 UTC: hourly to 36 hours,
then every 3 and every 6 hours. The same files hold deviations, percentiles and probabilities of the
same names, which are left out. There is no lead 0. Fields stay on the blend's Lambert grid: dims y
and x in metres, with latitudes, longitudes and the grid mapping beside them.

Precipitation is the mean of the hour before, and beyond 36 hours that of the 6 hours before, at
leads that divide by 6; other leads have none. Version 5.0 of the blend came on 2026-05-05
(github.com/blaylockbk/Herbie, issue 540); the archive begins on the first day of which a file was
compared. Leads and fields are those of github.com/open-meteo/open-meteo. The source is NOAA's open
data bucket. The mirror with the same paths is com/blend/prod of NOAA's own server NOMADS, for some
days (github.com/blaylockbk/Herbie, models/nbm.py); it will do as `source_base`, and was not tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill import Completeness, DynamicalDataset, Encoding
from gridmill.authoring.cf import WELL_KNOWN, attributes
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import Code, GribVar, Level, Window
from gridmill.authoring.grids import ProjectedGrid
from gridmill.authoring.transforms import scale_inplace
from gridmill.datasets.noaa.about import NCEP
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "NoaaNbmForecast",
    "NoaaNbmForecastFile",
    "NoaaNbmForecastJob",
    "NoaaNbmForecastTemplate",
]

GRID = ProjectedGrid(
    mapping={
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": 25.0,
        "longitude_of_central_meridian": -95.0,
        "latitude_of_projection_origin": 25.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
        "earth_radius": 6371200.0,
    },
    first_latitude=19.229,
    first_longitude=233.7234,
    step_m=2539.703,
    shape=(1597, 2345),
)
DIMS = ("init_time", "lead_time", "y", "x")
# All leads of a place in one chunk of 5 MB before compression; 12 shards a forecast.
ENCODING = Encoding(chunks=(1, 100, 107, 118), shards=(1, 100, 535, 590))
HOUR, SIX_HOURS = timedelta(hours=1), timedelta(hours=6)
HOURLY_UNTIL = 36 * HOUR

AT_2_M, AT_10_M = (Level(f"{z} m above ground", Surface(103, float(z))) for z in (2, 10))
RAIN = {
    "long_name": "Precipitation, mean rate of the hour before, beyond 36 h of the 6 hours before",
    "comment": "Beyond 36 h only leads that divide by 6 have a value.",
}


def _variable(name: str, parameter: str, level: Level, code: Code, **more: Any) -> GribVar:
    window = more.pop("window", None)
    return GribVar(
        name=name,
        dims=DIMS,
        encoding=ENCODING,
        attrs=attributes(name, f"lead_time: {'mean' if window else 'point'}", **more),
        keep_mantissa_bits=WELL_KNOWN[name].mantissa_bits,
        parameter=parameter,
        levels=(level,),
        codes=(code,),
        statistic=Statistic.ACCUMULATION if window else Statistic.INSTANT,
        # Not a deviation, a percentile or a probability.
        without_qualifiers=("",),
        window=window,
    )


# fmt: off
DATA_VARS = (
    _variable("temperature_2m", "TMP", AT_2_M, (0, 0, 0)),
    _variable("dew_point_temperature_2m", "DPT", AT_2_M, (0, 0, 6)),
    _variable("relative_humidity_2m", "RH", AT_2_M, (0, 1, 1)),
    _variable("wind_speed_10m", "WIND", AT_10_M, (0, 2, 1)),
    _variable("wind_direction_10m", "WDIR", AT_10_M, (0, 2, 0)),
    _variable("wind_gust_10m", "GUST", AT_10_M, (0, 2, 22)),
    _variable("total_cloud_cover_atmosphere", "TCDC", Level("surface"), (0, 6, 1)),
    # Periods do not overlap: nothing is to be undone.
    _variable("precipitation_surface", "APCP", Level("surface", Surface(1, None)), (0, 1, 8),
              window=Window(kind="accumulation", as_given=True), **RAIN),
)
# fmt: on


class NoaaNbmForecastTemplate(ForecastTemplate):
    """Forecasts of 264 h; a forecast is a region."""

    dims = DIMS
    append_dim_start = "2025-09-01"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "noaa-nbm-forecast",
        "title": "NOAA NBM forecast, contiguous United States, 2.5 km",
        "institution": "NOAA National Centers for Environmental Prediction",
        "source": "National Blend of Models, https://registry.opendata.aws/noaa-nbm",
        "license": "NOAA data disseminated through NODD are open to the public",
        "summary": "Deterministic forecasts of NOAA's National Blend of Models for the contiguous "
        "United States, from 00, 06, 12 and 18 UTC to 11 days: temperature, humidity, wind, clouds "
        "and precipitation, by start and lead on a Lambert conformal grid of 2.5 km.",
        "keywords": "weather forecast, statistical post-processing, United States, National Blend "
        "of Models, NBM, NOAA, NCEP, GRIB2",
        **NCEP,
        "coverage_content_type": "modelResult",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    data_vars = DATA_VARS
    grid = GRID
    lead_hours = (*range(1, 37), *range(39, 193, 3), *range(198, 265, 6))
    more_coords = (Completeness(dims=("init_time", "lead_time")),)


@dataclass(frozen=True, kw_only=True)
class NoaaNbmForecastFile(ForecastFile):
    """The core file of one lead."""

    def get_url(self) -> str:
        """Return the path: ``blend.20260801/06/core/blend.t06z.core.f009.co.grib2``."""
        init, hours = self.init_time, self.lead_time // HOUR
        return f"blend.{init:%Y%m%d/%H}/core/blend.t{init:%H}z.core.f{hours:03d}.co.grib2"


def period_before(lead: timedelta) -> timedelta:
    """Return how long the period is whose precipitation is told at a lead; 0 for none."""
    if lead <= HOURLY_UNTIL:
        return HOUR
    return SIX_HOURS if lead % SIX_HOURS == timedelta(0) else timedelta(0)


class NoaaNbmForecastJob(GribForecastJob[NoaaNbmForecastFile]):
    """Reads the core files."""

    # A forecast is complete within two hours of its start; thrice that, and NOAA has a gap.
    publication_delay = timedelta(hours=6)
    file_type = NoaaNbmForecastFile
    grid = GRID

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[NoaaNbmForecastFile]:
        """Leave out the leads that have no precipitation."""
        files = super().generate_source_file_coords(processing_region_ds, data_var_group)
        has_periods = data_var_group[0].window is not None
        return [f for f in files if not has_periods or period_before(f.lead_time)]

    def message_selectors(self, coord: NoaaNbmForecastFile, data_var: GribVar) -> list[Selector]:
        """Ask for precipitation of the hour, or of the six hours, before the lead."""
        asked = super().message_selectors(coord, data_var)
        if data_var.window is None:
            return asked
        start = coord.lead_time - period_before(coord.lead_time)
        return [replace(one, start_step=start) for one in asked]

    def transform_values_inplace(self, values: np.ndarray[Any, Any], data_var: GribVar) -> None:
        """Turn amounts into mean rates."""
        if data_var.window is not None:
            for lead_s, step in zip(self.step_seconds, np.moveaxis(values, 1, 0), strict=True):
                seconds = period_before(timedelta(seconds=lead_s)).total_seconds()
                if seconds:
                    scale_inplace(step, factor=1.0 / seconds)
        super().transform_values_inplace(values, data_var)


class NoaaNbmForecast(DynamicalDataset):
    """Forecasts of NOAA's National Blend of Models, 2.5 km."""

    template_config = NoaaNbmForecastTemplate
    region_job = NoaaNbmForecastJob
    source_base = "https://noaa-nbm-grib2-pds.s3.amazonaws.com"
    verified = (
        "the values of one field of NOAA's, temperature at 2 m at 1 h of 2025-09-01 00 UTC; no "
        "inventory, and no field of the other variables"
    )
