"""A final store in Icechunk: publications are commits, and readers see a snapshot or the next.

A worker forks a clean session of ``main``, lets the arrays in it reach to the region's end, writes
its objects there and returns the fork's changes as the upload's token; see `icechunk_tokens`. What
a fork wrote is durable and seen by nobody. The driver merges the forks of one region after the
other, each into a fresh session, and commits with what readers are to see of metadata and
coordinates.

The arrays that uploads fork from are in ``main`` before anything is published, but not the root
group: no reader can open them. It comes with the first publication, as plain Zarr's root does.

An array that is added to what readers see is in no snapshot before all of it is there: its uploads
begin from one fork, the seed, which has it and is kept beside the repository. One commit merges
them all.

One commit a region otherwise, because neither Icechunk 1.1 nor 2.3 merges two forks that both
resized an array. What was merged is said in the commits' own metadata, so it is true of whatever
snapshot ``main`` points at, also after somebody reset it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import google_crc32c
import icechunk
import numpy as np
import stamina
import zarr
from zarr.abc.store import RangeByteRequest, Store
from zarr.core.buffer import cpu
from zarr.core.buffer.core import default_buffer_prototype
from zarr.core.sync import sync

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.stores.final_store import CoordinateValues, StagedRegion, Uploaded, keep_object
from gridmill.stores.icechunk.tokens import Token, UploadLost, storage_of
from gridmill.stores.leases import LeaseProof, current_claims
from gridmill.stores.objects.local import check_writable, is_local, local_path, open_objects
from gridmill.stores.objects.s3 import S3Patience
from gridmill.stores.records import UpdateProgressTracker
from gridmill.stores.zarr_store import (
    NBYTES_IN_FLIGHT,
    ROOT,
    array_metadata,
    first_object_beyond,
    joined,
    open_state,
    publication_order,
    set_values,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["IcechunkStore", "PublishConflict"]

log = logging.getLogger(__name__)

BRANCH = "main"
MERGED = "gridmill-merged"
# Icechunk makes requests at once by itself; these keep it busy.
AT_ONCE = 16
# How long before its token an upload may have begun, and how far clocks may differ.
GARBAGE_MARGIN = timedelta(hours=1)
# Objects along the append dim that a seed has room for: none of its forks resizes the array.
SEEDED = 2**20

Array = dict[str, Any]
T = TypeVar("T")


class PublishConflict(RuntimeError):  # noqa: N818
    """Somebody else committed changes of what this publication changes: theirs stay."""


class IcechunkStore:
    """An Icechunk repository in a local folder or a bucket, and the records beside it.

    Parameters
    ----------
    url
        A local path or ``s3://bucket/prefix``.
    dataset_id
        The dataset in it.
    state
        Where the records are kept; None means ``<url>.gridmill``.
    storage_options
        For S3, those of s3fs: `key`, `secret`, `token`, `profile`, `anon`, `endpoint_url`,
        `client_kwargs`.

    Raises
    ------
    ValueError
        Icechunk stores are not supported at this URL.

    Notes
    -----
    Pickles small. Not for processes that fork after they used it: Icechunk's threads do not
    survive that. Dask spawns its workers.
    """

    format: ClassVar[str] = "icechunk"
    stages: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        dataset_id: str,
        *,
        state: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.url = str(url).rstrip("/")
        if not is_local(self.url) and not self.url.startswith("s3://"):
            raise ValueError(f"{url!r}: Icechunk stores are local paths or s3:// URLs")
        self.storage_options = dict(storage_options or {})
        self.state = open_state(self.url, state, storage_options=storage_options)
        self.tracker = UpdateProgressTracker(self.state, dataset_id)
        self._remember_nothing()

    def __repr__(self) -> str:
        return f"IcechunkStore({self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {
            k: v
            for k, v in self.__dict__.items()
            if k not in ("_known_merged", "_complained", "_digests")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember_nothing()

    def _remember_nothing(self) -> None:
        _options_of[self.url] = self.storage_options
        self._known_merged: Mapping[str, str] | None = None
        self._complained: set[str] = set()

    # -- what readers see ---------------------------------------------------------------------

    def metadata(self) -> Array | None:
        """Read the published root metadata, with that of all arrays; None if there is none."""

        def read() -> Array | None:
            store = self._published()
            return None if store is None else _read_metadata(store)

        return _patiently(read)

    def published_length(self, append_dim: str) -> int | None:
        """How many positions of the append dim readers see; None if there is no store yet."""

        def read() -> int | None:
            store = self._published()
            content = None if store is None else _get(store, f"{append_dim}/{ROOT}")
            return None if content is None else int(json.loads(content)["shape"][0])

        return _patiently(read)

    def published_nbytes(self, keys: Sequence[str]) -> dict[str, int]:
        """Give the sizes of those published objects that are there, by key."""

        def size(key: str) -> int | None:
            try:
                return None if store is None else sync(store.getsize(key))
            except (FileNotFoundError, KeyError):
                return None

        store = _patiently(self._published)
        sizes = zip(keys, _each(lambda key: _patiently(lambda: size(key)), keys), strict=True)
        return {key: nbytes for key, nbytes in sizes if nbytes is not None}

    def open_dataset(self) -> xr.Dataset:
        """Open what readers see now; it stays as it is while others publish.

        Its arrays may be computed on a cluster: they carry what this store needs to be read.
        """
        import xarray as xr

        def read() -> xr.Dataset:
            store = self._published(travels=True)
            ds: xr.Dataset = xr.open_zarr(store, zarr_format=3, consolidated=False)
            return ds

        return _patiently(read)

    def progress(self) -> list[ProgressRecord]:
        """Read the records of all regions, in order."""
        return list(self.tracker.records())

    def read_object(self, key: str) -> bytes | None:
        """Read a published object whole, as it is stored; None if there is none.

        Raises
        ------
        OSError
            The snapshot names it, and the repository cannot give it.
        """

        def read() -> bytes | None:
            store = self._published()
            return None if store is None else _get(store, key)

        return _patiently(read)

    # -- what a worker does -------------------------------------------------------------------

    def read(self, variable: str, selection: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Read published values of a variable, in the stored dtype."""

        def read() -> np.ndarray[Any, Any]:
            array = zarr.open_array(self._published(), path=variable, mode="r", zarr_format=3)
            return np.asarray(array[selection])

        return _patiently(read)

    def read_uploaded(
        self,
        variable: str,
        selection: tuple[slice, ...],
        metadata: Mapping[str, Any],
        token: str | None = None,
    ) -> np.ndarray[Any, Any]:
        """Read values that an upload made durable, whether readers see them or not."""

        def read() -> np.ndarray[Any, Any]:
            store = self._holding(token, self._name_of(variable))
            array = zarr.open_array(store, path=variable, mode="r", zarr_format=3)
            return np.asarray(array[selection])

        return _patiently(read)

    def nbytes_in_use(self, keys: Sequence[str]) -> dict[str, int]:
        """Give nothing: readers stay with their snapshot."""
        return {}

    def upload(
        self, folder: Path, keys: Iterable[str], proof: LeaseProof, *, replaces: bool = False
    ) -> Uploaded:
        """Write the objects of one variable through a fork, which is the token.

        `replaces` makes no difference: what a run wrote that may not is never committed.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        keys = list(keys)
        if not keys:
            return Uploaded(())
        begun = datetime.now(UTC)
        variable = keys[0].partition("/")[0]
        metadata = _arrays(folder)[variable]

        def begin() -> Any:
            fork = self._repository().writable_session(BRANCH).fork()
            is_unseen = _get(fork.store, f"{variable}/{ROOT}") is None
            seed = self.state.get(_seed_key(variable, metadata)) if is_unseen else None
            if seed is not None:
                fork = self._fork(seed.decode(), self._seed_name(variable))
            _reach(fork.store, variable, metadata, keys)
            return fork, None if seed is None else hashlib.sha256(seed).hexdigest()[:16]

        fork, seed = _patiently(begin)

        def put(key: str) -> ObjectReceipt:
            content = (folder / key).read_bytes()
            proof.check()
            _patiently(lambda: _put(fork.store, key, content))
            return ObjectReceipt(key, len(content), google_crc32c.value(content))

        largest = max(1, *((folder / key).stat().st_size for key in keys))
        receipts = tuple(_each(put, keys, NBYTES_IN_FLIGHT // largest))
        return Uploaded(receipts, Token.of(fork, begun, self._place, seed).to_text())

    def download(
        self, folder: Path, receipts: Sequence[ObjectReceipt], token: str | None = None
    ) -> None:
        """Write objects into a local folder; see `FinalStore.download`."""
        if not receipts:
            return
        of = self._name_of(receipts[0].key)
        store = _patiently(lambda: self._holding(token, of))

        def keep(receipt: ObjectReceipt) -> None:
            found = None if store is None else _patiently(lambda: _get(store, receipt.key))
            keep_object(folder, receipt, found)

        largest = max([1, *(receipt.nbytes for receipt in receipts)])
        _each(keep, receipts, NBYTES_IN_FLIGHT // largest)

    # -- what the driver does -----------------------------------------------------------------

    def check_writable(self) -> None:
        """Raise OSError unless objects can be put into the repository and beside it."""
        here = open_objects(self.url, self._staging, storage_options=self.storage_options)
        check_writable((here, ".gridmill-probe"), (self.state, "probe"))

    def prepare(self, folder: Path) -> None:
        """Make the repository, with arrays that have no position yet: uploads fork from it.

        There is no root group yet, so that readers see nothing. Where there is one, uploads to
        arrays that it lacks fork from seeds.
        """

        def create() -> None:
            repository = self._repository(create=True)
            session = repository.writable_session(BRANCH)
            if _get(session.store, ROOT) is not None:
                self._seed(session, _arrays(folder))
                return
            _write_arrays(session.store, folder, _arrays(folder))
            if session.has_uncommitted_changes:
                _commit(repository, session, "Prepare the archive, not yet to be seen", {})

        _patiently(create)

    def _seed(self, session: icechunk.Session, arrays: Mapping[str, Array]) -> None:
        """Keep a fork that has an array, for each that a session lacks.

        Only forks of the same seed can be merged with each other, so it stays as long as it can.
        """
        for name, array in arrays.items():
            key = _seed_key(name, array)
            kept = self.state.get(key)
            if _get(session.store, f"{name}/{ROOT}") is not None:
                continue
            if kept is not None and self._is_held(kept.decode(), self._seed_name(name)):
                continue
            chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
            room = [n or SEEDED * m for n, m in zip(array["shape"], chunk, strict=True)]
            fork = session.fork()
            _put(fork.store, f"{name}/{ROOT}", _content({**array, "shape": room}))
            token = Token.of(fork, datetime.now(UTC), self._place)
            self.state.put(key, token.to_text().encode())

    def publish(
        self,
        folder: Path,
        staged: Sequence[StagedRegion] = (),
        message: str = "",
        check: Callable[[], None] = lambda: None,
        values: Sequence[CoordinateValues] = (),
    ) -> bool:
        """Make uploads, and a local store's metadata and coordinates, what readers see.

        See `FinalStore.publish`. A commit for each region, with the values that speak of it, or
        one for metadata alone, with the message; `check` is called before each, with the version
        that it builds on in hand.

        Raises
        ------
        PublishConflict
            Another committer changed the same; nothing of theirs is lost.
        """
        if any(region.unseen for region in staged):
            _patiently(partial(self._publish_unseen, folder, staged, message, check, values))
            return True
        merged = self._known_merged = _patiently(lambda: _merged(self._repository()))
        todo = [region for region in staged if merged.get(region.name) != _digest(region)]
        of_region = {str(part.start): [part] for part in values}
        for number, region in enumerate(todo, 1):
            # The last commit shows all that the folder does, the others what precedes it.
            is_last = number == len(todo)
            own = of_region.pop(region.name, [])
            own += [part for parts in of_region.values() for part in parts] if is_last else []
            upto = None if is_last else region
            _patiently(partial(self._publish_region, folder, region, upto, check, own))
        if todo:
            return True
        return _patiently(partial(self._publish_metadata, folder, message, check, values))

    def _publish_region(
        self,
        folder: Path,
        region: StagedRegion,
        upto: StagedRegion | None,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> None:
        repository = self._repository()
        merged = _merged(repository)
        if merged.get(region.name) == _digest(region):
            return
        session = repository.writable_session(BRANCH)
        check()
        for variable, token in sorted(region.tokens.items()):
            # Uploads of a seed became visible together with their array.
            seed = self._token(token, variable, region.name).seed
            if seed is None or _get(session.store, f"{variable}/{ROOT}") is None:
                session.merge(self._to_merge(token, variable, region.name))
        _write_metadata(session.store, folder, upto, merged=region.tokens)
        _set_all(session.store, values)
        merged[region.name] = _digest(region)
        _commit(repository, session, region.message, merged)

    def _publish_unseen(
        self,
        folder: Path,
        staged: Sequence[StagedRegion],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> None:
        """Make whole arrays visible in one commit, and nothing else of their regions."""
        repository = self._repository()
        merged = _merged(repository)
        session = repository.writable_session(BRANCH)
        seeds: dict[str, str | None] = {}
        for region in staged:
            seen = {n: t for n, t in region.tokens.items() if n not in region.unseen}
            if seen and merged.get(region.name) != _digest(replace(region, tokens=seen)):
                raise PublishConflict(
                    f"the region from position {region.name} has uploads that are not published: "
                    "nothing was added; run an update, then this again"
                )
            for name in sorted(region.tokens.keys() - seen):
                token = region.tokens[name]
                seed = self._token(token, name, region.name).seed
                if seeds.setdefault(name, seed) != seed:
                    raise PublishConflict(
                        f"some uploads of {name} began from a snapshot that has expired since: "
                        "nothing was added; run again without --start and --end to replace them"
                    )
                session.merge(self._to_merge(token, name, region.name))
            merged[region.name] = _digest(region)
        check()
        _write_metadata(session.store, folder, merged=seeds)
        _set_all(session.store, values)
        _commit(repository, session, message, merged)

    def _publish_metadata(
        self,
        folder: Path,
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> bool:
        repository = self._repository()
        session = repository.writable_session(BRANCH)
        check()
        _write_metadata(session.store, folder)
        _set_all(session.store, values)
        if not session.has_uncommitted_changes:
            return False
        _commit(repository, session, message or "Update metadata", _merged(repository))
        return True

    def truncate(self, folder: Path, append_dim: str, message: str = "") -> int:
        """Let readers see less, in one commit; see `FinalStore.truncate`.

        Earlier versions keep what they had: what the new one lacks is deleted by `collect_garbage`
        once they are expired.
        """
        arrays = _arrays(folder)

        def cut() -> int:
            repository = self._repository()
            session = repository.writable_session(BRANCH)
            beyond = [
                key
                for name, array in arrays.items()
                if (first := first_object_beyond(array, append_dim)) is not None
                for key in _keys(session.store, f"{name}/")
                if not key.endswith(ROOT) and int(key.split("/")[2 + first[0]]) >= first[1]
            ]
            for key in beyond:
                sync(session.store.delete(key))
            _write_metadata(session.store, folder)
            length = arrays[append_dim]["shape"][0]
            merged = {n: d for n, d in _merged(repository).items() if int(d.split()[-1]) <= length}
            _commit(repository, session, message or f"Truncate {append_dim} to {length}", merged)
            return len(beyond)

        return _patiently(cut)

    def missing(self, receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        """Give the keys whose object is gone or has fewer bytes.

        With a token, they are looked for in what it made durable, published or not; once the
        snapshot that it began from has expired, in what readers see. What this Icechunk does not
        read any more is there only where all of its region is published.
        """
        if not receipts:
            return []
        if token is None:
            return self._missing_in(_patiently(self._published), receipts)
        of = self._name_of(receipts[0].key)
        try:
            return self._missing_in(_patiently(lambda: self._held(token, of)), receipts)
        except UploadLost as lost:
            reason = str(lost)
        is_there = self._is_readable(token, of) or self._is_shown(token)
        published = _patiently(self._published) if is_there else None
        gone = self._missing_in(published, receipts)
        if gone:
            self._complain(gone[0], reason)
        return gone

    def _missing_in(self, store: Store | None, receipts: Sequence[ObjectReceipt]) -> list[str]:
        def is_there(receipt: ObjectReceipt) -> bool:
            return store is not None and _patiently(lambda: _has(store, receipt))

        found = _each(is_there, receipts)
        return [r.key for r, there in zip(receipts, found, strict=True) if not there]

    def _complain(self, key: str, reason: str) -> None:
        """Say once why what was uploaded is uploaded again, whatever it may be."""
        if reason not in self._complained:
            self._complained.add(reason)
            log.warning(
                "%s: uploads that no reader sees yet count as not uploaded and are made again, "
                "the first that of %s: %s",
                self.url,
                key,
                reason,
            )

    def lost(self, region: StagedRegion) -> frozenset[str]:
        """Name the variables whose uploads this Icechunk does not read, and that it must merge."""
        if self._merged_lately().get(region.name) == _digest(region):
            return frozenset()
        return frozenset(
            name
            for name, token in region.tokens.items()
            if not self._is_readable(token, self._name_of(name, region.name))
        )

    # -- upkeep -------------------------------------------------------------------------------

    def expire(self, older_than: datetime, *, dry_run: bool = False) -> int:
        """Forget snapshots from before a time, but for what readers see; their number.

        Their data stays until `collect_garbage`. A dry run counts those that may go, of which
        Icechunk 2 keeps the very first.
        """
        if not dry_run:
            return len(
                _patiently(lambda: self._repository().expire_snapshots(older_than=older_than))
            )
        _, *earlier = _patiently(lambda: list(self._repository().ancestry(branch=BRANCH)))
        return sum(snapshot.written_at < older_than for snapshot in earlier)

    def collect_garbage(self, older_than: datetime, *, dry_run: bool = False) -> dict[str, int]:
        """Delete objects from before a time that no snapshot holds; counts by kind.

        What uploads made durable and no publication shows yet is spared, and so is whatever
        is younger than it. A dry run only counts.
        """
        merged = _patiently(lambda: _merged(self._repository()))
        until = min([older_than, *self._awaiting(merged)]) - GARBAGE_MARGIN
        summary = _patiently(lambda: self._repository().garbage_collect(until, dry_run=dry_run))
        names = ("bytes_deleted", "chunks_deleted", "manifests_deleted", "snapshots_deleted")
        return {name: int(getattr(summary, name)) for name in names}

    def _awaiting(self, merged: Mapping[str, str]) -> Iterator[datetime]:
        """Yield when runs that live began, and uploads that are not wholly visible."""
        for claim in current_claims(self.state):
            yield datetime.fromisoformat(claim.since)
        for whole in self._uploaded():
            if merged.get(whole.name) != _digest(whole):
                for name, token in whole.tokens.items():
                    yield self._token(token, name, whole.name).begun

    def _uploaded(self) -> Iterator[StagedRegion]:
        """Yield all regions with uploads, whole."""
        static = self.tracker.read(slice(0, 0))
        for record in [*([static] if static else []), *self.tracker.records()]:
            tokens = {n: v.token for n, v in record.variables.items() if v.token is not None}
            name = "static" if record.stop == record.start else str(record.start)
            if tokens:
                yield StagedRegion(name, record.stop, tokens)

    # -- the repository -----------------------------------------------------------------------

    @property
    def _staging(self) -> Path | None:
        return Path(f"{local_path(self.url)}.gridmill/staging") if is_local(self.url) else None

    def _holding(self, token: str | None, of: str) -> Store | None:
        """Give what has the objects that a token made durable."""
        if token is not None:
            with suppress(UploadLost):
                return self._held(token, of)
        return self._published()

    @property
    def _place(self) -> str:
        return str(local_path(self.url).resolve()) if is_local(self.url) else self.url

    def _held(self, token: str, of: str) -> Store:
        """Give what an upload wrote, and the snapshot that it began from.

        Also where the archive was moved or copied since, with its records.

        Raises
        ------
        UploadLost
            This Icechunk does not read it, or the snapshot is gone.
        """
        try:
            fork = self._fork(token, of)
            self._repository().lookup_snapshot(fork.snapshot_id)
        except FileNotFoundError as error:
            raise UploadLost(str(error)) from None
        except icechunk.IcechunkError as error:
            if _is_transient(error):
                raise
            raise UploadLost("the snapshot that it began from has expired") from None
        store: Store = fork.store
        return store

    def _is_held(self, token: str, of: str) -> bool:
        try:
            self._held(token, of)
        except UploadLost:
            return False
        return True

    def _is_readable(self, token: str, of: str) -> bool:
        try:
            self._fork(token, of)
        except UploadLost:
            return False
        except FileNotFoundError:
            return True  # there is no repository: nothing is wrong with the token
        return True

    def _is_shown(self, token: str) -> bool:
        """Whether readers see all of the region that a token belongs to."""
        name, digest = self._digests.get(token, ("", ""))
        return bool(digest) and self._merged_lately().get(name) == digest

    @cached_property
    def _digests(self) -> Mapping[str, tuple[str, str]]:
        """By token, its region and the digest of what readers may see of it."""
        store = _patiently(self._published)
        metadata = {} if store is None else _patiently(lambda: _read_metadata(store))
        arrays = array_metadata(metadata) if metadata else {}
        found = {}
        for region in self._uploaded():
            # A variable that is being added is seen only once all of it is there.
            seen = {n: t for n, t in region.tokens.items() if n in arrays}
            digest = _digest(replace(region, tokens=seen))
            found.update(dict.fromkeys(seen.values(), (region.name, digest)))
        return found

    def _merged_lately(self) -> Mapping[str, str]:
        """Give what the branch held at the last publication, or else now; see `_merged`."""
        if self._known_merged is None:
            try:
                self._known_merged = _patiently(lambda: _merged(self._repository()))
            except FileNotFoundError:
                return {}
        return self._known_merged

    def _fork(self, token: str, of: str) -> Any:
        return Token.from_text(token, of).fork(storage_of(self._repository()))

    def _to_merge(self, token: str, variable: str, region: str) -> Any:
        try:
            return self._fork(token, self._name_of(variable, region))
        except UploadLost as lost:
            raise UploadLost(
                f"the upload of {variable} in the region from position {region} cannot be "
                f"published: {lost}: nothing was published; run a backfill of that region"
            ) from None

    def _token(self, token: str, variable: str, region: str) -> Token:
        return Token.from_text(token, self._name_of(variable, region))

    def _name_of(self, what: str, region: str | None = None) -> str:
        """Name an upload and where its record is, for an error."""
        where = "" if region is None else f" in the region from position {region}"
        return f"{what}{where}, kept in {self.state.url}"

    def _seed_name(self, variable: str) -> str:
        return self._name_of(f"the seed of {variable}")

    def _published(self, *, travels: bool = False) -> Store | None:
        """Give what readers see; None if there is no repository or nothing in it."""
        try:
            repository = self._repository(travels=travels)
        except FileNotFoundError:
            return None
        store: Store = repository.readonly_session(BRANCH).store
        return None if _get(store, ROOT) is None else store

    def _repository(self, *, create: bool = False, travels: bool = False) -> icechunk.Repository:
        """Open the repository, once a process.

        What comes of one that travels works wherever it is unpickled; what comes of the other
        only where this store is, because credentials are no part of it.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        key = (self.url, repr(sorted(self.storage_options.items())), travels)
        with _opening:
            if key not in _repositories:
                storage = self._storage(travels=travels)
                if not icechunk.Repository.exists(storage):
                    if not create:
                        raise FileNotFoundError(f"there is no Icechunk repository at {self.url}")
                    icechunk.Repository.create(storage)
                _repositories[key] = icechunk.Repository.open(storage, _few_attempts())
            return _repositories[key]

    def _storage(self, *, travels: bool = False) -> icechunk.Storage:
        if is_local(self.url):
            path = local_path(self.url)
            path.mkdir(parents=True, exist_ok=True)
            return icechunk.local_filesystem_storage(str(path))
        options = self.storage_options
        client = options.get("client_kwargs", {})
        endpoint = options.get("endpoint_url") or client.get("endpoint_url") or _env_endpoint()
        region = client.get("region_name") or _env_region()
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        anonymous = bool(options.get("anon"))
        return icechunk.s3_storage(
            bucket=bucket,
            # Icechunk does not take the root of a bucket.
            prefix=prefix or None,
            region=region or ("us-east-1" if endpoint else None),
            endpoint_url=endpoint,
            allow_http=bool(endpoint and endpoint.startswith("http://")),
            force_path_style=endpoint is not None,
            anonymous=anonymous or None,
            get_credentials=None
            if anonymous
            else _Credentials(self.url, options if travels else None),
        )


