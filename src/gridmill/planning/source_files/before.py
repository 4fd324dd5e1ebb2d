"""What a record says of source files that stays when they are recorded again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gridmill.authoring.source_file import known_of
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word
from gridmill.model.records import ProgressRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.values import SourceFile

__all__ = ["SaidBefore"]

SUCCEEDED = SourceFileStatus.SUCCEEDED


@dataclass(frozen=True)
class SaidBefore:
    """What was known of source files, by URL.

    Parameters
    ----------
    spoken_of
        Those that somebody accepted, released or withdrew.
    were_there
        Those that an earlier run got, of each the final one if it did.
    arrived
        Those of which it is known when they arrived.
    """

    spoken_of: Mapping[str, SourceFileRecord]
    were_there: Mapping[str, SourceFileRecord]
    arrived: Mapping[str, SourceFileRecord]

    @classmethod
    def by(cls, record: ProgressRecord | None) -> SaidBefore:
        """Return what a record says; None says nothing."""
        files = () if record is None else [file for group in record.groups for file in group]
        spoken_of = (f for f in files if f.accepted is not None or f.released or f.withdrawn)
        there = (f for f in files if f.was_there or f.status is SUCCEEDED)
        return cls(
            {file.url: file for file in spoken_of},
            {file.url: file for file in sorted(there, key=lambda file: file.was_final)},
            {file.url: file for file in files if file.arrived is not None},
        )

    def kept_with(self, file: SourceFileRecord, seen: SourceFile) -> SourceFileRecord:
        """Return a new record of a file with what is still true of it."""
        coord = seen.coord
        if file.status is not SUCCEEDED:
            was = known_of(coord, self.were_there)
            if was is not None:
                file = replace(file, was_there=True, provisional=was.provisional)
        file = _with_word(file, known_of(coord, self.spoken_of))
        return _with_arrival(file, known_of(coord, self.arrived), is_kept=seen.is_kept)


def _with_arrival(
    file: SourceFileRecord, was: SourceFileRecord | None, *, is_kept: bool
) -> SourceFileRecord:
    """Keep when a version arrived first, and with which run."""
    if was is None or file.status is not SUCCEEDED or not (is_kept or file.is_as(was)):
        return file
    return replace(file, arrived=was.arrived, run=was.run)


def _with_word(file: SourceFileRecord, was: SourceFileRecord | None) -> SourceFileRecord:
    """Keep what somebody said while the file is as it was, or still does not succeed."""
    if was is None:
        return file
    arrived = file.status is SUCCEEDED

    def still(words: Mapping[str, Word]) -> dict[str, Word]:
        about = {n for n, word in words.items() if word.is_about(file.identity, file.checksum)}
        return {n: word for n, word in words.items() if not arrived or n in about}

    kept = replace(file, released=still(was.released), withdrawn=still(was.withdrawn))
    if was.accepted is None or (arrived and not file.is_as(was)):
        return kept
    return replace(kept, settled=True, accepted=was.accepted)
