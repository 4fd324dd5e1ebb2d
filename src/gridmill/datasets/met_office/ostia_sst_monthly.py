"""Monthly sea surface temperature of the equatorial band, from the Met Office's OSTIA analysis.

54 months, April 2006 to September 2010, of 18 latitudes within 5° of the equator by 432 longitudes:
the months in which the Pacific went from La Niña (2007/08) to El Niño (2009/10) and back. The
values are those of `ostia_monthly.nc` in the PyPI package iris-sample-data. No provider offers them
as one file a month: `gridmill demo` splits them into such an archive and serves it on loopback, and
any other use gives its own `source_base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_netcdf,
)
from gridmill.authoring.cf import NO_LEAP_SECONDS, ON_SCALE

__all__ = [
    "OstiaSstMonthly",
    "OstiaSstMonthlyCoord",
    "OstiaSstMonthlyRegionJob",
    "OstiaSstMonthlyTemplate",
]

ATTRIBUTES = {
    "dataset_id": "ostia-sst-monthly",
    "title": "OSTIA monthly mean sea surface temperature, equatorial band",
    "institution": "Met Office, UK",
    "source": "OSTIA sea surface temperature analysis; ostia_monthly.nc of iris-sample-data",
    "license": "UK Open Government Licence",
    "summary": "Monthly mean sea surface temperature within 5 degrees of the equator, April 2006 "
    "to September 2010, from the Met Office's OSTIA analysis: from La Niña to El Niño and back.",
    "keywords": "sea surface temperature, OSTIA, equator, El Niño, La Niña, monthly mean",
    "creator_name": "Met Office, UK",
    "creator_type": "institution",
    "creator_url": "https://www.metoffice.gov.uk",
    "time_coverage_resolution": "P1M",
    "coverage_content_type": "physicalMeasurement",
    "Conventions": "CF-1.11, ACDD-1.3",
}


class OstiaSstMonthlyTemplate(TemplateConfig):
    """Monthly means labelled with the middle of the month, a year in one object."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2006-04-16"
    append_dim_capacity = 1200
    dataset_attributes = ATTRIBUTES
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="hours since 1970-01-01",
            calendar="proleptic_gregorian",
            attrs={
                "standard_name": "time",
                "long_name": "Middle of the month",
                "axis": "T",
                "bounds": "time_bnds",
                **NO_LEAP_SECONDS,
            },
        ),
        Coordinate(
            name="time_bnds",
            dims=("time", "bnds"),
            dtype="int64",
            units="hours since 1970-01-01",
            calendar="proleptic_gregorian",
        ),
        Coordinate(
            name="latitude",
            dtype="float32",
            attrs={
                "standard_name": "latitude",
                "long_name": "Latitude",
                "units": "degrees_north",
                "axis": "Y",
            },
        ),
        Coordinate(
            name="longitude",
            dtype="float32",
            attrs={
                "standard_name": "longitude",
                "long_name": "Longitude",
                "units": "degrees_east",
                "axis": "X",
            },
        ),
        Coordinate(
            name="latitude_longitude",
            dims=(),
            dtype="int32",
            attrs={
                "long_name": "Grid mapping and figure of the Earth",
                "grid_mapping_name": "latitude_longitude",
                "longitude_of_prime_meridian": 0.0,
                "earth_radius": 6371229.0,
            },
        ),
    )
    data_vars = (
        DataVar(
            name="surface_temperature",
            # A year of months is one object, and a new month replaces the last one. It is not
            # divided into inner chunks: a reader then gets it with one request, old or new,
            # while two requests, for a shard's index and for a chunk, can fall on either side of
            # the replacement and fail with a checksum that does not match.
            encoding=Encoding(chunks=(12, 18, 432)),
            # Between 256 and 512 K 17 bits leave steps of 1/512 K, so rounding moves no value by
            # more than 0.001 K: a tenth of the 0.01 K in which OSTIA packs its daily analyses.
            keep_mantissa_bits=17,
            attrs={
                "standard_name": "surface_temperature",
                "long_name": "Monthly mean sea surface temperature",
                "units": "K",
                **ON_SCALE,
                "cell_methods": "time: mean",
                "grid_mapping": "latitude_longitude",
            },
        ),
    )

    def append_dim_coordinates(self, end: Any) -> pd.Index[Any]:
        """Return the middles of the months from `append_dim_start` up to, not including, `end`."""
        start, end = self.label(self.append_dim_start), self.label(end)
        middles = _middles(pd.date_range(start.to_period("M").to_timestamp(), end, freq="MS"))
        return pd.DatetimeIndex(middles[(middles >= start) & (middles < end)])

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the source's own numbers, which it computed in single precision."""
        row = np.arange(153, 171, dtype="float32")
        column = np.arange(432, dtype="float32")
        return {
            "latitude": np.float32(-90) + row * np.float32(5 / 9),
            "longitude": column * np.float32(5 / 6),
        }

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return the months' ends, and the grid mapping."""
        starts = ds.get_index("time").to_period("M").to_timestamp()  # type: ignore[attr-defined]
        bounds = np.stack([starts, starts + pd.offsets.MonthBegin()], axis=-1)
        return {"time_bnds": (("time", "bnds"), bounds), "latitude_longitude": ((), np.int32(0))}


@dataclass(frozen=True, kw_only=True)
class OstiaSstMonthlyCoord(SourceFileCoord):
    """The file of one month, at a dated path."""

    month: pd.Timestamp

    def get_url(self) -> str:
        """Return the path below `source_base`, for instance ``2010/ostia_sst_201007.nc``."""
        return f"{self.month:%Y/ostia_sst_%Y%m.nc}"

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return the month."""
        return {"time": self.month}


class OstiaSstMonthlyRegionJob(RegionJob[DataVar, OstiaSstMonthlyCoord]):
    """Reads monthly files."""

    # From the middle of a month to its end, and a month for the provider to publish the mean.
    publication_delay = timedelta(days=46)
    # A month that was late or broken is looked at again by the updates of the next quarter.
    lookback = timedelta(days=120)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[DataVar]
    ) -> Sequence[OstiaSstMonthlyCoord]:
        """Return one file a month.

        Raises
        ------
        ValueError
            There is no `source_base`.
        """
        if not self.source_base:
            raise ValueError(
                "ostia-sst-monthly has no provider of its own: give source_base, the address of "
                "an archive like the one that `gridmill demo` makes and serves"
            )
        return [OstiaSstMonthlyCoord(month=m) for m in processing_region_ds.get_index("time")]

    def read_data(self, coord: OstiaSstMonthlyCoord, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the one month of a file; land is NaN."""
        assert coord.downloaded_path is not None
        return read_netcdf(coord.downloaded_path, data_var.names_in_source, index={"time": 0})


class OstiaSstMonthly(DynamicalDataset):
    """Monthly sea surface temperature of the equatorial band."""

    template_config = OstiaSstMonthlyTemplate
    region_job = OstiaSstMonthlyRegionJob
    verified = "`ostia_monthly.nc` of iris-sample-data, value for value"


def _middles(starts: pd.DatetimeIndex) -> pd.DatetimeIndex:
    middles: pd.DatetimeIndex = starts + (starts + pd.offsets.MonthBegin() - starts) / 2
    return middles