# A repository belongs to a process, and is safe in its threads.
_repositories: dict[tuple[str, str, bool], icechunk.Repository] = {}
_opening = threading.RLock()
# Where tokens find credentials, because they carry none.
_options_of: dict[str, Mapping[str, Any]] = {}


@dataclass(frozen=True)
class _Credentials:
    """Finds credentials in the process where they are needed.

    Pickles as the store's URL, and with the store's options only if they are given.
    """

    url: str
    options: Mapping[str, Any] | None = field(default=None, repr=False)

    def __call__(self) -> icechunk.S3StaticCredentials:
        options = self.options or _options_of.get(self.url, {})
        if options.get("key"):
            return icechunk.S3StaticCredentials(
                access_key_id=options["key"],
                secret_access_key=options["secret"],
                session_token=options.get("token"),
            )
        # It takes a while, and Icechunk's S3 client waits seconds at most.
        import botocore.session  # type: ignore[import-untyped]

        session = botocore.session.Session(profile=options.get("profile"))
        found = session.get_credentials()
        if found is None:
            raise PermissionError(f"no credentials found for {self.url}")
        frozen = found.get_frozen_credentials()
        soon = datetime.now(UTC) + timedelta(minutes=10)
        return icechunk.S3StaticCredentials(
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            session_token=frozen.token,
            expires_after=soon if frozen.token else None,
        )


