"""Which source files' places are beyond a gate of their variable, see `gridmill.model.fields`.

The look comes after the author's transformations and before a region is written. Only values that
rest on this run's source files alone are looked at. The position before is what this run makes of
it, or else what is stored: before a region's first position that is what readers saw when the run
began, unless `RegionJob.get_processing_region` has a margin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import nan

import numpy as np

from gridmill.authoring.source_file import known_of
from gridmill.authoring.transforms.packing import pack, unpack
from gridmill.model.fields.gates import why_held
from gridmill.model.fields.summary import FieldSummary
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.canvas import Index, Values
from gridmill.pipeline.slabs.keep_published import written_region
from gridmill.pipeline.slabs.transform import TransformedSlabs
from gridmill.pipeline.values import SourceFile, VariableWork
from gridmill.stores.metadata import array_metadata

__all__ = ["held_places"]


def held_places(
    slabs: TransformedSlabs, files: Sequence[SourceFile], places: Mapping[int, Index]
) -> dict[int, str]:
    """Return the source files whose places a gate holds, and why.

    Parameters
    ----------
    slabs
        The variable's.
    files
        All source files of the variable.
    places
        By index, those that gave this run values.
    """
    work, found = slabs.work, dict[int, str]()
    looked_at = {at: place for at, place in places.items() if not _is_released(work, files[at])}
    if not work.data_var.gates or not looked_at:
        return found
    seen: dict[tuple[int, int], FieldSummary] = {}
    for number, values in slabs:
        part = _Part(slabs, number, values, [files[at] for at in places])
        for index, place in looked_at.items():
            for position, summary in part.summaries(place):
                key = index, position
                seen[key] = seen[key] + summary if key in seen else summary
    for (index, position), summary in sorted(seen.items(), key=lambda item: item[0]):
        why = why_held(work.data_var.gates, summary)
        if why and index not in found:
            found[index] = f"{SourceFileStatus.HELD} {why}{_where(work, files[index], position)}"
    return found


def _is_released(work: VariableWork, file: SourceFile) -> bool:
    """Whether somebody said of this version of a file that it is right."""
    return file.is_told_by(known_of(file.coord, work.released))


def _where(work: VariableWork, file: SourceFile, position: int) -> str:
    """Name a position, if the file fills several."""
    dim = work.job.append_dim
    is_one = dim not in work.data_var.dims or isinstance(file.place.get(dim), int)
    return "" if is_one else f" ({dim} position {work.processing_region.start + position:,})"


class _Part:
    """The part of a variable's fields that is in one slab."""

    def __init__(
        self, slabs: TransformedSlabs, number: int, values: Values, files: Sequence[SourceFile]
    ) -> None:
        self.slabs = slabs
        self.number = number
        var = slabs.work.data_var
        self._encoding = var.encoding
        # As readers get them: where values are packed, what they are rounded to.
        self.values = self._as_read(pack(values, var.encoding)[0]) if self._is_packed else values
        self._ours = slabs.layers.rests_on(number, files)
        self._compares = any(gate.compares for gate in var.gates)
        declared = var.encoding.fill_value
        self._missing = nan if declared is None or self._is_packed else float(declared)
        self._stored: dict[int, Values | None] = {}

    def summaries(self, place: Index) -> Iterator[tuple[int, FieldSummary]]:
        """Yield the region's positions that a place fills, and what is there in this slab."""
        inside = self.slabs.canvas.inside(self.number, place)
        region = written_region(self.slabs.work)
        if inside is None:
            return
        if region is None:
            yield 0, self._summary(inside, None)
            return
        first, *rest = inside
        inner = region.place_in(self.slabs.work.processing_region)
        filled = range(first, first + 1) if isinstance(first, int) else range(first.stop)[first]
        for position in filled:
            if inner.start <= position < inner.stop:
                before = self._before(position, tuple(rest)) if self._compares else None
                yield position, self._summary((position, *rest), before)

    def _summary(self, at: Index, before: Values | None) -> FieldSummary:
        ours, field = self._ours[(*at, ...)], self.values[(*at, ...)]
        known = None if before is None else before[ours]
        return FieldSummary.of(field[ours], known, missing=self._missing)

    def _before(self, position: int, rest: Index) -> Values | None:
        """Return a part of the field before a position; None if nothing of it is known."""
        at = (position - 1, *rest, ...)
        ours = self._ours[at] if position > 0 else np.zeros((), bool)
        if ours.all():
            return self.values[at]
        stored = self._stored_at(position - 1)
        if stored is None and not ours.any():
            return None
        kept = np.array(self._missing) if stored is None else stored[(*rest, ...)]
        return np.where(ours, self.values[at], kept) if position > 0 else kept

    def _stored_at(self, position: int) -> Values | None:
        """Return what is stored at a position of the processing region, or before it."""
        if position not in self._stored:
            self._stored[position] = self._read(position)
        return self._stored[position]

    def _read(self, position: int) -> Values | None:
        context, work = self.slabs.context, self.slabs.work
        name, at = work.data_var.name, work.processing_region.start + position
        where = (slice(at, at + 1), *self.slabs.canvas.slabs[self.number][1:])
        if work.continues and work.job.region.start <= at:
            metadata = array_metadata(json.loads(context.metadata))[name]
            found = context.store.read_uploaded(name, where, metadata, work.token)
        elif 0 <= at < context.published:
            found = context.store.read(name, where)
        else:
            return None
        return self._as_read(found[0]) if len(found) else None

    @property
    def _is_packed(self) -> bool:
        return self._encoding.is_packed

    def _as_read(self, stored: Values) -> Values:
        return unpack(stored, self._encoding) if self._is_packed else stored
