"""What a place of an archive was made of, when readers saw it, and what it was before.

All of it is in the records and in the feed of publications beside them: nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.authoring.settling import where_offered
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.reports.publication import SECONDS, Publication
from gridmill.operations.maintenance import check_exists
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.state.beside.feed import Feed

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Before", "History", "Made", "PlaceHistory", "Visible", "read_history"]


@dataclass(frozen=True)
class Made:
    """When something was done, by which run, and with which gridmill; None where nothing says so.

    `at` is ISO 8601, UTC.
    """

    at: str | None = None
    run: str | None = None
    gridmill: str | None = None


@dataclass(frozen=True)
class Visible:
    """When readers saw a place first: after `since`, at `by` at the latest, by which run.

    Where the feed tells the moment, both are it. None: unknown, or not yet.
    """

    since: str | None = None
    by: str | None = None
    run: str | None = None
    is_published: bool = False


@dataclass(frozen=True)
class Before:
    """What a place held before, see `gridmill.model.files.earlier.Earlier`.

    Parameters
    ----------
    status, nbytes, last_modified, checksum
        As there; without a status it was made otherwise, of the same source files.
    arrived
        When that version was fetched, by the run that did.
    until, by
        When it was replaced, and by which run.
    """

    status: str
    nbytes: int | None
    last_modified: str | None
    checksum: str | None
    arrived: Made
    until: str
    by: str | None


@dataclass(frozen=True)
class PlaceHistory:
    """One source file of a label, and the variables that it gave values to.

    Parameters
    ----------
    variables
        Their names.
    url, fetched_from
        The source file, and another address from which it was taken.
    status
        What became of it, see `SourceFileStatus`.
    detail
        Why it did not succeed, or what is worth knowing.
    nbytes, last_modified, etag, checksum
        Which version it is.
    arrived
        When that version was fetched first.
    written
        When the region's stored objects were written last.
    visible
        When readers saw this version first.
    before
        What the place held before, the oldest first.
    """

    variables: tuple[str, ...]
    url: str
    fetched_from: str | None
    status: str
    detail: str | None
    nbytes: int | None
    last_modified: str | None
    etag: str | None
    checksum: str | None
    arrived: Made
    written: Made
    visible: Visible
    before: tuple[Before, ...]


@dataclass(frozen=True)
class History:
    """What a label of an archive was made of.

    Parameters
    ----------
    dataset_id, store
        Which archive.
    label, region
        The label, and that of the first position of its region.
    is_published
        Whether readers see it.
    places
        By source file and variables.
    """

    dataset_id: str
    store: str
    label: str
    region: str
    is_published: bool
    places: tuple[PlaceHistory, ...]


def read_history(
    dataset: DynamicalDataset, at: str, variables: Sequence[str] | None = None, *, now: Any = None
) -> History:
    """Say what a label was made of: source files, runs, moments, and what it was before.

    Parameters
    ----------
    dataset
        With its archive.
    at
        A label of the append dim; or ``"static"``.
    variables
        Only these.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive, no such label or variable, or no record of it.
    """
    check_exists(dataset)
    archive = dataset.archive(now, config=dataset.held(now))
    archive.look()
    names = None if variables is None else {v.name for v in archive.config.select(variables)}
    region, position = _place_of(archive, at)
    record = archive.store.tracker.read(region)
    if record is None:
        seen = "readers see it, and its record is lost: gridmill rebuild-records makes one"
        why = seen if position < archive.published else f"readers see up to {archive.last_label}"
        raise ValueError(f"nothing is recorded of {at}: {why}")
    record = where_offered(archive.job(region), record)
    label = region.name if region.is_static else str(archive.index[position])
    is_published = archive.published > (0 if region.is_static else position)
    look = _Look(record, archive.store.tracker.feed, position, is_published)
    return History(
        dataset_id=dataset.dataset_id,
        store=mask_url(dataset.store.url),
        label=label,
        region=region.label(archive.index),
        is_published=is_published,
        places=tuple(look.places(names)),
    )


def _place_of(archive: Archive, at: str) -> tuple[Region, int]:
    """Return the region that holds a label, and the label's position."""
    if at == Region.STATIC.name:
        return Region.STATIC, 0
    position = archive.config.position(at, archive.index)
    return archive.region_at(position), position


