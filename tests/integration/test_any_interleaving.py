"""Whatever happens in whatever order, readers see a correct prefix that never shrinks.

A Hypothesis state machine drives the real driver, plan, records and publication over a
simulated provider, simulated stages and stores in memory. Covers: files that come, go, break and
are revised, tasks that end in any order, run again, heal or fail, also those that several regions
share, partial records, two runs side by side, interrupts and crashes that lose what was in
flight. Does not cover Dask, and the bytes of objects.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gridmill.archive.archive import Archive
from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ObjectReceipt
from gridmill.model.reports.run_report import RunReport
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Encoding
from gridmill.pipeline.values import LocalFiles, Receipt, SourceFile
from gridmill.publishing.publisher import Publisher
from gridmill.runs.driver import Driver
from gridmill.runs.workplaces.workplace import NotMade
from gridmill.sources.fetch.download import FileIdentity
from gridmill.stores.metadata import ROOT as METADATA
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.state.claims import Claim
from gridmill.stores.state.records import UpdateProgressTracker
from stored_structure import root_metadata
from tiny import HOUR, NAMES, SHAPE, START, TinyCoord, TinyJob, TinyTemplate, tiny_var

N = 6
DELAY = 2
OK = SourceFileStatus.SUCCEEDED


class SimTemplate(TinyTemplate):
    """In regions of two positions, so that little is needed for much to happen."""

    data_vars = tuple(tiny_var(name, encoding=Encoding(chunks=(2, *SHAPE))) for name in NAMES)


CONFIG = SimTemplate()
FATES = ["done", "done", "done", "run again", "healed", "error", "disk full"]
TEMPLATES = {n: CONFIG.get_template(START + HOUR * n) for n in range(1, N + 1)}
ROOT = root_metadata()
ARRAYS = ROOT["consolidated_metadata"]["metadata"]


class MemoryObjects:
    """Objects in a dict."""

    url = "memory"
    at_once = 1

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, key: str, content: bytes) -> None:
        self.content[key] = content

    def get(self, key: str) -> bytes | None:
        return self.content.get(key)

    def delete(self, key: str) -> None:
        self.content.pop(key, None)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.content if key.startswith(prefix))


class SimStore:
    """What the driver and the publisher need of a final store."""

    url = "memory"
    shows_uploads = True

    def __init__(self) -> None:
        self.tracker = UpdateProgressTracker(MemoryObjects(), "tiny")
        self.length: int | None = None

    def published_length(self, append_dim: str) -> int | None:
        return self.length

    def missing(self, receipts: Any, token: str | None = None) -> list[str]:
        return []

    def publish(self, folder: Path, *_: Any, **__: Any) -> bool:
        length = json.loads((folder / METADATA).read_bytes())["length"]
        changed, self.length = self.length != length, length
        return changed


class SimArchive(Archive):
    """Of which a length is written, and no array."""

    @contextmanager
    def written(self, ds: Any, seen: int = 0) -> Iterator[Path]:
        with temporary_folder() as folder:
            root = {"length": ds.sizes["time"], "consolidated_metadata": {"metadata": {}}}
            (folder / METADATA).write_text(json.dumps(root))
            yield folder

    metadata = b""
    arrays = ARRAYS


class SimJob(TinyJob):
    """Asks the simulated provider."""

    publication_delay = timedelta(hours=DELAY)
    sim: ClassVar[AnyInterleaving]

    def ask_file(self, coord: TinyCoord) -> FileIdentity | None:
        at = position(coord)
        version = self.sim.provider.get(at)
        if version is None or at in self.sim.flaky:
            return None
        return FileIdentity(nbytes=1, etag=f"v{version}", last_modified=None)


@dataclass(frozen=True)
class SimWork:
    """What a task does for a region: download, or the two other stages of a variable."""

    region: RegionJob[Any, Any]
    group: Any
    variable: str | None = None
    source: int = 0


@dataclass(eq=False)
class SimFuture:
    """A task that was submitted and has not been delivered to the driver."""

    key: str
    works: list[SimWork]
    download: SimFuture | None = None
    status: str = "pending"
    result: Any = None

    @property
    def is_batch(self) -> bool:
        """Whether several regions share it."""
        return len(self.works) > 1

    def release(self) -> None:
        """Do nothing."""


class SimDriver(Driver):
    """Keeps its tasks where the machine can end them in any order."""

    futures: list[SimFuture]

    def _open(self) -> None:
        self.futures = []
        self.window.workplace = SimWorkplace(self.futures)
        self.window.most_chains = self.window.most_regions = 1
        self.window.resize_next = inf
        self.snapshot = self.archive.published

    @property
    def is_full(self) -> bool:
        return (
            len({id(one.region) for outputs in self.window.tasks.values() for one in outputs}) >= 2
        )


@dataclass
class SimRun:
    """A driver process."""

    driver: SimDriver
    jobs: list[RegionJob[Any, Any]]
    regions: set[int]
    together: int
    prepared: list[Any] = field(default_factory=list)

    @property
    def has_more(self) -> bool:
        return bool(self.jobs or self.prepared)

    def start_next(self) -> None:
        """Start what was prepared some time ago, as the driver does for distant stores."""
        while self.jobs and len(self.prepared) <= self.together:
            self.prepared.append(self.driver._prepare(self.jobs.pop(0)))
        next_ones, self.prepared = self.prepared[: self.together], self.prepared[self.together :]
        self.driver._start(SimpleNamespace(take=iter([*next_ones, None]).__next__), self.together)


def position(coord: TinyCoord) -> int:
    return int((coord.label - START) / HOUR)


@dataclass
class SimWorkplace:
    """Puts tasks where the machine ends them."""

    tasks: list[SimFuture]

    def has_ready(self):
        return False

    def let_go(self):
        pass

    def submit_region(self, job, groups, suffix, elsewhere_than=""):
        return submit_region(self.tasks, job, groups, suffix)

    def submit_batch(self, regions, suffix, elsewhere_than=""):
        return submit_batch(self.tasks, regions, suffix)


def claim_of(report, jobs):
    return Claim(
        run=report.run,
        kind=report.kind,
        host="simulated",
        machine="simulated",
        pid=0,
        process_started=0.0,
        since=str(START),
        positions=tuple((job.region.start, job.region.stop) for job in jobs),
        beat_key="beat",
        time_to_live_s=60.0,
    )


def submit_region(client, job, groups, suffix):
    """Stand in for a workplace's; the client is the list of the driver's tasks."""
    downloads, uploads = {}, {}
    for group in groups:
        key = f"{job.region.start}-{suffix}"
        source = SimFuture(f"download-{key}", [SimWork(job, group)])
        downloads[group.index] = source
        client.append(source)
        for name in group.works:
            works = [SimWork(job, group, name)]
            uploads[name] = SimFuture(f"upload-{key}-{name}", works, source)
            client.append(uploads[name])
    return SimpleNamespace(downloads=downloads, uploads=uploads)


def submit_batch(client, regions, suffix):
    """Stand in for a workplace's."""
    key = f"{regions[0][0].region.start}-to-{regions[-1][0].region.start}-{suffix}"
    groups = [(job, group) for job, groups in regions for group in groups]
    works = [
        SimWork(job, group, name, number)
        for number, (job, group) in enumerate(groups)
        for name in group.works
    ]
    source = SimFuture(f"download-{key}", [SimWork(*one) for one in groups])
    client.extend([source, SimFuture(f"upload-{key}", works, source)])
    return SimpleNamespace(downloads=source, uploads=client[-1])


