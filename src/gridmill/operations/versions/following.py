"""Lets replicas show the version that took the place of another one in their archive.

Each gets the version whole, beside the one that its readers see, on a branch with records of its
own, and then in one write: by the steps of the archive's own promotion
(`gridmill.operations.versions.promote`). At every moment its readers see one of the two, whole.

A next version is not built in replicas too, with `--stage`: what a replica lacks is copied after
the archive was promoted. One that was there and one that was away then follow in one way, by the
same command, and nobody waits for a replica to let readers of the archive see a version. The price
is that readers of a replica see the former version for as long as copying takes. What its own
previous version still holds is not copied: the way back copies nothing.

A copy that was started for this promotion is continued; any other is dropped, and so is one that no
longer fits what the archive became meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.model.reports.entries import ReplicaOutcome
from gridmill.model.urls import is_local, mask_url
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
from gridmill.operations.versions.candidate import tips_of
from gridmill.publishing.copies import copy_here
from gridmill.publishing.replica import Replica
from gridmill.stores.final_store import FinalStore, readable_length
from gridmill.stores.state.beside.exchange import (
    EARLIER,
    PROMOTED,
    lineage_of,
    mark_of,
    promotion_of,
    promotions_of,
)
from gridmill.stores.state.leases import Lease, LeaseLost
from gridmill.stores.versions import NEXT, PRESENT, PREVIOUS

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["check_can_follow", "follow", "is_behind_anywhere", "versions_of_replicas"]


def check_can_follow(replicas: Sequence[FinalStore]) -> None:
    """Raise where replicas cannot have two versions.

    Raises
    ------
    ValueError
        They are named, with what to do.
    """
    refused = [(mask_url(replica.url), why) for replica in replicas if (why := _why_not(replica))]
    if refused:
        named = " and ".join(f"the replica {where} {why}" for where, why in refused)
        raise ValueError(
            f"{named}: its readers would see a mix of both versions. Leave it out of --replica, "
            "and let an update fill another address afterwards"
        )


def _why_not(replica: FinalStore) -> str:
    if replica.shows_uploads:
        return "is plain Zarr, whose objects cannot be exchanged in one step"
    try:
        declared = replica.tracker.read_declaration() or {}
    except OSError:  # it is away, and follows later
        return ""
    if is_local(replica.url) and declared.get("format_version", 1) > 1:
        return "is a local repository in Icechunk's format 2, which cannot keep two versions safely"
    return ""


def versions_of_replicas(beside: Beside) -> Iterator[Beside]:
    """Yield the versions of each replica that can have some."""
    present = beside.present
    for replica, opened in zip(present.replicas, present.replica_versions, strict=True):
        if not replica.shows_uploads:
            versions = (replica, opened(staged=NEXT), opened(staged=PREVIOUS))
            yield Beside(*(_at(present, store) for store in versions))


def _at(dataset: DynamicalDataset, store: FinalStore) -> DynamicalDataset:
    found = copy(dataset)
    found.store, found.replicas, found.replica_versions = store, [], []
    return found


def is_behind_anywhere(beside: Beside) -> bool:
    """Whether a replica shows another version than its archive, or may: it does not answer."""
    return any(_is_needed(beside, own) for own in versions_of_replicas(beside))


def _is_needed(beside: Beside, own: Beside) -> bool:
    try:
        return _is_behind(beside, own) or _is_begun(own)
    except OSError:
        return True


def _is_behind(beside: Beside, own: Beside) -> bool:
    ours, theirs = (each.present.store.tracker.read_declaration() for each in (beside, own))
    found = promotion_of(ours)
    return None not in (theirs, found) and promotion_of(theirs) != found


def _is_begun(own: Beside) -> bool:
    """Whether something is under way in a replica, or left by what was."""
    is_made = own.present.store.tracker.read_declaration() is not None
    staged = own.following.store.tracker.read_declaration()
    return is_made and (staged is not None or has_remains(own))


def follow(beside: Beside, leases: Sequence[Lease], *, run: str, who: str) -> list[ReplicaOutcome]:
    """Let each replica show what readers of the archive see; one where it fails is left alone.

    Parameters
    ----------
    beside
        The versions of the archive, whose present one is complete.
    leases
        The right to change it, and its replicas.
    run, who
        Kept in the replica's declaration as long as it is under way.

    Raises
    ------
    LeaseLost
        Nothing may be changed any more.
    """
    return [_outcome(beside, own, leases, run, who) for own in versions_of_replicas(beside)]


def _outcome(
    beside: Beside, own: Beside, leases: Sequence[Lease], run: str, who: str
) -> ReplicaOutcome:
    store = own.present.store
    url, dim = mask_url(store.url), beside.present.declared.append_dim
    try:
        if _is_needed(beside, own):
            _follow_in(beside, own, leases, run, who)
        positions = store.published_length(dim)
    except LeaseLost:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        again = "gridmill promote with this --replica lets it follow later"
        return ReplicaOutcome(url, None, f"{why}; {again}")
    return ReplicaOutcome(url, positions, None if positions else "shows nothing: run an update")


def _follow_in(beside: Beside, own: Beside, leases: Sequence[Lease], run: str, who: str) -> None:
    _check_is_replica(beside, own)
    complete_in(own, leases)
    staged = own.following.store
    ours = promotion_of(beside.present.store.tracker.read_declaration())
    if not _is_behind(beside, own):
        if staged.tracker.read_declaration() is not None:
            delete(own, staged, NEXT, leases)
        return
    _fill(beside, own, leases)
    keep_previous(own, leases)
    order(own, leases, run=run, who=who, of=ours)
    check(leases)
    own.branches.move(PRESENT, *tips_of(own.present, own.following))
    take_place(own, leases)


def _check_is_replica(beside: Beside, own: Beside) -> None:
    """Raise where what is at a replica's address never was one of this archive.

    Raises
    ------
    ValueError
        It holds something else, which is not to be replaced.
    """
    ours, theirs = (each.present.store.tracker.read_declaration() for each in (beside, own))
    ours, theirs = ours or {}, theirs or {}
    promotion = promotion_of(theirs)
    is_known = promotion is None or promotion in lineage_of(ours)
    if theirs.get("dataset_id") != ours.get("dataset_id") or not is_known:
        raise ValueError(
            f"{mask_url(own.present.store.url)} holds another archive than a replica: give another "
            "--replica, or empty it"
        )


# -- the copy -------------------------------------------------------------------------------------


def _fill(beside: Beside, own: Beside, leases: Sequence[Lease]) -> None:
    """Let the place of a replica's next version have what readers of the archive see.

    Raises
    ------
    StructureMismatch
        The code contradicts the version: another release made it.
    OSError
        Not all of it can be copied.
    """
    archive, staged = beside.present.archive(), own.following.store
    archive.check_structure()
    declared = beside.present.store.tracker.read_declaration() or {}
    if promotion_of(staged.tracker.read_declaration()) != promotion_of(declared):
        delete(own, staged, NEXT, leases)
        if _is_way_back(declared, own):
            bring_back(own, leases, {PROMOTED: declared[PROMOTED]})
    replica = _prepared(archive, own, leases)
    replica.catch_up({}, leases[0].proof, copy_here)
    length = archive.look() or 0
    with leases[0].publishing() as still:
        # Where it shows as much already, it is published only if something is to be changed.
        replica.published = staged.published_length(archive.append_dim)
        replica.publish(archive.up_to(length), still, message="Copy the promoted version")
    replica.completeness.settle()
    if why := replica.why_behind(replica.published or 0):
        raise OSError(f"the promoted version is not whole there: {why}")


def _is_way_back(declared: dict[str, Any], own: Beside) -> bool:
    """Whether the archive went back to what a replica still keeps as its previous version."""
    promotions = promotions_of(declared)
    if len(promotions) < 2 or promotions[0].after != promotions[1].before:
        return False
    undone = promotion_of({PROMOTED: declared[PROMOTED][EARLIER]})
    kept = own.previous.store.tracker.read_declaration()
    is_kept = kept is not None and mark_of(kept) is None
    shown = promotion_of(own.present.store.tracker.read_declaration())
    return is_kept and undone == shown and own.branches.tip(PREVIOUS) is not None


def _prepared(archive: Archive, own: Beside, leases: Sequence[Lease]) -> Replica:
    """Return the place of the next version, ready for copies; started again if it does not fit."""
    staged = own.following.store
    replica = Replica(archive, None, staged)
    try:
        replica.prepare()
        is_longer = (readable_length(staged, archive.append_dim) or 0) > (archive.look() or 0)
    except ValueError:
        if staged.metadata() is None:
            raise
        is_longer = True
    if not is_longer:
        return replica
    delete(own, staged, NEXT, leases)
    replica = Replica(archive, None, staged)
    replica.prepare()
    return replica
