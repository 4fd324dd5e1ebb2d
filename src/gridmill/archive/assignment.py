"""What a run of an archive is to do: from what a user selects to its region jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.archive.opening import Opened, Opening
from gridmill.archive.selection import JobsInOrder, jobs_between, jobs_of_update
from gridmill.authoring.region_job import RegionJob
from gridmill.planning.belief import AS_RECORDED, Belief, Looks
from gridmill.planning.redo import RedoOrder
from gridmill.stores.final_store import FinalStore

__all__ = ["Assignment", "Selection", "assigned_backfill", "assigned_job", "assigned_update"]


@dataclass(frozen=True)
class Selection:
    """What of an archive is selected, as a user gives it.

    Parameters
    ----------
    until
        Where the template ends.
    start, end
        Only the regions that touch [start, end); for a new archive `start` is where it begins.
    variables
        Only these; for a new archive all that it will have.
    max_lead
        For a new archive of forecasts, the longest lead that it will have.
    """

    until: Any
    start: str | None = None
    end: str | None = None
    variables: Sequence[str] | None = None
    max_lead: str | None = None

    @property
    def redo(self) -> RedoOrder:
        """The order to reprocess what is selected."""
        return RedoOrder.of(self.start, self.end, self.variables)

    def opened(self, opening: Opening, present: Any) -> Opened:
        """Open the archive as far as is selected, see `Opening.for_backfill`."""
        return opening.for_backfill(
            self.until,
            present=present,
            start=self.start,
            variables=self.variables,
            max_lead=self.max_lead,
        )

    def jobs(self, opening: Opening, opened: Opened, belief: Belief | None = None) -> JobsInOrder:
        """Return the jobs of what is selected; see `Opening.bound` for `belief`."""
        jobs = jobs_between(
            opened.archive, self.until, start=self.start, end=self.end, variables=self.variables
        )
        return jobs.each(lambda job: opening.bound(job, belief))


@dataclass(frozen=True)
class Assignment:
    """What a run is to do.

    Parameters
    ----------
    kind
        ``backfill``, ``update`` or ``process``; named in the lease and in the report.
    opened
        The archive that it works on, and what is declared of it.
    jobs
        The regions, in order.
    replicas
        Further stores that hold the same.
    redo
        What is reprocessed though it is done.
    publishes
        Whether what is done becomes visible to readers.
    belief
        How far what is recorded is believed; a run with `redo` believes that order's runs alone.
    """

    kind: str
    opened: Opened
    jobs: Sequence[RegionJob[Any, Any]]
    replicas: Sequence[FinalStore] = ()
    redo: RedoOrder | None = None
    publishes: bool = True
    belief: Belief = AS_RECORDED


def assigned_backfill(
    opening: Opening,
    replicas: Sequence[FinalStore],
    selection: Selection,
    present: Any,
    *,
    redo: bool = False,
    revalidate: bool = False,
) -> Assignment:
    """Return what a backfill is to do, see `gridmill.DynamicalDataset.backfill`."""
    opened = selection.opened(opening, present)
    return Assignment(
        "backfill",
        opened,
        selection.jobs(opening, opened),
        replicas,
        selection.redo if redo else None,
        belief=Belief(revalidate),
    )


def assigned_update(
    opening: Opening,
    replicas: Sequence[FinalStore],
    until: Any,
    present: Any,
    *,
    revalidate: bool = False,
) -> Assignment:
    """Return what an update up to `until` is to do."""
    opened = opening.for_update(until)
    jobs, belief = update_jobs(opening, opened.archive, present, revalidate=revalidate)
    return Assignment("update", opened, jobs, replicas, belief=belief)


def update_jobs(
    opening: Opening, archive: Archive, present: Any, *, revalidate: bool = False
) -> tuple[list[RegionJob[Any, Any]], Belief]:
    """Return the jobs of an update, and how far it believes what is recorded of their regions.

    The same up to the same last label, for every caller.
    """
    jobs = [opening.bound(job) for job in jobs_of_update(archive, present)]
    last = archive.index[-1] if len(archive.index) else ""
    many = len(archive.config.data_vars)
    looks = Looks.of_update(len(jobs), many, last, lambda: archive.published)
    return jobs, Belief(revalidate, looks=looks)


def assigned_job(
    opening: Opening, job: RegionJob[Any, Any], belief: Belief = AS_RECORDED
) -> Assignment:
    """Return what to do to process one job by itself, without publishing it."""
    declaration = opening.declaration()
    archive = opening.archive(opening.config(declaration), job.template_ds)
    return Assignment(
        "process", Opened(archive, declaration), [job], publishes=False, belief=belief
    )
