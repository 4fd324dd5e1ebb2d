"""The three stages of a chain, as functions of values: download, compress, upload.

Each runs on whatever worker it is put on. Where the folder that its input names is not on this
worker's disk, or vanishes under it, the stage rebuilds it here ("heals"): placement is an
optimisation, never correctness. All are idempotent and safe in several threads of one process.
"""

from __future__ import annotations

import errno
import json
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.authoring.region_job import RegionJob, SourceFileCoord
from gridmill.model.epochs import noted_stages
from gridmill.model.records import ObjectReceipt, SourceFileStatus
from gridmill.model.region import check_region_aligned
from gridmill.model.reports import Span
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import Canvas, Slab, slabs_of
from gridmill.pipeline.shards import ObjectWriter
from gridmill.pipeline.timing import recorded
from gridmill.pipeline.workspace import TmpFolderLost, WorkspaceOfKey
from gridmill.sources.fetch.download import Download, DownloadFailed, NotAvailable
from gridmill.stores.final_store import FinalStore, Uploaded
from gridmill.stores.leases import LeaseLost, LeaseProof
from gridmill.stores.zarr_store import array_metadata

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Bench",
    "LocalFiles",
    "LocalShards",
    "Place",
    "Receipt",
    "RunContext",
    "SourceFile",
    "VariableWork",
    "compress",
    "download",
    "slabs_for",
    "takes_data_array",
    "transforms",
    "upload",
]

Place = Mapping[str, int | slice]
Values = np.ndarray[Any, Any]

# Latency, not bandwidth, is what many small source files wait for.
DOWNLOADS_AT_ONCE = 8
# What decoders raise for a file that they cannot read. Anything else is an error in code.
UNREADABLE = (ValueError, OSError, RuntimeError, EOFError, zlib.error, struct.error)
# What says something about the worker, not about the file that it reads: taken for the file's
# fault, two full disks in a row would settle a good file as unreadable.
OF_THE_WORKER = {
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
}


@dataclass(frozen=True)
class RunContext:
    """What all tasks of a run share; sent once to each worker.

    Parameters
    ----------
    run
        Name of the run.
    store
        The final store.
    proof
        Says whether the run may still write.
    metadata
        The template's consolidated root metadata (``zarr.json``), whole.
    published
        Positions of the append dim that readers saw when the run began.
    coords
        Coordinates without the append dim, where an author's hook takes a DataArray.
    replicas
        Further stores, which get all that the final store gets, and get it first.
    """

    run: str
    store: FinalStore
    proof: LeaseProof
    metadata: bytes
    published: int
    coords: xr.Dataset | None = None
    replicas: tuple[FinalStore, ...] = ()


@dataclass(frozen=True)
class SourceFile:
    """A source file and its place: by dim, positions relative to the processing region.

    `seconds` and `attempts` say what its download took. One that `is_kept` is not read again: the
    final store has its values, and `coord` is what became of it.
    """

    coord: SourceFileCoord
    place: Place
    seconds: float = 0.0
    attempts: int = 1
    is_kept: bool = False

    @property
    def nbytes_fetched(self) -> int:
        """Bytes that its download took."""
        return 0 if self.is_kept else self.coord.nbytes or 0


