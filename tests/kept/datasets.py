"""The datasets of the kept archives, and their source files: every value by formula.

What stands here must never change what an archive of it holds: archives of every release were made
with it. A release that needs something else adds a dataset.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cftime
import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Completeness,
    Coordinate,
    DataVar,
    DownloadSettings,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
)

# Large enough that Icechunk keeps an object of values apart from its manifests.
SHAPE = (6, 10)
# Positions of a region.
REGION = 4
START = pd.Timestamp("2020-01-01")
HOUR = pd.Timedelta(hours=1)
FIRST_DAY = cftime.datetime(2020, 2, 28, calendar="360_day")
LEADS = pd.to_timedelta([0, 3, 6, 9], unit="h")
# Hours after the start at which the irregular dataset has a position.
IRREGULAR = (0, 1, 3, 7, 8, 12, 18, 19, 30, 31, 33, 40, 41, 48, 60, 61)
NUMBERS = {"temperature": 0, "rain": 1, "orography": 2}
STATIC_FILE = "orography.bin"
# When source files were made, seconds since the epoch: part of their ETag.
MADE = 1_577_836_800


@dataclass(frozen=True, kw_only=True)
class KeptVar(DataVar):
    """A variable, and its number in the source files."""

    number: int


def kept_var(name: str, *, shards: bool = True, dims: tuple[str, ...] = ()) -> KeptVar:
    """Return a variable on (append dim, y, x), or on the dims given."""
    shape = {"orography": SHAPE}.get(name, (2 if shards else REGION, *SHAPE))
    whole = SHAPE if name == "orography" else (REGION, *SHAPE)
    return KeptVar(
        name=name,
        number=NUMBERS[name],
        dims=dims,
        encoding=Encoding(chunks=shape, shards=whole if shards else None),
        attrs={"long_name": name, "units": "1"},
    )


class HourlyTemplate(TemplateConfig):
    """Hourly, with a static variable, in shards."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2020-01-01"
    append_dim_frequency: str | None = "h"
    append_dim_capacity = 10_000
    dataset_attributes = {"dataset_id": "kept-hourly", "title": "Kept, hourly"}
    coords: Sequence[Coordinate] = (
        Coordinate(name="time", dtype="int64", units="hours since 2020-01-01"),
        Coordinate(name="y"),
        Coordinate(name="x"),
    )
    data_vars: Sequence[DataVar] = (
        kept_var("temperature"),
        kept_var("rain"),
        kept_var("orography", dims=("y", "x")),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return whole numbers."""
        return {"y": np.arange(float(SHAPE[0])), "x": np.arange(float(SHAPE[1]))}


@dataclass(frozen=True, kw_only=True)
class LabelFile(SourceFileCoord):
    """The file of one label."""

    label: Any

    def get_url(self) -> str:
        """Return the path that names the label."""
        return path_of(self.label)

    def out_loc(self) -> dict[str, Any]:
        """Return the label."""
        return {"time": self.label}


@dataclass(frozen=True, kw_only=True)
class StaticFile(SourceFileCoord):
    """The file of the static variable."""

    def get_url(self) -> str:
        """Return its path."""
        return STATIC_FILE

    def out_loc(self) -> dict[str, Any]:
        """Return no label: it fills all."""
        return {}


class HourlyJob(RegionJob[KeptVar, SourceFileCoord]):
    """Reads a file a label; what is two hours late is a gap, what was read is not read again."""

    download_settings = DownloadSettings(attempts=1)
    publication_delay = pd.Timedelta(hours=2)
    reads_again: ClassVar[bool] = False

    def source_groups(self, data_vars: Sequence[KeptVar]) -> Sequence[Sequence[KeptVar]]:
        """Return static variables apart."""
        static = [var for var in data_vars if self.append_dim not in var.dims]
        return [[var for var in data_vars if var not in static], static]

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[KeptVar]
    ) -> list[SourceFileCoord]:
        """Return a file a label, or the static one."""
        if self.append_dim not in data_var_group[0].dims:
            return [StaticFile()]
        return [LabelFile(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord: SourceFileCoord, data_var: KeptVar) -> np.ndarray[Any, Any]:
        """Read one of the file's fields."""
        assert coord.downloaded_path is not None
        return read_field(coord.downloaded_path, data_var.number)


class Hourly(DynamicalDataset):
    """Hourly, in shards, with a static variable."""

    template_config: ClassVar[type[TemplateConfig]] = HourlyTemplate
    region_job: ClassVar[type[RegionJob[Any, Any]]] = HourlyJob


class UnshardedTemplate(HourlyTemplate):
    """Every chunk is an object."""

    dataset_attributes = {"dataset_id": "kept-unsharded", "title": "Kept, not sharded"}
    data_vars = (
        kept_var("temperature", shards=False),
        kept_var("rain", shards=False),
        kept_var("orography", shards=False, dims=("y", "x")),
    )


class Unsharded(Hourly):
    """Hourly, without shards."""

    template_config = UnshardedTemplate


class CompletenessTemplate(HourlyTemplate):
    """It says how much of each hour arrived."""

    dataset_attributes = {"dataset_id": "kept-completeness", "title": "Kept, with completeness"}
    coords = (*HourlyTemplate.coords, Completeness(dims=("time",)))


class CompletenessJob(HourlyJob):
    """A region that is completed is read again as a whole."""

    reads_again = True


class WithCompleteness(Hourly):
    """Hourly, with a completeness coordinate."""

    template_config = CompletenessTemplate
    region_job = CompletenessJob


class IrregularTemplate(HourlyTemplate):
    """A time axis without a step."""

    append_dim_frequency = None
    dataset_attributes = {"dataset_id": "kept-irregular", "title": "Kept, irregular"}

    def append_dim_coordinates(self, end: Any) -> pd.Index[Any]:
        """Return the times that there are."""
        times = pd.DatetimeIndex([START + HOUR * n for n in IRREGULAR], name="time")
        return times[(times >= self.label(self.append_dim_start)) & (times < end)]


class Irregular(Hourly):
    """A time axis without a step."""

    template_config = IrregularTemplate


class DaysTemplate(HourlyTemplate):
    """Daily, on a calendar of twelve months of thirty days."""

    append_dim_start = "2020-02-28"
    append_dim_frequency = "D"
    calendar = "360_day"
    dataset_attributes = {"dataset_id": "kept-360-day", "title": "Kept, 360-day calendar"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 2020-01-01", calendar="360_day"),
        *HourlyTemplate.coords[1:],
    )


class Days360(Hourly):
    """Daily, on a 360-day calendar."""

    template_config = DaysTemplate


class ForecastTemplate(HourlyTemplate):
    """Forecasts every six hours; completeness is told for each start and lead."""

    dims = ("init_time", "lead_time", "y", "x")
    append_dim = "init_time"
    append_dim_frequency = "6h"
    dataset_attributes = {"dataset_id": "kept-forecast", "title": "Kept, forecasts"}
    coords = (
        Coordinate(name="init_time", dtype="int64", units="hours since 2020-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="y"),
        Coordinate(name="x"),
        Completeness(dims=("init_time", "lead_time")),
    )
    data_vars = tuple(
        KeptVar(
            name=name,
            number=NUMBERS[name],
            encoding=Encoding(chunks=(1, 2, *SHAPE), shards=(REGION, 4, *SHAPE)),
            attrs={"long_name": name, "units": "1"},
        )
        for name in ("temperature", "rain")
    )
    last_lead = LEADS[-1]

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the leads, and whole numbers."""
        return {"lead_time": LEADS[self.last_lead >= LEADS], **super().dimension_coordinates()}

    def limit_leads(self, max_lead: str) -> None:
        """Leave out the leads beyond `max_lead`, in place."""
        self.last_lead = pd.Timedelta(max_lead)


@dataclass(frozen=True, kw_only=True)
class LeadFile(SourceFileCoord):
    """The file of one start and lead."""

    init: Any
    lead: Any

    def get_url(self) -> str:
        """Return the path that names them."""
        return path_of((self.init, self.lead))

    def out_loc(self) -> dict[str, Any]:
        """Return the labels."""
        return {"init_time": self.init, "lead_time": self.lead}


class ForecastJob(HourlyJob):
    """Reads a file for each start and lead."""

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[KeptVar]
    ) -> list[SourceFileCoord]:
        """Return the files."""
        return [
            LeadFile(init=init, lead=lead)
            for init in processing_region_ds.get_index("init_time")
            for lead in processing_region_ds.get_index("lead_time")
        ]


class Forecasts(Hourly):
    """Forecasts of several leads."""

    template_config = ForecastTemplate
    region_job = ForecastJob


DATASETS: dict[str, type[DynamicalDataset]] = {
    kind.__name__: kind
    for kind in (Hourly, Unsharded, WithCompleteness, Irregular, Days360, Forecasts)
}


# -- source files -----------------------------------------------------------------------------


def labels_of(dataset: str, n: int) -> list[Any]:
    """Return the first labels of a dataset's append dim."""
    if dataset == "Irregular":
        return [START + HOUR * hour for hour in IRREGULAR[:n]]
    if dataset == "Days360":
        return list(xr.date_range(FIRST_DAY, periods=n, freq="D", use_cftime=True))
    return [START + HOUR * (6 if dataset == "Forecasts" else 1) * at for at in range(n)]


def places_of(dataset: str, label: Any) -> list[Any]:
    """Return what a label's files are called by: itself, or itself with each lead."""
    return [(label, lead) for lead in LEADS] if dataset == "Forecasts" else [label]


def path_of(place: Any) -> str:
    """Return the path of a file, by its label or its start and lead."""
    if isinstance(place, tuple):
        init, lead = place
        return f"{init:%Y%m%dT%H}/f{lead // HOUR:03d}.bin"
    return place.strftime("%Y/%Y%m%dT%H.bin")


def field_of(path: str, name: str, version: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what a file holds of a variable: float32 on (y, x), in [0, 1), all different.

    The finaliser of splitmix64 (Steele, Lea, Flood 2014) over a number for each value; its upper
    24 bits are exact in float32.
    """
    digits = int("".join(c for c in path if c.isdigit()) or "0")
    seed = ((digits * 8 + NUMBERS[name]) * 8 + version) * 4096
    x = np.arange(seed, seed + SHAPE[0] * SHAPE[1], dtype="uint64")
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(40)).astype("float32") / np.float32(2**24)).reshape(SHAPE)


def read_field(path: Path, number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Read one field of a source file.

    Raises
    ------
    ValueError
        The file is broken, or ends before that field.
    """
    fields = np.frombuffer(path.read_bytes(), "<f4").reshape(-1, *SHAPE)
    if number >= len(fields):
        raise ValueError(f"{path.name} has {len(fields)} fields, none with number {number}")
    return fields[number].astype("float32")


class Provider:
    """Source files in a folder, as a provider would publish them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, paths: Iterable[str], version: int = 0) -> None:
        """Write files, or another version of them."""
        for path in paths:
            fields = [field_of(path, name, version) for name in NUMBERS]
            self._write(path, b"".join(field.astype("<f4").tobytes() for field in fields), version)

    def withdraw(self, path: str) -> None:
        """Take a file away."""
        (self.root / path).unlink(missing_ok=True)

    def break_file(self, path: str) -> None:
        """Put something there that cannot be read."""
        self._write(path, b"broken", 0)

    def cut_file(self, path: str) -> None:
        """Leave only the temperature in a file: the rest cannot be read."""
        self._write(path, field_of(path, "temperature").astype("<f4").tobytes(), 0)

    def _write(self, path: str, content: bytes, version: int) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (MADE + version, MADE + version))
