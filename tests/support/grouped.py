"""A tiny archive of many variables, each with source files of its own; and drivers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from gridmill.runs import ledger
from gridmill.sources.fetch.download import DownloadSettings
from gridmill.stores.objects.local import LocalObjects
from tiny import (
    Provider,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    until,
    url_of,
)

__all__ = ["GROUPS", "Grouped", "backfill_and_die", "publish"]

GROUPS = tuple("abcdefgh")


class GroupedTemplate(TinyTemplate):
    """Eight variables."""

    dataset_attributes: ClassVar = {"dataset_id": "grouped", "title": "Grouped"}
    data_vars = tuple(tiny_var(name, number % 4) for number, name in enumerate(GROUPS))


@dataclass(frozen=True, kw_only=True)
class GroupedCoord(TinyCoord):
    """The file of a label and a variable."""

    name: str

    def get_url(self) -> str:
        """Give the path that names both."""
        return f"{self.name}/{url_of(self.label)}"


class GroupedJob(TinyJob):
    """Dies at a step that the environment names, ``stage:what``."""

    download_settings = DownloadSettings(attempts=1)

    def source_groups(self, data_vars: Any) -> Any:
        """Give each variable files of its own."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a label."""
        (var,) = data_var_group
        labels = processing_region_ds.get_index("time")
        return [GroupedCoord(label=label, name=var.name) for label in labels]

    def download_file(self, coord: GroupedCoord) -> Any:
        """Die, or fetch."""
        step("download", coord.get_url())
        return super().download_file(coord)

    def read_data(self, coord: GroupedCoord, data_var: Any) -> Any:
        """Die, or read."""
        step("compress", coord.get_url())
        return super().read_data(coord, data_var)


Grouped = dataset_of(template=GroupedTemplate, job=GroupedJob)
DIES_AT = "GRIDMILL_TEST_DIES_AT"


def publish(root: Path, positions: int) -> None:
    """Write the files of the first positions, for all variables."""
    for name in GROUPS:
        Provider(root / name).publish(hours(positions))


def step(stage: str, what: str) -> None:
    """Kill this process if that is where it dies."""
    if os.environ.get(DIES_AT) == f"{stage}:{what}":
        os.kill(os.getpid(), signal.SIGKILL)


def backfill_and_die(store: Path, source: str, positions: int, *, at: str) -> None:
    """Backfill in a process that kills itself at a step; raise if it does not."""
    support = str(Path(__file__).parent)
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    code = "import sys, grouped; grouped.main(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(store), source, str(positions)],
        env={**os.environ, DIES_AT: at, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != -signal.SIGKILL:
        raise AssertionError(f"the driver ended with {done.returncode}: {done.stderr[-2000:]}")


def main(store: str, source: str, positions: str) -> None:
    """Backfill, recording whatever is done as soon as the loop has a moment."""
    put = LocalObjects.put

    def put_and_die(self: Any, key: str, *args: Any, **options: Any) -> Any:
        of = "state" if ".gridmill" in str(self.url) else "store"
        step(f"before {of}", key)
        found = put(self, key, *args, **options)
        step(f"after {of}", key)
        return found

    with (
        mock.patch.object(LocalObjects, "put", put_and_die),
        mock.patch.multiple(ledger, RECORD_INTERVAL_S=0.0, RECORDING_SHARE=1.0),
    ):
        Grouped(Path(store), source_base=source).backfill(until(int(positions)), client="none")
