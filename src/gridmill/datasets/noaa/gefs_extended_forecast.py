"""Ensemble forecasts of NOAA's GEFS to 16 days: 0.25° to 10 days, beyond 0.5° brought to 0.25°.

Every 3 hours to 240 hours, from the files of the most used variables; every 6 hours beyond, from
files of 0.5°, interpolated linearly along latitudes and longitudes: every second point is the
provider's own. Member 0 is the control forecast. Variables are those that both kinds of files have.

The history of the product and its mirrors are those of `gridmill.datasets.noaa.gefs_forecast`
(github.com/dynamical-org/reformatters, noaa/gefs).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np

from gridmill import Completeness, DynamicalDataset, Encoding
from gridmill.authoring.cf import ENSEMBLE_MEMBER
from gridmill.authoring.forecasts.job import GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar
from gridmill.authoring.grids import HorizontalGrid, LatitudeLongitudeGrid
from gridmill.datasets.noaa.gefs_forecast import (
    MIRRORS,
    NoaaGefsForecastFile,
    NoaaGefsForecastTemplate,
)
from gridmill.datasets.noaa.variables import variables

__all__ = [
    "NoaaGefsExtendedForecast",
    "NoaaGefsExtendedForecastFile",
    "NoaaGefsExtendedForecastJob",
    "NoaaGefsExtendedForecastTemplate",
    "twice_as_fine",
]

GRID = LatitudeLongitudeGrid(step_degrees=0.25)
COARSE_GRID = LatitudeLongitudeGrid(step_degrees=0.5)
DIMS = ("init_time", "ensemble_member", "lead_time", "latitude", "longitude")
# All members and a third of the leads of a place in 6 MB before compression; a shard has 347 MB.
ENCODING = Encoding(chunks=(1, 31, 35, 37, 36), shards=(1, 31, 105, 148, 180))
FINE_UNTIL = timedelta(hours=240)
# What is in both kinds of files, and no yes or no that an interpolation would blur.
NAMES = frozenset(
    {
        "downward_long_wave_radiation_flux_surface",
        "downward_short_wave_radiation_flux_surface",
        "maximum_temperature_2m",
        "minimum_temperature_2m",
        "precipitable_water_atmosphere",
        "precipitation_surface",
        "pressure_reduced_to_mean_sea_level",
        "pressure_surface",
        "relative_humidity_2m",
        "temperature_2m",
        "total_cloud_cover_atmosphere",
        "wind_u_10m",
        "wind_v_10m",
    }
)


class NoaaGefsExtendedForecastTemplate(ForecastTemplate):
    """Forecasts of all members; a forecast is a region."""

    dims = DIMS
    append_dim_start = NoaaGefsForecastTemplate.append_dim_start
    dataset_attributes = {  # noqa: RUF012
        **NoaaGefsForecastTemplate.dataset_attributes,
        "dataset_id": "noaa-gefs-extended-forecast",
        "title": "NOAA GEFS forecast to 16 days, 0.25°",
        "summary": "Forecasts of all 31 members of NOAA's Global Ensemble Forecast System, from "
        "00, 06, 12 and 18 UTC to 16 days: every 3 hours to 10 days, and every 6 hours beyond, "
        "where fields of 0.5 degrees are interpolated to 0.25; by start, member and lead on a "
        "global grid of latitudes and longitudes.",
    }
    data_vars = tuple(v for v in variables("gefs", DIMS, ENCODING) if v.name in NAMES)
    grid = GRID
    lead_hours = (*range(0, 241, 3), *range(246, 385, 6))
    more_coords = (
        ENSEMBLE_MEMBER,
        Completeness(dims=("init_time", "ensemble_member", "lead_time")),
    )
    more_labels: ClassVar = {"ensemble_member": np.arange(31, dtype="int32")}


@dataclass(frozen=True, kw_only=True)
class NoaaGefsExtendedForecastFile(NoaaGefsForecastFile):
    """The file of one lead of one member, of either resolution."""

    @property
    def is_coarse(self) -> bool:
        """Whether it has 0.5°."""
        return self.lead_time > FINE_UNTIL

    def get_url(self) -> str:
        """Return the path, beyond 240 h ``gefs.20260801/06/atmos/pgrb2ap5/….pgrb2a.0p50.f246``."""
        fine = super().get_url()
        if not self.is_coarse:
            return fine
        return fine.replace("pgrb2sp25", "pgrb2ap5").replace("pgrb2s.0p25", "pgrb2a.0p50")


class NoaaGefsExtendedForecastJob(GribForecastJob[NoaaGefsExtendedForecastFile]):
    """Reads the files of both resolutions."""

    # A forecast is complete seven hours after its start; twice that, and NOAA has a gap.
    publication_delay = timedelta(hours=14)
    file_type = NoaaGefsExtendedForecastFile
    grid = GRID
    coarse_grid: ClassVar[HorizontalGrid] = COARSE_GRID

    def grid_of(self, coord: NoaaGefsExtendedForecastFile) -> HorizontalGrid | None:
        """Return that of the file's resolution."""
        return self.coarse_grid if coord.is_coarse else self.grid

    # Not by `DataVar.regridded`, which gives the same but for the last bit: archives that exist
    # would then be of another method, and be reprocessed.
    def read_data(
        self, coord: NoaaGefsExtendedForecastFile, data_var: GribVar
    ) -> np.ndarray[Any, Any]:
        """Decode a field, and interpolate it if it is of the coarse grid."""
        values = super().read_data(coord, data_var)
        return twice_as_fine(values) if coord.is_coarse else values


def twice_as_fine(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Interpolate a global field linearly to half the distance of its points.

    Parameters
    ----------
    values
        Rows with both poles, and columns around the globe.

    Examples
    --------
    >>> twice_as_fine(np.array([[0.0, 2.0], [4.0, 8.0]]))
    array([[0. , 1. , 2. , 1. ],
           [2. , 3.5, 5. , 3.5],
           [4. , 6. , 8. , 6. ]])
    """
    rows, columns = values.shape
    fine = np.empty((2 * rows - 1, 2 * columns), values.dtype)
    fine[::2, ::2] = values
    fine[::2, 1::2] = (values + np.roll(values, -1, axis=1)) / 2
    fine[1::2] = (fine[:-1:2] + fine[2::2]) / 2
    return fine


class NoaaGefsExtendedForecast(DynamicalDataset):
    """Ensemble forecasts of NOAA's GEFS to 16 days."""

    template_config = NoaaGefsExtendedForecastTemplate
    region_job = NoaaGefsExtendedForecastJob
    source_base = MIRRORS[0]
    verified = (
        "NOAA's inventories of 2025-08-01, a member at 15 h and the control at 432 h, for every "
        "variable; no values"
    )
