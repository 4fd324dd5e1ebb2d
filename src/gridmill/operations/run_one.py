"""One chain by itself, in the calling process, without Dask: what one debugs a dataset with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.archive.works import VariableWorks
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import url_of
from gridmill.model.region import Region
from gridmill.model.reports.spans import Span
from gridmill.pipeline.compress import compress
from gridmill.pipeline.download import download
from gridmill.pipeline.slabs.dividing import takes_data_array
from gridmill.pipeline.upload import upload
from gridmill.pipeline.values import Bench, Receipt, RunContext
from gridmill.pipeline.workspace import Workspace
from gridmill.planning.prepare import PreparedRegion
from gridmill.planning.source_files.grouping import sources_of
from gridmill.publishing.view import view_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.opening import open_store
from gridmill.stores.state.leases import Lease

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["ChainOutcome", "FileOutcome", "run_one_chain"]


@dataclass(frozen=True)
class FileOutcome:
    """What became of a source file: its status, and why it did not succeed."""

    url: str
    status: str
    detail: str | None
    nbytes: int | None


@dataclass(frozen=True)
class ChainOutcome:
    """What one chain made.

    Parameters
    ----------
    dataset_id, region, variable
        What was processed; the region by the label of its first position.
    shape
        Of the region's values, dims as the variable's.
    files
        The source files.
    objects, nbytes
        How many objects the region has in the store, and their bytes.
    minimum, maximum, missing
        Of the values as stored: smallest and largest, and the share that is NaN. None if no
        object was made.
    spans
        The stages.
    """

    dataset_id: str
    region: str
    variable: str
    shape: tuple[int, ...]
    files: tuple[FileOutcome, ...]
    objects: int
    nbytes: int
    minimum: float | None
    maximum: float | None
    missing: float | None
    spans: tuple[Span, ...]

    @property
    def failed(self) -> tuple[FileOutcome, ...]:
        """The source files that the provider had and that could not be used."""
        return tuple(file for file in self.files if "failed" in file.status)


def run_one_chain(
    dataset: DynamicalDataset,
    region: str,
    variable: str,
    *,
    folder: str | Path | None = None,
    now: Any = None,
) -> ChainOutcome:
    """Download, compress and upload one variable of one region, in this thread.

    Parameters
    ----------
    dataset
        What is published in its store is kept where source files are missing, as in a run; the
        store is only read.
    region
        A label of the append dim: the region that holds it; or ``"static"``.
    variable
        Its name.
    folder
        A new folder: a Zarr store that ends with the region, and holds this chain's objects
        only. None: nothing is left.
    now
        The present, where the template ends; None asks the clock.

    Raises
    ------
    ValueError
        There is no such region or variable, or the folder exists.
    Exception
        What the author's code raises, as it is raised.
    """
    if folder is not None and Path(folder).exists():
        raise ValueError(f"{folder} exists already: give a new folder")
    archive = dataset.archive(now)
    prepared = _prepare(archive, region, variable)
    job = prepared.job
    with temporary_folder() as scratch:
        url, state = str(folder or scratch / "out"), str(scratch)
        target = open_store(url, dataset.dataset_id, format="zarr", state=state)
        with Lease(target.state, run="one-chain", kind="run-one", positions=[(0, 1)]) as lease:
            receipt = _run(dataset, archive, prepared, target, scratch, lease)
            if receipt.objects:
                _complete(archive, job, variable, target, lease)
        return _outcome(archive, job, receipt, target)


def _prepare(archive: Archive, region: str, variable: str) -> PreparedRegion:
    """Prepare the region's job, with this variable and its group of source files alone."""
    config = archive.config
    (data_var,) = config.select([variable])
    is_static = config.append_dim not in data_var.dims
    if is_static != (region == Region.STATIC.name):
        kind, wanted = ("static", Region.STATIC.name) if is_static else ("not static", "a label")
        raise ValueError(f"{variable} is {kind}: give {wanted} as its region, not {region}")
    job = archive.job(Region.STATIC if is_static else _region_of(archive, region))
    prepared = prepare_recorded(archive, job, None)
    return replace(
        prepared,
        job=replace(job, data_vars=[data_var]),
        groups=tuple(group for group in prepared.groups if variable in group.todo),
    )


