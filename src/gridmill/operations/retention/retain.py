"""Lets an archive roll: its first positions go, and it begins later from then on.

Whole regions go, in one commit that shifts all arrays, shortens them, and gives readers the labels
that are kept. What counts positions is renumbered: records, with the keys of their objects, and
proofs; what they say within a region is relative to it. The archive's declaration names the new
start, as `--start` does for a new archive, so that everything that asks a template for its first
label gets it. Before the commit, the records that are to be are kept beside those that are; after
it they take their place, and the declaration follows last of all. Interrupted at any moment, the
same command completes it. Between the commit and the declaration, the labels that readers see
contradict the declared ones, so that nothing else works on the archive.

Replicas follow the archive, see `gridmill.operations.retention.following`. Earlier versions have
what went until `gridmill upkeep` forgets them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.archive.axis.following import MOVING
from gridmill.archive.declaration import stored_metadata
from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.axis import on_axis
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.over_time.succession import kept_along
from gridmill.authoring.template import TemplateConfig
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.model.wording import count_of, short_label
from gridmill.operations.axis.moved import moved_record
from gridmill.operations.maintenance import Hand, by_hand, check_exists, publish_uploads
from gridmill.operations.retention.completing import KIND, complete_in, shifted_proofs
from gridmill.operations.retention.following import follow, refuse_plain
from gridmill.operations.retention.shifted import Shift
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import Moves, published_labels
from gridmill.stores.state.beside.feed import utc_now
from gridmill.stores.state.claims import ADDING, EVERYTHING
from gridmill.stores.structure import structure_differences

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["retain", "to_be_dropped", "whole_regions"]

# What is recorded apart of variables that are being added has positions, too.
POSITIONS = (EVERYTHING, ADDING)


def to_be_dropped(dataset: DynamicalDataset, keep: timedelta) -> int:
    """Return how many of an archive's first positions go: whole regions, all older than is kept.

    Parameters
    ----------
    dataset
        With its archive.
    keep
        How much before the last published label is kept.
    """
    labels = published_labels(dataset.store, dataset.declared.append_dim)
    if labels is None or not len(labels):
        return 0
    older = int((labels <= labels[-1] - keep).sum())
    return whole_regions(dataset.config(), older)


def whole_regions(config: TemplateConfig, positions: int) -> int:
    """Return how many of some first positions of an archive are in regions that go whole."""
    step = _step(config)
    return positions // step * step


def retain(dataset: DynamicalDataset, keep: timedelta, *, who: str, now: Any = None) -> RunReport:
    """Let the first regions of an archive go, or complete a call that was interrupted.

    Parameters
    ----------
    dataset
        With its archive.
    keep
        How much before the last published label is kept, at the least: regions go whole.
    who
        Kept in the report.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive, or it cannot be done in this one: nothing was written.
    LeaseHeld
        A run works on the archive.
    LeaseLost
        Another process took this one for dead.
    """
    check_exists(dataset)
    if dataset.store.tracker.retaining.read() is not None:
        with by_hand(dataset, KIND, POSITIONS, now=now) as hand:
            if complete_in(dataset.store, hand.archive.append_dim, hand.lease.proof, is_told=True):
                hand.report.notes.append(f"{who} completed what was interrupted")
            _begin_anew(dataset, hand, now)
    with by_hand(dataset, KIND, POSITIONS, now=now) as hand:
        hand.archive.check_structure()
        replicas = hand.publisher.replicas
        replicas.follow(partial(follow, dataset, hand, now, was_away=True), MOVING)
        dropped = to_be_dropped(dataset, keep)
        if dropped:
            _check_possible(dataset, hand, dropped)
            publish_uploads(hand)
            _drop(dataset, hand, dropped, who, now)
            replicas.follow(partial(follow, dataset, hand, now), MOVING)
        else:
            if hand.report.notes:
                hand.publisher.publish(hand.lease)  # what one lacks besides that was away
            step = count_of(_step(hand.archive.config), "position")
            hand.report.notes.append(f"no whole region ({step}) is older: nothing went")
    return hand.report


def _step(config: TemplateConfig) -> int:
    """Return of how many positions a multiple goes: whole objects of every variable."""
    others = (var.object_length(config.append_dim) for var in kept_along(config))
    return math.lcm(config.region_length, *others)


def _check_possible(dataset: DynamicalDataset, hand: Hand, dropped: int) -> None:
    store, where = dataset.store, mask_url(dataset.store.url)
    if store.shows_uploads:
        nothing = Moves(hand.archive.append_dim, 0, 1, np.array([dropped]), ())
        store.rearrange(Path(), nothing, "", lambda _: None)
    refuse_plain(dataset.replicas)
    if next(store.tracker.adding.all_records(), None) is not None:
        raise ValueError(
            f"variables are being added to {where}: complete the backfill or the rename that adds "
            "them first; nothing was written"
        )
    if store.tracker.reindexing.read() is not None:
        raise ValueError(f"a reindex of {where} was interrupted: gridmill reindex completes it")


# -- what goes ------------------------------------------------------------------------------------


def _drop(dataset: DynamicalDataset, hand: Hand, dropped: int, who: str, now: Any) -> None:
    store, before = dataset.store, hand.archive
    dim, length = before.append_dim, before.look() or 0
    archive = _later(dataset, before, dropped, now)
    sources = np.arange(dropped, length, dtype=np.int64)
    moves = Moves(dim, 0, archive.config.region_length, sources, ())
    records = list(_records(before, archive, moves, hand.report.run))
    start = archive.index[0]
    message = (
        f"Retain from {short_label(start)} on: {count_of(dropped, 'position')} before it dropped"
    )

    with hand.lease.publishing() as check:

        def prepared(receipts: Any) -> None:
            check()
            store.tracker.retaining.begin(
                0,
                length - dropped,
                [],
                records,
                shifted_proofs(store.tracker, dropped, records),
                start=start.isoformat(),
                last=str(archive.index[length - dropped - 1]),
                dropped=dropped,
                run=hand.report.run,
                at=utc_now(),
            )
            check()

        with archive.written(archive.up_to(length - dropped)) as folder:
            store.rearrange(folder, moves, message, prepared)
        complete_in(store, dim, hand.lease.proof, is_told=True)
        _begin_anew(dataset, hand, now)
    hand.report.notes.append(f"{who}: {message}")


def _later(dataset: DynamicalDataset, before: Archive, dropped: int, now: Any) -> Archive:
    """Return the archive as it is to be.

    Raises
    ------
    ValueError
        The template does not give what is kept where it begins later.
    """
    store, dim = dataset.store, before.append_dim
    published = store.open_dataset(chunks=None)
    kept = published.isel({dim: slice(dropped, None)})
    labels = kept.get_index(dim)
    coded = on_axis(dataset.coded(now), published=lambda: labels)
    config = as_made(coded.narrowed(start=labels[0].isoformat()), stored_metadata(store)).config
    archive = dataset.archive(just_after(labels[-1]), config=config, as_declared=True)
    found = list(archive.index[: len(labels)]) == list(labels)
    differences = [] if found else [f"labels of {dim} differ"]
    template, stored = json.loads(archive.metadata), store.metadata() or {}
    differences += structure_differences(template, stored, dim)
    differences += [] if differences else archive.coordinate_differences(kept, len(labels))
    if differences:
        raise ValueError(
            f"{type(config).__name__} gives another archive where append_dim_start is "
            f"{labels[0].isoformat()} ({'; '.join(differences)}): let its labels and coordinates "
            "from there on be the same whatever the start is; nothing was written"
        )
    return archive


def _records(before: Archive, archive: Archive, moves: Moves, run: str) -> Iterator[ProgressRecord]:
    """Yield the records of what is kept, with their new positions."""
    shift = Shift(moves.dropped, before.stored_arrays(), before.append_dim)
    old = [
        r for r in before.store.tracker.records() if r.start < moves.dropped + len(moves.sources)
    ]
    kept = [record for record in old if record.start >= moves.dropped]
    is_first = True
    for record in kept:
        shifted = shift.record(record)
        if is_first:
            # What was made of source files before the start is so no longer.
            is_first = not _fits_alike(before, record, archive, shifted)
            if is_first:
                shifted = _refitted(archive, shifted, kept, moves, run)
        yield shifted


def _fits_alike(
    before: Archive, record: ProgressRecord, archive: Archive, shifted: ProgressRecord
) -> bool:
    """Whether a record is believed as far as it was."""
    was, will = (
        prepare_recorded(of, of.job(of.region_at(known.start)), known).todo.keys()
        for of, known in ((before, record), (archive, shifted))
    )
    return will <= was


def _refitted(
    archive: Archive,
    shifted: ProgressRecord,
    old: Sequence[ProgressRecord],
    moves: Moves,
    run: str,
) -> ProgressRecord:
    """Return a record that lists the source files which its region has from now on."""
    made = moved_record(archive, shifted.start, old, moves, run)
    variables = {
        name: replace(known, group=known.group + len(made.groups))
        for name, known in shifted.variables.items()
    }
    for name, now in made.variables.items():
        if name in variables:
            own = ("group", "fingerprint", "unread", "tries")
            parts = {part: getattr(now, part) for part in own}
            variables[name] = replace(variables[name], **parts)
    groups = (*made.groups, *shifted.groups)
    under_way = {
        name: replace(known, group=known.group + len(made.groups))
        for name, known in shifted.under_way.items()
    }
    parts = {"runs": made.runs, "history": made.history}
    return replace(shifted, groups=groups, variables=variables, under_way=under_way, **parts)


def _begin_anew(dataset: DynamicalDataset, hand: Hand, now: Any) -> None:
    """Let the archive in hand have the labels that readers see."""
    archive = hand.archive
    archive.config = dataset.config(now)
    archive.reach(dataset.store.published_length(archive.append_dim) or 0, reload=True)
