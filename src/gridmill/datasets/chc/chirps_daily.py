"""Daily precipitation on land between 50°S and 50°N, 0.05°, from CHIRPS 2.0.

The Climate Hazards Center blends infrared images of satellites with rain gauges. A preliminary
version of a day is there two days after its pentad (the days to the 5th, 10th, 15th, 20th, 25th and
to the end of a month), from few gauges. In the third week of the next month the final version comes
under an address of its own. Readers see the preliminary values at once, `finality` tells them
apart, and updates take in the final ones.

The history of the product: CHIRPS 2.0 begins in 1981 and was published in February 2015
(https://doi.org/10.1038/sdata.2015.66). Its days from 2000 on were reprocessed in April 2015, and
all days later that year with another way to divide pentads into days; files of that time are not
offered any more (https://iridl.ldeo.columbia.edu/SOURCES/.UCSB/.CHIRPS/.v2p0). CHIRPS 3.0 is
another product, on other latitudes, and no continuation. No mirror of these files is known.
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
    Address,
    Completeness,
    DataVar,
    DynamicalDataset,
    Encoding,
    Finality,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_geotiff,
)
from gridmill.authoring.cf import TIME_BOUNDS, TIME_OF_CELLS, attributes, time_bounds
from gridmill.authoring.grids import WGS84, RegionalGrid

__all__ = ["ChcChirpsDaily", "ChirpsDailyFile", "ChirpsDailyJob", "ChirpsDailyTemplate"]

ATTRIBUTES = {
    "dataset_id": "chc-chirps-daily",
    "title": "CHIRPS 2.0 daily precipitation, 0.05°",
    "institution": "Climate Hazards Center, University of California, Santa Barbara",
    "source": "CHIRPS 2.0, https://data.chc.ucsb.edu/products/CHIRPS-2.0",
    "license": "Public domain (CC0)",
    "summary": "Daily precipitation on land between 50°S and 50°N since 1981, on a grid of 0.05°, "
    "from infrared images of satellites and rain gauges; preliminary at first, and final in the "
    "following month.",
    "keywords": "precipitation, rain, daily, land, satellite, rain gauge, CHIRPS",
    "references": "https://doi.org/10.1038/sdata.2015.66",
    "creator_name": "Climate Hazards Center, University of California, Santa Barbara",
    "creator_type": "institution",
    "creator_url": "https://www.chc.ucsb.edu",
    "coverage_content_type": "physicalMeasurement",
    "Conventions": "CF-1.11, ACDD-1.3",
}
DAY_S = 86400.0
# What the files hold where there is no land; they do not declare it as nodata.
NO_VALUE = -9999.0


class ChirpsDailyTemplate(TemplateConfig):
    """Days in regions of 30: a month that becomes final rewrites two of them at most."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "1981-01-01"
    append_dim_frequency = "D"
    dataset_attributes = ATTRIBUTES
    grid: ClassVar = RegionalGrid(
        first_latitude=49.975,
        first_longitude=-179.975,
        step_degrees=(-0.05, 0.05),
        shape=(2000, 7200),
        mapping=WGS84,
    )
    coords = (
        TIME_OF_CELLS,
        TIME_BOUNDS,
        *grid.coords,
        Completeness(dims=("time",)),
        Finality(dims=("time",)),
    )
    data_vars = (
        DataVar(
            name="precipitation_surface",
            # A chunk has 5.8 MB before compression, a shard 173 MB.
            encoding=Encoding(chunks=(30, 200, 240), shards=(30, 1000, 1440)),
            keep_mantissa_bits=9,
            attrs=attributes(
                "precipitation_surface",
                "time: mean",
                long_name="Precipitation, mean rate of the day",
            ),
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the centres of the pixels."""
        return dict(self.grid.labels())

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return begin and end of each day, and the grid mapping."""
        return {**time_bounds(ds, "1D"), **self.grid.auxiliary()}


@dataclass(frozen=True, kw_only=True)
class ChirpsDailyFile(SourceFileCoord):
    """The file of one day, final or preliminary."""

    day: pd.Timestamp

    def get_url(self) -> Sequence[str | Address]:
        """Return the path of the final file, and that of the preliminary one."""
        name = f"global_daily/tifs/p05/{self.day:%Y/chirps-v2.0.%Y.%m.%d}.tif.gz"
        why = "preliminary, final in the third week of the next month"
        return [name, Address(f"prelim/{name}", provisional=why)]

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return the day."""
        return {"time": self.day}


class ChirpsDailyJob(RegionJob[DataVar, ChirpsDailyFile]):
    """Reads gzipped GeoTIFF files."""

    # The longest pentad, two days until it is made, and a week for the provider to be late.
    publication_delay = timedelta(days=15)
    # A final file is 52 days late at most, if the third week is kept to; beyond that, a provisional
    # day is asked for at growing intervals.
    lookback = timedelta(days=60)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[DataVar]
    ) -> Sequence[ChirpsDailyFile]:
        """Return one file a day."""
        return [ChirpsDailyFile(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord: ChirpsDailyFile, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the millimetres of a day as a rate; sea is NaN."""
        assert coord.downloaded_path is not None
        rain = read_geotiff(coord.downloaded_path, crs="EPSG:4326")
        rain[rain == NO_VALUE] = np.nan
        return rain / np.float32(DAY_S)


class ChcChirpsDaily(DynamicalDataset):
    """Daily precipitation on land from CHIRPS 2.0, 0.05°."""

    template_config = ChirpsDailyTemplate
    region_job = ChirpsDailyJob
    source_base = "https://data.chc.ucsb.edu/products/CHIRPS-2.0"
    verified = None
