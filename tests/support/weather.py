"""A small archive of plausible weather: hourly, two variables, a file an hour, shards of days.

Temperature goes up and down with the day, rain comes in showers, and no two fields are equal. What
a provider may do wrong is done to its files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Coordinate, DataVar, Encoding
from gridmill.sources.fetch.download import DownloadSettings

SHAPE = (5, 6)
NAMES = ("temperature", "rain")
START = pd.Timestamp("2020-01-01")
DAYS = 4
ENCODING = Encoding(chunks=(12, *SHAPE), shards=(24, *SHAPE))


def hours(first: int, stop: int) -> list[pd.Timestamp]:
    """Give the labels of positions [first, stop)."""
    return [START + pd.Timedelta(hours=n) for n in range(first, stop)]


def until(days: float) -> str:
    """Give the end of an archive of some days."""
    return (START + pd.Timedelta(days=days)).isoformat()


def values_at(label: pd.Timestamp) -> np.ndarray:
    """Give what a label's file holds: (variable, y, x), float32, in K and kg m-2 s-1."""
    rng = np.random.default_rng(int(label.timestamp()))
    temperature = 280 + 5 * np.sin(2 * np.pi * label.hour / 24) + rng.normal(0, 1, SHAPE)
    rain = 1e-4 * rng.random(SHAPE) * (1 + np.cos(label.hour))
    return np.stack([temperature, rain]).astype("float32")


class Provider:
    """Source files in a folder, right unless they are changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, labels: Iterable[pd.Timestamp]) -> None:
        """Write the files of these labels."""
        for label in labels:
            self.write(label, values_at(label))

    def change(self, labels: Iterable[pd.Timestamp], name: str, change: Any) -> None:
        """Change one variable's values in the files of these labels."""
        for label in labels:
            values = np.load(self.path(label))
            values[NAMES.index(name)] = change(values[NAMES.index(name)])
            self.write(label, values)

    def write(self, label: pd.Timestamp, values: np.ndarray) -> None:
        """Write a label's file."""
        self.path(label).parent.mkdir(parents=True, exist_ok=True)
        np.save(self.path(label), values)

    def path(self, label: pd.Timestamp) -> Path:
        """Give where a label's file is."""
        return self.root / url_of(label)


def url_of(label: pd.Timestamp) -> str:
    """Give the path of a label's file."""
    return f"{label:%Y%m%dT%H}.npy"


class WeatherTemplate(TemplateConfig):
    """Hourly from 2020 on."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2020-01-01"
    append_dim_frequency = "h"
    append_dim_capacity = 10_000
    dataset_attributes = {"dataset_id": "weather", "title": "Weather", "Conventions": "CF-1.11"}
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="seconds since 1970-01-01",
            calendar="proleptic_gregorian",
            attrs={"standard_name": "time", "long_name": "Time", "axis": "T"},
        ),
        Coordinate(name="latitude", attrs={"standard_name": "latitude", "units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"standard_name": "longitude", "units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="temperature",
            encoding=ENCODING,
            attrs={"long_name": "Temperature", "standard_name": "air_temperature", "units": "K"},
        ),
        DataVar(name="rain", encoding=ENCODING, attrs={"long_name": "Rain", "units": "kg m-2 s-1"}),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give a grid over Europe."""
        return {"latitude": np.linspace(60, 40, 5), "longitude": np.linspace(-10, 15, 6)}


@dataclass(frozen=True, kw_only=True)
class WeatherCoord(SourceFileCoord):
    """The file of one label."""

    label: Any

    def get_url(self) -> str:
        """Give the path that names the label."""
        return url_of(self.label)

    def out_loc(self) -> dict[str, Any]:
        """Give the label."""
        return {"time": self.label}


class WeatherJob(RegionJob[DataVar, WeatherCoord]):
    """Reads a file an hour, which is there an hour after its label."""

    publication_delay = timedelta(hours=1)
    lookback = timedelta(hours=36)
    download_settings = DownloadSettings(attempts=1)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Any
    ) -> list[WeatherCoord]:
        """Give a file a label."""
        return [WeatherCoord(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord: WeatherCoord, data_var: DataVar) -> np.ndarray:
        """Read one of the file's arrays."""
        assert coord.downloaded_path is not None
        return np.load(coord.downloaded_path)[NAMES.index(data_var.name)]


class Weather(DynamicalDataset):
    """Hourly temperature and rain."""

    template_config = WeatherTemplate
    region_job = WeatherJob


class NarrowTemplate(WeatherTemplate):
    """An author who says that it never is above 280 K here."""

    data_vars = tuple(
        replace(var, valid_range=(250.0, 280.0)) if var.name == "temperature" else var
        for var in WeatherTemplate.data_vars
    )


class Narrow(Weather):
    """Weather with a range of its own."""

    template_config = NarrowTemplate
