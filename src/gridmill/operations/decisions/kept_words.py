"""What somebody decided of source files, where an archive's own records of it are lost.

Replicas keep the records of what they copied, with what was accepted, rejected, released and
withdrawn. Icechunk's history names withdrawals. Of other decisions nothing but the records knew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.stores.final_store import FinalStore

__all__ = ["copied_record", "unknown_words", "with_words"]


def copied_record(replicas: Iterable[FinalStore], region: Region) -> ProgressRecord | None:
    """Return the record of a region that the first replica which has one keeps."""
    found = (replica.tracker.read(region) for replica in replicas)
    return next((record for record in found if record is not None), None)


def with_words(record: ProgressRecord, copied: ProgressRecord | None) -> ProgressRecord:
    """Return a rebuilt record with what somebody decided of its source files, as a copy has it.

    Parameters
    ----------
    record
        Rebuilt from store and provider.
    copied
        Of the same region; None if there is none.
    """
    said = {file.url: file for file in _spoken_of(copied)}
    if not said:
        return record
    variables = dict(record.variables)
    for name, known in record.variables.items():
        files = enumerate(record.groups[known.group])
        taken = {
            at: (True, f"{SourceFileStatus.WITHDRAWN}: {said[file.url].withdrawn[name].note}")
            for at, file in files
            if file.url in said and name in said[file.url].withdrawn
        }
        variables[name] = replace(known, unread={**known.unread, **taken})
    groups = tuple(
        tuple(_told(file, said[file.url]) if file.url in said else file for file in group)
        for group in record.groups
    )
    return replace(record, groups=groups, variables=variables)


def unknown_words(store: FinalStore, lacking: Sequence[Region], copied: int) -> list[str]:
    """Say what of people's decisions cannot be known any more, and what the store still tells.

    Parameters
    ----------
    store
        Whose records are rebuilt.
    lacking
        The regions of which no record was there.
    copied
        Of how many of them a replica has one.
    """
    n = len(lacking) - copied
    if not n:
        return []
    lost = (
        f"of {n} regions it is not known what was accepted, rejected, released or withdrawn: "
        "the next run may fetch again what was withdrawn; withdraw it again before"
    )
    return [lost, *(f"its history says: {message}" for message in store.withdrawals())]


def _spoken_of(record: ProgressRecord | None) -> Iterable[SourceFileRecord]:
    groups = () if record is None else record.groups
    files = (file for group in groups for file in group)
    return [f for f in files if f.accepted is not None or f.released or f.withdrawn]


def _told(file: SourceFileRecord, was: SourceFileRecord) -> SourceFileRecord:
    told = replace(file, accepted=was.accepted, released=was.released, withdrawn=was.withdrawn)
    if was.accepted is not None:
        return replace(told, settled=True)
    if not was.withdrawn or was.status is not SourceFileStatus.SUCCEEDED:
        return told
    # The version that was withdrawn: the provider is asked for another one.
    return replace(
        told,
        status=was.status,
        settled=True,
        nbytes=was.nbytes,
        etag=was.etag,
        last_modified=was.last_modified,
        checksum=was.checksum,
        detail=was.detail,
    )
