"""From a region job and its record to what is still to do, and why.

What a variable's region was made of is its fingerprint, a mapping with

- ``array``: hash of the array metadata that decode its values;
- ``stop``: the region's end;
- ``places``: hash of the places that its source files fill, in order;
- ``addresses``: hash of the source files' addresses.

A record is believed while the first three are as they are today. Another address of the file that
fills a place does not make it another file: it is told, and so are raised epochs (see
`gridmill.model.epochs`) and the dataset's raised version. Releases of libraries are recorded only.

Records of gridmill 0.1.0 have a hash of all that and of the versions of its libraries, which nobody
can compute any more. Such a record is believed where the archive's own array metadata are today's,
and so are the source files that it lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from gridmill.authoring.region_job import (
    ProcessResults,
    RegionJob,
    SourceFileCoord,
    as_slice,
    locate,
)
from gridmill.model.records import (
    ObjectReceipt,
    ProgressRecord,
    SourceFileRecord,
    SourceFileStatus,
    VariableRecord,
)
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.footprint import files_to_keep
from gridmill.sources.fetch.download import FileIdentity, mask_url
from gridmill.stores.structure import decoding, without_append_length

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = [
    "Missing",
    "PreparedGroup",
    "PreparedRegion",
    "fits",
    "nothing_missing",
    "positions_filled",
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
    fingerprints
        By variable, what it is made of.
    todo
        By name, why a variable is to be processed; the others are done.
    kept
        By index, those of the source files that are not to be read again, with what became of
        them: the store has their values of all variables in `todo`.
    believed
        The variables whose records were believed without a fingerprint.
    """

    variables: tuple[DataVar, ...]
    files: tuple[SourceFile, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]
    todo: Mapping[str, str]
    kept: Mapping[int, SourceFileCoord] = field(default_factory=dict)
    believed: frozenset[str] = frozenset()

    def believes(self, name: str, known: VariableRecord) -> bool:
        """Whether a record of a variable is about what the variable is made of today."""
        if known.fingerprint is None:
            return name in self.believed
        return fits(known.fingerprint, self.fingerprints[name])

    def has_moved(self, name: str, known: VariableRecord) -> bool:
        """Whether its source files had other addresses when a variable was made."""
        theirs, ours = known.fingerprint, self.fingerprints[name]
        return theirs is not None and theirs.get("addresses") != ours["addresses"]

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
    def has_moved(self) -> bool:
        """Whether what is done was made of source files that had other addresses."""
        known = {} if self.record is None else self.record.variables
        return any(
            name in known and name not in group.todo and group.has_moved(name, known[name])
            for group in self.groups
            for name in group.fingerprints
        )

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
    stored: Callable[[], Mapping[str, Any]] = dict,
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
    stored
        Gives the archive's own array metadata by variable, for records without a fingerprint.

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
        listed = _Listed(metadata, job, files, stored)
        changes = {v.name: listed.change(v.name, record) for v in variables}
        if record is not None and now is not None:
            as_it_was = [name for name, change in changes.items() if not change]
            record = _judged_again(job, record, as_it_was, files, now)
        reasons = _Reasons(job, record, listed, missing, ask)
        todo = {name: why for name, change in changes.items() if (why := reasons.of(name, change))}
        kept = reasons.kept([v for v in variables if v.name in todo], sizes)
        fingerprints = {v.name: listed.fingerprint(v.name) for v in variables}
        believed = frozenset(name for name, change in changes.items() if not change)
        groups.append(PreparedGroup(tuple(variables), files, fingerprints, todo, kept, believed))
    return PreparedRegion(job, record, sizes, tuple(groups))


