"""A provider that lies, a driver that dies, and what readers see on the way to the truth.

A play: a provider of daily files tells the truth, then one lie, then the truth again; updates run
as a schedule would let them, one of them dies; ten days later the lie is mended. After each step
readers are asked: at every position they see what the provider measured, or nothing where a gap is
listed, and the coordinates are those of the template.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from distributed import Client

import daily_grib
import daily_netcdf as daily
from daily_netcdf import BYTES, DAYS, DUE, HELD, LATS, LONS, Held, field, write
from gridmill import DownloadSettings
from gridmill.publishing.publisher import Publisher
from gridmill.runs.intake import Intake
from gridmill.runs.ledger import Ledger
from gridmill.testing import ArchiveServer
from tiny import dataset_of

__all__ = [
    "DEATHS",
    "KILLED",
    "LIES",
    "MENDED",
    "SOURCES",
    "STAGES",
    "STORES",
    "Died",
    "Play",
    "Stage",
    "archive_at",
    "dying",
    "play",
]

MENDED = pd.Timedelta(days=10)
LIES = (*HELD, *BYTES, *daily_grib.LIES)
# What is only told otherwise is no gap, nor is what can be found without an index.
CONVERTED = {"flipped", "rolled", "celsius", "stale_index", "page_as_index"}
STORES = ("zarr", "icechunk")
SOURCES = ("http", "s3")


class Died(BaseException):
    """A driver's death, as far as one process can die without ending the test."""


def _dies(*args: Any, **options: Any) -> None:
    raise Died


# Where a driver dies: what comes after it is not done, also not by what ends a run in order.
STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "lives": (),
    "dies at the first task": ((Intake, "take"),),
    "dies before a record": ((Ledger, "record"),),
    "dies before a publication": ((Publisher, "publish"),),
}
# By SIGKILL, in a process of its own, at one of these.
KILLED = "is killed"
DEATHS = tuple(stage for stage in STAGES if stage != "lives")


@contextmanager
def dying(stage: str) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Ledger, "record_partly", return_value=None))
        for owner, name in STAGES[stage]:
            stack.enter_context(mock.patch.object(owner, name, _dies))
        yield


@dataclass(frozen=True, kw_only=True)
class Play:
    """One run through a lie."""

    lie: str
    stage: str
    store: str
    source: str
    seed: int

    @property
    def name(self) -> str:
        """All of it, in words."""
        return f"{self.lie}, {self.stage}, {self.store}, {self.source}, {self.seed}"


def play(scene: Play, folder: Path, client: Client) -> list[str]:
    """Play, and return what readers saw wrong, and what was not healed."""
    draw = random.Random(scene.name)
    root = folder / "provider" / "bucket"
    root.mkdir(parents=True)
    with ArchiveServer(root.parent) as server:
        server.release_all()
        kind = GribStage if scene.lie in daily_grib.LIES else Stage
        return kind(scene, folder, root, server.url, client, draw).play()


def archive_at(folder: Path, base: str, url: str, store: str, is_grib: bool) -> Any:
    """Return the dataset of a play."""
    options = {"anon": True, "endpoint_url": url}
    settings = DownloadSettings(attempts=1, s3_options=options)
    of: Any = daily_grib if is_grib else daily
    fields = {"download_settings": settings, "__module__": __name__}
    job = type("Liar", (of.Job,), fields)
    return dataset_of(template=of.Template, job=job)(folder / "a", source_base=base, format=store)


