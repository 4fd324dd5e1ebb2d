"""A final store that is a plain Zarr v3 hierarchy of whole objects."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import zarr
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import StorePath

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.urls import is_local
from gridmill.stores.copied import ObjectReplaced, fetch_object, keep_object, put_changed, renamed
from gridmill.stores.final_store import CoordinateValues, IntendedWork, StagedRegion, Uploaded
from gridmill.stores.headers import cache_policy
from gridmill.stores.lookahead import each
from gridmill.stores.metadata import (
    ROOT,
    Seen,
    array_metadata,
    first_object_beyond,
    joined,
    keys_of,
    open_published,
    publication_order,
    set_values,
)
from gridmill.stores.objects.opening import open_objects, open_state, state_url
from gridmill.stores.objects.writable import check_writable
from gridmill.stores.state.leases import LeaseProof
from gridmill.stores.state.records import UpdateProgressTracker
from gridmill.stores.versions import PRESENT, Branches, Versions, no_branches, no_versions

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.stores.contents.axis import Moves

__all__ = ["ZarrStore"]

# A page of a listing.
KEYS_AT_ONCE = 1000


class ZarrStore:
    """A Zarr v3 store in a folder or a bucket, and the records beside it.

    Instances are small and pickle: workers get one each.

    Parameters
    ----------
    url
        Where readers read: a local path, ``s3://bucket/prefix``, or what else fsspec knows.
    dataset_id
        The dataset in it.
    state
        Where the records are kept; None means ``<url>.gridmill``.
    fsync
        Whether what is written to a local store also survives a power loss.
    storage_options
        For a remote store, see `open_objects`. They also hold for records on the same kind of
        store.
    cache_control
        What caches may do with new objects of a remote store, by kind: see `CachePolicy`.

    Notes
    -----
    `upload` and `publish` are idempotent, and each object they write is whole or not there.
    """

    format: ClassVar[str] = "zarr"
    shows_uploads: ClassVar[bool] = True
    branch = PRESENT  # a next version is an archive of its own, elsewhere

    def __init__(
        self,
        url: str,
        dataset_id: str,
        *,
        state: str | None = None,
        fsync: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        cache_control: Mapping[str, str] | None = None,
    ) -> None:
        self.url = str(url)
        policy = cache_policy(cache_control)
        beside = state_url(self.url)
        staging = Path(beside) / "staging" if is_local(self.url) else None
        self.objects, self._data = (
            open_objects(
                self.url, staging, fsync=fsync, storage_options=storage_options, headers=headers
            )
            for headers in (policy.of_structure, policy.of_data)
        )
        self.seen = Seen(self.objects)
        self.state = open_state(self.url, state, fsync=fsync, storage_options=storage_options)
        self.tracker = UpdateProgressTracker(self.state, dataset_id)

    def __repr__(self) -> str:
        return f"ZarrStore({self.url!r})"

    def adding(self) -> ZarrStore:
        """Return the same store with other records; see `FinalStore.adding`."""
        twin = copy.copy(self)
        twin.tracker = self.tracker.adding
        return twin

    def declared_format(self) -> dict[str, Any]:
        """Return what a declaration says of the format; see `FinalStore.declared_format`."""
        return {"format": self.format}

    # -- what readers see ---------------------------------------------------------------------

    def metadata(self) -> dict[str, Any] | None:
        """Read the published root metadata, everything consolidated; None if there is none."""
        return self.seen.metadata()

    def published_length(self, append_dim: str) -> int | None:
        """How many positions of the append dim readers see; None if there is no store yet."""
        metadata = self.metadata()
        if metadata is None:
            return None
        index = array_metadata(metadata).get(append_dim)
        # Another program's store; the comparison of structures refuses it.
        return 0 if index is None else int(index["shape"][0])

    def published_nbytes(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sizes of those objects that are there, by key."""
        sizes = zip(keys, each(self.objects.nbytes, keys, self.objects.at_once), strict=True)
        return {key: size for key, size in sizes if size is not None}

    def open_dataset(self, chunks: Any = "auto") -> xr.Dataset:
        """Open what readers see."""
        return open_published(self.seen.reader(), chunks)

    def progress(self) -> list[ProgressRecord]:
        """Read the records of all regions, in order."""
        return list(self.tracker.records())

    def read_object(self, key: str) -> bytes | None:
        """Read an object whole, as it is stored; None if there is none."""
        return self.objects.get(key)

    # -- what a worker does -------------------------------------------------------------------

    def read(self, variable: str, selection: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Read stored values of a variable, in the stored dtype."""
        array = zarr.open_array(self.objects.as_zarr(), path=variable, mode="r", zarr_format=3)
        return np.asarray(array[selection])

    def withdrawals(self) -> list[str]:
        """Return nothing: no object says it."""
        return []

    @property
    def versions(self) -> Versions:
        """Refuse: nothing of what objects held before is kept."""
        raise no_versions(self.url)

    @property
    def branches(self) -> Branches:
        """Refuse: objects cannot be exchanged in one step."""
        raise no_branches(self.url)

    def read_as_of(
        self, variable: str, selection: tuple[slice, ...], moment: datetime
    ) -> np.ndarray[Any, Any]:
        """Refuse: nothing of what objects held before is kept."""
        raise ValueError(
            f"{self.url} is plain Zarr, which keeps nothing of what readers saw before: Icechunk "
            "does; take the values from readers, and fill them from other source files"
        )

    def read_uploaded(
        self,
        variable: str,
        selection: tuple[slice, ...],
        metadata: Mapping[str, Any],
        token: str | None = None,
    ) -> np.ndarray[Any, Any]:
        """Read values that an upload made durable, whether readers see them or not."""
        parsed = ArrayV3Metadata.from_dict(copy.deepcopy(dict(metadata)))
        array = zarr.Array(zarr.AsyncArray(parsed, StorePath(self.objects.as_zarr(), variable)))
        return np.asarray(array[selection])

    def nbytes_in_use(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sizes of the objects that are there, by key."""
        return self.published_nbytes(keys)

    def upload(
        self, folder: Path, keys: Iterable[str], proof: LeaseProof, *, replaces: bool = False
    ) -> Uploaded:
        """Put the objects of these keys from a local store, several at once.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """

        def put(key: str) -> ObjectReceipt:
            content = (folder / key).read_bytes()
            self._data.overwrite(key, content, proof.check, is_new=not replaces)
            return ObjectReceipt.of(key, content)

        keys = list(keys)
        largest = max([1, *((folder / key).stat().st_size for key in keys)])
        return Uploaded(tuple(each(put, keys, self.objects.at_once, largest)))

    def download(
        self, folder: Path, receipts: Sequence[ObjectReceipt], token: str | None = None
    ) -> None:
        """Write objects into a local folder; see `FinalStore.download`."""
        by_key = {receipt.key: receipt for receipt in receipts}

        def keep(key: str) -> None:
            keep_object(folder, by_key[key], self.objects.get(key))

        largest = max([1, *(receipt.nbytes for receipt in receipts)])
        each(keep, list(by_key), self.objects.at_once, largest)

    # -- what the driver does -----------------------------------------------------------------

    def check_writable(self) -> None:
        """Raise OSError unless objects can be put into the store and beside it.

        Also deletes what uploads of killed processes left, which nobody sees and somebody pays.
        """
        check_writable((self.objects, ".gridmill-probe"), (self.state, "probe"))
        # It needs permissions of its own.
        with suppress(OSError):
            self.objects.abort_abandoned_uploads()

    def prepare(self, folder: Path) -> None:
        """Do nothing: objects need no array to be put into."""

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
        """Make a local store's metadata and coordinates what readers see; uploads are in place.

        See `FinalStore.publish`; `check` is called before every object that is put.

        Notes
        -----
        Coordinates first, then every array's metadata, last the root: putting that one object
        is the moment of publication. What `values` raises comes after it, what they lower with
        the coordinates. Only objects that differ are written.
        """
        values = joined(values)
        arrays = array_metadata(json.loads((folder / ROOT).read_bytes())) if values else {}
        speaking = [key for part in values for key in keys_of(part, arrays[part.name])]
        for key in speaking:
            fetch_object(self.objects, key, folder)
        for part in values:
            set_values(folder, part, only_lower=True)
        changed = put_changed(self.objects, publication_order(folder), folder, check)
        for part in values:
            set_values(folder, part)
        # One that is nowhere holds nothing but the fill value.
        there = [key for key in speaking if (folder / key).is_file()]
        return put_changed(self.objects, there, folder, check) or changed

    def truncate(self, folder: Path, append_dim: str, message: str = "") -> int:
        """Shorten what readers see, and delete the objects beyond; see `FinalStore.truncate`.

        Notes
        -----
        The root first, which is the moment from which readers see less; then the other metadata
        and the coordinates; then objects are deleted. Readers that opened it before meet
        missing values where they were.
        """
        put_changed(self.objects, publication_order(folder)[::-1], folder)
        arrays = array_metadata(json.loads((folder / ROOT).read_bytes()))
        beyond = [
            key
            for name, array in arrays.items()
            if (first := first_object_beyond(array, append_dim)) is not None
            for key in self.objects.keys(f"{name}/c")
            if int(key.split("/")[2 + first[0]]) >= first[1]
        ]
        each(self.objects.delete, beyond, self.objects.at_once)
        return len(beyond)

    def rearrange(
        self,
        folder: Path,
        moves: Moves,
        message: str,
        prepared: Callable[[Mapping[str, tuple[ObjectReceipt, ...]]], None],
    ) -> None:
        """Refuse: labels and values are objects of their own, which readers get one by one."""
        if moves.dropped:
            raise ValueError(
                f"{self.url} is plain Zarr, whose objects are named by their positions: where the "
                "first positions go, every object gets another name, and who opened it before "
                "would read other values under the labels from before. Icechunk 2 shifts arrays "
                "in one commit: gridmill copy this archive to a store of --format icechunk, and "
                "retain that one"
            )
        raise ValueError(
            f"{self.url} is plain Zarr, where no position can be taken in between two others: who "
            "opened it before would read moved values under the labels from before. Icechunk "
            "shows both in one commit. Or let readers know, gridmill truncate the archive to "
            "before the first late label, and gridmill update: it takes all labels in"
        )

    def remove_arrays(
        self,
        folder: Path,
        names: Collection[str],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues] = (),
    ) -> bool:
        """Publish metadata without some arrays: the root is what readers see."""
        return self.publish(folder, (), message, check, values)

    def delete_removed(self, names: Collection[str], check: Callable[[], None]) -> int:
        """Delete the objects of arrays that readers no longer see, their metadata last."""
        gone = 0
        for name in names:
            keys = sorted(self.objects.keys(name), key=lambda key: key.endswith(ROOT))
            for some in (keys[at : at + KEYS_AT_ONCE] for at in range(0, len(keys), KEYS_AT_ONCE)):
                check()
                each(self.objects.delete, some, self.objects.at_once)
            gone += len(keys)
        return gone

    def copy_array(
        self, name: str, receipts: Sequence[ObjectReceipt], check: Callable[[], None]
    ) -> tuple[ObjectReceipt, ...] | None:
        """Copy objects of one array to another, by the store itself where it can."""

        def copied(receipt: ObjectReceipt) -> ObjectReceipt:
            key = renamed(receipt.key, name)
            check()
            if not self._data.copy(receipt.key, key) or self._data.nbytes(key) != receipt.nbytes:
                raise ObjectReplaced(f"{receipt.key} is gone, or was replaced since")
            return replace(receipt, key=key)

        return tuple(each(copied, receipts, self.objects.at_once))

    def renaming(self, names: Collection[str], append_dim: str) -> None:
        """Return nothing: readers would see some objects by one name, and some by the other."""

    def missing(self, receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        """Return the keys whose object is gone or has another size."""
        sizes = each(
            self.objects.nbytes, [receipt.key for receipt in receipts], self.objects.at_once
        )
        return [r.key for r, size in zip(receipts, sizes, strict=True) if size != r.nbytes]

    def lost(self, region: StagedRegion) -> frozenset[str]:
        """Name nothing: what is uploaded is where readers read."""
        return frozenset()

    def relabel(
        self,
        coordinates: Collection[str],
        check: Callable[[], None] = lambda: None,
        *,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Set on objects the headers that new ones get; how many needed it, by kind.

        See `FinalStore.relabel`. What needs nothing costs one request.
        """
        counts = dict.fromkeys(("metadata", "coordinates", "data", "right"), 0)

        def look(key: str) -> str:
            kind = _kind(key, coordinates)
            change = (self._data if kind == "data" else self.objects).relabel(key)
            if change is not None and not dry_run:
                change(check)
            return "right" if change is None else kind

        keys = self.objects.keys()
        while some := list(islice(keys, KEYS_AT_ONCE)):
            for kind in each(look, some, self.objects.at_once):
                counts[kind] += 1
        return counts

    # -- what it warns of, and its upkeep -------------------------------------------------------

    def warn_of(self, work: IntendedWork) -> list[str]:
        """Say that readers may meet an error where an object is replaced, or that all will go."""
        warnings = []
        if self.url.startswith("memory://"):
            warnings.append(
                f"{self.url} is in the memory of this process: it ends with it, and workers in "
                "other processes have another one; give a path or a bucket to keep the archive"
            )
        if not work.replaced:
            return warnings
        return [
            *warnings,
            f"shards of {work.replaced:,} published region{'s' * (work.replaced > 1)} are "
            "replaced: a reader in the very moment gets an error and reads again. Shards that an "
            "update fills, or Icechunk, avoid that",
        ]

    def forget_versions(self, older_than: datetime, *, dry_run: bool = False) -> dict[str, int]:
        """Raise: an object that is replaced is gone.

        Raises
        ------
        ValueError
            Always.
        """
        raise self._needs_no_upkeep()

    def split_manifests(self, append_dim: str, message: str, check: Callable[[], None]) -> None:
        """Raise: there are no manifests.

        Raises
        ------
        ValueError
            Always.
        """
        raise self._needs_no_upkeep()

    def _needs_no_upkeep(self) -> ValueError:
        return ValueError(
            f"{self.url} is in format {self.format}, which keeps no snapshots: only Icechunk "
            "archives need upkeep"
        )


def _kind(key: str, coordinates: Collection[str]) -> str:
    """Name an object's kind, as in `CachePolicy`."""
    if key.endswith(ROOT):
        return "metadata"
    return "coordinates" if key.partition("/")[0] in coordinates else "data"
