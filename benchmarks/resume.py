"""The rerun of a finished backfill: it asks no source, and looks at each region for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.many import DAY, ManyDays, until
from benchmarks.measures import Measure, Meter
from benchmarks.sizes import Size
from gridmill.runs.dask.clusters import connect

__all__ = ["resume"]

MOST_S = 10.0


def resume(folder: Path, size: Size) -> Iterator[Measure]:
    """Run a backfill of regions with 24 source files and three variables twice."""
    asked = folder / "asked"
    asked.mkdir()
    dataset = ManyDays(folder / "many.zarr", source_base=str(asked))
    end = until(size.regions * DAY)
    with connect("local", silence_logs=50) as client:
        dataset.backfill(end, client=client)
        for file in asked.iterdir():
            file.unlink()
        with Meter() as meter:
            report = dataset.backfill(end, client=client)
    assert report.regions_skipped == size.regions
    name, requests = f"resume: rerun of {size.regions} regions", float(len(list(asked.iterdir())))
    most = MOST_S * size.regions / 1000
    wall, cpu = meter.wall_s, meter.cpu_s
    yield Measure(name, "s", wall, wall, wall, most, meter.foreign_load)
    yield Measure(name, "CPU s", cpu, cpu, cpu)
    yield Measure(f"{name}, source files asked for", "files", requests, requests, requests, 0.0)
