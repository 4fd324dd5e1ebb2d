"""What became of a region's source files, by its record. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_expected
from gridmill.authoring.source_file import SourceFileCoord, address_of, known_of
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.pending import moment
from gridmill.planning.reading_code import reading_code
from gridmill.planning.source_files.offered import is_offered_of

__all__ = [
    "awaited_longer",
    "coords_from",
    "declared_provisional",
    "held_for",
    "released_files",
    "with_files",
    "with_finals",
    "withdrawn_files",
    "without_unused_groups",
]

Files = tuple[SourceFileRecord, ...]
Unread = Mapping[int, tuple[bool, str]]
VERSION = ("nbytes", "etag", "last_modified", "checksum", "index")
# Of a file that is given up for a variable of its group, and not yet for this one.
AWAITED_LONGER = "; its own deadline has not passed"
# What became of a file that gave no variable anything: past its time that is settled.
NOTHING = (SourceFileStatus.NOT_YET_AVAILABLE, SourceFileStatus.READ_FAILED)


def coords_from(
    record: ProgressRecord, variable: VariableRecord, files: Sequence[SourceFile]
) -> list[SourceFileCoord]:
    recorded = record.groups[variable.group]
    return [
        _with_outcome(file.coord, was, variable.unread.get(index))
        for index, (file, was) in enumerate(zip(files, recorded, strict=True))
    ]


def with_finals(
    files: Sequence[SourceFile], record: ProgressRecord, job: RegionJob[Any, Any], now: Any
) -> tuple[SourceFile, ...]:
    """Mark the source files of which the final one was read, and what was read in vain.

    The latter where today's code did, and it is time to try again by the pauses of what is pending.
    """
    finals = {f.url: True for group in record.groups for f in group if f.was_final}
    unread = {
        record.groups[variable.group][index].url: True
        for variable in record.variables.values()
        for index, tries in variable.tries.items()
        if now is not None and tries.due <= moment(now) and tries.code == reading_code(type(job))
    }

    def marked(file: SourceFile) -> SourceFile:
        is_final, is_unread = (bool(known_of(file.coord, of)) for of in (finals, unread))
        if not (is_final or is_unread):
            return file
        return replace(file, coord=replace(file.coord, was_final=is_final, unread_before=is_unread))

    return tuple(marked(file) for file in files)


def declared_provisional(was: SourceFileRecord, coord: SourceFileCoord) -> SourceFileRecord:
    """Return a record with what its file's address means today, where it said nothing yet."""
    if was.provisional is not None or was.accepted is not None:
        return was
    if was.status is not SourceFileStatus.SUCCEEDED:
        return was
    at = address_of(coord, was.fetched_from or was.url)
    if at is None or at.provisional is None:
        return was
    return replace(was, provisional=at.provisional, settled=False)


def with_files(record: ProgressRecord, names: Collection[str], files: Files) -> ProgressRecord:
    """Return a record in which variables have other records of their source files.

    Parameters
    ----------
    record
        Of a region.
    names
        Variables with one group of files. Others may have it, too, be they of another source group
        that lists the same: they keep theirs, as what is true of a file by the deadline of one
        variable need not be by that of another.
    files
        What these have from now on.
    """
    groups, variables = list(record.groups), dict(record.variables)
    (at,) = {variables[name].group for name in names}
    others = (known for name, known in variables.items() if name not in names)
    is_shared = any(known.group == at for known in (*others, *record.under_way.values()))
    if files not in groups and not is_shared:
        groups[at] = files
        return replace(record, groups=tuple(groups))
    if files not in groups:
        groups.append(files)
    new = groups.index(files)
    variables |= {name: replace(variables[name], group=new) for name in names}
    groups, variables, under_way = without_unused_groups(groups, variables, record.under_way)
    return replace(record, groups=tuple(groups), variables=variables, under_way=under_way)


