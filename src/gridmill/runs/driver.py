"""The as-completed loop: submit regions, record what is done, publish as soon as possible.

Regions that are quick share tasks, see `gridmill.runs.workplaces.batches`; what comes of each is
taken alike.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from gridmill.archive.recorded import missing_of
from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.pipeline.slabs.dividing import takes_data_array
from gridmill.pipeline.values import RunContext
from gridmill.planning.belief import AS_RECORDED, Belief
from gridmill.planning.prepare import PreparedRegion, prepare_region
from gridmill.planning.recording import RegionOutcome
from gridmill.planning.source_files.asking import ask_files
from gridmill.publishing.copies import Copy, copy_here
from gridmill.publishing.publisher import Publisher
from gridmill.runs.in_flight import Begun, RegionInFlight, Window
from gridmill.runs.intake import Intake
from gridmill.runs.ledger import PUBLISH_INTERVAL_S, Ledger, Showing
from gridmill.runs.narration import Event, Narrator
from gridmill.runs.on_demand import OnDemand, seconds_of
from gridmill.runs.workplaces.workplace import Workplace
from gridmill.runs.works import Works
from gridmill.sources.fetch.download import limit_hosts
from gridmill.stores.final_store import Uploaded
from gridmill.stores.lookahead import lookahead
from gridmill.stores.state.leases import Lease

__all__ = ["Driver"]

log = logging.getLogger(__name__)

Prepared = tuple[ProgressRecord | None, PreparedRegion]

# To see how much work there is, before anything is started for it.
LOOKS_AHEAD = 1000
# What it takes to copy one variable of a region to a replica.
COPY_S = 0.05


class Driver:
    """Takes region jobs through the pipeline.

    Parameters
    ----------
    where
        Where tasks are done; nothing is started before there is one.
    publisher
        Publishes the archive, with its template and its final store.
    lease
        The run's right to write the jobs' regions.
    now
        The present, as a label of the append dim.
    report
        Filled while the run goes on.
    belief
        How far what earlier runs recorded is believed.
    listener
        Called with every event, in the thread of the loop.
    publish_interval_s
        Readers see new data at most this often while the run goes on, and at its end; less
        often where the store is so slow that publishing would hold up the loop.
    """

    def __init__(
        self,
        where: OnDemand,
        publisher: Publisher,
        lease: Lease,
        *,
        now: Any,
        report: RunReport,
        belief: Belief = AS_RECORDED,
        listener: Callable[[Event], None] = lambda event: None,
        publish_interval_s: float = PUBLISH_INTERVAL_S,
    ) -> None:
        self.where = where
        self.publisher = publisher
        self.lease = lease
        self.archive = publisher.archive
        self.store = publisher.archive.store
        self.now = now
        self.belief = belief
        self.report = report
        self.window = Window(report.run)
        self.works = Works(publisher.archive)
        self.narrator = Narrator(report, listener)
        self.showing = Showing(publisher, lease, self.narrator, publish_interval_s)
        self.ledger = Ledger(publisher, lease, run=report.run, now=now, showing=self.showing)
        self.intake = Intake(
            self.window,
            self.works,
            publisher.extent,
            publisher.replicas,
            self.ledger,
            self.narrator,
        )

    def run(self, jobs: Iterable[RegionJob[Any, Any]], *, publish: bool = True) -> RunReport:
        """Process region jobs until each is recorded as done or failed.

        Raises
        ------
        SchedulerLost
            The cluster is gone.
        NoWorkers
            There was no worker for longer than a run waits.
        """
        self._open()
        # What the provider is asked from here counts, too.
        limit_hosts(self, self.where.places())
        remaining = _Ahead(lookahead(self._prepare, jobs, self.store.state.at_once))
        try:
            self._refill(remaining)
            for done in self.window.as_completed():
                if done is not None:
                    self.intake.take(*done)
                is_idle = done is None
                del done  # a future that is held is computed again when its worker dies
                if self.window.has_ready:
                    continue  # what ended together is followed by new tasks together
                self.ledger.record_partly()
                if publish and self.showing.is_due(is_idle):
                    self.showing.publish()
                self._refill(remaining)
            if publish:
                self.showing.finish()
                self.report.replicas = self.publisher.replicas.outcomes()
        except BaseException:
            self._abandon()
            raise
        finally:
            remaining.close()
            limit_hosts(self, None)
            if self.window.workplace is not None:
                self.window.workplace.close()
        self.narrator.files.note_remarks()
        self.report.stops_because = self.publisher.extent.stops_because()
        return self.report

    def _abandon(self) -> None:
        """Keep what is done, and let go of what is not; what ended the run is raised, not this."""
        try:
            self.ledger.record_partly(at_once=True)
        except Exception as error:
            log.warning("the last work cannot be recorded, and will be repeated: %s", error)
        finally:
            self.window.let_go()

    def _open(self) -> None:
        """Make ready to write, and to copy for replicas; no cluster is asked for either."""
        self.publisher.prepare(self.lease)
        self.publisher.replicas.copy = self._copy

    def _copy(self, copies: Sequence[Copy]) -> list[Uploaded | str]:
        if not copies:
            return []
        # What is little to copy says nothing of the regions that follow.
        if self.window.workplace is None and self.where.is_little([len(copies) * COPY_S]):
            return copy_here(copies)
        return self._workplace([inf]).copy_all(copies)

    def _workplace(self, seconds: Iterable[float]) -> Workplace:
        """Return where tasks are done: it is found, and told of the run, with the first of them."""
        if self.window.workplace is not None:
            return self.window.workplace
        workplace = self.where.workplace(seconds, self.archive.scratch)
        job_class = self.archive.job_class
        context = RunContext(
            run=self.report.run,
            store=self.store,
            proof=self.lease.proof,
            metadata=self.archive.metadata,
            # Of what nobody sees, nothing is kept.
            published=0 if self.archive.unseen else self.archive.published,
            coords=self.works.variables.coords(along=False)
            if takes_data_array(job_class)
            else None,
            replicas=self.publisher.replicas.stores,
            axes=self.works.variables.axes,
        )
        # Readers wait for what is new; a backfill has time.
        workplace.open(context, job_class, goes_first=self.report.kind == "update")
        self.window.move_in(workplace)
        return workplace

    def _refill(self, regions: _Ahead) -> None:
        """Keep as much in flight as workers need: that bounds disk, memory and tasks.

        What is done is not kept waiting while many regions are found to need nothing.
        """
        there = self.window.workplace
        if there is not None and self.window.resize_is_due:
            with suppress(OSError):  # a scheduler that is busy; one that is gone is told
                self.window.resize()
                there.look(self.window.workers)
        while self.window.has_room:
            if self.window.has_ready or not self._start(regions, self.window.pace.regions):
                return

    def _prepare(self, job: RegionJob[Any, Any]) -> Prepared:
        """Read a region's record, and find what of it is not done yet."""
        record = self.store.tracker.read(job.region)
        archive = self.archive
        return record, prepare_region(
            job,
            record,
            archive.arrays,
            missing_of(archive, record),
            ask_files,
            self.now,
            archive.stored_arrays,
            self.belief,
        )

    def _start(self, regions: _Ahead, most: int) -> bool:
        """Submit what of the next regions is not done yet, together if they are several.

        Gives whether there was something to submit.
        """
        begun: list[Begun] = []
        while len(begun) < most:
            found = regions.take()
            if found is None:
                break
            if found[1].todo:
                # Before anything is written of it: a cluster that does not start changes nothing.
                self._workplace(self._seconds(found, regions))
                begun.append(self._begin(found))
                continue
            self._skip(found)
            if self.window.has_ready:
                break
        if begun:
            self.window.open(begun)
        self.narrator.note_submitted(region for region, _ in begun)
        return bool(begun)

    def _seconds(self, first: Prepared, regions: _Ahead) -> Iterator[float]:
        """Yield about how long regions take, the first with something to do and those after it.

        What of them is done is skipped at once. To look at very many of them is no little work.
        """
        yield seconds_of(first[1])
        for _ in range(LOOKS_AHEAD):
            found = regions.look()
            if found is None:
                return
            if found[1].todo:
                yield seconds_of(found[1])
            else:
                self._skip(found)
        yield inf

    def _begin(self, found: Prepared) -> Begun:
        region = self._in_flight(found)
        self.ledger.begin(region)
        return region, self.works.to_do(region)

    def _skip(self, found: Prepared) -> None:
        region, record = self._in_flight(found), found[0]
        judged_again = region.outcome.prepared.record
        if judged_again is not None and judged_again != record:
            self.ledger.write(judged_again)
            self.narrator.note_gaps(region, judged_again)
        elif record is not None:
            self.store.tracker.marks.clean_up(record)
            self.ledger.note_found(record)
        self.narrator.note_skipped(region)

    def _in_flight(self, found: Prepared) -> RegionInFlight:
        record, prepared = found
        job = prepared.job
        self.report.variables_skipped += len(job.data_vars) - len(prepared.todo)
        name = job.region.label(self.archive.index)
        return RegionInFlight(name, job, RegionOutcome(prepared), record)


class _Ahead:
    """Prepared regions, in order; what has something to do may be looked at before it is taken."""

    def __init__(self, found: Generator[Prepared]) -> None:
        self._found = found
        self._seen: deque[Prepared] = deque()

    def take(self) -> Prepared | None:
        """Take the next one."""
        return self._seen.popleft() if self._seen else next(self._found, None)

    def look(self) -> Prepared | None:
        """Return one more, and keep it for its turn if there is something to do."""
        found = next(self._found, None)
        if found is not None and found[1].todo:
            self._seen.append(found)
        return found

    def close(self) -> None:
        """End what prepares them."""
        self._found.close()
