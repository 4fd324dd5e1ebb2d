"""From a region job and its record to what is still to do, and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from gridmill.completion import files_to_keep
from gridmill.progress import (
    ObjectReceipt,
    ProgressRecord,
    SourceFileRecord,
    SourceFileStatus,
    VariableRecord,
)
from gridmill.region_job import ProcessResults, RegionJob, SourceFileCoord, locate
from gridmill.sources.download import FileIdentity
from gridmill.stages import SourceFile
from gridmill.structure import decoding, without_append_length
from gridmill.variables import DataVar

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = [
    "Missing",
    "PreparedGroup",
    "PreparedRegion",
    "nothing_missing",
    "prepare_region",
    "results_from_record",
]

# Enough to notice a store that was deleted or rebuilt; `validate` looks at every object.
OBJECTS_SAMPLED = 3


class Missing(Protocol):
    """Gives the keys of those objects that the final store does not hold."""

    def __call__(self, receipts: Sequence[ObjectReceipt], token: str | None = None, /) -> list[str]:
        """Look for objects, in what the token made durable if there is one."""


Ask = Callable[[RegionJob[Any, Any], Sequence[SourceFileCoord]], Mapping[str, FileIdentity | None]]


@dataclass(frozen=True)
class PreparedGroup:
    """Variables of a region that share source files, with what is to do.

    Parameters
    ----------
    variables
        The group.
    files
        Its source files and their places.
    plans
        By variable, the fingerprint of all that determines its bytes.
    todo
        By name, why a variable is to be processed; the others are done.
    kept
        By index, those of the source files that are not to be read again, with what became of
        them: the store has their values of all variables in `todo`.
    """

    variables: tuple[DataVar, ...]
    files: tuple[SourceFile, ...]
    plans: Mapping[str, str]
    todo: Mapping[str, str]
    kept: Mapping[int, SourceFileCoord] = field(default_factory=dict)

    @property
    def files_to_process(self) -> tuple[SourceFile, ...]:
        """The source files, marked where they are not to be read again."""
        return tuple(
            replace(file, coord=self.kept[index], is_kept=True) if index in self.kept else file
            for index, file in enumerate(self.files)
        )


@dataclass(frozen=True)
class PreparedRegion:
    """A region job with its source files, and what of it is still to do.

    Parameters
    ----------
    job
        The region job.
    record
        What is known of the region.
    sizes
        Length of every dim, the append dim's being that of the processing region.
    groups
        Variables that share source files.
    """

    job: RegionJob[Any, Any]
    record: ProgressRecord | None
    sizes: Mapping[str, int]
    groups: tuple[PreparedGroup, ...] = field(default=())

    @property
    def todo(self) -> dict[str, str]:
        """By name of a variable, why it is to be processed."""
        return {name: why for group in self.groups for name, why in group.todo.items()}

    @property
    def n_files(self) -> int:
        """Number of source files that are to be downloaded."""
        return sum(len(group.files) - len(group.kept) for group in self.groups if group.todo)


def prepare_region(
    job: RegionJob[Any, Any],
    record: ProgressRecord | None,
    metadata: Mapping[str, Any],
    missing: Missing,
    ask: Ask | None = None,
    now: Any = None,
) -> PreparedRegion:
    """Find the source files of a region job, and which variables are done.

    Parameters
    ----------
    job
        The region job, with its template.
    record
        What is known of the region.
    metadata
        By variable, its array metadata in the template.
    missing
        Gives the keys of those objects that the final store does not hold.
    ask
        Asks the provider for the identities of source files; None takes those that were absent
        for worth another try.
    now
        The present: files that were absent are judged by it again. None leaves them.

    Raises
    ------
    ValueError
        The author's coordinates do not fit the template.
    """
    groups = []
    ds = job.processing_region_ds()
    sizes = {str(dim): n for dim, n in ds.sizes.items()}
    places = _Places({str(dim): ds.get_index(dim) for dim in ds.dims})
    for variables in job.source_groups(job.data_vars):
        if not variables:
            continue
        files = tuple(_place_files(job, ds, places, variables))
        listed = _Listed(metadata, job, files)
        plans = {v.name: listed.plan(v.name) for v in variables}
        if record is not None and now is not None:
            record = _judged_again(job, record, plans, files, now)
        reasons = _Reasons(job, record, listed, missing, ask)
        todo = {name: why for name, plan in plans.items() if (why := reasons.of(name, plan))}
        kept = reasons.kept([v for v in variables if v.name in todo], sizes)
        groups.append(PreparedGroup(tuple(variables), files, plans, todo, kept))
    return PreparedRegion(job, record, sizes, tuple(groups))


def nothing_missing(receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
    """Believe that the store holds every object, for who only wants what is recorded."""
    return []


def results_from_record(prepared: PreparedRegion, record: ProgressRecord) -> ProcessResults:
    """Give the source files of each variable that is done, with what became of them."""
    return {
        name: _coords_from(record, record.variables[name], group.files)
        for group in prepared.groups
        for name, plan in group.plans.items()
        if name in record.variables
        and record.variables[name].plan == plan
        and record.variables[name].state != "failed"
    }


def _coords_from(
    record: ProgressRecord, variable: VariableRecord, files: Sequence[SourceFile]
) -> list[SourceFileCoord]:
    recorded = record.groups[variable.group]
    return [
        _with_outcome(file.coord, was, variable.unread.get(index))
        for index, (file, was) in enumerate(zip(files, recorded, strict=True))
    ]


def _with_outcome(
    coord: SourceFileCoord, was: SourceFileRecord, unread: tuple[bool, str] | None
) -> SourceFileCoord:
    known = {name: getattr(was, name) for name in ("nbytes", "etag", "last_modified")}
    if unread is not None:
        status = SourceFileStatus.READ_FAILED
        settled = unread[0] or was.accepted is not None
        return replace(coord, status=status, settled=settled, detail=unread[1], **known)
    return replace(coord, status=was.status, settled=was.settled, detail=was.detail, **known)


def _place_files(
    job: RegionJob[Any, Any], ds: xr.Dataset, places: _Places, variables: Sequence[DataVar]
) -> Iterator[SourceFile]:
    dims = {dim for var in variables for dim in var.dims}
    for coord in job.generate_source_file_coords(ds, variables):
        labels = coord.out_loc()
        unknown = sorted(set(labels) - set(ds.dims))
        if unknown:
            raise ValueError(
                f"out_loc() of {coord.get_url()} names dims {unknown} that no variable has"
            )
        place = {dim: places.of(dim, label) for dim, label in labels.items() if dim in dims}
        yield SourceFile(coord, place)


@dataclass(frozen=True)
class _Places:
    """Where labels are; thousands of source files share a few hundred of them."""

    indexes: Mapping[str, pd.Index[Any]]
    known: dict[tuple[str, Hashable], int | slice] = field(default_factory=dict)

    def of(self, dim: str, label: Any) -> int | slice:
        """Find a label, or a slice of labels."""
        if not isinstance(label, Hashable):
            return locate(self.indexes[dim], dim, label)
        if (dim, label) not in self.known:
            self.known[dim, label] = locate(self.indexes[dim], dim, label)
        return self.known[dim, label]


@dataclass
class _Listed:
    """The source files of a group, written out once for all variables that share them."""

    metadata: Mapping[str, Any]
    job: RegionJob[Any, Any]
    files: Sequence[SourceFile]
    texts: dict[int, str] = field(default_factory=dict)

    def plan(self, name: str, record: ProgressRecord | None = None) -> str:
        """Fingerprint what determines a variable's bytes, but for the source files' own bytes.

        With a record, what it would be if the region had the record's end, and its first files.
        """
        first, stop = len(self.files), self.job.region.stop
        if record is not None:
            first, stop = len(record.groups[record.variables[name].group]), record.stop
        if first not in self.texts:
            listed = self.files[:first]
            pairs = [(f.coord.get_url(), repr(sorted(f.place.items()))) for f in listed]
            self.texts[first] = json.dumps(pairs)
        array = without_append_length(decoding(self.metadata[name]), self.job.append_dim)
        region = (self.job.region.start, stop)
        content = json.dumps([array, _versions(), region], sort_keys=True)
        return hashlib.sha256(f"{content[:-1]}, {self.texts[first]}]".encode()).hexdigest()[:16]


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("gridmill", "numcodecs", "zarr")}


@dataclass
class _Reasons:
    """Why variables of one group are to be processed."""

    job: RegionJob[Any, Any]
    record: ProgressRecord | None
    listed: _Listed
    missing: Missing
    ask: Ask | None
    answers: dict[str, FileIdentity | None] = field(default_factory=dict)
    waiting: dict[str, VariableRecord] = field(default_factory=dict)

    def of(self, name: str, plan: str) -> str:
        """Say why a variable is to be processed; empty if it is done."""
        known = None if self.record is None else self.record.variables.get(name)
        if self.record is None or known is None:
            return "not done yet"
        if known.state == "failed":
            return f"failed before: {known.error}"
        grown = known.plan != plan and self._has_grown(self.record, name)
        if known.plan != plan and not grown:
            return "template, source files or libraries changed"
        if self.job.believed_runs is not None and known.run not in self.job.believed_runs:
            return "to be done again"
        why = "the region has grown" if grown else self._of_files(self.record, known)
        if why:
            self.waiting[name] = known
            return why
        return self._of_objects(known)

    def kept(
        self, variables: Sequence[DataVar], sizes: Mapping[str, int]
    ) -> dict[int, SourceFileCoord]:
        """Give the files that none of these variables needs again, with what became of them."""
        known = [self.waiting[var.name] for var in variables if var.name in self.waiting]
        usable = len(known) == len(variables) > 0 and not self._reads_again
        if self.record is None or not usable or len({was.group for was in known}) > 1:
            return {}
        chosen: dict[int, SourceFileCoord] = {}
        for number, (var, was) in enumerate(zip(variables, known, strict=True)):
            coords = self._coords(self.record, was)
            stored = [index for index, coord in enumerate(coords) if self._is_as_it_was(coord)]
            if was.state != "done" or not stored or self._gone(was, was.objects):
                return {}
            keep = files_to_keep(self.job, var, self.listed.files, sizes, stored)
            before = dict(enumerate(coords)) if number == 0 else chosen
            chosen = {index: coord for index, coord in before.items() if index in keep}
        return chosen

    @property
    def _reads_again(self) -> bool:
        return self.job.reads_again or self.job.revalidate

    def _has_grown(self, record: ProgressRecord, name: str) -> bool:
        """Whether a record is that of the region's first positions, and all else is as it was."""
        is_shorter = record.start < record.stop < self.job.region.stop and not self._reads_again
        return is_shorter and self.listed.plan(name, record) == record.variables[name].plan

    def _coords(self, record: ProgressRecord, known: VariableRecord) -> list[SourceFileCoord]:
        """Give the files that a record knows, with what became of them."""
        return _coords_from(record, known, self.listed.files[: len(record.groups[known.group])])

    def _is_as_it_was(self, coord: SourceFileCoord) -> bool:
        if coord.status is not SourceFileStatus.SUCCEEDED:
            return False
        if not self._may_improve(coord):
            return True
        url = coord.get_url()
        return url in self.answers and not _is_new(coord, self.answers[url])

    def _of_files(self, record: ProgressRecord, known: VariableRecord) -> str:
        coords = self._coords(record, known)
        failed = [c for c in coords if c.status.is_failure and not c.settled]
        if failed:
            return f"{len(failed)} source files {failed[0].status}"
        hopeful = [c for c in coords if self._may_improve(c)]
        if not hopeful:
            return ""
        if self.ask is None:
            absent = [c for c in hopeful if c.status is not SourceFileStatus.SUCCEEDED]
            return f"{len(absent)} source files to be asked for again" if absent else ""
        unasked = [c for c in hopeful if c.get_url() not in self.answers]
        self.answers.update(self.ask(self.job, unasked))
        new = [c for c in hopeful if _is_new(c, self.answers[c.get_url()])]
        return f"{len(new)} source files arrived or were revised" if new else ""

    def _may_improve(self, coord: SourceFileCoord) -> bool:
        if coord.status is SourceFileStatus.SUCCEEDED:
            return self.job.revalidate or (self.job.retry_gaps and self.job.asks_for_revisions)
        return not coord.settled or self.job.retry_gaps or self.job.revalidate

    def _of_objects(self, known: VariableRecord) -> str:
        objects = known.objects if self.job.revalidate else _sample(known.objects)
        gone = self._gone(known, objects)
        return f"the store does not hold {gone[0]}" if gone else ""

    def _gone(self, known: VariableRecord, objects: Sequence[ObjectReceipt]) -> list[str]:
        return self.missing(objects) if known.token is None else self.missing(objects, known.token)


