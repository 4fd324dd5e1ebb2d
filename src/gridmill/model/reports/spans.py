"""When which stage ran, and how far stages overlapped. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["STAGES", "Overlap", "Span", "measure_overlap"]

STAGES = ("download", "compress", "upload")


@dataclass(frozen=True, slots=True)
class Span:
    """One stage at work.

    Parameters
    ----------
    stage
        One of `STAGES`.
    key
        The task's key, which names region and variable.
    worker
        Where it ran.
    started, ended
        Seconds since 1970 by the worker's clock.
    nbytes
        Bytes downloaded, compressed (of raw values) or uploaded.
    """

    stage: str
    key: str
    worker: str
    started: float
    ended: float
    nbytes: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of the busy time stages overlapped.

    Parameters
    ----------
    busy_s
        Seconds in which at least one stage was active.
    two, three
        Share of `busy_s` in which at least two, or three, different stages were.
    """

    busy_s: float
    two: float
    three: float


def measure_overlap(spans: Iterable[Span]) -> Overlap:
    """Measure for how long different stages were active at the same time.

    Examples
    --------
    >>> a = Span("download", "download-1", "w", 0.0, 4.0)
    >>> b = Span("compress", "compress-0", "w", 3.0, 5.0)
    >>> measure_overlap([a, b])
    Overlap(busy_s=5.0, two=0.2, three=0.0)
    """
    edges = sorted(edge for span in spans for edge in _edges(span))
    active = dict.fromkeys(STAGES, 0)
    seconds = [0.0] * (len(STAGES) + 1)
    for (time_s, change, stage), following in pairwise(edges):
        active[stage] += change
        seconds[sum(n > 0 for n in active.values())] += following[0] - time_s
    busy = sum(seconds[1:])
    if not busy:
        return Overlap(0.0, 0.0, 0.0)
    return Overlap(busy, sum(seconds[2:]) / busy, seconds[3] / busy)


def _edges(span: Span) -> tuple[tuple[float, int, str], tuple[float, int, str]]:
    return (span.started, 1, span.stage), (span.ended, -1, span.stage)