def _env_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _env_region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


# -- what was merged ---------------------------------------------------------------------------


def _seed_key(name: str, array: Array) -> str:
    """Name a seed by all that an array's objects are made by."""
    kept = {k: v for k, v in array.items() if k not in ("attributes", "shape")}
    return f"seeds/{name}-{hashlib.sha256(_content(kept)).hexdigest()[:16]}.json"


def _digest(region: StagedRegion) -> str:
    """Tell apart what a region brings, and how much of it is visible: both may change."""
    tokens = json.dumps(sorted(region.tokens.items())).encode()
    return f"{hashlib.sha256(tokens).hexdigest()[:16]} {region.stop}"


def _merged(repository: icechunk.Repository) -> dict[str, str]:
    """Give by region what the branch holds of it, as the last commit of ours says."""
    for snapshot in repository.ancestry(branch=BRANCH):
        if MERGED in snapshot.metadata:
            return dict(snapshot.metadata[MERGED])
    return {}


def _commit(
    repository: icechunk.Repository,
    session: icechunk.Session,
    message: str,
    merged: Mapping[str, str],
) -> None:
    """Commit; what others committed meanwhile stays, and must not be of the same objects."""
    solver = icechunk.ConflictDetector()
    try:
        session.commit(message, {MERGED: dict(merged)}, rebase_with=solver, rebase_tries=10)
    except (icechunk.ConflictError, icechunk.RebaseFailedError, icechunk.IcechunkError) as error:
        # Where an answer got lost, the next attempt meets what it was about.
        tip = next(iter(repository.ancestry(branch=BRANCH)))
        if tip.message == message and tip.metadata.get(MERGED) == merged:
            return
        if not isinstance(error, icechunk.ConflictError | icechunk.RebaseFailedError):
            raise
        raise PublishConflict(
            f"another committer changed what this publication changes ({_one_line(error)}): "
            "nothing was published; look at the branch's last commits, and run again"
        ) from None


