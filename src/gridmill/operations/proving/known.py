"""What is known of an archive's proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gridmill.archive.archive import Archive
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.operations.proving.turns import (
    ProofCounts,
    can_be_proven,
    count_proofs,
    valid_marks,
)
from gridmill.stores.state.beside.proofs import ProofMark

__all__ = ["OVERDUE", "KnownProofs", "label_of", "read_proofs"]

OVERDUE = timedelta(days=90)


def read_proofs(
    archive: Archive,
    records: Sequence[ProgressRecord] | None = None,
    *,
    overdue: timedelta = OVERDUE,
    only_if_any: bool = False,
) -> ProofCounts | None:
    """Count what of an archive is proven; with `only_if_any`, None where nobody proved anything.

    `records` are those along the append dim, where they are read already.
    """
    tracker = archive.store.tracker
    every = tracker.proofs.marks()
    if only_if_any and not every:
        return None
    if records is not None and (static := tracker.read(Region.STATIC)) is not None:
        records = [static, *records]
    found = KnownProofs.of(archive, records, every)
    labels = {r.region.key: label_of(archive, r) for r in found.records}
    return count_proofs(found.records, found.marks, datetime.now(UTC), overdue, labels)


@dataclass(frozen=True)
class KnownProofs:
    """Records of the regions that can be proven, the proofs that are about them, and all proofs."""

    records: list[ProgressRecord]
    marks: dict[str, ProofMark]
    every: dict[str, ProofMark]

    @classmethod
    def of(
        cls,
        archive: Archive,
        records: Sequence[ProgressRecord] | None = None,
        every: dict[str, ProofMark] | None = None,
    ) -> KnownProofs:
        """Find them; `records` and `every` are asked for where they are not given."""
        published = archive.look() or 0
        tracker = archive.store.tracker
        known = tracker.all_records() if records is None else records
        provable = [record for record in known if can_be_proven(record, published)]
        every = tracker.proofs.marks() if every is None else every
        return cls(provable, valid_marks(provable, every), every)


def label_of(archive: Archive, record: ProgressRecord) -> str:
    return record.region.label(archive.index)
