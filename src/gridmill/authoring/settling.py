"""How far source files settle a region job, where variables begin and end, and when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from gridmill.authoring.derived.steps import position_of
from gridmill.authoring.locate import locate_along
from gridmill.authoring.source_file import ProcessResults, SourceFileCoord
from gridmill.model.settled import RegionState, SourceFill, region_state
from gridmill.model.variables import DataVar
from gridmill.stores.final_store import FinalStore

if TYPE_CHECKING:
    import pandas as pd

    from gridmill.authoring.region_job import RegionJob

__all__ = ["due_jobs", "is_offered", "offered_span", "state_of"]

JobT = TypeVar("JobT", bound="RegionJob[Any, Any]")


def offered_span(job: RegionJob[Any, Any], name: str) -> slice:
    """Return the positions at which the provider has a variable, see `DataVar.valid_from`."""
    index = job.template_ds.get_index(job.append_dim)
    ends = [(v.valid_from, v.valid_until) for v in job.data_vars if v.name == name]
    first, last = ends[0] if ends else (None, None)
    start = 0 if first is None else _position_of(index, first)
    return slice(start, len(index) if last is None else max(start, _position_of(index, last)))


def _position_of(index: pd.Index[Any], label: str) -> int:
    from gridmill.authoring.labels import parse_label  # imports pandas, for the driver

    calendar = getattr(index, "calendar", "proleptic_gregorian")
    return int(index.searchsorted(parse_label(label, calendar)))


def is_offered(job: RegionJob[Any, Any], data_var: DataVar) -> bool:
    """Whether the provider has a variable at any position of a job's region."""
    span = offered_span(job, data_var.name)
    return job.is_static or job.region.overlaps(span.start, span.stop)


def state_of(job: RegionJob[Any, Any], process_results: ProcessResults) -> RegionState:
    """Return how far a job's source files settle its region, see `region_state`."""
    fills = [list(_fills(job, name, coords)) for name, coords in process_results.items()]
    return region_state(job.region, fills, job.publish_when)


def due_jobs(
    jobs: Sequence[JobT], final_store: FinalStore, index: pd.Index[Any], append_dim: str
) -> list[JobT]:
    """Return those jobs that an update takes, see `RegionJob.operational_update_jobs`.

    Parameters
    ----------
    jobs
        Of all regions of the template, of one class.
    final_store
        Says what readers see and what is recorded.
    index
        The append dim's labels.
    append_dim
        Its name.
    """
    published = final_store.published_length(append_dim) or 0
    oldest = _first_within(index, jobs[0].lookback) if jobs else 0

    def is_due(job: JobT) -> bool:
        if job.region.stop >= published or (job.retry_gaps and job.asks_for_revisions):
            return True
        record = final_store.tracker.read(job.region) if job.retry_gaps else None
        return record is not None and not record.is_complete(var.name for var in job.data_vars)

    recent = [replace(job, retry_gaps=job.region.stop > oldest) for job in jobs]
    return [job for job in recent if is_due(job)]


def _first_within(index: pd.Index[Any], window: timedelta) -> int:
    if len(index) == 0:
        return 0
    return int(index.searchsorted(index[-1] - window))


def _located(
    job: RegionJob[Any, Any], var: DataVar | None, coords: Iterable[SourceFileCoord]
) -> Iterable[tuple[SourceFileCoord, slice]]:
    """Yield source files with their positions, also where they name steps of these."""
    index, dim = job.template_ds.get_index(job.append_dim), job.append_dim
    if var is None or var.aggregated is None or job.is_static:
        return locate_along(index, dim, coords)
    how = var.aggregated
    labels = ((coord, coord.out_loc().get(dim, slice(None))) for coord in coords)
    return [(coord, position_of(index, how, label)) for coord, label in labels]


def _fills(
    job: RegionJob[Any, Any], name: str, coords: Iterable[SourceFileCoord]
) -> Iterator[SourceFill]:
    index = job.template_ds.get_index(job.append_dim)
    template, span = slice(0, len(index)), offered_span(job, name)
    known = next((var for var in job.data_vars if var.name == name), None)
    awaited = known is not None and known.encoding.missing is None
    for coord, at in _located(job, known, coords):
        filled = job.region.filled_by(at, template)
        if at.start < span.stop and at.stop > span.start:
            yield SourceFill(filled.start, filled.stop, coord.status, coord.settled, awaited)
