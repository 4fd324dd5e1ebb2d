"""Count, mean, deviation and range of an archive's values, from what its records say of regions.

Compress looks at what it stores anyway, and each region's record keeps what it found, so that a
region that is reprocessed counts as it is then. Nothing is read here but the records, unless values
of regions are asked for that no record speaks of: those that an earlier gridmill made, or that
readers see in part.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import product
from operator import add
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.model.fields.statistics import ValueStatistics, noted, told
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.lookahead import lookahead
from gridmill.stores.state.leases import LeaseHeld

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["ArchiveStatistics", "VariableStatistics", "read_statistics"]

log = logging.getLogger(__name__)

# Variables of regions that were read and are not in the records yet: a death costs so many.
MOST_UNKEPT = 500


@dataclass(frozen=True)
class VariableStatistics:
    """What the values of one variable are like.

    Parameters
    ----------
    name
        The variable's.
    statistics
        Of all that readers see of it; None where not every region is known.
    lacking
        Labels of the first position of regions of which nothing is known.
    """

    name: str
    statistics: ValueStatistics | None
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArchiveStatistics:
    """What the values of an archive are like.

    Parameters
    ----------
    dataset_id, store
        Of which archive.
    positions, end
        How many positions readers see, and the last label.
    variables
        Its variables of numbers, as declared.
    """

    dataset_id: str
    store: str
    positions: int
    end: str | None
    variables: tuple[VariableStatistics, ...]


def read_statistics(
    dataset: DynamicalDataset,
    variables: Sequence[str] | None = None,
    *,
    reads: bool = False,
    now: Any = None,
) -> ArchiveStatistics:
    """Return the statistics of what readers see.

    Parameters
    ----------
    dataset
        With its archive.
    variables
        Their names; None means all.
    reads
        Whether values are read from the archive where no record speaks of them. What is found of
        whole regions is kept in their records.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive, or no such variable.

    Notes
    -----
    Where a run works on the archive, what was read is not kept, which a warning says.
    """
    check_exists(dataset)
    archive = dataset.archive(now, config=dataset.held(now))
    length = archive.look() or 0
    chosen = [v for v in _chosen(archive, variables) if v.name in archive.stored_arrays()]
    found = _Found(archive, length, reads)
    for record in _records(archive):
        for var in chosen:
            if archive.config.varies(var) is not record.region.is_static:
                found.take(var, record)
        if len(found.kept) >= MOST_UNKEPT:
            _keep(dataset, found.kept, now)
    _keep(dataset, found.kept, now)
    return ArchiveStatistics(
        archive.config.dataset_id,
        mask_url(archive.store.url),
        length,
        str(archive.index[length - 1]) if length else None,
        tuple(found.of(var) for var in chosen),
    )


def _chosen(archive: Archive, names: Sequence[str] | None) -> list[DataVar]:
    every = {v.name: v for v in archive.config.data_vars if v.encoding.has_order}
    if names is None:
        return list(every.values())
    if unknown := [name for name in names if name not in every]:
        raise ValueError(
            f"{archive.config.dataset_id} has no variable of numbers named {', '.join(unknown)}, "
            f"but {', '.join(every)}"
        )
    return [every[name] for name in names]


def _records(archive: Archive) -> Iterator[ProgressRecord]:
    """Yield the records of all that readers see; an empty one where a region has none."""
    static = [Region.STATIC] if archive.static else []
    regions = [*static, *archive.visible_regions()]
    tracker, dataset_id = archive.store.tracker, archive.config.dataset_id
    records = lookahead(tracker.read, regions, tracker.objects.at_once)
    for region, record in zip(regions, records, strict=True):
        yield record or ProgressRecord(dataset_id=dataset_id, start=region.start, stop=region.stop)


@dataclass
class _Found:
    """What was found until now, by variable."""

    archive: Archive
    length: int
    reads: bool
    sums: dict[str, ValueStatistics] = field(default_factory=dict)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    kept: list[tuple[Region, str, list[Any]]] = field(default_factory=list)

    def of(self, var: DataVar) -> VariableStatistics:
        """Return what is known of a variable."""
        lacking = tuple(self.lacking.get(var.name, ()))
        known = None if lacking else self.sums.get(var.name, ValueStatistics())
        return VariableStatistics(var.name, known, lacking)

    def take(self, var: DataVar, record: ProgressRecord) -> None:
        """Add what is known of a variable in a region."""
        variable = record.variables.get(var.name)
        if variable is not None and variable.state == "absent":
            return
        known = None if variable is None else told(variable.statistics, variable.objects)
        if known is None or (not record.region.is_static and self._goes_beyond(known, record)):
            if not self.reads:
                label = record.region.label(self.archive.index)
                self.lacking.setdefault(var.name, []).append(label)
                return
            known = self._read(var, record, variable)
        self.sums[var.name] = self.sums.get(var.name, ValueStatistics()) + known

    def _goes_beyond(self, known: ValueStatistics, record: ProgressRecord) -> bool:
        """Whether there are values that readers do not see yet."""
        return record.start + known.stop > self.length

    def _read(
        self, var: DataVar, record: ProgressRecord, variable: VariableRecord | None
    ) -> ValueStatistics:
        """Read a variable's values of a region as far as readers see them."""
        spans = [(0, length) for length in self.archive.stored_arrays()[var.name]["shape"]]
        region = record.region
        if not region.is_static:
            spans[0] = (region.start, min(region.stop, self.length))
        parts = (self._part(var, at, region) for at in _objects(spans, var.encoding.object_shape))
        found = reduce(add, parts, ValueStatistics())
        if variable is not None and (region.is_static or region.stop <= self.length):
            told_of = noted(found, variable.objects)
            if told_of is not None:
                self.kept.append((region, var.name, told_of))
        return found

    def _part(self, var: DataVar, at: tuple[slice, ...], region: Region) -> ValueStatistics:
        encoding = var.encoding
        found = ValueStatistics.of(
            self.archive.store.read(var.name, at),
            missing=encoding.missing,
            scale=encoding.scale,
            offset=encoding.offset,
            has_positions=not region.is_static,
        )
        behind = 0 if region.is_static else at[0].start - region.start
        return replace(found, stop=behind + found.stop if found.stop else 0)


