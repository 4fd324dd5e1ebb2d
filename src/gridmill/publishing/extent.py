"""How far the records of an archive allow readers to see, and why not further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import lost_tokens, results_of
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_offered, state_of, where_offered
from gridmill.authoring.source_file import ProcessResults
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.settled import RegionState, SourceFileStatus
from gridmill.model.wording import count_of
from gridmill.planning.prepare import PreparedRegion, results_from_record

__all__ = [
    "Extent",
    "Unsettled",
    "UnsettledFile",
    "publishable_extent",
    "say_unsettled",
    "why_unsettled",
]

# Regions that are judged before readers can see them; where the first one fails, it could be all.
MOST_JUDGED = 2000


def publishable_extent(published: int, states: Iterable[RegionState]) -> int:
    """How far readers may see: the longest settled prefix, up to its last position with data.

    Parameters
    ----------
    published
        The extent that is published now; the result is never lower.
    states
        Regions in order, beginning with the one that holds position `published`.

    Examples
    --------
    >>> publishable_extent(0, [RegionState(0, 4, 4, 4), RegionState(4, 8, 2, 2)])
    6
    >>> publishable_extent(0, [RegionState(4, 8, 4, 4)])  # the first region is not done
    0
    """
    extent = published
    reached: int | None = None
    for state in states:
        if reached is None and not state.start <= published <= state.stop:
            break
        if reached is not None and state.start != reached:
            break
        if state.data:
            extent = max(extent, state.start + state.data)
        if not state.is_settled:
            break
        reached = state.stop
    return extent


@dataclass(frozen=True)
class UnsettledFile:
    """A source file that may still change what a variable holds.

    Parameters
    ----------
    url, status, detail
        As its record has them, or why the variable could not be read from it.
    is_of_variable
        Whether the latter: the file arrived.
    """

    url: str
    status: SourceFileStatus
    detail: str | None
    is_of_variable: bool


@dataclass(frozen=True)
class Unsettled:
    """Why positions of a region may still change: the first variable that is not settled there.

    Parameters
    ----------
    variable
        Its name.
    files
        The source files that hold it back; none where it is not done.
    error
        Why it failed, where no source file explains it.
    """

    variable: str
    files: tuple[UnsettledFile, ...] = ()
    error: str | None = None


def why_unsettled(
    record: ProgressRecord, names: Iterable[str], positions: slice | None = None
) -> Unsettled | None:
    """Find why a region, or some of its positions, are not settled; None if they are.

    Parameters
    ----------
    record
        The region's.
    names
        Variables that are declared there.
    positions
        Relative to the region's start; None means all.
    """
    for name in names:
        variable = record.variables.get(name)
        if variable is None or variable.state == "failed":
            return Unsettled(name, error=None if variable is None else variable.error)
        files = tuple(_unsettled_files(record, name, positions))
        if files:
            return Unsettled(name, tuple(sorted(files, key=_weight)))
    return None


def say_unsettled(why: Unsettled, *, names_file: bool) -> str:
    """Say why positions may still change.

    Parameters
    ----------
    why
        The reason.
    names_file
        Whether to name the first source file and what is wrong with it; else they are counted.

    Examples
    --------
    >>> late = SourceFileStatus.NOT_YET_AVAILABLE
    >>> files = [UnsettledFile(f"s3://b/f{n}", late, None, is_of_variable=False) for n in (1, 2)]
    >>> say_unsettled(Unsettled("t2m", tuple(files)), names_file=False)
    't2m: 2 source files not yet available'
    >>> say_unsettled(Unsettled("t2m", tuple(files)), names_file=True)
    's3://b/f1 not yet available, and 1 source file more'
    >>> say_unsettled(Unsettled("t2m"), names_file=True)
    't2m is not done'
    """
    if not why.files:
        return f"{why.variable} failed: {why.error}" if why.error else f"{why.variable} is not done"
    if not names_file:
        many = Counter(file.status.while_unsettled for file in why.files).items()
        counted = ", ".join(f"{count_of(n, 'source file')} {became}" for became, n in many)
        return f"{why.variable}: {counted}"
    first, more = why.files[0], len(why.files) - 1
    said = f"{first.url} {first.status.while_unsettled}"
    said += f" for {why.variable}" if first.is_of_variable else ""
    said += f" ({first.detail})" if first.detail else ""
    return said + (f", and {count_of(more, 'source file')} more" if more else "")


class Extent:
    """Judges regions by their records, each once as long as its record stays the same.

    Parameters
    ----------
    archive
        With its records.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._judged: dict[int, tuple[ProgressRecord, RegionState | None]] = {}
        self._judged_by = archive.template_ds

    def judge(self, record: ProgressRecord, prepared: PreparedRegion) -> None:
        """Judge a region while what was prepared for it is at hand: to prepare it again takes long.

        Parameters
        ----------
        record
            The region's, just written.
        prepared
            What it was made of.
        """
        job, judged = prepared.job, self._known()
        is_known = job.template_ds is self.archive.template_ds and len(judged) < MOST_JUDGED
        if is_known and {v.name for v in job.data_vars} == self._varying:
            state = _state_of(job, results_from_record(prepared, record))
            judged[record.start] = (record, state)

    def is_whole(self, record: ProgressRecord) -> bool:
        """Whether every declared variable of a region is done."""
        if record.region.is_static:
            return self.is_static_settled()
        return self.state(record) is not None

    def is_static_settled(self) -> bool:
        """Whether the variables without the append dim are done for good."""
        names = [var.name for var in self.archive.static]
        if not names:
            return True
        record = self.archive.store.tracker.read(Region.STATIC)
        if record is None or not record.holds_nothing_back(names):
            return False
        return not lost_tokens(self.archive, record)

    def state(self, record: ProgressRecord) -> RegionState | None:
        """Judge a region by every declared variable; None if one is not done."""
        judged = self._known()
        known, state = judged.get(record.start, (None, None))
        if known != record:
            job = self.archive.job(record.region)
            state = _state_of(job, results_of(self.archive, job, record))
            judged[record.start] = (record, state)
        return state

    def publishable(self, remember: Callable[[ProgressRecord], None]) -> xr.Dataset:
        """Return the template as readers may see it: to where its records have no gap.

        Parameters
        ----------
        remember
            Called with the record of each region that is looked at.
        """
        states: list[RegionState] = []
        extent = publishable_extent(
            self.archive.published, _kept_in(states, self._states(remember))
        )
        return self._trim(states, extent)

    def stops_because(self) -> str | None:
        """Say why readers do not see the template's end; None if they do."""
        archive = self.archive
        if not self.is_static_settled():
            return f"static variables: {self._why_not_static()}"
        if archive.published >= len(archive.index):
            return None
        region = archive.region_at(archive.published)
        record = archive.store.tracker.read(region)
        label = f"{archive.append_dim} {archive.index[archive.published]}"
        if record is None:
            return f"{label}: its region is not done"
        return f"{label}: {self._why_not_at(archive.published, record)}"

    def _why_not_static(self) -> str:
        """Say why nothing is published: what has no append dim is to be there with the first."""
        record = self.archive.store.tracker.read(Region.STATIC)
        if record is None:
            return "their region is not done"
        why = why_unsettled(record, [var.name for var in self.archive.static])
        if why is not None:
            return say_unsettled(why, names_file=True)
        return "what was uploaded of them is lost: a run makes them again"

    def _why_not_at(self, position: int, record: ProgressRecord) -> str:
        """Say why readers do not see a position of a region that has a record."""
        job = self.archive.job(self.archive.region_at(position))
        ours = (var for var in job.data_vars if var.is_essential)
        names = [var.name for var in ours if is_offered(job, var)]
        at = position - record.start
        why = why_unsettled(where_offered(job, record), names, slice(at, at + 1))
        if why is not None:
            return say_unsettled(why, names_file=True)
        if self.state(record) is None:
            return "its region is recorded as made of something else than now: a run reprocesses it"
        return "no source file has data from here on"

    def _known(self) -> dict[int, tuple[ProgressRecord, RegionState | None]]:
        """What was judged by the template as it is now."""
        if self._judged_by is not self.archive.template_ds:
            self._judged_by = self.archive.template_ds
            self._judged.clear()
        return self._judged

    @cached_property
    def _varying(self) -> set[str]:
        dim = self.archive.append_dim
        return {v.name for v in self.archive.config.data_vars if dim in v.dims}

    def _states(self, remember: Callable[[ProgressRecord], None]) -> Iterator[RegionState]:
        """Yield regions' states, from the first not all published to one without a record."""
        archive = self.archive
        position = archive.region_start(archive.published)
        self._judged = {at: known for at, known in self._known().items() if at >= position}
        while position < len(archive.index):
            regions = self._with_those_done(position)
            for record in archive.store.tracker.read_each(regions):
                state = None if record is None else self.state(record)
                if record is None or state is None:
                    return
                remember(record)  # it may be another run's
                yield state
            position = regions[-1].stop

    def _with_those_done(self, position: int) -> list[Region]:
        """Return the region at a position, and those after it that are worth reading with it."""
        archive = self.archive
        regions = [archive.region_at(position)]
        while regions[-1].start in self._judged and regions[-1].stop < len(archive.index):
            if len(regions) == archive.store.tracker.objects.at_once:
                break
            regions.append(archive.region_at(regions[-1].stop))
        return regions

    def _trim(self, states: Sequence[RegionState], extent: int) -> xr.Dataset:
        """Return the template as readers are to see it: what the author's hook leaves of it."""
        ends_in = next((s for s in states if s.start < extent <= s.stop), None)
        if ends_in is None:
            return self.archive.up_to(extent)
        job = self.archive.job(Region(ends_in.start, ends_in.stop))
        record, _ = self._judged[ends_in.start]
        trimmed = job.update_template_with_results(results_of(self.archive, job, record))
        return trimmed.isel({self.archive.append_dim: slice(0, extent)})


