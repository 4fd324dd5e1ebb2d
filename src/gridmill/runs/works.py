"""What workers need for a region's variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.authoring.locate import processing_region
from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord
from gridmill.pipeline.slabs.transform import takes_data_array
from gridmill.pipeline.values import VariableWork
from gridmill.planning.prepare import PreparedGroup
from gridmill.planning.source_files.offered import offered_in
from gridmill.planning.source_files.outcomes import released_files, withdrawn_files
from gridmill.runs.in_flight import RegionInFlight
from gridmill.runs.workplaces.workplace import GroupWork
from gridmill.sources.evidence.expected import ExpectedAxis, expected_axes, expected_times

__all__ = ["Works"]


class Works:
    """Says what to do of regions, as workers get it.

    Parameters
    ----------
    archive
        With its template.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def to_do(self, region: RegionInFlight) -> list[GroupWork]:
        """Give what of a region is not done yet."""
        groups = enumerate(region.outcome.prepared.groups)
        return [self._work(region, at, group, group.todo) for at, group in groups if group.todo]

    def once_more(self, region: RegionInFlight, group: int, names: Iterable[str]) -> GroupWork:
        """Give variables of a group for another attempt."""
        return self._work(region, group, region.outcome.prepared.groups[group], names)

    def _work(
        self, region: RegionInFlight, index: int, group: PreparedGroup, names: Iterable[str]
    ) -> GroupWork:
        job, sizes = region.job, region.outcome.prepared.sizes
        coords = self.coords(along=True, of=job) if takes_data_array(type(job)) else None
        chosen = set(names)
        wanted = [var for var in group.variables if var.name in chosen]
        record = region.outcome.prepared.record
        times = None if job.is_static else self._times(processing_region(job))
        works = {
            var.name: VariableWork(
                job=job.for_worker((var,)),
                processing_region=processing_region(job),
                sizes={dim: sizes[dim] for dim in var.dims},
                coords=coords,
                continues=bool(group.kept),
                token=record.variables[var.name].token if record and group.kept else None,
                times=times,
                released=released_files(record, var.name),
                holes=_holes(record, var.name),
                withdrawn=withdrawn_files(record, var.name),
                offered=offered_in(job, var),
            )
            for var in wanted
        }
        return GroupWork(index, group.files_to_process, works)

    @cached_property
    def axes(self) -> Mapping[str, ExpectedAxis]:
        """The template's labels without the append dim."""
        return expected_axes(self.archive.template_ds, self.archive.append_dim)

    def _times(self, positions: slice) -> ExpectedAxis:
        archive = self.archive
        frequency = archive.config.append_dim_frequency
        return expected_times(archive.template_ds, archive.append_dim, positions, frequency)

    def coords(self, *, along: bool, of: RegionJob[Any, Any] | None = None) -> Any:
        """Give the coordinates with the append dim, or those without it."""
        ds = self.archive.template_ds if of is None else of.processing_region_ds()
        dim = self.archive.append_dim
        names = [
            name
            for name, coord in ds.coords.items()
            if (dim in coord.dims) == along and not self.archive.speaks_of_data(name)
        ]
        return ds.coords.to_dataset()[names]


def _holes(record: ProgressRecord | None, name: str) -> frozenset[str]:
    known = None if record is None else record.known_before(name)
    return frozenset() if known is None else frozenset(known.holes)
