"""A rolling archive with a next version beside it, in a local repository of format 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gridmill.dataset import DynamicalDataset
from gridmill.operations.versions.candidate import examine
from gridmill.operations.versions.promote import Beside, complete, go_back, promote
from promoted import CORRECTED
from retained import Rolling, RollingJob, rolling

__all__ = ["Corrected", "beside", "go_back_or_complete", "present", "promote_or_complete"]


class CorrectedJob(RollingJob):
    """A release that stores other values."""

    version = 2

    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Read what the file holds, corrected."""
        return super().read_data(coord, data_var) + np.float32(CORRECTED)


class Corrected(Rolling):
    """The later release."""

    region_job = CorrectedJob


def present(folder: Path, kind: Any = Corrected, **options: Any) -> DynamicalDataset:
    """Give the archive, or another version of it."""
    return rolling(folder, 1, dataset=kind, **options)


def beside(folder: Path, kind: Any = Corrected) -> Beside:
    """Give the versions of the archive."""
    return Beside(*(present(folder, kind, staged=s) for s in (False, True, "previous")))


def promote_or_complete(folder: str) -> None:
    """Promote; for `killed_steps`."""
    versions = beside(Path(folder))
    if complete(versions, who="ann") is None:
        promote(examine(versions.present, versions.following, blocks=1), versions, who="ann")


def go_back_or_complete(folder: str) -> None:
    """Return to the version with what was dropped; for `killed_steps`."""
    versions = beside(Path(folder), Rolling)
    first = versions.present.store.read("a", (slice(0, 1),)).max()
    if complete(versions, who="ann") is None and first >= CORRECTED:
        candidate = examine(versions.present, versions.way_back, blocks=1, is_declared=False)
        go_back(candidate, versions, who="ann")