@functools.cache
def _drivers() -> Callable[[dict[str, Any]], int]:
    """Start the process that forks drivers; a call has one of them do what is said."""
    here = Path(__file__)
    path = os.pathsep.join([str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, str(here.with_name("lies_driver.py"))],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # ends as its input does, with this process

    def drive(said: dict[str, Any]) -> int:
        process.stdin.write(json.dumps(said) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    return drive


class Stage:
    """Where a play is given: a provider, an archive, and a reader."""

    is_grib = False
    names = ("t2m",)
    labels: tuple[Any, Any] = (LATS, LONS)

    def __init__(
        self,
        scene: Play,
        folder: Path,
        root: Path,
        url: str,
        client: Client,
        draw: random.Random,
    ) -> None:
        self.scene, self.root, self.client, self.draw = scene, root, client, draw
        self.kind = draw.choice(daily.FORMATS)
        self.day = draw.randrange(1, len(DAYS) - 1)
        self.violations: list[str] = []
        base = f"{url}/bucket" if scene.source == "http" else "s3://bucket"
        self.given = (folder, base, url, scene.store, self.is_grib)
        self.dataset = archive_at(*self.given)

    def play(self) -> list[str]:
        """Go through the provider's weeks; what was wrong."""
        dies_at = self.draw.choice(["lie", "late", "mended"])
        for day in range(self.day):
            self.publish(day)
        self._update(self._after(self.day - 1), may_gap=False)
        self.publish(self.day, lie=self.scene.lie)
        self._update(self._after(self.day) - 2 * DUE, may_gap=False, dies=dies_at == "lie")
        for day in range(self.day + 1, len(DAYS)):
            self.publish(day)
        late = self._after(len(DAYS) - 1)
        self._update(late, may_gap=True, dies=dies_at == "late")
        self.publish(self.day)
        for days in range(3):
            now = late + MENDED + pd.Timedelta(days=days)
            self._update(now, may_gap=True, dies=dies_at == "mended" and not days)
        self._look(may_gap=False)
        status = self.dataset.status(now=late + MENDED)
        if status.positions != len(DAYS) or status.pending or status.incomplete:
            self._say(f"not healed: {status.positions} positions, {status.pending} pending")
        return self.violations

    def _after(self, day: int) -> pd.Timestamp:
        return DAYS[day] + DUE + pd.Timedelta(hours=1)

    def publish(self, day: int, lie: str = "") -> None:
        """Put the file of a day: the truth, or a lie."""
        held = Held(values=field(day), lats=LATS, lons=LONS, time=DAYS[day])
        if lie in HELD:
            HELD[lie](held)
        path = self.root / DAYS[day].strftime("%Y%m%d.nc")
        path.unlink(missing_ok=True)
        write(path, held, self.kind)
        if lie in BYTES:
            path.write_bytes(BYTES[lie](path.read_bytes(), self.draw))

    def _update(self, now: pd.Timestamp, *, may_gap: bool, dies: bool = False) -> None:
        """Update as a schedule does: again, where a driver died."""
        until = min(now, DAYS[-1] + pd.Timedelta(hours=1)).isoformat()
        options = {"until": until, "now": now, "client": self.client}
        if dies and self.scene.stage == KILLED:
            self._kill(until, now)
            self._look(may_gap=may_gap)
        elif dies:
            with suppress(Died), dying(self.scene.stage):
                self.dataset.reformat_operational_update(**options)
            self._look(may_gap=may_gap)
        self.dataset.reformat_operational_update(**options)
        self._look(may_gap=may_gap)

    def _kill(self, until: str, now: pd.Timestamp) -> None:
        """Update in a process that is killed, or that comes to its end before."""
        names = ("folder", "base", "url", "store", "is_grib")
        said = dict(zip(names, (str(self.given[0]), *self.given[1:]), strict=True))
        log = self.given[0] / "driver.log"
        said |= {"until": until, "now": str(now), "stage": self.draw.choice(DEATHS)}
        code = _drivers()(said | {"log": str(log)})
        if code not in (-signal.SIGKILL, 0):
            self._say(f"the driver ended with {code}: {log.read_text()[-500:]}")

    def _look(self, *, may_gap: bool) -> None:
        """Read as a reader does, and compare with what the provider measured."""
        if self.dataset.store.published_length(self._dim) is None:
            return
        with self.dataset.store.open_dataset() as ds:
            self._compare(ds.load(), may_gap=may_gap and self.scene.lie not in CONVERTED)

    @property
    def _dim(self) -> str:
        return "init_time" if self.is_grib else "time"

    def _measured(self, day: int, number: int) -> np.ndarray:
        return field(day)

    def _compare(self, ds: Any, *, may_gap: bool) -> None:
        n, (lats, lons) = ds.sizes[self._dim], self.labels
        is_ours = (
            (ds[self._dim].values == DAYS[:n].values).all()
            and np.array_equal(ds["latitude"], lats)
            and np.array_equal(ds["longitude"], lons)
            and ds["t2m"].attrs["units"] == "K"
        )
        if not is_ours:
            self._say("other coordinates or units")
        for day in range(n):
            for number, name in enumerate(self.names):
                found, measured = ds[name].values[day], self._measured(day, number)
                is_gap = np.isnan(found).all() and may_gap and day == self.day
                if not is_gap and not np.allclose(found, measured, rtol=1e-6):
                    told = f"day {day} of {name} is {found.ravel()[0]}"
                    self._say(f"{told}, not {measured.ravel()[0]}")

    def _say(self, what: str) -> None:
        self.violations.append(f"{self.scene.name}: {what}")


class GribStage(Stage):
    """The same with GRIB files and their inventories."""

    is_grib = True
    names = ("t2m", "u10")
    labels = (daily_grib.LATS, daily_grib.LONS)

    def publish(self, day: int, lie: str = "") -> None:
        """Put the file of a day and its inventory."""
        daily_grib.publish(self.root, day, lie, self.draw)

    def _measured(self, day: int, number: int) -> np.ndarray:
        return daily_grib.field(day, number)[np.newaxis]