# -- keys of a session ------------------------------------------------------------------------


def _put(store: Store, key: str, content: bytes) -> None:
    sync(store.set(key, cpu.Buffer.from_bytes(content)))


def _get(store: Store, key: str) -> bytes | None:
    found = sync(store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def _has(store: Store, receipt: ObjectReceipt) -> bool:
    """Whether an object has its size by the manifest, and its last byte in storage."""
    last = RangeByteRequest(receipt.nbytes - 1, receipt.nbytes)
    try:
        if sync(store.getsize(receipt.key)) != receipt.nbytes:
            return False
        return sync(store.get(receipt.key, default_buffer_prototype(), last)) is not None
    except (FileNotFoundError, KeyError, ValueError):
        return False
    except icechunk.IcechunkError as error:
        if _is_transient(error):
            raise
        return False


def _read_metadata(store: Store) -> Array:
    """Read a group's metadata and that of its arrays, in the form of a consolidated root."""

    async def names() -> list[str]:
        return sorted([name async for name in store.list_dir("")])

    arrays = {}
    for name in sync(names()):
        content = _get(store, f"{name}/{ROOT}") if name != ROOT else None
        if content is not None:
            arrays[name] = json.loads(content)
    root: Array = json.loads(_get(store, ROOT) or b"{}")
    return {**root, "consolidated_metadata": {"metadata": arrays}}


def _write_metadata(
    store: Store,
    folder: Path,
    upto: StagedRegion | None = None,
    merged: Collection[str] = (),
) -> None:
    """Put a local store's metadata and coordinates, where they differ.

    `upto` cuts it to what is visible with that region, or is already. The arrays in `merged` are
    resized twice: after a merge Icechunk 1.1 keeps only as many objects of an array as the fork
    knew, which began before others published, unless the array is resized.
    """
    root = json.loads((folder / ROOT).read_bytes())
    # Every snapshot is consistent: there is nothing to consolidate for.
    _put_if_changed(store, ROOT, {**root, "consolidated_metadata": None})
    arrays = {
        name: array if upto is None else _cut(store, name, array, upto)
        for name, array in array_metadata(root).items()
    }
    _write_arrays(store, folder, arrays, merged)


def _write_arrays(
    store: Store, folder: Path, arrays: Mapping[str, Array], merged: Collection[str] = ()
) -> None:
    """Put arrays' metadata, and those objects of coordinates that are inside."""
    for name, array in arrays.items():
        if name in merged:
            beyond = [n + 1 for n in array["shape"]]
            _put(store, f"{name}/{ROOT}", _content({**array, "shape": beyond}))
        _put_if_changed(store, f"{name}/{ROOT}", array)
    for key in publication_order(folder):
        name, _, chunk = key.partition("/")
        if not key.endswith(ROOT) and _is_inside(chunk, arrays[name]):
            content = (folder / key).read_bytes()
            if _get(store, key) != content:
                _put(store, key, content)


def _set_all(store: Store, values: Sequence[CoordinateValues]) -> None:
    for part in joined(values):
        set_values(store, part)


def _arrays(folder: Path) -> dict[str, Array]:
    return array_metadata(json.loads((folder / ROOT).read_bytes()))


def _cut(store: Store, name: str, array: Array, upto: StagedRegion) -> Array:
    dims = array.get("dimension_names") or ()
    content = _get(store, f"{name}/{ROOT}")
    if upto.dim not in dims or content is None:
        return array
    axis = list(dims).index(upto.dim)
    shape = list(array["shape"])
    shape[axis] = min(shape[axis], max(upto.stop, upto.visible))
    return {**array, "shape": shape}


def _reach(store: Store, variable: str, metadata: Array, keys: Sequence[str]) -> None:
    """Let an array in a fork reach to the end of these objects, and never shrink."""
    content = _get(store, f"{variable}/{ROOT}")
    if content is None:
        raise ValueError(f"{variable} is not in the repository: prepare() makes it")
    now = json.loads(content)["shape"]
    chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    ends = [[(i + 1) * n for i, n in zip(_index(key), chunk, strict=True)] for key in keys]
    shape = [
        max(present, min(whole, max(axis)))
        for present, whole, axis in zip(
            now, metadata["shape"], zip(*ends, strict=True), strict=True
        )
    ]
    if shape != now:
        grown = {**metadata, "shape": shape}
        _put(store, f"{variable}/{ROOT}", json.dumps(grown).encode())


def _index(key: str) -> list[int]:
    """Give an object's position among the objects of its array, from its key."""
    return [int(part) for part in key.split("/")[2:]]


def _is_inside(chunk: str, array: Array) -> bool:
    size = array["chunk_grid"]["configuration"]["chunk_shape"]
    at = [int(part) for part in chunk.split("/")[1:]]
    return all(i < math.ceil(n / m) for i, n, m in zip(at, array["shape"], size, strict=True))


def _put_if_changed(store: Store, key: str, metadata: Array) -> None:
    content = _get(store, key)
    wanted = _content(metadata)
    if content is None or _content(json.loads(content)) != wanted:
        _put(store, key, wanted)


def _content(metadata: Array) -> bytes:
    """Serialise metadata, without what says nothing and is not kept."""
    kept = {k: v for k, v in metadata.items() if k != "storage_transformers" and v is not None}
    return json.dumps(kept, sort_keys=True).encode()


def _keys(store: Store, prefix: str) -> list[str]:
    async def listed() -> list[str]:
        return sorted([key async for key in store.list_prefix(prefix)])

    return sync(listed())


def _each(function: Callable[[Any], Any], items: Sequence[Any], width: int = AT_ONCE) -> list[Any]:
    if len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max(1, min(width, AT_ONCE)), thread_name_prefix="store") as pool:
        return list(pool.map(function, items))


