"""Rename variables of an archive to the names that its dataset declares.

No source file is asked for, and readers see the new name at once for all positions. The former
name stays until a date, and updates fill both: what is stored is copied inside each store, and its
records with it. Or it goes at once: then Icechunk's format 2 gives arrays the new name where they
are, and every other store copies, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive, apart_of
from gridmill.archive.declaration import stored_metadata
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.over_time.succession import renames
from gridmill.model.display_hook import page_of
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.maintenance import check_exists, leased
from gridmill.operations.variables.removing import delete_hidden, hide_in_all, without
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.variables.hiding import rename_shown
from gridmill.publishing.variables.merging import with_variables
from gridmill.publishing.variables.showing import (
    are_shown,
    forget_added,
    forget_shown,
    record_added,
    show_added,
)
from gridmill.publishing.view import ReaderView
from gridmill.runs.additions.showing import nobody_at_work
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.copied import renamed
from gridmill.stores.final_store import FinalStore, Rename, Uploaded
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.state.beside.variables import GoingVariables, read_going, write_going
from gridmill.stores.state.claims import ADDING
from gridmill.stores.state.leases import Lease, LeaseProof

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["former_names", "rename_variables", "renames_of"]


def renames_of(dataset: DynamicalDataset) -> dict[str, str]:
    """Return by its name in a store what the code calls a variable that is to be renamed.

    In an archive, or in a replica that failed as its archive was renamed.
    """
    found: dict[str, str] = {}
    for _, arrays in _answering(dataset):
        found |= renames(dataset.coded(), arrays)
    return found


def former_names(dataset: DynamicalDataset) -> list[str]:
    """Return the names that a rename was to end, which died before it had, or failed somewhere."""
    coded, found = dataset.coded().data_vars, set[str]()
    for going, arrays in _answering(dataset):
        left = {v.previously for v in coded if v.previously is not None and v.name in arrays}
        found |= left.intersection((*arrays, *going.removing))
    return sorted(found - read_going(dataset.store.state).kept_until.keys())


def _answering(dataset: DynamicalDataset) -> Iterator[tuple[GoingVariables, Collection[str]]]:
    """Yield what goes and what is there, of an archive and of its replicas that can be read."""
    stored = stored_metadata(dataset.store) or {}
    yield read_going(dataset.store.state), array_metadata(stored)
    for store in dataset.replicas:
        try:
            found = read_going(store.state), array_metadata(store.metadata() or {})
        except (OSError, ValueError):
            continue  # told by the run that comes to it
        yield found


def rename_variables(
    dataset: DynamicalDataset,
    *,
    keep_until: str | None = None,
    who: str = "",
    grace_s: float = 60.0,
    now: Any = None,
) -> RunReport:
    """Rename the variables whose `DataVar.previously` an archive and its replicas have.

    Waits for the end of runs that are at work, once what is stored is copied. Interrupted, the
    same call completes it.

    Parameters
    ----------
    dataset
        With its archive.
    keep_until
        The date until which readers find the former names, too (ISO 8601); None ends them now.
    who
        Kept in the report.
    grace_s
        See `remove_variables`.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive.
    LeaseHeld
        A run is at work for long, or variables are being added.
    """
    check_exists(dataset)
    if keep_until is not None:
        dataset.coded().label(keep_until)
    report = RunReport.begin(dataset.dataset_id, "migrate-metadata", mask_url(dataset.store.url))
    state = dataset.store.state
    with leased(dataset.store, report.run, report.kind, [ADDING]) as lease:
        pairs = renames_of(dataset)
        archive = _with_new_names(dataset, pairs, now)
        for store in (dataset.store, *dataset.replicas):
            forget_shown(store, archive)
        if pairs:
            _copy_all(archive, dataset.replicas, pairs, lease, keep_until)
        with nobody_at_work(state, report.run) as alone:
            # Meanwhile updates may have published more, and labels may have come in between.
            archive = _with_new_names(dataset, pairs, now)
            publisher = shown = Publisher(archive, dataset.replicas)
            if pairs:
                renamed = _without_former(dataset, archive, pairs, now)
                of = partial(_made_as, dataset, pairs, now)
                _show_in_all(publisher, renamed, of, pairs, alone, keep_until)
            _carry_in_all(publisher, dataset, alone)
            ended = former_names(dataset) if keep_until is None else []
            if ended:
                # One that does not show the new names keeps the former ones.
                publisher = hide_in_all(dataset, ended, alone, now, shown.replicas.stores)
        if ended:
            delete_hidden(publisher, ended, lease, grace_s)
        outcomes = {of.url: of for of in publisher.replicas.outcomes()}
        report.replicas = [outcomes.get(of.url, of) for of in shown.replicas.outcomes()]
        length = dataset.store.published_length(archive.append_dim) or 0
        report.positions_before = report.positions_after = length
        report.notes.extend(_notes(pairs, ended, keep_until, who))
        report.end()
        dataset.store.tracker.reports.write(report, page_of(report))
    return report


def _notes(
    pairs: Mapping[str, str], ended: Sequence[str], keep_until: str | None, who: str
) -> list[str]:
    by = f"{who} " if who else ""
    kept = "" if keep_until is None else f"; {{}} is kept until {keep_until}"
    said = [f"{by}renamed {old} to {new}{kept.format(old)}" for old, new in pairs.items()]
    return said + [f"{by}ended the former name {old}" for old in ended if old not in pairs]


def _with_new_names(dataset: DynamicalDataset, pairs: Mapping[str, str], now: Any) -> Archive:
    """Return the archive with both names of the variables, the new ones unseen."""
    names = list(pairs.values())
    config = as_made(dataset.coded(), stored_metadata(dataset.store), names).config
    archive = dataset.archive(now, config=config)
    archive.unseen = tuple(names)
    archive.check_structure()
    return archive


def _made_as(
    dataset: DynamicalDataset, pairs: Mapping[str, str], now: Any, store: FinalStore
) -> Archive:
    """Return the archive with both names, as a replica has it that failed before."""
    config = as_made(dataset.coded(), store.metadata(), list(pairs.values())).config
    archive = dataset.archive(now, config=config)
    archive.unseen = tuple(pairs.values())
    return archive


def _without_former(
    dataset: DynamicalDataset, both: Archive, pairs: Mapping[str, str], now: Any
) -> Archive:
    """Return the archive with the new names alone."""
    return dataset.archive(now, config=without(both.config, list(pairs)))


def _show_in_all(
    publisher: Publisher,
    renamed: Archive,
    made_as: Callable[[FinalStore], Archive],
    pairs: Mapping[str, str],
    lease: Lease,
    keep_until: str | None,
) -> None:
    """Show the new names in the replicas, then in the archive.

    `renamed` is the archive without the former ones; `made_as` gives it with both, as a store has
    it, also where the archive has ended the former ones already.
    """
    names, run = list(pairs.values()), lease.claim.run

    def show(view: ReaderView) -> None:
        store = view.store
        if keep_until is not None:
            _note_going(store, pairs, keep_until)
        if not are_shown(store, names):
            rename = _renaming(publisher.archive, store, pairs, keep_until)
            # What was published since.
            _copy(publisher.archive, store, pairs, lease.proof, is_moved=rename is not None)
            if rename is not None:
                view = view.declared_as(renamed)
            elif not pairs.keys() <= view.archive.arrays.keys():
                view = view.declared_as(made_as(store))
            view.completeness.learn(run)
            record_added(view, names, run)
            declare = partial(_declare, store, pairs)
            with lease.publishing() as check:
                if rename is None:
                    show_added(view, names, check, declare)
                else:
                    _note_going(store, pairs, None)
                    rename_shown(view, pairs, rename, check, declare, run)
            view.completeness.settle()
        forget_added(store.tracker, names)

    with publisher.feeding(lease):
        publisher.change_everywhere(show)
        with lease.publishing():
            publisher.note_variables(lease, added=names)


def _carry_in_all(publisher: Publisher, dataset: DynamicalDataset, lease: Lease) -> None:
    """Let what no reader sees yet have the new names, too; also what a call left that died."""
    shown = array_metadata(stored_metadata(dataset.store) or {})
    named = {var.previously: var.name for var in dataset.coded().data_vars if var.name in shown}
    pairs = {old: new for old, new in named.items() if old is not None}
    archive = publisher.archive
    if pairs:
        publisher.change_everywhere(lambda view: _carry(archive, view.store, pairs, lease.proof))


def _renaming(
    archive: Archive, store: FinalStore, pairs: Mapping[str, str], keep_until: str | None
) -> Rename | None:
    """Return what gives arrays the new names where they are; None where they are copied."""
    return store.renaming(list(pairs), archive.append_dim) if keep_until is None else None


def _note_going(store: FinalStore, former: Collection[str], keep_until: str | None) -> None:
    """Keep in a store until when the former names stay; None where they go now."""
    going = read_going(store.state)
    others = {name: date for name, date in going.kept_until.items() if name not in former}
    removing = set(going.removing) - set(former)
    if keep_until is None:
        write_going(store.state, GoingVariables(others, tuple(sorted(removing | set(former)))))
        return
    kept = {**others, **dict.fromkeys(former, keep_until)}
    write_going(store.state, GoingVariables(kept, tuple(sorted(removing))))


def _declare(store: FinalStore, pairs: Mapping[str, str]) -> None:
    declared = store.tracker.read_declaration() or {}
    if declared.get("variables"):
        both = [n for name in declared["variables"] for n in (pairs.get(name, name), name)]
        store.tracker.replace_declaration({"variables": list(dict.fromkeys(both))})


# -- what is copied ---------------------------------------------------------------------------


def _copy_all(
    archive: Archive,
    replicas: Sequence[FinalStore],
    pairs: Mapping[str, str],
    lease: Lease,
    keep_until: str | None,
) -> None:
    """Copy what the stores have of the variables, while runs continue."""
    publisher = Publisher(apart_of(archive), [store.adding() for store in replicas])
    publisher.prepare(lease)
    names = list(pairs.values())

    def copy(view: ReaderView) -> None:
        is_shown = are_shown(view.store, names)
        if not is_shown and _renaming(archive, view.store, pairs, keep_until) is None:
            _copy(archive, view.store, pairs, lease.proof)

    Publisher(archive, replicas).change_everywhere(copy)


def _copy(
    archive: Archive,
    store: FinalStore,
    pairs: Mapping[str, str],
    proof: LeaseProof,
    *,
    is_moved: bool = False,
) -> None:
    """Copy what a store has of variables by their former names, and record it apart.

    Where it is to be moved instead, only record it. Where uploads await a publication, what no
    reader sees yet follows later, see `_carry`.
    """
    apart = store.tracker.adding
    length = store.published_length(archive.append_dim) or 0
    for record in store.tracker.all_records():
        is_seen = store.shows_uploads or record.region.is_static or record.start < length
        if not is_seen:
            continue
        for old, new in pairs.items():
            known = record.variables.get(old)
            if known is None:
                continue
            before = apart.read(record.region)
            is_uploaded = bool(known.objects) and not (is_moved or store.shows_uploads)
            if before is not None and _is_copy(before, record, old, new, is_uploaded):
                continue
            if is_moved:
                uploaded = Uploaded(_renamed(known, new))
            else:
                uploaded = _copied(archive, store, known, new, proof)
            proof.check()
            added = _added(record, old, new, uploaded)
            apart.write(with_variables(before, added, [new]))


def _carry(
    archive: Archive, store: FinalStore, pairs: Mapping[str, str], proof: LeaseProof
) -> None:
    """Let regions that no reader sees yet have the new names, once these are shown.

    Uploads that would have been copied before become visible with their array, or never. Those to
    an array that has moved since go where it is.
    """
    shown = array_metadata(store.metadata() or {})
    for record in store.tracker.all_records():
        for old, new in pairs.items():
            known = record.variables.get(old)
            if known is None or new not in shown or new in record.variables:
                continue
            if old in shown:
                uploaded = _copied(archive, store, known, new, proof)
            else:
                uploaded = Uploaded(_renamed(known, new), known.token)
            proof.check()
            record = with_variables(record, _added(record, old, new, uploaded), [new])
            store.tracker.write(record)


def _renamed(known: VariableRecord, new: str) -> tuple[ObjectReceipt, ...]:
    return tuple(replace(one, key=renamed(one.key, new)) for one in known.objects)


def _added(record: ProgressRecord, old: str, new: str, uploaded: Uploaded) -> ProgressRecord:
    """Return the record of a region with nothing but a variable by its new name."""
    known = record.variables[old]
    made = replace(
        known,
        objects=uploaded.objects,
        token=uploaded.token,
        holes=tuple(renamed(key, new) for key in known.holes),
    )
    history = tuple(
        replace(was, variables=(new,)) for was in record.history if old in was.variables
    )
    return replace(record, variables={new: made}, under_way={}, history=history)


def _is_copy(
    apart: ProgressRecord, record: ProgressRecord, old: str, new: str, is_uploaded: bool
) -> bool:
    """Whether what is recorded by the new name is what is recorded by the old one."""
    copied, known = apart.variables.get(new), record.variables[old]
    if copied is None or apart.groups[copied.group] != record.groups[known.group]:
        return False
    if (copied.token is not None) != is_uploaded:
        return False  # it was to be moved and is copied, or the other way round
    objects = _renamed(known, new)
    holes = tuple(renamed(key, new) for key in known.holes)
    return copied == replace(
        known, objects=objects, holes=holes, group=copied.group, token=copied.token
    )


def _copied(
    archive: Archive, store: FinalStore, known: VariableRecord, new: str, proof: LeaseProof
) -> Uploaded:
    """Copy the objects of a variable of a region within a store."""
    if not known.objects:
        return Uploaded(())
    objects = store.copy_array(new, known.objects, proof.check)
    if objects is not None:
        return Uploaded(objects)
    with temporary_folder(make=archive.tmp_store) as folder:
        (folder / "zarr.json").write_bytes(archive.metadata)
        store.download(folder, known.objects, known.token)
        old = known.objects[0].key.partition("/")[0]
        (folder / old).rename(folder / new)
        keys = [renamed(receipt.key, new) for receipt in known.objects]
        return store.adding().upload(folder, keys, proof, replaces=True)
