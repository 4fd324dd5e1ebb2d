"""The second stage of a chain: one variable of one region, from source files to stored objects.

It runs on whatever worker it is put on. Where the source files are not on this worker's disk, or
vanish under it, it downloads them here ("heals"): placement is an optimisation, never correctness.
Idempotent, and safe in several threads of one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.transforms.packing import cannot_be_packed, pack
from gridmill.authoring.transforms.resolution import resolutions_told
from gridmill.model.epochs import noted_stages
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import Canvas, Index, Slab, Values, slabs_of
from gridmill.pipeline.download import as_asked, download
from gridmill.pipeline.faults import is_of_decoders, is_of_the_file
from gridmill.pipeline.shards import ObjectWriter
from gridmill.pipeline.slabs.blame import culprits
from gridmill.pipeline.slabs.held import held_places
from gridmill.pipeline.slabs.keep_published import (
    holes_among,
    is_published,
    keep_published,
    written_region,
)
from gridmill.pipeline.slabs.piece import is_as_it_came, is_gone, read_one, why_withdrawn
from gridmill.pipeline.slabs.resolution import Resolutions
from gridmill.pipeline.slabs.transform import NotTransformed, TransformedSlabs, transforms
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
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.leftovers import naming

__all__ = ["compress", "slabs_for"]


def compress(
    bench: Bench, context: RunContext, work: VariableWork, source: LocalFiles
) -> LocalShards:
    """Read, transform and write one variable of one region to a Zarr store on this worker.

    - source files that are not here are downloaded again;
    - each is read into its place, and compared with it;
    - the author's transformations run in place; source files with which they fail are held;
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
    NotTransformed
        An author's transformation fails whatever source files it gets.
    Exception
        What the author's code raises that says nothing about a file.
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
    chain = _Chain(bench, context, work, source, folder, scratch, may_vanish=healed is None)
    with (
        naming(folder),
        recorded("compress", bench.space.key, bench.worker) as span,
        noted_stages() as epochs,
    ):
        held: dict[int, str] = {}
        made = _make(chain, held)
        while made.held:
            held.update(made.held)
            made = _make(chain, held)
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
class _Chain:
    """What is made of which files, and where: `folder` is for the objects.

    Where files `may_vanish`, one that is not there says nothing about what the provider has: its
    folder is being deleted, as another worker's may be on the same disk.
    """

    bench: Bench
    context: RunContext
    work: VariableWork
    source: LocalFiles
    folder: Path
    scratch: Path
    may_vanish: bool

    @contextmanager
    def canvas(self) -> Iterator[Canvas]:
        """Give an empty canvas, and give back its memory and disk space."""
        work, encoding = self.work, self.work.data_var.encoding
        slabs = slabs_for(work.job, work.data_var, work.shape)
        folder = self.scratch / uuid4().hex
        with Canvas(work.shape, encoding.value_dtype, encoding.value_fill, slabs, folder) as canvas:
            yield canvas
        rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Made:
    """What was written, and by index of the source file what was not, and why.

    Where places are `held`, by a gate or as they cannot be transformed or stored, what was written
    is nothing: it is still to be made without them.
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


def _make(chain: _Chain, held: Mapping[int, str]) -> _Made:
    """Read, transform and write; gates are looked at unless places are held already.

    Raises
    ------
    NotTransformed
        The transformation fails whatever source files it gets.
    """
    try:
        return _make_of(chain, held)
    except NotTransformed as error:
        if chain.bench.raises and error.__cause__ is not None:
            raise error.__cause__ from None
        return _Made((), {}, {}, held=_not_transformed(chain, held, error))


def _make_of(chain: _Chain, held: Mapping[int, str]) -> _Made:
    source, work = chain.source, chain.work
    with chain.canvas() as canvas:
        resolutions = Resolutions(work.shape)
        unread, remarks = _read(chain, canvas, resolutions, held)
        places = {
            index: _place(source.files[index], work.data_var)
            for index in _succeeded(source.files, unread)
            if source.files[index].lies_in(work.job.append_dim, work.offered)
        }
        if not places:
            return _Made((), unread, remarks)
        slabs = TransformedSlabs(canvas, resolutions, chain.context, work)
        found = {} if held else held_places(slabs, source.files, places)
        if found:
            return _Made((), unread, remarks, held=found)
        every = [_place(file, work.data_var) for file in source.files]
        written = _write(chain.folder, slabs, places, every)
        if written.refused:
            return _Made((), unread, remarks, held=written.refused)
        return _Made(written.keys, unread, remarks, written.holes, lost=slabs.lost)


def _not_transformed(
    chain: _Chain, held: Mapping[int, str], error: NotTransformed
) -> dict[int, str]:
    """Say by index of the source file with which of them the transformation fails.

    Raises
    ------
    NotTransformed
        It fails without any.
    """
    files, name = chain.source.files, chain.work.data_var.name
    to_blame = culprits(_succeeded(files, held), partial(_fails, chain, held))
    if not to_blame:
        raise NotTransformed(
            f"{error}; so it does whatever source files it gets: {name} of this region waits, and "
            "readers with it, until the dataset's code is mended"
        ) from error.__cause__
    why = f"the transformation fails with it: {error}".replace(f"{chain.source.folder}/", "")
    return dict.fromkeys(to_blame, why)


def _fails(chain: _Chain, held: Mapping[int, str], some: Sequence[int]) -> bool:
    """Whether the transformation fails with some of the source files, the others left out."""
    work, files = chain.work, chain.source.files
    left_out = {at: "left out" for at in range(len(files)) if at not in some} | dict(held)
    places = {at: _place(files[at], work.data_var) for at in some}
    with chain.canvas() as canvas:
        resolutions = Resolutions(work.shape)
        _read(chain, canvas, resolutions, left_out)
        try:
            for number, values in TransformedSlabs(canvas, resolutions, chain.context, work):
                _as_stored(values, work, canvas, number, places)
        except NotTransformed:
            return True
    return False


def slabs_for(job: RegionJob[Any, Any], var: DataVar, shape: Sequence[int]) -> list[Slab]:
    """Divide what is too large for memory, along dims that no transformation needs whole."""
    needed = job.whole_dims
    if needed is None:
        needed = var.dims if transforms(type(job)) else ()
    whole = [dim in needed or dim == job.append_dim for dim in var.dims]
    itemsize = np.dtype(var.encoding.value_dtype).itemsize
    return slabs_of(shape, var.encoding.chunks, itemsize, whole=whole)


def _read(
    chain: _Chain, canvas: Canvas, resolutions: Resolutions, held: Mapping[int, str]
) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Read every file that arrived and is not held into its place, and compare it with that.

    Gives by index why one was not read, and what is worth knowing of how one was.
    """
    bench, work, source = chain.bench, chain.work, chain.source
    unread: dict[int, str] = {}
    remarks: dict[int, list[str]] = {}
    for index, file in enumerate(source.files):
        if file.is_kept or file.coord.status is not SourceFileStatus.SUCCEEDED:
            continue
        if not file.lies_in(work.job.append_dim, work.offered):
            continue
        left_out = held.get(index) or why_withdrawn(work, file)
        if left_out:
            unread[index] = left_out
            continue
        place = _place(file, work.data_var)
        piece = canvas.room(place)
        try:
            with resolutions_told() as told:
                found = read_one(chain.context, work, file, piece)
        except Exception as error:
            if (chain.may_vanish and is_gone(file, error)) or not bench.space.has(source.folder):
                raise TmpFolderLost(str(source.folder)) from error
            if chain.may_vanish and not is_as_it_came(file):
                raise TmpFolderLost(str(source.folder)) from error
            if not is_of_the_file(error) or (bench.raises and not is_of_decoders(error)):
                raise
            cause = f"{type(error).__name__}: {error}"
            if not is_as_it_came(file):
                cause += "; what lies on the worker's disk is not what arrived"
            # Records outlive workers' folders, and the same fault must read the same in each.
            unread[index] = cause.replace(f"{source.folder}/", "")
            continue
        if found:
            remarks[index] = found
        canvas.put(place, piece)
        if told:
            resolutions.note(place, max(told))
    return unread, remarks


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
    NotTransformed
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
        error = ValueError(cannot_be_packed(values[wrong][0], encoding, name))
        raise NotTransformed(f"ValueError: {error}") from error
    return stored, refused
