"""Why a variable of a region is to be processed, and which of its source files need not be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_expected
from gridmill.authoring.source_file import SourceFileCoord, address_of, url_of
from gridmill.model.files.versions import identity_of
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.planning.belief import AS_RECORDED, Belief, Missing, objects_looked_at
from gridmill.planning.fingerprint import Listed
from gridmill.planning.pending import is_due
from gridmill.planning.reading_code import reading_code
from gridmill.planning.source_files.footprint import files_to_keep
from gridmill.planning.source_files.offered import is_offered_of
from gridmill.planning.source_files.outcomes import coords_from, with_files
from gridmill.planning.source_files.rhythm import NOT_THERE, WAITS, Rhythm
from gridmill.sources.fetch.download import FileIdentity

__all__ = ["Ask", "Reasons", "with_waiting"]

# A withdrawn place waits for another version of its file, as one that is there does.
NOTHING_TO_TRY = (SourceFileStatus.SUCCEEDED, SourceFileStatus.WITHDRAWN)

Ask = Callable[[RegionJob[Any, Any], Sequence[SourceFileCoord]], Mapping[str, FileIdentity | None]]


@dataclass
class Reasons:
    """Why variables of one group are to be processed."""

    job: RegionJob[Any, Any]
    record: ProgressRecord | None
    listed: Listed
    missing: Missing
    ask: Ask | None
    now: Any = None
    belief: Belief = AS_RECORDED
    answers: dict[str, FileIdentity | None] = field(default_factory=dict)
    # By group of the record, its files with what became of them.
    coords: dict[int, list[SourceFileCoord]] = field(default_factory=dict)
    waiting: dict[str, VariableRecord] = field(default_factory=dict)
    # By variable, the pending source files that were due and asked for in vain.
    in_vain: dict[str, list[int]] = field(default_factory=dict)
    # The variables that are only looked at because something is pending or held.
    pending: set[str] = field(default_factory=set)
    # Where readers see leads one by one: when their shards are written; by variable, the files that
    # wait for that, and what its shards cost with what is to do.
    rhythm: Rhythm | None = None
    waits: dict[str, dict[int, str]] = field(default_factory=dict)
    spent: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def of(self, name: str, change: str) -> str:
        """Say why a variable is to be processed; empty if it is done."""
        why = self._why(name, change)
        if self.rhythm is not None and why and name not in self.spent:
            self._let_wait(self.rhythm, name)
        return why

    def waiting_files(self, todo: Collection[str]) -> dict[str, dict[int, str]]:
        """Return by variable and index the files that wait though the variable is processed.

        What the store has of one of these variables is read again for all of them.
        """
        stored = set().union(*(self._stored(name) for name in todo)) if self.waits else set()
        return {
            name: {at: why for at, why in self.waits.get(name, {}).items() if at not in stored}
            for name in todo
        }

    def _let_wait(
        self, rhythm: Rhythm, name: str, coords: Sequence[SourceFileCoord] = ()
    ) -> frozenset[int]:
        """Choose which of the files that arrived wait, and return those that do not.

        Parameters
        ----------
        rhythm
            Says when shards are written.
        name
            The variable.
        coords
            Its files with what became of them; none where it is reprocessed.
        """
        files = [file.coord for file in self.listed.files]
        stored = self._stored(name)
        still_open = [at for at in range(len(files)) if at not in stored]
        gone = {at for at in still_open if self._is_gone(name, files[at])}
        gone |= {at for at, coord in enumerate(coords) if coord.settled and at not in stored}
        awaited = set(still_open) - gone
        arrived = self._arrived(still_open) if awaited else set(still_open)
        known = None if self.record is None else self.record.known_before(name)
        choice = rhythm.choose(stored, arrived, gone, None if known is None else known.spent)
        # What comes between asking and fetching would not be in the account.
        self.waits[name] = dict.fromkeys(awaited - arrived, NOT_THERE)
        self.waits[name] |= dict.fromkeys(choice.waits, WAITS)
        self.spent[name] = choice.spent
        return frozenset(arrived - choice.waits)

    def _is_gone(self, name: str, coord: SourceFileCoord) -> bool:
        """Whether nobody awaits a file for a variable any more."""
        return self.now is not None and is_expected(
            self.job, coord, self.listed.var(name), self.now
        )

    def _arrived(self, indexes: Sequence[int]) -> set[int]:
        """Ask which of some files the provider has."""
        assert self.ask is not None
        coords = [self.listed.files[at].coord for at in indexes]
        unasked = [coord for coord in coords if url_of(coord) not in self.answers]
        self.answers.update(self.ask(self.job, unasked))
        pairs = zip(indexes, coords, strict=True)
        return {at for at, coord in pairs if self.answers[url_of(coord)] is not None}

    def _stored(self, name: str) -> set[int]:
        """Return the indexes of those files of which the store has a variable's values."""
        known = None if self.record is None else self.record.known_before(name)
        if self.record is None or known is None:
            return set()
        ok = SourceFileStatus.SUCCEEDED
        were = enumerate(self.record.groups[known.group])
        urls = {f.url for at, f in were if f.status is ok and at not in known.unread}
        return {at for at, url in enumerate(self.listed.urls) if url in urls}

    def _why(self, name: str, change: str) -> str:
        known = None if self.record is None else self.record.variables.get(name)
        if self.record is None or known is None:
            return "not done yet"
        if known.state == "failed":
            return f"failed before: {known.error}"
        grown = bool(change) and self.listed.has_grown(name, self.record)
        if change and not grown:
            return change
        if not self.belief.takes(known):
            return "to be reprocessed"
        why = "the region has grown" if grown else self._of_files(name, self.record, known)
        if why:
            self.waiting[name] = known
            return why
        return self._of_objects(known)

    def kept(
        self, variables: Sequence[DataVar], sizes: Mapping[str, int]
    ) -> dict[int, SourceFileCoord]:
        """Return the files that none of these variables needs again, with what became of them."""
        known = [self.waiting[var.name] for var in variables if var.name in self.waiting]
        is_for_pending = all(var.name in self.pending for var in variables)
        reads_again = self._reads_again and not (is_for_pending and not self.belief.revalidate)
        # Of what was taken over, source files may be gone, or say other than what readers see.
        reads_again = reads_again and not all(was.unproven for was in known)
        usable = len(known) == len(variables) > 0 and not reads_again
        if self.record is None or not usable or len({was.group for was in known}) > 1:
            return {}
        chosen: dict[int, SourceFileCoord] = {}
        for number, (var, was) in enumerate(zip(variables, known, strict=True)):
            coords = self._coords(self.record, was)
            stored = [at for at, coord in enumerate(coords) if self._is_as_it_was(coord, was)]
            if was.state != "done" or not stored or self._gone(was, was.objects):
                return {}
            keep = files_to_keep(self.job, var, self.listed.files, sizes, stored)
            before = dict(enumerate(coords)) if number == 0 else chosen
            chosen = {index: coord for index, coord in before.items() if index in keep}
        return chosen

    @property
    def _reads_again(self) -> bool:
        return self.job.reads_again or self.belief.revalidate

    def _coords(self, record: ProgressRecord, known: VariableRecord) -> list[SourceFileCoord]:
        """Return the files that a record knows, with what became of them."""
        files = self.listed.files[: len(record.groups[known.group])]
        if known.unread:
            return coords_from(record, known, files)
        if known.group not in self.coords:  # the same for all variables that read each of them
            self.coords[known.group] = coords_from(record, known, files)
        return self.coords[known.group]

    def _is_as_it_was(self, coord: SourceFileCoord, known: VariableRecord) -> bool:
        if coord.status is not SourceFileStatus.SUCCEEDED:
            return False
        if _is_unversioned(coord, known):
            return not self.belief.revalidate
        url = url_of(coord)
        if url in self.answers:
            return not _is_new(coord, self.answers[url])
        return not self._may_improve(coord, known)

    def _of_files(self, name: str, record: ProgressRecord, known: VariableRecord) -> str:
        coords = self._coords(record, known)
        offered = self._offered(name, len(coords))
        failed = [coords[at] for at in offered if _has_failed(coords[at])]
        if failed:
            if all(coord.status is SourceFileStatus.HELD for coord in failed):
                self.pending.add(name)
            return f"{len(failed)} source files {failed[0].status}"
        tried = self._due(record, known, coords)
        due = [at for at in tried if at in offered]
        # What was pending when the variable had no end: nobody has it.
        self.in_vain[name] = [at for at in tried if at not in offered]
        unread = [at for at in due if coords[at].status is SourceFileStatus.READ_FAILED]
        if unread:
            self.pending.add(name)
            return f"{len(unread)} source files that could not be read are tried again"
        may_improve = [at for at in offered if self._may_improve(coords[at], known)]
        hopeful = [coords[at] for at in sorted({*due, *may_improve})]
        if not hopeful:
            return ""
        if self.ask is None:
            absent = [c for c in hopeful if c.status is not SourceFileStatus.SUCCEEDED]
            return f"{len(absent)} source files to be asked for again" if absent else ""
        unasked = [c for c in hopeful if url_of(c) not in self.answers]
        self.answers.update(self.ask(self.job, unasked))
        new = [c for c in hopeful if _is_new(c, self.answers[url_of(c)])]
        self.in_vain[name] += [at for at in due if coords[at] not in new]
        if self.rhythm is not None and new:
            taken = {id(coords[at]) for at in self._let_wait(self.rhythm, name, coords)}
            new = [c for c in new if c.status is SourceFileStatus.SUCCEEDED or id(c) in taken]
        if new and all(coord.not_final is not None for coord in new):
            self.pending.add(name)
        return f"{len(new)} source files arrived or were revised" if new else ""

    def _offered(self, name: str, many: int) -> Set[int]:
        """Return the indices of those files that fill what the provider has of a variable."""
        var, at = self.listed.var(name), range(many)
        if var.valid_from is None and var.valid_until is None:
            return frozenset(at)
        return {n for n in at if is_offered_of(self.job, var, self.listed.files[n])}

    def _due(
        self, record: ProgressRecord, known: VariableRecord, coords: Sequence[SourceFileCoord]
    ) -> list[int]:
        """Return the indices of pending and provisional files that it is time to try again."""
        if self.now is None:
            return []
        files = record.groups[known.group]
        return [
            index
            for index, coord in enumerate(coords)
            if _is_provisional(coord) or (coord.settled and coord.status not in NOTHING_TO_TRY)
            if files[index].accepted is None
            if is_due(known.tries.get(index), self.now, self._code)
        ]

    @cached_property
    def _code(self) -> str:
        return reading_code(type(self.job))

    def _may_improve(self, coord: SourceFileCoord, known: VariableRecord) -> bool:
        if coord.status is SourceFileStatus.SUCCEEDED:
            if _is_unversioned(coord, known):
                return self.belief.revalidate
            asks = self.job.asks_for_revisions or _is_provisional(coord)
            return self.belief.revalidate or (self.job.retry_gaps and asks)
        return not coord.settled or self.job.retry_gaps or self.belief.revalidate

    def _of_objects(self, known: VariableRecord) -> str:
        # What a token made durable is known without a request.
        is_asked = known.token is None and not self.belief.revalidate
        if is_asked and not self.belief.looks.take(self.job.region):
            return ""
        gone = self._gone(known, objects_looked_at(known, self.belief))
        if not gone:
            return ""
        self.belief.looks.take_all(gone[0])
        return f"the store does not hold {gone[0]}"

    def _gone(self, known: VariableRecord, objects: Sequence[ObjectReceipt]) -> list[str]:
        return self.missing(objects) if known.token is None else self.missing(objects, known.token)


