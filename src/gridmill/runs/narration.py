"""Tells what a run does: its report, and events for a progress display."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from gridmill.authoring.source_file import url_of
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.entries import (
    Failure,
    FetchedFile,
    NewGap,
    Problem,
    RegionTimes,
    Revision,
)
from gridmill.model.reports.run_report import MOST_REGIONS, RunReport
from gridmill.model.reports.spans import Span
from gridmill.model.settled import SourceFileStatus
from gridmill.model.wording import count_of
from gridmill.pipeline.values import LocalFiles, Receipt, SourceFile
from gridmill.planning.recording import extent_with_data, newest_source
from gridmill.planning.revisions import finals, revised
from gridmill.planning.source_files.offered import left_out
from gridmill.runs.in_flight import RegionInFlight, utc_now
from gridmill.sources.evidence.compare import NO_TIME, UNTOLD
from gridmill.sources.fetch.download import mask_url

__all__ = ["Event", "Narrator"]

log = logging.getLogger(__name__)

FINAL_NOW = "provisional before, and final now"


@dataclass(frozen=True)
class Event:
    """Something that a progress display may show.

    Parameters
    ----------
    kind
        What happened: a run was planned; a region was skipped, submitted or finished, a stage
        ended, a variable failed, a source file did not succeed, or readers see more.
    region
        Label of the region's first position; empty of the plan.
    detail
        The stage, the failure, the source file's status and address, or the last published label.
    count
        Region jobs of the plan, chains submitted, or bytes that a stage handled.
    """

    kind: Literal[
        "planned", "skipped", "submitted", "stage", "failed", "file", "region", "published"
    ]
    region: str
    detail: str = ""
    count: int = 0


class FileNarrator:
    """Tells what became of source files.

    Parameters
    ----------
    report, listener
        As for `Narrator`.
    """

    def __init__(self, report: RunReport, listener: Callable[[Event], None]) -> None:
        self.report = report
        self.listener = listener
        self._remarks: dict[str, tuple[str, int]] = {}
        self._lost: dict[tuple[str, str], tuple[str, int]] = {}
        self._unlisted: dict[str, tuple[str, int]] = {}
        self._left_out: dict[str, tuple[str, int]] = {}

    def note_remarks(self) -> None:
        """Sum up what was remarked of source files that succeeded, and what transforms lost."""
        for remark, (first, many) in self._remarks.items():
            were = f"{count_of(many, 'source file')} {'was' if many == 1 else 'were'}"
            note = f"{were} {remark}; the first is {first}"
            # What no operator can fix is in the report, and disturbs nobody at each run.
            log.log(logging.INFO if _is_quiet(remark) else logging.WARNING, "%s", note)
            self.report.notes.append(note)
        for (name, why), (first, many) in self._lost.items():
            note = f"{name}: {many:,} values are missing, {why}; first in region {first}"
            log.warning("%s", note)
            self.report.notes.append(note)
        for name, (first, many) in self._unlisted.items():
            note = (
                f"{name}: readers see 0, or what else is its fill, in {count_of(many, 'region')} "
                f"where no source file is listed and nothing says missing; first at {first}. A new "
                "archive takes a fill_value that cannot occur"
            )
            log.warning("%s", note)
            self.report.notes.append(note)

        for name, (first, many) in self._left_out.items():
            note = (
                f"{name}: no source file is listed for some labels of {count_of(many, 'region')}, "
                f"first for {first}: readers see them missing, and nothing retries them. Declare "
                "in offerings what the provider does not have"
            )
            log.warning("%s", note)
            self.report.notes.append(note)

    def note_unlisted(self, region: RegionInFlight) -> None:
        """Note the variables for which a place has no source file."""
        prepared = region.outcome.prepared
        for group in prepared.groups:
            none = left_out(prepared.job, group.variables, group.files, prepared.sizes)
            for name, label in none.items():
                first, many = self._left_out.get(name, (label, 0))
                self._left_out[name] = first, many + 1
        for name, label in region.outcome.prepared.unlisted.items():
            first, many = self._unlisted.get(name, (label, 0))
            self._unlisted[name] = first, many + 1

    def note_fetched(self, region: RegionInFlight, files: Iterable[SourceFile]) -> None:
        """Note how long files took to fetch."""
        for file in (file for file in files if not file.is_kept):
            url, nbytes = mask_url(url_of(file.coord)), file.nbytes_fetched
            self.report.note_fetched(
                FetchedFile(region.name, url, file.seconds, nbytes, file.attempts)
            )

    def note_outcomes(self, region: RegionInFlight, record: ProgressRecord) -> None:
        """Note what became of a region's source files, now that its record is written."""
        self._note_files(region, record)
        self._note_unread(region, record)
        self._note_read(region)
        self._note_lost(region)

    def _note_files(self, region: RegionInFlight, record: ProgressRecord) -> None:
        pending, unreadable = _pending(record), SourceFileStatus.READ_FAILED
        for files in region.outcome.files.values():
            for file in files:
                status, url = file.coord.status, mask_url(url_of(file.coord))
                is_pending = status is unreadable and url in pending
                if not is_pending:
                    self.report.files[str(status)] += 1
                if status is not SourceFileStatus.SUCCEEDED:
                    self._note_problem(region, file, status, file.coord.detail, is_pending)
                elif file.coord.detail is not None and not file.is_kept:
                    self._note_remark(file.coord.detail, url)

    def _note_read(self, region: RegionInFlight) -> None:
        """Note what is worth knowing of how files were read, of each once for all variables."""
        found = {
            (remark, mask_url(url_of(receipt.files[at].coord))): None
            for receipt in region.outcome.receipts.values()
            for at, remarks in receipt.remarks.items()
            for remark in remarks
        }
        for remark, url in found:
            self._note_remark(remark, url)

    def _note_lost(self, region: RegionInFlight) -> None:
        """Note the values that transformations made missing."""
        for name, receipt in region.outcome.receipts.items():
            for why, count in receipt.lost.items():
                first, many = self._lost.get((name, why), (region.name, 0))
                self._lost[name, why] = first, many + count

    def note_finals(self, urls: Iterable[str]) -> None:
        """Note the source files whose provisional values gave way to final ones."""
        for url in sorted(urls):
            self._note_remark(FINAL_NOW, url)

    def _note_remark(self, remark: str, url: str) -> None:
        first, many = self._remarks.get(remark, (url, 0))
        self._remarks[remark] = first, many + 1

    def _note_unread(self, region: RegionInFlight, record: ProgressRecord) -> None:
        for group in region.outcome.prepared.groups:
            for name in group.todo:
                known = record.variables[name]
                for at, (is_pending, detail) in known.unread.items():
                    file = region.outcome.receipts[name].files[at]
                    status = file.coord.status.of_unread(detail)
                    is_withdrawn = status is SourceFileStatus.WITHDRAWN
                    if is_withdrawn or record.groups[known.group][at].accepted is not None:
                        continue
                    if not is_pending and status is not file.coord.status:
                        self.report.files[status] += 1
                    told = f"{status} for {name}"
                    self._note_problem(region, file, told, detail, is_pending)

    def _note_problem(
        self,
        region: RegionInFlight,
        file: SourceFile,
        status: str,
        detail: str | None,
        is_pending: bool,
    ) -> None:
        url = mask_url(url_of(file.coord))
        problem = Problem(region.name, url, str(status), detail or "", is_pending)
        self.report.problems.append(problem)
        self.listener(Event("file", region.name, f"{problem.outcome}: {url}"))


