"""How far source files settle a region job, where variables begin and end, and when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from gridmill.authoring.derived.steps import position_of
from gridmill.authoring.locate import locate_along
from gridmill.authoring.source_file import ProcessResults, SourceFileCoord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import RegionState, SourceFill, region_state
from gridmill.model.variables import DataVar
from gridmill.stores.final_store import FinalStore

if TYPE_CHECKING:
    import pandas as pd

    from gridmill.authoring.region_job import RegionJob

__all__ = [
    "check_rules",
    "due_jobs",
    "is_expected",
    "is_offered",
    "is_past",
    "offered_span",
    "state_of",
    "where_offered",
]

JobT = TypeVar("JobT", bound="RegionJob[Any, Any]")


def check_rules(
    job_class: type[RegionJob[Any, Any]], data_vars: Sequence[DataVar], append_dim: str
) -> None:
    """Check what variables and the job together say of when readers see something.

    Raises
    ------
    ValueError
        No budget of writing could be kept; no variable is essential; or one that is not, or that
        readers see lead by lead, has no deadline, or one so late that updates would not look at it
        any more: nobody ever heard of its gaps, and what waits for its shard was never stored.
    """
    varying = [var for var in data_vars if append_dim in var.dims]
    optional = [var for var in varying if not var.is_essential]
    if optional and len(optional) == len(varying):
        raise ValueError("no variable is_essential: readers would see positions without any data")
    if job_class.publish_when == "lead by lead":
        _check_budget(job_class, varying, append_dim)
        waits = "is published lead by lead"
        _check_deadlines(job_class, varying, waits, "what waits for its shard could stay unstored")
    _check_deadlines(job_class, optional, "is not essential", "its gaps would go unnoticed")


def _check_deadlines(
    job_class: type[RegionJob[Any, Any]], variables: Sequence[DataVar], what: str, why: str
) -> None:
    """Refuse variables without a deadline, or with one that lies behind what updates look at."""
    delay, lookback, who = job_class.publication_delay, job_class.lookback, job_class.__name__
    says_itself = job_class.expected is not _base(job_class).expected
    for var in variables:
        deadline = delay if var.publication_delay is None else var.publication_delay
        if deadline is None and not says_itself:
            raise ValueError(
                f"{var.name!r} {what} and has no deadline, so that {why}: declare "
                f"publication_delay of it or of {who}"
            )
        if deadline is not None and deadline > lookback:
            raise ValueError(
                f"{var.name!r} {what} and has its deadline after {deadline}, but updates look back "
                f"{lookback}, so that {why}: declare a longer {who}.lookback"
            )


def _check_budget(
    job_class: type[RegionJob[Any, Any]], varying: Sequence[DataVar], append_dim: str
) -> None:
    who, budget = job_class.__name__, job_class.write_budget
    if not budget >= 1:
        raise ValueError(
            f"{who}.write_budget is {budget}: values are written at least once; give 1 or more"
        )
    for var in varying:
        length = var.object_length(append_dim)
        if length > 1:
            raise ValueError(
                f"{who} publishes lead by lead, but a shard of {var.name!r} holds {length} of "
                f"{append_dim}: each of them would write the others again, and no write_budget "
                f"could be kept. Give it shards of 1 along {append_dim}"
            )


def _base(job_class: type[RegionJob[Any, Any]]) -> type[RegionJob[Any, Any]]:
    """Return the class whose hooks are the defaults."""
    return next(kind for kind in job_class.__mro__ if kind.__name__ == "RegionJob")


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


def is_past(coord: SourceFileCoord, append_dim: str, delay: timedelta | None, now: Any) -> bool:
    """Whether a time after the last label of a source file is over; never without one."""
    label = coord.out_loc().get(append_dim)
    last = label.stop if isinstance(label, slice) else label
    if isinstance(last, str):
        last = _end_of(last, now)
    return delay is not None and last is not None and bool(last + delay <= now)


def _end_of(text: str, now: Any) -> Any:
    """Return the end of what a text stands for as a label, like a day."""
    import pandas as pd

    from gridmill.authoring.labels import parse_label

    calendar = getattr(now, "calendar", None)
    return pd.Period(text).end_time if calendar is None else parse_label(text, calendar)


def is_expected(
    job: RegionJob[Any, Any], coord: SourceFileCoord, data_var: DataVar, now: Any
) -> bool:
    """Whether the provider should have a file by now for a variable.

    Parameters
    ----------
    job, coord
        The region job and the source file.
    data_var
        Its own `publication_delay` goes before what the job expects.
    now
        The present, as a label of the append dim.
    """
    if data_var.publication_delay is None:
        return job.expected(coord, now)
    return is_past(coord, job.append_dim, data_var.publication_delay, now)


def is_offered(job: RegionJob[Any, Any], data_var: DataVar) -> bool:
    """Whether the provider has a variable at any position of a job's region."""
    span = offered_span(job, data_var.name)
    return job.is_static or job.region.overlaps(span.start, span.stop)


def where_offered(job: RegionJob[Any, Any], record: ProgressRecord) -> ProgressRecord:
    """Return a record without the source files from before or after all that they fill.

    A record lists these where its variables had no beginning or end yet as they were made.

    Parameters
    ----------
    job
        The region's.
    record
        What is known of it.
    """
    if job.is_static or all(v.valid_from is None and v.valid_until is None for v in job.data_vars):
        return record
    at, length = job.region.start, len(job.template_ds.get_index(job.append_dim))
    # What a record has from behind the template's end may be offered.
    spans = {
        name: slice(span.start, max(span.stop, record.stop) if span.stop == length else span.stop)
        for name in record.variables
        for span in (offered_span(job, name),)
    }
    kept: list[dict[int, int]] = [{} for _ in record.groups]
    for number, files in enumerate(record.groups):
        of_group = [spans[n] for n, known in record.variables.items() if known.group == number]
        for index, file in enumerate(files):
            if any(file.start + at < s.stop and file.stop + at > s.start for s in of_group):
                kept[number][index] = len(kept[number])

    def without(known: VariableRecord) -> VariableRecord:
        new = kept[known.group]
        unread = {new[at]: word for at, word in known.unread.items() if at in new}
        tries = {new[at]: when for at, when in known.tries.items() if at in new}
        return replace(known, unread=unread, tries=tries)

    return replace(
        record,
        groups=tuple(
            tuple(files[index] for index in new)
            for files, new in zip(record.groups, kept, strict=True)
        ),
        variables={name: without(known) for name, known in record.variables.items()},
        under_way={},
    )


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

    recent = [replace(job, retry_gaps=job.region.stop > oldest) for job in jobs]
    doubtful = [
        job.region
        for job in recent
        if job.region.stop < published and job.retry_gaps and not job.asks_for_revisions
    ]
    # Of a store that is far away, one record after the other takes its time.
    records = dict(zip(doubtful, final_store.tracker.read_each(doubtful), strict=True))

    def is_due(job: JobT) -> bool:
        if job.region.stop >= published or (job.retry_gaps and job.asks_for_revisions):
            return True
        record, names = records.get(job.region), [var.name for var in job.data_vars]
        return record is not None and not where_offered(job, record).is_complete(names)

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
    essential = known is None or known.is_essential
    for coord, at in _located(job, known, coords):
        filled = job.region.filled_by(at, template)
        if at.start < span.stop and at.stop > span.start:
            became = (coord.status, coord.settled, awaited, essential)
            yield SourceFill(filled.start, filled.stop, *became)
