"""Tiny archives for tests: two variables on six points, a source file of a few bytes a position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
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

SHAPE = (2, 3)
NAMES = ("a", "b")
START = pd.Timestamp("2020-01-01")
HOUR = pd.Timedelta(hours=1)
# Positions of a region: one shard.
REGION = 4


@dataclass(frozen=True, kw_only=True)
class TinyVar(DataVar):
    """A variable, and its number in the source files."""

    number: int


def tiny_var(name: str, number: int = 0, **changes: Any) -> TinyVar:
    """Give a variable on (time, y, x) in shards of four positions."""
    fields: dict[str, Any] = {
        "name": name,
        "number": number,
        "encoding": Encoding(chunks=(2, *SHAPE), shards=(REGION, *SHAPE)),
        "attrs": {"long_name": name, "units": "1"},
    }
    return TinyVar(**{**fields, **changes})


def time_coordinate(**changes: Any) -> Coordinate:
    """Give the append coordinate, in whole hours."""
    fields: dict[str, Any] = {
        "name": "time",
        "dtype": "int64",
        "units": "hours since 2020-01-01",
        "calendar": "proleptic_gregorian",
    }
    return Coordinate(**{**fields, **changes})


class TinyTemplate(TemplateConfig):
    """Hourly from 2020 on."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2020-01-01"
    append_dim_frequency = "h"
    append_dim_capacity = 10_000
    dataset_attributes = {"dataset_id": "tiny", "title": "Tiny"}
    coords = (time_coordinate(), Coordinate(name="y"), Coordinate(name="x"))
    data_vars = tuple(tiny_var(name, number) for number, name in enumerate(NAMES))

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give whole numbers."""
        return {"y": np.arange(2.0), "x": np.arange(3.0)}


class GridTemplate(TinyTemplate):
    """On latitudes and longitudes, which a subclass gives."""

    dims = ("time", "latitude", "longitude")
    coords = (
        time_coordinate(attrs={"standard_name": "time"}),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )


@dataclass(frozen=True, kw_only=True)
class TinyCoord(SourceFileCoord):
    """The file of one label."""

    label: Any

    def get_url(self) -> str:
        """Give the path that names the label."""
        return url_of(self.label)

    def out_loc(self) -> dict[str, Any]:
        """Give the label."""
        return {"time": self.label}


class TinyJob(RegionJob[TinyVar, TinyCoord]):
    """Reads a file a label."""

    download_settings = DownloadSettings(attempts=1)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Any
    ) -> list[TinyCoord]:
        """Give a file a label."""
        return [TinyCoord(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord: TinyCoord, data_var: TinyVar) -> np.ndarray:
        """Read one of the file's arrays."""
        assert coord.downloaded_path is not None
        return np.load(coord.downloaded_path)[data_var.number]


class LateJob(TinyJob):
    """Its files are two hours late, and updates do not look back."""

    lookback = timedelta(0)
    publication_delay = timedelta(hours=2)


class Tiny(DynamicalDataset):
    """Hourly, two variables."""

    template_config = TinyTemplate
    region_job = TinyJob


def dataset_of(
    *,
    template: type[TemplateConfig] = TinyTemplate,
    job: type[RegionJob[Any, Any]] = TinyJob,
) -> type[DynamicalDataset]:
    """Give a dataset class of these parts."""
    parts = {"template_config": template, "region_job": job}
    return type("TinyDataset", (DynamicalDataset,), parts)


def url_of(label: Any) -> str:
    """Give the path of a label's file."""
    return label.strftime("%Y/%Y%m%dT%H.npy")


def hours(n: int, first: int = 0) -> list[pd.Timestamp]:
    """Give `n` labels from the archive's position `first` on."""
    return [START + HOUR * i for i in range(first, first + n)]


def until(n: int) -> str:
    """Give the end of an archive of `n` positions."""
    return (START + HOUR * n).isoformat()


def values_at(label: Any, version: int = 0) -> np.ndarray:
    """Give what a label's file holds: (variable, y, x), float32, different for every label."""
    text = f"{label} {version}".encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
    return np.random.default_rng(seed).random((4, *SHAPE), dtype="float32")


class Provider:
    """Source files in a folder, as a provider would publish them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, labels: Iterable[Any], version: int = 0) -> None:
        """Write the files of these labels, or another version of them."""
        for label in labels:
            path = self.path(label)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f".{path.name}")
            np.save(unfinished, values_at(label, version))
            unfinished.rename(path)  # whoever asks meanwhile finds all of it, or nothing

    def withdraw(self, label: Any) -> None:
        """Take a file away."""
        self.path(label).unlink()

    def break_file(self, label: Any, content: bytes = b"<html>nothing</html>") -> None:
        """Put something there that cannot be read."""
        self.path(label).parent.mkdir(parents=True, exist_ok=True)
        self.path(label).write_bytes(content)

    def path(self, label: Any) -> Path:
        """Give where a label's file is."""
        return self.root / url_of(label)


def make(tmp_path: Path, kind: type[DynamicalDataset] = Tiny, **options: Any) -> DynamicalDataset:
    """Give a dataset whose source files and archive lie in a test's folder."""
    return kind(tmp_path / "a", source_base=str(tmp_path / "source"), **options)


def truth(labels: Iterable[Any], name: str = "a", version: int = 0) -> np.ndarray:
    """Give what an archive of these labels must hold."""
    return np.stack([values_at(label, version)[NAMES.index(name)] for label in labels])


def snapshot(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder, by path."""
    files = (p for p in folder.rglob("*") if p.is_file()) if folder.exists() else ()
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}
