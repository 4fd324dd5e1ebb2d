"""Withdraw published values from readers where they turned out to be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.reports.run_report import RunReport
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.operations.accept import signed
from gridmill.operations.maintenance import Hand, by_hand, check_exists
from gridmill.pipeline.canvas import Values, slabs_of
from gridmill.pipeline.shards import ObjectWriter
from gridmill.publishing.view import ReaderView
from gridmill.stores.final_store import Uploaded
from gridmill.stores.metadata import ROOT
from gridmill.stores.objects.leftovers import temporary_folder

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Withdrawal", "withdraw"]


@dataclass(frozen=True)
class Withdrawal:
    """What was taken from readers.

    Parameters
    ----------
    variables
        Their names.
    first, last
        Labels of the positions, both included.
    positions
        How many they are.
    files
        The source files that are not read again for these variables, until there is another
        version of them.
    note
        Who, when and why: kept in the records.
    report
        Kept beside the records.
    """

    variables: tuple[str, ...]
    first: str
    last: str
    positions: int
    files: tuple[str, ...]
    note: str
    report: RunReport


def withdraw(
    dataset: DynamicalDataset,
    *,
    start: str,
    end: str,
    variables: Sequence[str],
    who: str,
    why: str,
    keep: datetime | None = None,
    now: Any = None,
) -> Withdrawal:
    """Let readers see missing values where published ones are wrong, or what they saw before.

    The source files that brought them are not read again for these variables, whatever asks for
    it; another version of one is taken in as any revised file is. The extent stays.

    Parameters
    ----------
    dataset
        With its archive.
    start, end
        Labels of the append dim; the end is not included.
    variables
        Names; those that have no append dim are refused.
    who, why
        Kept in the records.
    keep
        Show what readers saw at this moment, with its time zone, where they saw something; None
        shows missing values. Only Icechunk keeps what readers saw before.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        Nothing of that is published, no record says what it was made of, or nothing is kept of the
        moment; nothing was written.
    LeaseHeld
        A run works on the archive.

    Notes
    -----
    Records say first that the values are withdrawn, so that no update brings them back; then
    objects are replaced, and receipts recorded. Interrupted at any moment, call it again to
    complete. On Icechunk readers see all of it with one commit, also of a replica; on plain Zarr
    object by object.
    """
    check_exists(dataset)
    note = signed(who, why)
    with by_hand(dataset, "withdraw", now=now) as hand:
        hand.archive.check_structure()
        chosen = _Chosen.of(hand.archive, start, end, variables, keep)
        if keep is not None:
            _check_kept(hand.archive, chosen, keep)
        records = list(_records(hand.archive, chosen))
        files = sorted({file.url for record in records for file in _touched(record, chosen)})
        marked = [_marked(record, chosen, note) for record in records]
        hand.publisher.publish(hand.lease)  # what runs left: then nothing else is unseen
        for record in marked:
            _write(hand, record)
        if hand.archive.store.shows_uploads:
            hand.publisher.publish(hand.lease)  # the completeness, where there is one
        for record in marked:
            _write(hand, _emptied(hand, record, chosen))
        hand.publisher.replicas.each(partial(_forget, marked))
        message = f"Withdraw {chosen.told}: {' '.join(why.split())}"
        names = [var.name for var in chosen.variables]
        hand.publisher.note_revised(Region(chosen.first, chosen.stop))
        hand.publisher.publish(hand.lease, message=message, together=names)
        hand.report.notes.append(f"withdrew {chosen.told}: {note}")
    first, last = (str(hand.archive.index[at]) for at in (chosen.first, chosen.stop - 1))
    count = chosen.stop - chosen.first
    return Withdrawal(tuple(names), first, last, count, tuple(files), note, hand.report)


@dataclass(frozen=True)
class _Chosen:
    """What is withdrawn: variables, and positions of the append dim, half-open."""

    variables: tuple[DataVar, ...]
    first: int
    stop: int
    told: str
    keep: datetime | None

    @classmethod
    def of(
        cls,
        archive: Archive,
        start: str,
        end: str,
        names: Sequence[str],
        keep: datetime | None,
    ) -> _Chosen:
        config, dim = archive.config, archive.append_dim
        variables = config.select(names)
        static = [var.name for var in variables if dim not in var.dims]
        if static or not variables:
            what = f"{', '.join(static)} has no {dim}" if static else "no variable is named"
            raise ValueError(f"{what}: name variables along {dim}")
        wordless = [var for var in variables if var.encoding.missing is None]
        if wordless:
            raise ValueError(
                f"nothing says missing in {wordless[0].name} ({wordless[0].encoding.dtype}): "
                f"readers would see {wordless[0].encoding.fill}; wait for another version of its "
                "source files, or build a new archive whose Encoding has a fill_value that cannot "
                "occur"
            )
        published = archive.look() or 0
        first, stop = (config.position(label, archive.index) for label in (start, end))
        stop = min(stop, published)
        if first >= stop:
            raise ValueError(
                f"nothing from {start} to before {end} is published: readers see {published} "
                f"positions, up to {archive.last_label}"
            )
        told = f"{', '.join(var.name for var in variables)} from {start} to before {end}"
        return cls(variables, first, stop, told, keep)

    def in_region(self, record: ProgressRecord) -> slice:
        """Return the positions, relative to a region's start."""
        return slice(max(0, self.first - record.start), min(record.stop, self.stop) - record.start)


