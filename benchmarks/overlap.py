"""Jobs that one stage bounds, against the time that this stage alone must take.

The stages wait instead of working, so that the result is the pipeline's and not the machine's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.backfills import backfill
from benchmarks.many import SHAPE, HourFile, ManyJob, ManyTemplate, until
from benchmarks.measures import Measure, Meter, measured
from benchmarks.sizes import Size
from gridmill import DataVar, DynamicalDataset
from gridmill.runs.dask.clusters import connect
from gridmill.runs.workplaces.workplace import STAGE_WIDTHS
from gridmill.stores.final_store import Uploaded
from gridmill.stores.zarr_store import ZarrStore

__all__ = ["overlap"]

WORKERS, ROUNDS = 2, 20
LONG_S, SHORT_S = 0.5, 0.1


def overlap(folder: Path, size: Size) -> Iterator[Measure]:
    """Let download, compress and upload take longest in turn."""
    long_s, rounds = (LONG_S, ROUNDS) if size.pairs > 1 else (SHORT_S, 1)
    with connect("local", workers=WORKERS, silence_logs=50) as client:
        for bound in STAGE_WIDTHS:
            seconds = {stage: long_s if stage == bound else SHORT_S for stage in STAGE_WIDTHS}
            width = WORKERS * STAGE_WIDTHS[bound]
            dataset = partial(_waiting, seconds=seconds)
            backfill(dataset, folder / "warm-up.zarr", until(1), client)
            meters = []
            for _ in range(size.pairs):
                with Meter() as meter:
                    backfill(dataset, folder / f"{bound}.zarr", until(width * rounds), client)
                meters.append(meter)
            name = f"overlap: {bound} bound / alone"
            ratios = [meter.wall_s / (rounds * long_s) for meter in meters]
            load = statistics.median(meter.foreign_load for meter in meters)
            yield measured(name, "× wall", ratios, most=1 / 0.90, foreign_load=load)


def _waiting(store: Path, *, seconds: dict[str, float]) -> DynamicalDataset:
    dataset = Waiting(store, source_base=[f"{seconds['download']}", f"{seconds['compress']}"])
    dataset.store = SlowStore(str(store), dataset.dataset_id, seconds=seconds["upload"])
    return dataset


class SlowStore(ZarrStore):
    """Waits before it uploads."""

    def __init__(self, url: str, dataset_id: str, *, seconds: float) -> None:
        super().__init__(url, dataset_id)
        self.seconds = seconds

    def upload(self, *args: Any, **options: Any) -> Uploaded:
        """Wait, and upload."""
        time.sleep(self.seconds)
        return super().upload(*args, **options)


class WaitingTemplate(ManyTemplate):
    """One variable."""

    dataset_attributes: ClassVar = {"dataset_id": "benchmark-waiting", "title": "Benchmark"}


class WaitingJob(ManyJob):
    """Waits as long as its two source bases say, as each stage reads them."""

    def download_file(self, coord: HourFile) -> Path:
        """Wait, and make a file."""
        time.sleep(float(self.source_base[0]))
        path = self.download_path(coord)
        path.write_bytes(b"waited")
        return path

    def read_data(self, coord: HourFile, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Wait, and give ones."""
        time.sleep(float(self.source_base[1]))
        return np.ones(SHAPE, np.float32)


class Waiting(DynamicalDataset):
    """What waits."""

    template_config = WaitingTemplate
    region_job = WaitingJob
