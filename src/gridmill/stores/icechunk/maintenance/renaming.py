"""Arrays that get other names where they are, by Icechunk's own `Session.move`.

It changes manifests alone: no object is read or written. Measured with Icechunk 2.3:

- it needs a repository of format 2, and a session of its own (`Repository.rearrange_session`), that
  takes no other change: metadata and coordinates are a second commit;
- the array that is moved keeps its metadata, and what is merged into it goes by no name: an upload
  that began before brings its objects to where the array is by now.

Both commits are made on a branch beside the one that readers read, which then points at them in one
write, if it still points where it did. Killed before, only that branch is left, which the next call
deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import icechunk

from gridmill.stores.final_store import CoordinateValues, Rename
from gridmill.stores.icechunk.keys import read_metadata, set_all, write_metadata
from gridmill.stores.icechunk.named.branches import IcechunkBranches
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.publication import commit
from gridmill.stores.icechunk.repository import RepositoryAt
from gridmill.stores.icechunk.settings.formats import format_of
from gridmill.stores.icechunk.uploads import (
    Uploads,
    digests_without,
    merged_in,
    said_of_merged,
)
from gridmill.stores.metadata import array_metadata

__all__ = ["drop_leftover", "renaming"]

MOVES_SINCE = 2


def renaming(uploads: Uploads, names: Collection[str], append_dim: str) -> Rename | None:
    """Return what gives arrays other names; None where they must be copied.

    See `FinalStore.renaming`.
    """
    repository = uploads.repository.open()
    can_move = hasattr(repository, "rearrange_session") and format_of(repository) >= MOVES_SINCE
    merged = _merged_without(uploads, names, append_dim) if can_move else None
    return None if merged is None else partial(_rename, uploads.repository, merged)


def drop_leftover(repository: RepositoryAt) -> None:
    """Delete the branch of a call that was interrupted, if there is one."""
    IcechunkBranches(repository).drop(_beside(repository))


def _merged_without(
    uploads: Uploads, names: Collection[str], append_dim: str
) -> dict[str, str] | None:
    """Return what the branch holds of each region without some arrays.

    None if it lacks some of what is recorded of a region that readers see.
    """
    store = uploads.repository.published()
    arrays = {} if store is None else array_metadata(read_metadata(store))
    length = arrays[append_dim]["shape"][0] if append_dim in arrays else 0
    merged = merged_in(uploads.repository.open(), uploads.repository.branch)
    for record in uploads.tracker.all_records():
        is_seen = record.region.is_static or record.start < length
        tokens = (known.token for name, known in record.variables.items() if name in names)
        if not is_seen or not any(tokens):
            continue
        said = merged.get(record.region.name)
        before, after = digests_without(record, arrays.keys(), names, said)
        if before is None or before != said:
            return None
        merged[record.region.name] = after
    return merged


def _rename(
    repository: RepositoryAt,
    merged: Mapping[str, str],
    folder: Path,
    names: Mapping[str, str],
    message: str,
    check: Callable[[], None],
    values: Sequence[CoordinateValues],
) -> None:
    """Commit beside what readers read, and let them read it; see `Rename`."""
    branches, beside = IcechunkBranches(repository), _beside(repository)

    def build() -> tuple[str, str]:
        here = repository.open()
        before = str(here.lookup_branch(repository.branch))
        branches.drop(beside)
        here.create_branch(beside, before)
        _move(here, beside, names, message, merged)
        session = here.writable_session(beside)
        write_metadata(session.store, folder)
        set_all(session.store, values)
        if session.has_uncommitted_changes:
            commit(here, session, message, merged)
        return before, str(here.lookup_branch(beside))

    check()
    before, after = patiently(build)
    check()
    branches.move(repository.branch, before, after)
    branches.drop(beside)


def _move(
    repository: Any, branch: str, names: Mapping[str, str], message: str, merged: Mapping[str, str]
) -> None:
    session: icechunk.Session = repository.rearrange_session(branch)
    for old, new in names.items():
        session.move(f"/{old}", f"/{new}")  # type: ignore[attr-defined]
    session.commit(message, said_of_merged(repository, merged, branch))


def _beside(repository: RepositoryAt) -> str:
    return f"{repository.branch}-renamed"
