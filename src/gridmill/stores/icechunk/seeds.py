"""What uploads begin from: a snapshot of the branch, or a seed for an array that it lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import icechunk

from gridmill.stores.icechunk.keys import Array, content_of, get, put, reach
from gridmill.stores.icechunk.tokens import Token, fork_of
from gridmill.stores.icechunk.uploads import Uploads
from gridmill.stores.metadata import ROOT

__all__ = ["Seeds"]

# Objects along the append dim that a seed has room for: none of its forks resizes the array.
SEEDED = 2**20


class Seeds:
    """The forks that uploads of an array begin from, which no snapshot has yet.

    Parameters
    ----------
    uploads
        The archive's uploads: a seed is kept as if it were one, beside the records.
    """

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads

    def plant(self, session: icechunk.Session, arrays: Mapping[str, Array]) -> None:
        """Keep a fork that has an array, for each that a session lacks.

        Only forks of the same seed can be merged with each other, so it stays as long as it can.
        """
        for name, array in arrays.items():
            key = _key_of(name, array)
            kept = self.uploads.state.get(key)
            if get(session.store, f"{name}/{ROOT}") is not None:
                continue
            if kept is not None and self.uploads.forks.is_held(kept.decode(), self._name_of(name)):
                continue
            chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
            room = [n or SEEDED * m for n, m in zip(array["shape"], chunk, strict=True)]
            fork = session.fork()
            put(fork.store, f"{name}/{ROOT}", content_of({**array, "shape": room}))
            token = Token.of(fork, datetime.now(UTC), self.uploads.repository.place)
            self.uploads.state.put(key, token.to_text().encode())

    def begin(self, variable: str, metadata: Array, keys: Sequence[str]) -> tuple[Any, str | None]:
        """Return a fork whose array reaches to the end of these objects, and its seed."""
        repository = self.uploads.repository
        fork = fork_of(repository.open().writable_session(repository.branch))
        is_unseen = get(fork.store, f"{variable}/{ROOT}") is None
        seed = self.uploads.state.get(_key_of(variable, metadata)) if is_unseen else None
        if seed is not None:
            fork = self.uploads.forks.fork(seed.decode(), self._name_of(variable))
        reach(fork.store, variable, metadata, keys)
        return fork, None if seed is None else hashlib.sha256(seed).hexdigest()[:16]

    def _name_of(self, variable: str) -> str:
        return self.uploads.forks.name_of(f"the seed of {variable}")


def _key_of(name: str, array: Array) -> str:
    """Name a seed by all that an array's objects are made by."""
    kept = {k: v for k, v in array.items() if k not in ("attributes", "shape")}
    return f"seeds/{name}-{hashlib.sha256(content_of(kept)).hexdigest()[:16]}.json"
