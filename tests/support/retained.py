"""A rolling archive of hours, whose regions are made of files from before them, too."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gridmill import Completeness, Finality
from gridmill.dataset import DynamicalDataset
from gridmill.operations.retention.retain import retain
from tiny import TinyJob, TinyTemplate

__all__ = [
    "KEEP",
    "Rolling",
    "RollingTemplate",
    "retained",
    "retained_with_replica",
    "rolling",
    "rolling_with",
]

KEEP = timedelta(hours=12)


class RollingTemplate(TinyTemplate):
    """Hourly from 2020 on, with how much of each hour is there, and final."""

    coords = (*TinyTemplate.coords, Completeness(dims=("time",)), Finality(dims=("time",)))


class RollingJob(TinyJob):
    """Reads the hour before each region, too."""

    lookback = timedelta(0)
    publication_delay = timedelta(hours=2)

    def get_processing_region(self) -> slice:
        """Give one position more."""
        return slice(max(0, self.region.start - 1), self.region.stop)


class Rolling(DynamicalDataset):
    """The archive."""

    template_config = RollingTemplate
    region_job = RollingJob


def rolling(
    folder: Path, version: int = 2, kind: str = "icechunk", dataset: Any = Rolling, **options: Any
) -> DynamicalDataset:
    """Give the archive in a folder, of the provider's files in it."""
    own = {"format_version": version} if kind == "icechunk" else {}
    source = str(folder / "source")
    return dataset(folder / "a", source_base=source, format=kind, **own, **options)


def retained(folder: str, version: int) -> None:
    """Drop what is older than is kept; for `killed_steps`."""
    retain(rolling(Path(folder), version), KEEP, who="me")


def rolling_with(folder: Path, version: int = 1, kind: str = "icechunk") -> DynamicalDataset:
    """Give a rolling archive, and its replica of this kind."""
    return rolling(folder, version, replicas=[{"url": str(folder / "b"), "format": kind}])


def retained_with_replica(folder: str) -> None:
    """Drop what is older than is kept, everywhere; for `killed_steps`."""
    retain(rolling_with(Path(folder)), KEEP, who="me")
