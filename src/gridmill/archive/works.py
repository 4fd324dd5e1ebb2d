"""What compress needs for the variables of a region, beside their source files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.authoring.derived.steps import steps_of
from gridmill.authoring.locate import processing_region
from gridmill.authoring.region_job import RegionJob
from gridmill.model.fields.derived import Aggregation
from gridmill.model.records import ProgressRecord
from gridmill.model.variables import DataVar
from gridmill.pipeline.slabs.dividing import takes_data_array
from gridmill.pipeline.values import VariableWork
from gridmill.planning.source_files.offered import offered_in
from gridmill.planning.source_files.outcomes import released_files, withdrawn_files
from gridmill.sources.evidence.expected import ExpectedAxis, expected_axes, expected_times

__all__ = ["VariableWorks"]


class VariableWorks:
    """Returns what is to be done of variables: of a run, and of one chain by itself.

    Parameters
    ----------
    archive
        With its template.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def of(
        self,
        job: RegionJob[Any, Any],
        variables: Iterable[DataVar],
        sizes: Mapping[str, int],
        record: ProgressRecord | None,
        *,
        continues: bool = False,
    ) -> dict[str, VariableWork]:
        """Return by name the work of a region's variables.

        Parameters
        ----------
        job
            The region job, with its template.
        variables
            Those to process.
        sizes
            Length of every dim, the append dim's being that of the processing region.
        record
            What is known of the region: what somebody said of its source files holds.
        continues
            See `VariableWork`.
        """
        coords = self.coords(along=True, of=job) if takes_data_array(type(job)) else None
        at = processing_region(job)
        times = None if job.is_static else self._times(at)

        def of(var: DataVar) -> VariableWork:
            work = VariableWork(
                job=job.for_worker((var,)),
                processing_region=at,
                sizes={dim: sizes[dim] for dim in var.dims},
                coords=coords,
                continues=continues,
                token=record.variables[var.name].token if record and continues else None,
                times=times,
                released=released_files(record, var.name),
                holes=_holes(record, var.name),
                withdrawn=withdrawn_files(record, var.name),
                offered=offered_in(job, var),
                skips_same=job.publish_when == "lead by lead",
            )
            return work if var.aggregated is None else self._along_steps(work, job, var.aggregated)

        return {var.name: of(var) for var in variables}

    @cached_property
    def axes(self) -> Mapping[str, ExpectedAxis]:
        """The template's labels without the append dim."""
        return expected_axes(self.archive.template_ds, self.archive.append_dim)

    def coords(self, *, along: bool, of: RegionJob[Any, Any] | None = None) -> Any:
        """Return the coordinates with the append dim, or those without it."""
        ds = self.archive.template_ds if of is None else of.processing_region_ds()
        dim = self.archive.append_dim
        names = [
            name
            for name, coord in ds.coords.items()
            if (dim in coord.dims) == along and not self.archive.speaks_of_data(name)
        ]
        return ds.coords.to_dataset()[names]

    def _along_steps(
        self, work: VariableWork, job: RegionJob[Any, Any], how: Aggregation
    ) -> VariableWork:
        """Label it by the steps of its source, instead of those of the append dim."""
        ds, dim = job.processing_region_ds(), self.archive.append_dim
        steps = steps_of(ds.get_index(dim), how)
        fine = ds.coords.to_dataset().pipe(steps.dataset, dim)
        fine[dim].attrs.update({k: v for k, v in ds[dim].attrs.items() if k != "bounds"})
        times = expected_times(fine, dim, slice(0, len(steps.labels)), how.every)
        coords = None if work.coords is None else fine.coords.to_dataset()[[dim]]
        return replace(work, offsets=steps.offsets, times=times, coords=coords)

    def _times(self, positions: slice) -> ExpectedAxis:
        archive = self.archive
        frequency = archive.config.append_dim_frequency
        return expected_times(archive.template_ds, archive.append_dim, positions, frequency)


def _holes(record: ProgressRecord | None, name: str) -> frozenset[str]:
    known = None if record is None else record.known_before(name)
    return frozenset() if known is None else frozenset(known.holes)
