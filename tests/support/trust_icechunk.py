"""An Icechunk store whose writes are logged and meet faults, as those of plain Zarr do.

A put into a session is durable and seen by nobody; a commit is what the root's put is to plain
Zarr, and meets the faults that are laid for ``store:zarr.json``. What a commit shows is logged too:
only then can readers see what was put.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from gridmill.stores.final_store import CoordinateValues, StagedRegion, Uploaded
from gridmill.stores.icechunk import keys, publication, seeds
from gridmill.stores.icechunk import store as icechunk_store
from gridmill.stores.icechunk.store import ROOT, IcechunkStore
from trust_faults import DIES_WITHIN_S, append, faulty_put, suffer_in_put, waits_in_put


class FaultyIcechunk(IcechunkStore):
    """An Icechunk store that logs what it puts and shows."""

    put_log = Path()

    @classmethod
    def like(cls, store: IcechunkStore, put_log: Path) -> FaultyIcechunk:
        """Give a faulty store with the settings of another."""
        faulty = cls.__new__(cls)
        vars(faulty).update(vars(store), put_log=put_log)
        return faulty

    def upload(
        self, folder: Path, keys: Iterable[str], proof: Any, *, replaces: bool = False
    ) -> Uploaded:
        """Upload; log under which name the objects will be shown."""
        _Log.path = self.put_log
        uploaded = super().upload(folder, keys, proof, replaces=replaces)
        if uploaded.token is not None:
            names = [receipt.key for receipt in uploaded.objects]
            append(self.put_log, {"role": "token", "name": _name(uploaded.token), "keys": names})
        return uploaded

    def prepare(self, folder: Path) -> None:
        """Make the repository."""
        _Log.path = self.put_log
        super().prepare(folder)

    def publish(
        self,
        folder: Path,
        staged: Sequence[StagedRegion] = (),
        message: str = "",
        check: Callable[[], None] = lambda: None,
        values: Sequence[CoordinateValues] = (),
        *,
        together: Collection[str] = (),
    ) -> bool:
        """Commit; log what is shown by now."""
        _Log.path = self.put_log
        changed = super().publish(folder, staged, message, check, values, together=together)
        names = [_name(token) for region in staged for token in region.tokens.values()]
        append(self.put_log, {"role": "shown", "began": time.time(), "names": names})
        return changed


class _Log:
    """Where this process logs: tasks of one run at a time use it."""

    path = Path()


def _name(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]


_put, _commit = keys.put, publication.commit


def _faulty_put(store: Any, key: str, content: bytes) -> None:
    if key == ROOT:  # the commit counts
        _put(store, key, content)
        return
    with faulty_put(_Log.path, "store", key, len(content)):
        _may_die_within(f"store:{key}")
        _put(store, key, content)


def _faulty_commit(*arguments: Any, **options: Any) -> None:
    with faulty_put(_Log.path, "store", ROOT, 0):
        _may_die_within(f"store:{ROOT}")
        _commit(*arguments, **options)


def _may_die_within(place: str) -> None:
    if waits_in_put(place):
        threading.Timer(DIES_WITHIN_S * random.random(), suffer_in_put, [place]).start()


for module in (keys, seeds, icechunk_store):
    module.put = _faulty_put  # type: ignore[attr-defined]
publication.commit = _faulty_commit
