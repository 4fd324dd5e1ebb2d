"""How far the records of an archive allow readers to see, and why not further."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import ProcessResults
from gridmill.model.records import (
    ProgressRecord,
    RegionState,
    SourceFileStatus,
    publishable_extent,
)
from gridmill.model.region import Region
from gridmill.planning.prepare import PreparedRegion, results_from_record

__all__ = ["Extent"]

# Regions that are judged before readers can see them; where the first one fails, it could be all.
MOST_JUDGED = 2000


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
        if record is None or not record.is_settled(names):
            return False
        return not self.archive.lost_tokens(record)

    def state(self, record: ProgressRecord) -> RegionState | None:
        """Judge a region by every declared variable; None if one is not done."""
        judged = self._known()
        known, state = judged.get(record.start, (None, None))
        if known != record:
            job = self.archive.job(record.region)
            state = _state_of(job, self.archive.results(job, record))
            judged[record.start] = (record, state)
        return state

    def publishable(self, note: Callable[[ProgressRecord], None]) -> xr.Dataset:
        """Return the template as readers may see it: to where its records have no gap.

        Parameters
        ----------
        note
            Called with the record of each region that is looked at.
        """
        states: list[RegionState] = []
        extent = publishable_extent(self.archive.published, _kept_in(states, self._states(note)))
        return self._trim(states, extent)

    def stops_because(self) -> str | None:
        """Say why readers do not see the template's end; None if they do."""
        archive = self.archive
        if archive.published >= len(archive.index):
            return None
        region = archive.region_at(archive.published)
        record = archive.store.tracker.read(region)
        label = f"{archive.append_dim} {archive.index[archive.published]}"
        if record is None:
            return f"{label}: its region is not done"
        return f"{label}: {_why_not_settled(record, archive.published - region.start)}"

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

    def _states(self, note: Callable[[ProgressRecord], None]) -> Iterator[RegionState]:
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
                note(record)  # it may be another run's
                yield state
            position = regions[-1].stop

    def _with_those_done(self, position: int) -> list[Region]:
        """Give the region at a position, and those after it that are worth reading with it."""
        archive = self.archive
        regions = [archive.region_at(position)]
        while regions[-1].start in self._judged and regions[-1].stop < len(archive.index):
            if len(regions) == archive.store.tracker.objects.at_once:
                break
            regions.append(archive.region_at(regions[-1].stop))
        return regions

    def _trim(self, states: Sequence[RegionState], extent: int) -> xr.Dataset:
        """Give the template as readers are to see it: what the author's hook leaves of it."""
        ends_in = next((s for s in states if s.start < extent <= s.stop), None)
        if ends_in is None:
            return self.archive.up_to(extent)
        job = self.archive.job(Region(ends_in.start, ends_in.stop))
        record, _ = self._judged[ends_in.start]
        trimmed = job.update_template_with_results(self.archive.results(job, record))
        return trimmed.isel({self.archive.append_dim: slice(0, extent)})


def _state_of(job: RegionJob[Any, Any], results: ProcessResults) -> RegionState | None:
    if any(var.name not in results and not job.is_over(var) for var in job.data_vars):
        return None
    return job.state(results)


def _kept_in(kept: list[RegionState], states: Iterator[RegionState]) -> Iterator[RegionState]:
    for state in states:
        kept.append(state)
        yield state


def _why_not_settled(record: ProgressRecord, position: int) -> str:
    for name, variable in record.variables.items():
        if variable.state == "failed":
            return f"{name} failed: {variable.error}"
        for index, file in enumerate(record.groups[variable.group]):
            if not file.start <= position < file.stop:
                continue
            unread_settled, detail = variable.unread.get(index, (True, file.detail))
            if not file.settled:
                return f"{file.url} {file.status} ({file.detail})"
            if not unread_settled and file.accepted is None:
                return f"{file.url} {SourceFileStatus.READ_FAILED} for {name} ({detail})"
    return "no source file has data from here on"