def _region_of(archive: Archive, label: str) -> Region:
    """Return the region that holds a label."""
    position = archive.config.position(label, archive.index)
    if position >= len(archive.index):
        raise ValueError(f"region {label} is beyond the template's end {archive.index[-1]}")
    return archive.region_at(position)


def _run(
    dataset: DynamicalDataset,
    archive: Archive,
    prepared: PreparedRegion,
    target: FinalStore,
    scratch: Path,
    lease: Lease,
) -> Receipt:
    archive.check_structure()
    job, works, (group,) = prepared.job, VariableWorks(archive), prepared.groups
    record = archive.store.tracker.read(job.region)
    (work,) = works.of(job, job.data_vars, prepared.sizes, record).values()
    space = Workspace(scratch / "work").of_key("one-chain")
    bench = Bench(space, "this process", raises=True)
    context = RunContext(
        run="one-chain",
        store=dataset.store,
        proof=lease.proof,
        metadata=archive.metadata,
        published=archive.published,
        coords=works.coords(along=False) if takes_data_array(type(job)) else None,
        axes=works.axes,
    )
    small = job.for_worker(sources_of([work.data_var]))
    source = download(bench, small, group.files)
    shards = compress(bench, context, work, source)
    receipt = upload(bench, replace(context, store=target), shards)
    return replace(receipt, spans=(*source.spans, *receipt.spans))


def _complete(
    archive: Archive, job: RegionJob[Any, Any], variable: str, target: FinalStore, lease: Lease
) -> None:
    """Make what was uploaded a store that opens, up to the region's end."""
    dim = archive.config.append_dim
    end = None if job.is_static else job.region.stop
    ds = archive.template_ds[[variable]].isel({dim: slice(0, end)} if end is not None else {})
    with lease.publishing() as check:
        view_of(archive, target).show(ds, check, seen=0)


def _outcome(
    archive: Archive, job: RegionJob[Any, Any], receipt: Receipt, target: FinalStore
) -> ChainOutcome:
    var = job.data_vars[0]
    values = _values(job, receipt, target)
    present = None if values is None else values[~_is_missing(values)]
    is_empty = present is None or not present.size
    return ChainOutcome(
        dataset_id=archive.config.dataset_id,
        region=job.region.label(archive.index),
        variable=receipt.variable,
        shape=tuple(
            len(job.region) if dim == job.append_dim else archive.template_ds.sizes[dim]
            for dim in var.dims
        ),
        files=tuple(_file_outcomes(receipt)),
        objects=len(receipt.objects),
        nbytes=sum(stored.nbytes for stored in receipt.objects),
        minimum=None if is_empty or present is None else float(present.min()),
        maximum=None if is_empty or present is None else float(present.max()),
        missing=None if values is None else float(_is_missing(values).mean()),
        spans=receipt.spans,
    )


def _values(
    job: RegionJob[Any, Any], receipt: Receipt, target: FinalStore
) -> np.ndarray[Any, Any] | None:
    if not receipt.objects:
        return None
    array = zarr.open_array(target.url, path=receipt.variable, mode="r", zarr_format=3)
    return np.asarray(array[...] if job.is_static else array[job.region.slice])


def _is_missing(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.zeros(values.shape, dtype=bool)


def _file_outcomes(receipt: Receipt) -> Iterator[FileOutcome]:
    for index, file in enumerate(receipt.files):
        coord, why = file.coord, receipt.unread.get(index)
        status = str(coord.status if why is None else coord.status.of_unread(why))
        detail = coord.detail if why is None else why
        yield FileOutcome(mask_url(url_of(coord)), status, detail, coord.nbytes)
