"""What a report lists: failures, source files, gaps, regions and replicas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "Failure",
    "FetchedFile",
    "NewGap",
    "Problem",
    "RegionTimes",
    "ReplicaOutcome",
    "Revision",
    "seconds_between",
]


@dataclass(frozen=True)
class Failure:
    """A variable of a region that could not be made, and the cause."""

    region: str
    variable: str
    cause: str


@dataclass(frozen=True)
class Problem:
    """A source file that did not succeed.

    Parameters
    ----------
    region, url
        Where it belongs and its address, credentials masked.
    status, detail
        What became of it, and why.
    is_pending
        It holds readers back no longer, see `ProgressRecord.pending`.
    """

    region: str
    url: str
    status: str
    detail: str
    is_pending: bool = False

    @property
    def outcome(self) -> str:
        """What became of it, for people."""
        return f"{self.status}, pending" if self.is_pending else self.status


@dataclass(frozen=True)
class FetchedFile:
    """How the download of one source file went.

    Parameters
    ----------
    region, url
        Where it belongs and where it came from, credentials masked.
    seconds
        How long it took, with all attempts.
    nbytes
        What arrived.
    attempts
        How often the provider was asked, once included.
    """

    region: str
    url: str
    seconds: float
    nbytes: int
    attempts: int


@dataclass(frozen=True, slots=True)
class NewGap:
    """A source file whose place is pending since this run; see `ProgressRecord.pending`.

    Parameters
    ----------
    region, url
        Where it belongs and its address, credentials masked.
    variables
        Those that lack it.
    """

    region: str
    url: str
    variables: Sequence[str]


@dataclass(frozen=True, slots=True)
class Revision:
    """Published values of a region that are others, or final, since this run.

    Parameters
    ----------
    first, last
        Labels of the positions, both included; ``"static"`` of variables without the append dim.
    variables
        Those that changed.
    final
        Whether final source files took the place of provisional ones there.
    """

    first: str
    last: str
    variables: Sequence[str]
    final: bool = False


@dataclass
class RegionTimes:
    """When a region's source files were available, and when readers saw what was made of them.

    Parameters
    ----------
    region
        Label of its first position.
    extent
        How far the archive must be published for readers to see all of its data.
    submitted, recorded
        When its tasks were given to Dask, and when its record was written (ISO 8601, UTC).
    source_available
        Last-Modified of the newest source file that succeeded; None if the provider says none.
    visible
        When readers first saw all of its data; None if they do not yet.
    """

    region: str
    extent: int
    submitted: str
    recorded: str
    source_available: str | None = None
    visible: str | None = None

    @property
    def freshness_s(self) -> float | None:
        """Seconds from available to visible; None if either is not known."""
        if self.source_available is None or self.visible is None:
            return None
        return seconds_between(self.source_available, self.visible)


@dataclass(frozen=True)
class ReplicaOutcome:
    """How a replica came out of a run.

    Parameters
    ----------
    url
        Its address, credentials masked.
    positions
        How many positions its readers see; None if it failed before that was known.
    failure
        What is wrong with it; None if it holds what the primary does.
    """

    url: str
    positions: int | None
    failure: str | None = None


def seconds_between(start: str, stop: str) -> float:
    """Return the seconds from one moment to another (ISO 8601)."""
    return (datetime.fromisoformat(stop) - datetime.fromisoformat(start)).total_seconds()
