"""The second stage of a chain: one variable of one region, from source files to stored objects.

It runs on whatever worker it is put on. Where the source files are not on this worker's disk, or
vanish under it, it downloads them here ("heals"): placement is an optimisation, never correctness.
Idempotent, and safe in several threads of one process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.authoring.source_file import url_of
from gridmill.authoring.transforms.packing import cannot_be_packed, pack
from gridmill.model.epochs import noted_stages
from gridmill.model.fields.statistics import ValueStatistics
from gridmill.model.urls import mask_url
from gridmill.pipeline.canvas import Canvas, Index, Values
from gridmill.pipeline.download import as_asked, download
from gridmill.pipeline.faults import NotTransformed
from gridmill.pipeline.shards import ObjectWriter
from gridmill.pipeline.slabs.blame import culprits
from gridmill.pipeline.slabs.chain import Chain, places_of, read_files, take
from gridmill.pipeline.slabs.held import held_places
from gridmill.pipeline.slabs.keep_published import (
    holes_among,
    is_published,
    keep_published,
    written_region,
)
from gridmill.pipeline.slabs.layers import Layers
from gridmill.pipeline.slabs.transform import TransformedSlabs
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

__all__ = ["compress"]

# Whose values are tried at all places, where a transformation fails with missing ones: of files
# that do not make it fail themselves, one will be among them.
MOST_STAND_INS = 8


def compress(
    bench: Bench, context: RunContext, work: VariableWork, source: LocalFiles
) -> LocalShards:
    """Read, transform and write one variable of one region to a Zarr store on this worker.

    - source files that are not here are downloaded again;
    - each is read into its place, and compared with it;
    - the author's transformations run in place; source files with which they fail are held;
    - a place beyond a gate of the variable is held: all is reprocessed as if its file could
      not be read, so that nothing rests on it;
    - values are packed where the encoding says so, and what cannot be is a failure to read;
    - where this run has no value, published ones stay;
    - the region is written whole, checked against the whole template's metadata.

    Raises
    ------
    ValueError
        The region splits a stored object.
    LeaseLost
        What is missing here would be reprocessed for a driver that is gone.
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
    chain = Chain(bench, context, work, source, folder, scratch, may_vanish=healed is None)
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
        statistics=made.statistics,
    )


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
    statistics: ValueStatistics | None = None


@dataclass(frozen=True)
class _Written:
    """The keys of objects that were written, and of those that are holes.

    Or, by index of the source file, why its values cannot be stored.
    """

    keys: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    statistics: ValueStatistics | None = None


def _make(chain: Chain, held: Mapping[int, str]) -> _Made:
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


def _make_of(chain: Chain, held: Mapping[int, str]) -> _Made:
    source = chain.source
    with chain.layers() as layers:
        unread, remarks = read_files(chain, layers, held)
        places = places_of(chain, unread)
        if not places:
            return _Made((), unread, remarks)
        slabs = TransformedSlabs(layers, chain.context)
        found = {} if held else held_places(slabs, source.files, places)
        if found:
            return _Made((), unread, remarks, held=found)
        written = _write(chain.folder, slabs, places, source.files)
        if written.refused:
            return _Made((), unread, remarks, held=written.refused)
        return _Made(
            written.keys,
            unread,
            remarks,
            written.holes,
            lost=slabs.lost,
            statistics=written.statistics,
        )


def _not_transformed(
    chain: Chain, held: Mapping[int, str], error: NotTransformed
) -> dict[int, str]:
    """Say by index of the source file with which of them the transformation fails.

    Raises
    ------
    NotTransformed
        It fails without them, too.
    """
    suspects = list(places_of(chain, held))
    to_blame = culprits(suspects, partial(_fails, chain, held))
    if not to_blame:
        bad = _culprits_among_whole(chain, held, suspects)
        rest = [index for index in suspects if index not in (bad or ())]
        if not bad or _fails(chain, held, rest):
            why = f"{error}; {_why_it_waits(chain, bad)}"
            raise NotTransformed(why.replace(f"{chain.source.folder}/", "")) from error.__cause__
        to_blame = bad
    why = f"the transformation fails with it: {error}".replace(f"{chain.source.folder}/", "")
    return dict.fromkeys(to_blame, why)


