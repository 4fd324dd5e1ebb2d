"""How many regions share the next tasks; the driver needs no more of `batches` than this."""

from __future__ import annotations

from collections import deque
from statistics import fmean

__all__ = ["BATCH_SECONDS", "Pace"]

# What a lost worker costs, and how long a region may wait for others.
BATCH_SECONDS = 1.0
# Where fewer fit, their own tasks cost little beside them; more would save nothing.
FEWEST, MOST = 16, 64
# One batch has no more on disk than one variable of a usual region.
MOST_NBYTES = 16 << 20
# So many regions in a row must be quick.
ENOUGH = 50


class Pace:
    """How many regions the next tasks take, estimated from what the last ones took.

    Parameters
    ----------
    batch_s
        How long the stages of a batch may take together, in seconds; 0 for no batches.
    """

    def __init__(self, batch_s: float = BATCH_SECONDS) -> None:
        self.batch_s = batch_s
        self._seconds: deque[float] = deque(maxlen=ENOUGH)
        self._nbytes: deque[int] = deque(maxlen=ENOUGH)

    def learn(self, seconds: float, nbytes: int) -> None:
        """Learn how long all stages of a region took on workers, and how much they moved."""
        self._seconds.append(seconds)
        self._nbytes.append(nbytes)

    def forget(self) -> None:
        """Start estimating again: regions are not what they were."""
        self._seconds.clear()
        self._nbytes.clear()

    @property
    def regions(self) -> int:
        """Regions that the next tasks take; 1 as long as not enough regions in a row were quick.

        Examples
        --------
        >>> pace = Pace(batch_s=1.0)
        >>> pace.regions
        1
        >>> for _ in range(ENOUGH):
        ...     pace.learn(seconds=0.04, nbytes=1000)
        >>> pace.regions
        25
        >>> pace.learn(seconds=60.0, nbytes=1000)
        >>> pace.regions
        1
        """
        if len(self._seconds) < ENOUGH:
            return 1
        fitting = min(
            self.batch_s / max(fmean(self._seconds), 1e-6),
            MOST_NBYTES / max(fmean(self._nbytes), 1.0),
            MOST,
        )
        return int(fitting) if fitting >= FEWEST else 1
