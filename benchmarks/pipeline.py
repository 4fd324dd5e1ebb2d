"""The pipeline on Dask, against the same stages called in plain processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numcodecs.blosc

from benchmarks.backfills import backfill
from benchmarks.core import everywhere, processes
from benchmarks.dataset import DAY, BenchmarkGrid, end_of
from benchmarks.fields import write_archive
from benchmarks.measures import Measure, compare
from benchmarks.on_hand import OnHand, on_hand
from benchmarks.sizes import Size
from gridmill.runs.dask.clusters import connect

__all__ = ["pipeline"]


def pipeline(folder: Path, size: Size) -> Iterator[Measure]:
    """Download, compress and upload some regions for each core."""
    archive = folder / "archive"
    archive.mkdir()
    regions = size.regions_a_core * (os.cpu_count() or 1) if size.steps == DAY else 1
    write_archive(archive, size.steps, copies=regions)
    until = end_of(DAY * (regions - 1) + size.steps)
    dataset = partial(BenchmarkGrid, source_base=str(archive))
    with (
        processes() as pool,
        connect("local", silence_logs=50) as client,
    ):
        yield from compare(
            "dask: backfill / stages in plain processes",
            partial(backfill, dataset, folder / "ours.zarr", until, client),
            partial(everywhere, pool, _stages, str(archive), until, size.regions_a_core),
            cpu=1.10,
            pairs=size.pairs,
        )


_held = ExitStack()
atexit.register(_held.close)
_ready: list[OnHand] = []


def _stages(archive: str, until: str, regions: int) -> None:
    """Take some regions through the stages, in this process, into a store of its own."""
    if not _ready:
        scratch = Path(_held.enter_context(tempfile.TemporaryDirectory(prefix="gridmill-dask-")))
        numcodecs.blosc.use_threads = False
        for number in range(regions):
            folder = scratch / str(number)
            dataset = BenchmarkGrid(folder / "out.zarr", source_base=archive)
            region = on_hand(dataset, until, folder, region=number)
            _ready.append(_held.enter_context(region))
    for region in _ready:
        shutil.rmtree(region.context.store.url, ignore_errors=True)  # as `backfill` does
    for region in _ready:
        sources = region.download()
        shards = region.compress(sources)
        region.upload(shards)
        region.discard([*sources, *shards])
