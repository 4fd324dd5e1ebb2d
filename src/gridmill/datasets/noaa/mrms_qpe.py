"""Hourly precipitation of NOAA's MRMS over the contiguous United States, 0.01°.

Each hour is taken from the best estimate that there is: MultiSensor Pass 2, with nearly all gauges,
an hour or two after the hour; until then Pass 1, with some of them, or what radars alone saw, which
updates replace. Where the provider never made Pass 2, one of the others stays, and the report says
of how many hours. A time is the end of its hour.

The files with these names begin with version 12 of MRMS on 2020-10-14, 20 UTC; before, there were
others (GaugeCorr), which this archive does not have. The source is NOAA's open data bucket; any
mirror with its layout will do as `source_base`. No public one is known: NOAA's own server has the
last hours under other paths (mrms.ncep.noaa.gov/2D), and Iowa State University the years before.
Addresses and history are those that github.com/dynamical-org/reformatters uses (noaa/mrms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from gridmill import Address, Completeness, DynamicalDataset, Encoding, Finality, TemplateConfig
from gridmill.authoring.cf import TIME, attributes
from gridmill.authoring.forecasts.analysis import AnalysisFile, GribAnalysisJob
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import RegionalGrid
from gridmill.authoring.transforms import scale_inplace
from gridmill.datasets.noaa.about import NCEP
from gridmill.sources.grib.identity import Surface

__all__ = ["NoaaMrmsQpe", "NoaaMrmsQpeFile", "NoaaMrmsQpeJob", "NoaaMrmsQpeTemplate"]

GRID = RegionalGrid(
    first_latitude=54.995,
    first_longitude=-129.995,
    step_degrees=(-0.01, 0.01),
    shape=(3500, 7000),
    # IAU 1965, as the messages say.
    mapping={
        "grid_mapping_name": "latitude_longitude",
        "longitude_of_prime_meridian": 0.0,
        "semi_major_axis": 6378160.0,
        "semi_minor_axis": 6356775.0,
    },
)
PASS_1 = "Pass 1, with few gauges; Pass 2 follows within two hours"
RADAR = "what radars alone saw; Pass 2 follows within two hours"

PRECIPITATION = GribVar(
    name="precipitation_surface",
    # Three days of a place from one chunk of 6 MB before compression.
    encoding=Encoding(chunks=(72, 140, 140), shards=(72, 700, 1400)),
    attrs=attributes(
        "precipitation_surface",
        "time: mean",
        long_name="Precipitation, mean rate of the hour that ends at the time",
    ),
    keep_mantissa_bits=9,
    parameter="MultiSensorQPE01H",
    levels=(Level("0 m above mean sea level", Surface(102, 0.0)),),
    # Pass 2, Pass 1 and RadarOnly in the WMO's table for local use, as NSSL fills it.
    codes=((209, 6, 37), (209, 6, 30), (209, 6, 2)),
)


class NoaaMrmsQpeTemplate(TemplateConfig):
    """Hours; three days are a region."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2020-10-15"
    append_dim_frequency = "h"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "noaa-mrms-qpe",
        "title": "NOAA MRMS hourly precipitation, contiguous United States, 0.01°",
        "institution": "NOAA National Centers for Environmental Prediction",
        "source": "Multi-Radar/Multi-Sensor System, https://registry.opendata.aws/noaa-mrms-pds",
        "license": "NOAA data disseminated through NODD are open to the public",
        "summary": "Hourly precipitation over the contiguous United States and their surroundings, "
        "estimated by NOAA's Multi-Radar/Multi-Sensor System from radars, gauges and models, on a "
        "grid of 0.01 degrees.",
        "keywords": "precipitation, radar, gauges, quantitative precipitation estimate, MRMS, "
        "United States, NOAA, NCEP, GRIB2",
        **NCEP,
        "coverage_content_type": "physicalMeasurement",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    coords = (TIME, Completeness(dims=("time",)), Finality(dims=("time",)), *GRID.coords)
    grid: ClassVar[RegionalGrid] = GRID
    data_vars = (PRECIPITATION,)

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return latitudes and longitudes."""
        return dict(self.grid.labels())

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return the grid mapping."""
        return self.grid.auxiliary()


@dataclass(frozen=True, kw_only=True)
class NoaaMrmsQpeFile(AnalysisFile):
    """The file of one hour, which is named after its end."""

    def get_url(self) -> Sequence[str | Address]:
        """Return the paths: ``CONUS/MultiSensor_QPE_01H_Pass2_00.00/20220602/MRMS_….grib2.gz``."""
        return (
            self._path("MultiSensor_QPE_01H_Pass2"),
            Address(self._path("MultiSensor_QPE_01H_Pass1"), provisional=PASS_1),
            Address(self._path("RadarOnly_QPE_01H"), provisional=RADAR),
        )

    def _path(self, product: str) -> str:
        end = self.init_time + self.lead_time
        name = f"MRMS_{product}_00.00_{end:%Y%m%d-%H%M%S}.grib2.gz"
        return f"CONUS/{product}_00.00/{end:%Y%m%d}/{name}"


class NoaaMrmsQpeJob(GribAnalysisJob[NoaaMrmsQpeFile]):
    """Reads a file an hour, which holds one message."""

    # Pass 2 comes two hours after the hour; twice that, and NOAA has a gap.
    publication_delay = timedelta(hours=4)
    init_frequency = timedelta(hours=1)
    file_type = NoaaMrmsQpeFile
    grid = GRID

    def inventory_url(self, url: str) -> None:
        """There is none."""

    def get_processing_region(self) -> slice:
        """Return the region: no hour depends on another."""
        return self.region.slice

    def transform_values_inplace(self, values: np.ndarray[Any, Any], data_var: GribVar) -> None:
        """Turn mm in the hour into kg m-2 s-1; -3 is out of the radars' sight, -1 is missing."""
        values[values < 0.0] = np.nan
        scale_inplace(values, factor=1.0 / 3600.0)
        super().transform_values_inplace(values, data_var)


class NoaaMrmsQpe(DynamicalDataset):
    """Hourly precipitation of NOAA's MRMS, contiguous United States, 0.01°."""

    template_config = NoaaMrmsQpeTemplate
    region_job = NoaaMrmsQpeJob
    source_base = "https://noaa-mrms-pds.s3.amazonaws.com"
    verified = (
        "the values of one file of NOAA's, Pass 2 of 2022-06-02 12 UTC; none of Pass 1 or of "
        "radars alone over this area"
    )