def _culprits_among_whole(
    chain: Chain, held: Mapping[int, str], suspects: Sequence[int]
) -> tuple[int, ...] | None:
    """Return those to blame where it fails without any: no value is missing while it is tried.

    None if it fails whichever file's values stand at the places of all others.
    """
    step = max(1, len(suspects) // MOST_STAND_INS)
    for one in suspects[::step][:MOST_STAND_INS]:
        fails = partial(_fails, chain, held, stand_in=one)
        if not fails(()):
            return culprits(suspects, fails) if fails(suspects) else ()
    return None


def _why_it_waits(chain: Chain, bad: Sequence[int] | None) -> str:
    """Say what a variable waits for whose transformation fails also without the files to blame."""
    waits = f"{chain.work.data_var.name} of this region waits, and readers with it, until"
    if bad is None:
        return f"it fails with any source files: {waits} the dataset's code is fixed"
    urls = [mask_url(url_of(chain.source.files[index].coord)) for index in bad]
    of_whole = f"; of whole files it fails with {', '.join(urls)}" if urls else ""
    return (
        f"so it does where values are missing, as where a source file is absent{of_whole}: {waits} "
        "the dataset's transformation takes missing values (NaN)"
    )


def _fails(
    chain: Chain, held: Mapping[int, str], some: Sequence[int], *, stand_in: int | None = None
) -> bool:
    """Whether the transformation fails with some of the source files.

    At the places of the others nothing stands, or the values of one that stands in for them.
    """
    work, files = chain.work, chain.source.files
    left_out = {at: "left out" for at in range(len(files)) if at not in some} | dict(held)
    with chain.layers() as layers:
        if stand_in is not None:
            _let_stand_in(chain, layers, stand_in)
        unread, _ = read_files(chain, layers, left_out)
        places = places_of(chain, unread)
        try:
            for number, values in TransformedSlabs(layers, chain.context):
                _as_stored(values, work, layers.canvas, number, places)
        except NotTransformed:
            return True
    return False


def _let_stand_in(chain: Chain, layers: Layers, one: int) -> None:
    """Put one source file's values at every place of the same shape."""
    files = chain.source.files
    for layer in layers.filled_by(files[one]):
        canvas = layer.canvas
        piece = np.empty(canvas.shape_at(layer.place_of(files[one])), canvas.dtype)
        taken = take(replace(chain, work=layer.work), files[one], piece)
        for file in files:
            place = layer.place_of(file)
            if canvas.shape_at(place) == piece.shape and not taken.why_not:
                canvas.put(place, piece)
                taken.tell(layer.resolutions, place)


def _write(
    folder: Path,
    slabs: TransformedSlabs,
    places: Mapping[int, Index],
    every: Sequence[SourceFile],
) -> _Written:
    """Write a variable's region to a local Zarr store, slab by slab.

    Parameters
    ----------
    folder
        The store's.
    slabs
        The values.
    places
        Of the source files that were read, by index.
    every
        All source files.
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
    has_order = work.data_var.encoding.has_order
    statistics, said = ValueStatistics(), _where_said(work, context, [every[at] for at in places])
    for number, values in slabs:
        slab = canvas.slabs[number]
        values, refused = _as_stored(values, work, canvas, number, places)
        if refused:
            return _Written(refused=refused)
        if region is not None:
            read = [every[index] for index in places]
            kept += keep_published(values, context, slabs.layers, number, read, every)
        if has_order:
            statistics += _statistics(values if region is None else values[:said], work)
        writer.write(slab if region is None else (region.slice, *slab[1:]), values)
        slabs.layers.close(number)
    written = writer.keys
    writer.close(context.store.nbytes_in_use(written) if is_published(context, work) else {})
    holes = holes_among(context, work, kept) if kept else ()
    return _Written(written, holes, statistics=statistics if has_order else None)


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


def _statistics(stored: Values, work: VariableWork) -> ValueStatistics:
    """Return the statistics of a slab, as readers get its values."""
    encoding = work.data_var.encoding
    packing = {"scale": encoding.scale, "offset": encoding.offset}
    has_positions = written_region(work) is not None
    return ValueStatistics.of(
        stored, missing=encoding.missing, **packing, has_positions=has_positions
    )


def _where_said(work: VariableWork, context: RunContext, read: Sequence[SourceFile]) -> int | None:
    """Return how many positions of a region have values, where those do not say so; None: all."""
    region, dim = written_region(work), work.job.append_dim
    if region is None or work.continues or work.data_var.encoding.missing is not None:
        return None
    places = (file.place.get(dim) for file in read)
    filled = [region.filled_by(place, work.processing_region).stop for place in places]
    return int(max([0, context.published - region.start, *filled]))
