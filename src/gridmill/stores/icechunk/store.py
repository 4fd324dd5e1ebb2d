"""A final store in Icechunk: publications are commits, and readers see a snapshot or the next.

A worker forks a clean session of ``main``, lets the arrays in it reach to the region's end, writes
its objects there and returns the fork's changes as the upload's token; see `tokens`. What
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

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import zarr
from zarr.core.sync import sync

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.urls import is_local, local_path
from gridmill.stores.copied import keep_object
from gridmill.stores.final_store import (
    CoordinateValues,
    IntendedWork,
    Rename,
    StagedRegion,
    Uploaded,
)
from gridmill.stores.icechunk import upkeep
from gridmill.stores.icechunk.keys import Array, arrays_in, get, put, read_metadata
from gridmill.stores.icechunk.maintenance.rearranging import rearrange
from gridmill.stores.icechunk.maintenance.renaming import drop_leftover, renaming
from gridmill.stores.icechunk.named.branches import IcechunkBranches
from gridmill.stores.icechunk.named.moments import Moments
from gridmill.stores.icechunk.named.tags import IcechunkVersions
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.publication import Publication
from gridmill.stores.icechunk.repository import AT_ONCE, BRANCH, RepositoryAt
from gridmill.stores.icechunk.seeds import Seeds
from gridmill.stores.icechunk.settings.formats import DEFAULT, check_writable_format, format_of
from gridmill.stores.icechunk.settings.storage import check_place
from gridmill.stores.icechunk.tokens import Token
from gridmill.stores.icechunk.uploads import Uploads
from gridmill.stores.lookahead import each
from gridmill.stores.metadata import ROOT, open_zarr
from gridmill.stores.objects.opening import open_objects, open_state
from gridmill.stores.objects.writable import check_writable
from gridmill.stores.state.leases import LeaseProof
from gridmill.stores.state.records import UpdateProgressTracker

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.stores.contents.axis import Moves

__all__ = ["IcechunkStore"]

# How the message of a commit begins that withdraws values.
WITHDRAWN = "Withdraw "


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
        `client_kwargs`, `config_kwargs`, `requester_pays`.
    format_version
        Of Icechunk's format: 1 or 2. None means what an archive was made in, and 1 for a new one.
    branch
        The one that is written and read; readers read ``main``.

    Raises
    ------
    ValueError
        Icechunk stores are not supported at this URL, or the Icechunk here makes none in this
        format.

    Notes
    -----
    Pickles small. Not for processes that fork after they used it: Icechunk's threads do not
    survive that. Dask spawns its workers.
    """

    format: ClassVar[str] = "icechunk"
    shows_uploads: ClassVar[bool] = False

    def __init__(
        self,
        url: str,
        dataset_id: str,
        *,
        state: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        format_version: int | None = None,
        branch: str = BRANCH,
    ) -> None:
        self.url = str(url).rstrip("/")
        check_place(self.url)
        if format_version is not None:
            check_writable_format(format_version)
        self.storage_options = dict(storage_options or {})
        self.state = open_state(self.url, state, storage_options=storage_options)
        self.repository = RepositoryAt(self.url, self.storage_options, format_version, branch)
        self._keep_records(UpdateProgressTracker(self.state, dataset_id))

    def _keep_records(self, tracker: UpdateProgressTracker) -> None:
        self.tracker = tracker
        self.uploads = Uploads(self.repository, tracker)
        self.seeds = Seeds(self.uploads)
        self.publication = Publication(self.uploads, self.seeds)

    def __repr__(self) -> str:
        return f"IcechunkStore({self.url!r})"

    def adding(self) -> IcechunkStore:
        """Return the same store with other records; see `FinalStore.adding`."""
        twin = copy.copy(self)
        twin._keep_records(self.tracker.adding)
        return twin

    @property
    def versions(self) -> IcechunkVersions:
        """Names versions of the archive."""
        return IcechunkVersions(self._moments)

    @property
    def _moments(self) -> Moments:
        return Moments(self.repository, self.tracker.read_declaration())

    @property
    def branch(self) -> str:
        """Which version of the archive this is."""
        return self.repository.branch

    @property
    def branches(self) -> IcechunkBranches:
        """The versions of the archive that are beside each other."""
        return IcechunkBranches(self.repository)

    def declared_format(self) -> dict[str, Any]:
        """Return what a declaration says of the format; see `FinalStore.declared_format`."""
        try:
            version = format_of(patiently(self.repository.open))
        except FileNotFoundError:
            version = self.repository.format_version or DEFAULT
        return {"format": self.format, "format_version": version}

    # -- what readers see ---------------------------------------------------------------------

    def metadata(self) -> Array | None:
        """Read the published root metadata, with that of all arrays; None if there is none."""

        def read() -> Array | None:
            store = self.repository.published()
            return None if store is None else read_metadata(store)

        return patiently(read)

    def published_length(self, append_dim: str) -> int | None:
        """How many positions of the append dim readers see; None if there is no store yet."""

        def read() -> int | None:
            store = self.repository.published()
            content = None if store is None else get(store, f"{append_dim}/{ROOT}")
            return None if content is None else int(json.loads(content)["shape"][0])

        return patiently(read)

    def published_nbytes(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sizes of those published objects that are there, by key."""

        def size(key: str) -> int | None:
            try:
                return None if store is None else sync(store.getsize(key))
            except (FileNotFoundError, KeyError):
                return None

        store = patiently(self.repository.published)
        sizes = each(lambda key: patiently(lambda: size(key)), keys, AT_ONCE)
        return {k: n for k, n in zip(keys, sizes, strict=True) if n}  # 0: there is no such chunk

    def open_dataset(self, chunks: Any = "auto") -> xr.Dataset:
        """Open what readers see now; it stays as it is while others publish.

        Its arrays may be computed on a cluster: they carry what this store needs to be read.
        """

        def read() -> xr.Dataset:
            return open_zarr(self.repository.published(travels=True), chunks, is_consolidated=False)

        return patiently(read)

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
            store = self.repository.published()
            return None if store is None else get(store, key)

        return patiently(read)

    # -- what a worker does -------------------------------------------------------------------

    def read(self, variable: str, selection: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Read published values of a variable, in the stored dtype."""

        def read() -> np.ndarray[Any, Any]:
            store = self.repository.published()
            array = zarr.open_array(store, path=variable, mode="r", zarr_format=3)
            return np.asarray(array[selection])

        return patiently(read)

    def withdrawals(self) -> list[str]:
        """Return the messages of the commits that withdrew values, the latest first."""
        return patiently(lambda: self.repository.messages(WITHDRAWN))

    def read_as_of(
        self, variable: str, selection: tuple[slice, ...], moment: datetime
    ) -> np.ndarray[Any, Any]:
        """Read what readers saw of a variable at a moment; see `Moments.read`."""
        return self._moments.read(variable, selection, moment)

    def read_uploaded(
        self,
        variable: str,
        selection: tuple[slice, ...],
        metadata: Mapping[str, Any],
        token: str | None = None,
    ) -> np.ndarray[Any, Any]:
        """Read values that an upload made durable, whether readers see them or not."""

        def read() -> np.ndarray[Any, Any]:
            store = self.uploads.forks.holding(token, self.uploads.forks.name_of(variable))
            array = zarr.open_array(store, path=variable, mode="r", zarr_format=3)
            return np.asarray(array[selection])

        return patiently(read)

    def nbytes_in_use(self, keys: Sequence[str]) -> dict[str, int]:
        """Return nothing: readers stay with their snapshot."""
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
        begun, variable = datetime.now(UTC), keys[0].partition("/")[0]
        metadata = arrays_in(folder)[variable]
        fork, seed = patiently(lambda: self.seeds.begin(variable, metadata, keys))

        def write(key: str) -> ObjectReceipt:
            content = (folder / key).read_bytes()
            proof.check()
            patiently(lambda: put(fork.store, key, content), f"{self.url}/{key}")
            return ObjectReceipt.of(key, content)

        largest = max(1, *((folder / key).stat().st_size for key in keys))
        receipts = tuple(each(write, keys, AT_ONCE, largest))
        return Uploaded(receipts, Token.of(fork, begun, self.repository.place, seed).to_text())

    def download(
        self, folder: Path, receipts: Sequence[ObjectReceipt], token: str | None = None
    ) -> None:
        """Write objects into a local folder; see `FinalStore.download`."""
        if not receipts:
            return
        of = self.uploads.forks.name_of(receipts[0].key)
        store = patiently(lambda: self.uploads.forks.holding(token, of))

        def keep(receipt: ObjectReceipt) -> None:
            found = None if store is None else patiently(lambda: get(store, receipt.key))
            keep_object(folder, receipt, found)

        largest = max([1, *(receipt.nbytes for receipt in receipts)])
        each(keep, receipts, AT_ONCE, largest)

    # -- what the driver does -----------------------------------------------------------------

    def check_writable(self) -> None:
        """Raise OSError unless objects can be put into the repository and beside it."""
        beside = f"{local_path(self.url)}.gridmill" if is_local(self.url) else None
        staging = None if beside is None else Path(beside, "staging")
        here = open_objects(self.url, staging, storage_options=self.storage_options)
        check_writable((here, ".gridmill-probe"), (self.state, "probe"))

    def prepare(self, folder: Path) -> None:
        """Make the repository and what uploads begin from; see `Publication.prepare`."""
        self.publication.prepare(folder)

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
        """Commit what readers are to see; see `Publication.publish`.

        Raises
        ------
        PublishConflict
            Another committer changed the same; nothing of theirs is lost.
        """
        return self.publication.publish(folder, staged, message, check, values, together=together)

    def truncate(self, folder: Path, append_dim: str, message: str = "") -> int:
        """Shorten what readers see, in one commit; see `Publication.truncate`."""
        return self.publication.truncate(folder, append_dim, message)

    def rearrange(
        self,
        folder: Path,
        moves: Moves,
        message: str,
        prepared: Callable[[Mapping[str, tuple[ObjectReceipt, ...]]], None],
    ) -> None:
        """Let values move along the append dim, in one commit; see `rearranging.rearrange`."""
        rearrange(self.repository, folder, moves, message, prepared)

    def remove_arrays(
        self,
        folder: Path,
        names: Collection[str],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues] = (),
    ) -> bool:
        """Commit the archive without some arrays; see `Publication.remove_arrays`."""
        own = (folder, names, message, check, values)
        return patiently(lambda: self.publication.remove_arrays(*own))

    def delete_removed(self, names: Collection[str], check: Callable[[], None]) -> int:
        """Delete nothing: earlier versions hold it until they are forgotten."""
        drop_leftover(self.repository)
        return 0

    def copy_array(
        self, name: str, receipts: Sequence[ObjectReceipt], check: Callable[[], None]
    ) -> tuple[ObjectReceipt, ...] | None:
        """Copy nothing: what is put into an array is an upload."""
        return None

    def renaming(self, names: Collection[str], append_dim: str) -> Rename | None:
        """Return what gives arrays other names, if it can; see `maintenance.renaming`."""
        return renaming(self.uploads, names, append_dim)

    def missing(self, receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        """Return the keys whose object is gone or has fewer bytes; see `Uploads.missing`."""
        return self.uploads.missing(receipts, token)

    def lost(self, region: StagedRegion) -> frozenset[str]:
        """Name the variables whose uploads this Icechunk does not read, and that it must merge."""
        return self.uploads.lost(region)

    # -- what it warns of, and its upkeep -------------------------------------------------------

    def warn_of(self, work: IntendedWork) -> list[str]:
        """Say what a commit a region means for this work; see `upkeep.warn_of`."""
        return upkeep.warn_of(work)

    def relabel(
        self,
        coordinates: Collection[str],
        check: Callable[[], None] = lambda: None,
        *,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Raise ValueError: Icechunk writes its objects itself."""
        raise ValueError(
            f"{self.url} is in format {self.format}, whose objects have the headers that Icechunk "
            "gives them: only those of plain Zarr can be set"
        )

    def forget_versions(self, older_than: datetime, *, dry_run: bool = False) -> dict[str, int]:
        """Forget snapshots from before a time, and delete what no snapshot holds then.

        Raises
        ------
        ValueError
            There is no archive.
        """
        self._require_archive()
        others = upkeep.others_of(self.uploads)
        expired = upkeep.expire(self.repository, older_than, beside=others, dry_run=dry_run)
        deleted = upkeep.collect_garbage(self.uploads, older_than, beside=others, dry_run=dry_run)
        return {"snapshots_expired": expired, **deleted}

    def split_manifests(self, append_dim: str, message: str, check: Callable[[], None]) -> None:
        """Split what lists the archive's objects along the append dim, in one commit.

        Raises
        ------
        ValueError
            There is no archive.
        """
        self._require_archive()
        upkeep.split_manifests(self.repository, append_dim, message, check)

    def _require_archive(self) -> None:
        if self.metadata() is None:
            raise ValueError(f"there is no archive at {self.url}: gridmill backfill makes one")
