"""What became of a region's source files, by its record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.records import Identity, ProgressRecord, SourceFileRecord, VariableRecord, Word
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.values import SourceFile

__all__ = ["coords_from", "released_files", "withdrawn_files"]


def coords_from(
    record: ProgressRecord, variable: VariableRecord, files: Sequence[SourceFile]
) -> list[SourceFileCoord]:
    recorded = record.groups[variable.group]
    return [
        _with_outcome(file.coord, was, variable.unread.get(index))
        for index, (file, was) in enumerate(zip(files, recorded, strict=True))
    ]


def released_files(record: ProgressRecord | None, name: str) -> dict[str, Identity]:
    """Return by URL which version of a source file no gate of a variable holds any more."""
    groups = () if record is None else record.groups
    files = (file for group in groups for file in group)
    return {file.url: file.released[name].identity for file in files if name in file.released}


def withdrawn_files(record: ProgressRecord | None, name: str) -> dict[str, Word]:
    """Return by URL which version of a source file is not read any more for a variable."""
    groups = () if record is None else record.groups
    files = (file for group in groups for file in group)
    return {file.url: file.withdrawn[name] for file in files if name in file.withdrawn}


def _with_outcome(
    coord: SourceFileCoord, was: SourceFileRecord, unread: tuple[bool, str] | None
) -> SourceFileCoord:
    known = {name: getattr(was, name) for name in ("nbytes", "etag", "last_modified")}
    if unread is not None:
        status = SourceFileStatus.of_unread(unread[1])
        settled = unread[0] or was.accepted is not None
        return replace(coord, status=status, settled=settled, detail=unread[1], **known)
    return replace(coord, status=was.status, settled=was.settled, detail=was.detail, **known)
