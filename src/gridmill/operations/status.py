"""What an archive holds, what of it may still change, and whether it is as far as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_expected, where_offered
from gridmill.model.display_hook import card_of
from gridmill.model.epochs import made_earlier
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord
from gridmill.model.region import regions_of
from gridmill.model.reports.run_report import BULKY, RunReport
from gridmill.model.settled import SourceFileStatus
from gridmill.operations.proving.known import OVERDUE, read_proofs
from gridmill.operations.proving.turns import ProofCounts
from gridmill.planning.source_files.places import positions_filled
from gridmill.publishing.extent import say_unsettled, why_unsettled
from gridmill.sources.listings.listings import ListingCost
from gridmill.stores.state.claims import PUBLISHING, Claim, current_claims

__all__ = ["ArchiveStatus", "IncompleteRegion", "MissingFile", "ProvisionalFile", "read_status"]

# For people and monitors; a region of an ensemble may lack thousands.
MOST_FILES_NAMED = 100
# Each is an object to be read, and a monitor asks every few minutes.
MOST_RUNS_TOLD = 5


@dataclass(frozen=True)
class MissingFile:
    """A source file that is not settled, and what is wrong with it."""

    url: str
    why: str


@dataclass(frozen=True)
class ProvisionalFile:
    """A source file whose values readers see, and that is asked for until it is final.

    Parameters
    ----------
    url, why
        Its address, credentials masked, and why it is not final.
    since
        When it was read (ISO 8601, UTC, to the minute); empty if no record says.
    due
        When an update that does not look back so far asks for the final one, likewise.
    """

    url: str
    why: str
    since: str
    due: str


@dataclass(frozen=True)
class IncompleteRegion:
    """A region that may still change.

    Parameters
    ----------
    region
        Label of its first position.
    why
        In a few words.
    missing, files
        How many source files are not settled, and the first of them.
    """

    region: str
    why: str
    missing: int
    files: tuple[MissingFile, ...]


@dataclass(frozen=True)
class ArchiveStatus:
    """What an archive holds.

    Parameters
    ----------
    dataset_id, store
        What it is and where.
    positions, first, last
        What readers see along the append dim.
    age_s
        Seconds from the last label that readers see to the present.
    expected_last
        The last label that readers should see by now, as far as the dataset says when its source
        files are there; None if it does not.
    late
        How many positions readers should see and do not; None if the dataset does not say.
    regions
        Regions with a record.
    incomplete
        Those that may still change.
    gaps
        Source files that are settled without data: the provider never had them, they cannot be
        read, or an operator accepted them.
    pending
        Those of them that nobody accepted: updates try them again.
    pending_since, pending_due
        Since when readers lack the first of these, and when an update tries one of them next
        (ISO 8601, UTC); empty where records do not say.
    held
        Source files of which a gate holds a place that nobody decided on.
    provisional, provisional_files
        How many source files are provisional, and the first of them: readers see their values, and
        updates ask for the final ones.
    proofs
        How many regions `gridmill prove` found to be what their source files give; None where it
        was never used.
    running
        The runs that hold a lease now, or died holding one.
    made_earlier
        Number of regions, by the epoch or version under which they were made and that was raised
        since; they stay as they are.
    last_run
        The report of the last run, without what is bulky of it.
    last_runs
        The last ones in brief, the latest first; see `RunReport.brief`.
    remarks
        How the archive differs from what the code declares, and why it would not be made today,
        a line each.
    unproven
        Regions with values that were taken over from another program, see `gridmill adopt`.
    listings
        What it cost to list the provider's folders.
    """

    dataset_id: str
    store: str
    positions: int
    first: str | None
    last: str | None
    age_s: float | None
    expected_last: str | None
    late: int | None
    regions: int
    incomplete: tuple[IncompleteRegion, ...]
    gaps: int
    pending: int
    running: tuple[Claim, ...]
    last_run: dict[str, Any] | None
    last_runs: tuple[dict[str, Any], ...] = ()
    made_earlier: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    pending_since: str = ""
    pending_due: str = ""
    held: int = 0
    provisional: int = 0
    provisional_files: tuple[ProvisionalFile, ...] = ()
    unproven: int = 0
    listings: ListingCost = field(default_factory=ListingCost)
    proofs: ProofCounts | None = None

    def _repr_html_(self) -> str:
        return card_of(self)

    def is_behind(self, max_age: timedelta | None = None) -> bool:
        """Whether readers should see more, or what they see is older than `max_age`."""
        if self.late:
            return True
        if max_age is None:
            return False
        return self.age_s is None or self.age_s > max_age.total_seconds()


def read_status(
    archive: Archive, now: Any, grace: timedelta, overdue: timedelta = OVERDUE
) -> ArchiveStatus:
    """Read what an archive holds.

    Parameters
    ----------
    archive
        Its template reaches up to now.
    now
        The present, as a label of the append dim.
    grace
        How long an update may take: what is expected for less is not late.
    overdue
        After which a region should be proven again.
    """
    store, config, index = archive.store, archive.config, archive.index
    dim, varying = config.append_dim, store.progress()
    names = [var.name for var in config.data_vars if dim in var.dims]
    positions = store.published_length(dim) or 0
    labels = store.open_dataset(chunks=None).get_index(dim) if positions else pd.Index([])
    records = [where_offered(archive.job(record.region), record) for record in varying]
    expected = _expected_length(archive, positions, now - grace)
    reports = list(store.tracker.reports.past(MOST_RUNS_TOLD))
    provisional = _provisional(records)
    since, due = _first_tries(records)
    return ArchiveStatus(
        dataset_id=config.dataset_id,
        store=store.url,
        positions=positions,
        first=str(labels[0]) if positions else None,
        last=str(labels[-1]) if positions else None,
        age_s=(now - labels[-1]).total_seconds() if positions else None,
        expected_last=str(index[expected - 1]) if expected else None,
        late=None if expected is None else max(0, expected - positions),
        regions=len(records),
        incomplete=tuple(
            _incomplete(record, names, index) for record in records if not record.is_settled(names)
        ),
        gaps=sum(len(_accepted(record) | _pending(record)) for record in records),
        pending=sum(len(_pending(record)) for record in records),
        pending_since=since,
        pending_due=due,
        running=tuple(c for c in current_claims(store.state) if PUBLISHING not in c.positions),
        last_run=_without_bulk(reports[0]) if reports else None,
        last_runs=tuple(report.brief() for report in reports),
        made_earlier=made_earlier(records, _version(archive)),
        remarks=config.remarks,
        held=sum(len(_urls(record, record.held_open())) for record in records),
        provisional=len(provisional),
        provisional_files=tuple(provisional[:MOST_FILES_NAMED]),
        unproven=sum(any(v.unproven for v in r.variables.values()) for r in records),
        listings=config.listings.cost,
        proofs=read_proofs(archive, varying, overdue=overdue, only_if_any=True),
    )


def _version(archive: Archive) -> int:
    return archive.job_class.version


def _expected_length(archive: Archive, published: int, now: Any) -> int | None:
    """Return how far all source files are expected by now; None if the dataset never says."""
    job_class = archive.job_class
    delays = (job_class.publication_delay, *(v.publication_delay for v in archive.config.data_vars))
    if job_class.expected is RegionJob.expected and not any(delay is not None for delay in delays):
        return None
    length = archive.config.region_length
    total = len(archive.index)
    for region in reversed(list(regions_of(total, length))):
        if region.stop <= published:
            break
        expected = np.flatnonzero(_are_expected(archive, archive.job(region), now))
        if expected.size:
            return int(region.start + expected[-1] + 1)
    return min(published, total)


def _are_expected(
    archive: Archive, job: RegionJob[Any, Any], now: Any
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say by position of a region whether all its source files should be there."""
    prepared = prepare_recorded(archive, job, None)
    ready, awaited = (np.zeros(len(job.region), bool) for _ in range(2))
    for group in prepared.groups:
        ours = [var for var in group.variables if var.is_essential]
        for file in group.files if ours else ():
            filled = positions_filled(job, file)
            at = job.region.clip(filled.start, filled.stop)
            is_ready = all(is_expected(job, file.coord, var, now) for var in ours)
            (ready if is_ready else awaited)[at] = True
    result: np.ndarray[Any, np.dtype[np.bool_]] = ready & ~awaited
    return result


