"""A whole backfill from a distant provider to a distant S3 server, against the bare limit."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.backfills import backfill
from benchmarks.core import bare, everywhere, processes
from benchmarks.dataset import DAY, BenchmarkGrid, end_of
from benchmarks.fields import write_archive
from benchmarks.measures import Measure, compare
from benchmarks.sizes import Size
from gridmill.runs.dask.clusters import connect
from gridmill.testing import ArchiveServer, FaultProxy, S3Server
from gridmill.testing.faults import Slow

__all__ = ["BUCKET", "servers", "whole"]

# Of one connection; several at once are far beyond what two cores can decode.
NBYTES_PER_S = 40_000_000
BUCKET = "bench"


def whole(folder: Path, size: Size) -> Iterator[Measure]:
    """Fetch over HTTP and put to a real S3 server; the limit decodes and compresses, no more.

    The servers run in a process of their own, whose CPU is not counted.
    """
    archive = folder / "archive"
    archive.mkdir()
    # Twice as many as elsewhere: a run's start and end are requests one after the other, and take
    # as long whatever there is to do.
    regions_a_core = 2 * size.regions_a_core
    regions = regions_a_core * (os.cpu_count() or 1) if size.steps == DAY else 1
    write_archive(archive, size.steps, copies=regions)
    until = end_of(DAY * (regions - 1) + size.steps)
    with (
        servers(archive, size.latency_s) as (pid, source, options),
        processes() as pool,
        connect("local", silence_logs=50) as client,
    ):
        names = iter(range(1000))

        def ours() -> None:
            def dataset(store: Path) -> BenchmarkGrid:
                url = f"s3://{BUCKET}/{next(names)}.zarr"
                return BenchmarkGrid(url, source_base=source, storage_options=options)

            backfill(dataset, folder / "nothing", until, client)

        yield from compare(
            "whole: HTTP to S3 / bare primitives on local disk",
            ours,
            partial(
                everywhere,
                pool,
                bare,
                "NetCDF",
                str(archive),
                size.steps,
                times=regions_a_core if size.steps == DAY else 1,
            ),
            cpu=1 / 0.85,
            wall=1 / 0.85,
            pairs=size.pairs,
            not_ours=(pid,),
        )


@contextmanager
def servers(archive: Path, latency_s: float) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Return the servers' process, the provider's address, and options of the store."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, str(archive), latency_s))
    process.start()
    there.close()
    try:
        source, options = here.recv()
        yield int(process.pid or 0), source, options
    finally:
        here.close()
        process.join()


def _serve(until_closed: Connection, archive: str, latency_s: float) -> None:
    with (
        ArchiveServer(Path(archive), latency_s=latency_s) as provider,
        S3Server() as server,
        FaultProxy(server.endpoint_url, latency_s=latency_s) as proxy,
    ):
        provider.release("*")
        provider.inject("*", Slow(nbytes_per_s=NBYTES_PER_S), times=None)
        server.create_bucket(BUCKET)
        options = {**server.storage_options, "endpoint_url": proxy.url}
        until_closed.send((provider.url, options))
        try:
            until_closed.recv()
        except EOFError:
            return
