"""Takes labels in that arrived after the settling window, between others that readers see.

Values move with their labels, in one commit; nothing is asked of the provider. The places of what
came late are gaps then, which the next update fills. Before the commit, the records that are to be
are kept beside those that are (`gridmill.stores.state.beside.reindexing`); after it they take
their place. Interrupted at any moment, the same command completes it, and nothing else works on the
archive until it has.

Replicas follow the archive, each from what it has to the labels that the archive has by then. One
that was away keeps its labels and is skipped by runs; the same command lets it follow.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.axis.following import check_same_arrays
from gridmill.authoring.axis import late_labels, on_axis
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.succession import kept_along
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.model.wording import count_of, short_label
from gridmill.operations.axis.inserting import (
    Receipts,
    complete_in,
    insert,
    mirrored_records,
    moves_to,
    refuse_plain,
)
from gridmill.operations.axis.moved import moved_records, with_objects
from gridmill.operations.maintenance import Hand, by_hand, check_exists, publish_uploads
from gridmill.publishing.view import ReaderView
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import Moves, published_labels

if TYPE_CHECKING:
    import pandas as pd

    from gridmill.dataset import DynamicalDataset

__all__ = ["TooSoon", "late_of", "reindex"]

KIND = "reindex"
# Everything behind the first late label is rewritten: late labels are taken in together.
AT_MOST_EVERY = timedelta(days=1)


class TooSoon(ValueError):  # noqa: N818
    """Late labels were taken in not long ago."""


def late_of(dataset: DynamicalDataset, now: Any = None) -> pd.Index[Any]:
    """Return the labels that arrived after the settling window, and that the archive lacks.

    Parameters
    ----------
    dataset
        With its archive.
    now
        The present; None asks the clock.
    """
    return late_labels(dataset.config(now))


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
        is_done = complete_in(dataset.store, hand.archive.config, hand.lease.proof)
        follow = partial(_follow, dataset, hand, now)
        hand.publisher.replicas.follow(follow)
        late = late_of(dataset, now)[: 0 if is_done else None]
        if len(late) or not (is_done or _has_followed(hand)):
            _check_possible(dataset)
            _check_wanted(dataset, late, soon=soon)
            _check_replicas(dataset, late)
            hand.archive.check_structure()
            publish_uploads(hand)
            _take_in(dataset, hand, late, who, now)
            is_done = complete_in(dataset.store, hand.archive.config, hand.lease.proof)
            hand.publisher.replicas.follow(follow)
        hand.archive.reach(dataset.store.published_length(dim) or 0, reload=True)
        if dataset.replicas and not len(late):
            hand.publisher.publish(hand.lease)  # what one lacks besides that was away
        if is_done:
            said = f"{who} took late labels in: gridmill update fetches their files"
            hand.report.notes.append(said)
    return hand.report


def _has_followed(hand: Hand) -> bool:
    """Whether there was something to do for a replica, were it only to tell why it failed."""
    replicas = hand.publisher.replicas
    return bool(hand.report.notes) or replicas.have_failed


def _check_possible(dataset: DynamicalDataset) -> None:
    where, config = mask_url(dataset.store.url), dataset.config()
    if config.settling_window is None:
        raise ValueError(
            f"{type(config).__name__} declares no settling_window: no label of {where} is late"
        )
    if dataset.store.shows_uploads:
        empty = Moves(config.append_dim, 0, 1, np.empty(0, np.int64), ())
        dataset.store.rearrange(Path(), empty, "", lambda _: None)
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


def _check_wanted(dataset: DynamicalDataset, late: pd.Index[Any], *, soon: bool) -> None:
    if not len(late):
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


def _check_replicas(dataset: DynamicalDataset, late: pd.Index[Any]) -> None:
    seen = published_labels(dataset.store, dataset.declared.append_dim)
    assert seen is not None
    for replica in dataset.replicas:
        refuse_plain(replica, seen, late)


def _take_in(
    dataset: DynamicalDataset, hand: Hand, late: pd.Index[Any], who: str, now: Any
) -> None:
    store, dim = dataset.store, dataset.declared.append_dim
    before = published_labels(store, dim)
    assert before is not None
    config = on_axis(dataset.config(now), inserted=tuple(late))
    archive = dataset.archive(just_after(before[-1]), config=config, as_declared=True)
    moves = moves_to(archive, store, before)
    assert moves is not None
    step = moves.step
    seen = [record for record in store.tracker.records() if record.start < len(before)]
    old = [record for record in seen if record.stop > moves.first - step]
    records = moved_records(archive, old, moves, hand.report.run)
    message = f"Take in {count_of(len(late), 'late label')}, the first {short_label(late[0])}"

    def whole(receipts: Receipts) -> list[ProgressRecord]:
        return [with_objects(record, receipts, step, archive) for record in records]

    insert(archive, store, moves, message, whole, hand.lease)
    hand.report.notes.append(message)


# -- replicas -----------------------------------------------------------------------------------


def _follow(dataset: DynamicalDataset, hand: Hand, now: Any, view: ReaderView) -> None:
    """Let a replica have the labels that readers of the archive see, with its own values."""
    store, dim = view.store, hand.archive.append_dim
    config = dataset.config(now)
    if complete_in(store, config, hand.lease.proof):
        hand.report.notes.append(f"completed what was interrupted in {mask_url(store.url)}")
    seen = published_labels(store, dim)
    if seen is None or not len(seen):
        return
    archive = dataset.archive(just_after(seen[-1]), config=config, as_declared=True)
    moves = moves_to(archive, store, seen)
    if moves is None:
        return
    late = archive.index[moves.sources < 0]
    refuse_plain(store, seen, late)
    check_same_arrays(archive, store)
    message = f"Take in {count_of(len(late), 'late label')}, the first {short_label(late[0])}"
    insert(archive, store, moves, message, partial(mirrored_records, archive, moves), hand.lease)
    complete_in(store, config, hand.lease.proof)
    hand.report.notes.append(f"{mask_url(store.url)} followed: {message}")
