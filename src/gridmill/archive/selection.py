"""Which region jobs of an archive a run is to process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, overload

from gridmill.archive.archive import Archive
from gridmill.authoring.region_job import RegionJob
from gridmill.model.region import Region
from gridmill.model.variables import DataVar
from gridmill.planning.pending import moment
from gridmill.planning.reading_code import reading_code

__all__ = ["JobsInOrder", "jobs_between", "jobs_of_update"]

Job = RegionJob[Any, Any]
Jobs = list[Job]


class JobsInOrder(Sequence[Job]):
    """Region jobs, each made when it is asked for: of millions, a run has few in memory.

    Parameters
    ----------
    numbers
        Which of them, in order.
    make
        Makes the job of a number.
    """

    def __init__(self, numbers: range, make: Callable[[int], Job]) -> None:
        self._numbers = numbers
        self._make = make

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> Job: ...
    @overload
    def __getitem__(self, at: slice) -> JobsInOrder: ...
    def __getitem__(self, at: int | slice) -> Job | JobsInOrder:
        if isinstance(at, slice):
            return JobsInOrder(self._numbers[at], self._make)
        return self._make(self._numbers[at])

    def __iter__(self) -> Iterator[Job]:
        return map(self._make, self._numbers)

    def each(self, change: Callable[[Job], Job]) -> JobsInOrder:
        """Return the same jobs with something else about them."""
        make = self._make
        return JobsInOrder(self._numbers, lambda number: change(make(number)))


def jobs_between(
    archive: Archive,
    until: Any,
    *,
    start: str | None = None,
    end: str | None = None,
    variables: Sequence[str] | None = None,
) -> JobsInOrder:
    """Return the static job, if there is one, and then those of the regions that the filters touch.

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
    config, dim = archive.config, archive.append_dim
    first = 0 if start is None else config.position(start, archive.index)
    last = int(archive.index.searchsorted(config.label(until)))
    if end is not None:
        last = min(last, config.position(end, archive.index))
    if first >= last:
        raise ValueError(f"start {start} is not before end {end}: no region to process")
    chosen = config.data_vars if variables is None else config.select(variables)
    selected = [v for v in chosen if dim in v.dims]
    static = _static_jobs(archive, chosen)
    many, varying = _varying(archive, first, last, selected) if selected else (0, None)

    def make(number: int) -> Job:
        at = number - len(static)
        if at < 0 or varying is None:
            return static[number]
        return varying(at)

    return JobsInOrder(range(len(static) + many), make)


def _varying(
    archive: Archive, first: int, last: int, selected: Sequence[DataVar]
) -> tuple[int, Callable[[int], Job]]:
    """Return how many regions touch positions [first, last), and what makes the job of each.

    An author's own list of jobs is made whole.
    """
    template_ds, dim, config = archive.template_ds, archive.append_dim, archive.config
    job_class, data_vars = archive.job_class, config.data_vars
    if any("get_jobs" in vars(kind) for kind in job_class.__mro__ if kind is not RegionJob):
        jobs = job_class.get_jobs(template_ds, dim, data_vars)
        touched = [job for job in jobs if job.region.overlaps(first, last)]
        return len(touched), lambda number: replace(touched[number], data_vars=selected)
    length, end = config.region_length, len(archive.index)
    skipped = first // length

    def make(number: int) -> Job:
        start = (skipped + number) * length
        region = Region(start, min(start + length, end))
        return job_class(template_ds=template_ds, data_vars=selected, append_dim=dim, region=region)

    return -(-last // length) - skipped, make


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
