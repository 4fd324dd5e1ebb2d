"""A run that adds variables to an archive, beside which updates continue.

Their records are kept apart, so that it takes no lease on the regions that updates write. Once all
that readers see has them they are shown at once, in a moment in which no run is at work; positions
that an update published meanwhile are made first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gridmill.archive.archive import apart_of, check_again
from gridmill.archive.assignment import Assignment
from gridmill.archive.declaration import check_version
from gridmill.authoring.region_job import RegionJob
from gridmill.model.region import Region
from gridmill.model.reports.run_report import RunReport
from gridmill.planning.belief import Belief
from gridmill.publishing.copies import copy_here
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.variables.merging import with_variables
from gridmill.publishing.variables.showing import (
    are_shown,
    forget_added,
    lacking_regions,
    record_added,
    show_added,
)
from gridmill.publishing.view import ReaderView
from gridmill.runs.additions.showing import nobody_at_work
from gridmill.runs.driver import Driver
from gridmill.runs.narration import Event
from gridmill.runs.on_demand import OnDemand
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.claims import ADDING
from gridmill.stores.state.leases import Lease, LeaseHeld

__all__ = ["Addition", "belief_of"]

Jobs = Sequence[RegionJob[Any, Any]]

# Each round makes what updates published during the one before.
MOST_ROUNDS = 20


def belief_of(assignment: Assignment, run: str) -> Belief:
    """Return how far records are believed: by a redo, what its runs did, which this one joins."""
    if assignment.redo is None:
        return assignment.belief
    tracker = assignment.opened.archive.store.tracker
    return replace(assignment.belief, runs=assignment.redo.join(tracker, run))


class Addition:
    """A run that adds variables; see the module.

    Parameters
    ----------
    assignment
        Whose archive has `unseen` variables.
    report
        Filled while the run goes on.
    where, now, listener
        As of `gridmill.runs.coordinator.run`.
    """

    def __init__(
        self,
        assignment: Assignment,
        report: RunReport,
        where: OnDemand,
        now: Any,
        listener: Callable[[Event], None],
    ) -> None:
        assert assignment.opened.added is not None
        self.assignment = assignment
        self.declaration = assignment.opened.added
        self.report = report
        self.where = where
        self.now = now
        self.listener = listener
        self.archive = assignment.opened.archive
        self.apart = apart_of(self.archive)
        self.names = self.archive.unseen
        self.belief = belief_of(assignment, report.run)

    def carry_out(self) -> None:
        """Make the variables, and show them once they are whole.

        Raises
        ------
        LeaseHeld
            Another run adds variables.
        ArchiveChanged
            It was made another one meanwhile: what is recorded apart stays, for the next run.
        """
        state = self.archive.store.state
        kind = self.report.kind
        with Lease(state, run=self.report.run, kind=kind, positions=[ADDING]) as lease:
            check_version(self.archive.store, self.assignment.opened.declaration)
            self._check_again()
            self._adopt()
            seen, jobs = self.archive.published, self.assignment.jobs
            for _ in range(MOST_ROUNDS):
                self._make(jobs, lease)
                lacking = self._show()
                if not lacking or lacking[0].stop <= seen:
                    break
                seen, jobs = self.archive.published, self._jobs_of(lacking)
        self._say(lacking)
        if self.assignment.redo is not None and self.report.succeeded:
            self.assignment.redo.close(self.archive.store.tracker)

    def _check_again(self) -> None:
        """Raise where the archive is another than the one that would be published.

        Labels of an irregular axis can be others with the same metadata.
        """
        is_irregular = self.archive.config.append_dim_frequency is None
        check_again(self.archive, reload=is_irregular)

    def _adopt(self) -> None:
        """Take over what an earlier gridmill recorded of them among the other variables."""
        tracker, apart = self.archive.store.tracker, self.apart.store.tracker
        if next(apart.all_records(), None) is not None:
            return
        for key in list(tracker.objects.keys("seeds")):
            content = tracker.objects.get(key)
            if content is not None:
                apart.objects.put(key, content)
        for record in tracker.all_records():
            if record.variables.keys() & set(self.names):
                apart.write(with_variables(None, record, self.names))

    def _make(self, jobs: Jobs, lease: Lease) -> None:
        """Process regions, with nothing that readers see."""
        stores = [store.adding() for store in self.assignment.replicas if not self._is_done(store)]
        publisher = Publisher(self.apart, stores)
        self.listener(Event("planned", "", count=len(jobs)))
        driver = Driver(
            self.where,
            publisher,
            lease,
            now=self.now,
            report=self.report,
            belief=self.belief,
            listener=self.listener,
        )
        driver.run(jobs, publish=False)
        publisher.replicas.copy = copy_here
        publisher.replicas.catch_up(lease.proof)

    def _is_done(self, replica: FinalStore) -> bool:
        """Whether a run that died showed them there already; one that fails is none."""
        with suppress(Exception):
            return are_shown(replica, self.names)
        return False

    def _jobs_of(self, regions: Sequence[Region]) -> list[RegionJob[Any, Any]]:
        """Return the jobs of the variables in some regions."""
        jobs = [self.apart.job(region) for region in regions]
        return [
            replace(job, data_vars=[v for v in job.data_vars if v.name in self.names])
            for job in jobs
        ]

    def _lacking(self) -> list[Region]:
        """Return the regions that lack them, of those that readers see by now."""
        self.archive.look()
        self.apart.look()
        return lacking_regions(self.apart)

    def _show(self) -> list[Region]:
        """Show them, unless regions lack them: these are returned."""
        store = self.archive.store
        if lacking := self._lacking():
            return lacking
        before, template_ds = self.apart.published, self.apart.template_ds
        try:
            with nobody_at_work(store.state, self.report.run) as lease:
                self._check_again()
                self.apart.look()
                # What is recorded apart is this run's alone: a look at each is a request.
                is_same = self.apart.published == before and self.apart.template_ds is template_ds
                if not is_same and (lacking := self._lacking()):
                    return lacking
                self._show_in_all(lease)
        except LeaseHeld as held:
            self.report.stops_because = (
                f"{', '.join(self.names)} can be shown once the {held.holder.kind} "
                f"{held.holder.run} has ended: run again after it"
            )
        else:
            self.report.stops_because = None
            self.report.notes.append(f"added {', '.join(self.names)}")
        return []

    def _show_in_all(self, lease: Lease) -> None:
        """Show them in the replicas, then in the archive."""
        publisher = Publisher(self.archive, self.assignment.replicas)
        variables = {"variables": self.declaration["variables"]}

        def show(view: ReaderView) -> None:
            if are_shown(view.store, self.names):  # a replica, by a run that died then
                forget_added(view.store.tracker, self.names)
                return
            view.completeness.learn(lease.claim.run)
            record_added(view, self.names, lease.claim.run)
            tracker = view.store.tracker
            with lease.publishing() as check:
                show_added(view, self.names, check, lambda: tracker.replace_declaration(variables))
            view.completeness.settle()
            forget_added(tracker, self.names)

        with publisher.feeding(lease):
            publisher.change_everywhere(show)
            with lease.publishing():
                publisher.note_variables(lease, added=self.names)
        self.report.replicas = publisher.replicas.outcomes()

    def _say(self, lacking: Sequence[Region]) -> None:
        if not lacking:
            return
        first = lacking[0].label(self.apart.index)
        self.report.stops_because = (
            f"{len(lacking)} regions lack {', '.join(self.names)} yet, the first from "
            f"{self.apart.append_dim} {first}"
        )
