"""Global forecasts of NOAA's GFS, every 6 hours, to 16 days.

Two products on regular grids: 0.25°, hourly to 120 h and 3-hourly to 384 h (`NoaaGfsForecast`),
and 1°, 3-hourly (`NoaaGfsForecast1Deg`). The source is NOAA's open data bucket; any mirror with its
layout will do as `source_base`. For an archive with fewer leads subclass the template with another
`last_lead`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import Coordinate, DynamicalDataset, Encoding, TemplateConfig
from gridmill.datasets.noaa_gfs_variables import variables
from gridmill.grib_region_job import ForecastFile, GribForecastJob

__all__ = [
    "NoaaGfsForecast",
    "NoaaGfsForecast1Deg",
    "NoaaGfsForecast1DegJob",
    "NoaaGfsForecast1DegTemplate",
    "NoaaGfsForecastFile",
    "NoaaGfsForecastJob",
    "NoaaGfsForecastTemplate",
]

ATTRIBUTES: Mapping[str, Any] = {
    "dataset_id": "noaa-gfs-forecast",
    "title": "NOAA GFS forecast, 0.25°",
    "institution": "NOAA National Centers for Environmental Prediction",
    "source": "Global Forecast System (GFS), https://registry.opendata.aws/noaa-gfs-bdp-pds",
    "license": "NOAA data disseminated through NODD are open to the public",
    "Conventions": "CF-1.11",
}
ATTRIBUTES_1DEG: Mapping[str, Any] = {
    **ATTRIBUTES,
    "dataset_id": "noaa-gfs-forecast-1deg",
    "title": "NOAA GFS forecast, 1°",
}
EPOCH = "seconds since 1970-01-01"
INIT_TIME = Coordinate(
    name="init_time",
    dtype="int64",
    units=EPOCH,
    calendar="proleptic_gregorian",
    attrs={
        "standard_name": "forecast_reference_time",
        "long_name": "Start of the forecast",
        "axis": "T",
    },
)
LEAD_TIME = Coordinate(
    name="lead_time",
    dtype="int64",
    units="seconds",
    attrs={"standard_name": "forecast_period", "long_name": "Time since the forecast's start"},
)
VALID_TIME = Coordinate(
    name="valid_time",
    dims=("init_time", "lead_time"),
    dtype="int64",
    units=EPOCH,
    calendar="proleptic_gregorian",
    # A year of forecasts: 2.4 MB before compression, and an update rewrites one object.
    chunks=(4 * 365, 209),
    attrs={"standard_name": "time", "long_name": "Time for which the forecast is valid"},
)
LATITUDE = Coordinate(
    name="latitude",
    attrs={"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
)
LONGITUDE = Coordinate(
    name="longitude",
    attrs={"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
)
GRID_MAPPING = Coordinate(
    name="latitude_longitude",
    dims=(),
    dtype="int32",
    attrs={
        "grid_mapping_name": "latitude_longitude",
        "longitude_of_prime_meridian": 0.0,
        "earth_radius": 6371229.0,
    },
)


def grid(step_degrees: float) -> dict[str, np.ndarray[Any, Any]]:
    """Give the product's latitudes, from the north, and longitudes, from Greenwich."""
    return {
        "latitude": 90 - step_degrees * np.arange(round(180 / step_degrees) + 1),
        "longitude": step_degrees * np.arange(round(360 / step_degrees)),
    }


class NoaaGfsForecastTemplate(TemplateConfig):
    """Forecasts of 0.25°; a forecast is a region."""

    dims = ("init_time", "lead_time", "latitude", "longitude")
    append_dim = "init_time"
    # Version 16 of the model: the first with hourly leads and these names in the bucket.
    append_dim_start = "2021-05-01"
    append_dim_frequency = "6h"
    dataset_attributes = ATTRIBUTES
    coords = (INIT_TIME, LEAD_TIME, VALID_TIME, LATITUDE, LONGITUDE, GRID_MAPPING)
    # Half the leads of a place, or a map of a region, from a few chunks of 6 MB before compression.
    data_vars = variables(Encoding(chunks=(1, 105, 121, 121), shards=(1, 210, 726, 726)))
    step_degrees: ClassVar[float] = 0.25
    lead_hours: ClassVar[tuple[int, ...]] = (*range(121), *range(123, 385, 3))
    # Leads beyond this one are not taken. An archive keeps what it was made with.
    last_lead: ClassVar[timedelta] = timedelta(hours=384)

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give leads, latitudes and longitudes."""
        last_hour = self.last_lead / timedelta(hours=1)
        hours = [hour for hour in self.lead_hours if hour <= last_hour]
        return {"lead_time": pd.to_timedelta(hours, unit="h"), **grid(self.step_degrees)}

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Give the times for which forecasts are valid, and the grid mapping."""
        return {
            "valid_time": ds["init_time"] + ds["lead_time"],
            "latitude_longitude": ((), np.int32(0)),
        }


class NoaaGfsForecast1DegTemplate(NoaaGfsForecastTemplate):
    """Forecasts of 1°."""

    dataset_attributes = ATTRIBUTES_1DEG
    data_vars = variables(Encoding(chunks=(1, 129, 91, 90), shards=(1, 129, 182, 360)))
    step_degrees = 1.0
    lead_hours = tuple(range(0, 385, 3))


@dataclass(frozen=True, kw_only=True)
class NoaaGfsForecastFile(ForecastFile):
    """The file of one lead."""

    product: str

    def get_url(self) -> str:
        """Give the path in the bucket: ``gfs.20260801/06/atmos/gfs.t06z.pgrb2.0p25.f009``."""
        init, hours = self.init_time, self.lead_time // timedelta(hours=1)
        return f"gfs.{init:%Y%m%d/%H}/atmos/gfs.t{init:%H}z.pgrb2.{self.product}.f{hours:03d}"


class NoaaGfsForecastJob(GribForecastJob[NoaaGfsForecastFile]):
    """Reads the files of 0.25°."""

    # A forecast is complete five hours after its start; twice that, and NOAA has a gap.
    publication_delay = timedelta(hours=10)
    product: ClassVar[str] = "0p25"
    step_degrees: ClassVar[float] = 0.25

    def source_file(self, init_time: pd.Timestamp, lead_time: pd.Timedelta) -> NoaaGfsForecastFile:
        """Give the file of one lead of one forecast."""
        return NoaaGfsForecastFile(init_time=init_time, lead_time=lead_time, product=self.product)

    def grid_coordinates(self) -> dict[str, np.ndarray[Any, Any]]:
        """Give the template's grid."""
        return grid(self.step_degrees)


class NoaaGfsForecast1DegJob(NoaaGfsForecastJob):
    """Reads the files of 1°."""

    product = "1p00"
    step_degrees = 1.0


class NoaaGfsForecast(DynamicalDataset):
    """Global forecasts of NOAA's GFS, 0.25°."""

    template_config = NoaaGfsForecastTemplate
    region_job = NoaaGfsForecastJob
    source_base = "https://noaa-gfs-bdp-pds.s3.amazonaws.com"


class NoaaGfsForecast1Deg(NoaaGfsForecast):
    """Global forecasts of NOAA's GFS, 1°."""

    template_config = NoaaGfsForecast1DegTemplate
    region_job = NoaaGfsForecast1DegJob
