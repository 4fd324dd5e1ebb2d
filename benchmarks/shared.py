"""An update beside a long backfill on one scheduler, against the same update on its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmarks.many import DAY, HourFile, ManyDaysTemplate, ManyJob, until
from benchmarks.measures import Measure, Meter, measured
from benchmarks.sizes import Size
from gridmill import DataVar, DynamicalDataset
from gridmill.runs.dask.clusters import connect
from gridmill.runs.narration import Event

__all__ = ["shared"]

MOST = 1.10
WORKERS = 2
# In seconds, of a file: what the provider takes, and a worker for one of the update and of the
# backfill. Nobody computes: what is measured is who waits for whom, not how two share a core.
LATENCY_S, UPDATE_S, BACKFILL_S = 0.05, 0.2, 0.01
FORTNIGHT = 14


class NewTemplate(ManyDaysTemplate):
    """A day of one variable is a region: where Dask puts it makes no difference."""

    dataset_attributes: ClassVar = {"dataset_id": "benchmark-new", "title": "Benchmark"}
    data_vars = ManyDaysTemplate.data_vars[:1]


class NewJob(ManyJob):
    """Waits for the provider, and for as long as reading takes."""

    read_s: ClassVar = UPDATE_S

    def download_file(self, coord: HourFile) -> Path:
        """Wait, and make a file."""
        time.sleep(LATENCY_S)
        return super().download_file(coord)

    def read_data(self, coord: HourFile, data_var: DataVar) -> np.ndarray:
        """Wait, and give ones."""
        time.sleep(self.read_s)
        return super().read_data(coord, data_var)


class OldJob(NewJob):
    """The backfill's."""

    read_s: ClassVar = BACKFILL_S


class New(DynamicalDataset):
    """What is updated day by day."""

    template_config = NewTemplate
    region_job = NewJob


class Old(DynamicalDataset):
    """What is backfilled meanwhile."""

    template_config = ManyDaysTemplate
    region_job = OldJob


def shared(folder: Path, size: Size) -> Iterator[Measure]:
    """Update an archive by a day, in turns alone and while a backfill has all workers."""
    with connect("local", workers=WORKERS, silence_logs=50) as client:
        dataset = New(folder / "new.zarr")
        dataset.backfill(until(DAY), client=client)
        old = iter(range(1_000))

        def backfill(stop: Callable[[], bool]) -> None:
            while not stop():
                Old(folder / f"old{next(old)}.zarr").backfill(until(FORTNIGHT * DAY), client=client)

        ratios, load = [], 0.0
        for day in range(1, 1 + 2 * size.pairs, 2):
            with Meter() as meter:
                alone = _seconds_until_visible(dataset, day, client)
                with _meanwhile(backfill):
                    beside = _seconds_until_visible(dataset, day + 1, client)
            ratios.append(beside / alone)
            load = max(load, meter.foreign_load)
    name = "shared: update beside a backfill / alone, start to visible"
    yield measured(name, "× wall", ratios, most=MOST, foreign_load=load)


@contextmanager
def _meanwhile(work: Callable[[Callable[[], bool]], None]) -> Iterator[None]:
    """Let a thread work until it is told to stop; it has the workers after a moment."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended.is_set,))
    thread.start()
    time.sleep(2.0)
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _seconds_until_visible(dataset: New, day: int, client: Any) -> float:
    now = pd.Timestamp(until((day + 1) * DAY))
    visible: list[float] = []

    def note(event: Event) -> None:
        if event.kind == "published":
            visible.append(time.perf_counter())

    began = time.perf_counter()
    dataset.reformat_operational_update(until=now, now=now, client=client, listener=note)
    assert dataset.store.published_length("time") == (day + 1) * DAY
    return visible[-1] - began
