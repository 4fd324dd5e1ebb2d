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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.transforms.packing import cannot_be_packed, pack
from gridmill.authoring.transforms.resolution import resolutions_told
from gridmill.model.epochs import noted_stages
from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import mask_url
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import Canvas, Index, Slab, Values, slabs_of
from gridmill.pipeline.download import as_asked, download
from gridmill.pipeline.shards import ObjectWriter
from gridmill.pipeline.slabs.held import held_places
from gridmill.pipeline.slabs.keep_published import (
    holes_among,
    is_published,
    keep_published,
    written_region,
)
from gridmill.pipeline.slabs.resolution import Resolutions
from gridmill.pipeline.slabs.transform import TransformedSlabs, transforms
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

__all__ = ["compress", "slabs_for"]

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
    - a place beyond a gate of the variable is held: all is made once more as if its file could
      not be read, so that nothing rests on it;
    - values are packed where the encoding says so, and what cannot be is a failure to read;
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
    read = partial(_read, context, work, source, bench, may_vanish=healed is None)
    with (
        naming(folder),
        recorded("compress", bench.space.key, bench.worker) as span,
        noted_stages() as epochs,
    ):
        held: dict[int, str] = {}
        made = _make(folder, scratch / "all", context, work, source, read, held)
        while made.held:
            held.update(made.held)
            again = scratch / f"without-{len(held)}"
            made = _make(folder, again, context, work, source, read, held)
        span.append(prod(work.shape) * np.dtype(work.data_var.encoding.value_dtype).itemsize)
    bench.space.discard(scratch)
    return LocalShards(
        folder,
        made.keys,
        work,
        source,
        made.unread,
        healed,
        spans=(*spans, *span),
        epochs=epochs,
        remarks=made.remarks,
        holes=made.holes,
        lost=made.lost,
    )


@dataclass(frozen=True)
class _Made:
    """What was written, and by index of the source file what was not, and why.

    Where places are `held`, by a gate or as they cannot be stored, what was written is nothing: it
    is still to be made without them.
    """

    keys: tuple[str, ...]
    unread: Mapping[int, str]
    remarks: Mapping[int, Sequence[str]]
    holes: tuple[str, ...] = ()
    held: Mapping[int, str] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Written:
    """The keys of objects that were written, and of those that are holes.

    Or, by index of the source file, why its values cannot be stored.
    """

    keys: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()
    refused: Mapping[int, str] = field(default_factory=dict)


_Read = Callable[
    [Canvas, Resolutions, Mapping[int, str]], tuple[dict[int, str], dict[int, list[str]]]
]


def _make(
    folder: Path,
    scratch: Path,
    context: RunContext,
    work: VariableWork,
    source: LocalFiles,
    read: _Read,
    held: Mapping[int, str],
) -> _Made:
    """Read, transform and write; gates are looked at unless places are held already."""
    with _canvas(work, scratch) as canvas:
        resolutions = Resolutions(work.shape)
        unread, remarks = read(canvas, resolutions, held)
        places = {
            index: _place(source.files[index], work.data_var)
            for index in _succeeded(source.files, unread)
            if source.files[index].lies_in(work.job.append_dim, work.offered)
        }
        if not places:
            return _Made((), unread, remarks)
        slabs = TransformedSlabs(canvas, resolutions, context, work)
        found = {} if held else held_places(slabs, source.files, places)
        if found:
            return _Made((), unread, remarks, held=found)
        every = [_place(file, work.data_var) for file in source.files]
        written = _write(folder, slabs, places, every)
        if written.refused:
            return _Made((), unread, remarks, held=written.refused)
        return _Made(written.keys, unread, remarks, written.holes, lost=slabs.lost)


def _canvas(work: VariableWork, folder: Path) -> Canvas:
    encoding = work.data_var.encoding
    slabs = slabs_for(work.job, work.data_var, work.shape)
    return Canvas(work.shape, encoding.value_dtype, encoding.value_fill, slabs, folder)


def slabs_for(job: RegionJob[Any, Any], var: DataVar, shape: Sequence[int]) -> list[Slab]:
    """Divide what is too large for memory, along dims that no transformation needs whole."""
    needed = job.whole_dims
    if needed is None:
        needed = var.dims if transforms(type(job)) else ()
    whole = [dim in needed or dim == job.append_dim for dim in var.dims]
    itemsize = np.dtype(var.encoding.value_dtype).itemsize
    return slabs_of(shape, var.encoding.chunks, itemsize, whole=whole)


