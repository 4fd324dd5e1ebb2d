"""Takes labels in that came behind the settling window, between others that readers see.

Values move with their labels, in one commit; nothing is asked of the provider. The places of what
came late are gaps then, which the next update fills. Before the commit, the records that are to be
are kept beside those that are (`gridmill.stores.state.beside.reindexing`); after it they take
their place. Interrupted at any moment, the same command completes it, and nothing else works on the
archive until it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.authoring.axis import late_labels, on_axis
from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.succession import kept_along
from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.model.wording import count_of, short_label
from gridmill.operations.axis.moved import moved_records, with_objects
from gridmill.operations.maintenance import (
    Hand,
    by_hand,
    check_exists,
    publish_uploads,
    refuse_replicas,
)
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import Moves, published_labels

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["TooSoon", "late_of", "reindex"]

KIND = "reindex"
# Everything behind the first late label is written anew: late labels are taken in together.
AT_MOST_EVERY = timedelta(days=1)


class TooSoon(ValueError):  # noqa: N818
    """Late labels were taken in not long ago."""


def late_of(dataset: DynamicalDataset, now: Any = None) -> list[Any]:
    """Return the labels that came behind the settling window, and that the archive lacks.

    Parameters
    ----------
    dataset
        With its archive.
    now
        The present; None asks the clock.
    """
    return list(late_labels(dataset.config(now)))


def reindex(
    dataset: DynamicalDataset, *, who: str, soon: bool = False, now: Any = None
) -> RunReport:
    """Take all late labels in, or complete a call that was interrupted.

    Parameters
    ----------
    dataset
        With its archive.
    who
        Kept in the report.
    soon
        Also less than a day after the last time.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive or no late label, it cannot be done in this archive, or it was done less
        than a day ago: nothing was written.
    LeaseHeld
        A run works on the archive.
    LeaseLost
        Another process took this one for dead.
    """
    check_exists(dataset)
    dim = dataset.declared.append_dim
    with by_hand(dataset, KIND, now=now) as hand:
        # What readers see already is completed, whatever the code declares by now.
        if not _complete(hand):
            _check_possible(dataset)
            _check_wanted(dataset, late_of(dataset, now), soon=soon)
            hand.archive.check_structure()
            publish_uploads(hand)
            _take_in(dataset, hand, late_of(dataset, now), who, now)
            _complete(hand)
        hand.archive.reach(dataset.store.published_length(dim) or 0, anew=True)
        hand.report.notes.append(f"{who} took late labels in: gridmill update fetches their files")
    return hand.report


def _check_possible(dataset: DynamicalDataset) -> None:
    where, config = mask_url(dataset.store.url), dataset.config()
    if config.settling_window is None:
        raise ValueError(
            f"{type(config).__name__} declares no settling_window: no label of {where} is late"
        )
    if dataset.store.shows_uploads:
        empty = Moves(config.append_dim, 0, 1, np.empty(0, np.int64), ())
        dataset.store.rearrange(Path(), empty, "", lambda _: None)
    refuse_replicas(dataset)
    if kept := [var.name for var in kept_along(config)]:
        raise ValueError(
            f"the code no longer declares {', '.join(kept)}, whose values in {where} would stay "
            "where they are, under labels of others: declare it again, or take it away by gridmill "
            f"remove-variable {' '.join(kept)}; nothing was written"
        )
    wordless = [v.name for v in config.data_vars if v.encoding.missing is None and config.varies(v)]
    if wordless:
        raise ValueError(
            f"nothing says missing in {', '.join(wordless)}: readers would see 0 at late labels "
            "until their files are read; a new archive whose Encoding has a fill_value can do it"
        )


def _check_wanted(dataset: DynamicalDataset, late: Sequence[Any], *, soon: bool) -> None:
    if not late:
        raise ValueError(
            f"no label of {mask_url(dataset.store.url)} arrived late: nothing to insert"
        )
    reports = dataset.store.tracker.reports.past()
    last = next((r for r in reports if r.kind == KIND and r.ended and not r.interrupted), None)
    if last is None or soon:
        return
    since = datetime.now(UTC) - datetime.fromisoformat(str(last.ended))
    if since < AT_MOST_EVERY:
        raise TooSoon(
            f"{mask_url(dataset.store.url)} was reindexed at {last.ended}, and each time writes "
            "all regions after the first late label: wait for a day, or give --soon"
        )


def _take_in(
    dataset: DynamicalDataset, hand: Hand, late: Sequence[Any], who: str, now: Any
) -> None:
    store, dim = dataset.store, dataset.declared.append_dim
    before = published_labels(store, dim)
    assert before is not None
    config = on_axis(dataset.config(now), inserted=tuple(late))
    archive = dataset.archive(just_after(before[-1]), config=config, as_declared=True)
    sources = before.get_indexer(archive.index).astype(np.int64)
    first = archive.region_start(int(np.flatnonzero(sources < 0)[0]))
    arrays = [var.name for var in config.data_vars if config.varies(var)]
    arrays += [share.name for share in shares_of(config.coords)]
    step = config.region_length
    moves = Moves(dim, first, step, sources, tuple(a for a in arrays if a in archive.arrays))
    seen = [record for record in store.tracker.records() if record.start < len(before)]
    old = [record for record in seen if record.stop > first - step]
    records = moved_records(archive, old, moves, hand.report.run)
    message = f"Take in {count_of(len(late), 'late label')}, the first {short_label(late[0])}"
    with hand.lease.publishing() as check:

        def prepared(receipts: Mapping[str, tuple[ObjectReceipt, ...]]) -> None:
            check()
            whole = [with_objects(record, receipts, step, archive) for record in records]
            _begin(archive, late, first, whole)
            check()

        with archive.written(archive.template_ds) as folder:
            store.rearrange(folder, moves, message, prepared)
    hand.report.notes.append(message)


def _begin(
    archive: Archive, late: Sequence[Any], first: int, records: Sequence[ProgressRecord]
) -> None:
    labels = [label.isoformat() for label in late]
    archive.store.tracker.reindexing.begin(first, len(archive.index), labels, records)


def _complete(hand: Hand) -> bool:
    """Let the records say what readers see, if a reindex is under way that they do see."""
    archive, tracker = hand.archive, hand.archive.store.tracker
    order = tracker.reindexing.read()
    if order is None:
        return False
    seen = published_labels(archive.store, archive.append_dim)
    labels = {archive.config.label(text) for text in order["inserted"]}
    if seen is None or len(seen) < order["length"] or not labels <= set(seen):
        tracker.reindexing.end()  # interrupted before anybody saw it
        return False
    records = list(tracker.reindexing.records())
    kept = {record.start for record in records}
    for record in list(tracker.records()):
        hand.lease.proof.check()
        if record.stop > order["first"] and record.start not in kept:
            tracker.delete(record.region)
    for record in records:
        hand.lease.proof.check()
        tracker.read(record.region)
        tracker.write(record)
    tracker.notices.delete(tracker.notices.all())
    tracker.reindexing.end()
    return True
