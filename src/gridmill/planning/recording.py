"""From what a region's tasks returned to its progress record. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Literal

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_expected
from gridmill.authoring.source_file import url_of
from gridmill.model.epochs import FIRST, REGRIDDING
from gridmill.model.fields.statistics import noted
from gridmill.model.files.earlier import Earlier, kept_compactly
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import is_other
from gridmill.model.records import ObjectReceipt, ProgressRecord, Tries, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.values import Receipt, SourceFile
from gridmill.planning.pending import tried
from gridmill.planning.prepare import PreparedGroup, PreparedRegion
from gridmill.planning.reading_code import reading_code, version_of
from gridmill.planning.revisions import earlier_versions
from gridmill.planning.source_files.before import SaidBefore
from gridmill.planning.source_files.outcomes import (
    NOTHING,
    awaited_longer,
    held_for,
    without_unused_groups,
)
from gridmill.planning.source_files.places import positions_filled
from gridmill.planning.source_files.rhythm import WAITS
from gridmill.sources.fetch.download import mask_url

__all__ = ["RegionOutcome", "extent_with_data", "newest_source", "record_outcome"]


@dataclass
class RegionOutcome:
    """What a region's tasks returned so far.

    Attributes
    ----------
    prepared
        What was to be done.
    files
        By index of the group, its source files as the download task found them.
    receipts
        By variable. Each has the source files as its own chain found them: another chain of
        the group may have downloaded again, at another moment.
    failures
        By variable, the cause.
    """

    prepared: PreparedRegion
    files: dict[int, tuple[SourceFile, ...]] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def record_outcome(
    outcome: RegionOutcome, *, dataset_id: str, run: str, now: Any
) -> ProgressRecord:
    """Return the region's record: what was known of it, with what this run did.

    Parameters
    ----------
    outcome
        Variables that were to be processed and have neither a receipt nor a failure are left
        out: their objects in the store may be of either kind by now.
    dataset_id, run
        Names of the dataset and of the run.
    now
        The present, as a label of the append dim, for `RegionJob.expected`.
    """
    job = outcome.prepared.job
    before = outcome.prepared.record
    groups = list(before.groups) if before else []
    variables = _untouched(outcome)
    # Variables of one group may be done by several runs, from the same files.
    numbers = {files: number for number, files in enumerate(groups)}
    runs = _runs(before, run)
    by = [name for name, _ in runs].index(run)
    history: list[Earlier] = []
    for group, name, files in _done(outcome, now, by):
        if files not in numbers:
            numbers[files] = len(groups)
            groups.append(files)
        variables[name] = replace(
            _variable_record(outcome, group, name, files, now),
            group=numbers[files],
            run=run,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        history.extend(earlier_versions(before, name, variables[name], files, by))
    under_way = _under_way(outcome, variables)
    groups, variables, under_way = without_unused_groups(groups, variables, under_way)
    # Variables that the job does not know may reach further.
    others = variables.keys() - {var.name for var in job.data_vars}
    stop = max(job.region.stop, before.stop) if before and others else job.region.stop
    return ProgressRecord(
        dataset_id=dataset_id,
        start=job.region.start,
        stop=stop,
        groups=tuple(groups),
        variables=variables,
        under_way=under_way,
        runs=runs,
        history=kept_compactly((*(before.history if before else ()), *history)),
        extra=before.extra if before else {},
    )


def _runs(before: ProgressRecord | None, run: str) -> tuple[tuple[str, str], ...]:
    """Return the runs that made something of a region, with this one."""
    known = before.runs if before else ()
    is_known = any(name == run for name, _ in known)
    return known if is_known else (*known, (run, _libraries()["gridmill"]))


def _done(
    outcome: RegionOutcome, now: Any, run: int
) -> Iterator[tuple[PreparedGroup, str, tuple[SourceFileRecord, ...]]]:
    """Yield the variables with a receipt or a failure, with their group and its files' records."""
    said = SaidBefore.by(outcome.prepared.record)
    records: dict[int, tuple[SourceFileRecord, ...]] = {}
    for index, group in enumerate(outcome.prepared.groups):
        for name in group.todo:
            if name not in outcome.receipts and name not in outcome.failures:
                continue
            seen = _files_seen(outcome, index, name)
            if id(seen) not in records:
                job = outcome.prepared.job
                records[id(seen)] = tuple(
                    said.kept_with(_file_record(job, group, file, now, run), file) for file in seen
                )
            yield group, name, records[id(seen)]


