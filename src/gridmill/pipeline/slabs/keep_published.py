"""What stays of the stored values where a run's source files give nothing.

A region is written whole, though readers may see part of it, and though an earlier run may have
made part of it from source files that are kept. Where the stored object itself is gone, nothing
can stay: that is a hole, which is reported and not covered.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from gridmill.model.region import Region
from gridmill.pipeline.canvas import Slab, Values
from gridmill.pipeline.slabs.layers import Layers
from gridmill.pipeline.values import RunContext, SourceFile, VariableWork
from gridmill.stores.metadata import array_metadata

__all__ = ["holes_among", "is_published", "keep_published", "written_region"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def keep_published(
    values: Values,
    context: RunContext,
    layers: Layers,
    number: int,
    files: Sequence[SourceFile],
    every: Sequence[SourceFile],
) -> list[str]:
    """Let stored values stay where this run's source files give nothing, in place.

    Those are what readers see, or what an earlier run made of source files that are kept. Judged
    by provenance, never by NaN.

    Parameters
    ----------
    values
        A slab, cut to the region, as it is stored.
    context, layers
        Of the variable.
    number
        Of the slab.
    files
        The source files that gave something.
    every
        All source files.

    Returns
    -------
    list of str
        The keys of the objects of which published values stay that a source file should give.
    """
    work, canvas = layers.work, layers.canvas
    region = work.job.region
    inner = region.place_in(work.processing_region)
    stored = region.stop if work.continues else min(region.stop, context.published)
    if stored <= region.start:
        return []

    def made_of(files: Sequence[SourceFile]) -> Mask:
        return layers.rests_on(number, files)[inner][: stored - region.start]

    ours = made_of(files)
    if ours.all():
        return []
    there = (slice(region.start, stored), *canvas.slabs[number][1:])
    kept = _stored(context, work, there)
    # An upload whose region was shorter may not reach as far.
    np.copyto(values[: len(kept)], kept, where=~ours[: len(kept)])
    if work.continues:  # all of its objects were found
        return []
    return list(_keys_within(work, there, made_of(every) & ~ours))


def holes_among(context: RunContext, work: VariableWork, keys: Collection[str]) -> tuple[str, ...]:
    """Return those objects of which no published value could stay: the store has them no more."""
    found = context.store.published_nbytes(sorted(set(keys)))
    return tuple(sorted(key for key in set(keys) if key not in found or key in work.holes))


def _keys_within(work: VariableWork, at: Slab, mask: Mask) -> Iterator[str]:
    """Yield the keys of the objects in which a mask over a slab of the array is true."""
    name, lengths = work.data_var.name, work.data_var.encoding.object_shape
    numbers = [
        range(part.start // n, -(-part.stop // n)) for part, n in zip(at, lengths, strict=True)
    ]
    for place in product(*numbers):
        cut = tuple(
            slice(max(number * n - part.start, 0), (number + 1) * n - part.start)
            for number, n, part in zip(place, lengths, at, strict=True)
        )
        if mask[cut].any():
            yield "/".join([name, "c", *map(str, place)])


def _stored(context: RunContext, work: VariableWork, selection: tuple[slice, ...]) -> Values:
    name = work.data_var.name
    if not work.continues:
        return context.store.read(name, selection)
    metadata = array_metadata(json.loads(context.metadata))[name]
    return context.store.read_uploaded(name, selection, metadata, work.token)


def written_region(work: VariableWork) -> Region | None:
    """Return the positions of the append dim that are written; None for a static variable."""
    return work.job.region if work.job.append_dim in work.data_var.dims else None


def is_published(context: RunContext, work: VariableWork) -> bool:
    """Whether readers may see some of what is written here."""
    region = written_region(work)
    return context.published > (0 if region is None else region.start)