def nothing_missing(receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
    """Believe that the store holds every object, for who only wants what is recorded."""
    return []


def results_from_record(prepared: PreparedRegion, record: ProgressRecord) -> ProcessResults:
    """Give the source files of each variable that is done, with what became of them."""
    return {
        name: _coords_from(record, record.variables[name], group.files)
        for group in prepared.groups
        for name in group.fingerprints
        if name in record.variables
        and group.believes(name, record.variables[name])
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


def positions_filled(job: RegionJob[Any, Any], file: SourceFile) -> slice:
    """Give the positions of the append dim that a source file fills, relative to the region."""
    margin = job.region.start - job.processing_region().start
    place = as_slice(file.place.get(job.append_dim, slice(0, job.region.stop)))
    return slice(place.start - margin, place.stop - margin)


# What of a fingerprint decides whether a record is believed, in words.
DECIDES = {"array": "the array's metadata", "stop": "the region's end", "places": "source files"}


def fits(known: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether two fingerprints are of the same array, region and places of source files.

    Examples
    --------
    >>> fits({"array": "a", "stop": 4, "places": "p", "addresses": "x"},
    ...      {"array": "a", "stop": 4, "places": "p", "addresses": "y"})
    True
    """
    return all(known.get(part) == ours[part] for part in DECIDES)


@dataclass
class _Listed:
    """The source files of a group, written out once for all variables that share them."""

    metadata: Mapping[str, Any]
    job: RegionJob[Any, Any]
    files: Sequence[SourceFile]
    stored: Callable[[], Mapping[str, Any]]
    hashes: dict[tuple[str, int], str] = field(default_factory=dict)

    def fingerprint(self, name: str, first: int | None = None) -> dict[str, Any]:
        """Say what a variable's region is made of; with `first`, of that many source files."""
        many = len(self.files) if first is None else first
        return {
            "array": _hash(self._array(self.metadata[name])),
            "stop": self.job.region.stop,
            "places": self._hash_of("places", many),
            "addresses": self._hash_of("addresses", many),
        }

    def change(self, name: str, record: ProgressRecord | None) -> str:
        """Say in what a record's variable was made of something else; empty if in nothing."""
        known = None if record is None else record.variables.get(name)
        if record is None or known is None:
            return "no record"
        if known.fingerprint is None:
            return self._change_without_fingerprint(name, record)
        ours = self.fingerprint(name)
        changed = [
            told for part, told in DECIDES.items() if known.fingerprint.get(part) != ours[part]
        ]
        return f"{' and '.join(changed)} changed" if changed else ""

    def has_grown(self, name: str, record: ProgressRecord) -> bool:
        """Whether a record is that of the region's first positions, and all else is as it was."""
        known = record.variables[name]
        many = len(record.groups[known.group])
        if known.fingerprint is None:
            is_shorter = record.start < record.stop < self.job.region.stop
            return (
                is_shorter and not self._change_of_archive(name) and self._lists(record, name, many)
            )
        stop = known.fingerprint.get("stop", 0)
        as_shorter = {**self.fingerprint(name, many), "stop": stop}
        return record.start < stop < self.job.region.stop and fits(known.fingerprint, as_shorter)

    def _change_without_fingerprint(self, name: str, record: ProgressRecord) -> str:
        if record.stop < self.job.region.stop:
            return "the region's end changed"
        if not self._lists(record, name, len(self.files)):
            return "source files changed"
        return self._change_of_archive(name)

    def _change_of_archive(self, name: str) -> str:
        array = self.stored().get(name)
        if array is None:
            return "made by gridmill 0.1.0, and nothing published says how it is stored"
        is_same = self._array(array) == self._array(self.metadata[name])
        return "" if is_same else "the array's metadata changed"

    def _lists(self, record: ProgressRecord, name: str, many: int) -> bool:
        """Whether the files that a record lists are the first of ours, and as many."""
        theirs = record.groups[record.variables[name].group]
        ours = [
            (mask_url(file.coord.get_url()), at.start, at.stop)
            for file in self.files[:many]
            for at in (positions_filled(self.job, file),)
        ]
        return [(file.url, file.start, file.stop) for file in theirs] == ours

    def _array(self, array: Mapping[str, Any]) -> dict[str, Any]:
        """Give what of an array's metadata decodes its values, whatever its length."""
        content = without_append_length(decoding(array), self.job.append_dim)
        # zarr writes an empty list of them, Icechunk none.
        return {key: value for key, value in content.items() if key != "storage_transformers"}

    def _hash_of(self, what: str, many: int) -> str:
        if (what, many) not in self.hashes:
            files = self.files[:many]
            if what == "places":
                told = [repr(sorted(file.place.items())) for file in files]
            else:
                told = [file.coord.get_url() for file in files]
            self.hashes[what, many] = _hash(told)
        return self.hashes[what, many]


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


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

    def of(self, name: str, change: str) -> str:
        """Say why a variable is to be processed; empty if it is done."""
        known = None if self.record is None else self.record.variables.get(name)
        if self.record is None or known is None:
            return "not done yet"
        if known.state == "failed":
            return f"failed before: {known.error}"
        grown = bool(change) and self.listed.has_grown(name, self.record)
        if change and not grown:
            return change
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
    as_it_was: Sequence[str],
    files: Sequence[SourceFile],
    now: Any,
) -> ProgressRecord:
    """Settle files that were absent and should be there by now: the provider has a gap."""
    groups = list(record.groups)
    ours = {record.variables[name].group for name in as_it_was}
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