def newest_source(record: ProgressRecord) -> str | None:
    """Return when the newest of a region's source files was there, by its Last-Modified.

    ISO 8601, UTC; None if the provider names no time.
    """
    times = [
        time
        for file in _succeeded(record)
        if file.last_modified and (time := _http_date(file.last_modified)) is not None
    ]
    return max(times).isoformat(timespec="milliseconds") if times else None


def extent_with_data(record: ProgressRecord) -> int:
    """Return how far the archive must be published for readers to see all data of a region."""
    region = record.region
    ends = (region.clip(file.start, file.stop).stop for file in _succeeded(record))
    return region.start + max(ends, default=0)


def _succeeded(record: ProgressRecord) -> Iterator[SourceFileRecord]:
    for file in (file for group in record.groups for file in group):
        if file.status is SourceFileStatus.SUCCEEDED:
            yield file


def _http_date(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _untouched(outcome: RegionOutcome) -> dict[str, VariableRecord]:
    """Return the variables that were not to be processed; those believed get their fingerprint."""
    prepared = outcome.prepared
    if prepared.record is None:
        return {}
    known = {n: v for n, v in prepared.record.variables.items() if n not in prepared.todo}
    for group in prepared.groups:
        for name in group.believed & known.keys():
            if known[name].fingerprint is None:
                known[name] = replace(known[name], fingerprint=group.fingerprints[name])
    return known


def _files_seen(outcome: RegionOutcome, index: int, name: str) -> tuple[SourceFile, ...]:
    receipt = outcome.receipts.get(name)
    return outcome.files.get(index, ()) if receipt is None else receipt.files


def _file_record(
    job: RegionJob[Any, Any], group: PreparedGroup, file: SourceFile, now: Any, run: int
) -> SourceFileRecord:
    coord = file.coord
    at = positions_filled(job, file)
    is_overdue = coord.status in NOTHING and any(
        is_expected(job, coord, var, now) for var in group.variables
    )
    is_overdue = is_overdue and coord.detail != WAITS
    if is_overdue and coord.status is SourceFileStatus.READ_FAILED:
        is_overdue = not any(
            job.holds_extent(coord, source) for var in job.data_vars for source in var.sources
        )
    url, has_come = mask_url(url_of(coord)), coord.status is SourceFileStatus.SUCCEEDED
    return SourceFileRecord(
        url=url,
        start=at.start,
        stop=at.stop,
        status=coord.status,
        settled=coord.settled or is_overdue,
        nbytes=coord.nbytes,
        etag=coord.etag,
        last_modified=coord.last_modified,
        checksum=coord.checksum,
        index=coord.index,
        fetched_from=None if coord.fetched_from == url else coord.fetched_from,
        detail=coord.detail,
        provisional=coord.not_final if has_come else None,
        arrived=file.arrived if has_come else None,
        run=run if has_come and file.arrived else None,
    )


def _variable_record(
    outcome: RegionOutcome,
    group: PreparedGroup,
    name: str,
    files: Sequence[SourceFileRecord],
    now: Any,
) -> VariableRecord:
    fingerprint = group.fingerprints[name]
    receipt = outcome.receipts.get(name)
    if receipt is None:
        error = outcome.failures[name]
        return VariableRecord(state="failed", group=0, fingerprint=fingerprint, error=error)
    unread = _unread(outcome.prepared.job, group, receipt, files, now)
    counts = name in group.spent
    objects, token = receipt.objects, receipt.token
    kept = _known_before(outcome.prepared.record, name)
    holes = _holes(receipt, outcome.prepared.record, kept, files)
    if not objects:  # no source file had it: what the store holds of it stays
        objects, token = (kept.objects, kept.token) if kept else ((), None)
    elif kept is not None and holes:
        objects = _with_lost(objects, kept.objects, holes)
    state: Literal["done", "absent"] = "done" if objects else "absent"
    return VariableRecord(
        state=state,
        group=0,
        fingerprint=fingerprint,
        objects=objects,
        holes=holes,
        unread=unread,
        tries=_tries(outcome.prepared, name, files, unread, now),
        token=token,
        statistics=_statistics(receipt, kept, objects),
        spent=group.spent.get(name),
        put_nbytes=((kept and kept.put_nbytes) or 0) + receipt.put_nbytes if counts else None,
        **_made_by(outcome, receipt, kept),
    )


def _statistics(
    receipt: Receipt, kept: VariableRecord | None, objects: Sequence[ObjectReceipt]
) -> Sequence[Any] | None:
    """Return the statistics of what the store holds, also where nothing was put."""
    if receipt.objects:
        return noted(receipt.statistics, objects)
    return None if kept is None else kept.statistics


def _holes(
    receipt: Receipt,
    before: ProgressRecord | None,
    kept: VariableRecord | None,
    files: Sequence[SourceFileRecord],
) -> tuple[str, ...]:
    """Return the keys of recorded objects whose published values are lost, see `VariableRecord`.

    What lacks only files that never gave anything is none, nor what lacks accepted ones.
    """
    lacking = [
        file
        for index, file in enumerate(files)
        if file.status is not SourceFileStatus.SUCCEEDED or index in receipt.unread
    ]
    if before is None or kept is None or all(file.accepted is not None for file in lacking):
        return ()
    if not receipt.objects:
        return kept.holes
    was_read = {
        file.url
        for index, file in enumerate(before.groups[kept.group])
        if file.status is SourceFileStatus.SUCCEEDED and index not in kept.unread
    }
    is_lost = any(file.url in was_read for file in lacking)
    possible = {known.key for known in kept.objects} if is_lost else set(kept.holes)
    return tuple(key for key in receipt.holes if key in possible)


def _with_lost(
    new: Sequence[ObjectReceipt], before: Sequence[ObjectReceipt], holes: Sequence[str]
) -> tuple[ObjectReceipt, ...]:
    """Return new receipts, but those before for what is lost: no receipt covers a hole."""
    lost = {receipt.key: receipt for receipt in before if receipt.key in holes}
    return tuple(lost.get(receipt.key, receipt) for receipt in new)


def _made_by(
    outcome: RegionOutcome, receipt: Receipt, kept: VariableRecord | None
) -> dict[str, Any]:
    """Return epochs, version and libraries, the lowest where earlier values of the region stay."""
    epochs, version = dict(receipt.epochs), type(outcome.prepared.job).version
    all_arrived = all(f.coord.status is SourceFileStatus.SUCCEEDED for f in receipt.files)
    is_all_new = all_arrived and not receipt.unread and not any(f.is_kept for f in receipt.files)
    if kept is not None and kept.state == "done" and not is_all_new:
        before = dict.fromkeys(epochs, FIRST) if kept.epochs is None else kept.epochs
        epochs |= {name: min(epoch, epochs.get(name, epoch)) for name, epoch in before.items()}
        version = min(version, FIRST if kept.version is None else kept.version)
    is_unproven = kept is not None and kept.unproven and not is_all_new
    return {
        "epochs": dict(sorted(epochs.items())),
        "version": version,
        "libraries": _libraries(*(("scipy",) if epochs.keys() & REGRIDDING else ())),
        "unproven": is_unproven or None,
    }


@cache
def _libraries(*others: str) -> dict[str, str]:
    """Return versions; workers may have others that are missing here."""
    known = {name: version_of(name) for name in ("gridmill", "numcodecs", *others, "zarr")}
    return {name: version for name, version in known.items() if version}


def _under_way(
    outcome: RegionOutcome, variables: Mapping[str, VariableRecord]
) -> dict[str, VariableRecord]:
    """Return what was known of the variables that are not made yet: a death must not forget it."""
    before = outcome.prepared.record
    if before is None:
        return {}
    names = {*before.variables, *before.under_way}
    known = {name: before.known_before(name) for name in sorted(names)}
    spent = {name: of for group in outcome.prepared.groups for name, of in group.spent.items()}
    # What is about to be written counts though this run should not live to see it.
    return {
        name: replace(was, spent=spent[name]) if name in spent else was
        for name, was in known.items()
        if was is not None and was.objects
        if name not in variables or variables[name].state == "failed"
    }


def _known_before(record: ProgressRecord | None, name: str) -> VariableRecord | None:
    return None if record is None else record.known_before(name)


def _unread(
    job: RegionJob[Any, Any],
    group: PreparedGroup,
    receipt: Receipt,
    files: Sequence[SourceFileRecord],
    now: Any,
) -> Mapping[int, tuple[bool, str]]:
    """Return what could not be read; past its deadline it holds readers back no longer.

    What a gate held holds them back whatever the time, until somebody decides.
    """
    (var,) = (var for var in job.data_vars if var.name == receipt.variable)

    def is_settled(at: int, cause: str) -> bool:
        coord = receipt.files[at].coord
        became = coord.status.of_unread(cause)
        if became in (SourceFileStatus.HELD, SourceFileStatus.WITHDRAWN):
            return became is SourceFileStatus.WITHDRAWN
        holds = any(job.holds_extent(coord, source) for source in var.sources)
        return is_expected(job, coord, var, now) and not holds

    unread = {at: (is_settled(at, cause), cause) for at, cause in receipt.unread.items()}
    own = awaited_longer(job, group.variables, var, receipt.files, files, now)
    return held_for(var, files, {**own, **unread})


def _tries(
    prepared: PreparedRegion,
    name: str,
    files: Sequence[SourceFileRecord],
    unread: Mapping[int, tuple[bool, str]],
    now: Any,
) -> dict[int, Tries]:
    """Return what is pending of a variable, or provisional, with one more try in vain."""
    before = _tries_before(prepared.record, name)
    others = _with_other_content(prepared.record, name, files)
    read_failed = SourceFileStatus.READ_FAILED
    unusable = {i for i, file in enumerate(files) if i in unread or file.status is read_failed}
    code = reading_code(type(prepared.job)) if unusable else ""
    return {
        index: tried(
            before.get((file.url, index not in unusable and file.is_provisional)),
            now,
            code if index in unusable else "",
            is_other=file.url in others,
        )
        for index, file in enumerate(files)
        if (unread[index][0] if index in unread else _is_tried_again(file))
    }


def _is_tried_again(file: SourceFileRecord) -> bool:
    """Whether a file is asked for at growing intervals, though no reader waits for it."""
    return file.is_provisional or (file.settled and file.status in NOTHING)


def _tries_before(record: ProgressRecord | None, name: str) -> dict[tuple[str, bool], Tries]:
    """Return what is known of tries, by URL and by whether the file was read as a provisional."""
    known = _known_before(record, name)
    if record is None or known is None:
        return {}
    found = {}
    for index, tries in known.tries.items():
        file = record.groups[known.group][index]
        found[file.url, index not in known.unread and file.is_provisional] = tries
    return found


def _with_other_content(
    record: ProgressRecord | None, name: str, files: Sequence[SourceFileRecord]
) -> set[str]:
    """Return the URLs of what failed before with other content: no file failed twice."""
    known = _known_before(record, name)
    if record is None or known is None:
        return set()
    were = {file.url: file.checksum for file in record.groups[known.group]}
    return {file.url for file in files if is_other(were.get(file.url), file.checksum)}
