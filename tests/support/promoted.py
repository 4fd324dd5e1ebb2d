"""An archive with a next version beside it, and its promotion in a process that may be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridmill.dataset import DynamicalDataset
from gridmill.operations.versions.candidate import examine
from gridmill.operations.versions.promote import Beside, complete, go_back, promote
from tiny import Tiny, TinyJob, dataset_of

__all__ = ["CORRECTED", "Next", "beside_of", "go_back_or_complete", "make", "promote_or_complete"]

# By how much the values of the next version differ.
CORRECTED = 100


class Corrected(TinyJob):
    """A release that stores other values."""

    version = 2

    def read_data(self, coord, data_var):
        """Read what the file holds, corrected."""
        return super().read_data(coord, data_var) + CORRECTED


Next = dataset_of(job=Corrected)


def make(
    folder: Path | str, kind: type[DynamicalDataset] = Next, **options: Any
) -> DynamicalDataset:
    """Give the dataset with its archive, or another version of it."""
    given = {"format": "icechunk", "source_base": f"{folder}/source", **options}
    return kind(given.pop("url", f"{folder}/a"), **given)


def beside_of(folder: Path | str, kind: type[DynamicalDataset] = Next, **options: Any) -> Beside:
    """Give the versions of the archive."""
    return Beside(*(make(folder, kind, staged=s, **options) for s in (False, True, "previous")))


def promote_or_complete(folder: str, options: dict[str, Any]) -> None:
    """Do as the command does; where readers see the next version already, nothing."""
    beside = beside_of(folder, **options)
    if complete(beside, who="ann") is None and beside.following.store.metadata() is not None:
        promote(examine(beside.present, beside.following, blocks=1), beside, who="ann")


def go_back_or_complete(folder: str, options: dict[str, Any]) -> None:
    """Return to the previous version, see `promote_or_complete`."""
    beside = beside_of(folder, Tiny, **options)
    seen = beside.present.store.read("a", (slice(0, 1),)).max()
    if complete(beside, who="ann") is None and seen >= CORRECTED:
        other = beside.way_back
        go_back(examine(beside.present, other, blocks=1, is_declared=False), beside, who="ann")


def with_replica(
    folder: Path | str, kind: type[DynamicalDataset] = Next, **options: Any
) -> DynamicalDataset:
    """Give the dataset with its archive, and the replica beside it."""
    replica = {"url": f"{folder}/b", "format": "icechunk"}
    return make(folder, kind, **{"replicas": [replica], **options})


def beside_with_replica(
    folder: Path | str, kind: type[DynamicalDataset] = Next, **options: Any
) -> Beside:
    """Give the versions of the archive that has a replica."""
    versions = beside_of(folder, kind)
    return Beside(with_replica(folder, kind, **options), versions.following, versions.previous)


def promote_with_replica(folder: str) -> None:
    """Do as the command does, see `promote_or_complete`."""
    beside = beside_with_replica(folder)
    if complete(beside, who="ann") is None and beside.following.store.metadata() is not None:
        promote(examine(beside.present, beside.following, blocks=1), beside, who="ann")


def go_back_with_replica(folder: str) -> None:
    """Return to the previous version everywhere, see `go_back_or_complete`."""
    beside = beside_with_replica(folder, Tiny)
    seen = beside.present.store.read("a", (slice(0, 1),)).max()
    if complete(beside, who="ann", is_back=bool(seen >= CORRECTED)) is None and seen >= CORRECTED:
        other = beside.way_back
        go_back(examine(beside.present, other, blocks=1, is_declared=False), beside, who="ann")
