"""A run from its first check to its report: under a lease, on a cluster, by a driver."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from gridmill.archive.archive import Archive, ArchiveChanged, check_again
from gridmill.archive.assignment import Assignment
from gridmill.archive.declaration import check_version, keep_declaration
from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import ProcessResults
from gridmill.model.display_hook import page_of
from gridmill.model.reports.run_report import RunReport
from gridmill.planning.prepare import results_from_record
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.variables.showing import forget_shown
from gridmill.runs.additions.addition import Addition, belief_of
from gridmill.runs.additions.showing import SHOWING, patiently_held
from gridmill.runs.driver import Driver
from gridmill.runs.narration import Event
from gridmill.runs.on_demand import OnDemand, where_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import looking
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.writable import refusals_named, require_writable
from gridmill.stores.state.claims import current_claims, is_alive, positions_of
from gridmill.stores.state.leases import Lease, LeaseHeld

__all__ = ["Listener", "process", "run", "run_anew"]

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]
Jobs = Sequence[RegionJob[Any, Any]]

# Of a new archive; what the provider offers at each hour of a day is among them.
MOST_CHECKED = 100
UNVERIFIED = (
    "unverified: this dataset was never compared with files of the provider; compare some values "
    "of a first short archive with theirs before you rely on it"
)
# A variable that comes or goes, or a label, between a run's look at the archive and its lease.
CHANGES_SURVIVED = 3


def run(assignment: Assignment, *, client: Any, now: Any, listener: Listener) -> RunReport:
    """Process an assignment's jobs; see `gridmill.DynamicalDataset.backfill`.

    Parameters
    ----------
    assignment
        What is to be done.
    client
        What `gridmill.connect` takes, ``"auto"`` or ``"none"``, or an `OnDemand`; None means the
        current Dask client if there is one, else ``"auto"``.
    now
        The present, as a label of the append dim.
    listener
        Called with every event.

    Raises
    ------
    StructureMismatch
        The template contradicts the store; nothing was written.
    StoreUnwritable
        The store cannot be written.
    LeaseHeld
        Another run works on these regions.
    """
    archive = assignment.opened.archive
    with where_of(client) as where, temporary_folder(make=archive.tmp_store) as archive.scratch:
        try:
            report = _begun(assignment, where)
            _carry_out(assignment, report, where, now, listener)
        finally:
            archive.scratch = None
    return report


def _carry_out(
    assignment: Assignment, report: RunReport, where: OnDemand, now: Any, listener: Listener
) -> None:
    archive = assignment.opened.archive
    if assignment.opened.added is not None:
        with refusals_named(archive.store), _reported(archive.store, report):
            Addition(assignment, report, where, now, listener).carry_out()
        return
    with (
        refusals_named(archive.store),
        _leased(archive.store.state, assignment.jobs, report) as (lease, jobs),
    ):
        archive.store.tracker.marks.complete()
        check_version(archive.store, assignment.opened.declaration)
        check_again(archive)
        if assignment.kind == "backfill":
            for store in (archive.store, *assignment.replicas):
                forget_shown(store, archive)
        jobs = _ordered(assignment, jobs)
        listener(Event("planned", "", count=len(jobs)))
        publisher = Publisher(archive, assignment.replicas)
        belief = belief_of(assignment, report.run)
        driver = Driver(
            where, publisher, lease, now=now, report=report, belief=belief, listener=listener
        )
        with _reported(archive.store, report), publisher.feeding(lease):
            driver.run(jobs, publish=assignment.publishes)
        if assignment.redo is not None and report.succeeded:
            assignment.redo.close(archive.store.tracker)


def run_anew(assign: Callable[[], Assignment], **options: Any) -> RunReport:
    """Process an assignment, see `run`; a new one where the archive was made another meanwhile."""
    for _ in range(CHANGES_SURVIVED):
        try:
            return run(assign(), **options)
        except ArchiveChanged as error:
            log.info("restarted: %s", "; ".join(error.differences))
    return run(assign(), **options)


def process(assignment: Assignment, now: Any) -> ProcessResults:
    """Process an assignment's one job, see `RegionJob.process`.

    Raises
    ------
    RuntimeError
        A variable failed.
    """
    (job,) = assignment.jobs
    archive = assignment.opened.archive
    report = run(assignment, client=None, now=now, listener=lambda event: None)
    if report.failures:
        listed = "; ".join(f"{f.variable}: {f.cause}" for f in report.failures)
        raise RuntimeError(f"region {report.failures[0].region} failed: {listed}")
    record = archive.store.tracker.read(job.region)
    assert record is not None
    return results_from_record(prepare_recorded(archive, job, record), record)


def _begun(assignment: Assignment, where: OnDemand) -> RunReport:
    """Check the archive, make it if it is new, and begin the report."""
    archive = assignment.opened.archive
    remarks = archive.config.remarks
    dataset_id = archive.config.dataset_id
    report = RunReport.begin(dataset_id, assignment.kind, mask_url(archive.store.url))
    report.notes.extend(remarks)
    with looking(archive.store):
        is_there = archive.check_structure()
    _check_listed(archive, assignment.jobs)
    if not is_there:
        if archive.config.verified is None:
            report.notes.append(UNVERIFIED)
            log.warning("%s: %s", dataset_id, UNVERIFIED)
        require_writable(archive.store)  # no cluster is paid for in vain
        where.start()  # where that fails, no archive was started
    for remark in remarks:
        log.info("%s: %s", dataset_id, remark)
    keep_declaration(archive.store, assignment.opened.declaration)
    report.positions_before = report.positions_after = archive.published
    report.published_before = report.published_after = archive.last_label
    return report


def _check_listed(archive: Archive, jobs: Jobs) -> None:
    """Raise where a new archive would show 0 as no source file is listed; one that exists goes on.

    Raises
    ------
    ValueError
        Of the first such variable and label.
    """
    wordless = [var for var in archive.config.data_vars if var.encoding.missing is None]
    if not wordless or archive.store.tracker.read_declaration() is not None:
        return
    for job in jobs[:MOST_CHECKED]:
        ours = [var for var in job.data_vars if var in wordless]
        prepared = prepare_recorded(archive, replace(job, data_vars=ours), None)
        for name, label in prepared.unlisted.items():
            encoding = next(var.encoding for var in ours if var.name == name)
            raise ValueError(
                f"{type(job).__name__}.generate_source_file_coords() lists no file that fills "
                f"{name} at {label} whole, and in {encoding.dtype} nothing says missing: readers "
                f"would see {encoding.fill}. Declare a fill_value that cannot occur (instead of a "
                "boolean, whole numbers), or list a file for every place"
            )


def _ordered(assignment: Assignment, jobs: Jobs) -> Jobs:
    """Put the jobs into the order in which they start."""
    if assignment.kind != "update":
        return jobs
    # Readers wait for what is new; most of the rest is found to be done.
    published = assignment.opened.archive.published
    return sorted(jobs, key=lambda job: not job.is_static and job.region.stop <= published)


@contextmanager
def _reported(store: FinalStore, report: RunReport) -> Iterator[None]:
    """Keep the run's report, however the run ends."""
    try:
        yield
    except BaseException as error:
        report.interrupted = f"{type(error).__name__}: {error}".rstrip(": ")
        try:
            _write_report(store, report)
        except OSError as reason:
            log.warning("the report cannot be written: %s", reason)
        raise
    _write_report(store, report)


