"""What became of source files, and how far a region is settled by that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from gridmill.model.region import Region

__all__ = [
    "PublishWhen",
    "RegionState",
    "SourceFileStatus",
    "SourceFill",
    "region_state",
]

PublishWhen = Literal["complete", "any", "lead by lead"]


class SourceFileStatus(StrEnum):
    """What became of one source file in a region job."""

    PROCESSING = "processing"
    NOT_YET_AVAILABLE = "not yet available"
    DOWNLOAD_FAILED = "download failed"
    READ_FAILED = "read failed"
    HELD = "held by gate"
    WITHDRAWN = "withdrawn"
    SUCCEEDED = "succeeded"

    @property
    def is_failure(self) -> bool:
        """Whether the provider had the file and it is not used."""
        return self in (
            SourceFileStatus.DOWNLOAD_FAILED,
            SourceFileStatus.READ_FAILED,
            SourceFileStatus.HELD,
        )

    def of_unread(self, cause: str) -> SourceFileStatus:
        """Return what a file is for a variable that it gave nothing, by the recorded cause.

        One that did not arrive stays what it is.

        Examples
        --------
        >>> SourceFileStatus.SUCCEEDED.of_unread("held by gate jump: values differ").value
        'held by gate'
        >>> SourceFileStatus.SUCCEEDED.of_unread("ValueError: no t2m").value
        'read failed'
        >>> SourceFileStatus.NOT_YET_AVAILABLE.of_unread("HTTP 404").value
        'not yet available'
        """
        if self is not SourceFileStatus.SUCCEEDED:
            return self
        by_hand = (SourceFileStatus.HELD, SourceFileStatus.WITHDRAWN)
        found = (status for status in by_hand if cause.startswith(status))
        return next(found, SourceFileStatus.READ_FAILED)

    @property
    def while_unsettled(self) -> str:
        """What to say of it while the file is not settled: one that arrived may be revised."""
        return "provisional" if self is SourceFileStatus.SUCCEEDED else str(self)


@dataclass(frozen=True, slots=True)
class SourceFill:
    """What one source file does for one variable along the append dim.

    Parameters
    ----------
    start, stop
        Positions that it fills, relative to the region's start; half-open.
    status
        What became of it.
    settled
        Whether waiting longer is pointless: it succeeded, or is known to be absent or unusable.
    is_awaited
        Whether readers wait for it until it is settled, whatever else is there: nothing says
        missing in its variable.
    is_essential
        Whether readers wait for its variable at all, see `DataVar.is_essential`.
    """

    start: int
    stop: int
    status: SourceFileStatus
    settled: bool
    is_awaited: bool = False
    is_essential: bool = True


@dataclass(frozen=True, slots=True)
class RegionState:
    """How far a region is settled, and how far it has data.

    Parameters
    ----------
    start, stop
        The region's positions along the append dim; half-open.
    settled
        Number of positions from `start` on that are settled, without a gap.
    data
        Number of positions from `start` to the last one among the settled that has data; 0 if
        none has.
    """

    start: int
    stop: int
    settled: int
    data: int

    @property
    def is_settled(self) -> bool:
        """Whether every position is."""
        return self.settled == self.stop - self.start


def region_state(
    region: Region, variables: Iterable[Sequence[SourceFill]], publish_when: PublishWhen
) -> RegionState:
    """Judge a region by its source files.

    Parameters
    ----------
    region
        Positions along the append dim.
    variables
        For every declared variable, what its source files do.
    publish_when
        ``"complete"``: a position is settled once all its files are. ``"any"``: it is also
        settled once one of its files succeeded, unless another failed and may yet succeed,
        or is awaited. ``"lead by lead"``: likewise. Files of variables that are not essential
        settle nothing and hold nothing back; what they gave is data.

    Examples
    --------
    >>> ok, late = SourceFileStatus.SUCCEEDED, SourceFileStatus.NOT_YET_AVAILABLE
    >>> files = [SourceFill(0, 1, ok, True), SourceFill(1, 2, late, False)]
    >>> region_state(Region(24, 26), [files], "complete")
    RegionState(start=24, stop=26, settled=1, data=1)
    """
    length = len(region)
    waiting, failed, succeeded, filled = (np.zeros(length, dtype=bool) for _ in range(4))
    for fill in (fill for fills in variables for fill in fills):
        at = region.clip(fill.start, fill.stop)
        if fill.status is SourceFileStatus.SUCCEEDED:
            filled[at] = True
            succeeded[at] |= fill.is_essential
        elif not fill.settled and fill.is_essential:
            holds = fill.status.is_failure or fill.is_awaited
            (failed if holds else waiting)[at] = True
    blocked = failed | waiting if publish_when == "complete" else failed | (waiting & ~succeeded)
    settled = int(np.argmax(blocked)) if blocked.any() else length
    with_data = np.flatnonzero(filled[:settled])
    data = int(with_data[-1]) + 1 if with_data.size else 0
    return RegionState(region.start, region.stop, settled, data)
