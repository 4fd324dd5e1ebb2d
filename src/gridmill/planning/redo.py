"""What is to be reprocessed though it is done: an order that outlives the runs that work on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gridmill.stores.state.records import UpdateProgressTracker

__all__ = ["RedoOrder"]


@dataclass(frozen=True)
class RedoOrder:
    """A part of the archive to be reprocessed.

    Parameters
    ----------
    start, end
        Labels of the append dim as the user gave them; None means all.
    variables
        Names; None means all.

    Notes
    -----
    The runs that worked on it are kept beside the records until one ends it, so that a run which
    was killed is gone on with by the same order: what those runs did is not repeated. No clock
    is involved.
    """

    start: str | None = None
    end: str | None = None
    variables: tuple[str, ...] | None = None

    @classmethod
    def of(cls, start: str | None, end: str | None, variables: Sequence[str] | None) -> RedoOrder:
        """Return the order for what the user selected."""
        return cls(start, end, None if variables is None else tuple(sorted(set(variables))))

    @property
    def name(self) -> str:
        """Tells it from other orders; the same for the same selection."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    def runs(self, tracker: UpdateProgressTracker) -> tuple[str, ...]:
        """Return the runs that worked on it so far."""
        known = tracker.read_redo(self.name)
        return () if known is None else tuple(known["runs"])

    def join(self, tracker: UpdateProgressTracker, run: str) -> tuple[str, ...]:
        """Add a run to those that work on it, and give them all."""
        known = tracker.read_redo(self.name) or {}
        runs = (*known.get("runs", ()), run)
        # What a later gridmill noted in it stays.
        tracker.write_redo(self.name, {**known, **asdict(self), "runs": runs})
        return runs

    def close(self, tracker: UpdateProgressTracker) -> None:
        """Forget it: all of it is done."""
        tracker.delete_redo(self.name)