class Narrator:
    """Fills a run's report, and tells a listener.

    Parameters
    ----------
    report
        Filled while the run goes on.
    listener
        Called with every event, in the thread of the loop.

    Attributes
    ----------
    files
        Tells what became of source files.
    """

    def __init__(self, report: RunReport, listener: Callable[[Event], None]) -> None:
        self.report = report
        self.listener = listener
        self.files = FileNarrator(report, listener)
        self._not_visible: deque[RegionTimes] = deque(maxlen=MOST_REGIONS)

    def note_skipped(self, region: RegionInFlight) -> None:
        """Note a region of which nothing was to do."""
        self.report.regions_skipped += 1
        self.listener(Event("skipped", region.name))

    def note_submitted(self, regions: Iterable[RegionInFlight]) -> None:
        """Note regions of which something is to do."""
        for region in regions:
            todo = region.outcome.prepared.todo
            self.files.note_unlisted(region)
            self.listener(Event("submitted", region.name, count=len(todo)))

    def note_downloaded(self, region: RegionInFlight, files: LocalFiles) -> None:
        """Note what was downloaded of a group."""
        self.report.nbytes_downloaded += sum(file.nbytes_fetched for file in files.files)
        self.files.note_fetched(region, files.files)
        self._note_spans(region, files.spans)

    def note_uploaded(self, region: RegionInFlight, receipt: Receipt) -> None:
        """Note a variable that is in the store."""
        if receipt.healed is not None:
            self.report.nbytes_healed += sum(file.nbytes_fetched for file in receipt.healed)
            self.files.note_fetched(region, receipt.healed)
        self.report.nbytes_uploaded += receipt.put_nbytes
        self.report.variables_done += 1
        self._note_spans(region, receipt.spans)

    def note_failed(self, region: RegionInFlight, name: str, cause: str) -> None:
        """Note a variable that is given up."""
        self.listener(Event("failed", region.name, f"{name}: {cause}"))

    def note_finished(self, region: RegionInFlight, record: ProgressRecord) -> None:
        """Note a region whose record is written."""
        outcome = region.outcome
        failures = [Failure(region.name, *item) for item in outcome.failures.items()]
        self.report.failures.extend(failures)
        self.report.regions_failed += bool(failures)
        self.report.regions_done += not failures
        self.files.note_outcomes(region, record)
        self.note_gaps(region, record)
        self._note_revised(region, record)
        self._note_times(region, record)
        self._note_written(region, record)
        log.info("region %s: %d done, %d failed", region.name, len(outcome.receipts), len(failures))
        self.listener(Event("region", region.name))

    def note_gaps(self, region: RegionInFlight, record: ProgressRecord) -> None:
        """Note the places of a region that are pending and were not when the run began."""
        known = _pending(region.known)
        for url, names in _pending(record).items():
            new = names - known.get(url, set())
            if new:
                self.report.note_gap(NewGap(region.name, url, sorted(new)))

    def note_quarantined(self, worker: str, cause: str) -> None:
        """Note a worker that was sent away: others read what it could not."""
        note = f"{worker} was retired: it could not read source files that others can ({cause})"
        log.warning("%s", note)
        self.report.notes.append(note)

    def note_published(self, positions: int, label: str | None) -> None:
        """Note how far readers see."""
        self.report.positions_after = positions
        self.report.published_after = label
        if label is not None:
            self.listener(Event("published", label, label))

    def note_visible(self, positions: int) -> None:
        """Note which regions readers see whole since the publication just made."""
        now = utc_now()
        still = []
        for times in self._not_visible:
            if times.extent <= positions:
                times.visible = now
            else:
                still.append(times)
        self._not_visible = deque(still, maxlen=MOST_REGIONS)

    def _note_spans(self, region: RegionInFlight, spans: Iterable[Span]) -> None:
        for span in spans:
            region.seconds += span.seconds
            region.nbytes += span.nbytes
            self.report.spans.append(span)
            self.listener(Event("stage", region.name, span.stage, span.nbytes))

    def _note_written(self, region: RegionInFlight, record: ProgressRecord) -> None:
        """Note what it cost that readers saw a region as it came, once all of it is there."""
        variables = [v for v in record.variables.values() if v.put_nbytes is not None]
        final = sum(receipt.nbytes for v in variables for receipt in v.objects)
        if final and record.is_settled(record.variables):
            times = sum(v.put_nbytes or 0 for v in variables) / final
            budget = f"{region.job.write_budget:g} are allowed"
            note = f"{region.name}: {times:.2f} times its final bytes were written; {budget}"
            self.report.notes.append(note)

    def _note_times(self, region: RegionInFlight, record: ProgressRecord) -> None:
        if region.job.is_static or not region.outcome.receipts:
            return
        times = RegionTimes(
            region=region.name,
            extent=extent_with_data(record),
            submitted=region.submitted,
            recorded=utc_now(),
            source_available=newest_source(record),
        )
        self.report.regions.append(times)
        self._not_visible.append(times)

    def _note_revised(self, region: RegionInFlight, record: ProgressRecord) -> None:
        if region.known is None:
            return
        final = finals(region.known, record)
        self.files.note_finals(final)
        found = revised(region.changed, self.report.positions_before)
        if found is None:
            return
        at, names = found
        labels = region.job.template_ds.get_index(region.job.append_dim)
        last = "static" if at.is_static else str(labels[at.stop - 1])
        self.report.note_revised(Revision(at.label(labels), last, names, bool(final)))


def _is_quiet(remark: str) -> bool:
    """Whether a remark is about what is meant to be so, or what nobody can fix."""
    return remark in (NO_TIME, UNTOLD, FINAL_NOW) or remark.startswith("provisional: ")


def _pending(record: ProgressRecord | None) -> dict[str, set[str]]:
    """Return the variables of which a place is pending, by the URL of its source file."""
    found: dict[str, set[str]] = {}
    if record is None:
        return found
    for name, index in record.pending():
        url = record.groups[record.variables[name].group][index].url
        found.setdefault(url, set()).add(name)
    return found
