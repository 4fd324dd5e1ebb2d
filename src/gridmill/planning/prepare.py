"""From a region job and its record to what is still to do, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_expected
from gridmill.authoring.source_file import ProcessResults, SourceFileCoord
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.belief import AS_RECORDED, Belief, Missing, asked_together
from gridmill.planning.fingerprint import Listed, fits
from gridmill.planning.pending import with_tries
from gridmill.planning.reasons import Ask, Reasons, with_waiting
from gridmill.planning.source_files.declared import NotOffered
from gridmill.planning.source_files.grouping import files_of, source_groups
from gridmill.planning.source_files.offered import is_offered_of, unlisted
from gridmill.planning.source_files.outcomes import (
    AWAITED_LONGER,
    awaited_longer,
    coords_from,
    declared_provisional,
    held_for,
    with_files,
    with_finals,
)
from gridmill.planning.source_files.places import Places
from gridmill.planning.source_files.rhythm import WAITS, Rhythm, alike

__all__ = ["PreparedGroup", "PreparedRegion", "prepare_region", "results_from_record"]

Files = tuple[SourceFile, ...]


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
    is_cut
        Whether some of the files that the job lists are of positions at which the provider has none
        of the variables: they are not asked for.
    waits
        By variable in `todo` and index, the files that are not to be fetched yet, and why: see
        `gridmill.planning.source_files.rhythm`.
    spent
        By variable in `todo`, see `VariableRecord.spent`, with what is to do.
    """

    variables: tuple[DataVar, ...]
    files: tuple[SourceFile, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]
    todo: Mapping[str, str]
    kept: Mapping[int, SourceFileCoord] = field(default_factory=dict)
    believed: frozenset[str] = frozenset()
    is_cut: bool = False
    waits: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    spent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

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
    def waiting(self) -> dict[int, str]:
        """By index, the files that are not to be fetched yet, and why."""
        return {at: why for waits in self.waits.values() for at, why in waits.items()}

    @property
    def files_to_process(self) -> tuple[SourceFile, ...]:
        """The source files, marked where they are not to be read again."""
        waiting = {
            index: replace(
                self.files[index].coord, status=SourceFileStatus.NOT_YET_AVAILABLE, detail=why
            )
            for index, why in self.waiting.items()
        }
        kept = {**waiting, **self.kept}
        return tuple(
            replace(file, coord=kept[index], is_kept=True) if index in kept else file
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
    def unlisted(self) -> dict[str, str]:
        """By name of a variable in which nothing says missing, where no source file fills it."""
        groups = ((group.variables, group.files) for group in self.groups)
        found = (unlisted(self.job, variables, files, self.sizes) for variables, files in groups)
        return {name: label for one in found for name, label in one.items()}

    @property
    def n_files(self) -> int:
        """Number of source files that are to be downloaded."""
        return sum(
            len(group.files) - len(group.kept) - len(group.waiting)
            for group in self.groups
            if group.todo
        )


def prepare_region(
    job: RegionJob[Any, Any],
    record: ProgressRecord | None,
    metadata: Mapping[str, Any],
    missing: Missing,
    ask: Ask | None = None,
    now: Any = None,
    stored: Callable[[], Mapping[str, Any]] = dict,
    belief: Belief = AS_RECORDED,
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
        The present: files that were absent are judged by it again, and what is pending is tried
        again when it is due. None leaves them.
    stored
        Gives the archive's own array metadata by variable, for records without a fingerprint.
    belief
        How far the record is believed.

    Raises
    ------
    ValueError
        The author's coordinates do not fit the template, or the source groups do not hold every
        variable once.
    """
    groups: list[PreparedGroup] = []
    ds = job.processing_region_ds()
    sizes = {str(dim): n for dim, n in ds.sizes.items()}
    indexes = {str(dim): ds.get_index(dim) for dim in ds.dims}
    places, not_offered = Places(indexes), NotOffered(job, indexes)
    missing = asked_together(missing, job, record, belief)
    preparation = _Preparation(job, sizes, metadata, missing, ask, now, stored, belief)
    for one in source_groups(job):
        variables = one.variables
        listed_files = tuple(files_of(job, ds, places, one))
        # Nobody ever made those from before all variables of a group begin.
        listed_files = _offered_by(job, variables, listed_files, "valid_from")
        files = tuple(not_offered.without(listed_files))
        group, record = preparation.of(variables, files, record)
        # With another deadline, a variable is made of other files than the rest: at its own time.
        done = {var.name for var in group.variables} - group.todo.keys()
        for names in alike(group.waits) or [[]]:
            groups.append(_only(group, done.union(names)))
            done = set()
    return PreparedRegion(job, record, sizes, tuple(groups))


def _only(group: PreparedGroup, names: Collection[str]) -> PreparedGroup:
    """Return what of a group is of some of its variables."""
    if all(var.name in names for var in group.variables):
        return group
    by_name = ("fingerprints", "todo", "waits", "spent")
    parts: dict[str, Any] = {
        key: {name: value for name, value in getattr(group, key).items() if name in names}
        for key in by_name
    }
    variables = tuple(var for var in group.variables if var.name in names)
    return replace(group, variables=variables, believed=group.believed & frozenset(names), **parts)


@dataclass(frozen=True)
class _Preparation:
    """Prepares the groups of a region; parameters as of `prepare_region`."""

    job: RegionJob[Any, Any]
    sizes: Mapping[str, int]
    metadata: Mapping[str, Any]
    missing: Missing
    ask: Ask | None
    now: Any
    stored: Callable[[], Mapping[str, Any]]
    belief: Belief

    def of(
        self,
        variables: Sequence[DataVar],
        files: tuple[SourceFile, ...],
        record: ProgressRecord | None,
    ) -> tuple[PreparedGroup, ProgressRecord | None]:
        """Prepare a group, without the files of which the provider has no variable.

        What was made when these were asked for, too, stays done; where the store has values of it
        that are not read again, only what is late is made.
        """
        still = _offered_by(self.job, variables, files, "valid_from", "valid_until")
        if len(still) == len(files):
            return self._of(variables, files, record)
        if record is not None and any(_has_made(record, v.name, len(files)) for v in variables):
            group, judged = self._of(variables, files, record)
            if not group.todo or self.ask is None:
                return replace(group, is_cut=True), judged
            is_whole = all(_has_made(record, name, len(files)) for name in group.todo)
            if judged is not None and group.kept and is_whole:
                return self._with_late_only(group, judged), judged
        group, record = self._of(variables, still, record)
        return replace(group, is_cut=True), record

    def _with_late_only(self, group: PreparedGroup, record: ProgressRecord) -> PreparedGroup:
        """Ask for no file of which the provider has no variable: what became of it stays."""
        known = record.variables[next(iter(group.todo))]
        outcomes = enumerate(coords_from(record, known, group.files))
        absent = {
            at: coord
            for at, coord in outcomes
            if coord.status is not SourceFileStatus.SUCCEEDED
            if not any(is_offered_of(self.job, var, group.files[at]) for var in group.variables)
        }
        return replace(group, kept={**absent, **group.kept}, is_cut=True)

    def _of(
        self,
        variables: Sequence[DataVar],
        files: tuple[SourceFile, ...],
        record: ProgressRecord | None,
    ) -> tuple[PreparedGroup, ProgressRecord | None]:
        job, now = self.job, self.now
        listed = Listed(self.metadata, job, files, self.stored)
        changes = {v.name: listed.change(v.name, record) for v in variables}
        as_it_was = [name for name, change in changes.items() if not change]
        if record is not None and now is not None:
            known = [v for v in variables if v.name in as_it_was]
            record = _judged_again(job, record, known, listed, now)
            record = _awaited_again(job, record, variables, known, files, now)
            record = _held_again(record, [v for v in known if v.encoding.missing is None])
        reasons = Reasons(job, record, listed, self.missing, self.ask, now, self.belief)
        if job.publish_when == "lead by lead" and self.ask is not None:
            reasons.rhythm = Rhythm(job, variables, files, self.sizes)
        todo = {name: why for name, change in changes.items() if (why := reasons.of(name, change))}
        if record is not None and now is not None:
            done = [name for name in as_it_was if name not in todo]
            in_vain = {name: reasons.in_vain.get(name, []) for name in done}
            record = with_tries(record, done, in_vain, now)
            record = with_waiting(record, [name for name in done if name in reasons.waits], reasons)
        waits = reasons.waiting_files(todo)
        kept = reasons.kept([v for v in variables if v.name in todo], self.sizes)
        fingerprints = {v.name: listed.fingerprint(v.name) for v in variables}
        believed = frozenset(as_it_was)
        if todo and record is not None:
            files = with_finals(files, record, job, now)
        group = PreparedGroup(
            tuple(variables),
            files,
            fingerprints,
            todo,
            kept,
            believed,
            waits=waits,
            spent={name: of for name, of in reasons.spent.items() if name in todo},
        )
        return group, record


def _has_made(record: ProgressRecord, name: str, many: int) -> bool:
    """Whether a record lists so many source files for a variable."""
    known = record.variables.get(name)
    return known is not None and len(record.groups[known.group]) == many


def _offered_by(
    job: RegionJob[Any, Any], variables: Sequence[DataVar], files: Files, *ends: str
) -> Files:
    """Leave out the files of positions at which the provider has none of a group's variables.

    Of `ends`, those that a variable has count; it is offered everywhere if it has none of them.
    """
    if any(all(getattr(var, end) is None for end in ends) for var in variables):
        return files
    return tuple(f for f in files if any(is_offered_of(job, var, f) for var in variables))


def results_from_record(prepared: PreparedRegion, record: ProgressRecord) -> ProcessResults:
    """Return the source files of each variable that is done, with what became of them."""
    return {
        name: coords_from(record, record.variables[name], group.files)
        for group in prepared.groups
        for name in group.fingerprints
        if name in record.variables
        and group.believes(name, record.variables[name])
        and record.variables[name].state != "failed"
    }


def _judged_again(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    variables: Sequence[DataVar],
    listed: Listed,
    now: Any,
) -> ProgressRecord:
    """Settle files that were absent and should be there by now: the provider has a gap.

    And let those that their address calls provisional today be so.
    """
    by_group: dict[int, list[DataVar]] = {}
    for var in variables:
        by_group.setdefault(record.variables[var.name].group, []).append(var)
    for ours in by_group.values():
        were = record.groups[record.variables[ours[0].name].group]
        if not listed.may_be_provisional and all(was.settled for was in were):
            continue
        judged = tuple(
            declared_provisional(_judged(job, ours, was, file, now), file.coord)
            if listed.may_be_provisional
            else _judged(job, ours, was, file, now)
            for was, file in zip(were, listed.files, strict=False)
        )
        if any(one is not was for one, was in zip(judged, were, strict=False)):
            record = with_files(record, [var.name for var in ours], judged)
    return record


def _judged(
    job: RegionJob[Any, Any],
    variables: Sequence[DataVar],
    was: SourceFileRecord,
    file: SourceFile,
    now: Any,
) -> SourceFileRecord:
    is_gap = not was.settled and _is_gap(job, variables, was, file, now)
    return replace(was, settled=True) if is_gap else was


def _awaited_again(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    group: Sequence[DataVar],
    variables: Sequence[DataVar],
    files: Sequence[SourceFile],
    now: Any,
) -> ProgressRecord:
    """Let variables whose deadline is later than that of others wait, and no longer past it.

    What was marked so is judged by the deadlines of today.
    """
    known: dict[str, VariableRecord] = {}
    for var in variables:
        before = record.variables[var.name]
        were = record.groups[before.group]
        rest = {at: of for at, of in before.unread.items() if AWAITED_LONGER not in of[1]}
        own = awaited_longer(job, group, var, files[: len(were)], were, now, before.unread)
        if own or len(rest) < len(before.unread):
            known[var.name] = replace(before, unread={**own, **rest})
    return replace(record, variables={**record.variables, **known}) if known else record


def _held_again(record: ProgressRecord, variables: Sequence[DataVar]) -> ProgressRecord:
    """Let variables in which nothing says missing hold what was settled meanwhile."""
    if not variables:
        return record
    known = dict(record.variables)
    for var in variables:
        before = known[var.name]
        unread = held_for(var, record.groups[before.group], before.unread)
        known[var.name] = replace(before, unread=unread)
    return replace(record, variables=known)


def _is_gap(
    job: RegionJob[Any, Any],
    variables: Sequence[DataVar],
    was: SourceFileRecord,
    file: SourceFile,
    now: Any,
) -> bool:
    if was.status is not SourceFileStatus.NOT_YET_AVAILABLE or was.detail == WAITS:
        return False
    return any(is_expected(job, file.coord, var, now) for var in variables)
