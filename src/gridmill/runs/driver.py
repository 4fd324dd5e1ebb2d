"""The as-completed loop: submit regions, record what is done, publish as soon as possible.

Regions that are quick share tasks, see `gridmill.runs.batches`; what comes of each is taken alike.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from distributed import Client

from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.pipeline.slabs.transform import takes_data_array
from gridmill.pipeline.values import RunContext
from gridmill.planning.prepare import PreparedRegion, prepare_region
from gridmill.planning.recording import RegionOutcome
from gridmill.planning.source_files.asking import ask_files
from gridmill.publishing.publisher import Publisher
from gridmill.runs.dask import submission
from gridmill.runs.dask.places import HostPlaces
from gridmill.runs.dask.plugin import PipelinePlugin
from gridmill.runs.dask.workers.workforce import Workforce, is_one_machine
from gridmill.runs.in_flight import Begun, RegionInFlight, Window
from gridmill.runs.intake import Intake
from gridmill.runs.ledger import PUBLISH_INTERVAL_S, Ledger, Showing
from gridmill.runs.narration import Event, Narrator
from gridmill.runs.works import Works
from gridmill.sources.fetch.download import limit_hosts
from gridmill.stores.lookahead import lookahead
from gridmill.stores.state.leases import Lease

__all__ = ["Driver"]

log = logging.getLogger(__name__)

Prepared = tuple[ProgressRecord | None, PreparedRegion]


class Driver:
    """Takes region jobs through the pipeline on a Dask client.

    Parameters
    ----------
    client
        The Dask client; the pipeline's plugin is registered on it.
    publisher
        Publishes the archive, with its template and its final store.
    lease
        The run's right to write the jobs' regions.
    now
        The present, as a label of the append dim.
    report
        Filled while the run goes on.
    listener
        Called with every event, in the thread of the loop.
    publish_interval_s
        Readers see new data at most this often while the run goes on, and at its end; less
        often where the store is so slow that publishing would hold up the loop.
    """

    def __init__(
        self,
        client: Client,
        publisher: Publisher,
        lease: Lease,
        *,
        now: Any,
        report: RunReport,
        listener: Callable[[Event], None] = lambda event: None,
        publish_interval_s: float = PUBLISH_INTERVAL_S,
    ) -> None:
        self.client = client
        self.publisher = publisher
        self.lease = lease
        self.archive = publisher.archive
        self.store = publisher.archive.store
        self.now = now
        self.report = report
        # Readers wait for what is new; a backfill has time.
        self.goes_first = report.kind == "update"
        self.window = Window(client, report.run, goes_first=self.goes_first)
        self.works = Works(publisher.archive)
        self.narrator = Narrator(report, listener)
        self.showing = Showing(publisher, lease, self.narrator, publish_interval_s)
        self.ledger = Ledger(publisher, lease, run=report.run, now=now, showing=self.showing)
        self.intake = Intake(self.window, self.works, publisher, self.ledger, self.narrator)

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
        limit_hosts(self, HostPlaces(self.client.scheduler, self.client.loop))
        remaining = lookahead(self._prepare, jobs, self.store.state.at_once)
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
        except BaseException:
            self._abandon()
            raise
        finally:
            remaining.close()
            limit_hosts(self, None)
            self.workforce.close()
        if publish:
            self.showing.publish()
            self.report.replicas = self.publisher.replicas.outcomes()
        self.narrator.files.note_remarks()
        self.report.stops_because = self.publisher.extent.stops_because()
        return self.report

    def _abandon(self) -> None:
        """Keep what is done, and let go of what is not; what ended the run is raised, not this."""
        try:
            self.ledger.record_partly(at_once=True)
        except Exception as error:
            log.warning("what was done last cannot be recorded, and is done again: %s", error)
        finally:
            self.window.let_go()

    def _open(self) -> None:
        """Make the run's context known to the cluster, and size the window of chains."""
        self.publisher.prepare(self.lease)
        job_class = self.archive.job_class
        context = RunContext(
            run=self.report.run,
            store=self.store,
            proof=self.lease.proof,
            metadata=self.archive.metadata,
            # Of what nobody sees, nothing is kept.
            published=0 if self.archive.unseen else self.archive.published,
            coords=self.works.coords(along=False) if takes_data_array(job_class) else None,
            replicas=self.publisher.replicas.stores,
            axes=self.works.axes,
        )
        pipeline = PipelinePlugin(
            imports_xarray=context.coords is not None,
            is_one_machine=is_one_machine(self.client),
        )
        self.workforce = Workforce(self.client, pipeline, job_class.__module__)
        self.workforce.open()
        self.window.context = submission.send_context(
            self.client, context, goes_first=self.goes_first
        )
        self.publisher.replicas.copy = partial(
            submission.copy_all, self.client, run=self.report.run, goes_first=self.goes_first
        )
        self.window.resize()

    def _refill(self, regions: Iterator[Prepared]) -> None:
        """Keep as much in flight as workers need: that bounds disk, memory and tasks.

        What is done is not kept waiting while many regions are found to need nothing.
        """
        if self.window.resize_is_due:
            with suppress(OSError):  # the scheduler is gone: the loop will see
                self.window.resize()
                self.workforce.look(self.window.workers)
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
            self.store.missing,
            ask_files,
            self.now,
            archive.stored_arrays,
        )

    def _start(self, regions: Iterator[Prepared], most: int) -> bool:
        """Submit what of the next regions is not done yet, together if they are several.

        Gives whether there was something to submit.
        """
        begun: list[Begun] = []
        while len(begun) < most:
            found = next(regions, None)
            if found is None:
                break
            record, prepared = found
            name, job = self._name(prepared.job), prepared.job
            region = RegionInFlight(name, job, RegionOutcome(prepared), record)
            self.report.variables_skipped += len(prepared.job.data_vars) - len(prepared.todo)
            if prepared.todo:
                begun.append(self._begin(region))
                continue
            self._skip(region, record)
            if self.window.has_ready:
                break
        if begun:
            self.window.open(begun)
        self.narrator.note_submitted(region for region, _ in begun)
        return bool(begun)

    def _begin(self, region: RegionInFlight) -> Begun:
        self.ledger.begin(region)
        return region, self.works.to_do(region)

    def _skip(self, region: RegionInFlight, record: ProgressRecord | None) -> None:
        judged_again = region.outcome.prepared.record
        if judged_again is not None and judged_again != record:
            self.ledger.write(judged_again)
            self.narrator.note_gaps(region, judged_again)
        elif record is not None:
            self.store.tracker.marks.clean_up(record)
        self.narrator.note_skipped(region)

    def _name(self, job: RegionJob[Any, Any]) -> str:
        return job.region.label(self.archive.index)
