"""What stays of the stored values where a run's source files give nothing.

A region is written whole, though readers may see part of it, and though an earlier run may have
made part of it from source files that are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from gridmill.model.region import Region
from gridmill.pipeline.canvas import Canvas, Values
from gridmill.pipeline.values import RunContext, VariableWork
from gridmill.stores.metadata import array_metadata

__all__ = ["is_published", "keep_published", "written_region"]


def keep_published(
    values: Values,
    context: RunContext,
    work: VariableWork,
    canvas: Canvas,
    number: int,
    places: Sequence[tuple[int | slice, ...]],
) -> None:
    """Let stored values stay where this run's source files give nothing, in place.

    Those are what readers see, or what an earlier run made of source files that are kept. Judged
    by provenance, never by NaN.

    Parameters
    ----------
    values
        A slab, cut to the region, as it is stored.
    context, work, canvas
        Of the variable.
    number
        Of the slab.
    places
        Of the source files that gave something.
    """
    region = work.job.region
    inner = region.place_in(work.processing_region)
    stored = region.stop if work.continues else min(region.stop, context.published)
    if stored <= region.start:
        return
    filled = canvas.filled(number, places)
    ours = work.job.provenance(filled, work.data_var)[inner][: stored - region.start]
    if not ours.all():
        there = (slice(region.start, stored), *canvas.slabs[number][1:])
        kept = _stored(context, work, there)
        # An upload whose region was shorter may not reach as far.
        np.copyto(values[: len(kept)], kept, where=~ours[: len(kept)])


def _stored(context: RunContext, work: VariableWork, selection: tuple[slice, ...]) -> Values:
    name = work.data_var.name
    if not work.continues:
        return context.store.read(name, selection)
    metadata = array_metadata(json.loads(context.metadata))[name]
    return context.store.read_uploaded(name, selection, metadata, work.token)


def written_region(work: VariableWork) -> Region | None:
    """Give the positions of the append dim that are written; None for a static variable."""
    return work.job.region if work.job.append_dim in work.data_var.dims else None


def is_published(context: RunContext, work: VariableWork) -> bool:
    """Whether readers may see some of what is written here."""
    region = written_region(work)
    return context.published > (0 if region is None else region.start)