@dataclass(frozen=True)
class VariableWork:
    """What compress needs beside the source files.

    Parameters
    ----------
    job
        The region job as a worker gets it, with this variable only.
    processing_region
        Positions along the append dim that are read.
    sizes
        Length of every dim, the append dim's being that of the processing region.
    coords
        The processing region's coordinates along the append dim, where a hook needs them.
    continues
        Whether the final store has values of the region already, of source files that are kept.
    token
        What their upload returned, see `Uploaded`.
    """

    job: RegionJob[Any, Any]
    processing_region: slice
    sizes: Mapping[str, int]
    coords: xr.Dataset | None = None
    continues: bool = False
    token: str | None = None

    @property
    def data_var(self) -> DataVar:
        """The variable."""
        var: DataVar = self.job.data_vars[0]
        return var

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variable over the processing region."""
        return tuple(self.sizes[dim] for dim in self.data_var.dims)


# To move a task away from its input costs a download: Dask weighs that by the input's size, and
# providers are about so much slower than a cluster's own network.
DOWNLOAD_COST = 10


@dataclass(frozen=True)
class LocalFiles:
    """Source files on a worker's disk: what download returns.

    Parameters
    ----------
    folder
        Where they are; valid only on the worker that made it.
    job
        The region job, to download again elsewhere.
    files
        All that were asked for, with what became of them.
    spans
        The stages that made it.
    most_claimed
        See `Bench`.
    """

    folder: Path
    job: RegionJob[Any, Any]
    files: tuple[SourceFile, ...]
    spans: tuple[Span, ...] = ()
    most_claimed: int = sys.maxsize

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(file.nbytes_fetched for file in self.files)

    def __sizeof__(self) -> int:
        """Tell Dask what it costs to use it from another worker, in bytes."""
        return min(DOWNLOAD_COST * self.nbytes, self.most_claimed)


@dataclass(frozen=True)
class LocalShards:
    """Compressed objects on a worker's disk: what compress returns.

    Parameters
    ----------
    folder
        A Zarr store with the whole metadata; valid only on the worker that made it.
    keys
        The objects to upload.
    work, source
        What it was made from, to make it again elsewhere.
    unread
        By index of the source file: why it could not be read.
    healed
        The source files as downloaded again, if they were.
    spans
        The stages that made it, without those of `source`.
    epochs
        Of what its values went through, see `gridmill.model.epochs`.
    """

    folder: Path
    keys: tuple[str, ...]
    work: VariableWork
    source: LocalFiles
    unread: Mapping[int, str]
    healed: tuple[SourceFile, ...] | None
    spans: tuple[Span, ...]
    epochs: Mapping[str, int] = field(default_factory=dict)

    def __sizeof__(self) -> int:
        """Tell Dask what it costs to use it from another worker, in bytes."""
        return self.source.__sizeof__()


@dataclass(frozen=True)
class Receipt:
    """What upload returns: the objects that it wrote, and what became of the source files.

    Parameters
    ----------
    variable
        Name of the variable.
    objects
        Empty if no source file had the variable.
    files
        The source files that it was made from. Dask may have run the download task again since
        the driver heard of it, and a file may have come or gone in between.
    unread
        By index of the source file: why it could not be read.
    healed
        The source files as downloaded again, if they were.
    spans
        The stages that made it, without those of the download task.
    token
        What publishing needs to make the objects visible, see `Uploaded`.
    replicated
        By a replica's URL, what was put into it; a replica that failed is left out.
    epochs
        Of what its values went through, see `gridmill.model.epochs`.
    """

    variable: str
    objects: tuple[ObjectReceipt, ...]
    files: tuple[SourceFile, ...]
    unread: Mapping[int, str]
    healed: tuple[SourceFile, ...] | None = None
    spans: tuple[Span, ...] = field(default=())
    token: str | None = None
    replicated: Mapping[str, Uploaded] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Where a stage runs.

    Parameters
    ----------
    space
        Its folders.
    worker
        Its name.
    most_claimed
        Bytes that what it makes may claim to have where Dask asks what it costs to move it.
    """

    space: WorkspaceOfKey
    worker: str
    most_claimed: int = sys.maxsize


def download(bench: Bench, job: RegionJob[Any, Any], files: Sequence[SourceFile]) -> LocalFiles:
    """Download the source files of one group to this worker's disk.

    Raises
    ------
    OSError
        The disk is full.
    Exception
        Whatever else `RegionJob.download_file` raises beside `NotAvailable` and
        `DownloadFailed`: an error in code.
    """
    folder = bench.space.make()
    local_job = replace_field(job, download_dir=folder)
    with recorded("download", bench.space.key, bench.worker) as span:
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download") as pool:
            arrived = tuple(pool.map(lambda file: _download_one(local_job, file), files))
        span.append(sum(file.nbytes_fetched for file in arrived))
    return LocalFiles(folder, job, arrived, tuple(span), bench.most_claimed)


def compress(
    bench: Bench, context: RunContext, work: VariableWork, source: LocalFiles
) -> LocalShards:
    """Read, transform and write one variable of one region to a Zarr store on this worker.

    - source files that are not here are downloaded again;
    - each is read into its place;
    - the author's transformations run in place;
    - where this run has no value, published ones stay;
    - the region is written whole, checked against the whole template's metadata.

    Raises
    ------
    ValueError
        The region splits a stored object.
    LeaseLost
        What is missing here would be made again for a driver that is gone.
    Exception
        What an author's hook raises that does not mean an unreadable file.
    """
    if bench.space.has(source.folder):
        try:
            return _compress_here(bench, context, work, source, None)
        except TmpFolderLost:
            pass
    context.proof.check()  # not for a driver that is gone
    here = download(bench, source.job, _as_asked(source.files))
    try:
        return _compress_here(bench, context, work, here, here.files)
    finally:
        bench.space.discard(here.folder)