def _is_new(coord: SourceFileCoord, answer: FileIdentity | None) -> bool:
    """Whether the provider has a file, and not as it was."""
    if answer is None:
        return False
    if coord.status is SourceFileStatus.NOT_YET_AVAILABLE:
        return True
    return (coord.etag, coord.last_modified) != (answer.etag, answer.last_modified)


def _judged_again(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    plans: Mapping[str, str],
    files: Sequence[SourceFile],
    now: Any,
) -> ProgressRecord:
    """Settle files that were absent and should be there by now: the provider has a gap."""
    groups = list(record.groups)
    ours = {v.group for n, v in record.variables.items() if v.plan == plans.get(n, "")}
    for group in ours:
        groups[group] = tuple(
            replace(was, settled=was.settled or _is_gap(job, was, file, now))
            for was, file in zip(groups[group], files, strict=False)
        )
    return replace(record, groups=tuple(groups))


def _is_gap(job: RegionJob[Any, Any], was: SourceFileRecord, file: SourceFile, now: Any) -> bool:
    return was.status is SourceFileStatus.NOT_YET_AVAILABLE and job.expected(file.coord, now)


def _sample(objects: Sequence[ObjectReceipt]) -> Sequence[ObjectReceipt]:
    step = max(1, len(objects) // OBJECTS_SAMPLED)
    return objects[::step][:OBJECTS_SAMPLED]
