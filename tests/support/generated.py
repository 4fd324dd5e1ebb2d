"""The `generated` dataset: a small archive whose every value follows from a formula.

Six-hourly, one netCDF file a day with all variables in it, and one file for what never changes.
One variable has a level dim, one is static, one has missing values, and shards cover two days, so
that daily updates land inside them. Nothing is rounded: an archive equals `truth` exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Coordinate, DataVar, Encoding
from gridmill.sources.netcdf import read_netcdf

START = "2020-01-01"
STEPS_PER_DAY = 4
LATITUDES = np.linspace(60.0, 50.0, 6)
LONGITUDES = np.linspace(-8.0, 6.0, 8)
LEVELS = np.array([1000.0, 850.0, 500.0])
COORDS = {"level": LEVELS, "latitude": LATITUDES, "longitude": LONGITUDES}
DIMS = {
    "temperature": ("time", "latitude", "longitude"),
    "precipitation": ("time", "latitude", "longitude"),
    "humidity": ("time", "level", "latitude", "longitude"),
    "orography": ("latitude", "longitude"),
}
# Distinguishes the variables; the values stay below 2**24 quarters, so float32 holds them exactly.
OFFSETS = {name: 1000.0 * number for number, name in enumerate(DIMS, start=1)}


def truth(name: str, times: pd.DatetimeIndex | None = None) -> np.ndarray:
    """Give the values of a variable at `times`, float32; NaN where it is missing.

    Dims as in `DIMS`; `times` is left out for the static variable. Precipitation is missing in
    one corner of the grid.
    """
    lengths = [len(COORDS[dim]) for dim in DIMS[name] if dim != "time"]
    cells = np.arange(np.prod(lengths)).reshape(lengths) / 4
    if times is None:
        return (OFFSETS[name] + cells).astype("float32")
    steps = (times - pd.Timestamp(START)) // pd.Timedelta(hours=24 // STEPS_PER_DAY)
    steps = np.asarray(steps, dtype=float).reshape(-1, *[1] * len(lengths))
    values = (OFFSETS[name] + cells + 100 * (steps % 64)).astype("float32")
    if name == "precipitation":
        values[:, :2, :2] = np.nan
    return values


def times_of(days: int) -> pd.DatetimeIndex:
    """Give the labels of the first `days` days."""
    return pd.date_range(START, periods=days * STEPS_PER_DAY, freq="6h")


def day_url(day: pd.Timestamp) -> str:
    """Give the path of a day's file below the archive."""
    return f"{day:generated/%Y/%m/%Y%m%d.nc}"


STATIC_URL = "generated/orography.nc"


def build_archive(folder: Path, days: int | Iterable[str | pd.Timestamp]) -> Path:
    """Write the source files of some days below `folder`, as a provider would release them.

    `days` is a number of days from `START`, or the days. Files that are there stay as they are,
    new ones appear whole. Gives `folder`, for use as `source_base`.
    """
    chosen = times_of(days).normalize().unique() if isinstance(days, int) else days
    _write_once(folder / STATIC_URL, ["orography"], None)
    for day in map(pd.Timestamp, chosen):
        times = pd.date_range(day, periods=STEPS_PER_DAY, freq="6h")
        _write_once(folder / day_url(day), [n for n in DIMS if n != "orography"], times)
    return folder


def _write_once(path: Path, names: list[str], times: pd.DatetimeIndex | None) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with netCDF4.Dataset(unfinished, "w") as file:
        lengths = {"time": STEPS_PER_DAY, **{dim: len(c) for dim, c in COORDS.items()}}
        for dim, length in lengths.items():
            file.createDimension(dim, length)
        for name in names:
            stored = file.createVariable(name, "f4", DIMS[name], fill_value=np.float32(-9999))
            values = truth(name, times)
            stored[...] = np.where(np.isnan(values), np.float32(-9999), values)
    unfinished.replace(path)


def _variable(name: str, units: str, chunks: tuple[int, ...], shards: tuple[int, ...]) -> DataVar:
    return DataVar(
        name=name,
        dims=DIMS[name],
        encoding=Encoding(chunks=chunks, shards=shards),
        attrs={"long_name": name.capitalize(), "units": units},
    )


class GeneratedTemplate(TemplateConfig):
    """Six-hourly from 2020, in shards of two days."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = START
    append_dim_frequency = "6h"
    dataset_attributes = {"dataset_id": "generated", "title": "Generated values"}
    coords = (
        Coordinate(name="time", dtype="int64", units="seconds since 1970-01-01"),
        Coordinate(name="level", attrs={"units": "hPa"}),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        _variable("temperature", "K", (4, 3, 4), (8, 6, 8)),
        _variable("precipitation", "kg m-2 s-1", (4, 3, 4), (8, 6, 8)),
        _variable("humidity", "1", (4, 1, 3, 4), (8, 3, 6, 8)),
        _variable("orography", "m", (3, 4), (6, 8)),
    )

    def dimension_coordinates(self) -> dict[str, np.ndarray]:
        """Give levels and cell centres."""
        return dict(COORDS)


@dataclass(frozen=True, kw_only=True)
class GeneratedCoord(SourceFileCoord):
    """The file of one day with the steps of it that the template has, or the static one."""

    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None

    def get_url(self) -> str:
        """Give the dated path."""
        return STATIC_URL if self.first is None else day_url(self.first)

    def out_loc(self) -> dict[str, slice]:
        """Give the steps; the static file fills its variable whole."""
        return {} if self.first is None else {"time": slice(self.first, self.last)}


class GeneratedRegionJob(RegionJob[DataVar, GeneratedCoord]):
    """Reads daily files."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give one file a day."""
        if self.is_static:
            return [GeneratedCoord()]
        steps = processing_region_ds.get_index("time").to_series()
        days = steps.groupby(steps.dt.floor("D"))
        return [GeneratedCoord(first=day.iloc[0], last=day.iloc[-1]) for _, day in days]

    def read_data(self, coord, data_var):
        """Read the steps of one day."""
        if coord.first is None:
            return read_netcdf(coord.downloaded_path, data_var.name)
        hours = 24 // STEPS_PER_DAY
        steps = slice(coord.first.hour // hours, coord.last.hour // hours + 1)
        return read_netcdf(coord.downloaded_path, data_var.name, index={"time": steps})


class Generated(DynamicalDataset):
    """Values that follow from a formula."""

    template_config = GeneratedTemplate
    region_job = GeneratedRegionJob


class RemeasuredTemplate(GeneratedTemplate):
    """The same in other units, which contradicts what is stored."""

    data_vars = tuple(
        replace(var, attrs={**var.attrs, "units": "furlong"}) for var in GeneratedTemplate.data_vars
    )


class Remeasured(Generated):
    """Contradicts the store that `Generated` made."""

    template_config = RemeasuredTemplate
