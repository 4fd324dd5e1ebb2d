"""What became of a region's source files, by its record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gridmill.authoring.source_file import SourceFileCoord, address_of, known_of
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile

__all__ = [
    "coords_from",
    "declared_provisional",
    "held_for",
    "released_files",
    "with_finals",
    "withdrawn_files",
]

Unread = Mapping[int, tuple[bool, str]]
VERSION = ("nbytes", "etag", "last_modified", "checksum", "index")
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


def with_finals(files: Sequence[SourceFile], record: ProgressRecord) -> tuple[SourceFile, ...]:
    """Mark the source files of which the final one was read: no provisional one replaces it."""
    finals = {f.url: True for group in record.groups for f in group if f.was_final}
    return tuple(
        replace(file, coord=replace(file.coord, was_final=True))
        if known_of(file.coord, finals)
        else file
        for file in files
    )


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
        f"{var.encoding.dtype}: they wait until it comes, or somebody accepts it (gridmill accept);"
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