def _objects(spans: Sequence[tuple[int, int]], sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Divide a part of an array as it is stored, so that each object is read once."""
    along = [
        [slice(max(at, start), min(at + n, stop)) for at in range(start - start % n, stop, n)]
        for (start, stop), n in zip(spans, sizes, strict=True)
    ]
    yield from product(*along)


def _keep(dataset: DynamicalDataset, found: list[tuple[Region, str, list[Any]]], now: Any) -> None:
    """Keep what was read in the records, and forget it here."""
    by_region: dict[Region, dict[str, list[Any]]] = {}
    for region, name, statistics in found:
        by_region.setdefault(region, {})[name] = statistics
    found.clear()
    if not by_region:
        return
    try:
        with by_hand(dataset, "statistics", now=now) as hand:
            for region, of in by_region.items():
                _keep_in_record(hand.archive, region, of)
            many = count_of(len(by_region), "region")
            hand.report.notes.append(f"statistics of {many} kept in their records")
    except LeaseHeld as held:
        log.warning("statistics of %d regions are not kept: %s", len(by_region), held)


def _keep_in_record(archive: Archive, region: Region, found: Mapping[str, list[Any]]) -> None:
    """Keep statistics where the record still speaks of the objects that were read."""
    tracker = archive.store.tracker
    record = tracker.read(region)
    if record is None:
        return
    variables = dict(record.variables)
    for name, kept in found.items():
        variable = variables.get(name)
        if variable is not None and told(kept, variable.objects) is not None:
            variables[name] = replace(variable, statistics=kept)
    tracker.write(replace(record, variables=variables))