class _Look:
    """Puts together what a region's record and the feed say of a position."""

    def __init__(
        self, record: ProgressRecord, feed: Feed, position: int, is_published: bool
    ) -> None:
        self.record = record
        self.position = position
        self.is_published = is_published
        self.feed = feed
        self._lines: dict[str, list[Publication]] = {}

    def places(self, names: set[str] | None) -> Iterator[PlaceHistory]:
        """Yield the source files that fill the position, with the variables they were made for."""
        found: dict[PlaceHistory, list[str]] = {}
        for name, variable in self.record.variables.items():
            if names is not None and name not in names:
                continue
            for index, file in enumerate(self.record.groups[variable.group]):
                if self._fills(file):
                    place = self._place(name, variable, index, file)
                    found.setdefault(place, []).append(name)
        for place, variables in found.items():
            yield replace(place, variables=tuple(variables))

    def _fills(self, file: SourceFileRecord) -> bool:
        at = self.position - self.record.start
        return self.record.region.is_static or file.start <= at < file.stop

    def _place(
        self, name: str, variable: VariableRecord, index: int, file: SourceFileRecord
    ) -> PlaceHistory:
        unread = variable.unread.get(index)
        arrived = self._made(file.arrived, file.run)
        written = Made(
            variable.finished or None,
            variable.run or None,
            (variable.libraries or {}).get("gridmill"),
        )
        before = tuple(self._before(name, file))
        since = arrived if arrived.at else replace(written, at=variable.finished[:SECONDS])
        return PlaceHistory(
            variables=(),
            url=file.url,
            fetched_from=file.fetched_from,
            status=str(file.status if unread is None else file.status.of_unread(unread[1])),
            detail=file.detail if unread is None else unread[1],
            nbytes=file.nbytes,
            last_modified=file.last_modified,
            etag=file.etag,
            checksum=file.checksum,
            arrived=arrived,
            written=written,
            visible=self._visible(since, is_revision=any(was.status for was in before)),
            before=before,
        )

    def _before(self, name: str, file: SourceFileRecord) -> Iterator[Before]:
        for was in self.record.history:
            if name in was.variables and was.place in (("", 0, 0), _of(file)):
                by = self._made(None, was.by).run
                yield Before(
                    status=was.status,
                    nbytes=was.nbytes,
                    last_modified=was.last_modified,
                    checksum=was.checksum,
                    arrived=self._made(was.arrived, was.run),
                    until=was.until,
                    by=by,
                )

    def _made(self, at: str | None, run: int | None) -> Made:
        runs = self.record.runs
        known = runs[run] if run is not None and 0 <= run < len(runs) else (None, None)
        return Made(at, *known)

    def _visible(self, arrived: Made, *, is_revision: bool) -> Visible:
        """Ask the feed from when on readers saw what had arrived at a moment.

        What a run that was killed published is not in it: then the next line tells that readers saw
        the position by then.
        """
        if not self.is_published:
            return Visible()
        last: str | None = None
        moment = arrived.at or ""
        lines = list(self._since(moment))
        # What was dropped since counts where a line tells of positions.
        position = self.position + sum(line.dropped for line in lines)
        for line in lines:
            was_seen = line.before > position and not is_revision
            # Moments are told to the second; another run's of the same second came before, unless
            # readers saw by then what had not been there.
            is_other = line.at == moment and line.run != arrived.run and not was_seen
            if line.at < moment or is_other:
                last = line.at
            elif line.shows(position):
                return Visible(line.since or line.at, line.at, line.run, is_published=True)
            elif was_seen:
                return Visible(last, line.at, None, is_published=True)
            else:
                last = line.at
            position -= line.dropped
        return Visible(last, None, None, is_published=True)

    def _since(self, moment: str) -> Iterator[Publication]:
        for day in self._days:
            if day >= moment[:10]:
                yield from self._read(day)

    @cached_property
    def _days(self) -> list[str]:
        return list(self.feed.days())

    def _read(self, day: str) -> list[Publication]:
        if day not in self._lines:
            self._lines[day] = self.feed.read(day)
        return self._lines[day]


def _of(file: SourceFileRecord) -> tuple[str, int, int]:
    return file.url, file.start, file.stop