def _check_kept(archive: Archive, chosen: _Chosen, keep: datetime) -> None:
    """Raise unless the store keeps what readers saw at a moment, under the same labels."""
    for var in chosen.variables:
        nothing = (slice(0, 0), *(slice(0, 0) for _ in var.dims[1:]))
        archive.store.read_as_of(var.name, nothing, keep)
    store, dim, at = archive.store, archive.append_dim, (slice(chosen.first, chosen.stop),)
    labels = store.read_as_of(dim, at, keep)
    if not np.array_equal(labels, store.read(dim, at)[: len(labels)]):
        raise ValueError(
            f"readers of {keep.isoformat(timespec='seconds')} saw other labels at the positions of "
            f"{chosen.told}: the archive's first positions were dropped since, or late labels were "
            "taken in; give a later moment, or none"
        )


def _records(archive: Archive, chosen: _Chosen) -> Iterator[ProgressRecord]:
    position = archive.region_start(chosen.first)
    while position < chosen.stop:
        region = archive.region_at(position)
        record = archive.store.tracker.read(region)
        lacking = [v.name for v in chosen.variables if record is None or not _has(record, v.name)]
        if record is None or lacking:
            raise ValueError(
                f"no record says what {', '.join(lacking)} was made of from "
                f"{archive.index[position]} on: gridmill rebuild-records writes one"
            )
        yield record
        position = region.stop


def _has(record: ProgressRecord, name: str) -> bool:
    known = record.variables.get(name)
    return known is not None and known.state != "failed"


def _touched(record: ProgressRecord, chosen: _Chosen) -> list[SourceFileRecord]:
    return [
        record.groups[record.variables[var.name].group][index]
        for var in chosen.variables
        for index in _indices(record, var.name, chosen)
    ]


def _indices(record: ProgressRecord, name: str, chosen: _Chosen) -> list[int]:
    """Return the source files that brought values of a variable to the positions."""
    known, at = record.variables[name], chosen.in_region(record)
    return [
        index
        for index, file in enumerate(record.groups[known.group])
        if file.status is SourceFileStatus.SUCCEEDED
        and index not in known.unread
        and file.start < at.stop
        and at.start < file.stop
    ]


def _marked(record: ProgressRecord, chosen: _Chosen, note: str) -> ProgressRecord:
    """Say of the source files that their values are withdrawn, and that they are not read again."""
    words: dict[str, dict[str, Word]] = {}
    variables = dict(record.variables)
    for var in chosen.variables:
        known = variables[var.name]
        at = _indices(record, var.name, chosen)
        for index in at:
            file = record.groups[known.group][index]
            words.setdefault(file.url, {})[var.name] = Word(note, file.identity, file.checksum)
        said = dict.fromkeys(at, (True, f"{SourceFileStatus.WITHDRAWN}: {note}"))
        variables[var.name] = replace(known, unread={**known.unread, **said})

    def mark(file: SourceFileRecord) -> SourceFileRecord:
        said = words.get(file.url, {})
        released = {name: word for name, word in file.released.items() if name not in said}
        return replace(file, released=released, withdrawn={**file.withdrawn, **said})

    groups = tuple(tuple(map(mark, group)) for group in record.groups)
    return replace(record, groups=groups, variables=variables)


def _write(hand: Hand, record: ProgressRecord) -> None:
    hand.lease.proof.check()
    hand.publisher.completeness.announce(record.region, hand.report.run)
    hand.archive.store.tracker.write(record)
    hand.publisher.remember(record)


def _forget(records: Sequence[ProgressRecord], view: ReaderView) -> None:
    """Mark these regions of a replica to be copied again.

    What readers may be reading is replaced by objects of the same size. The crc32c of one whose
    chunks end with their own says no more than their sizes, so that they look as they did.
    """
    for record in records:
        view.store.tracker.delete(record.region)


def _emptied(hand: Hand, record: ProgressRecord, chosen: _Chosen) -> ProgressRecord:
    """Replace a region's objects, and say so."""
    variables = dict(record.variables)
    for var in chosen.variables:
        known = variables[var.name]
        if known.state == "done":
            put = _upload(hand, record, known, var, chosen)
            run = hand.report.run
            variables[var.name] = replace(known, objects=put.objects, token=put.token, run=run)
    return replace(record, variables=variables)


def _upload(
    hand: Hand, record: ProgressRecord, known: VariableRecord, var: DataVar, chosen: _Chosen
) -> Uploaded:
    at = chosen.in_region(record)
    archive, store, region = hand.archive, hand.archive.store, record.region
    metadata = archive.arrays[var.name]
    dim = archive.append_dim
    sizes = [len(region) if d == dim else archive.template_ds.sizes[d] for d in var.dims]
    whole = [d == dim for d in var.dims]
    itemsize = np.dtype(var.encoding.dtype).itemsize
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        (folder / ROOT).write_bytes(archive.metadata)
        writer = ObjectWriter(folder, var.name, metadata)
        for slab in slabs_of(sizes, var.encoding.chunks, itemsize, whole=whole):
            where = (region.slice, *slab[1:])
            values: Values = store.read_uploaded(var.name, where, metadata, known.token).copy()
            values[at] = var.encoding.fill
            if chosen.keep is not None:
                before = slice(record.start + at.start, record.start + at.stop)
                kept = store.read_as_of(var.name, (before, *slab[1:]), chosen.keep)
                values[at][: len(kept)] = kept
            writer.write(where, values)
        keys = writer.keys
        writer.close(store.nbytes_in_use(keys))
        return store.upload(folder, keys, hand.lease.proof, replaces=True)
