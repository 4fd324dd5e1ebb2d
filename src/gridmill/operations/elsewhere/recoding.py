"""Rewrites the values of an archive that another program made, as the dataset declares them.

Labels are looked up: a position that the source lacks is a gap, and dims may run the other way.
Each value is decoded as a reader does, encoded as the template says, and decoded again: none may
differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.declaration import keep_declaration
from gridmill.archive.recorded import lost_tokens, prepare_recorded
from gridmill.authoring.labels import just_after
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.template import TemplateConfig
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region, regions_of
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of
from gridmill.operations.rebuild import (
    Everything,
    Found,
    Index,
    Labels,
    declared_by,
    elsewhere,
    place_of,
    record_of,
)
from gridmill.pipeline.shards import ObjectWriter
from gridmill.publishing.publisher import Publisher
from gridmill.stores.contents.found import open_found
from gridmill.stores.final_store import FinalStore, Uploaded
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.state.leases import Lease

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["recode"]

# Readers of the copy see more after so many regions.
REGIONS_AT_ONCE = 8

Values = np.ndarray[Any, Any]


def recode(
    source: FinalStore,
    target: DynamicalDataset,
    lease: Lease,
    *,
    lossy: bool = False,
    now: Any = None,
) -> list[str]:
    """Make a dataset's archive of the values that readers of a store see.

    Parameters
    ----------
    source
        Of any writer.
    target
        The dataset, with the store that the copy is written to.
    lease
        Of the copy.
    lossy
        Whether values may lose precision.
    now
        The present; None asks the clock.

    Returns
    -------
    list of str
        What is to be known of it.

    Raises
    ------
    ValueError
        The source is not of this dataset, or a value would not survive.
    LeaseLost
        Something else writes the copy.
    """
    with open_found(source) as ds:
        _check_units(ds, target.declared, source.url)
        archive = _made(ds, target, source.url)
        publisher = Publisher(archive)
        publisher.prepare(lease)
        recoding = _Recoding(archive, ds, lease, target.present(now), lossy)
        for number, job in enumerate(_jobs(archive), 1):
            recoding.make(job)
            if number % REGIONS_AT_ONCE == 0:
                publisher.publish(lease, message="Copy the archive")
        recoding.correct()
        publisher.publish(lease, message="Copy the archive")
        dim = archive.append_dim
        lacking = len(archive.index) - ds.sizes[dim]
        notes = [f"values were rewritten: {source.url} has no records of gridmill's"]
        notes += [f"{count_of(lacking, 'label')} of {dim} were not there: gaps"] * bool(lacking)
        return notes


def _made(ds: xr.Dataset, target: DynamicalDataset, url: str) -> Archive:
    """Declare the copy, and give it with the template up to the source's last label.

    Raises
    ------
    ValueError
        The source's labels are not the dataset's.
    """
    store, coded = target.store, target.declared
    dim = coded.append_dim
    if dim not in ds.indexes or not any(var.name in ds for var in coded.data_vars):
        names = ", ".join(var.name for var in coded.data_vars)
        raise ValueError(f"{url} has no labels of {dim}, or none of {names}: give its dataset")
    declaration = declared_by(store, coded, [str(name) for name in ds.data_vars], ds)
    config = coded.narrowed(
        start=declaration["start"],
        variables=declaration["variables"],
        max_lead=declaration["max_lead"],
    )
    archive = target.archive(just_after(ds.get_index(dim)[-1]), as_declared=True, config=config)
    _check_labels(ds, archive, url)
    archive.check_structure()
    keep_declaration(store, declaration)
    return archive


def _check_units(ds: xr.Dataset, config: TemplateConfig, url: str) -> None:
    for var in (var for var in config.data_vars if var.name in ds):
        units = ds[var.name].attrs.get("units", var.attrs["units"])
        if units != var.attrs["units"]:
            raise ValueError(
                f"{var.name} is in {units} in {url}, and {var.attrs['units']} in the template: "
                "declare the archive's units; a copy converts none"
            )
        if set(ds[var.name].dims) != set(var.dims):
            raise ValueError(
                f"{var.name} has dims {ds[var.name].dims} in {url}, and {var.dims} in the "
                "template: name and declare them alike"
            )


def _check_labels(ds: xr.Dataset, archive: Archive, url: str) -> None:
    template = archive.template_ds
    for dim in template.dims:
        ours, theirs = template.get_index(dim), ds.get_index(dim)
        lacking = ours.difference(theirs) if dim != archive.append_dim else ours[:0]
        unknown = theirs.difference(ours)
        if not theirs.is_unique:
            twice = theirs[theirs.duplicated()][0]
            raise ValueError(f"{dim} {twice} is more than once in {url}: select one with xarray")
        if len(lacking) or len(unknown):
            where = "in the template and not there" if len(lacking) else "there and no label of it"
            first = (lacking if len(lacking) else unknown)[0]
            raise ValueError(
                f"the labels of {dim} in {url} are not the dataset's: {first} is {where}; "
                "declare the archive's, or select them with xarray first"
            )


def _jobs(archive: Archive) -> Iterator[RegionJob[Any, Any]]:
    if archive.static:
        yield archive.job(Region.STATIC)
    for region in regions_of(len(archive.index), archive.config.region_length):
        yield archive.job(region)


@dataclass
class _Recoding:
    """Makes regions of the copy."""

    archive: Archive
    ds: xr.Dataset
    lease: Lease
    now: Any
    lossy: bool

    def __post_init__(self) -> None:
        self._metadata = array_metadata(json.loads(self.archive.metadata))
        self._places = {
            dim: self.ds.get_index(dim).get_indexer(self.archive.template_ds.get_index(dim))
            for dim in self.archive.template_ds.dims
        }

    def make(self, job: RegionJob[Any, Any]) -> None:
        """Write and record a region, unless a call before did."""
        store = self.archive.store
        known = store.tracker.read(job.region)
        names = {var.name for var in job.data_vars}
        is_made = known is not None and names <= known.variables.keys()
        if known is not None and is_made and not lost_tokens(self.archive, known):
            return
        found, tokens = Found(prepare_recorded(self.archive, job, None), None), {}
        for group in found.prepared.groups:
            for var in group.variables:
                places = [place_of(job, file, var) for file in group.files]
                has_values, uploaded = self._write(job, var, places)
                found.has_values[var.name] = has_values
                found.objects[var.name] = uploaded.objects
                tokens[var.name] = uploaded.token
        # Until all is there, whatever a variable lacks beside others counts as a gap.
        record = record_of(self.archive, found, Everything(), self.lease.claim.run, self.now)
        variables = {
            name: replace(known, token=tokens[name]) for name, known in record.variables.items()
        }
        self.lease.proof.check()
        store.tracker.write(replace(record, variables=variables))

    def correct(self) -> None:
        """Take for no gap what a variable lacks at all times: at lead 0 a rate never is."""
        usual: set[tuple[str, Labels]] = set()
        for record in self.archive.store.tracker.all_records():
            usual.update(p for p, lacks in self._places_of(record).values() if not lacks)
        for record in self.archive.store.tracker.all_records():
            places = self._places_of(record)
            variables = {
                name: replace(
                    known,
                    unread={
                        at: why for at, why in known.unread.items() if places[name, at][0] in usual
                    },
                )
                for name, known in record.variables.items()
            }
            if variables != record.variables:
                self.lease.proof.check()
                self.archive.store.tracker.write(replace(record, variables=variables))

    def _places_of(
        self, record: ProgressRecord
    ) -> dict[tuple[str, int], tuple[tuple[str, Labels], bool]]:
        """By variable and file, the place but for the append dim, and whether it lacks a value."""
        job = self.archive.job(record.region)
        found = {}
        for group in prepare_recorded(self.archive, job, record).groups:
            for name in group.fingerprints:
                known = record.variables[name]
                for at, file in enumerate(group.files):
                    became = record.groups[known.group][at].status
                    lacks = at in known.unread or became is not SourceFileStatus.SUCCEEDED
                    found[name, at] = ((name, elsewhere(file, job)), lacks)
        return found

    def _write(
        self, job: RegionJob[Any, Any], var: DataVar, places: Sequence[Index | None]
    ) -> tuple[list[bool], Uploaded]:
        """Write a variable of a region object by object, and upload it."""
        has_values = [place is None or var.encoding.missing is None for place in places]
        with temporary_folder() as folder:
            (folder / "zarr.json").write_bytes(self.archive.metadata)
            writer = ObjectWriter(folder, var.name, self._metadata[var.name])
            for cell in self._cells(job, var):
                values = self._read(var, cell)
                writer.write(cell, self._encoded(var, values, cell))
                _note(has_values, places, cell, values)
            writer.close()
            keys = writer.keys
            return has_values, self._upload(folder, keys)

    def _upload(self, folder: Path, keys: Sequence[str]) -> Uploaded:
        return self.archive.store.upload(folder, keys, self.lease.proof, replaces=True)

    def _cells(self, job: RegionJob[Any, Any], var: DataVar) -> Iterator[tuple[slice, ...]]:
        """Yield what each stored object of a region covers, cut at the array's end."""
        sizes = self.archive.template_ds.sizes
        along = []
        for dim, n in zip(var.dims, var.encoding.object_shape, strict=True):
            first, stop = (0, sizes[dim])
            if dim == job.append_dim:
                first, stop = job.region.start, job.region.stop
            along.append([slice(at, min(at + n, stop)) for at in range(first, stop, n)])
        yield from product(*along)

    def _read(self, var: DataVar, cell: tuple[slice, ...]) -> Values:
        """Read what readers of the source see of a cell; where it has no label, nothing."""
        at = {dim: self._places[dim][part] for dim, part in zip(var.dims, cell, strict=True)}
        there = {dim: _as_slice(index[index >= 0]) for dim, index in at.items()}
        read = self.ds[var.name].isel(there).transpose(*var.dims).values
        if all((index >= 0).all() for index in at.values()):
            return np.asarray(read)
        whole = np.full([len(index) for index in at.values()], var.encoding.value_fill, read.dtype)
        whole[np.ix_(*(np.flatnonzero(index >= 0) for index in at.values()))] = read
        return whole

    def _encoded(self, var: DataVar, values: Values, cell: tuple[slice, ...]) -> Values:
        """Encode values as the template says.

        Raises
        ------
        ValueError
            One would be another for readers.
        """
        given = xr.Variable(var.dims, values, encoding=var.encoding.to_xarray())
        encoded = xr.conventions.encode_cf_variable(given)
        stored = np.asarray(encoded.values)
        decoded = xr.conventions.decode_cf_variable(var.name, encoded)
        with np.errstate(invalid="ignore"):
            back = np.asarray(decoded.values)
            differs = (back != values) & ~((back != back) & (values != values))
        if self.lossy or not differs.any():
            return stored
        most = np.nanmax(np.abs(back[differs].astype("float64") - values[differs]))
        at = self.archive.index[cell[0].start] if self.archive.config.varies(var) else "static"
        raise ValueError(
            f"{var.name} at {at}: {count_of(int(differs.sum()), 'value')} would be another in "
            f"{var.encoding.dtype}, by up to {most:g}; declare an encoding that holds them, or let "
            "the copy lose precision (--lossy)"
        )


def _as_slice(index: Values) -> slice | Values:
    """Read in one piece what lies in one."""
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _note(
    has_values: list[bool],
    places: Sequence[Index | None],
    cell: tuple[slice, ...],
    values: Values,
) -> None:
    """Note the places of which a cell has values, in place."""
    is_value = ~pd.isnull(values)
    for number, place in enumerate(places):
        if place is not None and not has_values[number]:
            inside = tuple(_within(at, part) for at, part in zip(place, cell, strict=True))
            has_values[number] = bool(is_value[inside].any())


def _within(at: int | slice, part: slice) -> slice:
    """Return what of a place lies in a part of its axis, counted from the part's start."""
    whole = at if isinstance(at, slice) else slice(at, at + 1)
    first = part.start if whole.start is None else max(whole.start, part.start)
    stop = part.stop if whole.stop is None else min(whole.stop, part.stop)
    return slice(first - part.start, max(stop, first) - part.start)
