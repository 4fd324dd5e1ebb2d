"""Tiny forecasts that say how much of them arrived: starts, leads, members; a file for each."""

from __future__ import annotations

import hashlib
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
from gridmill.model.variables import Completeness, Coordinate, DataVar, Encoding
from gridmill.sources.fetch.download import DownloadSettings
from tiny import TinyJob, TinyTemplate, dataset_of

START = pd.Timestamp("2020-01-01")
STEP = pd.Timedelta(hours=6)
LEADS = pd.to_timedelta([0, 3, 6], unit="h")
MEMBERS = (0, 1)
# Positions of a region: one shard.
REGION = 2
Place = tuple[pd.Timestamp, pd.Timedelta, int]

EMPTY = pd.Timedelta(0)


def variable(name: str) -> DataVar:
    """Give a variable on (init_time, lead_time, member, x)."""
    return DataVar(
        name=name,
        encoding=Encoding(chunks=(1, 3, 2, 2), shards=(REGION, 3, 2, 2)),
        attrs={"long_name": name, "units": "1"},
    )


class ForecastTemplate(TemplateConfig):
    """Six-hourly from 2020 on; how much arrived is told for each start, lead and member."""

    dims = ("init_time", "lead_time", "member", "x")
    append_dim = "init_time"
    append_dim_start = "2020-01-01"
    append_dim_frequency = "6h"
    append_dim_capacity = 1000
    dataset_attributes = {"dataset_id": "arrivals", "title": "Arrivals"}
    coords = (
        Coordinate(name="init_time", dtype="int64", units="hours since 2020-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="member", dtype="int32"),
        Coordinate(name="x"),
        Completeness(dims=("init_time", "lead_time", "member")),
    )
    data_vars = (variable("a"), variable("b"), variable("rain"))

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give leads, members and two points."""
        return {"lead_time": LEADS, "member": list(MEMBERS), "x": [0.0, 1.0]}


@dataclass(frozen=True, kw_only=True)
class ForecastFile(SourceFileCoord):
    """The file of one start, lead and member."""

    init: Any
    lead: Any
    member: int

    def get_url(self) -> str:
        """Give the path that names them."""
        return url_of((self.init, self.lead, self.member))

    def out_loc(self) -> dict[str, Any]:
        """Give the labels."""
        return {"init_time": self.init, "lead_time": self.lead, "member": self.member}


class ForecastJob(RegionJob[DataVar, ForecastFile]):
    """Reads a file for each start, lead and member; there is no rain at lead 0."""

    download_settings = DownloadSettings(attempts=1)
    publication_delay = pd.Timedelta(hours=6)

    def source_groups(self, data_vars: Any) -> Any:
        """Give the rain apart, which lacks a lead."""
        rain = [var for var in data_vars if var.name == "rain"]
        return [[var for var in data_vars if var not in rain], rain]

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Any
    ) -> list[ForecastFile]:
        """Give the files."""
        has_rain = any(var.name == "rain" for var in data_var_group)
        return [
            ForecastFile(init=init, lead=lead, member=member)
            for init in processing_region_ds.get_index("init_time")
            for lead in processing_region_ds.get_index("lead_time")[1 if has_rain else 0 :]
            for member in processing_region_ds.get_index("member")
        ]

    def read_data(self, coord: ForecastFile, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the file's only values, which serve for every variable."""
        assert coord.downloaded_path is not None
        return np.load(coord.downloaded_path)


class Forecasts(DynamicalDataset):
    """Tiny forecasts."""

    template_config = ForecastTemplate
    region_job = ForecastJob


class ArrivingTemplate(TinyTemplate):
    """The tiny archive, which says how much of each hour arrived."""

    coords = (*TinyTemplate.coords, Completeness(dims=("time",)))


class ArrivingJob(TinyJob):
    """What is two hours late is a gap."""

    publication_delay = pd.Timedelta(hours=2)


Arriving = dataset_of(template=ArrivingTemplate, job=ArrivingJob)


def url_of(place: Place) -> str:
    """Give the path of a file."""
    init, lead, member = place
    return f"{init:%Y%m%d%H}/f{lead // pd.Timedelta(hours=1):03d}-m{member}.npy"


def inits(n: int) -> pd.DatetimeIndex:
    """Give the first starts."""
    return pd.date_range(START, periods=n, freq=STEP)


def places(n: int) -> list[Place]:
    """Give all places of the first starts."""
    return [(init, lead, member) for init in inits(n) for lead in LEADS for member in MEMBERS]


class ForecastProvider:
    """Source files in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, chosen: Iterable[Place]) -> None:
        """Write the files of these places."""
        for place in chosen:
            path = self.root / url_of(place)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, value_of(place))


def value_of(place: Place) -> np.ndarray[Any, Any]:
    """Give what the file of a place holds."""
    seed = int.from_bytes(hashlib.sha256(str(place).encode()).digest()[:4], "big")
    return np.random.default_rng(seed).random(2, dtype="float32")


def claimed_and_there(ds: xr.Dataset) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read what an open dataset claims, and only then which share of the values is there.

    Source files have no missing value, so that every NaN is one that did not arrive; rain, which
    has none at lead 0, does not count there.
    """
    claimed = ds.completeness.load()
    dims = list(claimed.dims)
    there = []
    for name in ds.data_vars:
        has = ds[name].load().notnull().all([dim for dim in ds[name].dims if dim not in dims])
        if name == "rain":
            has = has.astype("float32").where(ds.lead_time != EMPTY)
        there.append(has.astype("float32"))
    share = xr.concat(there, "variable").mean("variable", dtype="float64").astype("float32")
    return claimed.values, share.transpose(*dims).values