def _write_report(store: FinalStore, report: RunReport) -> None:
    report.end()
    store.tracker.reports.write(report, page_of(report) if report.did_anything else None)


# -- the lease ----------------------------------------------------------------------------------


@contextmanager
def _leased(state: Objects, jobs: Jobs, report: RunReport) -> Iterator[tuple[Lease, Jobs]]:
    """Hold the lease of the jobs; without the static one, if another run has that."""

    def lease_of(jobs: Jobs) -> Lease:
        positions = (positions_of(job.region) for job in jobs)
        return Lease(state, run=report.run, kind=report.kind, positions=positions)

    with ExitStack() as stack:
        jobs = _without_static_in_hand(state, jobs)
        try:
            lease = patiently_held(stack, lambda: lease_of(jobs), unless=SHOWING)
        except LeaseHeld:
            fewer = _without_static_in_hand(state, jobs)
            if len(fewer) == len(jobs):
                raise
            # Both looked before either had claimed.
            jobs, lease = fewer, stack.enter_context(lease_of(fewer))
        yield lease, jobs


def _without_static_in_hand(state: Objects, jobs: Jobs) -> Jobs:
    """Leave the static variables to a run of other regions that has them in hand already.

    Nothing is published before they are done, whichever run does them.
    """
    if len(jobs) < 2 or not jobs[0].is_static:
        return jobs
    varying = jobs[1:]
    rivals = (claim for claim in current_claims(state) if claim.has_static)
    return varying if any(is_alive(state, claim) for claim in rivals) else jobs
