"""Hourly weather of NOAA's GFS, 0.25°: the shortest leads of successive forecasts as one series.

Instants come from leads 0 to 5 h, means and extremes from leads 1 to 6 h. The source files are
those of `gridmill.datasets.noaa.gfs_forecast`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import xarray as xr

from gridmill import DynamicalDataset, Encoding, TemplateConfig
from gridmill.authoring.cf import TIME
from gridmill.authoring.forecasts.analysis import AnalysisFile, GribAnalysisJob
from gridmill.datasets.noaa.gfs_forecast import ATTRIBUTES, GRID, SOURCE, NoaaGfsForecastFile
from gridmill.datasets.noaa.variables import variables

__all__ = [
    "NoaaGfsAnalysis",
    "NoaaGfsAnalysisFile",
    "NoaaGfsAnalysisJob",
    "NoaaGfsAnalysisTemplate",
]

DIMS = ("time", "latitude", "longitude")


class NoaaGfsAnalysisTemplate(TemplateConfig):
    """Hours; three weeks are a region."""

    dims = DIMS
    append_dim = "time"
    append_dim_start = "2021-05-01"
    append_dim_frequency = "h"
    dataset_attributes = {  # noqa: RUF012
        **ATTRIBUTES,
        "dataset_id": "noaa-gfs-analysis",
        "title": "NOAA GFS analysis, 0.25°",
        "summary": "The latest forecasts of NOAA's Global Forecast System as one hourly series: "
        "each time from the shortest lead that has it, on a global grid of latitudes and "
        "longitudes.",
    }
    coords = (TIME, *GRID.coords)
    # Three weeks of a place from one chunk of 5 MB before compression.
    data_vars = variables("gfs", DIMS, Encoding(chunks=(504, 52, 45), shards=(504, 364, 360)))

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return latitudes and longitudes."""
        return dict(GRID.labels())

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return the grid mapping."""
        return GRID.auxiliary()


@dataclass(frozen=True, kw_only=True)
class NoaaGfsAnalysisFile(AnalysisFile, NoaaGfsForecastFile):
    """The file of one lead, as the source of one hour."""


class NoaaGfsAnalysisJob(GribAnalysisJob[NoaaGfsAnalysisFile]):
    """Reads the files of 0.25°."""

    # As for the forecast, from whose start the last of six hours is counted.
    publication_delay = timedelta(hours=10)
    file_type = NoaaGfsAnalysisFile
    grid = GRID


class NoaaGfsAnalysis(DynamicalDataset):
    """Hourly weather of NOAA's GFS, 0.25°."""

    template_config = NoaaGfsAnalysisTemplate
    region_job = NoaaGfsAnalysisJob
    source_base = SOURCE
    verified = "the same source files as those of noaa-gfs-forecast"
