"""A cluster in a process of its own: it outlives drivers, and dies when told or when orphaned.

Run as ``python trust_cluster.py FOLDER WORKERS``; prints the scheduler's address. Every worker
has its own folder below FOLDER and uses no other, unless TRUST_WORKERS_SHARE_DISK says so.
"""

from __future__ import annotations

import os
import sys

import dask
from distributed import LocalCluster

from gridmill.runs.dask.clusters import LOCAL_CONFIG, SCHEDULER_CONFIG
from gridmill.runs.workplaces.workplace import threads_per_worker


def main(folder: str, workers: int) -> None:
    """Serve until standard input ends."""
    config = {
        **SCHEDULER_CONFIG,
        **LOCAL_CONFIG,
        "gridmill.workers-share-disk": bool(os.environ.get("TRUST_WORKERS_SHARE_DISK")),
        # A worker that is paused for seconds is not lost.
        "distributed.scheduler.worker-ttl": "5 minutes",
    }
    with (
        dask.config.set(config),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads_per_worker(),
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            silence_logs=30,
            local_directory=folder,
        ) as cluster,
    ):
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
