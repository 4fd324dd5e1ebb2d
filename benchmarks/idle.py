"""What an update costs that has nothing, or hardly anything, to do: to `import xarray, zarr`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import psutil

from benchmarks.fields import SHAPE, make_fields
from benchmarks.measures import Measure, Meter, measured
from benchmarks.on_hand import on_hand
from benchmarks.sizes import Size
from benchmarks.steps import NAMES, START, Steps
from gridmill.testing import ArchiveServer

__all__ = ["hour", "idle", "installed", "write_step"]

REFERENCE = [sys.executable, "-c", "import xarray, zarr"]
BEFORE = 2
MOST_IDLE, MOST_OF_STAGES = 1.4, 1.2
NOTHING_NEW = 3
SAMPLE_EVERY_S = 0.01


def idle(folder: Path, size: Size) -> Iterator[Measure]:
    """Run `gridmill update` where the next step is not there yet, and where it just came."""
    provider = folder / "provider"
    provider.mkdir()
    with ArchiveServer(provider) as server:
        at = Archive(folder / "steps.zarr", server, installed(folder / "compiled"))
        for step in range(BEFORE):
            at.release(step)
        at.dataset.backfill(hour(BEFORE), client="none", now=hour(BEFORE))
        at.update(BEFORE)  # the step that is not there is recorded
        nothing, news = [], []
        for step in range(BEFORE, BEFORE + size.pairs + (size.pairs > 1)):  # the first compiles
            nothing.append(at.measure(step, code=NOTHING_NEW))
            at.release(step)
            news.append(at.measure(step, code=0))
            at.update(step + 1)
        if size.pairs > 1:
            nothing, news = nothing[1:], news[1:]
        yield from _nothing_new(nothing)
        yield from _one_step(news)


def _nothing_new(seen: Sequence[Turn]) -> Iterator[Measure]:
    name, ratios = "idle: nothing new / import xarray, zarr", [turn.ratio for turn in seen]
    yield measured(name, "× CPU", ratios, most=MOST_IDLE)
    yield measured("idle: nothing new", "CPU s", [turn.update.cpu_s for turn in seen])
    requests = [turn.requests_a_file for turn in seen]
    yield measured("idle: nothing new, of each expected file", "requests", requests, most=1.0)
    yield measured("idle: nothing new", "processes", [t.processes for t in seen], most=1.0)


def _one_step(seen: Sequence[Turn]) -> Iterator[Measure]:
    shares = [
        turn.update.cpu_s / (MOST_IDLE * turn.imports.cpu_s + MOST_OF_STAGES * turn.stages_s)
        for turn in seen
    ]
    name = f"idle: one step / ({MOST_IDLE} imports + {MOST_OF_STAGES} stages)"
    yield measured(name, "× CPU", shares, most=1.0)
    yield measured("idle: one step", "CPU s", [turn.update.cpu_s for turn in seen])
    yield measured("idle: one step, its stages alone", "CPU s", [turn.stages_s for turn in seen])
    estimates = [turn.estimated_s / turn.stages_s for turn in seen]
    yield measured("idle: one step, its stages as estimated", "× CPU", estimates)
    yield measured("idle: one step", "processes", [t.processes for t in seen], most=1.0)


def hour(step: int) -> str:
    """Return the label of a step."""
    return (START + pd.Timedelta(hours=step)).isoformat()


def installed(folder: Path) -> dict[str, str]:
    """Return an environment whose modules stay compiled, as those of an installed package are."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return environment | {"PYTHONPYCACHEPREFIX": str(folder)}


@dataclass
class Turn:
    """An update, and what it is compared with."""

    update: Meter = field(default_factory=Meter)
    imports: Meter = field(default_factory=Meter)
    stages_s: float = 0.0
    estimated_s: float = 0.0
    requests_a_file: float = 0.0
    processes: float = 0.0

    @property
    def ratio(self) -> float:
        """CPU seconds of the update for one of the imports."""
        return self.update.cpu_s / self.imports.cpu_s


@dataclass
class Archive:
    """An archive whose provider releases a step at a time."""

    store: Path
    server: ArchiveServer
    environment: Mapping[str, str]

    @property
    def dataset(self) -> Steps:
        """The archive, in this process."""
        return Steps(self.store, source_base=self.server.url)

    def release(self, step: int) -> None:
        """Let a step's file be there."""
        write_step(self.server.root / f"f{step:03d}.nc", step)
        self.server.release(f"f{step:03d}.nc")

    def update(self, step: int) -> None:
        """Bring the archive up to a step, not measured."""
        now = hour(step + 1)
        self.dataset.reformat_operational_update(client="none", now=now)

    def measure(self, step: int, code: int) -> Turn:
        """Measure an update up to a step, which ends with an exit code."""
        turn, before = Turn(), len(self.server.requests)
        command = [sys.executable, "-m", "gridmill.cli", "update", "benchmarks.steps:Steps"]
        command += ["--store", str(self.store), "--source-base", self.server.url, "--json"]
        with turn.update:
            turn.processes = _run([*command, "--now", hour(step + 1)], {code}, self.environment)
        # The provider has a file of each step, and may revise it.
        turn.requests_a_file = (len(self.server.requests) - before) / (step + 1)
        with turn.imports:
            _run(REFERENCE, {0}, self.environment)
        if code == 0:
            turn.stages_s, turn.estimated_s = self._stages_s(step)
        return turn

    def _stages_s(self, step: int) -> tuple[float, float]:
        arguments = [str(self.store.with_name("stages.zarr")), self.server.url, str(step)]
        command = [sys.executable, "-m", "benchmarks.idle", *arguments]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=self.environment
        )
        stages_s, estimated_s = map(float, done.stdout.split())
        return stages_s, estimated_s


def _run(command: Sequence[str], codes: set[int], environment: Mapping[str, str]) -> float:
    """Run a command; how many processes it was at most."""
    most, ended = 1.0, threading.Event()
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment)

    def sample() -> None:
        nonlocal most
        while not ended.wait(SAMPLE_EVERY_S):
            with suppress(psutil.Error):
                most = max(most, 1.0 + len(psutil.Process(process.pid).children(recursive=True)))

    thread = threading.Thread(target=sample)
    thread.start()
    out, err = process.communicate()
    ended.set()
    thread.join()
    assert process.returncode in codes, (process.returncode, out.decode(), err.decode())
    return most


def write_step(path: Path, step: int) -> None:
    """Write the file of a step: six fields, deflated."""
    with netCDF4.Dataset(path, "w") as file:
        for dim, length in (("time", 1), ("latitude", SHAPE[0]), ("longitude", SHAPE[1])):
            file.createDimension(dim, length)
        for seed, name in enumerate(NAMES):
            options = {"zlib": True, "complevel": 4, "chunksizes": (1, *SHAPE)}
            dims = ("time", "latitude", "longitude")
            values = make_fields(1, seed)[0] + np.float32(step)
            file.createVariable(name, "f4", dims, **options)[0] = values


def _stages(store: str, source: str, step: int) -> tuple[float, float]:
    """Return the CPU seconds of the stages of one step, with what they import, and the estimate."""
    dataset = Steps(store, source_base=source)
    until = (START + pd.Timedelta(hours=step + 1)).isoformat()
    with on_hand(dataset, until, Path(store).parent, region=step) as region:
        before = time.process_time()
        region.upload(region.compress(region.download()))
        return time.process_time() - before, region.estimated_s


if __name__ == "__main__":
    print(*_stages(sys.argv[1], sys.argv[2], int(sys.argv[3])))
