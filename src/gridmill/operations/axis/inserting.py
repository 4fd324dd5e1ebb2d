"""How a store gets labels between others: moved values in one commit, then records that say so.

Before the commit, the records that are to be are kept beside those that are
(`gridmill.stores.state.beside.reindexing`); after it they take their place. An archive and each of
its replicas keep their own: either is completed where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.template import TemplateConfig
from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.wording import short_label
from gridmill.operations.axis.moved import with_objects
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import Moves, published_labels
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.leases import Lease, LeaseProof

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Receipts",
    "complete_in",
    "insert",
    "mirrored_records",
    "moves_to",
    "refuse_plain",
]

Receipts = Mapping[str, tuple[ObjectReceipt, ...]]
RecordsOf = Callable[[Receipts], Sequence[ProgressRecord]]


def moves_to(archive: Archive, store: FinalStore, seen: pd.Index[Any]) -> Moves | None:
    """Return how positions of a store move that is to have an archive's labels.

    Parameters
    ----------
    archive
        With the labels that are to be, up to the last one that readers see.
    store
        The archive's, or a replica's.
    seen
        The labels that its readers see.

    Returns
    -------
    Moves or None
        None if it has them.

    Raises
    ------
    ValueError
        It has labels that the archive lacks.
    """
    at = archive.index.get_indexer(seen)
    if (at < 0).any() or (np.diff(at) <= 0).any():
        raise ValueError(
            f"{mask_url(store.url)} has labels of {archive.append_dim} that the archive does not "
            "have: fill another address instead, which an update does"
        )
    sources = seen.get_indexer(archive.index).astype(np.int64)
    if (sources >= 0).all():
        return None
    config, first = archive.config, archive.region_start(int(np.flatnonzero(sources < 0)[0]))
    arrays = [var.name for var in config.data_vars if config.varies(var)]
    arrays += [share.name for share in shares_of(config.coords)]
    there = tuple(name for name in arrays if name in archive.arrays)
    return Moves(archive.append_dim, first, config.region_length, sources, there)


def insert(
    archive: Archive,
    store: FinalStore,
    moves: Moves,
    message: str,
    records_of: RecordsOf,
    lease: Lease,
) -> None:
    """Show an archive's labels, with the values that a store has, in one commit.

    To be followed by `complete_in`.

    Parameters
    ----------
    archive
        With the labels that are to be.
    store
        The archive's, or a replica's.
    moves
        See `moves_to`.
    message
        Says what this is for.
    records_of
        Gives the records that are to be, by the objects that are written.
    lease
        The right to publish.

    Raises
    ------
    ValueError
        The format cannot show both at once.
    """
    new = [label.isoformat() for label in archive.index[moves.sources < 0]]
    with lease.publishing() as check:

        def prepared(receipts: Receipts) -> None:
            check()
            records = records_of(receipts)
            store.tracker.reindexing.begin(moves.first, len(archive.index), new, records)
            check()

        with archive.written(archive.template_ds) as folder:
            store.rearrange(folder, moves, message, prepared)


def complete_in(store: FinalStore, config: TemplateConfig, proof: LeaseProof) -> bool:
    """Let a store's records say what readers see, if a reindex is under way that they do see."""
    tracker = store.tracker
    order = tracker.reindexing.read()
    if order is None:
        return False
    seen = published_labels(store, config.append_dim)
    labels = {config.label(text) for text in order["inserted"]}
    if seen is None or len(seen) < order["length"] or not labels <= set(seen):
        tracker.reindexing.end()  # interrupted before anybody saw it
        return False
    records = list(tracker.reindexing.records())
    kept = {record.start for record in records}
    for record in list(tracker.records()):
        proof.check()
        if record.stop > order["first"] and record.start not in kept:
            tracker.delete(record.region)
    for record in records:
        proof.check()
        tracker.read(record.region)
        tracker.write(record)
    tracker.notices.delete(tracker.notices.all())
    tracker.reindexing.end()
    return True


# -- replicas -----------------------------------------------------------------------------------


def mirrored_records(archive: Archive, moves: Moves, receipts: Receipts) -> list[ProgressRecord]:
    """Return those of an archive's records of which a replica has the objects after its move.

    What it has otherwise, as the archive got more since, has no record: it is copied again.
    """
    return list(_mirrored(archive, moves, receipts))


def _mirrored(archive: Archive, moves: Moves, receipts: Receipts) -> Iterator[ProgressRecord]:
    for start in range(moves.first, len(archive.index), moves.step):
        record = archive.store.tracker.read(archive.region_at(start))
        if record is None:
            continue
        found = with_objects(record, receipts, moves.step, archive)
        if all(set(found.variables[n].objects) == set(v.objects) for n, v in _moved(record, moves)):
            own = {name: replace(known, token=None) for name, known in record.variables.items()}
            yield replace(record, variables=own)


def _moved(record: ProgressRecord, moves: Moves) -> Iterator[tuple[str, Any]]:
    return ((n, v) for n, v in record.variables.items() if n in moves.arrays)


def refuse_plain(replica: FinalStore, seen: pd.Index[Any], late: pd.Index[Any]) -> None:
    """Raise where a replica is plain Zarr.

    Parameters
    ----------
    replica
        The replica's store.
    seen
        The labels that its readers see, or would see.
    late
        Those that come between them.

    Raises
    ------
    ValueError
        It says what to do instead.
    """
    if not replica.shows_uploads:
        return
    where, end = mask_url(replica.url), short_label(seen[seen > late[0]][0])
    raise ValueError(
        f"the replica {where} is plain Zarr, where no position can be taken in between two others: "
        "who opened it before would read moved values under the labels from before. Leave it out "
        "of --replica here; then let its readers know and shorten it (gridmill truncate --store "
        f"{where} --end {end}), and the next update with it copies what follows"
    )