def _state_of(job: RegionJob[Any, Any], results: ProcessResults) -> RegionState | None:
    if any(var.name not in results and is_offered(job, var) for var in job.data_vars):
        return None
    return state_of(job, results)


def _kept_in(kept: list[RegionState], states: Iterator[RegionState]) -> Iterator[RegionState]:
    for state in states:
        kept.append(state)
        yield state


def _weight(file: UnsettledFile) -> int:
    """Sort what holds a position back most surely first, and what arrived and may improve last."""
    if file.status is SourceFileStatus.SUCCEEDED:
        return 2
    return 0 if file.status.is_failure else 1


def _unsettled_files(
    record: ProgressRecord, name: str, positions: slice | None
) -> Iterator[UnsettledFile]:
    """Yield the source files that may change what a variable that is done holds at positions."""
    variable = record.variables[name]
    files, fills = record.groups[variable.group], record.fills(name) or ()
    for index, (file, fill) in enumerate(zip(files, fills, strict=True)):
        is_elsewhere = positions is not None and (
            fill.stop <= positions.start or positions.stop <= fill.start
        )
        # What is provisional may change, and holds no position back.
        is_there = positions is not None and fill.status is SourceFileStatus.SUCCEEDED
        if fill.settled or is_elsewhere or is_there:
            continue
        is_unread = index in variable.unread
        detail = variable.unread[index][1] if is_unread else file.detail
        yield UnsettledFile(file.url, fill.status, detail, is_of_variable=is_unread)
