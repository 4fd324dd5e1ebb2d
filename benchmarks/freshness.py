"""From the moment that a whole source file can be fetched until an independent reader sees it."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.idle import hour, installed, write_step
from benchmarks.measures import Measure, Meter
from benchmarks.sizes import Size
from benchmarks.steps import Steps
from gridmill.testing import ArchiveServer, FaultProxy, S3Server

__all__ = ["freshness", "freshness_s3"]

BEFORE, UPDATES = 2, 200
PERCENTILES = (50, 95, 99)
# Between two times that the reader opens the archive, and without news until it gives up.
LOOK_EVERY_S, GIVE_UP_S = 0.02, 300.0
# Of the resident driver: how often it asks a provider, and how many files it awaits at first.
ASK_EVERY_S, CYCLE = 1, 20
ASKED_WITHIN_S, RECENT = 60.0, 100


def freshness(folder: Path, size: Size) -> Iterator[Measure]:
    """Release a file of six fields of 721 × 1440 at a time, and wait for a reader of local files.

    Scheduled: `gridmill update` is started as soon as the file is there; the process, its imports,
    its plan, the stages and the publication count, the wait for a schedule's minute does not.
    Resident: `gridmill update --wait` has asked the provider in vain and asks again each second;
    that wait counts, and files come at any moment between. In both the reader is a process of its
    own that opens the archive by `xarray.open_zarr` again and again: its opening counts.
    """
    for number, way in enumerate(WAYS):
        at = folder / str(number)
        at.mkdir()
        yield from _measured(f"freshness: local, {way}", at, str(at / "a.zarr"), {}, size)


def freshness_s3(folder: Path, size: Size) -> Iterator[Measure]:
    """Do the same where each request to S3 takes longer, of drivers and of the reader."""
    with ExitStack() as stack:
        server = stack.enter_context(S3Server())
        server.create_bucket("bench")
        proxy = stack.enter_context(FaultProxy(server.endpoint_url, latency_s=size.latency_s))
        options = dict(server.storage_options) | {"endpoint_url": proxy.url}
        at_latency = f"freshness: S3 at {size.latency_s * 1e3:.0f} ms"
        for number, way in enumerate(WAYS):
            at, url = folder / str(number), f"s3://bench/{number}.zarr"
            at.mkdir()
            yield from _measured(f"{at_latency}, {way}", at, url, options, size)


def _measured(
    name: str, folder: Path, url: str, options: Mapping[str, Any], size: Size
) -> Iterator[Measure]:
    updates = UPDATES if size.pairs > 1 else 1
    provider = folder / "provider"
    provider.mkdir()
    with ArchiveServer(provider) as source:
        archive = Archive(url, options, source, installed(folder.parent / "compiled"))
        waits, load = archive.waits(updates, WAYS[name.split(", ")[1]])
    yield from _percentiles(name, waits, load)


def _percentiles(name: str, waits: Sequence[float], load: float) -> Iterator[Measure]:
    """Yield nearest ranks: each is a wait that was seen."""
    found = sorted(waits)
    for percentile in PERCENTILES:
        value = found[math.ceil(percentile / 100 * len(found)) - 1]
        label = f"{name}, p{percentile} of {len(found)}"
        yield Measure(label, "s", value, found[0], found[-1], foreign_load=load)


@dataclass
class Archive:
    """An archive that grows by a step at a time, and what its readers see of it."""

    url: str
    options: Mapping[str, Any]
    source: ArchiveServer
    environment: Mapping[str, str]

    def waits(self, updates: int, way: Way) -> tuple[list[float], float]:
        """Return for each update the seconds until its step was seen, and the foreign load."""
        for step in range(BEFORE):
            self._release(step)
        dataset = Steps(
            self.url, source_base=self.source.url, storage_options=dict(self.options) or None
        )
        end = hour(BEFORE)
        dataset.backfill(end, client="none", now=end)
        self._update(BEFORE).wait()  # which compiles what it imports
        with Meter() as meter, self._reader() as reader:
            reader.wait_for(BEFORE)
            found = list(way(self, range(BEFORE, BEFORE + updates), reader))
        return found, meter.foreign_load

    def a_driver_each(self, steps: range, reader: Reader) -> Iterator[float]:
        """Start a driver for each file, once it is there."""
        for step in steps:
            released = self._release(step)
            assert self._update(step + 1).wait() == 0
            yield reader.wait_for(step + 1) - released

    def a_driver_a_cycle(self, steps: range, reader: Reader) -> Iterator[float]:
        """Let a driver wait for the files of a cycle, one after the other."""
        waiting = ("--wait", "--deadline", "6h", "--pause", f"{ASK_EVERY_S}s")
        moments = random.Random(1)
        for first in range(steps.start, steps.stop, CYCLE):
            cycle = range(first, min(first + CYCLE, steps.stop))
            driver = self._update(cycle.stop, *waiting)
            try:
                for step in cycle:
                    self._wait_until_asked(step)
                    time.sleep(moments.uniform(0, ASK_EVERY_S))
                    released = self._release(step)
                    yield reader.wait_for(step + 1) - released
                assert driver.wait() == 0
            finally:
                driver.terminate()

    def _wait_until_asked(self, step: int) -> None:
        """Wait until the driver is done with what came before, and asked for this in vain."""
        began = time.time()
        while not any(
            one.path == _name(step) and one.time > began for one in self.source.requests[-RECENT:]
        ):
            if time.time() > began + ASKED_WITHIN_S:
                raise RuntimeError(f"no driver asked for {_name(step)}")
            time.sleep(LOOK_EVERY_S)

    def _release(self, step: int) -> float:
        write_step(self.source.root / _name(step), step)
        moment = time.monotonic()
        self.source.release(_name(step))
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


def _name(step: int) -> str:
    return f"f{step:03d}.nc"


Way = Callable[[Archive, range, "Reader"], Iterator[float]]
WAYS: Mapping[str, Way] = {
    "scheduled": Archive.a_driver_each,
    f"polled each {ASK_EVERY_S} s": Archive.a_driver_a_cycle,
}


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
    last, since = -1, time.monotonic()
    for length in look(sys.argv[1], json.loads(sys.argv[2])):
        # A clock of the machine, not of the process.
        now = time.monotonic()
        if length != last:
            print(last := length, since := now, flush=True)
        elif now > since + GIVE_UP_S:
            sys.exit(f"nothing new within {GIVE_UP_S:.0f} s")
