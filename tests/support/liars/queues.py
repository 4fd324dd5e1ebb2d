"""Files that are made when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pandas as pd

from gridmill import DataVar, read_netcdf
from gridmill.authoring.sources.queued import OgcQueue, Patience, QueuedFile, QueuedRegionJob
from gridmill.sources.queues import fetching
from gridmill.testing.queues.queue_server import QueueServer
from liars.files import Provider

__all__ = ["Queue"]


@dataclass(frozen=True, kw_only=True)
class QueuedDay(QueuedFile):
    """A day that is asked for."""

    label: Any

    def request(self) -> dict[str, Any]:
        """Give the day."""
        return {"day": f"{self.label:%Y%m%d}"}

    def out_loc(self) -> dict[str, Any]:
        """Give the day."""
        return {"time": self.label}


class QueuedJob(QueuedRegionJob):
    """Asks, waits and fetches."""

    patience = Patience(most_queued=8, poll_initial_s=0.01, poll_max_s=0.02, wait_s=60, claim_s=2)
    address = ""

    def queue(self) -> OgcQueue:
        """Give the queue."""
        return OgcQueue(url=self.address, process="weather", knows_keys=True)

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a label."""
        return [QueuedDay(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the file's variable whole."""
        return read_netcdf(coord.downloaded_path, "t2m")


class Queue(Provider):
    """Makes a file when it is asked for one; what is not told yet it cannot make."""

    job = QueuedJob

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        now = mock.patch.multiple(fetching, UNREAD_S=0.0, UNFETCHED_S=0.0)
        with now, QueueServer(self._make, knows_keys=True) as self.queue:
            yield

    def declared(self) -> dict[str, Any]:
        """Return the queue's address."""
        return {"address": self.queue.url}

    def _make(self, request: Any) -> bytes:
        path = self.path(pd.Timestamp(request["day"]))
        return path.read_bytes() if path.exists() else b""
