"""What follows the commit by which a store begins later: records, proofs, then its declaration.

An archive and each of its replicas keep what is to be beside their own records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region, position_key
from gridmill.model.reports.publication import Publication
from gridmill.stores.contents.axis import published_labels
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.beside.exchange import RETAINED
from gridmill.stores.state.beside.feed import utc_now
from gridmill.stores.state.leases import LeaseProof
from gridmill.stores.state.records import UpdateProgressTracker

__all__ = ["KIND", "complete_in", "shifted_proofs"]

KIND = "retain"


def complete_in(store: FinalStore, dim: str, proof: LeaseProof, *, is_told: bool = False) -> bool:
    """Let a store's records say what readers see, if a retention is under way that they do see.

    Parameters
    ----------
    store
        The archive's, or a replica's.
    dim
        The append dim.
    proof
        Says whether it may still be written.
    is_told
        Whether the feed says what went: that of the archive.

    Returns
    -------
    bool
        Whether one was under way that readers saw.
    """
    tracker = store.tracker
    order = tracker.retaining.read()
    if order is None:
        return False
    seen = published_labels(store, dim)
    declared = tracker.read_declaration() or {}
    is_seen = seen is not None and len(seen) > 0 and seen[0].isoformat() == order["start"]
    is_recorded = declared.get(RETAINED) == order["run"]
    if is_seen and not is_recorded:
        _put_records(tracker, proof)
        proof.check()
        # From here on runs go on.
        tracker.replace_declaration({"start": order["start"], RETAINED: order["run"]})
    if is_told and (is_seen or is_recorded):
        _note(tracker, order)
    tracker.retaining.end()
    return is_seen


def shifted_proofs(
    tracker: UpdateProgressTracker, dropped: int, records: Sequence[ProgressRecord]
) -> dict[str, bytes]:
    """Return the proofs of what is kept, by the keys that they get."""
    kept, found = {record.region.key for record in records}, {}
    for mark in tracker.proofs.marks().values():
        proof = tracker.proofs.read(mark) if mark.region != Region.STATIC.key else None
        if proof is None or int(mark.region) < dropped:
            continue
        key = position_key(int(mark.region) - dropped)
        if key in kept:
            name = mark.key.replace(f"/{mark.region}-", f"/{key}-", 1)
            found[name] = replace(proof, region=key).to_json()
    return found


def _note(tracker: UpdateProgressTracker, order: Mapping[str, Any]) -> None:
    """Put into the feed what readers no longer see, once."""
    told = Publication(
        at=utc_now(),
        run=order["run"],
        kind=KIND,
        gridmill=version("gridmill"),
        before=order["length"] + order["dropped"],
        after=order["length"],
        last=order["last"],
        dropped=order["dropped"],
    )
    tracker.feed.write_once(told, order["at"])


def _put_records(tracker: UpdateProgressTracker, proof: LeaseProof) -> None:
    records = list(tracker.retaining.records())
    kept = {record.start for record in records}
    for record in list(tracker.records()):
        proof.check()
        if record.start not in kept:
            tracker.delete(record.region)
    for record in records:
        proof.check()
        tracker.read(record.region)
        tracker.write(record)
    tracker.marks.forget_others(kept)
    beside, static = tracker.retaining.beside(), f"proofs/{Region.STATIC.key}-"
    for key in list(tracker.objects.keys("proofs")):
        if key not in beside and not key.startswith(static):
            tracker.objects.delete(key)
    for key, content in beside.items():
        tracker.objects.put(key, content)
    tracker.notices.delete(tracker.notices.all())
