"""A backfill of small regions, half of whose workers are taken away again and again."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from distributed import Client

from clusters import local_client
from gridmill.testing import ArchiveServer
from tiny import REGION, Provider, TinyTemplate, dataset_of, hours, until

__all__ = ["Losses", "play"]

# What the provider takes for a file: with it regions are slow enough for tasks of their own.
LATENCY_S = 0.3
# A backfill takes so many; as many follow each other as there is time.
REGIONS = 50


class SpotTemplate(TinyTemplate):
    """Regions of four files and two variables."""

    append_dim_capacity = 400_000
    dataset_attributes: ClassVar = {"dataset_id": "spot", "title": "Spot"}


Spot = dataset_of(template=SpotTemplate)


@dataclass(frozen=True)
class Losses:
    """What became of it.

    Parameters
    ----------
    regions
        How many were made.
    killed
        How many workers were.
    files_again
        Source files that were asked for more than once.
    most_files
        How many one region has.
    share_again
        Of the source bytes that there are, those that were sent once more.
    same_bytes
        Whether the archive is that of an uninterrupted run, object by object.
    failures
        Of the runs.
    """

    regions: int
    killed: int
    files_again: int
    most_files: int
    share_again: float
    same_bytes: bool
    failures: int


def play(folder: Path, *, workers: int, seconds: float, every_s: float, seed: int = 1) -> Losses:
    """Backfill for some time while every so often half of the workers are killed.

    Their processes end without a word, and others come for them, as Spot instances do. What was
    sent twice is told by the provider's own log.
    """
    provider = Provider(folder / "provider")
    with ArchiveServer(provider.root, latency_s=LATENCY_S) as server:
        server.release_all()
        regions = failures = 0
        dataset = Spot(folder / "lossy.zarr", source_base=server.url)
        with local_client(n_workers=workers) as client:
            end = time.monotonic() + seconds
            with _losing(client, every_s, random.Random(seed)) as killed:
                while time.monotonic() < end:
                    provider.publish(hours(REGIONS * REGION, regions * REGION))
                    regions += REGIONS
                    report = dataset.backfill(until(regions * REGION), client=client)
                    failures += len(report.failures)
            requests = server.requests
            server.latency_s = 0.0
            whole = Spot(folder / "whole.zarr", source_base=str(provider.root))
            whole.backfill(until(regions * REGION), client=client)
    again, share = _sent_again(requests)
    same = _contents(folder / "lossy.zarr") == _contents(folder / "whole.zarr")
    return Losses(regions, sum(killed), again, REGION, share, same, failures)


@contextmanager
def _losing(client: Client, every_s: float, chance: random.Random) -> Iterator[list[int]]:
    """Kill half of a cluster's workers again and again; how many each time."""
    ended, killed = threading.Event(), list[int]()

    def lose() -> None:
        while not ended.wait(every_s):
            cluster: Any = client.cluster
            nannies = list(cluster.workers.values())
            if len(cluster.scheduler.workers) < len(nannies):
                continue  # where they come back more slowly than they go nothing would ever be done
            pids = [nanny.pid for nanny in nannies if nanny.pid is not None]
            lost = chance.sample(pids, min(len(pids), len(nannies) // 2))
            for pid in lost:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed.append(len(lost))

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def _sent_again(requests: Any) -> tuple[int, float]:
    """Count the files asked for again, and give the share of all bytes that were sent again."""
    sent: defaultdict[str, list[int]] = defaultdict(list)
    for request in requests:
        sent[request.path].append(request.nbytes)
    times = Counter({path: len(each) for path, each in sent.items()})
    once = sum(max(each) for each in sent.values())
    again = sum(map(sum, sent.values())) - once
    return sum(number > 1 for number in times.values()), again / once


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
