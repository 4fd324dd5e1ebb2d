"""The datasets that the pages speak of, small enough to run every command that they show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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

NAMES = ("temperature_2m", "wind_u_10m", "wind_gust")
# An archive is made with these; the pages add the other.
FIRST = NAMES[:2]
LEADS = (6, 12)
START, END = "2025-02-26", "2025-07-02"
# Not there yet: the pages settle them by hand.
LATE = ("20250701/00/forecast.f006", "20250701/06/forecast.f012")
# Positions of a region: two weeks of four forecasts a day.
REGION = 56


class ForecastTemplate(TemplateConfig):
    """Four forecasts a day of two leads, at one point."""

    dims = ("init_time", "lead_time", "y")
    append_dim = "init_time"
    append_dim_start = START
    append_dim_frequency = "6h"
    append_dim_capacity = 10_000
    dataset_attributes = {"dataset_id": "my-forecast", "title": "My forecast"}
    coords = (
        Coordinate(
            name="init_time",
            dtype="int64",
            units="hours since 2025-01-01",
            calendar="proleptic_gregorian",
        ),
        Coordinate(name="lead_time", dtype="int64", attrs={"units": "hours"}),
        Coordinate(name="y"),
    )
    data_vars = tuple(
        DataVar(
            name=name,
            encoding=Encoding(chunks=(REGION, 2, 1)),
            attrs={"long_name": name, "units": "1"},
        )
        for name in NAMES
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the leads, in hours, and one point."""
        return {"lead_time": np.array(LEADS), "y": np.arange(1.0)}


@dataclass(frozen=True, kw_only=True)
class ForecastFile(SourceFileCoord):
    """The file of one lead of one forecast."""

    init: pd.Timestamp
    lead: int

    def get_url(self) -> str:
        """Give the path of the file."""
        return path_of(self.init, self.lead)

    def out_loc(self) -> dict[str, Any]:
        """Give forecast and lead."""
        return {"init_time": self.init, "lead_time": self.lead}


class ForecastJob(RegionJob[DataVar, ForecastFile]):
    """Reads a file a lead."""

    download_settings = DownloadSettings(attempts=1)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Any
    ) -> list[ForecastFile]:
        """Give a file a lead of each forecast."""
        inits = processing_region_ds.get_index("init_time")
        return [ForecastFile(init=init, lead=lead) for init in inits for lead in LEADS]

    def read_data(self, coord: ForecastFile, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the one value of a variable."""
        assert coord.downloaded_path is not None
        values = np.frombuffer(coord.downloaded_path.read_bytes(), "float32")
        return values[[NAMES.index(data_var.name)]]


class MyForecast(DynamicalDataset):
    """What the pages call my-forecast."""

    template_config = ForecastTemplate
    region_job = ForecastJob


def path_of(init: pd.Timestamp, lead: int) -> str:
    """Give the path of a file as the pages name it."""
    return f"{init:%Y%m%d/%H}/forecast.f{lead:03d}"


def write_forecasts(root: Path, late: Iterable[str] = LATE) -> None:
    """Write every file but those that are late."""
    for number, init in enumerate(pd.date_range(START, END, freq="6h", inclusive="left")):
        for lead in LEADS:
            path = root / path_of(init, lead)
            if path_of(init, lead) not in late:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(np.array([number, -number, number / 2], "float32").tobytes())


def write_weather(folder: Path, days: int) -> np.ndarray:
    """Write the provider's files; the temperature by day."""
    shape = (180, 360)
    rng = np.random.default_rng(7)
    xr.Dataset({"lsm": (("y", "x"), rng.random(shape).astype("f4"))}).to_netcdf(
        folder / "constants.nc"
    )
    every = 280 + rng.normal(size=(days, *shape)).astype("f4")
    for day, values in zip(pd.date_range("2020-01-01", periods=days), every, strict=True):
        path = folder / f"{day:%Y/%m/weather-%Y%m%d}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {"t2m": (("y", "x"), values), "rain": (("y", "x"), values * 1e-6)}
        xr.Dataset(fields).to_netcdf(path)
    return every


class ScenesTemplate(TemplateConfig):
    """Scenes at the times that the provider lists."""

    dims = ("time", "y")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_capacity = 1000
    settling_window = "3h"
    dataset_attributes = {"dataset_id": "my-scenes", "title": "My scenes"}
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="seconds since 2025-01-01",
            calendar="proleptic_gregorian",
        ),
        Coordinate(name="y"),
    )
    data_vars = (
        DataVar(
            name="radiance",
            encoding=Encoding(chunks=(4, 1)),
            attrs={"long_name": "Radiance", "units": "1"},
        ),
    )

    def append_dim_coordinates(self, end: Any, *, source: Any = ()) -> pd.DatetimeIndex:
        """Give the times in the names of the provider's files."""
        names = sorted(path.stem for base in source for path in Path(base).glob("*.scene"))
        labels = pd.DatetimeIndex([pd.Timestamp(name) for name in names])
        return labels[labels < self.label(end)]

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give one point."""
        return {"y": np.arange(1.0)}


@dataclass(frozen=True, kw_only=True)
class SceneFile(SourceFileCoord):
    """The file of one scene."""

    time: pd.Timestamp

    def get_url(self) -> str:
        """Give its name."""
        return f"{self.time:%Y%m%dT%H%M}.scene"

    def out_loc(self) -> dict[str, Any]:
        """Give the scene."""
        return {"time": self.time}


class ScenesJob(RegionJob[DataVar, SceneFile]):
    """Reads a file a scene."""

    download_settings = DownloadSettings(attempts=1)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Any
    ) -> list[SceneFile]:
        """Give a file a scene."""
        return [SceneFile(time=time) for time in processing_region_ds.get_index("time")]

    def read_data(self, coord: SceneFile, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the one value."""
        assert coord.downloaded_path is not None
        return np.frombuffer(coord.downloaded_path.read_bytes(), "float32")


class MyScenes(DynamicalDataset):
    """What the pages call my-scenes."""

    template_config = ScenesTemplate
    region_job = ScenesJob


def write_scenes(root: Path, *times: str) -> None:
    """Write the files of scenes."""
    root.mkdir(parents=True, exist_ok=True)
    for time in map(pd.Timestamp, times):
        value = np.array([time.hour], "float32")
        (root / f"{time:%Y%m%dT%H%M}.scene").write_bytes(value.tobytes())
