"""Maintenance by an operator: hold the archive's lease, and keep a report of what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import tokens_of
from gridmill.model.display_hook import page_of
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.publishing.publisher import Publisher
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.writable import refusals_named, require_writable
from gridmill.stores.state.claims import EVERYTHING, UPKEEP
from gridmill.stores.state.leases import Lease

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = [
    "EVERYTHING",
    "Hand",
    "by_hand",
    "forget_versions",
    "leased",
    "publish_uploads",
    "split_manifests",
]


@dataclass(frozen=True)
class Hand:
    """The right to change an archive.

    Parameters
    ----------
    archive
        As declared.
    publisher
        Publishes it, and knows its replicas.
    lease
        Keeps runs away from the positions that are worked on.
    report
        Kept beside the records in the end.
    """

    archive: Archive
    publisher: Publisher
    lease: Lease
    report: RunReport


@contextmanager
def by_hand(
    dataset: DynamicalDataset,
    kind: str,
    positions: Iterable[tuple[int, int]] = (EVERYTHING,),
    *,
    now: Any = None,
) -> Iterator[Hand]:
    """Work on an archive while no run does.

    Parameters
    ----------
    dataset
        With its archive, which must exist.
    kind
        What is done; named in the lease and in the report.
    positions
        Half-open intervals of the append dim that are worked on.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive.
    LeaseHeld
        A run works on these positions.
    StoreUnwritable
        The store cannot be written.
    """
    check_exists(dataset)
    report = RunReport.begin(dataset.dataset_id, kind, mask_url(dataset.store.url))
    with leased(dataset.store, report.run, kind, positions) as lease:
        # With the lease in hand: what others did until then is there.
        archive = dataset.archive(now)
        publisher = Publisher(archive, dataset.replicas)
        _note_extent(dataset, archive, report, before=True)
        with publisher.feeding(lease):
            yield Hand(archive, publisher, lease, report)
        _note_extent(dataset, archive, report, before=False)
        report.replicas = publisher.replicas.outcomes()
        report.end()
        dataset.store.tracker.reports.write(report, page_of(report))


@contextmanager
def leased(
    store: FinalStore, run: str, kind: str, positions: Iterable[tuple[int, int]] = (EVERYTHING,)
) -> Iterator[Lease]:
    """Hold a store's lease during maintenance, and name the store if it refuses.

    Parameters
    ----------
    store
        Of the archive.
    run, kind, positions
        See `Lease`.

    Raises
    ------
    LeaseHeld
        A run works on these positions.
    StoreUnwritable
        The store cannot be written, or not any more.
    """
    require_writable(store)
    with refusals_named(store), Lease(store.state, run=run, kind=kind, positions=positions) as own:
        yield own


def publish_uploads(hand: Hand) -> None:
    """Let readers see what runs left, so that they see what the records say.

    Raises
    ------
    ValueError
        They cannot see some of it yet, as something else of its region is missing.
    """
    hand.publisher.publish(hand.lease)
    archive = hand.archive
    for record in _left_out(hand):
        unseen = [n for n, known in record.variables.items() if _is_unseen(archive, known)]
        if unseen:
            is_done = {n for n, known in record.variables.items() if known.state != "failed"}
            lacking = sorted((archive.stored_arrays().keys() & {*record.under_way}) - is_done)
            without = f" before {', '.join(lacking)}" if lacking else ""
            at = "static" if record.region.is_static else f"from {archive.index[record.start]} on"
            raise ValueError(
                f"{mask_url(archive.store.url)}: {', '.join(sorted(unseen))} {at} was uploaded "
                f"again and cannot be published{without}: complete it by gridmill update, or "
                "backfill, first; nothing was written"
            )


def _left_out(hand: Hand) -> Iterator[ProgressRecord]:
    """Yield the records of published regions whose uploads a publication leaves out."""
    archive, extent = hand.archive, hand.publisher.extent
    is_held = not extent.is_static_settled()
    for record in archive.store.tracker.all_records():
        is_there = record.start < archive.published and tokens_of(archive, record)
        if is_there and (is_held or not extent.is_whole(record)):
            yield record


def _is_unseen(archive: Archive, known: VariableRecord) -> bool:
    """Whether readers see something else than the objects that were uploaded."""
    if known.state != "done" or known.token is None:
        return False
    found = ((one, archive.store.read_object(one.key)) for one in known.objects)
    return any(content is None or not one.is_of(content) for one, content in found)


# -- upkeep of a store that keeps versions -------------------------------------------------------


def forget_versions(
    dataset: DynamicalDataset, older_than: datetime, *, now: Any = None
) -> tuple[RunReport, Mapping[str, int]]:
    """Forget earlier versions of an archive, and delete what only they held.

    Parameters
    ----------
    dataset
        With its archive.
    older_than
        See `FinalStore.forget_versions`.
    now
        The present; None asks the clock.

    Returns
    -------
    RunReport, mapping
        What is kept in the records, and counts by kind.

    Raises
    ------
    ValueError
        There is no archive, or its format keeps no versions.
    LeaseHeld
        Another upkeep is at work. Runs continue: what they need is spared.
    """
    with by_hand(dataset, "upkeep", [UPKEEP], now=now) as hand:
        went = dataset.store.forget_versions(older_than)
        counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in went.items())
        hand.report.notes.append(
            f"versions before {older_than.isoformat(timespec='seconds')} expired: {counts}"
        )
    return hand.report, went


def split_manifests(dataset: DynamicalDataset, *, now: Any = None) -> RunReport:
    """Split the manifests of an archive along its append dim, now and from now on.

    Readers see the same; it is one commit, which rewrites the manifests.

    Raises
    ------
    ValueError
        There is no archive, or its format has no manifests.
    LeaseHeld
        A run works on the archive.
    """
    with by_hand(dataset, "upkeep", [EVERYTHING, UPKEEP], now=now) as hand:
        dim = hand.archive.config.append_dim
        message = f"Split manifests along {dim}"
        with hand.lease.publishing() as check:
            dataset.store.split_manifests(dim, message, check)
        hand.report.notes.append(f"manifests split along {dim}")
    return hand.report


# -- the archive ---------------------------------------------------------------------------------


def check_exists(dataset: DynamicalDataset) -> None:
    """Raise unless there is an archive: a mistyped address is no empty one.

    Raises
    ------
    ValueError
        There is none.
    """
    store = dataset.store
    if store.metadata() is None and store.tracker.read_declaration() is None:
        raise ValueError(f"there is no archive at {store.url}: gridmill backfill makes one")


def _note_extent(
    dataset: DynamicalDataset, archive: Archive, report: RunReport, *, before: bool
) -> None:
    length = dataset.store.published_length(archive.config.append_dim) or 0
    label = str(archive.index[length - 1]) if length else None
    if before:
        report.positions_before, report.published_before = length, label
    report.positions_after, report.published_after = length, label
