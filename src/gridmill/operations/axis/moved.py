"""The records of regions whose positions move. Pure, but for what a template and jobs give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import url_of
from gridmill.model.files.earlier import Earlier, kept_compactly
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ObjectReceipt, ProgressRecord, Tries, VariableRecord
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.values import SourceFile
from gridmill.planning.prepare import PreparedGroup
from gridmill.planning.source_files.places import positions_filled
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import Moves

__all__ = ["moved_record", "moved_records", "with_objects"]

LATE = "its label arrived late and was inserted; the next update fetches it"
Receipts = Mapping[str, tuple[ObjectReceipt, ...]]


def moved_records(
    archive: Archive, old: Sequence[ProgressRecord], moves: Moves, run: str
) -> list[ProgressRecord]:
    """Return the records of the regions that change, without their objects.

    Parameters
    ----------
    archive
        Its template has the labels that are to be.
    old
        The records of what moves.
    moves
        Where positions move.
    run
        The run that moves them.

    Raises
    ------
    ValueError
        The records do not say what a region was made of, or that not all of it was.
    """
    _check_whole(archive, old)
    known = _Known({record.start: record for record in old}, moves)
    return [
        _moved(archive, archive.job(archive.region_at(start)), known, run)
        for start in range(moves.first, len(archive.index), moves.step)
    ]


def moved_record(
    archive: Archive, start: int, old: Sequence[ProgressRecord], moves: Moves, run: str
) -> ProgressRecord:
    """Return the record of one region that begins at `start`; see `moved_records`."""
    known = _Known({record.start: record for record in old}, moves)
    return _moved(archive, archive.job(archive.region_at(start)), known, run)


def with_objects(
    record: ProgressRecord, receipts: Receipts, step: int, archive: Archive
) -> ProgressRecord:
    """Return a record with the objects that hold its region."""
    lengths = {v.name: v.object_length(archive.append_dim) for v in archive.config.data_vars}

    def of(name: str, known: VariableRecord) -> VariableRecord:
        inside = range(record.start, record.start + step)
        objects = tuple(
            receipt
            for receipt in receipts.get(name, ())
            if int(receipt.key.split("/")[2]) * lengths[name] in inside
        )
        return replace(known, objects=objects, state="done" if objects else "absent")

    return replace(record, variables={n: of(n, v) for n, v in record.variables.items()})


def _check_whole(archive: Archive, old: Sequence[ProgressRecord]) -> None:
    names = {v.name for v in archive.config.data_vars if archive.config.varies(v)}
    for record in old:
        failed = [n for n, v in record.variables.items() if v.state == "failed" or v.holes]
        lacking = sorted(names - record.variables.keys())
        if failed or lacking or record.under_way:
            why = ", ".join(sorted({*failed, *lacking, *record.under_way}))
            raise ValueError(
                f"the region from position {record.start} on is not whole ({why}): run gridmill "
                "update, or backfill, first; nothing was written"
            )


@dataclass(frozen=True)
class _Was:
    """What is recorded of a source file for a variable, and in which record."""

    file: SourceFileRecord
    unread: tuple[bool, str] | None
    tries: Tries | None
    record: ProgressRecord


@dataclass(frozen=True)
class _Known:
    """What records say of positions, before they move."""

    records: Mapping[int, ProgressRecord]
    moves: Moves

    def record_at(self, position: int) -> ProgressRecord | None:
        """Return the record of the region that held a position."""
        return self.records.get(position // self.moves.step * self.moves.step)

    def files_at(self, name: str, url: str, position: int) -> list[_Was]:
        """Return what became of a source file at a position, once for each time it is listed."""
        record = self.record_at(position)
        if record is None or name not in record.variables:
            return []
        variable = record.variables[name]
        return [
            _Was(file, variable.unread.get(index), variable.tries.get(index), record)
            for index, file in enumerate(record.groups[variable.group])
            if file.url == url and file.start <= position - record.start < file.stop
        ]

    def behind(self, region: Region) -> list[ProgressRecord]:
        """Return the records of the regions that the positions of a region come from."""
        sources = self.moves.sources[region.start : region.stop]
        found = (self.record_at(int(at)) for at in sources if at >= 0)
        by_start = {record.start: record for record in found if record is not None}
        return [by_start[start] for start in sorted(by_start)]


@dataclass(frozen=True)
class _Runs:
    """The runs that made something of a region, of all the records that it comes from."""

    behind: Sequence[ProgressRecord]

    @cached_property
    def all(self) -> tuple[tuple[str, str], ...]:
        """By name, which begins with the time."""
        return tuple(sorted({run for record in self.behind for run in record.runs}))

    def number(self, before: int | None, record: ProgressRecord) -> int | None:
        """Return the number of a run that a record has by another one."""
        if before is None or not 0 <= before < len(record.runs):
            return None
        return self.all.index(record.runs[before])

    def earlier(
        self, record: ProgressRecord, name: str, was: SourceFileRecord | None, at: slice
    ) -> Iterator[Earlier]:
        """Yield what a variable held before: of a source file, which is now at; or without one."""
        place = ("", 0, 0) if was is None else (was.url, was.start, was.stop)
        for one in record.history:
            by = self.number(one.by, record)
            if name in one.variables and one.place == place and by is not None:
                run = self.number(one.run, record)
                yield replace(one, variables=(name,), start=at.start, stop=at.stop, run=run, by=by)


@dataclass
class _Files:
    """The source files of one variable of a region, with what became of them."""

    files: list[SourceFileRecord] = field(default_factory=list)
    unread: dict[int, tuple[bool, str]] = field(default_factory=dict)
    tries: dict[int, Tries] = field(default_factory=dict)
    times: Counter[tuple[str, int]] = field(default_factory=Counter)
    earlier: list[Earlier] = field(default_factory=list)


def _moved(archive: Archive, job: RegionJob[Any, Any], known: _Known, run: str) -> ProgressRecord:
    prepared = prepare_recorded(archive, job, None)
    behind = known.behind(job.region)
    runs, history = _Runs(behind), list[Earlier]()
    groups: dict[tuple[SourceFileRecord, ...], int] = {}
    variables: dict[str, VariableRecord] = {}
    for group in prepared.groups:
        for name in group.fingerprints:
            found = _files_of(job, group, name, known, runs)
            history += found.earlier
            number = groups.setdefault(tuple(found.files), len(groups))
            variables[name] = VariableRecord(
                state="done",
                group=number,
                fingerprint=group.fingerprints[name],
                unread=found.unread,
                tries=found.tries,
                run=run,
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                **_made_by([r.variables[name] for r in behind if name in r.variables]),
            )
    return ProgressRecord(
        dataset_id=archive.config.dataset_id,
        start=job.region.start,
        stop=job.region.stop,
        groups=tuple(groups),
        variables=variables,
        runs=runs.all,
        history=kept_compactly(history),
    )


def _files_of(
    job: RegionJob[Any, Any], group: PreparedGroup, name: str, known: _Known, runs: _Runs
) -> _Files:
    found = _Files()
    for before in runs.behind:
        found.earlier += runs.earlier(before, name, None, slice(0, 0))
    for index, file in enumerate(group.files):
        at = positions_filled(job, file)
        was = _was(job, file, name, known, found.times)
        if was is None:
            absent = SourceFileStatus.NOT_YET_AVAILABLE
            url = mask_url(url_of(file.coord))
            record = SourceFileRecord(
                url=url, start=at.start, stop=at.stop, status=absent, settled=True, detail=LATE
            )
        else:
            number = runs.number(was.file.run, was.record)
            record = replace(was.file, start=at.start, stop=at.stop, run=number)
            found.earlier += runs.earlier(was.record, name, was.file, at)
            found.unread.update({} if was.unread is None else {index: was.unread})
            found.tries.update({} if was.tries is None else {index: was.tries})
        found.files.append(record)
    return found


def _was(
    job: RegionJob[Any, Any],
    file: SourceFile,
    name: str,
    known: _Known,
    times: Counter[tuple[str, int]],
) -> _Was | None:
    """Find what became of a source file; None if all that it fills came late."""
    at, start = positions_filled(job, file), job.region.start
    filled = known.moves.sources[max(at.start + start, 0) : max(at.stop + start, 0)]
    before = [int(position) for position in filled if position >= 0]
    url = mask_url(url_of(file.coord))
    for position in before:
        listed = known.files_at(name, url, position)
        if listed:
            time = times[url, position]
            times[url, position] += 1
            return listed[min(time, len(listed) - 1)]
    if before and any(known.record_at(position) is not None for position in before):
        raise ValueError(
            f"no record says what became of {url} for {name}, which fills position {before[0]}: "
            "run gridmill update or backfill first, so that the records name today's source files; "
            "nothing was written"
        )
    return None


def _made_by(before: Sequence[VariableRecord]) -> dict[str, Any]:
    """Return the lowest epochs and version, and the libraries, under which values were made.

    Values are unproven where some were.
    """
    known = [variable.epochs for variable in before if variable.epochs is not None]
    names = {name for epochs in known for name in epochs}
    versions = [variable.version for variable in before if variable.version is not None]
    libraries = next((v.libraries for v in reversed(before) if v.libraries is not None), None)
    return {
        "epochs": {
            name: min(epochs[name] for epochs in known if name in epochs) for name in sorted(names)
        }
        or None,
        "version": min(versions, default=None),
        "unproven": any(variable.unproven for variable in before) or None,
        "libraries": libraries,
    }
