"""What keeps a repository small: old snapshots are forgotten, and what only they held deleted.

And what is said before there are too many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import icechunk

from gridmill.stores.final_store import IntendedWork
from gridmill.stores.icechunk.keys import read_metadata
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.repository import RepositoryAt
from gridmill.stores.icechunk.settings.formats import format_of
from gridmill.stores.icechunk.settings.manifests import new_config
from gridmill.stores.icechunk.uploads import MERGED, Uploads, digest_of, merged_in
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.opening import open_state
from gridmill.stores.state.claims import current_claims
from gridmill.stores.state.records import UpdateProgressTracker
from gridmill.stores.versions import NEXT, PRESENT, PREVIOUS, state_of

__all__ = ["collect_garbage", "expire", "others_of", "split_manifests", "warn_of"]

# How long before its token an upload may have begun, and how far clocks may differ.
GARBAGE_MARGIN = timedelta(hours=1)
# More snapshots than this make a repository slow to look after.
MANY_COMMITS = 1000


def warn_of(work: IntendedWork) -> list[str]:
    """Say what a commit a region means for a run's work, see `FinalStore.warn_of`."""
    found = []
    if work.regions > MANY_COMMITS:
        found.append(
            f"Icechunk makes a commit a region, one after the other: {work.regions:,} snapshots. "
            "Larger shards make fewer, and gridmill upkeep expires them"
        )
    if work.replaced and work.is_partial:
        found.append(
            "Icechunk shows a repair region by region: readers see some regions repaired before "
            "others"
        )
    return found


def others_of(uploads: Uploads) -> list[Uploads]:
    """Return the uploads of the next and the previous version, as far as there are any.

    Raises
    ------
    ValueError
        These are not the present version's.
    """
    own, state = uploads.repository, uploads.state.url
    if own.branch != PRESENT:
        raise ValueError(
            f"{own.url}: this version is beside the one that readers see, whose uploads are not "
            "known here: gridmill upkeep without --stage looks after both"
        )
    there = patiently(lambda: own.open().list_branches())
    found = []
    for name in (NEXT, PREVIOUS):
        if name in there:
            options = own.storage_options
            objects = open_state(own.url, state_of(state, name), storage_options=options)
            repository = RepositoryAt(own.url, options, own.format_version, name)
            tracker = UpdateProgressTracker(objects, uploads.tracker.dataset_id)
            found.append(Uploads(repository, tracker))
    return found


def expire(
    repository: RepositoryAt,
    older_than: datetime,
    *,
    beside: Sequence[Uploads] = (),
    dry_run: bool = False,
) -> int:
    """Forget snapshots from before a time, but for what readers see; their number.

    Their data stays until `collect_garbage`. A dry run counts those that may go, of which
    Icechunk 2 keeps the very first. Other versions `beside` keep what they are.
    """
    if not dry_run:
        for one in (repository, *(other.repository for other in beside)):
            patiently(partial(_say_all_that_is_merged, one))
        return len(patiently(lambda: repository.open().expire_snapshots(older_than=older_than)))
    _, *earlier = patiently(lambda: list(repository.open().ancestry(branch=repository.branch)))
    return sum(snapshot.written_at < older_than for snapshot in earlier)


def _say_all_that_is_merged(repository: RepositoryAt) -> None:
    """Commit what the commits that may go say together, unless the last one says it all."""
    here = repository.open()
    tip = next(iter(here.ancestry(branch=repository.branch)))
    if format_of(here) == 1 or MERGED in tip.metadata:
        return
    session: Any = here.writable_session(repository.branch)
    merged = merged_in(here, repository.branch)
    session.commit("Keep what is merged", {MERGED: merged}, allow_empty=True)


def collect_garbage(
    uploads: Uploads,
    older_than: datetime,
    *,
    beside: Sequence[Uploads] = (),
    dry_run: bool = False,
) -> dict[str, int]:
    """Delete objects from before a time that no snapshot holds; counts by kind.

    What uploads made durable and no publication shows yet is spared, also those of other versions
    `beside`, and so is whatever is younger than it. A dry run only counts.
    """
    awaiting = [when for one in (uploads, *beside) for when in _awaiting(one, one.merged())]
    until = min([older_than, *awaiting]) - GARBAGE_MARGIN
    summary = patiently(lambda: uploads.repository.open().garbage_collect(until, dry_run=dry_run))
    names = ("bytes_deleted", "chunks_deleted", "manifests_deleted", "snapshots_deleted")
    return {name: int(getattr(summary, name)) for name in names}


def split_manifests(
    repository: RepositoryAt, append_dim: str, message: str, check: Callable[[], None]
) -> None:
    """Split the manifests along the append dim, for this commit and those of every writer.

    A process that has the repository open continues as before until it reopens it.
    """

    def split() -> None:
        here = repository.open()
        metadata = read_metadata(here.readonly_session(repository.branch).store)
        config = new_config(append_dim, array_metadata(metadata))
        check()
        # Opened apart, so that what is kept holds the splitting and no patience of this process.
        configured = icechunk.Repository.open(repository.storage(), config)
        configured.save_config()
        merged = merged_in(configured, repository.branch)
        configured.rewrite_manifests(message, branch=repository.branch, metadata={MERGED: merged})
        repository.forget()

    patiently(split)


def _awaiting(uploads: Uploads, merged: Mapping[str, str]) -> Iterator[datetime]:
    """Yield when runs that live began, and uploads that are not wholly visible."""
    for claim in current_claims(uploads.state):
        yield datetime.fromisoformat(claim.since)
    for whole in uploads.whole_regions():
        if merged.get(whole.name) != digest_of(whole):
            for name, token in whole.tokens.items():
                yield uploads.forks.token(token, name, whole.name).begun
