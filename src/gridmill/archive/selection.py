"""Which region jobs of an archive a run is to process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.authoring.region_job import RegionJob
from gridmill.model.region import Region
from gridmill.model.variables import DataVar
from gridmill.planning.pending import moment
from gridmill.planning.reading_code import reading_code

__all__ = ["jobs_between", "jobs_of_update"]

Jobs = list[RegionJob[Any, Any]]


def jobs_between(
    archive: Archive,
    until: Any,
    *,
    start: str | None = None,
    end: str | None = None,
    variables: Sequence[str] | None = None,
) -> Jobs:
    """Return the static job, and those of the regions that the filters touch.

    Parameters
    ----------
    archive
        Its template reaches at least to `until`.
    until
        Only positions before this label.
    start, end
        Only positions in [start, end).
    variables
        Only these.

    Raises
    ------
    ValueError
        Nothing is selected.
    """
    config, template_ds, dim = archive.config, archive.template_ds, archive.append_dim
    first = 0 if start is None else config.position(start, archive.index)
    last = int(archive.index.searchsorted(config.label(until)))
    if end is not None:
        last = min(last, config.position(end, archive.index))
    if first >= last:
        raise ValueError(f"start {start} is not before end {end}: no region to process")
    jobs = archive.job_class.get_jobs(template_ds, dim, config.data_vars)
    chosen = config.data_vars if variables is None else config.select(variables)
    selected = [v for v in chosen if dim in v.dims]
    touched = [job for job in jobs if job.region.overlaps(first, last)]
    return [
        *_static_jobs(archive, chosen),
        *(replace(job, data_vars=selected) for job in touched if selected),
    ]


def jobs_of_update(archive: Archive, now: Any) -> Jobs:
    """Return the jobs of an update, in the order of their regions.

    Those are the static job, those that `RegionJob.operational_update_jobs` names, and those of
    regions with pending places that are due.

    Parameters
    ----------
    archive
        Its template reaches up to now.
    now
        The present, as a label of the append dim.
    """
    data_vars = archive.config.data_vars
    jobs = archive.job_class.operational_update_jobs(
        archive.store, archive.template_ds, archive.append_dim, data_vars
    )
    named = {job.region.start for job in jobs}
    due = [start for start in _pending(archive, now) if start not in named]
    pending = [archive.job(archive.region_at(start)) for start in due]
    varying = sorted([*jobs, *pending], key=lambda job: job.region.start) if pending else jobs
    return [*_static_jobs(archive, data_vars), *varying]


def _pending(archive: Archive, now: Any) -> list[int]:
    """Return where the regions start that have pending places which are due."""
    tracker = archive.store.tracker
    starts = tracker.marks.due(moment(now), partial(reading_code, archive.job_class))
    if starts is None:
        starts = tracker.marks.found(tracker.records())
    return [start for start in starts if start < len(archive.index)]


def _static_jobs(archive: Archive, chosen: Sequence[DataVar]) -> Jobs:
    static = [var for var in chosen if archive.append_dim not in var.dims]
    return [replace(archive.job(Region.STATIC), data_vars=static)] if static else []
