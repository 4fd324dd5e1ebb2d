"""Half-hourly precipitation of the world, 0.1°, from NASA's IMERG version 07.

IMERG joins the microwave instruments of many satellites, follows rain between their passes, and
fills with infrared. It has three runs, each a dataset of its own: Early after 4.6 hours (95 % of
its files), Late after 14.7, and Final, to which rain gauges are added, after about 3.5 months.

Files are HDF5 at NASA's GES DISC, for who has an Earthdata login and has approved "NASA GESDISC
DATA ARCHIVE" in its profile. By default the login is read from netrc; a token takes its place with
a table in the settings file:

    [credential."data.gesdisc.earthdata.nasa.gov"]
    kind = "bearer"
    env = "EARTHDATA_TOKEN"

The history of the product: version 07 reaches back to 1998, over the years of TRMM. Files are
called V07B; those of Early from 2026-03-04 00 UTC and of Late from 2026-03-03 14 UTC on V07C.
Their names are therefore read from the listing of each day. Final V07B ends with September 2025:
the archive then waits for files, and shows no gaps. Version 08 will be another product. Source of
names, dates and delays: https://github.com/dynamical-org/reformatters (nasa/imerg). No mirror of
these files is known: NASA's other server, PPS, has the last days under other names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Completeness,
    DataVar,
    DynamicalDataset,
    Encoding,
    ListedFileCoord,
    Login,
    RegionJob,
    TemplateConfig,
    read_netcdf,
)
from gridmill.authoring.cf import TIME_BOUNDS, TIME_OF_CELLS, attributes, time_bounds
from gridmill.authoring.grids import WGS84, RegionalGrid

__all__ = [
    "ImergFile",
    "ImergJob",
    "ImergTemplate",
    "ImergVar",
    "NasaImergEarly",
    "NasaImergFinal",
    "NasaImergLate",
]

# A day of half hours in chunks of 6.2 MB before compression; a shard has 156 MB.
ENCODING = Encoding(chunks=(48, 180, 180), shards=(48, 900, 900))
HOUR_S = 3600.0
# Where the files hold nothing: it is an attribute of theirs in some versions only.
NO_VALUE = np.float32(-9999.9)


def _about(run: str, summary: str) -> dict[str, Any]:
    return {
        "dataset_id": f"nasa-imerg-{run.lower()}",
        "title": f"NASA IMERG V07 {run} Run, half-hourly precipitation, 0.1°",
        "institution": "NASA Goddard Space Flight Center",
        "source": f"GPM IMERG {run} Run V07, https://gpm.nasa.gov/data/imerg",
        "license": "NASA's Earth science data are free and open to all",
        "summary": "Precipitation of the world every half hour since 1998, on a grid of 0.1°, from "
        f"the microwave and infrared instruments of many satellites; {summary}.",
        "keywords": "precipitation, rain, half-hourly, global, satellite, GPM, IMERG, NASA",
        "references": "https://doi.org/10.5067/GPM/IMERG/3B-HH/07",
        "creator_name": "NASA Goddard Space Flight Center",
        "creator_type": "institution",
        "creator_url": "https://gpm.nasa.gov",
        "coverage_content_type": "physicalMeasurement",
        "Conventions": "CF-1.11, ACDD-1.3",
    }


@dataclass(frozen=True, kw_only=True)
class ImergVar(DataVar):
    """A variable, and what the files call it."""

    source_name: str


class ImergTemplate(TemplateConfig):
    """Half hours in regions of a day."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "1998-01-01"
    append_dim_frequency = "30min"
    grid: ClassVar = RegionalGrid(
        first_latitude=89.95,
        first_longitude=-179.95,
        step_degrees=(-0.1, 0.1),
        shape=(1800, 3600),
        mapping=WGS84,
    )
    coords = (TIME_OF_CELLS, TIME_BOUNDS, *grid.coords, Completeness(dims=("time",)))
    data_vars = (
        ImergVar(
            name="precipitation_surface",
            source_name="Grid/precipitation",
            encoding=ENCODING,
            keep_mantissa_bits=9,
            attrs=attributes(
                "precipitation_surface",
                "time: mean",
                long_name="Precipitation, mean rate of the half hour",
            ),
        ),
        ImergVar(
            name="precipitation_quality_index",
            source_name="Grid/precipitationQualityIndex",
            encoding=ENCODING,
            keep_mantissa_bits=7,
            attrs=attributes(
                "precipitation_quality_index",
                "time: mean",
                long_name="How much microwave instruments tell of the precipitation, 0 to 1",
                units="1",
            ),
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the centres of the cells, from north to south."""
        return dict(self.grid.labels())

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return begin and end of each half hour, and the grid mapping."""
        return {**time_bounds(ds, "30min"), **self.grid.auxiliary()}


@dataclass(frozen=True, kw_only=True)
class ImergFile(ListedFileCoord):
    """The file of a half hour."""

    time: pd.Timestamp

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return its begin."""
        return {"time": self.time}


class ImergJob(RegionJob[ImergVar, ImergFile]):
    """Reads HDF5 files, whose names a day's listing tells."""

    # Of the product's folder and of its files: ``E``, ``L`` and nothing.
    product: ClassVar[str] = "GPM_3IMERGHH"
    run: ClassVar[str] = "HHR"
    credentials = (Login("urs.earthdata.nasa.gov"),)
    # Another version of a file comes under another name, which the listing shows.
    asks_for_revisions = False

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[ImergVar]
    ) -> Sequence[ImergFile]:
        """Return the newest version of each half hour."""
        # Start and end, the minute of the day, and the version.
        pattern = (
            f"3B-{self.run}.MS.MRG.3IMERG.{{start:%Y%m%d-S%H%M%S}}-E{{}}.{{}}.{{version}}.HDF5"
        )
        return [
            ImergFile(
                time=time,
                listed=self.listings.of(f"{self.product}.07/{time:%Y/%j}/", pattern).newest(
                    start=time
                ),
            )
            for time in processing_region_ds.get_index("time")
        ]

    def read_data(self, coord: ImergFile, data_var: ImergVar) -> np.ndarray[Any, Any]:
        """Read a variable, in the files longitude by latitude and in mm per hour."""
        assert coord.downloaded_path is not None
        values = read_netcdf(
            coord.downloaded_path, data_var.source_name, index={"time": 0}, dims=("lat", "lon")
        )
        values[values == NO_VALUE] = np.nan
        return values / np.float32(HOUR_S) if data_var.name.endswith("_surface") else values


class NasaImergEarlyTemplate(ImergTemplate):
    """What the Early Run says of itself."""

    dataset_attributes = _about("Early", "the first run, after about 4 hours")


class NasaImergEarlyJob(ImergJob):
    """Reads files of the Early Run."""

    product = "GPM_3IMERGHHE"
    run = "HHR-E"
    publication_delay = timedelta(hours=12)


class NasaImergEarly(DynamicalDataset):
    """Half-hourly precipitation from NASA's IMERG, Early Run."""

    template_config = NasaImergEarlyTemplate
    region_job = NasaImergEarlyJob
    source_base = "https://data.gesdisc.earthdata.nasa.gov/data/GPM_L3"
    verified = None


class NasaImergLateTemplate(ImergTemplate):
    """What the Late Run says of itself."""

    dataset_attributes = _about("Late", "the second run, after about 14 hours")


class NasaImergLateJob(ImergJob):
    """Reads files of the Late Run."""

    product = "GPM_3IMERGHHL"
    run = "HHR-L"
    publication_delay = timedelta(hours=36)


class NasaImergLate(DynamicalDataset):
    """Half-hourly precipitation from NASA's IMERG, Late Run."""

    template_config = NasaImergLateTemplate
    region_job = NasaImergLateJob
    source_base = NasaImergEarly.source_base
    verified = None


class NasaImergFinalTemplate(ImergTemplate):
    """What the Final Run says of itself."""

    dataset_attributes = _about("Final", "the run with rain gauges, after about 3.5 months")


class NasaImergFinal(DynamicalDataset):
    """Half-hourly precipitation from NASA's IMERG, Final Run."""

    template_config = NasaImergFinalTemplate
    region_job = ImergJob
    source_base = NasaImergEarly.source_base
    verified = None
