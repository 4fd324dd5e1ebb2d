"""Thousands of trivial region jobs: what the driver and the scheduler cost, and what grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.many import Many, until
from benchmarks.measures import Measure, Meter
from benchmarks.sizes import Size
from gridmill.runs.dask.clusters import connect

__all__ = ["scale"]

MOST_MS = 3.0
# Records and metadata of an archive of any length are the same; lists of jobs are not.
MOST_GROWTH_MIB = 64.0
SAMPLE_EVERY_S = 1.0


def scale(folder: Path, size: Size) -> Iterator[Measure]:
    """Run them on a LocalCluster, whose scheduler shares the driver's process."""
    for chains in size.chains:
        with connect("local", silence_logs=50) as client:
            Many(folder / "warm-up.zarr").backfill(until(4), client=client)
            with _sampled_rss() as rss, Meter() as meter:
                before = time.process_time()
                store = folder / f"many-{chains}.zarr"
                report = Many(store).backfill(until(chains), client=client)
                cpu_s = time.process_time() - before
            assert report.regions_done == report.positions_after == chains
        ms, load = cpu_s / chains * 1e3, meter.foreign_load
        name = f"scale: {chains} trivial chains"
        yield Measure(f"{name}, driver and scheduler", "CPU ms", ms, ms, ms, MOST_MS, load)
        half, end = rss[len(rss) // 2] / 2**20, rss[-1] / 2**20
        growth = Measure(
            f"{name}, growth in the second half", "MiB", end - half, end - half, end - half
        )
        yield growth if len(rss) < 3 else Measure(**{**vars(growth), "most": MOST_GROWTH_MIB})


@contextmanager
def _sampled_rss() -> Iterator[list[int]]:
    """Return the resident set of this process, a sample a second."""
    process, ended, samples = psutil.Process(), threading.Event(), [0]
    samples[0] = process.memory_info().rss

    def sample() -> None:
        while not ended.wait(SAMPLE_EVERY_S):
            samples.append(process.memory_info().rss)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
        samples.append(process.memory_info().rss)
