"""Annual mean air temperature over North America in two climate projections with HadGEM2-AO.

240 years, 1860 to 2099, on the model's own calendar of 360 days, for the emission scenarios A1B
and E1 of the ENSEMBLES project. The values are those of `A1B_north_america.nc` and
`E1_north_america.nc` in the PyPI package iris-sample-data. As with `ostia-sst-monthly`, no provider
offers them as one file a year: `gridmill demo` makes and serves such an archive, and any other use
gives its own `source_base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import cftime
import numpy as np
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
from gridmill.authoring.cf import ON_SCALE

__all__ = [
    "HadGem2Coord",
    "HadGem2NorthAmerica",
    "HadGem2RegionJob",
    "HadGem2Template",
    "HadGem2Var",
]

ATTRIBUTES = {
    "dataset_id": "hadgem2-north-america",
    "title": "HadGEM2-AO annual mean air temperature, North America, scenarios A1B and E1",
    "institution": "Met Office Hadley Centre, UK",
    "source": "Met Office Unified Model 6.05; A1B_north_america.nc and E1_north_america.nc "
    "of iris-sample-data",
    "license": "UK Open Government Licence",
    "summary": "Annual mean air temperature at 1.5 m over North America from 1860, as the climate "
    "model HadGEM2-AO has it in the scenarios A1B and E1.",
    "keywords": "climate model, air temperature, North America, HadGEM2, A1B, E1, annual mean",
    "creator_name": "Met Office Hadley Centre, UK",
    "creator_type": "institution",
    "creator_url": "https://www.metoffice.gov.uk",
    "coverage_content_type": "modelResult",
    "Conventions": "CF-1.11, ACDD-1.3",
}
CALENDAR = "360_day"
TIME_UNITS = "hours since 1970-01-01"
REFERENCE_TIME = cftime.datetime(1859, 9, 1, 6, calendar=CALENDAR)


@dataclass(frozen=True, kw_only=True)
class HadGem2Var(DataVar):
    """The air temperature of one scenario."""

    scenario: str


def _air_temperature(scenario: str) -> HadGem2Var:
    return HadGem2Var(
        name=f"air_temperature_{scenario.lower()}",
        scenario=scenario,
        encoding=Encoding(chunks=(10, 37, 49), shards=(20, 37, 49)),
        # Between 256 and 512 K 16 bits leave steps of 1/256 K: rounding moves no value by more
        # than 0.002 K, far below a hundredth of the year-to-year variability.
        keep_mantissa_bits=16,
        attrs={
            "standard_name": "air_temperature",
            "long_name": f"Annual mean air temperature at 1.5 m, scenario {scenario}",
            "units": "K",
            **ON_SCALE,
            "scenario": scenario,
            "cell_methods": "time: mean (interval: 6 hour)",
            "grid_mapping": "latitude_longitude",
        },
    )


class HadGem2Template(TemplateConfig):
    """Years from December to November, labelled with 1 June, in shards of 20."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "1860-06-01"
    append_dim_frequency = "YS-JUN"
    append_dim_capacity = 1000
    calendar = CALENDAR
    dataset_attributes = ATTRIBUTES
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units=TIME_UNITS,
            calendar=CALENDAR,
            attrs={
                "standard_name": "time",
                "long_name": "Middle of the year from December to November",
                "axis": "T",
                "bounds": "time_bnds",
            },
        ),
        Coordinate(
            name="time_bnds",
            dims=("time", "bnds"),
            dtype="int64",
            units=TIME_UNITS,
            calendar=CALENDAR,
        ),
        Coordinate(
            name="forecast_period",
            dims=("time",),
            dtype="int32",
            attrs={
                "standard_name": "forecast_period",
                "long_name": "Time since the run began",
                "units": "hours",
            },
        ),
        Coordinate(
            name="forecast_reference_time",
            dims=(),
            dtype="int64",
            units=TIME_UNITS,
            calendar=CALENDAR,
            attrs={
                "standard_name": "forecast_reference_time",
                "long_name": "Start of the run",
            },
        ),
        Coordinate(
            name="height",
            dims=(),
            attrs={
                "standard_name": "height",
                "long_name": "Height above the ground",
                "units": "m",
                "positive": "up",
            },
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
    data_vars = (_air_temperature("A1B"), _air_temperature("E1"))

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the model's grid points."""
        return {
            "latitude": np.arange(15, 60.1, 1.25, dtype="float32"),
            "longitude": np.arange(225, 315.1, 1.875, dtype="float32"),
        }

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return the years' ends, the hours since the run began, and the scalar coordinates."""
        labels = ds.get_index("time")
        half = timedelta(days=180)
        bounds = np.array([(label - half, label + half) for label in labels]).reshape(-1, 2)
        # The source counts to the end of the year that a label is the middle of.
        hours = [(label + half - REFERENCE_TIME) // timedelta(hours=1) for label in labels]
        return {
            "time_bnds": (("time", "bnds"), bounds),
            "forecast_period": (("time",), np.array(hours, dtype="int32")),
            "forecast_reference_time": ((), REFERENCE_TIME),
            "height": ((), 1.5),
            "latitude_longitude": ((), np.int32(0)),
        }


@dataclass(frozen=True, kw_only=True)
class HadGem2Coord(SourceFileCoord):
    """The file of one scenario and year, at a dated path."""

    scenario: str
    year: cftime.datetime

    def get_url(self) -> str:
        """Return the path below `source_base`, for instance ``A1B/1860s/A1B_1860.nc``."""
        year = self.year.year
        return f"{self.scenario}/{year // 10}0s/{self.scenario}_{year}.nc"

    def out_loc(self) -> dict[str, cftime.datetime]:
        """Return the year."""
        return {"time": self.year}


class HadGem2RegionJob(RegionJob[HadGem2Var, HadGem2Coord]):
    """Reads yearly files, which each scenario has for itself."""

    def source_groups(self, data_vars: Sequence[HadGem2Var]) -> Sequence[Sequence[HadGem2Var]]:
        """Return each scenario its own group."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[HadGem2Var]
    ) -> Sequence[HadGem2Coord]:
        """Return one file a year.

        Raises
        ------
        ValueError
            There is no `source_base`.
        """
        if not self.source_base:
            raise ValueError(
                "hadgem2-north-america has no provider of its own: give source_base, the address "
                "of an archive like the one that `gridmill demo` makes and serves"
            )
        scenario = data_var_group[0].scenario
        years = processing_region_ds.get_index("time")
        return [HadGem2Coord(scenario=scenario, year=year) for year in years]

    def read_data(self, coord: HadGem2Coord, data_var: HadGem2Var) -> np.ndarray[Any, Any]:
        """Read the one year of a file."""
        assert coord.downloaded_path is not None
        return read_netcdf(coord.downloaded_path, "air_temperature", index={"time": 0})


class HadGem2NorthAmerica(DynamicalDataset):
    """Annual mean air temperature over North America in two scenarios."""

    template_config = HadGem2Template
    region_job = HadGem2RegionJob
    verified = "both files of iris-sample-data, value for value"
