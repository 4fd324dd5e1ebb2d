"""The as-completed loop: submit regions, record what is done, publish as soon as possible.

Regions that are quick share tasks, see `gridmill.runs.batches`; what comes of each is taken alike.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from threading import Semaphore
from typing import Any, Literal

from distributed import Client, Future, KilledWorker, as_completed

from gridmill.authoring.region_job import RegionJob, SourceFileCoord
from gridmill.model.records import ProgressRecord, SourceFileStatus
from gridmill.model.reports import (
    MOST_REGIONS,
    Failure,
    FetchedFile,
    Problem,
    RegionTimes,
    RunReport,
)
from gridmill.model.spans import Span
from gridmill.pipeline.stages import (
    LocalFiles,
    Receipt,
    RunContext,
    SourceFile,
    VariableWork,
    is_disk_full,
    takes_data_array,
)
from gridmill.planning.prepare import PreparedGroup, PreparedRegion, prepare_region
from gridmill.planning.recording import (
    RegionOutcome,
    extent_with_data,
    newest_source,
    record_outcome,
)
from gridmill.publishing.publisher import Publisher
from gridmill.runs import chain
from gridmill.runs.batches import NotMade, Pace
from gridmill.sources.fetch.download import FileIdentity, mask_url
from gridmill.stores.leases import Lease
from gridmill.stores.lookahead import lookahead

__all__ = ["Driver", "Event", "SchedulerLost"]

log = logging.getLogger(__name__)

# A task that kills workers takes others with it: more attempts would only kill more.
ATTEMPTS = 3
# Each publication rewrites the root object, and stores limit how often one object may change.
PUBLISH_INTERVAL_S = 1.0
# Of the loop's time, in which it submits nothing, at most; more only where no task ends.
PUBLISHING_SHARE = 0.1
# What is done of a region that is not complete is recorded at most this often.
RECORD_INTERVAL_S = 5.0
# Where no task ends, the loop looks this often whether something is due.
WAKE_S = 0.1
# In flight: chains for each thread, so that no stage waits for the driver; and regions for each
# worker, so that it downloads the next while it compresses one, however many chains they have. More
# would take more disk, and page cache that the system first has to find.
CHAINS_PER_THREAD = 1
REGIONS_PER_WORKER = 2
# Workers come and go.
RESIZE_INTERVAL_S = 5.0
# Regions in flight in batches: the driver holds what it prepared of each.
MOST_IN_BATCHES = 1000
# Latency, not work, is what asking for a file costs.
ASKED_AT_ONCE = 16
# Whatever regions they are of.
_asking = Semaphore(ASKED_AT_ONCE)


class SchedulerLost(RuntimeError):  # noqa: N818
    """The Dask scheduler is gone: what is recorded is safe, run again to go on."""


@dataclass(frozen=True)
class Event:
    """Something that a progress display may show.

    Parameters
    ----------
    kind
        What happened: a region was skipped, submitted or finished, a stage ended, a variable
        failed, a source file did not succeed, or readers see more.
    region
        Label of the region's first position.
    detail
        The stage, the failure, the source file's status and address, or the last published label.
    count
        Chains submitted, or bytes that a stage handled.
    """

    kind: Literal["skipped", "submitted", "stage", "failed", "file", "region", "published"]
    region: str
    detail: str = ""
    count: int = 0


@dataclass(eq=False)
class _RegionInFlight:
    name: str
    job: RegionJob[Any, Any]
    outcome: RegionOutcome
    waiting: set[Any] = field(default_factory=set)
    attempts: Counter[str] = field(default_factory=Counter)
    submitted: str = field(default_factory=lambda: _utc_now())
    seconds: float = 0.0
    nbytes: int = 0


@dataclass(frozen=True)
class _Output:
    """What a task gives for a region: the files of a group, or the receipt of a variable."""

    region: _RegionInFlight
    group: int
    variable: str | None  # None for files


Prepared = tuple[ProgressRecord | None, PreparedRegion]
Begun = tuple[_RegionInFlight, list[chain.GroupWork]]


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
        self.listener = listener
        self.publish_interval_s = publish_interval_s
        # What earlier runs left to be made visible can wait for what a short run brings.
        self._publish_next = self._publish_next_if_idle = time.monotonic() + publish_interval_s
        self._has_news, self._has_published = True, False
        self._recorded_at = time.monotonic()
        self._unrecorded: set[_RegionInFlight] = set()
        self._not_visible: deque[RegionTimes] = deque(maxlen=MOST_REGIONS)
        self._remarks: dict[str, tuple[str, int]] = {}
        self._pace = Pace(chain.seconds_of_batch())
        self._tasks: dict[Any, list[_Output]] = {}
        # A batch counts as one chain: it moves no more.
        self._chains = self._in_flight = 0
        self._completed: Any = as_completed(  # type: ignore[no-untyped-call]
            loop=client.loop, with_results=True, raise_errors=False
        )

    def run(self, jobs: Iterable[RegionJob[Any, Any]], *, publish: bool = True) -> RunReport:
        """Process region jobs until each is recorded as done or failed.

        Raises
        ------
        SchedulerLost
            The cluster is gone.
        """
        self._open()
        remaining = lookahead(self._prepare, jobs, self.store.state.at_once)
        try:
            self._refill(remaining)
            for done in self._as_completed():
                if done is not None:
                    self._take(*done)
                is_idle = done is None
                del done  # a future that is held is computed again when its worker dies
                if self._completed.has_ready():
                    continue  # what ended together is followed by new tasks together
                self._record_partly()
                if publish and self._is_time_to_publish(is_idle):
                    self._publish()
                self._refill(remaining)
        except BaseException:
            self._abandon()
            raise
        finally:
            remaining.close()
        if publish:
            self._publish()
            self.report.replicas = self.publisher.replicas.outcomes()
        self._note_remarks()
        self.report.stops_because = self.publisher.extent.stops_because()
        return self.report

    def _as_completed(self) -> Iterator[tuple[Future[Any], Any] | None]:
        """Yield tasks with their results as they end, and None now and then while none does.

        What is done is recorded and published in time also where the next task takes long.
        """
        completed = self._completed
        while not completed.is_empty():
            if completed.has_ready():
                yield completed.next()
            else:
                with completed.thread_condition:
                    completed.thread_condition.wait(WAKE_S)
                yield None

    def _abandon(self) -> None:
        """Keep what is done, and let go of what is not: Dask drops tasks that nobody wants.

        Cancelling them instead can trip an assertion in the scheduler (distributed 2026.8), which
        then loses the client.
        """
        try:
            self._record_partly(at_once=True)
        finally:
            for future in list(self._completed.futures):
                with suppress(Exception):
                    future.release()
            self._completed.clear()

    # -- submit -------------------------------------------------------------------------------

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
            coords=self._coords(along=False) if takes_data_array(job_class) else None,
            replicas=self.publisher.replicas.stores,
        )
        plugin = chain.PipelinePlugin(
            imports_xarray=context.coords is not None,
            is_one_machine=chain.is_one_machine(self.client),
        )
        self.client.register_plugin(plugin)
        chain.check_imports(self.client, job_class)
        chain.check_memory(self.client)
        self._context = chain.send_context(self.client, context)
        self.publisher.replicas.copy = partial(chain.copy_all, self.client, run=self.report.run)
        self._resize()

    def _resize(self) -> None:
        """Fit what may be in flight to the workers that are there."""
        self._resize_next = time.monotonic() + RESIZE_INTERVAL_S
        threads: Mapping[str, int] = self.client.nthreads()  # type: ignore[no-untyped-call]
        at_least = chain.threads_per_worker()
        self._most_chains = CHAINS_PER_THREAD * max(sum(threads.values()), at_least)
        self._most_regions = REGIONS_PER_WORKER * max(len(threads), 1)

    def _refill(self, regions: Iterator[Prepared]) -> None:
        """Keep as much in flight as workers need: that bounds disk, memory and tasks.

        What is done is not kept waiting while many regions are found to need nothing.
        """
        if time.monotonic() >= self._resize_next:
            with suppress(OSError):  # the scheduler is gone: the loop will see
                self._resize()
        while self._has_room:
            if self._completed.has_ready() or not self._start(regions, self._pace.regions):
                return

    @property
    def _has_room(self) -> bool:
        if self._in_flight < self._most_regions:
            return True
        most = max(self._most_chains, MOST_IN_BATCHES)
        return self._chains < self._most_chains and self._in_flight < most

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
            region = _RegionInFlight(
                self._name(prepared.job), prepared.job, RegionOutcome(prepared)
            )
            self.report.variables_skipped += len(prepared.job.data_vars) - len(prepared.todo)
            if prepared.todo:
                begun.append((region, self._works(region)))
                continue
            self._skip(region, record)
            if self._completed.has_ready():
                break
        if begun:
            self._submit(begun, "a0")
            self._in_flight += len(begun)
        for region, _ in begun:
            todo = region.outcome.prepared.todo
            self.listener(Event("submitted", region.name, count=len(todo)))
        return bool(begun)

    def _skip(self, region: _RegionInFlight, record: ProgressRecord | None) -> None:
        self.report.regions_skipped += 1
        judged_again = region.outcome.prepared.record
        if judged_again is not None and judged_again != record:
            self._write(judged_again)
        self.listener(Event("skipped", region.name))

    def _works(self, region: _RegionInFlight) -> list[chain.GroupWork]:
        """Give what of a region is not done yet."""
        prepared = region.outcome.prepared
        if prepared.record is not None:
            # What it says of these variables is not true any more once one object is replaced.
            self._record(region)
        groups = enumerate(prepared.groups)
        return [self._work(region, at, group, group.todo) for at, group in groups if group.todo]

    def _work(
        self, region: _RegionInFlight, index: int, group: PreparedGroup, names: Iterable[str]
    ) -> chain.GroupWork:
        job, sizes = region.job, region.outcome.prepared.sizes
        coords = self._coords(along=True, of=job) if takes_data_array(type(job)) else None
        wanted = [var for var in group.variables if var.name in set(names)]
        record = region.outcome.prepared.record
        works = {
            var.name: VariableWork(
                job=job.for_worker((var,)),
                processing_region=job.processing_region(),
                sizes={dim: sizes[dim] for dim in var.dims},
                coords=coords,
                continues=bool(group.kept),
                token=record.variables[var.name].token if record and group.kept else None,
            )
            for var in wanted
        }
        return chain.GroupWork(index, group.files_to_process, works)

    def _submit(self, begun: Sequence[Begun], attempt: str) -> None:
        """Submit a region in tasks of its own, or several in tasks that they share."""
        suffix = f"{self.report.run}{attempt}"
        files = [_Output(region, group.index, None) for region, groups in begun for group in groups]
        receipts = [
            _Output(region, group.index, name)
            for region, groups in begun
            for group in groups
            for name in group.works
        ]
        if len(begun) == 1:
            ((region, groups),) = begun
            alone = chain.submit_region(self.client, self._context, region.job, groups, suffix)
            tasks = {alone.downloads[one.group]: [one] for one in files}
            tasks.update({alone.uploads[str(one.variable)]: [one] for one in receipts})
        else:
            jobs = [(region.job, groups) for region, groups in begun]
            batch = chain.submit_batch(self.client, self._context, jobs, suffix)
            tasks = {batch.downloads: files, batch.uploads: receipts}
        for future, outputs in tasks.items():
            self._tasks[future.key] = outputs
            self._chains += outputs[0].variable is not None
            for output in outputs:
                output.region.waiting.add(future.key)
        self._completed.update(list(tasks))

    # -- take ---------------------------------------------------------------------------------

    def _take(self, future: Future[Any], result: Any) -> None:
        """Note what one task returned; record each region of which that was the last."""
        outputs = self._tasks.pop(future.key)
        self._chains -= outputs[0].variable is not None
        status = future.status
        future.release()  # type: ignore[no-untyped-call]
        if status == "cancelled":
            raise SchedulerLost(
                f"Dask cancelled {future.key}: its scheduler is gone. What is recorded is safe: "
                "run again to go on"
            )
        is_batch = len(outputs) > 1
        if status == "error":
            made: Sequence[Any] = [result[1]] * len(outputs)
        else:
            made = result if is_batch else [result]
        for output, one in zip(outputs, made, strict=True):
            self._take_one(output, one, is_batch)
        for region in dict.fromkeys(output.region for output in outputs):
            region.waiting.discard(future.key)
            if not region.waiting:
                self._finish(region)

    def _take_one(self, output: _Output, made: Any, is_batch: bool) -> None:
        if isinstance(made, LocalFiles):
            self._take_files(output, made)
        elif isinstance(made, Receipt):
            self._take_receipt(output, made)
        elif output.variable is None:
            return  # the uploads of the group report the same error
        elif is_batch:
            cause = made.cause if isinstance(made, NotMade) else _cause(made)
            self._try_alone(output.region, output.group, output.variable, cause)
        else:
            self._take_error(output.region, output.group, output.variable, made)

    def _take_files(self, output: _Output, files: LocalFiles) -> None:
        output.region.outcome.files[output.group] = files.files
        self.report.nbytes_downloaded += sum(file.nbytes_fetched for file in files.files)
        self._note_fetched(output.region, files.files)
        self._note_spans(output.region, files.spans)

    def _take_receipt(self, output: _Output, receipt: Receipt) -> None:
        outcome = output.region.outcome
        known = outcome.files.get(output.group)
        if known == receipt.files:  # one copy for all variables of the group
            receipt = replace(receipt, files=known)
        outcome.receipts[receipt.variable] = receipt
        region = output.region.job.region
        self.publisher.replicas.keep(region, receipt.variable, receipt.replicated)
        self._unrecorded.add(output.region)
        if receipt.healed is not None:
            self.report.nbytes_healed += sum(file.nbytes_fetched for file in receipt.healed)
            self._note_fetched(output.region, receipt.healed)
        self.report.nbytes_uploaded += sum(obj.nbytes for obj in receipt.objects)
        self.report.variables_done += 1
        self._note_spans(output.region, receipt.spans)

    def _take_error(
        self, region: _RegionInFlight, group: int, name: str, error: BaseException
    ) -> None:
        """Try again what another worker may do better; else the variable fails, and only it."""
        region.attempts[name] += 1
        if _is_worth_another_try(error) and region.attempts[name] < ATTEMPTS:
            log.warning("region %s, %s: %s; trying again", region.name, name, _cause(error))
            self._try_again(region, group, name)
            return
        region.outcome.failures[name] = _cause(error)
        self.listener(Event("failed", region.name, f"{name}: {_cause(error)}"))

    def _try_alone(self, region: _RegionInFlight, group: int, name: str, cause: str) -> None:
        """Let what failed in a batch succeed, or fail, in tasks of its own."""
        log.info("region %s, %s: %s; trying it alone", region.name, name, cause)
        self._pace.forget()
        self._try_again(region, group, name)

    def _try_again(self, region: _RegionInFlight, group: int, name: str) -> None:
        self.report.chains_retried += 1
        work = self._work(region, group, region.outcome.prepared.groups[group], [name])
        self._submit([(region, [work])], f"a{region.attempts[name]}{name}")

    def _finish(self, region: _RegionInFlight) -> None:
        """Write the region's record: all that it says is true of the store by now."""
        outcome = region.outcome
        self._in_flight -= 1
        self._pace.note(region.seconds, region.nbytes)
        record = self._record(region)
        self.publisher.extent.judge(record, outcome.prepared)
        failures = [Failure(region.name, *item) for item in outcome.failures.items()]
        self.report.failures.extend(failures)
        self.report.regions_failed += bool(failures)
        self.report.regions_done += not failures
        self._note_files(region, record)
        self._note_times(region, record)
        log.info("region %s: %d done, %d failed", region.name, len(outcome.receipts), len(failures))
        self.listener(Event("region", region.name))

    def _record(self, region: _RegionInFlight) -> ProgressRecord:
        dataset_id, run = self.store.tracker.dataset_id, self.report.run
        record = record_outcome(region.outcome, dataset_id=dataset_id, run=run, now=self.now)
        self._write(record)
        self.publisher.note(record)
        self._unrecorded.discard(region)
        return record

    def _write(self, record: ProgressRecord) -> None:
        """Write a record, but not over that of a run which took this one for dead."""
        self.lease.proof.check()
        self.publisher.completeness.announce(record.region, self.report.run)
        self.store.tracker.write(record)
        if not self.publisher.may_show_more(record, self.lease):
            return
        self._has_news = True
        if not self._has_published:
            self._publish_next = self._publish_next_if_idle = 0.0

    def _record_partly(self, *, at_once: bool = False) -> None:
        """Keep the variables that are done of regions that are not, at a bounded rate."""
        if not at_once and time.monotonic() - self._recorded_at < RECORD_INTERVAL_S:
            return
        self._recorded_at = time.monotonic()
        for region in list(self._unrecorded):
            self._record(region)

    def _is_time_to_publish(self, is_idle: bool) -> bool:
        earliest = self._publish_next_if_idle if is_idle else self._publish_next
        return self._has_news and time.monotonic() >= earliest

    def _publish(self) -> None:
        began, self._has_news, self._has_published = time.monotonic(), False, True
        is_visible = self.publisher.publish(self.lease)
        ended = time.monotonic()
        pause_s = (ended - began) / PUBLISHING_SHARE
        self._publish_next_if_idle = began + self.publish_interval_s
        self._publish_next = max(self._publish_next_if_idle, ended + pause_s)
        if is_visible:
            label = self.archive.last_label
            self.report.positions_after = self.archive.published
            self.report.published_after = label
            if label is not None:
                self.listener(Event("published", label, label))
        self._note_visible()

    # -- report -------------------------------------------------------------------------------

    def _note_spans(self, region: _RegionInFlight, spans: Iterable[Span]) -> None:
        for span in spans:
            region.seconds += span.seconds
            region.nbytes += span.nbytes
            self.report.spans.append(span)
            self.listener(Event("stage", region.name, span.stage, span.nbytes))

    def _note_fetched(self, region: _RegionInFlight, files: Iterable[SourceFile]) -> None:
        for file in (file for file in files if not file.is_kept):
            url, nbytes = mask_url(file.coord.get_url()), file.nbytes_fetched
            self.report.note_fetched(
                FetchedFile(region.name, url, file.seconds, nbytes, file.attempts)
            )

    def _note_times(self, region: _RegionInFlight, record: ProgressRecord) -> None:
        if region.job.is_static or not region.outcome.receipts:
            return
        times = RegionTimes(
            region=region.name,
            extent=extent_with_data(record),
            submitted=region.submitted,
            recorded=_utc_now(),
            source_available=newest_source(record),
        )
        self.report.regions.append(times)
        self._not_visible.append(times)

    def _note_visible(self) -> None:
        """Note which regions readers see whole since the publication just made."""
        now = _utc_now()
        still = []
        for times in self._not_visible:
            if times.extent <= self.archive.published:
                times.visible = now
            else:
                still.append(times)
        self._not_visible = deque(still, maxlen=MOST_REGIONS)

    def _note_files(self, region: _RegionInFlight, record: ProgressRecord) -> None:
        for files in region.outcome.files.values():
            self.report.files.update(str(file.coord.status) for file in files)
            for file in files:
                if file.coord.status is not SourceFileStatus.SUCCEEDED:
                    self._note_problem(region, file, file.coord.status, file.coord.detail)
                elif file.coord.detail is not None and not file.is_kept:
                    url = mask_url(file.coord.get_url())
                    first, many = self._remarks.get(file.coord.detail, (url, 0))
                    self._remarks[file.coord.detail] = first, many + 1
        for group in region.outcome.prepared.groups:
            for name in group.todo:
                for at, (_, detail) in record.variables[name].unread.items():
                    file = region.outcome.receipts[name].files[at]
                    self.report.files[SourceFileStatus.READ_FAILED] += 1
                    self._note_problem(region, file, f"read failed for {name}", detail)

    def _note_remarks(self) -> None:
        for remark, (first, many) in self._remarks.items():
            note = f"{many} source files were {remark}; the first is {first}"
            log.warning("%s", note)
            self.report.notes.append(note)

    def _note_problem(
        self, region: _RegionInFlight, file: SourceFile, status: str, detail: str | None
    ) -> None:
        url = mask_url(file.coord.get_url())
        self.report.problems.append(Problem(region.name, url, str(status), detail or ""))
        self.listener(Event("file", region.name, f"{status}: {url}"))

    def _name(self, job: RegionJob[Any, Any]) -> str:
        return "static" if job.is_static else str(self.archive.index[job.region.start])

    def _coords(self, *, along: bool, of: RegionJob[Any, Any] | None = None) -> Any:
        """Give the coordinates with the append dim, or those without it."""
        ds = self.archive.template_ds if of is None else of.processing_region_ds()
        dim = self.archive.append_dim
        names = [
            name
            for name, coord in ds.coords.items()
            if (dim in coord.dims) == along and not self.archive.speaks_of_data(name)
        ]
        return ds.coords.to_dataset()[names]


def ask_files(
    job: RegionJob[Any, Any], coords: Sequence[SourceFileCoord]
) -> dict[str, FileIdentity | None]:
    """Ask the provider for the identities of source files, several at once, by their URL."""

    def ask(coord: SourceFileCoord) -> FileIdentity | None:
        with _asking:
            return job.ask_file(coord)

    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="ask") as pool:
        return dict(zip([c.get_url() for c in coords], pool.map(ask, coords), strict=True))


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, KilledWorker) or is_disk_full(error)
