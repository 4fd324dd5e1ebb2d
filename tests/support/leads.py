"""Forecasts that readers see lead by lead, and an updating process that counts what it puts.

Run as a script, it updates once; it kills itself at a certain put if it is told to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Completeness, Coordinate, DataVar, Encoding
from gridmill.sources.fetch.download import DownloadSettings
from gridmill.stores.objects.local import LocalObjects
from killed_steps import forked

START = pd.Timestamp("2020-01-01")
STEP = pd.Timedelta(hours=6)
LEADS = pd.to_timedelta(range(12), unit="h")
POINTS = 400


def lead_var(name: str, shard: int, **changes: Any) -> DataVar:
    """Give a variable with so many leads in a shard, of which each is a chunk."""
    return DataVar(
        name=name,
        encoding=Encoding(chunks=(1, 1, POINTS), shards=(1, shard, POINTS)),
        attrs={"long_name": name, "units": "1"},
        **changes,
    )


class LeadTemplate(TemplateConfig):
    """Six-hourly, twelve leads, in shards of four and of six."""

    dims = ("init_time", "lead_time", "x")
    append_dim = "init_time"
    append_dim_start = "2020-01-01"
    append_dim_frequency = "6h"
    append_dim_capacity = 1000
    dataset_attributes = {"dataset_id": "leads", "title": "Leads"}
    coords = (
        Coordinate(name="init_time", dtype="int64", units="hours since 2020-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="x"),
        Completeness(dims=("init_time", "lead_time")),
    )
    data_vars = (lead_var("a", 4), lead_var("b", 6))

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give leads and points."""
        return {"lead_time": LEADS, "x": np.arange(POINTS)}


@dataclass(frozen=True, kw_only=True)
class LeadFile(SourceFileCoord):
    """The file of one start, lead and variable."""

    init: Any
    lead: Any
    name: str

    def get_url(self) -> str:
        """Give the path that names them."""
        return path_of(self.init, self.lead, self.name)

    def out_loc(self) -> dict[str, Any]:
        """Give the labels."""
        return {"init_time": self.init, "lead_time": self.lead}


class LeadJob(RegionJob[DataVar, LeadFile]):
    """Reads a file a lead and variable, and shows each as it comes."""

    publish_when = "lead by lead"
    publication_delay = pd.Timedelta(hours=24)
    download_settings = DownloadSettings(attempts=1)

    def source_groups(self, data_vars: Any) -> Any:
        """Give each variable apart."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(
        self, processing_region_ds: Any, data_var_group: Any
    ) -> list[LeadFile]:
        """Give the files."""
        return [
            LeadFile(init=init, lead=lead, name=data_var_group[0].name)
            for init in processing_region_ds.get_index("init_time")
            for lead in LEADS
        ]

    def read_data(self, coord: LeadFile, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Read the file's only array."""
        assert coord.downloaded_path is not None
        return np.load(coord.downloaded_path)


class Leads(DynamicalDataset):
    """Ties them together."""

    template_config = LeadTemplate
    region_job = LeadJob


def path_of(init: Any, lead: Any, name: str) -> str:
    """Give the path of a file."""
    return f"{init:%Y%m%d%H}/{name}-f{lead // pd.Timedelta(hours=1):03d}.npy"


def values_of(init: Any, lead: Any, name: str) -> np.ndarray[Any, Any]:
    """Give what a file holds: nothing that compresses well."""
    seed = int(init.value // 10**12 + lead.value // 10**9 + ord(name[0]))
    return np.random.default_rng(seed).random(POINTS, dtype="float32")


def release(source: Path, init: Any, lead: Any, names: Any = "ab") -> None:
    """Let the provider have the files of a lead."""
    for name in names:
        path = source / path_of(init, lead, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        np.save(unfinished, values_of(init, lead, name))
        unfinished.rename(path)


def count_puts(log: Path, dies_at: int | None = None) -> None:
    """Write down each object that this process puts; kill it after the put of that number."""
    put, done = LocalObjects.put, []

    def counted(self: LocalObjects, key: str, content: bytes) -> None:
        with log.open("a") as out:
            out.write(f"{key} {len(content)}\n")
        put(self, key, content)
        done.append(key)
        if len(done) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    LocalObjects.put = counted  # type: ignore[method-assign]


def put_nbytes(log: Path) -> int:
    """Give the bytes of data objects that were put."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return sum(int(nbytes) for key, nbytes in lines if key.startswith(("a/c/", "b/c/")))


class Updates:
    """Updates an archive in processes of their own, each forked from one that has all imported."""

    def __init__(self, store: Path, source: Path, log: Path) -> None:
        self._arguments = [str(store), str(source), str(log)]

    def __enter__(self) -> Updates:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self._parent = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *self._arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(60)
        self._parent.stdout.close()

    def update(self, now: Any, dies_at: int | None = None) -> bool:
        """Update once; whether the process lived, or was killed after that many puts."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{dies_at or 0} {now}\n")
        self._parent.stdin.flush()
        code = int(self._parent.stdout.readline())
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"an update ended with {code}")
        return code == 0


def _update_in_a_child(store: str, source: str, log: str, dies_at: int, now: str) -> int:
    def update() -> None:
        count_puts(Path(log), dies_at or None)
        dataset = Leads(store, source_base=source)
        dataset.reformat_operational_update(client="none", now=pd.Timestamp(now))

    return forked(update)


if __name__ == "__main__":
    for line in sys.stdin:
        number, moment = line.split(maxsplit=1)
        print(_update_in_a_child(*sys.argv[1:], int(number), moment.strip()), flush=True)
