"""An archive of scenes with a replica, reindexed in a process that may be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridmill.dataset import DynamicalDataset
from gridmill.operations.axis.reindex import reindex
from scenes import scene, scenes_of

__all__ = ["LATER", "reindexed", "scenes_with"]

LATER = scene(200)


def scenes_with(folder: Path, kind: str = "icechunk", **options: Any) -> DynamicalDataset:
    """Give an archive of scenes, and its replica of this kind."""
    replica = {"url": str(folder / "b"), "format": kind}
    return scenes_of(folder, "icechunk", replicas=[replica], **options)


def reindexed(folder: str) -> None:
    """Take late labels in, everywhere; where all was done but the report, nothing."""
    try:
        reindex(scenes_with(Path(folder)), who="me", soon=True, now=LATER)
    except ValueError as error:
        if "nothing to insert" not in str(error):
            raise
