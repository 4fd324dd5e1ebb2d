"""The versions of an archive that are beside each other, and the steps by which one takes a place.

Each may be repeated; see `gridmill.operations.versions.promote` for their order.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gridmill.model.urls import mask_url
from gridmill.operations.versions.candidate import tips_of
from gridmill.stores.state.beside import exchange
from gridmill.stores.versions import NEXT, PRESENT, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gridmill.dataset import DynamicalDataset
    from gridmill.stores.final_store import FinalStore
    from gridmill.stores.state.leases import Lease

__all__ = [
    "BACK",
    "Beside",
    "bring_back",
    "check",
    "clean",
    "complete_in",
    "delete",
    "has_remains",
    "is_promoted",
    "keep_previous",
    "order",
    "take_place",
]

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


def bring_back(
    beside: Beside, leases: Sequence[Lease], said: Mapping[str, Any] | None = None
) -> None:
    """Let the previous version be at the place of the next one, too.

    Its declaration there says so, or what is given.

    Raises
    ------
    ValueError
        A next version is staged there.
    """
    previous, following = beside.previous.store, beside.following.store
    if beside.branches.tip(NEXT) is not None or following.tracker.read_declaration() is not None:
        raise ValueError(
            f"a next version of {mask_url(beside.present.store.url)} is staged: promote it, or "
            "drop it with gridmill promote --discard, before you go back"
        )
    tip = str(beside.branches.tip(PREVIOUS))
    _copy(previous, following, leases)
    beside.branches.point(NEXT, tip)
    _settle_as(following, previous, {BACK: tip} if said is None else said)


def keep_previous(beside: Beside, leases: Sequence[Lease]) -> None:
    """Keep what readers see, with its records, as the previous version."""
    _copy(beside.present.store, beside.previous.store, leases)
    beside.branches.point(PREVIOUS, str(beside.branches.tip(PRESENT)))
    _settle_as(beside.previous.store, beside.present.store)


def order(
    beside: Beside, leases: Sequence[Lease], *, run: str, who: str, of: str | None = None
) -> None:
    """Write into the present declaration what readers see, and what they are to see.

    `of` says which promotion of its archive a replica follows.
    """
    store = beside.present.store
    before, after = tips_of(beside.present, beside.following)
    said: dict[str, Any] = {"run": run, "who": who, "from": before, "to": after}
    # Of a moment before it, readers are told what they saw then.
    said["at"] = datetime.now(UTC).isoformat()
    said["positions"] = store.published_length(beside.present.declared.append_dim) or 0
    if of is not None:
        said[exchange.OF] = of
    check(leases)
    exchange.mark(store.state, store.tracker.read_declaration() or {}, said)


def take_place(
    beside: Beside,
    leases: Sequence[Lease],
    tell: Callable[[dict[str, Any]], None] = lambda said: None,
) -> None:
    """Let records follow what readers see since, and the declaration last.

    Before that, `tell` is called with what was ordered.
    """
    present, following = beside.present.store, beside.following.store
    said = exchange.mark_of(present.tracker.read_declaration()) or {}
    exchange.take_over(following.state, present.state)
    check(leases)
    tell(said)
    named = exchange.promoted(present.tracker.read_declaration(), said)
    declared = {**(following.tracker.read_declaration() or {}), **named}
    declared.pop(BACK, None)
    exchange.settle(present.state, declared)
    clean(beside, leases)


def complete_in(
    beside: Beside,
    leases: Sequence[Lease],
    tell: Callable[[dict[str, Any]], None] = lambda said: None,
) -> bool:
    """Complete what was interrupted; whether readers see another version by it.

    Raises
    ------
    ValueError
        Somebody else moved the branch meanwhile.
    """
    store = beside.present.store
    said = exchange.mark_of(store.tracker.read_declaration())
    if said is not None:
        tip = beside.branches.tip(PRESENT)
        if tip == said["to"]:
            take_place(beside, leases, tell)
            return True
        if tip != said["from"]:
            raise ValueError(
                f"{mask_url(store.url)} was to be moved from version {said['from']} to "
                f"{said['to']}, and readers see {tip}: somebody else moved it; reset the branch "
                "main to one of the two, and run this again"
            )
        exchange.settle(store.state, store.tracker.read_declaration() or {})
    clean(beside, leases)
    return False


def has_remains(beside: Beside) -> bool:
    """Whether something was started that is not completed."""
    return any(
        exchange.mark_of(store.tracker.read_declaration()) for store in beside.stores
    ) or is_promoted(beside)


def is_promoted(beside: Beside) -> bool:
    """Whether what is at the place of the next version is the present one already."""
    promoted = (beside.present.store.tracker.read_declaration() or {}).get(exchange.PROMOTED) or {}
    return bool(promoted) and beside.branches.tip(NEXT) == promoted["to"]


def clean(beside: Beside, leases: Sequence[Lease]) -> None:
    """Delete what is left at the place of a next version, and what was started at other places."""
    following, previous = beside.following.store, beside.previous.store
    if is_promoted(beside) or exchange.mark_of(following.tracker.read_declaration()):
        delete(beside, following, NEXT, leases)
    if exchange.mark_of(previous.tracker.read_declaration()):
        delete(beside, previous, PREVIOUS, leases)


def _copy(source: FinalStore, target: FinalStore, leases: Sequence[Lease]) -> None:
    """Let a place have what another one has; until it is settled, it says that it has not."""
    check(leases)
    exchange.mark(target.state, source.tracker.read_declaration() or {}, {"what": "copying"})
    exchange.take_over(source.state, target.state)
    check(leases)


def _settle_as(
    target: FinalStore, source: FinalStore, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    exchange.settle(target.state, {**(source.tracker.read_declaration() or {}), **more})


def delete(beside: Beside, store: FinalStore, branch: str, leases: Sequence[Lease]) -> None:
    """Delete a version that is not the present one: its records, its branch, what says so."""
    check(leases)
    # Of what was started and not declared, that of the present one says as much.
    declared = store.tracker.read_declaration() or beside.present.store.tracker.read_declaration()
    exchange.mark(store.state, declared or {}, {"what": "deleting"})
    exchange.clear(store.state, lambda: beside.branches.drop(branch))


def check(leases: Sequence[Lease]) -> None:
    """Raise where nothing may be changed any more; see `LeaseProof.check`."""
    for lease in leases:
        lease.proof.check()
