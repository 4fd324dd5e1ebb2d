"""How much of each position arrived, as a coordinate that readers see.

The values are what the progress records say, and follow the data: a region's are made once every
declared variable of it is recorded, and are put after its objects (on Icechunk in the commit that
shows them). Until then the published values stay, which are true: a run never takes a published
value away. What changes is made known beside the records before a record changes, and forgotten
after the coordinate is published, so that the next run corrects what a run that died left behind.

See Also
--------
gridmill.model.variables.Completeness : what authors declare, and what the values mean.
gridmill.validation.checks.gaps : lists what is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord, SourceFileStatus
from gridmill.model.variables import Completeness, DataVar
from gridmill.pipeline.stages import SourceFile
from gridmill.planning.footprint import Footprint
from gridmill.planning.prepare import nothing_missing, prepare_region
from gridmill.publishing.extent import Extent
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import CoordinateValues, FinalStore
from gridmill.stores.leases import current_claims, is_alive
from gridmill.stores.records import notice_key, parse_notice
from gridmill.stores.zarr_store import joined, set_values

__all__ = ["CompletenessUpkeep", "recorded_completeness", "write_published"]

Counts = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Shares = np.ndarray[Any, np.dtype[np.float32]]


def recorded_completeness(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    completeness: Completeness,
    metadata: Mapping[str, Any],
) -> Shares:
    """Give the share of what is expected of a region that its record says has arrived.

    Parameters
    ----------
    job
        The region job with every declared variable along the append dim.
    record
        What is known of the region.
    completeness
        The coordinate.
    metadata
        By variable, its array metadata in the template.

    Returns
    -------
    ndarray
        float32 over the region and the coordinate's other dims: of the places that the source
        files fill, each counted once for each variable, the share that rests on files which were
        read. 0 where nothing is expected.
    """
    prepared = prepare_region(job, None, metadata, nothing_missing)
    dims = completeness.own_dims
    length = job.region.stop - job.region.start
    shape = (length, *(prepared.sizes[dim] for dim in dims[1:]))
    expected, arrived = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for group in prepared.groups:
        files = _Files(job, group.files, prepared.sizes)
        for var in (var for var in group.variables if not job.is_over(var)):
            lacking = files.lacking(record, var.name)
            whole = files.count(var, frozenset(), dims)
            expected += whole
            arrived += files.count(var, lacking, dims) if lacking else whole
    return np.divide(
        arrived, expected, out=np.zeros(shape, np.float32), where=expected > 0, dtype=np.float32
    )


class _Files:
    """The source files of a group of variables, and which places of a region rest on them."""

    def __init__(
        self, job: RegionJob[Any, Any], files: Sequence[SourceFile], sizes: Mapping[str, int]
    ) -> None:
        self.job = job
        self.files = files
        self.sizes = sizes
        self.urls = [mask_url(file.coord.get_url()) for file in files]
        # Variables of the same dims mostly lack the same files.
        self._footprints: dict[tuple[str, ...], Footprint] = {}
        self._filled: dict[tuple[tuple[str, ...], frozenset[int]], Mask] = {}

    def lacking(self, record: ProgressRecord, name: str) -> frozenset[int]:
        """Find those files that the record does not say were read for a variable."""
        fills = record.fills(name)
        if fills is None:
            return frozenset(range(len(self.files)))
        outcomes: dict[str, deque[bool]] = {}
        for file, fill in zip(record.groups[record.variables[name].group], fills, strict=True):
            is_read = fill.status is SourceFileStatus.SUCCEEDED
            outcomes.setdefault(file.url, deque()).append(is_read)
        # One URL may be that of several places, in the same order in each list.
        known = (outcomes.get(url) for url in self.urls)
        return frozenset(at for at, of in enumerate(known) if not (of and of.popleft()))

    def count(self, var: DataVar, lacking: frozenset[int], dims: Sequence[str]) -> Counts:
        """Count the places of a variable that rest on the other files alone, along `dims`."""
        job, region = self.job, self.job.region
        margin = region.start - job.processing_region().start
        mask = self._mask(var, lacking)[margin : margin + region.stop - region.start]
        mask[max(0, job.end_of(var.name) - region.start) :] = False
        return _counted(mask, var.dims, dims)

    def _mask(self, var: DataVar, lacking: frozenset[int]) -> Mask:
        footprint = self._footprint(var)
        # What mixes along dims that no file divides takes too much memory: all of it, or nothing.
        if footprint.is_large:
            lacking = frozenset(range(len(self.files))) if lacking else lacking
            return Footprint(self.job, var, self.files, self.sizes, ()).filled(self._but(lacking))
        if (var.dims, lacking) not in self._filled:
            self._filled[var.dims, lacking] = footprint.filled(self._but(lacking))
        filled = self._filled[var.dims, lacking].copy()
        return self.job.for_worker((var,)).provenance(filled, var)

    def _footprint(self, var: DataVar) -> Footprint:
        if var.dims not in self._footprints:
            mixes = type(self.job).provenance is not RegionJob.provenance
            whole = var.dims if self.job.whole_dims is None else self.job.whole_dims
            whole = whole if mixes else ()
            self._footprints[var.dims] = Footprint(self.job, var, self.files, self.sizes, whole)
        return self._footprints[var.dims]

    def _but(self, lacking: frozenset[int]) -> list[int]:
        return [at for at in range(len(self.files)) if at not in lacking]


def _counted(mask: Mask, own: Sequence[str], dims: Sequence[str]) -> Counts:
    """Sum a mask along those of its own dims that are not among `dims`, in the order of `dims`."""
    counts = mask.sum(tuple(n for n, dim in enumerate(own) if dim not in dims), dtype=np.int32)
    left = [dim for dim in own if dim in dims]
    counts = counts.transpose([left.index(dim) for dim in dims if dim in left])
    return np.expand_dims(counts, [n for n, dim in enumerate(dims) if dim not in left])


def write_published(archive: Archive, store: FinalStore, folder: Path, length: int) -> None:
    """Write the values that readers of a store see of `length` positions into a local store."""
    declared = archive.config.completeness
    if declared is None or not length:
        return
    whole = tuple(slice(0, archive.template_ds.sizes[dim]) for dim in declared.own_dims)
    kept = store.read(declared.name, (slice(0, length), *whole[1:]))
    set_values(folder, CoordinateValues(declared.name, 0, kept))


class CompletenessUpkeep:
    """Keeps the completeness coordinate of one store, during one run, at what its records say.

    Does nothing for a dataset that declares none.

    Parameters
    ----------
    archive
        What the store holds, or that of which it is a replica.
    extent
        Judges which regions are whole.
    store
        The store.
    note
        Called with the record of each region whose values are about to be shown: what it brings
        must become visible with them.
    """

    def __init__(
        self,
        archive: Archive,
        extent: Extent,
        store: FinalStore,
        note: Callable[[ProgressRecord], None] = lambda record: None,
    ) -> None:
        self.archive = archive
        self.extent = extent
        self.store = store
        self.note = note
        # By region's start, the notices which say that the coordinate may be behind.
        self._behind: dict[int, set[str]] = {}
        # Of regions that are visible in part, what was shown: the record and up to where.
        self._shown: dict[int, tuple[ProgressRecord, int]] = {}
        self._next: dict[int, tuple[ProgressRecord, int] | None] = {}
        self._settled: set[str] = set()
        self._knows_others = False

    @property
    def declared(self) -> Completeness | None:
        """The coordinate."""
        return self.archive.config.completeness

    def announce(self, region: slice, run: str) -> None:
        """Say that the record of a region is about to change; to be called before it does."""
        if self.declared is None or region.start == region.stop:
            return
        key, before = notice_key(region, run), self._behind.get(region.start, set())
        if key not in before:
            self.store.tracker.write_notice(key)
            self._behind[region.start] = {key}
            self._settled = (self._settled | before) - {key}

    def learn(self, run: str) -> None:
        """Find out, once, what runs that died left behind."""
        if self.declared is None or self._knows_others:
            return
        self._knows_others = True
        state = self.archive.store.state
        notices = self.store.tracker.notices()
        others = [claim for claim in (current_claims(state) if notices else ()) if claim.run != run]
        # Before the records are read: what is not at work now will not change them.
        at_work = {claim.run for claim in others if is_alive(state, claim)}
        for key in notices:
            start, owner = parse_notice(key)
            if notice_key(slice(start, start), run) not in self._behind.get(start, ()):
                if owner not in at_work:
                    self._behind.setdefault(start, set()).add(key)
            elif owner != run:
                self._settled.add(key)  # our own says the same

    def changes(self, visible: int, length: int) -> list[CoordinateValues]:
        """Give the values that are to be shown with `length` positions, after `visible`.

        Those of regions that are behind or grow, and of which every variable is recorded.
        """
        if self.declared is None:
            return []
        self._next = {}
        starts = {start for start in self._behind if start < length}
        found: list[CoordinateValues] = []
        for start in sorted(starts | set(self._starts(visible, length))):
            record = self.store.tracker.read(self.archive.region_at(start))
            if record is None or not self.extent.is_whole(record):
                continue
            if self._shown.get(start) != (record, min(record.stop, length)):
                found += self.take(record, length)
                self.note(record)
        return found

    def take(self, record: ProgressRecord, length: int) -> list[CoordinateValues]:
        """Give the values of one region up to `length` positions, to be shown next."""
        if self.declared is None:
            return []
        is_all = self.archive.region_at(record.start).stop <= length
        self._next[record.start] = None if is_all else (record, min(record.stop, length))
        return [self._values(record, length)]

    def write_recorded(self, folder: Path, length: int) -> None:
        """Write all values up to `length` positions, as recorded, into a local store's array.

        0 where nothing is recorded, and where what is recorded may not be visible yet.
        """
        if self.declared is None or not length:
            return
        found = []
        for start in self._starts(0, length):
            region = self.archive.region_at(start)
            is_hidden = self.store.stages and start in self._behind
            record = None if is_hidden else self.store.tracker.read(region)
            found.append(self._values(record or self._nothing(region), length))
        for part in joined(found):
            set_values(folder, part)

    def note_shown(self) -> None:
        """Note that readers see what `changes` and `take` gave."""
        for start, state in self._next.items():
            if state is None:
                self._settled |= self._behind.pop(start, set())
                self._shown.pop(start, None)
            else:
                self._shown[start] = state
        self._next = {}

    def settle(self) -> None:
        """Withdraw the notices of what is not behind any more."""
        settled, self._settled = self._settled, set()
        if settled:
            self.store.tracker.delete_notices(settled)

    def _values(self, record: ProgressRecord, length: int) -> CoordinateValues:
        assert self.declared is not None
        job = self.archive.job(slice(record.start, min(record.stop, len(self.archive.index))))
        shares = recorded_completeness(job, record, self.declared, self.archive.arrays)
        return CoordinateValues(self.declared.name, record.start, shares[: length - record.start])

    def _nothing(self, region: slice) -> ProgressRecord:
        dataset_id = self.archive.config.dataset_id
        return ProgressRecord(dataset_id=dataset_id, start=region.start, stop=region.stop)

    def _starts(self, first: int, stop: int) -> Iterator[int]:
        """Yield where the regions begin that touch these positions."""
        length = self.archive.config.region_length
        return iter(range(first // length * length, stop, length) if first < stop else ())
