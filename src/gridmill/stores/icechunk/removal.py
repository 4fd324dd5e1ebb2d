"""How arrays leave a repository: in one commit, after which readers see the rest as before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from zarr.core.sync import sync

from gridmill.model.records import ProgressRecord
from gridmill.stores.final_store import CoordinateValues, StagedRegion
from gridmill.stores.icechunk.keys import get, read_metadata, set_all, write_metadata
from gridmill.stores.icechunk.publication import commit
from gridmill.stores.icechunk.repository import BRANCH
from gridmill.stores.icechunk.uploads import Uploads, digest_of, merged_in
from gridmill.stores.metadata import ROOT, array_metadata

__all__ = ["remove_arrays"]


def remove_arrays(
    uploads: Uploads,
    folder: Path,
    names: Collection[str],
    message: str,
    check: Callable[[], None],
    values: Sequence[CoordinateValues],
) -> bool:
    """Commit an archive without some of its arrays; whether it had any of them.

    What the branch holds of each region is said anew: else all that the others brought would count
    as not published yet.
    """
    repository = uploads.repository.open()
    session = repository.writable_session(BRANCH)
    there = [name for name in names if get(session.store, f"{name}/{ROOT}") is not None]
    if not there:
        return False
    arrays = array_metadata(read_metadata(session.store))
    merged = merged_in(repository)
    for record in uploads.tracker.all_records():
        before, after = _digests(record, arrays.keys(), names, merged.get(record.region.name))
        if before is not None and before == merged.get(record.region.name):
            merged[record.region.name] = after
    check()
    for name in there:
        sync(session.store.delete_dir(name))
    write_metadata(session.store, folder)
    set_all(session.store, values)
    commit(repository, session, message, merged)
    return True


def _digests(
    record: ProgressRecord, arrays: Collection[str], names: Collection[str], said: str | None
) -> tuple[str | None, str]:
    """Return the digests of a region with all that readers see, and without some of it."""
    if said is None:
        return None, ""
    tokens = {n: v.token for n, v in record.variables.items() if v.token and n in arrays}
    whole = StagedRegion(record.region.name, int(said.split()[-1]), tokens)
    rest = {name: token for name, token in tokens.items() if name not in names}
    return digest_of(whole), digest_of(replace(whole, tokens=rest))
