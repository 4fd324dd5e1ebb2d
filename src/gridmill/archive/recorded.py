"""What of an archive's records is believed: what fits its template and is not lost."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import cache
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import ProcessResults
from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.planning.belief import Missing
from gridmill.planning.prepare import PreparedRegion, prepare_region, results_from_record
from gridmill.stores.final_store import StagedRegion

__all__ = ["lost_tokens", "missing_of", "prepare_recorded", "results_of", "tokens_of"]


def tokens_of(archive: Archive, record: ProgressRecord) -> dict[str, str]:
    """Return what uploads returned, but for variables that another run is adding."""
    variables = record.variables.items()
    return {n: v.token for n, v in variables if v.token is not None and n in archive.arrays}


def lost_tokens(archive: Archive, record: ProgressRecord) -> set[str]:
    """Return those of a region's uploads that the store can no longer make visible."""
    tokens = tokens_of(archive, record)
    if not tokens:
        return set()
    whole = StagedRegion(record.region.name, record.stop, tokens)
    return {tokens[name] for name in archive.store.lost(whole)}


def missing_of(archive: Archive, record: ProgressRecord | None) -> Missing:
    """Return what gives the keys of a region's objects that its store lacks, or cannot show."""
    lost = cache(lambda: set() if record is None else lost_tokens(archive, record))

    def missing(receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        found = archive.store.missing(receipts, token)
        if found or token is None or token not in lost():
            return found
        return [receipt.key for receipt in receipts]

    return missing


def prepare_recorded(
    archive: Archive, job: RegionJob[Any, Any], record: ProgressRecord | None
) -> PreparedRegion:
    """Prepare a region job by what is recorded alone.

    As if the store held every object, but for what it can no longer show.
    """
    lost = set() if record is None else lost_tokens(archive, record)
    return _prepared(archive, job, record, lost)


def _prepared(
    archive: Archive, job: RegionJob[Any, Any], record: ProgressRecord | None, lost: Set[str]
) -> PreparedRegion:
    def missing(receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        return [receipt.key for receipt in receipts] if token in lost else []

    return prepare_region(job, record, archive.arrays, missing, stored=archive.stored_arrays)


def results_of(
    archive: Archive, job: RegionJob[Any, Any], record: ProgressRecord
) -> ProcessResults:
    """Return what of a record fits the template as it is now: the rest is not believed."""
    lost = lost_tokens(archive, record)
    results = results_from_record(_prepared(archive, job, record, lost), record)
    return {
        name: coords for name, coords in results.items() if record.variables[name].token not in lost
    }
