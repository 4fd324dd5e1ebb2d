"""What readers of one store see, and the one way in which that changes.

Every change takes the same steps: hold the right to publish, see how far readers see now, write
metadata and coordinates to a local folder, and give the store this folder with what goes with it:
uploads, and values of the coordinate that speaks of data. The store puts them in the order that its
format needs, and checks the right before each step. At last the coordinate's notices of what
readers see now are no longer needed.

See Also
--------
gridmill.publishing.publisher : decides what is published when; replicas come first.
gridmill.stores.final_store.FinalStore.publish : the order within one store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.axis.labels import refuse_other_labels
from gridmill.model.records import ProgressRecord
from gridmill.publishing.completeness import CompletenessUpkeep
from gridmill.publishing.extent import Extent
from gridmill.stores.final_store import CoordinateValues, FinalStore, StagedRegion, readable_length
from gridmill.stores.metadata import ROOT, array_metadata
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.structure import STATISTICS

__all__ = ["Check", "ReaderView", "view_of"]

# Raises where the right to publish is lost, see `Lease.publishing`.
Check = Callable[[], None]


class ReaderView:
    """What readers of one store see: of the primary, a replica, or a store made otherwise.

    Parameters
    ----------
    archive
        What the store holds, or that of which it is a replica.
    extent
        Judges which regions are whole.
    store
        The store.
    remember
        See `CompletenessUpkeep`.

    Attributes
    ----------
    completeness
        Keeps the store's completeness coordinate at what its records say.

    Notes
    -----
    Every method that takes a `check` is to be called within `Lease.publishing`.
    """

    def __init__(
        self,
        archive: Archive,
        extent: Extent,
        store: FinalStore,
        remember: Callable[[ProgressRecord], None] = lambda record: None,
    ) -> None:
        self.archive = archive
        self.store = store
        self.completeness = CompletenessUpkeep(archive, extent, store, remember)

    def declared_as(self, archive: Archive) -> ReaderView:
        """Return what the same readers see, for an archive that is declared otherwise."""
        return ReaderView(archive, Extent(archive), self.store)

    def prepare(self) -> None:
        """Make what uploads need, of which readers see nothing."""
        with self.archive.written(self.archive.up_to(0)) as folder:
            self.store.prepare(folder)

    def show(
        self,
        ds: xr.Dataset,
        check: Check,
        *,
        seen: int,
        staged: Sequence[StagedRegion] = (),
        values: Sequence[CoordinateValues] = (),
        message: str = "",
        together: Collection[str] = (),
    ) -> bool:
        """Make uploads visible, with metadata and coordinates; whether readers see anything new.

        Parameters
        ----------
        ds
            The template as readers are to see it.
        check
            Called before every step.
        seen
            How many positions readers see now.
        staged, values, message, together
            See `FinalStore.publish`.

        Raises
        ------
        ValueError
            Readers would see fewer positions than now; nothing was written.
        LeaseLost
            Nothing may be written any more.
        """
        self._refuse_fewer(ds.sizes.get(self.archive.append_dim, seen), seen)
        with self.archive.written(ds, seen) as folder:
            return self._publish(folder, check, staged, values, message, together)

    def restore(self, length: int, message: str, check: Check) -> bool:
        """Write metadata and coordinates again, as the template has them; data stay.

        Parameters
        ----------
        length
            How many positions readers are to see.
        message
            Says what this is for.
        check
            Called before every step.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        ValueError
            Readers see more positions by now; nothing was written.
        LabelsWouldChange
            Values would get other labels; nothing was written.
        LeaseLost
            Nothing may be written any more.
        """
        self._refuse_fewer(length, readable_length(self.store, self.archive.append_dim) or 0)
        refuse_other_labels(self.archive, self.store, length)
        with self.archive.written(self.archive.up_to(length)) as folder:
            self.completeness.write_recorded(folder, length)
            return self._publish(folder, check, message=message)

    def widen(self, length: int, message: str, check: Check) -> bool:
        """Show dims that have more labels than before; whether readers see anything new.

        To be called with records that fit them. What readers saw stays where it is: further labels
        lie behind it, in objects of their own.

        Parameters
        ----------
        length
            How many positions along the append dim readers see.
        message
            Says what this is for.
        check
            Called before every step.
        """
        with self.archive.written(self.archive.up_to(length)) as folder:
            self.completeness.write_recorded(folder, length)
            return self._publish(folder, check, message=message)

    def describe(self, root: Mapping[str, Any], message: str, check: Check) -> bool:
        """Show changed metadata with the coordinates and data as they are; whether it changed.

        Parameters
        ----------
        root
            The store's root metadata, everything consolidated, with what it is to say.
        message
            Says what this is for.
        check
            Called before every step.

        Raises
        ------
        LabelsWouldChange
            They say how far readers see by labels that the store does not have.
        LeaseLost
            Nothing may be written any more.
        """
        if self.archive.config.append_dim_frequency is None:
            dim = self.archive.append_dim
            length = readable_length(self.store, dim) or 0
            refuse_other_labels(self.archive, self.store, length, {dim})
        with temporary_folder() as folder:
            _write_metadata(root, folder)
            return self._publish(folder, check, message=message)

    def shorten(self, length: int, message: str, check: Check) -> int:
        """Let readers see only the first positions; the number of objects that were deleted.

        The one exception to what is published staying published, see `FinalStore.truncate`.

        Raises
        ------
        LabelsWouldChange
            What is left would get other labels; nothing was written.
        """
        refuse_other_labels(self.archive, self.store, length)
        with self.archive.written(self.archive.up_to(length)) as folder:
            self.completeness.write_published(folder, length)
            _leave_out_statistics(folder)
            check()
            return self.store.truncate(folder, self.archive.append_dim, message)

    def _publish(
        self,
        folder: Path,
        check: Check,
        staged: Sequence[StagedRegion] = (),
        values: Sequence[CoordinateValues] = (),
        message: str = "",
        together: Collection[str] = (),
    ) -> bool:
        changed = self.store.publish(folder, staged, message, check, values, together=together)
        self.completeness.remember_shown()
        return changed

    def _refuse_fewer(self, length: int, seen: int) -> None:
        if length < seen:
            raise ValueError(
                f"readers of {self.store.url} see {seen} positions by now, and would see only "
                f"{length}: nothing was written; run this again"
            )


def _leave_out_statistics(folder: Path) -> None:
    """Let variables say nothing of values that readers no longer see."""
    root = json.loads((folder / ROOT).read_bytes())
    attributes = [array.get("attributes", {}) for array in array_metadata(root).values()]
    told = [of for of in attributes if not of.keys().isdisjoint(STATISTICS)]
    if not told:
        return
    for of in told:
        for key in STATISTICS:
            of.pop(key, None)
    _write_metadata(root, folder)


def _write_metadata(root: Mapping[str, Any], folder: Path) -> None:
    """Write metadata into a local store; coordinates are none of them."""
    (folder / ROOT).write_text(json.dumps(root, indent=2))
    for name, array in root["consolidated_metadata"]["metadata"].items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / ROOT).write_text(json.dumps(array, indent=2))


def view_of(archive: Archive, store: FinalStore) -> ReaderView:
    """Return what readers of a store see of an archive, for work on it alone."""
    return ReaderView(archive, Extent(archive), store)
