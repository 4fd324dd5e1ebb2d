"""The headers of existing objects, set to those that new ones get."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gridmill.model.reports.run_report import RunReport
from gridmill.model.wording import count_of
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.publishing.view import ReaderView

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Relabelling", "relabel"]


@dataclass(frozen=True)
class Relabelling:
    """What became of the headers of an archive's objects.

    Parameters
    ----------
    counts
        How many were changed, or would be, by kind, see `FinalStore.relabel`; those of replicas
        with them.
    report
        Kept beside the records; None for a dry run.
    """

    counts: dict[str, int]
    report: RunReport | None

    @property
    def changed(self) -> int:
        """How many were changed, or would be."""
        return sum(count for kind, count in self.counts.items() if kind != "right")


def relabel(dataset: DynamicalDataset, *, dry_run: bool = False, now: Any = None) -> Relabelling:
    """Return the objects of an archive and its replicas the headers that new ones get.

    Each is copied onto itself, on the condition that nobody replaced it meanwhile. Interrupted, the
    same call does the rest.

    Parameters
    ----------
    dataset
        With its archive.
    dry_run
        Only count, of the archive alone; holds no lease.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive, or headers cannot be changed where it is.
    LeaseHeld
        A run works on the archive.
    LeaseLost
        Another process took this one for dead.
    """
    check_exists(dataset)
    names = {coord.name for coord in dataset.archive(now).config.coords}
    if dry_run:
        return Relabelling(dataset.store.relabel(names, dry_run=True), None)
    counts: Counter[str] = Counter()
    with by_hand(dataset, "headers", now=now) as hand:
        check = hand.lease.proof.check

        def change(view: ReaderView) -> None:
            counts.update(view.store.relabel(names, check))

        hand.publisher.change_everywhere(change)
        done = Relabelling(dict(counts), hand.report)
        objects = count_of(done.changed, "object")
        hand.report.notes.append(f"headers of {objects} set, {counts['right']:,} were right")
    return done
