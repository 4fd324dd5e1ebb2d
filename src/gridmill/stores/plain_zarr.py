"""A final store that is a plain Zarr v3 hierarchy of whole objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import zarr

from gridmill.progress import ObjectReceipt, ProgressRecord
from gridmill.stores.lease import LeaseProof
from gridmill.stores.objects import local_path, open_objects
from gridmill.stores.tracker import UpdateProgressTracker

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ZarrStore"]

ROOT = "zarr.json"


class ZarrStore:
    """A Zarr v3 store in a local folder, and the records beside it.

    Instances are small and pickle: workers get one each.

    Parameters
    ----------
    url
        Where readers read.
    dataset_id
        The dataset in it.
    state
        Where the records are kept; None means ``<url>.gridmill``.
    fsync
        Whether what is written also survives a power loss.

    Notes
    -----
    `upload` and `publish` are idempotent, and each object they write is whole or not there.
    """

    def __init__(
        self, url: str, dataset_id: str, *, state: str | None = None, fsync: bool = False
    ) -> None:
        self.url = str(url)
        self.root = local_path(self.url)
        beside = self.root.with_name(self.root.name + ".gridmill")
        self.objects = open_objects(self.url, beside / "staging", fsync=fsync)
        self.state = open_objects(state or str(beside), fsync=fsync)
        self.tracker = UpdateProgressTracker(self.state, dataset_id)

    # -- what readers see ---------------------------------------------------------------------

    def metadata(self) -> dict[str, Any] | None:
        """Read the published root metadata, everything consolidated; None if there is none."""
        content = self.objects.get(ROOT)
        return None if content is None else dict(json.loads(content))

    def published_length(self, append_dim: str) -> int | None:
        """How many positions of the append dim readers see; None if there is no store yet."""
        metadata = self.metadata()
        if metadata is None:
            return None
        return int(array_metadata(metadata)[append_dim]["shape"][0])

    def open_dataset(self) -> xr.Dataset:
        """Open what readers see."""
        import xarray as xr

        ds: xr.Dataset = xr.open_zarr(self._zarr(), zarr_format=3, consolidated=True)
        return ds

    def progress(self) -> list[ProgressRecord]:
        """Read the records of all regions, in order."""
        return list(self.tracker.records())

    # -- what a worker does -------------------------------------------------------------------

    def read(self, variable: str, selection: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Read stored values of a variable, in the stored dtype."""
        array = zarr.open_array(self._zarr(), path=variable, mode="r", zarr_format=3)
        return np.asarray(array[selection])

    def upload(
        self, folder: Path, keys: Iterable[str], proof: LeaseProof
    ) -> tuple[ObjectReceipt, ...]:
        """Put the objects of these keys from a local store, one after another.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        receipts = []
        for key in keys:
            content = (folder / key).read_bytes()
            proof.check()
            receipts.append(self._put(key, content))
        return tuple(receipts)

    # -- what the driver does -----------------------------------------------------------------

    def publish(self, folder: Path) -> bool:
        """Make a local store's metadata and coordinates what readers see.

        Parameters
        ----------
        folder
            A local Zarr store with its metadata consolidated; its chunk objects are those of
            coordinates.

        Returns
        -------
        bool
            Whether anything changed.

        Notes
        -----
        Coordinates first, then every array's metadata, last the root: putting that one object
        is the moment of publication. Only objects that differ are written.
        """
        changed = [self._put_if_changed(key, folder) for key in publication_order(folder)]
        return any(changed)

    def missing(self, receipts: Sequence[ObjectReceipt]) -> list[str]:
        """Give the keys whose object is gone or has another size."""
        return [r.key for r in receipts if self.objects.nbytes(r.key) != r.nbytes]

    def check_writable(self) -> None:
        """Raise OSError unless objects can be put into the store and beside it."""
        for objects, key in ((self.objects, ".gridmill-probe"), (self.state, "probe")):
            objects.put(key, b"probe")
            objects.delete(key)

    def _put(self, key: str, content: bytes) -> ObjectReceipt:
        self.objects.put(key, content)
        return ObjectReceipt(key, len(content), google_crc32c.value(content))

    def _put_if_changed(self, key: str, folder: Path) -> bool:
        content = (folder / key).read_bytes()
        if self.objects.get(key) == content:
            return False
        self.objects.put(key, content)
        return True

    def _zarr(self) -> zarr.storage.LocalStore:
        return zarr.storage.LocalStore(self.root, read_only=True)


def publication_order(folder: Path) -> list[str]:
    """Give the keys of a local store in the order in which readers may see them change."""
    keys = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    return sorted(keys, key=lambda key: (key == ROOT, key.endswith(ROOT), key))


def array_metadata(root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the metadata of every array from a consolidated root."""
    return dict(root["consolidated_metadata"]["metadata"])
