"""From the detection of a source file to the moment at which readers see its values."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.many import Many, until
from benchmarks.measures import Measure, Meter
from benchmarks.sizes import Size
from gridmill.runs.dask.clusters import connect
from gridmill.runs.narration import Event
from gridmill.testing import FaultProxy, S3Server

__all__ = ["freshness"]

MOST_HALF_S, MOST_S = 1.0, 3.0
BEFORE, UPDATES = 200, 20


def freshness(folder: Path, size: Size) -> Iterator[Measure]:
    """Update an archive hour by hour, on a local disk and on S3; without the stages' own time."""
    before, updates = (BEFORE, UPDATES) if size.pairs > 1 else (2, 1)
    with connect("local", silence_logs=50) as client:
        dataset = Many(folder / "local.zarr")
        yield from _overheads("local disk", dataset, client, before, updates)
        with ExitStack() as stack:
            server = stack.enter_context(S3Server())
            server.create_bucket("bench")
            for latency_s in dict.fromkeys((0.0, size.latency_s)):
                options = server.storage_options
                if latency_s:
                    proxy = FaultProxy(server.endpoint_url, latency_s=latency_s)
                    options = {**options, "endpoint_url": stack.enter_context(proxy).url}
                where = f"S3 at {latency_s * 1e3:.0f} ms"
                store = f"s3://bench/{latency_s * 1e3:.0f}.zarr"
                dataset = Many(store, storage_options=options)
                # The promise is for a store without this latency: here it shows its price.
                yield from _overheads(where, dataset, client, before, updates, not latency_s)


def _overheads(
    where: str, dataset: Many, client: Any, before: int, updates: int, is_promised: bool = True
) -> Iterator[Measure]:
    dataset.backfill(until(before), client=client)
    overheads, load = [], 0.0
    for hour in range(before, before + updates):
        now = pd.Timestamp(until(hour + 1))
        visible = []

        def note(event: Event, visible: list[float] = visible) -> None:
            if event.kind == "published":
                visible.append(time.perf_counter())

        with Meter() as meter:
            started = time.perf_counter()
            report = dataset.reformat_operational_update(
                until=now, now=now, client=client, listener=note
            )
        assert dataset.store.published_length("time") == hour + 1, report
        overheads.append(visible[-1] - started - sum(span.seconds for span in report.spans))
        load = max(load, meter.foreign_load)
    overheads.sort()
    low, high = overheads[0], overheads[-1]
    for name, value, most in (
        ("half", statistics.median(overheads), MOST_HALF_S),
        ("95 %", overheads[int(0.95 * (len(overheads) - 1))], MOST_S),
    ):
        most = most if is_promised else None
        yield Measure(f"freshness: {where}, {name} within", "s", value, low, high, most, load)
