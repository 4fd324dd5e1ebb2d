"""Lets another version of an archive take the place of the one that readers see.

One write moves the branch that readers read: a reader that opened the archive before keeps the
version that it opened, and one that opens it after gets the other one, whole. Records follow; until
they have, the declaration says so and nothing works on the archive. The version that readers saw is
kept beside it, with its records.

The steps, each of which may be repeated:

1. the present version is kept as the previous one: its records are copied, its branch points at it;
2. the order is written into the present declaration: what readers see, and what they are to see;
3. the branch that readers read is moved: this is the moment;
4. the records of the other version take the place of those that are there;
5. the declaration is that of the other version: the archive is open again;
6. what is left of the other version's place is deleted.

Interrupted before 3, nothing has changed for anybody; after it, `complete` does the rest. Replicas
follow afterwards, each by the same steps: see `gridmill.operations.versions.following`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gridmill.model.display_hook import page_of
from gridmill.model.reports.publication import Publication
from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import mask_url
from gridmill.operations.versions.beside import (
    Beside,
    bring_back,
    check,
    complete_in,
    delete,
    has_remains,
    keep_previous,
    order,
    take_place,
)
from gridmill.operations.versions.candidate import Candidate, held, tips_of
from gridmill.operations.versions.following import (
    check_can_follow,
    follow,
    is_behind_anywhere,
    versions_of_replicas,
)
from gridmill.stores.objects.writable import require_writable
from gridmill.stores.state.beside.feed import utc_now
from gridmill.stores.versions import NEXT, PRESENT, PREVIOUS

if TYPE_CHECKING:
    from gridmill.stores.final_store import FinalStore
    from gridmill.stores.state.leases import Lease

__all__ = ["Beside", "complete", "discard", "forget_previous", "go_back", "promote"]

KIND = "promote"


def promote(candidate: Candidate, beside: Beside, *, who: str) -> RunReport:
    """Let the next version take the place of the one that readers see.

    Parameters
    ----------
    candidate
        What was looked at.
    beside
        The versions.
    who
        Kept in the report.

    Raises
    ------
    ValueError
        Either changed since it was looked at, or a replica cannot follow; nothing was changed.
    LeaseHeld
        Something works on one of them.
    LeaseLost
        Another process took this one for dead.
    """
    report = _begun(beside)
    with held(beside.stores, report.run) as leases:
        _check_unchanged(candidate, tips_of(beside.present, candidate.other))
        keep_previous(beside, leases)
        order(beside, leases, run=report.run, who=who)
        check(leases)
        beside.branches.move(PRESENT, *tips_of(beside.present, beside.following))
        take_place(beside, leases, partial(_tell, beside, report, leases[0]))
    if beside.present.replicas:
        _let_follow(beside, report, who)
    return report


def go_back(candidate: Candidate, beside: Beside, *, who: str) -> RunReport:
    """Let the previous version take the place of the one that readers see, see `promote`.

    Raises
    ------
    ValueError
        A next version is staged, whose place it takes for a moment.
    """
    report = _begun(beside)
    with held(beside.stores, report.run) as leases:
        _check_unchanged(candidate, tips_of(beside.present, candidate.other))
        if not beside.is_on_its_way_back:
            bring_back(beside, leases)
    return promote(replace(candidate, other=beside.following), beside, who=who)


def complete(beside: Beside, *, who: str, is_back: bool = False) -> RunReport | None:
    """Complete what was interrupted; return its report if it changed what readers see.

    Replicas that were away follow, unless another version takes its place next: they do it then.

    Parameters
    ----------
    beside
        The versions.
    who
        Kept in the report.
    is_back
        Whether the previous version takes its place next.

    Raises
    ------
    ValueError
        Somebody else moved the branch meanwhile, or a replica cannot follow.
    LeaseHeld
        Something works on one of the versions.
    """
    check_can_follow(beside.present.replicas)
    report, is_changed = None, False
    if has_remains(beside):
        report = _begun(beside)
        with held(beside.stores, report.run) as leases:
            told = partial(_tell, beside, report, leases[0])
            is_changed = complete_in(beside, leases, told)
    if is_behind_anywhere(beside) and (
        is_changed or not (is_back or beside.branches.tip(NEXT) is not None)
    ):
        report, is_changed = report or _begun(beside), True
        _let_follow(beside, report, who)
    return report if is_changed else None


def discard(beside: Beside) -> None:
    """Delete the next version; what only it held goes with the next upkeep.

    Raises
    ------
    LeaseHeld
        A run works on it.
    """
    _remove(beside, beside.following.store, NEXT)


def forget_previous(beside: Beside) -> None:
    """Delete the previous version, also of replicas: there is no way back then; see `discard`."""
    _remove(beside, beside.previous.store, PREVIOUS)


# -- the steps -----------------------------------------------------------------------------------


def _begun(beside: Beside) -> RunReport:
    store = beside.present.store
    require_writable(store)
    check_can_follow(beside.present.replicas)
    return RunReport.begin(beside.present.dataset_id, KIND, mask_url(store.url))


def _check_unchanged(candidate: Candidate, tips: tuple[str, str]) -> None:
    if tips != candidate.tips:
        raise ValueError(
            f"{mask_url(candidate.present.store.url)} or its other version changed since they were "
            "compared: nothing was changed; run this again"
        )


def _let_follow(beside: Beside, report: RunReport, who: str) -> None:
    """Let readers of replicas see what those of the archive see since."""
    with held((beside.present.store,), report.run) as leases:
        report.replicas = follow(beside, leases, run=report.run, who=who)
    if not report.ended:
        report.notes.append(f"{who} let replicas follow a promotion")
        report.end()
    beside.present.store.tracker.reports.write(report, page_of(report))


def _tell(beside: Beside, report: RunReport, lease: Lease, said: dict[str, Any]) -> None:
    """Say in the feed and in a report what readers see since."""
    store, dim = beside.present.store, beside.present.declared.append_dim
    labels = store.open_dataset(chunks=None).get_index(dim)
    last = str(labels[-1]) if len(labels) else None
    report.positions_before, report.positions_after = said["positions"], len(labels)
    report.published_after = last
    report.notes.append(
        f"{said['who']} promoted version {beside.present.region_job.version}: readers see "
        f"{said['to']} instead of {said['from']}, which is kept as the branch {PREVIOUS}"
    )
    told = Publication(
        at=utc_now(),
        run=said["run"],
        kind=KIND,
        gridmill=version("gridmill"),
        before=said["positions"],
        after=len(labels),
        last=last,
        changed=((0, min(said["positions"], len(labels))),),
    )
    with lease.publishing():
        store.tracker.feed.write_once(told, said["at"])
    report.end()
    store.tracker.reports.write(report, page_of(report))


def _remove(beside: Beside, store: FinalStore, branch: str) -> None:
    if beside.branches.tip(branch) is None and store.tracker.read_declaration() is None:
        where = mask_url(beside.present.store.url)
        raise ValueError(f"{where} has no version {branch}: nothing was deleted")
    run = RunReport.begin(beside.present.dataset_id, KIND, mask_url(store.url)).run
    with held((beside.present.store, store), run) as leases:
        if branch == PREVIOUS:
            for own in versions_of_replicas(beside):
                if own.previous.store.tracker.read_declaration() is not None:
                    delete(own, own.previous.store, PREVIOUS, leases)
        delete(beside, store, branch, leases)
