"""What source files should have filled and did not: the records against what is expected.

And where readers see values of provisional files, which are no gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.axis import late_labels
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord, known_of, url_of
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.model.wording import short_label
from gridmill.pipeline.values import SourceFile
from gridmill.planning.source_files.offered import is_offered_of
from gridmill.planning.source_files.places import positions_filled
from gridmill.sources.fetch.download import mask_url
from gridmill.validation.context import Context
from gridmill.validation.repairs import backfill, redo

__all__ = ["Gap", "GapGroup", "find_gaps", "find_late", "find_provisional", "group_gaps"]

NOT_RECORDED = "not recorded"
# Of a region that readers see.
UNKNOWN = "no record says what it was made from: gridmill rebuild-records writes one"
NOT_DONE = "its region is not done"
NOT_MADE = "its record does not say what it was made from"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What one source file should have filled and did not.

    Parameters
    ----------
    url
        The source file, credentials masked.
    variables
        Those that lack it.
    start, stop
        Positions along the append dim that it should fill; both 0 for static variables.
    place
        Where else it should fill: a lead, a member; empty if everywhere.
    status, detail
        What became of it, and why.
    settled
        Whether it no longer holds readers back.
    accepted
        Whether somebody accepted it: it is not tried again.
    since
        When it was first tried in vain (ISO 8601, UTC, to the minute); empty if no record says.
    due
        When an update tries it again, likewise; empty for the next one.
    was_there
        Whether an earlier run got it: it is gone, or is not as it was.
    is_provisional
        It is no gap: readers see its values, and updates ask for the final file; `detail` says why,
        `since` when it was read.
    """

    url: str
    variables: tuple[str, ...]
    start: int
    stop: int
    place: str
    status: str
    detail: str
    settled: bool
    accepted: bool = False
    since: str = ""
    due: str = ""
    was_there: bool = False
    is_provisional: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether readers lack it, and updates try again."""
        return self.settled and not self.accepted

    @property
    def is_held(self) -> bool:
        """Whether a gate holds it, and nobody decided yet."""
        return self.status == SourceFileStatus.HELD and not self.accepted

    @property
    def cause(self) -> tuple[tuple[str, ...], str, bool, bool, bool, str]:
        """What gaps of one group share."""
        why = self.detail if self.is_provisional else ""
        return self.variables, self.status, self.settled, self.accepted, self.was_there, why


@dataclass(frozen=True, kw_only=True)
class GapGroup:
    """Gaps of the same variables with the same cause, without a position between them.

    Parameters
    ----------
    gaps
        In order of their positions.
    first, last
        Labels, both included; empty for static variables.
    repair
        The command that tries again, or lets the first source file pass that a gate holds.
    """

    gaps: tuple[Gap, ...]
    first: str
    last: str
    repair: str

    @property
    def at(self) -> slice:
        """The positions from the first to the last."""
        return slice(min(gap.start for gap in self.gaps), max(gap.stop for gap in self.gaps))


def find_provisional(context: Context) -> Iterator[Gap]:
    """Yield every provisional source file of the selected regions."""
    return (gap for gap in _found(context) if gap.is_provisional)


def find_gaps(context: Context) -> Iterator[Gap]:
    """Yield every source file of the selected regions that did not give what it should.

    What is expected is what `RegionJob.generate_source_file_coords` gives now; what arrived is
    what the records say.
    """
    return (gap for gap in _found(context) if not gap.is_provisional)


def _found(context: Context) -> Iterator[Gap]:
    for region in context.regions():
        job = context.archive.job(region)
        prepared = prepare_recorded(context.archive, job, None)
        for group in prepared.groups:
            chosen = [var for var in group.variables if var in context.variables_of(region)]
            yield from _gaps_of(context, job, chosen, group.files)


def find_late(context: Context) -> list[str]:
    """Return the selected labels that arrived after the settling window and are not in the archive.

    See `gridmill.authoring.axis`.
    """
    selection, label = context.selection, context.config.label
    first = None if selection.start is None else label(selection.start)
    end = None if selection.end is None else label(selection.end)
    return [
        short_label(late)
        for late in late_labels(context.config)
        if (first is None or late >= first) and (end is None or late < end)
    ]


def _gaps_of(
    context: Context,
    job: RegionJob[Any, Any],
    variables: Sequence[DataVar],
    files: Sequence[SourceFile],
) -> Iterator[Gap]:
    record = context.record(job.region)
    is_seen = context.published > (0 if job.is_static else job.region.start)
    unknown = NOT_MADE if record is not None else UNKNOWN if is_seen else NOT_DONE
    recorded = {var.name: _Recorded.of(record, var.name, unknown) for var in variables}
    times: Counter[str] = Counter()
    for file in files:
        url = mask_url(url_of(file.coord))
        time, times[url] = times[url], times[url] + 1
        at = Region.STATIC.slice if job.is_static else _positions(job, file, context)
        if at.start >= at.stop and not job.is_static:
            continue  # of the margin, or of what is not selected
        names = [var.name for var in variables if is_offered_of(job, var, file)]
        outcomes = [(recorded[name].outcome(file.coord, time), name) for name in names]
        lacking = sorted((outcome, name) for outcome, name in outcomes if outcome is not None)
        for outcome, alike in groupby(lacking, key=lambda pair: pair[0]):
            yield Gap(
                **asdict(outcome),
                url=url,
                variables=tuple(name for _, name in alike),
                start=at.start,
                stop=at.stop,
                place=_elsewhere(file, job.append_dim),
            )


def _positions(job: RegionJob[Any, Any], file: SourceFile, context: Context) -> slice:
    """Return the selected positions of the region that a file fills."""
    filled = positions_filled(job, file)
    at, start = job.region.clip(filled.start, filled.stop), job.region.start
    first = max(at.start + start, context.positions.start)
    return slice(first, min(at.stop + start, context.positions.stop))


@dataclass(frozen=True)
class _Recorded:
    """What a record says of one variable; its files by URL, as often as each is listed."""

    variable: VariableRecord | None
    files: Mapping[str, Sequence[tuple[int, SourceFileRecord]]]
    why_unknown: str = ""

    @classmethod
    def of(cls, record: ProgressRecord | None, name: str, why_unknown: str) -> _Recorded:
        known = None if record is None else record.variables.get(name)
        if record is None or known is None:
            return cls(None, {}, why_unknown)
        files: dict[str, list[tuple[int, SourceFileRecord]]] = {}
        for number, file in enumerate(record.groups[known.group]):
            files.setdefault(file.url, []).append((number, file))
        return cls(known, files)

    def outcome(self, coord: SourceFileCoord, time: int) -> _Outcome | None:
        """Say what became of a file where it is listed for a certain time; None if well."""
        known = self.variable
        if known is None:
            return _Outcome(NOT_RECORDED, self.why_unknown)
        if known.state == "failed":
            return _Outcome(NOT_RECORDED, f"failed: {known.error}")
        listed = known_of(coord, self.files) or []
        if time >= len(listed):
            return _Outcome(NOT_RECORDED, "it was made from other source files")
        number, file = listed[time]
        status, settled, detail = file.status, file.settled, file.detail or ""
        if number in known.unread:
            settled, detail = known.unread[number]
            status = status.of_unread(detail)
        elif status is SourceFileStatus.SUCCEEDED and not file.is_provisional:
            return None
        is_provisional = status is SourceFileStatus.SUCCEEDED
        tries = known.tries.get(number)
        return _Outcome(
            status.while_unsettled,
            (file.provisional or "") if is_provisional else file.accepted or detail,
            settled or file.accepted is not None,
            file.accepted is not None or status is SourceFileStatus.WITHDRAWN,
            tries.since if tries else "",
            tries.due if tries else "",
            bool(file.was_there),
            is_provisional,
        )


@dataclass(frozen=True, order=True)
class _Outcome:
    """What became of a source file that did not give what it should, see `Gap`."""

    status: str
    detail: str
    settled: bool = False
    accepted: bool = False
    since: str = ""
    due: str = ""
    was_there: bool = False
    is_provisional: bool = False


def group_gaps(context: Context, gaps: Iterable[Gap]) -> list[GapGroup]:
    """Join gaps of neighbouring positions with the same cause.

    What readers lack comes first, then what holds them back, then what somebody accepted; of each
    kind the most recent last.
    """
    by_cause: dict[Any, list[list[Gap]]] = {}
    for gap in sorted(gaps, key=lambda gap: (gap.start, gap.stop, gap.url)):
        runs = by_cause.setdefault((gap.cause, gap.start == gap.stop), [])
        if runs and gap.start <= max(other.stop for other in runs[-1]):
            runs[-1].append(gap)
        else:
            runs.append([gap])
    groups = [_group(context, run) for runs in by_cause.values() for run in runs]
    return sorted(groups, key=_kind_and_place)


def _kind_and_place(group: GapGroup) -> tuple[bool, bool, int, tuple[str, ...]]:
    first = group.gaps[0]
    return first.accepted, not first.is_pending, group.at.start, first.variables


def _group(context: Context, gaps: Sequence[Gap]) -> GapGroup:
    at = slice(min(gap.start for gap in gaps), max(gap.stop for gap in gaps))
    first, names = gaps[0], gaps[0].variables
    # What is settled, or made from other files, is taken for done: only a redo tries again.
    is_done = first.settled or first.status == NOT_RECORDED
    repair = redo(context, at, names) if is_done else backfill(context, at, names)
    if first.is_provisional:
        repair = context.command("update")
    if first.is_held:
        repair = context.command("release", first.url, "--why", "…")
    return GapGroup(
        gaps=tuple(gaps),
        first=context.label(at.start) if at.stop else "",
        last=context.label(at.stop - 1) if at.stop else "",
        repair=repair,
    )


def _elsewhere(file: SourceFile, append_dim: str) -> str:
    places = {dim: at for dim, at in file.coord.out_loc().items() if dim != append_dim}
    return ", ".join(f"{dim} {_text(at)}" for dim, at in places.items())


def _text(label: Any) -> str:
    if isinstance(label, slice):
        return f"{_text(label.start)} … {_text(label.stop)}"
    if hasattr(label, "total_seconds"):
        return f"{label.total_seconds() / 3600:g} h"
    return str(label)