# -- patience ---------------------------------------------------------------------------------


class _Transient(ConnectionError):  # noqa: N818
    """Worth another attempt."""


def _few_attempts() -> icechunk.RepositoryConfig:
    """Leave little to the attempts of Icechunk's S3 client.

    They share one budget in the whole process, which a burst of refusals uses up: from then on
    every failure is final at once, even a connection that the server had closed meanwhile. The
    attempts that count are those of `_patiently`.
    """
    retries = icechunk.StorageRetriesSettings(
        max_tries=3, initial_backoff_ms=100, max_backoff_ms=1000
    )
    return icechunk.RepositoryConfig(storage=icechunk.StorageSettings(retries=retries))


def _patiently(request: Callable[[], T]) -> T:
    """Do what can be done again, until it succeeds or patience ends.

    Raises
    ------
    OSError
        What Icechunk raised, in one line, which pickles.
    """
    patience = S3Patience()
    for attempt in stamina.retry_context(
        on=_Transient,
        attempts=patience.attempts,
        timeout=patience.total_s,
        wait_initial=patience.wait_initial_s,
        wait_max=patience.wait_max_s,
        wait_jitter=patience.wait_initial_s,
    ):
        with attempt:
            try:
                return request()
            except icechunk.IcechunkError as error:
                kind = _Transient if _is_transient(error) else OSError
                raise kind(f"Icechunk: {_one_line(error)}") from None
    raise AssertionError("stamina raises what the last attempt raised")


def _is_transient(error: icechunk.IcechunkError) -> bool:
    """Whether the store did not answer, or not as it should, by the causes that are listed."""
    return _TRANSIENT.search(str(error)) is not None


_TRANSIENT = re.compile(
    r"dispatch failure|response error|streaming error|timed out|timeout|connection"
    r"|SlowDown|ServiceUnavailable|InternalError|RequestTimeout|Throttling|RequestLimitExceeded",
    re.IGNORECASE,
)


def _one_line(error: BaseException) -> str:
    """Give the first line, which says what failed, and the last, which says why."""
    lines = [line.strip(" x|`->\t") for line in str(error).splitlines()]
    lines = [line for line in lines if line] or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}"


if "ICECHUNK_LOG" not in os.environ:
    # It warns that local commits need a lock, which gridmill holds.
    with suppress(Exception):
        icechunk.set_logs_filter("error")
