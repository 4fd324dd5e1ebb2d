"""The `wfde5-hourly` dataset: real hourly land forcing with NaN over sea, one file a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Coordinate, DataVar, Encoding
from gridmill.sources.netcdf import read_netcdf

LATITUDES = np.arange(50.25, 60.0, 0.5)
LONGITUDES = np.arange(-10.75, 3.0, 0.5)
# name in the source, standard name, long name, units
TABLE = {
    "air_temperature": ("Tair", "air_temperature", "Near-surface air temperature", "K"),
    "precipitation_flux": ("pr", "precipitation_flux", "Precipitation flux", "kg m-2 s-1"),
    "specific_humidity": ("Qair", "specific_humidity", "Near-surface specific humidity", "1"),
    "downwelling_longwave_flux": (
        "LWdown",
        "surface_downwelling_longwave_flux_in_air",
        "Surface downwelling longwave radiation",
        "W m-2",
    ),
    "downwelling_shortwave_flux": (
        "SWdown",
        "surface_downwelling_shortwave_flux_in_air",
        "Surface downwelling shortwave radiation",
        "W m-2",
    ),
    "wind_speed": ("Wind", "wind_speed", "Near-surface wind speed", "m s-1"),
}


@dataclass(frozen=True, kw_only=True)
class Wfde5Var(DataVar):
    """A variable with its name in the source files."""

    source_name: str


def wfde5_vars(encoding: Encoding) -> tuple[Wfde5Var, ...]:
    """Give the six variables, stored alike."""
    return tuple(
        Wfde5Var(
            name=name,
            encoding=encoding,
            source_name=source_name,
            attrs={"standard_name": standard_name, "long_name": long_name, "units": units},
        )
        for name, (source_name, standard_name, long_name, units) in TABLE.items()
    )


class Wfde5Template(TemplateConfig):
    """January 2017, hourly, 0.5 degree, in shards of four days."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2017-01-01"
    append_dim_frequency = "h"
    dataset_attributes = {
        "dataset_id": "wfde5-hourly",
        "title": "WFDE5 v2.0",
        "Conventions": "CF-1.8",
    }
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="seconds since 1970-01-01",
            calendar="proleptic_gregorian",
            attrs={"standard_name": "time", "long_name": "Time", "axis": "T"},
        ),
        Coordinate(name="latitude", attrs={"units": "degrees_north", "axis": "Y"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east", "axis": "X"}),
    )
    data_vars = wfde5_vars(Encoding(chunks=(24, 10, 14), shards=(96, 20, 28)))

    def dimension_coordinates(self) -> dict[str, np.ndarray]:
        """Give the cell centres."""
        return {"latitude": LATITUDES, "longitude": LONGITUDES}


class Wfde5UnshardedTemplate(Wfde5Template):
    """The same with every chunk an object."""

    data_vars = wfde5_vars(Encoding(chunks=(96, 20, 28)))


class Wfde5DailyChunksTemplate(Wfde5Template):
    """The same with an object a day, in regions of a day."""

    data_vars = wfde5_vars(Encoding(chunks=(24, 20, 28)))


@dataclass(frozen=True, kw_only=True)
class Wfde5Coord(SourceFileCoord):
    """The file of one day, and the hours of it that the template has."""

    first: pd.Timestamp
    last: pd.Timestamp

    def get_url(self) -> str:
        """Give the dated path."""
        return f"{self.first:wfde5/%Y/%m/WFDE5_v2.0_%Y%m%d.nc}"

    def out_loc(self) -> dict[str, slice]:
        """Give the hours."""
        return {"time": slice(self.first, self.last)}


class Wfde5RegionJob(RegionJob[Wfde5Var, Wfde5Coord]):
    """Reads daily files."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give one file a day."""
        hours = processing_region_ds.get_index("time").to_series()
        days = hours.groupby(hours.dt.floor("D"))
        return [Wfde5Coord(first=day.iloc[0], last=day.iloc[-1]) for _, day in days]

    def read_data(self, coord, data_var):
        """Read the hours of one day."""
        hours = slice(coord.first.hour, coord.last.hour + 1)
        return read_netcdf(coord.downloaded_path, data_var.source_name, index={"time": hours})


class Wfde5Hourly(DynamicalDataset):
    """WFDE5 near-surface meteorological variables."""

    template_config = Wfde5Template
    region_job = Wfde5RegionJob


class Wfde5HourlyUnsharded(Wfde5Hourly):
    """The same, unsharded."""

    template_config = Wfde5UnshardedTemplate


class Wfde5HourlyDailyChunks(Wfde5Hourly):
    """The same in daily objects."""

    template_config = Wfde5DailyChunksTemplate
