"""A dataset whose provider makes each file on request: ask, wait, fetch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from gridmill.authoring.region_job import DataVarT, RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.settled import SourceFileStatus
from gridmill.sources.fetch.download import Download, FileIdentity
from gridmill.sources.queues.client import OgcQueue, Queue
from gridmill.sources.queues.fetching import Patience, fetch_queued
from gridmill.sources.queues.tickets import Tickets, key_of

__all__ = ["OgcQueue", "Patience", "QueuedFile", "QueuedRegionJob"]


@dataclass(frozen=True, kw_only=True)
class QueuedFile(SourceFileCoord):
    """A source file that is made on request; subclass it and add what identifies it."""

    def request(self) -> Mapping[str, Any]:
        """Return what to ask the queue for: plain values, the same each time."""
        raise NotImplementedError(f"{type(self).__name__} must define request()")

    def get_url(self) -> str:
        """Return what it is called: by what is asked for."""
        told = json.dumps(dict(self.request()), sort_keys=True)
        return f"queue:{key_of('', self.request())[:12]}#{told}"


QueuedFileT = TypeVar("QueuedFileT", bound=QueuedFile)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class QueuedRegionJob(RegionJob[DataVarT, QueuedFileT]):
    """Fetches what a provider's queue makes; subclass it.

    Implement `queue`, beside what every `RegionJob` needs. Which job a request became is kept
    beside the records, so that a killed run asks for nothing twice. Revisions are not asked for:
    that would be a new request.

    Parameters
    ----------
    tickets
        What was asked for; set by `DynamicalDataset`.
    """

    tickets: Tickets | None = None

    patience: ClassVar[Patience] = Patience()
    asks_for_revisions: ClassVar[bool] = False

    def queue(self) -> Queue:
        """Return the provider's queue; runs on a worker."""
        raise NotImplementedError(f"{type(self).__name__} must define queue()")

    def download_file(self, coord: QueuedFileT) -> Download:
        """Ask for a file unless that was done, wait for it, and fetch it."""
        if self.tickets is None:
            raise RuntimeError("this job keeps no tickets: take it from DynamicalDataset.plan")
        return fetch_queued(
            self.queue(),
            coord.request(),
            self.download_path(coord),
            tickets=self.tickets,
            settings=self.download_settings,
            patience=self.patience,
            unread_before=coord.unread_before,
        )

    def ask_file(self, coord: QueuedFileT) -> FileIdentity | None:
        """Say that one that was missing may be there now; nobody is asked."""
        return None if coord.status is SourceFileStatus.SUCCEEDED else FileIdentity()
