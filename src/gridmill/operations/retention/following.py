"""Lets a replica begin where its archive begins by now.

Its first positions go as those of the archive did: in one commit that shifts its own objects, with
records that follow. What the archive's records say of the same objects is its own record then; what
it has otherwise has none, and is copied again. One that was away follows by the same command,
however often the archive was retained meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.archive.axis.following import check_same_arrays
from gridmill.authoring.labels import just_after
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.wording import count_of, short_label
from gridmill.operations.maintenance import Hand
from gridmill.operations.retention.completing import complete_in, shifted_proofs
from gridmill.operations.retention.shifted import Shift
from gridmill.publishing.replica import declared
from gridmill.publishing.view import ReaderView
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import Moves, published_labels
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.beside.exchange import RETAINED
from gridmill.stores.state.beside.feed import utc_now

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["follow", "refuse_plain"]


def follow(
    dataset: DynamicalDataset, hand: Hand, now: Any, view: ReaderView, *, was_away: bool = False
) -> None:
    """Let a replica drop what its archive dropped, or complete what was interrupted there.

    Parameters
    ----------
    dataset
        With its archive.
    hand
        The right to change it.
    now
        The present; None asks the clock.
    view
        Of the replica.
    was_away
        Whether it may hold uploads that its readers do not see: then its objects are read.

    Raises
    ------
    ValueError
        It cannot: it is plain Zarr, or has other labels.
    """
    store, dim = view.store, hand.archive.append_dim
    if complete_in(store, dim, hand.lease.proof):
        hand.report.notes.append(f"completed what was interrupted in {mask_url(store.url)}")
    run = (dataset.store.tracker.read_declaration() or {}).get(RETAINED)
    if run is None or (store.tracker.read_declaration() or {}).get(RETAINED) == run:
        return
    refuse_plain([store])
    seen = published_labels(store, dim)
    if seen is None or not len(seen):
        raise ValueError(f"{mask_url(store.url)} shows nothing yet: empty it, and run an update")
    config = dataset.config(now)
    archive = dataset.archive(just_after(seen[-1]), config=config, as_declared=True)
    moves = _moves(archive, store, seen)
    check_same_arrays(archive, store)
    records = list(_records(archive, store, moves, is_read=was_away))
    start, kept = archive.index[0], len(moves.sources)
    message = (
        f"Retain from {short_label(start)} on: {count_of(moves.dropped, 'position')} before it "
        "dropped"
    )
    order = {"start": start.isoformat(), "last": str(seen[-1]), "dropped": moves.dropped}
    with hand.lease.publishing() as check:

        def prepared(receipts: Any) -> None:
            check()
            proofs = shifted_proofs(store.tracker, moves.dropped, records)
            own = {**order, "run": run, "at": utc_now()}
            store.tracker.retaining.begin(0, kept, [], records, proofs, **own)
            check()

        with archive.written(archive.up_to(kept)) as folder:
            store.rearrange(folder, moves, message, prepared)
        complete_in(store, dim, hand.lease.proof)
    hand.report.notes.append(f"{mask_url(store.url)} followed: {message}")


def refuse_plain(replicas: Sequence[FinalStore]) -> None:
    """Raise where a replica is plain Zarr.

    Raises
    ------
    ValueError
        It is named, with what to do.
    """
    plain = [mask_url(replica.url) for replica in replicas if replica.shows_uploads]
    if plain:
        raise ValueError(
            f"the replica {' and '.join(plain)} is plain Zarr, whose objects are named by their "
            "positions: where the first ones go, who opened it before would read other values "
            "under the labels from before. Leave it out of --replica; a replica in Icechunk "
            "(an address that ends with .icechunk) can roll, and the next update fills it"
        )


def _moves(archive: Archive, store: FinalStore, seen: Any) -> Moves:
    dropped = int(seen.get_indexer(archive.index[:1])[0])
    kept, step = seen[max(dropped, 0) :], archive.config.region_length
    is_same = list(archive.index[: len(kept)]) == list(kept)
    if dropped <= 0 or dropped % step or not is_same:
        raise ValueError(
            f"{mask_url(store.url)} has other labels of {archive.append_dim} than the archive "
            "from its start on: fill another address instead, which an update does"
        )
    sources = np.arange(dropped, len(seen), dtype=np.int64)
    return Moves(archive.append_dim, 0, step, sources, ())


def _records(
    archive: Archive, store: FinalStore, moves: Moves, *, is_read: bool
) -> Iterator[ProgressRecord]:
    """Yield those of the archive's records of which a replica shows the objects."""
    shift = Shift(moves.dropped, archive.stored_arrays(), archive.append_dim)
    stop = moves.dropped + len(moves.sources)
    for record in list(store.tracker.records()):
        if not moves.dropped <= record.start < stop:
            continue
        shifted = shift.record(record)
        ours = archive.store.tracker.read(archive.region_at(shifted.start))
        if ours is None:
            continue
        ours = declared(archive, ours)
        if is_read and any(_is_unseen(store, v) for v in record.variables.values()):
            continue
        if all(_has(shifted, name, known) for name, known in ours.variables.items()):
            own = {name: replace(known, token=None) for name, known in ours.variables.items()}
            yield replace(ours, variables=own)


def _has(record: ProgressRecord, name: str, known: VariableRecord) -> bool:
    there = record.variables.get(name)
    return there is not None and set(there.objects) == set(known.objects)


def _is_unseen(store: FinalStore, known: VariableRecord) -> bool:
    """Whether readers see something else than the objects that were uploaded."""
    found = ((one, store.read_object(one.key)) for one in known.objects)
    return any(content is None or not one.is_of(content) for one, content in found)
