"""The feed of publications, read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gridmill.model.reports.publication import Publication
from gridmill.operations.maintenance import check_exists

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["read_feed"]


def read_feed(dataset: DynamicalDataset, since: datetime) -> Iterator[Publication]:
    """Yield what was published since a moment, the earliest first; UTC where it has no zone.

    One object is read for each day of it on which something was published.

    Raises
    ------
    ValueError
        There is no archive.
    """
    check_exists(dataset)
    moment = since if since.tzinfo is None else since.astimezone(UTC).replace(tzinfo=None)
    yield from dataset.store.tracker.feed.since(moment.isoformat(timespec="seconds"))
