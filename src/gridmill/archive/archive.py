"""An archive as it was declared: its store, its template, its records, and its jobs by region.

It says what is, and changes nothing that readers see: see `gridmill.publishing.publisher`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from gridmill.archive.metadata import (
    is_as_declared,
    leave_out_seen,
    objects_of,
    write_by_xarray,
    write_current,
    write_growing,
)
from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.encoding.survival import check_new
from gridmill.authoring.labels import just_after
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.template import TemplateConfig
from gridmill.model.region import Region
from gridmill.model.variables import DataVar
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import ROOT, array_metadata
from gridmill.stores.objects.leftovers import naming, temporary_folder
from gridmill.stores.structure import StructureMismatch, structure_differences

__all__ = [
    "Archive",
    "ArchiveChanged",
    "ReindexUnfinished",
    "RetentionUnfinished",
    "apart_of",
    "check_again",
    "lacking_in",
]


class ArchiveChanged(StructureMismatch):
    """An archive was made another one between a run's first look at it and its lease."""

    def __str__(self) -> str:
        listed = "; ".join(self.differences)
        return f"{self.url} was changed by another process just now: {listed}; run this again"


class ReindexUnfinished(ValueError):  # noqa: N818
    """A reindex was interrupted: until it is completed, nothing else may act on the records."""


class RetentionUnfinished(ValueError):  # noqa: N818
    """Readers see what is retained, and the records do not say so: nothing may act on them."""


MakeJob = Callable[[Region], RegionJob[Any, Any]]