def _incomplete(
    record: ProgressRecord, names: Sequence[str], index: pd.Index[Any]
) -> IncompleteRegion:
    missing = [MissingFile(*file) for file in record.unsettled_files()]
    at, why = record.start, why_unsettled(record, names)
    return IncompleteRegion(
        # A region of a template that went further than the present one has no label here.
        region=str(index[at]) if at < len(index) else str(at),
        why="" if why is None else say_unsettled(why, names_file=False),
        missing=len(missing),
        files=tuple(missing[:MOST_FILES_NAMED]),
    )


def _pending(record: ProgressRecord) -> set[str]:
    """Return the source files of which a place is pending."""
    return _urls(record, record.pending())


def _without_bulk(report: RunReport) -> dict[str, Any]:
    return {key: value for key, value in report.to_dict().items() if key not in BULKY}


def _first_tries(records: Iterable[ProgressRecord]) -> tuple[str, str]:
    """Return since when the first place is pending, and when the next one is tried again."""
    tries = [
        record.variables[name].tries.get(at) for record in records for name, at in record.pending()
    ]
    known = [one for one in tries if one is not None]
    if not known:
        return "", ""
    return min(one.since for one in known), min(one.due for one in known)


def _provisional(records: Iterable[ProgressRecord]) -> list[ProvisionalFile]:
    """List the provisional source files, each once, the oldest region first."""
    found: dict[str, ProvisionalFile] = {}
    for record in records:
        for name, at in record.provisional():
            variable = record.variables[name]
            file, tries = record.groups[variable.group][at], variable.tries.get(at)
            since, due = (tries.since, tries.due) if tries else ("", "")
            known = found.get(file.url)
            if known is None or since < known.since:
                found[file.url] = ProvisionalFile(file.url, file.provisional or "", since, due)
    return list(found.values())


def _urls(record: ProgressRecord, places: Iterable[tuple[str, int]]) -> set[str]:
    return {record.groups[record.variables[name].group][at].url for name, at in places}


def _accepted(record: ProgressRecord) -> set[str]:
    """Return the source files that somebody accepted as missing, or withdrew."""
    files = (file for group in record.groups for file in group)
    accepted = {f.url for f in files if f.accepted is not None and not _is_there(f)}
    return accepted | _urls(record, record.unread_as(SourceFileStatus.WITHDRAWN))


def _is_there(file: SourceFileRecord) -> bool:
    """Whether a provisional file was accepted as the final one: its values are there."""
    return file.status is SourceFileStatus.SUCCEEDED and file.provisional is not None
