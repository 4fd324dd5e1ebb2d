"""From the moment that a whole source file can be fetched until an independent reader sees it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.idle import hour, installed, write_step
from benchmarks.measures import Measure, Meter
from benchmarks.sizes import Size
from benchmarks.steps import Steps
from gridmill.testing import ArchiveServer, FaultProxy, S3Server

__all__ = ["freshness"]

BEFORE, UPDATES = 2, 200
PERCENTILES = (50, 95, 99)
# Between two times that the reader opens the archive.
LOOK_EVERY_S = 0.02
# Of the resident driver: how often it asks a provider, at least.
ASK_EVERY_S = 5


def freshness(folder: Path, size: Size) -> Iterator[Measure]:
    """Release a file of six fields of 721 × 1440 at a time, and wait for the reader.

    Scheduled: `gridmill update` is started as soon as the file is there; its imports, its plan,
    the stages and the publication count, the wait for a schedule's minute does not. Resident:
    `gridmill update --wait` asks the provider every five seconds; the wait counts, and files come
    at any moment between. In both the reader is a process of its own that opens the archive by
    `xarray.open_zarr` again and again: its opening counts.
    """
    updates = UPDATES if size.pairs > 1 else 1
    environment = installed(folder / "compiled")
    with ExitStack() as stack:
        server = stack.enter_context(S3Server())
        server.create_bucket("bench")
        options = dict(server.storage_options)
        if size.latency_s:
            proxy = FaultProxy(server.endpoint_url, latency_s=size.latency_s)
            options["endpoint_url"] = stack.enter_context(proxy).url
        on_s3 = f"S3 at {size.latency_s * 1e3:.0f} ms"
        for where, url, given, resident in (
            ("local, scheduled", str(folder / "scheduled.zarr"), {}, False),
            (f"{on_s3}, scheduled", "s3://bench/a.zarr", options, False),
            ("local, resident", str(folder / "resident.zarr"), {}, True),
        ):
            provider = folder / f"provider-{url.rsplit('/', 1)[1]}"
            provider.mkdir()
            with ArchiveServer(provider) as source:
                archive = Archive(url, given, source, environment)
                waits, load = archive.waits(updates, resident=resident)
            yield from _percentiles(f"freshness: {where}", waits, load)


def _percentiles(name: str, waits: Sequence[float], load: float) -> Iterator[Measure]:
    found = sorted(waits)
    for percentile in PERCENTILES:
        value = found[min(len(found) - 1, int(percentile / 100 * len(found)))]
        label = f"{name}, p{percentile} of {len(found)}"
        yield Measure(label, "s", value, found[0], found[-1], foreign_load=load)


@dataclass
class Archive:
    """An archive that grows by a step at a time, and what its readers see of it."""

    url: str
    options: Mapping[str, Any]
    source: ArchiveServer
    environment: Mapping[str, str]

    def waits(self, updates: int, *, resident: bool) -> tuple[list[float], float]:
        """Return for each update the seconds until its step was seen, and the foreign load."""
        for step in range(BEFORE):
            self._release(step)
        dataset = Steps(
            self.url, source_base=self.source.url, storage_options=dict(self.options) or None
        )
        end = hour(BEFORE)
        dataset.backfill(end, client="none", now=end)
        steps = range(BEFORE, BEFORE + updates)
        with Meter() as meter, self._reader() as reader:
            reader.wait_for(BEFORE)
            seen = self._one_driver if resident else self._a_driver_each
            found = list(seen(steps, reader))
        return found, meter.foreign_load

    def _a_driver_each(self, steps: range, reader: Reader) -> Iterator[float]:
        for step in steps:
            released = self._release(step)
            driver = self._update(step + 1)
            yield reader.wait_for(step + 1) - released
            assert driver.wait() == 0

    def _one_driver(self, steps: range, reader: Reader) -> Iterator[float]:
        pause = f"{ASK_EVERY_S}s"
        driver = self._update(steps.stop, "--wait", "--deadline", "6h", "--pause", pause)
        moments = random.Random(1)
        for step in steps:
            time.sleep(moments.uniform(0, ASK_EVERY_S))
            released = self._release(step)
            yield reader.wait_for(step + 1) - released
        assert driver.wait() == 0

    def _release(self, step: int) -> float:
        name = f"f{step:03d}.nc"
        write_step(self.source.root / name, step)
        moment = time.monotonic()
        self.source.release(name)
        return moment

    def _update(self, steps: int, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gridmill.cli", "update", "benchmarks.steps:Steps"]
        command += ["--store", self.url, "--source-base", self.source.url, "--json"]
        command += ["--now", hour(steps), *more]
        for name, value in self.options.items():
            command += ["--store-option", f"{name}={json.dumps(value)}"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=self.environment)

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        command = [sys.executable, "-m", "benchmarks.freshness", self.url]
        command += [json.dumps(dict(self.options))]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, text=True, env=self.environment) as process:
            try:
                yield Reader(process)
            finally:
                process.terminate()


class Reader:
    """A process that says when it sees how many steps."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout

    def wait_for(self, steps: int) -> float:
        """Wait until it sees so many; the moment at which it did."""
        for line in self._lines:
            length, moment = line.split()
            if int(length) >= steps:
                return float(moment)
        raise RuntimeError("the reader ended")


def look(url: str, options: Mapping[str, Any]) -> Iterator[int]:
    """Open an archive again and again, and yield its length."""
    import xarray as xr

    while True:
        with xr.open_zarr(url, storage_options=dict(options) or None, chunks=None) as ds:
            yield ds.sizes["time"]
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    last = -1
    for length in look(sys.argv[1], json.loads(sys.argv[2])):
        if length != last:
            # A clock of the machine, not of the process.
            print(last := length, time.monotonic(), flush=True)