class Archive:
    """An archive as it was declared, with its template up to a moment.

    Parameters
    ----------
    store
        The final store, with its records.
    config, template_ds
        The template, narrowed to what was declared, and its dataset up to the moment.
    make_job
        Gives the region job of a region with every declared variable along the append dim.
    unseen
        Variables that are to be added to what readers see.
    tmp_store
        Makes an empty local folder for a temporary store; None means among the system's temporary
        files.

    Attributes
    ----------
    index
        The append dim's labels.
    published : int
        How many positions readers saw when somebody last looked.
    scratch : Path or None
        A run's folder, in which metadata is prepared; None outside of runs.

    Notes
    -----
    It owns the template: jobs that it makes, and what is compared with them, hold the same object.
    """

    def __init__(
        self,
        store: FinalStore,
        config: TemplateConfig,
        template_ds: xr.Dataset,
        make_job: MakeJob,
        unseen: Sequence[str] = (),
        tmp_store: Callable[[], Path] | None = None,
    ) -> None:
        self.store = store
        self.config = config
        self.template_ds = template_ds
        self.index = template_ds.get_index(config.append_dim)
        self.published = 0
        self.unseen: tuple[str, ...] = tuple(unseen)
        self._make_job = make_job
        self.tmp_store = tmp_store
        self.scratch: Path | None = None
        self._stored_arrays: dict[str, dict[str, Any]] | None = None
        # What the store published when it was found to be as the template.
        self._checked: Mapping[str, Any] | None = None

    @property
    def append_dim(self) -> str:
        """Name of the append dim."""
        return self.config.append_dim

    @property
    def last_label(self) -> str | None:
        """The last label that readers see."""
        return str(self.index[self.published - 1]) if self.published else None

    # -- metadata -----------------------------------------------------------------------------

    @cached_property
    def metadata(self) -> bytes:
        """The whole template's consolidated root metadata, as an object of a Zarr store."""
        return self._objects[ROOT]

    @cached_property
    def _objects(self) -> Mapping[str, bytes]:
        """The whole template's metadata and coordinates, as objects of a Zarr store."""
        with temporary_folder(self.scratch, make=self.tmp_store) as folder, naming(folder):
            write_by_xarray(self.template_ds, folder, _speaking_of_data(self.config))
            return objects_of(folder)

    @cached_property
    def arrays(self) -> dict[str, dict[str, Any]]:
        """The whole template's array metadata, by name."""
        return array_metadata(json.loads(self.metadata))

    def stored_arrays(self) -> dict[str, dict[str, Any]]:
        """Return the archive's own array metadata, by name; empty if nothing is published."""
        if self._stored_arrays is None:
            self._stored_arrays = array_metadata(self.store.metadata() or {})
        return self._stored_arrays

    def speaks_of_data(self, name: object) -> bool:
        """Whether a coordinate's values come from the records, and not from the template."""
        return name in _speaking_of_data(self.config)

    def up_to(self, length: int) -> xr.Dataset:
        """Return the template's first positions."""
        return self.template_ds.isel({self.append_dim: slice(0, length)})

    @contextmanager
    def written(self, ds: xr.Dataset, seen: int = 0) -> Iterator[Path]:
        """Write metadata and coordinates to a tmp store, which ends with the context.

        They say how far readers see who see all of it. Of the template's own coordinates, objects
        of nothing but positions that readers have `seen` are left out: they stay as they are, and a
        look at each is a request.
        """
        with temporary_folder(self.scratch, make=self.tmp_store) as folder:
            with naming(folder):  # and no error of what is done with it
                of_data = _speaking_of_data(self.config)
                if is_as_declared(ds, self.template_ds):
                    own = (ds, self.template_ds, self.append_dim)
                    write_growing(*own, self._objects, folder, of_data)
                    leave_out_seen(*own, seen, folder, of_data)
                else:  # an author's hook changed more
                    write_by_xarray(ds, folder, of_data)
                write_current(ds, self.append_dim, self.config.dataset_attributes, folder)
            yield folder

    # -- what the store holds -----------------------------------------------------------------

    def check_structure(self, *, reload: bool = False) -> bool:
        """Compare the store with the template, and remember how far it is published.

        Returns whether there is an archive. With `reload` coordinates are read again, also where
        its metadata are those of the last time.

        Raises
        ------
        StructureMismatch
            They differ; every difference is named.
        ReindexUnfinished, RetentionUnfinished
            Records do not say what readers see.
        """
        stored = self.store.metadata()
        if stored is None:
            check_new(self.config)
            return False
        if self.config.settling_window is not None and self.store.tracker.reindexing.read():
            raise ReindexUnfinished(
                f"a reindex of {self.store.url} was interrupted, and its records do not say what "
                "readers see: gridmill reindex completes it"
            )
        if stored == self._checked and not reload:
            return True
        template = json.loads(self.metadata)
        for name in lacking_in(self, stored):
            template["consolidated_metadata"]["metadata"].pop(name)
        differences = structure_differences(template, stored, self.append_dim)
        if not differences:
            self.reach(int(array_metadata(stored)[self.append_dim]["shape"][0]))
            differences = _reaching_further(self) or self.coordinate_differences(
                self.store.open_dataset(chunks=None), self.published
            )
        if differences:
            if self.store.tracker.retaining.read():
                raise RetentionUnfinished(
                    f"gridmill retain of {self.store.url} was interrupted, and its records do not "
                    "say what readers see: gridmill retain completes it"
                )
            raise StructureMismatch(self.store.url, differences)
        self._checked = stored
        return True

    def look(self) -> int | None:
        """Ask the store how far it is published, and remember it; None if nothing is."""
        visible = self.store.published_length(self.append_dim)
        self.reach(visible or 0)
        return visible

    def reach(self, published: int, *, reload: bool = False) -> None:
        """Remember how far the archive is published; the template reaches as far.

        With `reload` it is rebuilt, since readers see other labels.
        """
        self.published = published
        if published > len(self.index) or (reload and published):
            last = self.store.open_dataset(chunks=None).get_index(self.append_dim)[-1]
            self.template_ds = self.config.structure(just_after(last))
            self.index = self.template_ds.get_index(self.append_dim)
            for made_of_it in ("metadata", "_objects", "arrays"):
                self.__dict__.pop(made_of_it, None)

    def coordinate_differences(self, stored: xr.Dataset, length: int) -> list[str]:
        """Name the coordinates of which a dataset has other values in its first positions."""
        visible = {self.append_dim: slice(0, length)}
        # Another run may have published more since.
        stored, ours = stored.isel(visible), self.template_ds.isel(visible)
        # Both as readers decode them: what is stored may be rounded, by its dtype or units.
        with (
            self.written(ours) as folder,
            xr.open_zarr(folder, chunks=None, consolidated=True) as written,
        ):
            return [
                f"values of coordinate {name} differ{_advice(self.config, name)}"
                for name in ours.coords
                if not self.speaks_of_data(name)
                if not written[name].variable.equals(stored[name].variable)
            ]

    # -- regions ------------------------------------------------------------------------------

    @property
    def job_class(self) -> type[RegionJob[Any, Any]]:
        """The class of the region jobs."""
        return type(self._make_job(Region.STATIC))

    def job(self, region: Region) -> RegionJob[Any, Any]:
        """Return the job of a region with every declared variable that it fills."""
        job = replace(self._make_job(region), template_ds=self.template_ds)
        return replace(job, data_vars=self.static) if job.is_static else job

    @property
    def static(self) -> list[DataVar]:
        """The variables without the append dim."""
        return [var for var in self.config.data_vars if self.append_dim not in var.dims]

    def region_at(self, position: int) -> Region:
        """Return the region that holds a position of the template."""
        start = self.region_start(position)
        return Region(start, min(start + self.config.region_length, len(self.index)))

    def region_start(self, position: int) -> int:
        """Return where the region begins that holds a position, also beyond the template's end."""
        length = self.config.region_length
        return position // length * length

    def visible_regions(self, length: int | None = None) -> Iterator[Region]:
        """Yield the regions that readers see, the last of them perhaps in part.

        With `length`, those of so many positions.
        """
        position, end = 0, self.published if length is None else length
        while position < end:
            region = self.region_at(position)
            yield region
            position = region.stop


