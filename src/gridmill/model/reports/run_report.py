"""What a run did, as it is kept and compared: counts, failures, and when which stage ran. Pure."""

from __future__ import annotations

import json
import uuid
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Self

from gridmill.model.display_hook import card_of
from gridmill.model.reports.entries import (
    Failure,
    FetchedFile,
    NewGap,
    Problem,
    RegionTimes,
    ReplicaOutcome,
    Revision,
    seconds_between,
)
from gridmill.model.reports.spans import STAGES, Overlap, Span, measure_overlap
from gridmill.model.settled import SourceFileStatus
from gridmill.model.state_files import SCHEMA, check_fields, known_fields

__all__ = ["RunReport", "join_reports"]

# A report must not grow with the number of region jobs.
MOST_SPANS = 20_000
MOST_PROBLEMS = 200
MOST_REGIONS = 5_000
MOST_SLOW_FILES = 20
# What a summary leaves out.
BULKY = {"spans", "regions", "slowest"}
# What a report must say to be one.
REPORT_NEEDS = {
    **dict.fromkeys(("run", "dataset_id", "kind", "started", "ended"), (str,)),
    **dict.fromkeys(("failures", "problems"), (list,)),
    "files": (dict,),
}
# Every other kind is maintenance.
KINDS_OF_RUNS = ("backfill", "update", "process")


