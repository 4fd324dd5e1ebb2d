"""Local clusters for tests: quiet, without dashboards, with real worker processes or without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from gridmill.runs.dask.clusters import LOCAL_CONFIG, SCHEDULER_CONFIG
from gridmill.runs.workplaces.workplace import threads_per_worker


@contextmanager
def local_client(n_workers: int = 2, **options: Any) -> Iterator[Client]:
    """Give a client of a fresh cluster of worker processes.

    It is nobody's default: a session's client outlives the file of tests that made it, and what
    a later file computes in passing must not go to its workers.
    """
    defaults = {
        "n_workers": n_workers,
        "threads_per_worker": threads_per_worker(),
        "processes": True,
        "dashboard_address": "127.0.0.1:0",
        "worker_dashboard_address": None,
        "silence_logs": 50,
    }
    with (
        dask.config.set({**SCHEDULER_CONFIG, **LOCAL_CONFIG}),
        LocalCluster(**{**defaults, **options}) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def one_worker() -> Any:
    """Give a fixture for a test module: a client of one worker with all stages, in this process."""

    @pytest.fixture(scope="module")
    def client() -> Iterator[Client]:
        with local_client(n_workers=1, processes=False) as client:
            yield client

    return client