def _has_failed(coord: SourceFileCoord) -> bool:
    return coord.status.is_failure and not coord.settled


def _is_unversioned(coord: SourceFileCoord, known: VariableRecord) -> bool:
    """Whether nothing is known of a file's version, so that no revision could follow it."""
    return bool(known.unproven) and coord.etag is None and coord.last_modified is None


def with_waiting(record: ProgressRecord, names: Sequence[str], reasons: Reasons) -> ProgressRecord:
    """Return a record that says which files of these variables are there and wait."""
    for name in names:
        waits, were = reasons.waits[name], record.groups[record.variables[name].group]
        files = tuple(
            replace(file, detail=waits.get(index))
            if (file.detail == WAITS) != (waits.get(index) == WAITS)
            else file
            for index, file in enumerate(were)
        )
        if files != were:
            record = with_files(record, [name], files)
    return record


def _is_provisional(coord: SourceFileCoord) -> bool:
    """Whether the final one of a file that was read is still to come."""
    is_read = coord.status is SourceFileStatus.SUCCEEDED
    return is_read and coord.not_final is not None and not coord.settled


def _is_final_of(coord: SourceFileCoord, answer: FileIdentity) -> bool:
    """Whether an answer comes from a better address than a provisional file was taken from."""
    if not _is_provisional(coord) or answer.url is None or coord.fetched_from is None:
        return False
    at, was = address_of(coord, answer.url), address_of(coord, coord.fetched_from)
    is_final = at is not None and at.provisional is None
    return is_final and (was is None or was.provisional is not None)


def _is_new(coord: SourceFileCoord, answer: FileIdentity | None) -> bool:
    """Whether the provider has a file, and it or its index is not as it was."""
    if answer is None:
        return False
    if coord.status is SourceFileStatus.NOT_YET_AVAILABLE or _is_final_of(coord, answer):
        return True
    if (coord.etag, coord.last_modified) != (answer.etag, answer.last_modified):
        return True
    index = answer.index
    if coord.index is None or index is None:
        return False
    return coord.index != identity_of(index.nbytes, index.etag, index.last_modified)
