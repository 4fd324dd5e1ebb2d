"""The second stage of a chain: one variable of one region, from source files to stored objects.

It runs on whatever worker it is put on. Where the source files are not on this worker's disk, or
vanish under it, it downloads them here ("heals"): placement is an optimisation, never correctness.
Idempotent, and safe in several threads of one process.
"""

from __future__ import annotations

import errno
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.model.epochs import noted_stages
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import Canvas, Slab, Values, slabs_of
from gridmill.pipeline.download import as_asked, download
from gridmill.pipeline.keep_published import (
    holes_among,
    is_published,
    keep_published,
    written_region,
)
from gridmill.pipeline.shards import ObjectWriter
from gridmill.pipeline.timing import recorded
from gridmill.pipeline.values import (
    Bench,
    LocalFiles,
    LocalShards,
    RunContext,
    SourceFile,
    VariableWork,
)
from gridmill.pipeline.workspace import TmpFolderLost
from gridmill.sources.evidence.compare import compare
from gridmill.sources.evidence.expected import ExpectedAxis, Promise
from gridmill.sources.evidence.observed import observing
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.leftovers import naming

__all__ = ["compress", "slabs_for", "takes_data_array", "transforms"]

# What no other version of a file mends: the author did not write it, or it goes round in circles.
OF_THE_CODE = (NotImplementedError, RecursionError)
# What decoders raise for a file that they cannot read; anything else is a mistake in a reader.
OF_DECODERS = (ValueError, OSError, RuntimeError, EOFError, zlib.error, struct.error)
# What says something about the worker, not about the file that it reads: taken for the file's
# fault, a full disk would publish a good file's place as missing.
OF_THE_WORKER = {
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
}


def compress(
    bench: Bench, context: RunContext, work: VariableWork, source: LocalFiles
) -> LocalShards:
    """Read, transform and write one variable of one region to a Zarr store on this worker.

    - source files that are not here are downloaded again;
    - each is read into its place, and compared with it;
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
        What an author's transformation raises, or a reader that says nothing about the file.
    """
    if bench.space.has(source.folder):
        try:
            return _compress_here(bench, context, work, source, None)
        except TmpFolderLost:
            pass
    context.proof.check()  # not for a driver that is gone
    here = download(bench, source.job, as_asked(source.files))
    try:
        return _compress_here(bench, context, work, here, here.files)
    finally:
        bench.space.discard(here.folder)


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
        naming(folder),
        recorded("compress", bench.space.key, bench.worker) as span,
        _canvas(work, scratch / "slabs") as canvas,
        noted_stages() as epochs,
    ):
        unread, remarks = _read(canvas, context, work, source, bench, may_vanish=healed is None)
        succeeded = _succeeded(source.files, unread)
        keys: tuple[str, ...] = ()
        holes: tuple[str, ...] = ()
        if succeeded:
            places = [_place(file, work.data_var) for file in succeeded]
            every = [_place(file, work.data_var) for file in source.files]
            keys, holes = _write(folder, context, work, canvas, places, every)
        span.append(prod(work.shape) * canvas.dtype.itemsize)
    bench.space.discard(scratch)
    return LocalShards(
        folder,
        keys,
        work,
        source,
        unread,
        healed,
        spans=(*spans, *span),
        epochs=epochs,
        remarks=remarks,
        holes=holes,
    )


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
    canvas: Canvas,
    context: RunContext,
    work: VariableWork,
    source: LocalFiles,
    bench: Bench,
    *,
    may_vanish: bool,
) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Read every file that arrived into its place, and compare it with that.

    Gives by index why one could not be read, and what is worth knowing of how one was. Where they
    may vanish, a file that is not there says nothing about what the provider has: its folder is
    being deleted, as another worker's may be on the same disk.
    """
    unread: dict[int, str] = {}
    remarks: dict[int, list[str]] = {}
    for index, file in enumerate(source.files):
        if file.is_kept or file.coord.status is not SourceFileStatus.SUCCEEDED:
            continue
        place = _place(file, work.data_var)
        piece = canvas.room(place)
        try:
            with observing() as seen:
                work.job.read_data_into(file.coord, work.data_var, piece)
            found = compare(seen, piece, _promise(context, work, file)) if seen else []
        except Exception as error:
            # Decoders raise anything for a damaged file, and what a provider renamed is a KeyError.
            if (may_vanish and _is_gone(file, error)) or not bench.space.has(source.folder):
                raise TmpFolderLost(str(source.folder)) from error
            if _is_of_the_worker(error) or isinstance(error, OF_THE_CODE):
                raise
            if bench.raises and not isinstance(error, OF_DECODERS):
                raise
            cause = f"{type(error).__name__}: {error}"
            # Records outlive workers' folders, and the same fault must read the same in each.
            unread[index] = cause.replace(f"{source.folder}/", "")
            continue
        if found:
            remarks[index] = found
        canvas.put(place, piece)
    return unread, remarks


def _promise(context: RunContext, work: VariableWork, file: SourceFile) -> Promise:
    """Give what a source file should hold of a variable, by its place."""
    job, var = work.job, work.data_var
    known = dict(context.axes)
    if work.times is not None:
        known[job.append_dim] = work.times
    unknown = ExpectedAxis(labels=np.array([], "U1"))
    return Promise(
        axes={
            dim: known.get(dim, unknown).at(file.place.get(dim, slice(None))) for dim in var.dims
        },
        append_dim=job.append_dim,
        units=var.attrs.get("units"),
        unchecked=frozenset(job.unchecked),
    )


def _is_of_the_worker(error: Exception) -> bool:
    is_of_system = isinstance(error, OSError) and error.errno in OF_THE_WORKER
    return is_of_system or isinstance(error, MemoryError)


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
    every: Sequence[tuple[int | slice, ...]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write a variable's region to a local Zarr store, slab by slab.

    Returns
    -------
    tuple of str, tuple of str
        The keys of its objects, and of those of them that are holes.
    """
    name = work.data_var.name
    (folder / "zarr.json").write_bytes(context.metadata)
    metadata = array_metadata(json.loads(context.metadata))[name]
    region = written_region(work)
    if region is not None:
        length = work.data_var.object_length(work.job.append_dim)
        region.check_aligned(length, metadata["shape"][0])
    writer = ObjectWriter(folder, name, metadata)
    kept: list[str] = []
    for number, slab in enumerate(canvas.slabs):
        values = canvas.values(number)
        _transform_inplace(values, context, work, slab)
        if region is not None:
            values, keys = keep_published(values, context, work, canvas, number, places, every)
            kept += keys
        writer.write(slab if region is None else (region.slice, *slab[1:]), values)
        canvas.close(number)
    written = writer.keys
    writer.close(context.store.nbytes_in_use(written) if is_published(context, work) else {})
    return written, holes_among(context, work, kept) if kept else ()