def _reaching_further(archive: Archive) -> list[str]:
    if archive.published <= len(archive.index):
        return []
    end = archive.index[-1] if len(archive.index) else "nothing"
    return [f"the store has {archive.published} positions, the template ends at {end}"]


def _speaking_of_data(config: TemplateConfig) -> frozenset[str]:
    """Name the coordinates whose values come from the records."""
    return frozenset(share.name for share in shares_of(config.coords))


def _advice(config: TemplateConfig, name: object) -> str:
    """Say what lets an irregular axis continue though late labels came."""
    is_regular = config.append_dim_frequency is not None
    if name != config.append_dim or is_regular or config.settling_window is not None:
        return ""
    return (
        f" (where labels come late, declare {type(config).__name__}.settling_window: what readers "
        "see stays, and gridmill gaps lists what arrived late)"
    )


def check_again(archive: Archive, *, reload: bool = False) -> None:
    """Look at what others published since; what they did stays as published.

    Parameters
    ----------
    archive
        That was looked at before.
    reload
        See `Archive.check_structure`.

    Raises
    ------
    ArchiveChanged
        It was made another one.
    """
    try:
        archive.check_structure(reload=reload)
    except StructureMismatch as error:
        raise ArchiveChanged(error.url, error.differences) from error


def apart_of(archive: Archive) -> Archive:
    """Return the same archive with the records of the variables that are being added to it."""
    own = (archive.store.adding(), archive.config, archive.template_ds, archive._make_job)
    twin = Archive(*own, archive.unseen, archive.tmp_store)
    twin.published, twin.scratch = archive.published, archive.scratch
    return twin


def lacking_in(archive: Archive, stored: Mapping[str, Any]) -> list[str]:
    """Return which of the variables that are being added a store's root metadata lack."""
    arrays = array_metadata(dict(stored))
    return [name for name in archive.unseen if name not in arrays]