def without_unused_groups(
    groups: Sequence[Files], *variables: Mapping[str, VariableRecord]
) -> tuple[list[Files], dict[str, VariableRecord], dict[str, VariableRecord]]:
    """Return the groups of files that variables have, and those variables with the new numbers."""
    used = sorted({variable.group for of in variables for variable in of.values()})
    new = {old: at for at, old in enumerate(used)}
    known, under_way = (
        {name: replace(v, group=new[v.group]) for name, v in of.items()} for of in variables
    )
    return [groups[old] for old in used], known, under_way


def released_files(record: ProgressRecord | None, name: str) -> dict[str, Word]:
    """Return by URL which version of a source file no gate of a variable holds any more."""
    groups = () if record is None else record.groups
    files = (file for group in groups for file in group)
    return {file.url: file.released[name] for file in files if name in file.released}


def withdrawn_files(record: ProgressRecord | None, name: str) -> dict[str, Word]:
    """Return by URL which version of a source file is not read any more for a variable."""
    groups = () if record is None else record.groups
    files = (file for group in groups for file in group)
    return {file.url: file.withdrawn[name] for file in files if name in file.withdrawn}


def awaited_longer(
    job: RegionJob[Any, Any],
    group: Sequence[DataVar],
    var: DataVar,
    listed: Sequence[SourceFile],
    files: Sequence[SourceFileRecord],
    now: Any,
    marked: Unread | None = None,
) -> dict[int, tuple[bool, str]]:
    """Return by index those settled files that a variable with a later deadline still awaits.

    None where the provider does not have it: nobody awaits what fills nothing of it.

    Parameters
    ----------
    job
        The region job.
    group
        The variables that share the files: a file is settled once one of them gives it up.
    var
        The variable.
    listed, files
        The group's source files, and their records.
    now
        The present, as a label of the append dim.
    marked
        What the variable is known to await so: also where the one that gave it up is none of the
        group today, as a run of chosen variables has only those.
    """
    is_alike = all(other.publication_delay == var.publication_delay for other in group)
    known = {at for at, (_, cause) in (marked or {}).items() if AWAITED_LONGER in cause}
    return {
        at: (False, f"{file.detail or file.status}{AWAITED_LONGER}")
        for at, (one, file) in enumerate(zip(listed, files, strict=True))
        if not is_alike or at in known
        if file.settled and file.status in NOTHING and file.accepted is None
        if not is_expected(job, one.coord, var, now) and is_offered_of(job, var, one)
    }


def held_for(var: DataVar, files: Sequence[SourceFileRecord], unread: Unread) -> Unread:
    """Return what gave a variable nothing, and holds the extent where nothing says missing in it.

    Parameters
    ----------
    var
        The variable.
    files
        Its source files, as they are recorded.
    unread
        By index, those that could not be read for it, see `VariableRecord.unread`.
    """
    if var.encoding.missing is not None:
        return unread
    why_held = f"; {_nothing_says(var)}"
    found = {at: why.removesuffix(why_held) for at, (_, why) in unread.items()}
    for at, file in enumerate(files):
        if file.settled and file.status in NOTHING and file.accepted is None:
            found.setdefault(at, file.detail or str(file.status))
    return {at: (False, why + why_held) for at, why in sorted(found.items())}


def _nothing_says(var: DataVar) -> str:
    return (
        f"readers would see {var.encoding.fill} there, as nothing says missing in "
        f"{var.encoding.dtype}: they wait until it comes or is accepted (gridmill accept);"
        f" where Encoding gives {var.name} a fill_value that cannot occur, new archives do not wait"
    )


def _with_outcome(
    coord: SourceFileCoord, was: SourceFileRecord, unread: tuple[bool, str] | None
) -> SourceFileCoord:
    known = {name: getattr(was, name) for name in VERSION}
    # Where it is not said it is the address by which the file was called.
    known["fetched_from"] = was.fetched_from or was.url
    known |= {"not_final": was.provisional, "was_final": was.was_final}
    if unread is not None:
        status = was.status.of_unread(unread[1])
        settled = unread[0] or was.accepted is not None
        return replace(coord, status=status, settled=settled, detail=unread[1], **known)
    return replace(coord, status=was.status, settled=was.settled, detail=was.detail, **known)