def upload(bench: Bench, context: RunContext, shards: LocalShards) -> Receipt:
    """Put the objects of one variable of one region into the final store.

    Raises
    ------
    OSError
        The final store refuses.
    LeaseLost
        The run's driver is gone, or another run writes here now.
    """
    if bench.space.has(shards.folder):
        try:
            return _upload_here(bench, context, shards)
        except TmpFolderLost:
            pass
    context.proof.check()
    here = compress(bench, context, shards.work, shards.source)
    try:
        return _upload_here(bench, context, here)
    finally:
        bench.space.discard(here.folder)


# -- download ---------------------------------------------------------------------------------


def _download_one(job: RegionJob[Any, Any], file: SourceFile) -> SourceFile:
    if file.is_kept:
        return file
    started = perf_counter()
    coord, attempts = _downloaded(job, file.coord)
    return replace(file, coord=coord, seconds=perf_counter() - started, attempts=attempts)


def _downloaded(job: RegionJob[Any, Any], coord: SourceFileCoord) -> tuple[SourceFileCoord, int]:
    try:
        done = job.download_file(coord)
    except NotAvailable as error:
        status = SourceFileStatus.NOT_YET_AVAILABLE
        return replace(coord, status=status, detail=str(error)), 1
    except DownloadFailed as error:
        status = SourceFileStatus.DOWNLOAD_FAILED
        return replace(coord, status=status, detail=str(error)), error.attempts
    if not isinstance(done, Download):
        done = Download(
            path=done, nbytes=done.stat().st_size, etag=None, last_modified=None, attempts=1
        )
    arrived = replace(
        coord,
        status=SourceFileStatus.SUCCEEDED,
        settled=True,
        downloaded_path=done.path,
        nbytes=done.nbytes,
        etag=done.etag,
        last_modified=done.last_modified,
        detail=done.remark,
    )
    return arrived, done.attempts


def _as_asked(files: Sequence[SourceFile]) -> tuple[SourceFile, ...]:
    processing = SourceFileStatus.PROCESSING
    return tuple(
        f
        if f.is_kept
        else replace(f, coord=replace(f.coord, status=processing, settled=False, detail=None))
        for f in files
    )


def replace_field(job: RegionJob[Any, Any], **changes: Any) -> RegionJob[Any, Any]:
    """Give a twin of a job that may already lack its template."""
    twin = object.__new__(type(job))
    vars(twin).update(vars(job), **changes)
    return twin


# -- compress ---------------------------------------------------------------------------------


def _compress_here(
    bench: Bench,
    context: RunContext,
    work: VariableWork,
    source: LocalFiles,
    healed: tuple[SourceFile, ...] | None,
) -> LocalShards:
    folder, scratch = bench.space.make(), bench.space.make()
    spans = source.spans if healed else ()
    with (
        recorded("compress", bench.space.key, bench.worker) as span,
        _canvas(work, scratch / "slabs") as canvas,
        noted_stages() as epochs,
    ):
        unread = _read(canvas, work, source, bench, may_vanish=healed is None)
        succeeded = _succeeded(source.files, unread)
        keys: tuple[str, ...] = ()
        if succeeded:
            places = [_place(file, work.data_var) for file in succeeded]
            keys = _write(folder, context, work, canvas, places)
        span.append(prod(work.shape) * canvas.dtype.itemsize)
    bench.space.discard(scratch)
    return LocalShards(folder, keys, work, source, unread, healed, (*spans, *span), epochs)


def _canvas(work: VariableWork, folder: Path) -> Canvas:
    encoding = work.data_var.encoding
    slabs = slabs_for(work.job, work.data_var, work.shape)
    return Canvas(work.shape, encoding.dtype, encoding.fill, slabs, folder)