@dataclass
class RunReport:
    """What a run did.

    Attributes
    ----------
    run, dataset_id, kind
        Name of the run, the dataset, and ``backfill``, ``update`` or ``process``, or what was
        done as maintenance.
    started, ended
        ISO 8601, UTC.
    store
        The final store, credentials masked.
    published_before, published_after
        The last label that readers saw, and see; None if there was none.
    positions_before, positions_after
        How many positions they saw, and see.
    regions_done, regions_skipped, regions_failed
        Region jobs that were processed, were already done, or have a variable that failed.
    variables_done, variables_skipped
        Chains that ran, and variables that an earlier run had done.
    files
        Source files by status.
    nbytes_downloaded, nbytes_uploaded, nbytes_healed
        Bytes of source files, of objects, and of source files fetched again because a worker
        was lost or a task moved.
    retries, chains_retried
        How often a source file was retried, and a variable's chain restarted.
    failures, problems
        What failed, and the source files that did not succeed (the last of them).
    new_gaps, gaps
        How many source files left a place pending that was not before, and the last of them.
    regions_revised, revised
        In how many regions readers see other values than before, and the last of those.
    interrupted
        The error that ended the run before its time.
    stops_because
        Why readers do not see further, where the template goes on.
    slowest
        The source files that took longest, the slowest first.
    regions
        When regions were available and visible (the last of them).
    spans
        The stages' spans (the last of them).
    replicas
        How each replica came out of the run.
    notes
        What maintenance was done and by whom, and what beside the run did not go well.
    """

    run: str
    dataset_id: str
    kind: str
    started: str
    ended: str = ""
    store: str = ""
    published_before: str | None = None
    published_after: str | None = None
    positions_before: int = 0
    positions_after: int = 0
    regions_done: int = 0
    regions_skipped: int = 0
    regions_failed: int = 0
    variables_done: int = 0
    variables_skipped: int = 0
    files: Counter[str] = field(default_factory=Counter)
    nbytes_downloaded: int = 0
    nbytes_uploaded: int = 0
    nbytes_healed: int = 0
    retries: int = 0
    chains_retried: int = 0
    failures: list[Failure] = field(default_factory=list)
    problems: deque[Problem] = field(default_factory=lambda: deque(maxlen=MOST_PROBLEMS))
    new_gaps: int = 0
    gaps: deque[NewGap] = field(default_factory=lambda: deque(maxlen=MOST_PROBLEMS))
    regions_revised: int = 0
    revised: deque[Revision] = field(default_factory=lambda: deque(maxlen=MOST_PROBLEMS))
    interrupted: str | None = None
    stops_because: str | None = None
    slowest: list[FetchedFile] = field(default_factory=list)
    regions: deque[RegionTimes] = field(default_factory=lambda: deque(maxlen=MOST_REGIONS))
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=MOST_SPANS), repr=False)
    replicas: list[ReplicaOutcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, dataset_id: str, kind: str, store: str = "") -> RunReport:
        """Return the report of a run that begins now, with a name of its own."""
        # Names sort by time, also those of runs within one second.
        now = datetime.now(UTC)
        moment = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}"
        run = f"{moment}-{uuid.uuid4().hex[:6]}"
        return cls(run, dataset_id, kind, _utc_now(), store=store)

    def end(self) -> None:
        """End the report now."""
        self.ended = _utc_now()

    @property
    def succeeded(self) -> bool:
        """Whether nothing failed: no variable, no source file that the provider has, no replica."""
        # A later gridmill's report may count files under statuses that this one does not know.
        failures = {str(status) for status in SourceFileStatus if status.is_failure}
        unusable = sum(n for status, n in self.files.items() if status in failures)
        lame = any(replica.failure for replica in self.replicas)
        return not (self.failures or unusable or lame or self.interrupted)

    @property
    def is_by_hand(self) -> bool:
        """Whether an operator did this, not a run."""
        return self.kind not in KINDS_OF_RUNS

    @property
    def did_anything(self) -> bool:
        """Whether a region was processed, or readers see other values, or the run was stopped."""
        regions = self.regions_done + self.regions_failed
        return bool(regions or self.interrupted or self.published_anything)

    @property
    def published_anything(self) -> bool:
        """Whether readers see more than before, or other values."""
        return self.positions_after > self.positions_before or self.regions_revised > 0

    @property
    def seconds(self) -> float | None:
        """How long the run took; None while it goes on."""
        return seconds_between(self.started, self.ended) if self.ended else None

    def note_gap(self, gap: NewGap) -> None:
        """Count a place that is pending since this run."""
        self.new_gaps += 1
        self.gaps.append(gap)

    def note_revised(self, revision: Revision) -> None:
        """Count a region of which readers see other values since this run."""
        self.regions_revised += 1
        self.revised.append(revision)

    def note_fetched(self, file: FetchedFile) -> None:
        """Count a download's retries, and keep it if it is among the slowest."""
        self.retries += file.attempts - 1
        if len(self.slowest) < MOST_SLOW_FILES or file.seconds > self.slowest[-1].seconds:
            insort(self.slowest, file, key=lambda known: -known.seconds)
            del self.slowest[MOST_SLOW_FILES:]

    def overlap(self) -> Overlap:
        """Measure how far stages overlapped."""
        return measure_overlap(self.spans)

    def throughput(self) -> dict[str, float]:
        """Return bytes a second of each stage while it was active, by stage."""
        seconds = dict.fromkeys(STAGES, 0.0)
        nbytes = dict.fromkeys(STAGES, 0)
        for span in self.spans:
            seconds[span.stage] += span.seconds
            nbytes[span.stage] += span.nbytes
        return {stage: nbytes[stage] / seconds[stage] for stage in STAGES if seconds[stage]}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, with the overlap measured."""
        return self._as_plain({item.name for item in fields(self)})

    def waited_s(self) -> float | None:
        """Return how long it took until a first stage began: planning, and waiting for workers.

        None where no stage ran, or the first ones are no longer kept.
        """
        if not self.spans or len(self.spans) == self.spans.maxlen:
            return None
        began = min(span.started for span in self.spans)
        return max(0.0, began - datetime.fromisoformat(self.started).timestamp())

    def summary(self) -> dict[str, Any]:
        """Return `to_dict` without what is bulky, with the throughput and the wait before it."""
        content = self._as_plain({item.name for item in fields(self)} - BULKY)
        return {**content, "throughput": self.throughput(), "waited_s": self.waited_s()}

    def _as_plain(self, names: Set[str]) -> dict[str, Any]:
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name in names}
        content["files"] = dict(self.files)
        of_problems = {"failures", "problems", "gaps", "slowest", "replicas"}
        lists = {"regions", "revised", "spans", *of_problems}
        for name in lists & names:
            content[name] = [_plain(item) for item in content[name]]
        content["overlap"] = _plain(self.overlap())
        content["succeeded"] = self.succeeded
        return content

    def brief(self) -> dict[str, Any]:
        """Return what a list of runs tells of each, as plain values."""
        names = ("run", "kind", "started", "ended", "seconds", "succeeded", "interrupted")
        counts = ("regions_done", "regions_failed", "regions_revised", "nbytes_uploaded")
        published = ("positions_before", "positions_after", "published_before", "published_after")
        return {name: getattr(self, name) for name in (*names, *counts, *published)}

    def to_json(self) -> bytes:
        """Serialise `to_dict`, with the schema's number."""
        return json.dumps({"schema": SCHEMA, **self.to_dict()}).encode()

    def _repr_html_(self) -> str:
        return card_of(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave, also an older or a later gridmill's.

        What an older one did not note is empty; what a later one notes beside is ignored.

        Raises
        ------
        ValueError
            It is not a run's report.
        """
        try:
            counts = {item.name for item in fields(cls) if item.type == "int"} & content.keys()
            check_fields(content, {**REPORT_NEEDS, **dict.fromkeys(counts, (int,))})
            report = cls(**known_fields(cls, content))
            report.files = Counter(report.files)
            report.failures = _items(Failure, content["failures"])
            report.replicas = _items(ReplicaOutcome, content.get("replicas", ()))
            report.problems = deque(_items(Problem, content["problems"]), MOST_PROBLEMS)
            report.gaps = deque(_items(NewGap, content.get("gaps", ())), MOST_PROBLEMS)
            report.revised = deque(_items(Revision, content.get("revised", ())), MOST_PROBLEMS)
            report.slowest = _items(FetchedFile, content.get("slowest", ()))
            report.regions = deque(_items(RegionTimes, content.get("regions", ())), MOST_REGIONS)
            report.spans = deque(_items(Span, content.get("spans", ())), MOST_SPANS)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a run's report: {error}") from error
        return report


def join_reports(reports: Sequence[RunReport]) -> RunReport:
    """Return one report of several runs that follow each other; what failed is what still does."""
    first, last = reports[0], reports[-1]
    if len(reports) == 1:
        return last
    bytes_of = ("nbytes_downloaded", "nbytes_uploaded", "nbytes_healed")
    counts = ("regions_done", "regions_revised", "variables_done", "retries", "chains_retried")
    sums = (*counts, "new_gaps", *bytes_of)
    succeeded = SourceFileStatus.SUCCEEDED
    files = Counter(last.files)
    files[succeeded] = sum(report.files[succeeded] for report in reports)
    return replace(
        last,
        started=first.started,
        published_before=first.published_before,
        positions_before=first.positions_before,
        files=files,
        slowest=sorted((f for r in reports for f in r.slowest), key=lambda f: -f.seconds)[
            :MOST_SLOW_FILES
        ],
        gaps=deque((gap for r in reports for gap in r.gaps), maxlen=MOST_PROBLEMS),
        revised=deque((one for r in reports for one in r.revised), maxlen=MOST_PROBLEMS),
        regions=deque((times for r in reports for times in r.regions), maxlen=MOST_REGIONS),
        spans=deque((span for r in reports for span in r.spans), maxlen=MOST_SPANS),
        # What an archive keeps is noted by each run.
        notes=list(dict.fromkeys(note for report in reports for note in report.notes)),
        **{name: sum(getattr(report, name) for report in reports) for name in sums},
    )


def _plain(item: Any) -> dict[str, Any]:
    """Return a dataclass of plain values as a dict; `asdict` looks for others, which takes long."""
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _items(kind: type[Any], items: Iterable[Mapping[str, Any]]) -> list[Any]:
    return [kind(**known_fields(kind, item)) for item in items]