class AnyInterleaving(RuleBasedStateMachine):
    """The provider, the stores and up to two drivers."""

    def __init__(self) -> None:
        super().__init__()
        SimJob.sim = self
        self.store = SimStore()
        self.now = 4
        self.provider: dict[int, int] = {}
        self.flaky: set[int] = set()
        self.broken: set[tuple[str, int, int]] = set()
        self.runs: list[SimRun] = []
        self.content: dict[tuple[str, int], int] = {}
        self.seen: dict[tuple[str, int], tuple[SourceFileStatus, int | None]] = {}
        self.unread: Counter[tuple[str, int, int]] = Counter()
        self.extent = 0
        self.visible: set[tuple[str, int]] = set()
        self.number = 0

    # -- the provider -------------------------------------------------------------------------

    @initialize(there=st.sets(st.integers(0, N - 1), min_size=3))
    def some_files_are_there(self, there):
        self.provider = dict.fromkeys(there, 1)

    @rule(
        at=st.integers(0, N - 1),
        what=st.sampled_from(["comes", "comes", "goes", "is flaky", "is broken", "an hour later"]),
        names=st.sampled_from([NAMES, NAMES[:1], NAMES[1:]]),
    )
    def a_file(self, at, what, names=NAMES):
        """Change what the provider has; few rules with many cases are drawn more evenly."""
        if what == "comes":  # or is revised
            self.provider[at] = self.provider.get(at, 0) + 1
        elif what == "goes":
            self.provider.pop(at, None)
        elif what == "is flaky":
            self.flaky ^= {at}
        elif what == "is broken" and at in self.provider:
            self.broken |= {(name, at, self.provider[at]) for name in names}
        elif what == "an hour later":
            self.now = min(self.now + 1, N)

    # -- the drivers --------------------------------------------------------------------------

    @precondition(lambda self: len(self.runs) < 2)
    @rule(
        back=st.integers(0, 2),
        names=st.sampled_from([NAMES, NAMES, NAMES, NAMES[:1]]),
        regions=st.sampled_from([slice(0, 1), slice(1, None), slice(None), slice(None)]),
        is_update=st.booleans(),
        together=st.sampled_from([1, 3]),
    )
    def a_run_starts(self, back, names, regions, is_update, together):
        end = self.now if is_update else max(self.now - back, self.extent, 1)
        taken = set().union(*(run.regions for run in self.runs))
        jobs = self.jobs_of(end, is_update)
        if not is_update:
            chosen = [var for var in CONFIG.data_vars if var.name in names]
            jobs = [replace(job, data_vars=chosen) for job in jobs[regions]]
        free = [job for job in jobs if job.region.start not in taken]
        if is_update and len(free) < len(jobs):
            return  # the lease refuses it
        if free:
            self.start(end, free, together).start_next()

    def jobs_of(self, end, is_update):
        template_ds = TEMPLATES[end]
        if is_update:
            return SimJob.operational_update_jobs(self.store, template_ds, "time", CONFIG.data_vars)
        return SimJob.get_jobs(template_ds, "time", CONFIG.data_vars)

    def start(self, end, jobs, together):
        template_ds = TEMPLATES[end]

        def make_job(region):
            return SimJob(
                template_ds=template_ds,
                data_vars=CONFIG.data_vars,
                append_dim="time",
                region=region,
            )

        archive = SimArchive(self.store, CONFIG, template_ds, make_job)
        archive.published = self.extent
        publisher = Publisher(archive)
        proof = SimpleNamespace(check=lambda: None)
        self.number += 1
        report = RunReport(f"run{self.number}", "tiny", "backfill", "")
        claim = claim_of(report, jobs)
        lease = SimpleNamespace(
            publishing=lambda: nullcontext(lambda: None), proof=proof, claim=claim
        )
        driver = SimDriver(
            SimpleNamespace(loop=None), publisher, lease, now=START + HOUR * self.now, report=report
        )
        driver._open()
        run = SimRun(driver, list(jobs), {job.region.start for job in jobs}, together)
        self.runs.append(run)
        return run

    def ready(self, run):
        return [
            future
            for future in run.driver.futures
            if future.status == "pending"
            and (future.download is None or future.download.result is not None)
        ]

    def ended(self, run):
        return [future for future in run.driver.futures if future.status != "pending"]

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=6),
        change=st.integers(0, N - 1),
    )
    def tasks_end(self, data, fates, change):
        """Let tasks end on workers, and the driver hear of them, in any order."""
        for fate in fates:
            run = data.draw(st.sampled_from(self.runs))
            if run.has_more and not run.driver.is_full:
                run.start_next()
            ready, ended = self.ready(run), self.ended(run)
            if ready and (not ended or data.draw(st.booleans())):
                if fate in ("run again", "healed"):
                    self.a_file(change, "goes" if change in self.provider else "comes")
                self.end_task(run, data.draw(st.sampled_from(ready)), fate)
            elif ended:
                self.deliver(run, data.draw(st.sampled_from(ended)))

    def end_task(self, run, future, fate="done"):
        """End a task; in one that several regions share, an error is the first one's."""
        is_download, is_alone = future.download is None, not future.is_batch
        error = TypeError("code") if fate == "error" else OSError(errno.ENOSPC, "disk full")
        if not is_download and (fate == "disk full" or (fate == "error" and is_alone)):
            future.status, future.result = "error", (type(error), error, None)
            return
        make = self.download if is_download else partial(self.upload, run, future)
        first = "done" if is_download and is_alone else fate
        fates = [first] + ["done"] * len(future.works)
        made = tuple(make(*one) for one in zip(future.works, fates, strict=False))
        future.status, future.result = "finished", made[0] if is_alone else made

    def download(self, work, fate="done"):
        if fate == "error":
            return NotMade("TypeError: code")
        files = tuple(self.download_one(file) for file in work.group.files)
        return LocalFiles(folder=None, job=work.region, files=files)

    def upload(self, run, future, work, fate):
        sources = future.download.result
        source = sources[work.source] if future.is_batch else sources
        if isinstance(source, NotMade) or fate == "error":
            return NotMade("TypeError: code")
        files, healed = source.files, None
        if fate == "run again":  # its worker was lost, and the driver hears nothing of it
            files = self.download(work).files
        if fate == "healed":
            files = healed = self.download(work).files
        return replace(self.compress_and_upload(run, work, files), healed=healed)

    def download_one(self, file: SourceFile) -> SourceFile:
        version = self.provider.get(position(file.coord))
        if version is None:
            change = {"status": SourceFileStatus.NOT_YET_AVAILABLE}
        elif position(file.coord) in self.flaky:
            change = {"status": SourceFileStatus.DOWNLOAD_FAILED}
        else:
            change = {"status": OK, "settled": True, "nbytes": 1, "etag": f"v{version}"}
        return replace(file, coord=replace(file.coord, **change))

    def compress_and_upload(self, run, work, files) -> Receipt:
        """Do to `content` what the stages do to objects, and note what the chain saw."""
        name, unread, found, seen = work.variable, {}, {}, {}
        for index, file in enumerate(files):
            at, status = position(file.coord), file.coord.status
            version = int(file.coord.etag[1:]) if status is OK else None
            if (name, at, version) in self.broken:
                unread[index], status = "ValueError", SourceFileStatus.READ_FAILED
                self.unread[name, at, version] += 1
            elif status is OK:
                found[at] = version
            seen[at] = (status, version)
        self.seen.update({(name, at): was for at, was in seen.items()})
        if found:
            for at in seen:
                if at in found:
                    self.content[name, at] = found[at]
                elif at >= run.driver.snapshot:
                    self.content.pop((name, at), None)
        objects = (ObjectReceipt(f"{name}/{work.region.region.start}", 1, 0),) if found else ()
        return Receipt(name, objects, files, unread)

    def deliver(self, run, future):
        run.driver.futures.remove(future)
        run.driver.intake.take(future, future.result)

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        what=st.sampled_from(["records", "publishes", "crashes", "is interrupted", "ends", "ends"]),
    )
    def a_driver(self, data, what):
        run = data.draw(st.sampled_from(self.runs))
        if what == "records":
            run.driver.ledger.record_partly(at_once=True)
        elif what == "publishes":
            run.driver.showing.publish()
        elif what == "ends":
            self.finish(run)
        else:
            if what == "is interrupted":
                run.driver._abandon()
            self.runs.remove(run)

    def finish(self, run):
        while run.has_more or run.driver.window.tasks:
            if run.has_more and not run.driver.is_full:
                run.start_next()
            for future in list(run.driver.futures):
                if future.status == "pending":
                    self.end_task(run, future)
                self.deliver(run, future)
        run.driver.showing.publish()
        self.runs.remove(run)

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def readers_see_a_correct_prefix(self):
        length = self.store.length or 0
        assert length >= self.extent, "the extent shrank"
        for at in range(self.extent, length):
            for name in NAMES:
                self.check_published(name, at)
        if length > self.extent:
            assert any((name, length - 1) in self.content for name in NAMES), "it ends in nothing"
        self.extent = length

    def check_published(self, name, at):
        assert (name, at) in self.seen, f"{name} at {at} was never processed"
        status, version = self.seen[name, at]
        if status is OK:
            assert (name, at) in self.content
        elif status is SourceFileStatus.NOT_YET_AVAILABLE:
            assert at + DELAY <= self.now, f"{name} at {at} may still come"
        elif status is SourceFileStatus.READ_FAILED:
            assert self.unread[name, at, version] >= 2, f"{name} at {at} was tried once"
        else:
            raise AssertionError(f"{name} at {at}: {status}, and published")

    @invariant()
    def nothing_published_is_lost(self):
        now = {key for key in self.content if key[1] < self.extent}
        assert self.visible <= now, self.visible - now
        self.visible = now

    @rule()
    def in_the_end_all_is_there(self):
        """Whatever went before, with every file there and readable one update is enough."""
        self.runs.clear()
        self.now = N
        self.flaky.clear()
        for at in range(N):
            is_broken = any((name, at, self.provider.get(at)) in self.broken for name in NAMES)
            if is_broken or at not in self.provider:
                self.provider[at] = self.provider.get(at, 100) + 1
        self.broken.clear()
        self.finish(self.start(N, self.jobs_of(N, is_update=True), 3))
        self.readers_see_a_correct_prefix()
        assert self.extent == N
        assert set(self.content) == {(name, at) for name in NAMES for at in range(N)}


AnyInterleaving.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyInterleaving = AnyInterleaving.TestCase