def _read(
    context: RunContext,
    work: VariableWork,
    source: LocalFiles,
    bench: Bench,
    canvas: Canvas,
    resolutions: Resolutions,
    held: Mapping[int, str],
    *,
    may_vanish: bool,
) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Read every file that arrived and is not held into its place, and compare it with that.

    Gives by index why one was not read, and what is worth knowing of how one was. Where they may
    vanish, a file that is not there says nothing about what the provider has: its folder is
    being deleted, as another worker's may be on the same disk.
    """
    unread: dict[int, str] = {}
    remarks: dict[int, list[str]] = {}
    for index, file in enumerate(source.files):
        if file.is_kept or file.coord.status is not SourceFileStatus.SUCCEEDED:
            continue
        if not file.lies_in(work.job.append_dim, work.offered):
            continue
        left_out = held.get(index) or _why_withdrawn(work, file)
        if left_out:
            unread[index] = left_out
            continue
        place = _place(file, work.data_var)
        piece = canvas.room(place)
        try:
            with resolutions_told() as told:
                found = _read_one(context, work, file, piece)
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
        if told:
            resolutions.note(place, max(told))
    return unread, remarks


def _read_one(
    context: RunContext, work: VariableWork, file: SourceFile, piece: Values
) -> list[str]:
    """Read a file into its place; what is worth knowing of how it was read."""
    with observing(piece.dtype) as seen:
        work.job.read_data_into(file.coord, work.data_var, piece)
    return compare(seen, piece, _promise(context, work, file)) if seen else []


def _why_withdrawn(work: VariableWork, file: SourceFile) -> str:
    """Say why this version of a file is not read; empty if it is."""
    word = work.withdrawn.get(mask_url(file.coord.get_url()))
    is_same = word is not None and word.identity == file.identity
    return f"{SourceFileStatus.WITHDRAWN}: {word.note}" if word is not None and is_same else ""


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


def _place(file: SourceFile, data_var: DataVar) -> Index:
    return tuple(file.place.get(dim, slice(None)) for dim in data_var.dims)


def _succeeded(files: Sequence[SourceFile], unread: Mapping[int, str]) -> list[int]:
    return [
        index
        for index, file in enumerate(files)
        if file.coord.status is SourceFileStatus.SUCCEEDED
        and index not in unread
        and not file.is_kept
    ]


def _write(
    folder: Path,
    slabs: TransformedSlabs,
    places: Mapping[int, Index],
    every: Sequence[Index],
) -> _Written:
    """Write a variable's region to a local Zarr store, slab by slab.

    Parameters
    ----------
    folder
        The store's.
    slabs
        The values.
    places, every
        Of the source files that were read, by index, and of all.
    """
    context, work, canvas = slabs.context, slabs.work, slabs.canvas
    name = work.data_var.name
    (folder / "zarr.json").write_bytes(context.metadata)
    metadata = array_metadata(json.loads(context.metadata))[name]
    region = written_region(work)
    if region is not None:
        length = work.data_var.object_length(work.job.append_dim)
        region.check_aligned(length, metadata["shape"][0])
    writer = ObjectWriter(folder, name, metadata)
    kept: list[str] = []
    for number, values in slabs:
        slab = canvas.slabs[number]
        values, refused = _as_stored(values, work, canvas, number, places)
        if refused:
            return _Written(refused=refused)
        if region is not None:
            read = list(places.values())
            kept += keep_published(values, context, work, canvas, number, read, every)
        writer.write(slab if region is None else (region.slice, *slab[1:]), values)
        canvas.close(number)
    written = writer.keys
    writer.close(context.store.nbytes_in_use(written) if is_published(context, work) else {})
    return _Written(written, holes_among(context, work, kept) if kept else ())


def _as_stored(
    values: Values, work: VariableWork, canvas: Canvas, number: int, places: Mapping[int, Index]
) -> tuple[Values, dict[int, str]]:
    """Cut a slab to the region and pack it; by index, why a source file's values cannot be.

    Raises
    ------
    ValueError
        A value that cannot be packed lies where no source file is.
    """
    region, encoding, name = written_region(work), work.data_var.encoding, work.data_var.name
    inner = slice(None) if region is None else region.place_in(work.processing_region)
    at: Any = (inner, ...) if values.ndim else ...
    values = values[at]
    if not encoding.is_packed:
        return values, {}
    stored, wrong = pack(values, encoding)
    if wrong is None:
        return stored, {}
    filled = {index: canvas.filled(number, [place])[at] & wrong for index, place in places.items()}
    refused = {
        index: f"ValueError: {cannot_be_packed(values[there][0], encoding, name)}"
        for index, there in filled.items()
        if there.any()
    }
    if not refused:  # a transformation made it of others
        raise ValueError(cannot_be_packed(values[wrong][0], encoding, name))
    return stored, refused
