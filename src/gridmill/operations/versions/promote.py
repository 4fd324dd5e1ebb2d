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

Interrupted before 3, nothing has changed for anybody; after it, `complete` does the rest.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gridmill.model.display_hook import page_of
from gridmill.model.reports.publication import Publication
from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import mask_url
from gridmill.operations.versions.candidate import Candidate, held, tips_of
from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.writable import require_writable
from gridmill.stores.state.beside import exchange
from gridmill.stores.state.beside.feed import utc_now
from gridmill.stores.state.leases import Lease
from gridmill.stores.versions import NEXT, PRESENT, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridmill.dataset import DynamicalDataset

__all__ = [
    "Beside",
    "check_no_replicas",
    "complete",
    "discard",
    "forget_previous",
    "go_back",
    "promote",
]

KIND = "promote"
# In a declaration at the place of the next version: it is the previous one, on its way back.
BACK = "back"


class Beside:
    """The versions of one archive: the one that readers see, the next and the previous one.

    Parameters
    ----------
    present, following, previous
        The same dataset with either.

    Raises
    ------
    ValueError
        The format cannot have them.
    """

    def __init__(
        self,
        present: DynamicalDataset,
        following: DynamicalDataset,
        previous: DynamicalDataset,
    ) -> None:
        self.present, self.following, self.previous = present, following, previous
        self.branches = present.store.branches

    @property
    def stores(self) -> Sequence[FinalStore]:
        """The three stores."""
        return (self.present.store, self.following.store, self.previous.store)

    @property
    def way_back(self) -> DynamicalDataset:
        """Return the previous version, which is at the place of the next one if it is on its way.

        Raises
        ------
        ValueError
            There is none.
        """
        if self.is_on_its_way_back:
            return self.following
        if self.branches.tip(PREVIOUS) is None:
            where = mask_url(self.present.store.url)
            raise ValueError(f"{where} has no previous version: there is no way back")
        return self.previous

    @property
    def is_on_its_way_back(self) -> bool:
        """Whether what is at the place of the next version is the previous one."""
        declared = self.following.store.tracker.read_declaration() or {}
        return BACK in declared and declared[BACK] == self.branches.tip(NEXT)


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
        Either changed since it was looked at, or there are replicas; nothing was changed.
    LeaseHeld
        Something works on one of them.
    LeaseLost
        Another process took this one for dead.
    """
    report = _begun(beside)
    with held(beside.stores, report.run) as leases:
        _check_unchanged(candidate, tips_of(beside.present, candidate.other))
        _keep_previous(beside, leases)
        _order(beside, report, leases, who)
        branches = beside.branches
        _check(leases)
        branches.move(PRESENT, *tips_of(beside.present, beside.following))
        _follow(beside, report, leases)
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
            _bring_back(beside, leases)
    return promote(replace(candidate, other=beside.following), beside, who=who)


def check_no_replicas(dataset: DynamicalDataset) -> None:
    """Raise where there are replicas.

    Raises
    ------
    ValueError
        They are named.
    """
    if dataset.replicas:
        where = " and ".join(mask_url(replica.url) for replica in dataset.replicas)
        raise ValueError(
            f"{where}: a replica follows region by region, so that its readers would see a mix of "
            "both versions: leave --replica out, and afterwards let an update fill another address"
        )


def complete(beside: Beside) -> RunReport | None:
    """Complete what was interrupted; return its report if it changed what readers see.

    Raises
    ------
    ValueError
        Somebody else moved the branch meanwhile.
    LeaseHeld
        Something works on one of the versions.
    """
    if not _has_remains(beside):
        return None
    report = _begun(beside)
    with held(beside.stores, report.run) as leases:
        order = exchange.mark_of(beside.present.store.tracker.read_declaration())
        if order is not None:
            tip = beside.branches.tip(PRESENT)
            if tip == order["to"]:
                _follow(beside, report, leases)
                return report
            if tip != order["from"]:
                raise ValueError(
                    f"{mask_url(beside.present.store.url)} was to be moved from version "
                    f"{order['from']} to {order['to']}, and readers see {tip}: somebody else moved "
                    "it; reset the branch main to one of the two, and run this again"
                )
            declared = beside.present.store.tracker.read_declaration() or {}
            exchange.settle(beside.present.store.state, declared)
        _clean(beside, leases)
    return None


def discard(beside: Beside) -> None:
    """Delete the next version; what only it held goes with the next upkeep.

    Raises
    ------
    LeaseHeld
        A run works on it.
    """
    _remove(beside, beside.following.store, NEXT)


def forget_previous(beside: Beside) -> None:
    """Delete the previous version, so that there is no way back; see `discard`."""
    _remove(beside, beside.previous.store, PREVIOUS)


def _bring_back(beside: Beside, leases: Sequence[Lease]) -> None:
    """Let the previous version be at the place of the next one, too."""
    previous, following = beside.previous.store, beside.following.store
    if beside.branches.tip(NEXT) is not None or following.tracker.read_declaration() is not None:
        raise ValueError(
            f"a next version of {mask_url(beside.present.store.url)} is staged: promote it, or "
            "drop it with gridmill promote --discard, before you go back"
        )
    tip = str(beside.branches.tip(PREVIOUS))
    _copy(previous, following, leases)
    beside.branches.point(NEXT, tip)
    _settle_as(following, previous, {BACK: tip})


# -- the steps -----------------------------------------------------------------------------------


def _begun(beside: Beside) -> RunReport:
    store = beside.present.store
    require_writable(store)
    check_no_replicas(beside.present)
    return RunReport.begin(beside.present.dataset_id, KIND, mask_url(store.url))


def _check_unchanged(candidate: Candidate, tips: tuple[str, str]) -> None:
    if tips != candidate.tips:
        raise ValueError(
            f"{mask_url(candidate.present.store.url)} or its other version changed since they were "
            "compared: nothing was changed; run this again"
        )


def _keep_previous(beside: Beside, leases: Sequence[Lease]) -> None:
    """Keep what readers see, with its records, as the previous version."""
    _copy(beside.present.store, beside.previous.store, leases)
    beside.branches.point(PREVIOUS, str(beside.branches.tip(PRESENT)))
    _settle_as(beside.previous.store, beside.present.store)


def _order(beside: Beside, report: RunReport, leases: Sequence[Lease], who: str) -> None:
    store = beside.present.store
    before, after = tips_of(beside.present, beside.following)
    order: dict[str, Any] = {"run": report.run, "who": who, "from": before, "to": after}
    # Of a moment before it, readers are told what they saw then.
    order["at"] = datetime.now(UTC).isoformat()
    order["positions"] = store.published_length(beside.present.declared.append_dim) or 0
    _check(leases)
    exchange.mark(store.state, store.tracker.read_declaration() or {}, order)


def _follow(beside: Beside, report: RunReport, leases: Sequence[Lease]) -> None:
    """Let records follow what readers see since."""
    present, following = beside.present.store, beside.following.store
    order = exchange.mark_of(present.tracker.read_declaration()) or {}
    exchange.take_over(following.state, present.state)
    _check(leases)
    _tell(beside, report, leases[0], order)
    named = exchange.promoted(present.tracker.read_declaration(), order)
    declared = {**(following.tracker.read_declaration() or {}), **named}
    declared.pop(BACK, None)
    exchange.settle(present.state, declared)
    _clean(beside, leases)


def _tell(beside: Beside, report: RunReport, lease: Lease, order: dict[str, Any]) -> None:
    """Say in the feed and in a report what readers see since."""
    store, dim = beside.present.store, beside.present.declared.append_dim
    labels = store.open_dataset(chunks=None).get_index(dim)
    last = str(labels[-1]) if len(labels) else None
    report.positions_before, report.positions_after = order["positions"], len(labels)
    report.published_after = last
    report.notes.append(
        f"{order['who']} promoted version {beside.present.region_job.version}: readers see "
        f"{order['to']} instead of {order['from']}, which is kept as the branch {PREVIOUS}"
    )
    told = Publication(
        at=utc_now(),
        run=order["run"],
        kind=KIND,
        gridmill=version("gridmill"),
        before=order["positions"],
        after=len(labels),
        last=last,
        changed=((0, min(order["positions"], len(labels))),),
    )
    with lease.publishing():
        store.tracker.feed.write_once(told, order["at"])
    report.end()
    store.tracker.reports.write(report, page_of(report))


def _has_remains(beside: Beside) -> bool:
    return any(
        exchange.mark_of(store.tracker.read_declaration()) for store in beside.stores
    ) or _is_promoted(beside)


def _is_promoted(beside: Beside) -> bool:
    """Whether what is at the place of the next version is the present one already."""
    promoted = (beside.present.store.tracker.read_declaration() or {}).get(exchange.PROMOTED) or {}
    return bool(promoted) and beside.branches.tip(NEXT) == promoted["to"]


def _clean(beside: Beside, leases: Sequence[Lease]) -> None:
    """Delete what is left at the place of a next version, and what was started at other places."""
    following, previous = beside.following.store, beside.previous.store
    if _is_promoted(beside) or exchange.mark_of(following.tracker.read_declaration()):
        _delete(beside, following, NEXT, leases)
    if exchange.mark_of(previous.tracker.read_declaration()):
        _delete(beside, previous, PREVIOUS, leases)


def _copy(source: FinalStore, target: FinalStore, leases: Sequence[Lease]) -> None:
    """Let a place have what another one has; until it is settled, it says that it has not."""
    _check(leases)
    exchange.mark(target.state, source.tracker.read_declaration() or {}, {"what": "copying"})
    exchange.take_over(source.state, target.state)
    _check(leases)


def _settle_as(
    target: FinalStore, source: FinalStore, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    exchange.settle(target.state, {**(source.tracker.read_declaration() or {}), **more})


def _remove(beside: Beside, store: FinalStore, branch: str) -> None:
    if beside.branches.tip(branch) is None and store.tracker.read_declaration() is None:
        where = mask_url(beside.present.store.url)
        raise ValueError(f"{where} has no version {branch}: nothing was deleted")
    run = RunReport.begin(beside.present.dataset_id, KIND, mask_url(store.url)).run
    with held((beside.present.store, store), run) as leases:
        _delete(beside, store, branch, leases)


def _delete(beside: Beside, store: FinalStore, branch: str, leases: Sequence[Lease]) -> None:
    """Delete a version that is not the present one: its records, its branch, what says so."""
    _check(leases)
    # Of what was begun and not declared, that of the present one says as much.
    declared = store.tracker.read_declaration() or beside.present.store.tracker.read_declaration()
    exchange.mark(store.state, declared or {}, {"what": "deleting"})
    exchange.clear(store.state, lambda: beside.branches.drop(branch))


def _check(leases: Sequence[Lease]) -> None:
    for lease in leases:
        lease.proof.check()
