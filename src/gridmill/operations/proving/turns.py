"""Whose turn it is to be proven, and how much of an archive is. Pure but for what it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gridmill.model.records import ProgressRecord
from gridmill.model.reports.proof import made_of
from gridmill.stores.state.beside.proofs import ProofMark

__all__ = ["ProofCounts", "can_be_proven", "count_proofs", "valid_marks", "whose_turn"]

Marks = Mapping[str, ProofMark]


@dataclass(frozen=True)
class ProofCounts:
    """How many regions of an archive are proven.

    Parameters
    ----------
    proven
        Recomputed from their source files, and the same.
    unprovable
        Of which source files are gone or revised; what is left of them was the same.
    failed
        That hold something else than their source files give.
    unproven
        Not looked at since they were made.
    overdue
        Of all these, those that nobody looked at for longer than `overdue_s`.
    overdue_s
        In seconds.
    failures
        Labels of those that failed, the first of them.
    """

    proven: int
    unprovable: int
    failed: int
    unproven: int
    overdue: int
    overdue_s: float
    failures: tuple[str, ...] = ()


def can_be_proven(record: ProgressRecord, published: int) -> bool:
    """Whether readers see all of a region, and anything of it was made."""
    is_seen = published > 0 if record.region.is_static else record.stop <= published
    return is_seen and any(known.state == "done" for known in record.variables.values())


def valid_marks(records: Iterable[ProgressRecord], marks: Marks) -> dict[str, ProofMark]:
    """Return the proofs that are about what records say now: a region made since has none."""
    return {
        record.region.key: mark
        for record in records
        if (mark := marks.get(record.region.key)) is not None and mark.of == made_of(record)
    }


def whose_turn(
    records: Sequence[ProgressRecord], marks: Marks, regions: int
) -> list[ProgressRecord]:
    """Return the regions to prove next: what was never proven first, then what was longest ago.

    Parameters
    ----------
    records
        Of the regions that can be proven, in order.
    marks
        What is known of them, see `valid_marks`.
    regions
        How many.
    """

    def last(record: ProgressRecord) -> str:
        mark = marks.get(record.region.key)
        return "" if mark is None else mark.at

    return sorted(records, key=last)[:regions]


def count_proofs(
    records: Sequence[ProgressRecord],
    marks: Marks,
    now: datetime,
    overdue: timedelta,
    labels: Mapping[str, str],
) -> ProofCounts:
    """Count what is proven.

    Parameters
    ----------
    records
        Of the regions that can be proven, in order.
    marks
        What is known of them, see `valid_marks`.
    now
        The time of the clock, in UTC.
    overdue
        After which a region should be proven again.
    labels
        By the region's key.
    """
    since = f"{(now - overdue).astimezone(UTC):%Y%m%dT%H%M%S}"
    verdicts = [marks[r.region.key].verdict if r.region.key in marks else None for r in records]
    failed = [r for r, v in zip(records, verdicts, strict=True) if v == "failed"]
    return ProofCounts(
        proven=verdicts.count("proven"),
        unprovable=verdicts.count("unprovable"),
        failed=len(failed),
        unproven=verdicts.count(None),
        overdue=sum(_seen_last(record, marks) < since for record in records),
        overdue_s=overdue.total_seconds(),
        failures=tuple(labels[r.region.key] for r in failed[:MOST_NAMED]),
    )


MOST_NAMED = 20


def _seen_last(record: ProgressRecord, marks: Marks) -> str:
    """Return when a region was proven, or made: what was just made is not overdue."""
    mark = marks.get(record.region.key)
    made = max((known.finished for known in record.variables.values()), default="")
    plain = made[: len("2026-11-29T20:00:00")].replace("-", "").replace(":", "")
    return plain if mark is None else mark.at
