"""Brightness temperature in the infrared window over the contiguous United States, from GOES-19.

Band 13 (10.3 µm) of the Advanced Baseline Imager, cloud and moisture imagery of the sector CONUS: a
scene every five minutes, on the satellite's own grid of 2 km below it. Scenes come when the
satellite scanned, some late and some never, and their names end in the time when the file was made:
the times are those that the bucket lists, and of several files of one scene the newest is read.
Readers wait for 30 minutes, in which late scenes find their place; see `gridmill reindex` for those
that come later still.

The history of the product: GOES-19 took the place of GOES-16 over the east on 2025-04-07. Before
that, and at other longitudes, scenes are in the buckets of GOES-16, 17 and 18; those are other
archives, because calibrations differ. Source of names and dates:
https://github.com/awslabs/open-data-docs/tree/main/docs/noaa/noaa-goes16 and the GOES-R Product
Definition and User's Guide, volume 5. No mirror with this layout was tried: any that lists its
folders will do as `source_base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    RegionJob,
    TemplateConfig,
    read_netcdf,
)
from gridmill.authoring.cf import TIME_BOUNDS, TIME_OF_CELLS, attributes, time_bounds
from gridmill.authoring.grids import ScanningGrid

__all__ = ["GoesInfraredJob", "GoesInfraredTemplate", "GoesScene", "NoaaGoes19Infrared"]

# Mode, the scan's start and end in tenths of a second, and when the file was made.
PATTERN = "OR_ABI-L2-CMIPC-M{mode:d}C13_G19_s{start:%Y%j%H%M%S%f}_e{}_c{created}.nc"
UNITS = "milliseconds since 1970-01-01"
# Files say the middle of their scan. In every mode a scan of the sector takes so long.
SCAN = pd.Timedelta("157.3s")


def folder_of(hour: pd.Timestamp) -> str:
    """Return the folder of the scenes that began in an hour."""
    return f"ABI-L2-CMIPC/{hour:%Y/%j/%H}/"


class GoesInfraredTemplate(TemplateConfig):
    """Scenes in regions of 24: two hours of the usual mode."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2025-04-07T16:00"
    append_dim_frequency = None
    settling_window = "30min"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "noaa-goes19-conus-infrared",
        "title": "GOES-19 infrared window, contiguous United States",
        "institution": "NOAA National Environmental Satellite, Data, and Information Service",
        "source": "GOES-19 ABI L2 CMIPC, band 13, https://registry.opendata.aws/noaa-goes",
        "license": "NOAA data disseminated through NODD are open to the public",
        "summary": "Brightness temperatures at 10.3 µm over the contiguous United States, a scene "
        "every five minutes since April 2025, on the grid of the satellite GOES-19 (GOES East).",
        "keywords": "brightness temperature, infrared, satellite, geostationary, GOES, ABI, NOAA",
        "creator_name": "NOAA National Environmental Satellite, Data, and Information Service",
        "creator_type": "institution",
        "creator_url": "https://www.nesdis.noaa.gov",
        "coverage_content_type": "physicalMeasurement",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    grid: ClassVar = ScanningGrid(
        mapping={
            "grid_mapping_name": "geostationary",
            "latitude_of_projection_origin": 0.0,
            "longitude_of_projection_origin": -75.0,
            "perspective_point_height": 35786023.0,
            "sweep_angle_axis": "x",
            "false_easting": 0.0,
            "false_northing": 0.0,
            "semi_major_axis": 6378137.0,
            "semi_minor_axis": 6356752.31414,
        },
        first=(0.128212, -0.101332),
        step=(-5.6e-5, 5.6e-5),
        shape=(1500, 2500),
    )
    coords = (
        # Scans begin at tenths of a second.
        replace(
            TIME_OF_CELLS,
            units=UNITS,
            attrs={**TIME_OF_CELLS.attrs, "long_name": "Begin of the scan"},
        ),
        replace(TIME_BOUNDS, units=UNITS),
        *grid.coords,
        Completeness(dims=("time",)),
    )
    data_vars = (
        DataVar(
            name="brightness_temperature",
            # A chunk has 6 MB before compression, a shard 360 MB.
            encoding=Encoding(chunks=(24, 250, 250), shards=(24, 1500, 2500)),
            # Files are packed in steps of 0.06 K; 13 bits are 0.03 K between 256 and 512 K.
            keep_mantissa_bits=13,
            attrs=attributes(
                "brightness_temperature",
                "time: point",
                standard_name="toa_brightness_temperature",
                long_name="Brightness temperature at 10.3 µm",
                units="K",
                units_metadata="temperature: on_scale",
            ),
        ),
    )

    def append_dim_coordinates(self, end: Any, *, published: Any = ()) -> pd.Index[Any]:
        """Return the starts of the scenes that the bucket lists, from the last published on."""
        start = self.label(self.append_dim_start)
        if len(published):
            start = max(start, published[-1] - pd.Timedelta(self.settling_window))
        hours = pd.date_range(start.floor("h"), end, freq="h")
        listed = (self.listings.of(folder_of(hour), PATTERN).files for hour in hours)
        found = pd.DatetimeIndex(sorted({file["start"] for files in listed for file in files}))
        scenes: pd.Index[Any] = found[(found >= start) & (found < self.label(end))]
        return scenes

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the scanning angles."""
        return dict(self.grid.labels())

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return begin and end of each scan, places and grid mapping."""
        return {**time_bounds(ds, SCAN), **self.grid.auxiliary()}


@dataclass(frozen=True, kw_only=True)
class GoesScene(ListedFileCoord):
    """The newest file of a scene."""

    time: pd.Timestamp

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return when its scan began."""
        return {"time": self.time}


class GoesInfraredJob(RegionJob[DataVar, GoesScene]):
    """Reads scenes, whose names the bucket lists."""

    # What is listed is there.
    publication_delay = timedelta(hours=2)
    lookback = timedelta(hours=6)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[DataVar]
    ) -> Sequence[GoesScene]:
        """Return one file a scene."""
        return [
            GoesScene(
                time=time,
                listed=self.listings.of(folder_of(time), PATTERN).newest(start=time, by="created"),
            )
            for time in processing_region_ds.get_index("time")
        ]

    def read_data(self, coord: GoesScene, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the temperatures; what the satellite does not see is NaN."""
        assert coord.downloaded_path is not None
        return read_netcdf(coord.downloaded_path, "CMI")


class NoaaGoes19Infrared(DynamicalDataset):
    """Brightness temperature in the infrared window from GOES-19."""

    template_config = GoesInfraredTemplate
    region_job = GoesInfraredJob
    source_base = "https://noaa-goes19.s3.amazonaws.com"
    verified = None
