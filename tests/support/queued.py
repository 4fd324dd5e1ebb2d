"""A tiny dataset from a queue, and a driver of it that is killed at a step of a request."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridmill import DownloadSettings
from gridmill.authoring.sources.queued import OgcQueue, Patience, QueuedFile, QueuedRegionJob
from gridmill.sources.queues import fetching
from gridmill.sources.queues.tickets import Tickets
from tiny import TinyTemplate, dataset_of

__all__ = ["QUEUE", "queued_dataset", "run_and_die"]

QUEUE = Patience(most_queued=3, poll_initial_s=0.02, poll_max_s=0.05, wait_s=60, claim_s=0.5)


@dataclass(frozen=True, kw_only=True)
class Hour(QueuedFile):
    """An hour."""

    label: Any

    def request(self) -> dict[str, Any]:
        """Give the hour."""
        return {"hour": self.label.hour}

    def out_loc(self) -> dict[str, Any]:
        """Give the label."""
        return {"time": self.label}


def queued_dataset(server: Any) -> Any:
    """Return a dataset whose files a queue makes."""
    return _dataset(server.url, server.knows_keys)


def _dataset(url: str, knows_keys: bool) -> Any:
    class Job(QueuedRegionJob):
        download_settings = DownloadSettings(attempts=2, wait_initial_s=0.01)
        patience = QUEUE

        def queue(self) -> OgcQueue:
            return OgcQueue(url=url, process="weather", knows_keys=knows_keys)

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            return [Hour(label=label) for label in processing_region_ds.get_index("time")]

        def read_data(self, coord, data_var):
            return np.load(coord.downloaded_path)[data_var.number]

    return dataset_of(template=TinyTemplate, job=Job)


def run_and_die(store: str, url: str, knows_keys: str, dies_at: str) -> None:
    """Backfill in this process, which kills itself right after a step was done once."""
    dataset = _dataset(url, knows_keys == "True")
    steps = {
        "claim": (Tickets, "claim"),
        "submit": (OgcQueue, "submit"),
        "keep": (Tickets, "keep"),
        "look": (OgcQueue, "look"),
        "fetch": (fetching, "fetch"),
        "read": (dataset.region_job, "read_data"),
    }
    owner, name = steps[dies_at]
    setattr(owner, name, _deadly(getattr(owner, name)))
    dataset(store).backfill("2020-01-01T08:00", client="none", now="2020-01-02")


def _deadly(step: Callable[..., Any]) -> Callable[..., Any]:
    def last(*args: Any, **kwargs: Any) -> Any:
        step(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    return last
