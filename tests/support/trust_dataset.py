"""The `trust` dataset: six-hourly, made of a formula, so that the truth is known everywhere.

Four variables out of two source groups and a static field. A region is three days; `temperature`
and `rain` keep it in shards, `wind` in an object a day, so that an update of one day lands inside
a published shard. Source files hold one day of one group, know what they are and carry checksums.
"""

from __future__ import annotations

import fnmatch
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Coordinate, DataVar, Encoding
from gridmill.sources.fetch.download import DownloadSettings
from trust_faults import faulty, hit

START = pd.Timestamp("2020-01-01")
STEPS_PER_DAY = 4
DAYS_PER_REGION = 3
SHAPE = (32, 40)
STATIC = "orography"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "met": ("temperature", "wind"),
    "rain": ("rain",),
    "static": (STATIC,),
}
VARIABLES = ("temperature", "wind", "rain")
_NUMBERS = {name: at for at, name in enumerate((*VARIABLES, STATIC))}
# A version whose values compress to almost nothing.
FLAT = -1
_MAGIC = b"TRUST1\n"


# -- the truth --------------------------------------------------------------------------------


@cache
def truth(name: str, day: int, version: int = 0) -> np.ndarray:
    """Give the values of a variable on a day, (step, latitude, longitude); NaN is in the truth.

    For the static variable the day means nothing and there is no step.
    """
    number = _NUMBERS[name]
    position = np.arange(day * STEPS_PER_DAY, (day + 1) * STEPS_PER_DAY)[:, None, None]
    y, x = np.arange(SHAPE[0])[:, None], np.arange(SHAPE[1])
    seed = position * 7919 + y * 131 + x * 17 + number * 2003 + version * 30011
    values = ((seed * 2654435761) % 65521 / 16).astype("float32")
    if version == FLAT:
        values[...] = 1
    values[:, (y * 3 + x + number) % 13 == 0] = np.nan
    values.flags.writeable = False
    return values[0] if name == STATIC else values


def group_of(name: str) -> str:
    """Give the source group of a variable."""
    return next(group for group, names in GROUPS.items() if name in names)


def source_path(group: str, day: int) -> str:
    """Give the path of a source file below the archive's root."""
    if group == "static":
        return "static/orography.bin"
    return f"{group}/{START + pd.Timedelta(days=day):%Y%m%d}.bin"


# -- source files -----------------------------------------------------------------------------


def encode_file(group: str, day: int, version: int = 0, broken: Sequence[str] = ()) -> bytes:
    """Make a source file; the blocks of `broken` variables do not fit their checksums."""
    blocks, index = [], {}
    for name in GROUPS[group]:
        block = truth(name, day, version).tobytes()
        index[name] = [sum(map(len, blocks)), len(block), zlib.crc32(block)]
        blocks.append(block[:-4] + b"\0\0\0\1" if name in broken else block)
    header = json.dumps({"path": source_path(group, day), "index": index}).encode()
    return b"".join([_MAGIC, len(header).to_bytes(4, "little"), header, *blocks])


def decode_file(content: bytes, path: str, name: str) -> np.ndarray:
    """Read one variable of a source file.

    Raises
    ------
    ValueError
        It is no such file, another file than `path`, or the variable's block is damaged.
    """
    if not content.startswith(_MAGIC):
        raise ValueError(f"{path} begins with {content[:7]!r}, which is no source file")
    start = len(_MAGIC) + 4
    size = int.from_bytes(content[start - 4 : start], "little")
    header = json.loads(content[start : start + size])
    if header["path"] != path:
        raise ValueError(f"{path} says that it is {header['path']}")
    at, nbytes, checksum = header["index"][name]
    block = content[start + size + at : start + size + at + nbytes]
    if zlib.crc32(block) != checksum:
        raise ValueError(f"the block of {name} in {path} does not fit its checksum")
    shape = SHAPE if name == STATIC else (-1, *SHAPE)
    return np.frombuffer(block, "float32").reshape(shape)


class SourceArchive:
    """The provider's folder, with what each version of each file holds.

    Attributes
    ----------
    held_by
        By path and ETag, the variables whose values the file gives, with their version.
    etags
        What is there now, by path.
    """

    def __init__(self, root: Path, days: int) -> None:
        self.root = root
        self.held_by: dict[tuple[str, str], dict[str, int]] = {}
        self.etags: dict[str, str] = {}
        self.versions: dict[tuple[str, int], int] = {}
        for group in GROUPS:
            for day in range(1 if group == "static" else days):
                self.put(group, day)

    def put(self, group: str, day: int, *, version: int = 0, broken: Sequence[str] = ()) -> None:
        """Put a file, replacing what was under its path."""
        good = {name: version for name in GROUPS[group] if name not in broken}
        self._replace(source_path(group, day), encode_file(group, day, version, broken), good)
        self.versions[group, day] = version

    def put_another(self, group: str, day: int, other_day: int) -> None:
        """Put another day's file under a day's path."""
        self._replace(source_path(group, day), encode_file(group, other_day), {})

    def _replace(self, path: str, content: bytes, good: dict[str, int]) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_bytes(content)
        # The same content has the same ETag in every lab: archives are made from one, and updated
        # from another.
        modified_ns = 1_500_000_000_000_000_000 + zlib.crc32(content)
        os.utime(partial, ns=(modified_ns, modified_ns))
        self.etags[path] = f'"{modified_ns:x}-{len(content):x}"'
        self.held_by[path, self.etags[path]] = good
        partial.replace(file)