def slabs_for(job: RegionJob[Any, Any], var: DataVar, shape: Sequence[int]) -> list[Slab]:
    """Divide what is too large for memory, along dims that no transformation needs whole."""
    needed = job.whole_dims
    if needed is None:
        needed = var.dims if transforms(type(job)) else ()
    whole = [dim in needed or dim == job.append_dim for dim in var.dims]
    itemsize = np.dtype(var.encoding.dtype).itemsize
    return slabs_of(shape, var.encoding.chunks, itemsize, whole=whole)


def _read(
    canvas: Canvas, work: VariableWork, source: LocalFiles, bench: Bench, *, may_vanish: bool
) -> dict[int, str]:
    """Read every file that arrived into its place; by index, why one could not be read.

    Where they may vanish, a file that is not there says nothing about what the provider has: its
    folder is being deleted, as another worker's may be on the same disk.
    """
    unread: dict[int, str] = {}
    for index, file in enumerate(source.files):
        if file.is_kept or file.coord.status is not SourceFileStatus.SUCCEEDED:
            continue
        place = _place(file, work.data_var)
        piece = canvas.room(place)
        try:
            work.job.read_data_into(file.coord, work.data_var, piece)
        except UNREADABLE as error:
            if (may_vanish and _is_gone(file, error)) or not bench.space.has(source.folder):
                raise TmpFolderLost(str(source.folder)) from error
            if isinstance(error, OSError) and error.errno in OF_THE_WORKER:
                raise
            if isinstance(error, NotImplementedError | RecursionError):  # kinds of RuntimeError
                raise
            cause = f"{type(error).__name__}: {error}"
            # Records outlive workers' folders, and the same fault must read the same in each.
            unread[index] = cause.replace(f"{source.folder}/", "")
            continue
        canvas.put(place, piece)
    return unread


def _is_gone(file: SourceFile, error: Exception) -> bool:
    """Whether a file, or what was kept beside it, is not there; not every decoder says so."""
    path = file.coord.downloaded_path
    return isinstance(error, FileNotFoundError) or path is None or not path.exists()


def _place(file: SourceFile, data_var: DataVar) -> tuple[int | slice, ...]:
    return tuple(file.place.get(dim, slice(None)) for dim in data_var.dims)


def _succeeded(files: Sequence[SourceFile], unread: Mapping[int, str]) -> list[SourceFile]:
    return [
        file
        for index, file in enumerate(files)
        if file.coord.status is SourceFileStatus.SUCCEEDED
        and index not in unread
        and not file.is_kept
    ]


def _transform_inplace(values: Values, context: RunContext, work: VariableWork, slab: Slab) -> None:
    job, data_var = work.job, work.data_var
    if not takes_data_array(type(job)):
        job.transform_values_inplace(values, data_var)
        return
    import xarray as xr

    data_array = xr.DataArray(values, dims=data_var.dims, name=data_var.name, attrs=data_var.attrs)
    at = dict(zip(data_var.dims, slab, strict=True))
    for coords in (context.coords, work.coords):
        if coords is not None:
            fitting = {n: c for n, c in coords.coords.items() if set(c.dims) <= set(data_var.dims)}
            cut = {n: c[{d: at[str(d)] for d in c.dims}] for n, c in fitting.items()}
            data_array = data_array.assign_coords(cut)
    job.apply_data_transformations(data_array, data_var)
    if not np.shares_memory(data_array.values, values):
        raise TypeError(
            f"{type(job).__name__}.apply_data_transformations must change the values in place"
        )


def takes_data_array(job_class: type[RegionJob[Any, Any]]) -> bool:
    """Whether an author overrides a hook that takes an xarray object on a worker."""
    return job_class.apply_data_transformations is not RegionJob.apply_data_transformations


def transforms(job_class: type[RegionJob[Any, Any]]) -> bool:
    """Whether an author overrides how values are transformed."""
    by_author = job_class.transform_values_inplace is not RegionJob.transform_values_inplace
    return by_author or takes_data_array(job_class)


def _write(
    folder: Path,
    context: RunContext,
    work: VariableWork,
    canvas: Canvas,
    places: Sequence[tuple[int | slice, ...]],
) -> tuple[str, ...]:
    """Write a variable's region to a local Zarr store, slab by slab; the keys of its objects."""
    name = work.data_var.name
    (folder / "zarr.json").write_bytes(context.metadata)
    metadata = array_metadata(json.loads(context.metadata))[name]
    region = _region(work)
    if region is not None:
        length = work.data_var.object_length(work.job.append_dim)
        check_region_aligned(region, length, metadata["shape"][0])
    writer = ObjectWriter(folder, name, metadata)
    for number, slab in enumerate(canvas.slabs):
        values = canvas.values(number)
        _transform_inplace(values, context, work, slab)
        if region is not None:
            values = _keep_published(values, context, work, canvas, number, places)
        writer.write(slab if region is None else (region, *slab[1:]), values)
        canvas.close(number)
    keys = writer.keys
    writer.close(context.store.nbytes_in_use(keys) if _is_published(context, work) else {})
    return keys