# -- the dataset ------------------------------------------------------------------------------


def _var(name: str, chunks: tuple[int, ...], shards: tuple[int, ...] | None, **more) -> DataVar:
    encoding = Encoding(chunks=chunks, shards=shards)
    return DataVar(name=name, encoding=encoding, attrs={"long_name": name, "units": "1"}, **more)


class TrustTemplate(TemplateConfig):
    """Six-hourly from 2020 on, in regions of three days."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = str(START.date())
    append_dim_frequency = "6h"
    dataset_attributes = {"dataset_id": "trust", "title": "Made of a formula"}
    coords = (
        Coordinate(
            name="time",
            dtype="int64",
            units="seconds since 1970-01-01",
            calendar="proleptic_gregorian",
        ),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        _var("temperature", (4, 32, 40), (12, 32, 40)),
        _var("wind", (4, 32, 40), None),
        _var("rain", (4, 16, 40), (12, 16, 40)),
        _var(STATIC, (32, 40), None, dims=("latitude", "longitude")),
    )

    def dimension_coordinates(self):
        """Give the cell centres."""
        return {
            "latitude": np.linspace(-60, 60, SHAPE[0]),
            "longitude": np.linspace(0, 350, SHAPE[1]),
        }


@dataclass(frozen=True, kw_only=True)
class TrustCoord(SourceFileCoord):
    """The file of one day of one group."""

    group: str
    day: int

    def get_url(self) -> str:
        """Give the dated path."""
        return source_path(self.group, self.day)

    def out_loc(self):
        """Give the day's steps; the static file fills its variable whole."""
        if self.group == "static":
            return {}
        first = START + pd.Timedelta(days=self.day)
        return {"time": slice(first, first + pd.Timedelta(hours=18))}


class TrustRegionJob(RegionJob[DataVar, TrustCoord]):
    """Reads the generated files, and meets the faults that the switchboard holds."""

    publication_delay = timedelta(days=2)
    lookback = timedelta(days=30)
    download_settings = DownloadSettings(
        attempts=3, deadline_s=30, read_timeout_s=1, wait_initial_s=0.02, wait_max_s=0.1
    )

    def source_groups(self, data_vars):
        """Give the groups of the variables."""
        groups = [[v for v in data_vars if v.name in names] for names in GROUPS.values()]
        return [group for group in groups if group]

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give one file a day."""
        group = group_of(data_var_group[0].name)
        if group == "static":
            return [TrustCoord(group=group, day=0)]
        days = (processing_region_ds.get_index("time") - START).days
        return [TrustCoord(group=group, day=int(day)) for day in days.unique()]

    def download_file(self, coord):
        """Download, unless a fault waits for it."""
        hit("download", coord.get_url())
        return super().download_file(coord)

    def read_data(self, coord, data_var):
        """Read one day of a variable, unless a fault waits for it."""
        hit("compress", f"{data_var.name}/{coord.get_url()}")
        return decode_file(coord.downloaded_path.read_bytes(), coord.get_url(), data_var.name)


class FaultyStore:
    """Mixed into a dataset: puts into store and records are logged and meet faults."""

    def __init__(self, store, *, put_log, **options) -> None:
        super().__init__(store, **options)
        if self.store.format == "icechunk":
            from trust_icechunk import FaultyIcechunk

            self.store = FaultyIcechunk.like(self.store, put_log)
        else:
            for name in ("objects", "_data"):
                setattr(self.store, name, faulty(getattr(self.store, name), "store", put_log))
        self.store.state = faulty(self.store.state, "state", put_log)
        tracker = self.store.tracker
        for keeper in (tracker, tracker.reports, tracker.notices):
            keeper.objects = self.store.state


class Trust(FaultyStore, DynamicalDataset):
    """The generated dataset."""

    template_config = TrustTemplate
    region_job = TrustRegionJob


def label(day: int) -> str:
    """Give the first label of a day."""
    return str(START + pd.Timedelta(days=day))


def source_days_of(key: str) -> tuple[str, range] | None:
    """Give the variable and the days that an object of the store holds; None for metadata."""
    name, _, rest = key.partition("/")
    if name not in VARIABLES or not fnmatch.fnmatch(rest, "c/*"):
        return None
    days = 1 if name == "wind" else DAYS_PER_REGION
    first = int(rest.split("/")[1]) * days
    return name, range(first, first + days)


class FormulaTruth:
    """The truth of the generated dataset, as the reader asks for it."""

    steps_per_day = STEPS_PER_DAY
    variables = VARIABLES
    versions = 2

    def index(self, positions):
        """Give six-hourly labels."""
        return pd.date_range(START, periods=positions, freq="6h")

    def values(self, name, day, version):
        """Give a day of a variable."""
        return truth(name, day, version)

    def static(self):
        """Give the orography."""
        return {STATIC: truth(STATIC, 0)}