def _keep_published(
    values: Values,
    context: RunContext,
    work: VariableWork,
    canvas: Canvas,
    number: int,
    places: Sequence[tuple[int | slice, ...]],
) -> Values:
    """Cut a slab to the region; where this run's source files give nothing, stored values stay.

    Those are what readers see, or what an earlier run made of source files that are kept. Judged
    by provenance, never by NaN.
    """
    region = work.job.region
    margin = region.start - work.processing_region.start
    inner = slice(margin, margin + region.stop - region.start)
    values = values[inner]
    stored = region.stop if work.continues else min(region.stop, context.published)
    if stored <= region.start:
        return values
    filled = canvas.filled(number, places)
    ours = work.job.provenance(filled, work.data_var)[inner][: stored - region.start]
    if not ours.all():
        there = (slice(region.start, stored), *canvas.slabs[number][1:])
        kept = _stored(context, work, there)
        # An upload whose region was shorter may not reach as far.
        np.copyto(values[: len(kept)], kept, where=~ours[: len(kept)])
    return values


def _stored(context: RunContext, work: VariableWork, selection: tuple[slice, ...]) -> Values:
    name = work.data_var.name
    if not work.continues:
        return context.store.read(name, selection)
    metadata = array_metadata(json.loads(context.metadata))[name]
    return context.store.read_uploaded(name, selection, metadata, work.token)


def _region(work: VariableWork) -> slice | None:
    """Give the positions of the append dim that are written; None for a static variable."""
    return work.job.region if work.job.append_dim in work.data_var.dims else None


def _is_published(context: RunContext, work: VariableWork) -> bool:
    """Whether readers may see some of what is written here."""
    region = _region(work)
    return context.published > (0 if region is None else region.start)


# -- upload -----------------------------------------------------------------------------------


def _upload_here(bench: Bench, context: RunContext, shards: LocalShards) -> Receipt:
    with recorded("upload", bench.space.key, bench.worker) as span:
        replicated = _replicate(bench, context, shards)
        try:
            uploaded = context.store.upload(
                shards.folder,
                shards.keys,
                context.proof,
                replaces=_is_published(context, shards.work),
            )
        except FileNotFoundError as error:
            if _is_whole(bench, shards):
                raise
            raise TmpFolderLost(str(shards.folder)) from error
        span.append(sum(receipt.nbytes for receipt in uploaded.objects))
    name = shards.work.data_var.name
    files = shards.source.files if shards.healed is None else shards.healed
    return Receipt(
        variable=name,
        objects=uploaded.objects,
        files=files,
        unread=shards.unread,
        healed=shards.healed,
        spans=(*shards.spans, *span),
        token=uploaded.token,
        replicated=replicated,
        epochs=shards.epochs,
    )


# Replicas that failed in this process, by run: their patience is lost once, not for each object.
_left_alone: set[tuple[str, str]] = set()


def _replicate(bench: Bench, context: RunContext, shards: LocalShards) -> dict[str, Uploaded]:
    """Put the objects into every replica that takes them; the others are caught up later."""
    made = {}
    for store in context.replicas if shards.keys else ():
        if (context.run, store.url) in _left_alone:
            continue
        try:
            made[store.url] = store.upload(
                shards.folder,
                shards.keys,
                context.proof,
                replaces=_is_published(context, shards.work),
            )
        except LeaseLost:
            raise
        except Exception as error:
            if not _is_whole(bench, shards):
                raise TmpFolderLost(str(shards.folder)) from error
            _left_alone.add((context.run, store.url))
    return made


def _is_whole(bench: Bench, shards: LocalShards) -> bool:
    """Whether all objects can be read from here: a folder that is being deleted has some."""
    folder = shards.folder
    return bench.space.has(folder) and all((folder / key).exists() for key in shards.keys)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, so that another worker may do better."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
