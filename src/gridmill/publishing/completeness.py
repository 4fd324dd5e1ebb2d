"""How much of each position arrived, and is final, as coordinates that readers see.

The values are what the progress records say, and follow the data: a region's are made once every
declared variable of it is recorded, and are put after its objects (on Icechunk in the commit that
shows them). Until then the published values stay, which are true: a run never takes a published
value away. What changes is made known beside the records before a record changes, and forgotten
after the coordinate is published, so that the next run corrects what a run that died left behind.

See Also
--------
gridmill.model.variables.Completeness : what authors declare, and what the values mean.
gridmill.publishing.shares : computes the values.
gridmill.validation.checks.gaps : lists what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from gridmill.archive.archive import Archive
from gridmill.authoring.describing.finality import shares_of
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.variables import Completeness
from gridmill.publishing.extent import Extent
from gridmill.publishing.shares import recorded_shares
from gridmill.stores.final_store import CoordinateValues, FinalStore
from gridmill.stores.metadata import joined, set_values
from gridmill.stores.state.claims import current_claims, is_alive
from gridmill.stores.state.notices import notice_key, parse_notice

__all__ = ["CompletenessUpkeep"]


class CompletenessUpkeep:
    """Keeps completeness and finality of one store, during one run, at what its records say.

    Does nothing for a dataset that declares none.

    Parameters
    ----------
    archive
        What the store holds, or that of which it is a replica.
    extent
        Judges which regions are whole.
    store
        The store.
    remember
        Called with the record of each region whose values are about to be shown: what it brings
        must become visible with them.
    """

    def __init__(
        self,
        archive: Archive,
        extent: Extent,
        store: FinalStore,
        remember: Callable[[ProgressRecord], None] = lambda record: None,
    ) -> None:
        self.archive = archive
        self.extent = extent
        self.store = store
        self.remember = remember
        # By region's start, the notices which say that the coordinate may be behind.
        self._behind: dict[int, set[str]] = {}
        # Of regions that are visible in part, what was shown: the record and up to where.
        self._shown: dict[int, tuple[ProgressRecord, int]] = {}
        self._next: dict[int, tuple[ProgressRecord, int] | None] = {}
        self._settled: set[str] = set()
        self._knows_others = False

    @property
    def declared(self) -> tuple[Completeness, ...]:
        """The coordinates."""
        return shares_of(self.archive.config.coords)

    def announce(self, region: Region, run: str) -> None:
        """Say that the record of a region is about to change; to be called before it does."""
        if not self.declared or region.is_static:
            return
        key, before = notice_key(region.start, run), self._behind.get(region.start, set())
        if key not in before:
            self.store.tracker.notices.write(key)
            self._behind[region.start] = {key}
            self._settled = (self._settled | before) - {key}

    def learn(self, run: str) -> None:
        """Find out, once, what runs that died left behind."""
        if not self.declared or self._knows_others:
            return
        self._knows_others = True
        state = self.archive.store.state
        notices = self.store.tracker.notices.all()
        others = [claim for claim in (current_claims(state) if notices else ()) if claim.run != run]
        # Before the records are read: what is not at work now will not change them.
        at_work = {claim.run for claim in others if is_alive(state, claim)}
        for key in notices:
            start, owner = parse_notice(key)
            if notice_key(start, run) not in self._behind.get(start, ()):
                if owner not in at_work:
                    self._behind.setdefault(start, set()).add(key)
            elif owner != run:
                self._settled.add(key)  # our own says the same

    def changes(self, visible: int, length: int) -> list[CoordinateValues]:
        """Return the values that are to be shown with `length` positions, after `visible`.

        Those of regions that are behind or grow, and of which every variable is recorded.
        """
        if not self.declared:
            return []
        self._next = {}
        starts = {start for start in self._behind if start < length}
        found: list[CoordinateValues] = []
        for start in sorted(starts | set(self._starts(visible, length))):
            record = self.store.tracker.read(self.archive.region_at(start))
            if record is None or not self.extent.is_whole(record):
                continue
            if self._shown.get(start) != (record, min(record.stop, length)):
                found += self.take(record, length)
                self.remember(record)
        return found

    def take(self, record: ProgressRecord, length: int) -> list[CoordinateValues]:
        """Return the values of one region up to `length` positions, to be shown next."""
        if not self.declared:
            return []
        is_all = self.archive.region_at(record.start).stop <= length
        self._next[record.start] = None if is_all else (record, min(record.stop, length))
        return self._values(record, length)

    def write_recorded(self, folder: Path, length: int) -> None:
        """Write all values up to `length` positions, as recorded, into a local store's array.

        0 where nothing is recorded, and where what is recorded may not be visible yet.
        """
        if not self.declared or not length:
            return
        found = []
        for start in self._starts(0, length):
            region = self.archive.region_at(start)
            is_hidden = not self.store.shows_uploads and start in self._behind
            record = None if is_hidden else self.store.tracker.read(region)
            found += self._values(record or self._nothing(region), length)
        for part in joined(found):
            set_values(folder, part)

    def write_published(self, folder: Path, length: int) -> None:
        """Write the values that readers see of `length` positions into a local store's array."""
        for share in self.declared if length else ():
            whole = tuple(slice(0, self.archive.template_ds.sizes[dim]) for dim in share.own_dims)
            kept = self.store.read(share.name, (slice(0, length), *whole[1:]))
            set_values(folder, CoordinateValues(share.name, 0, kept))

    def remember_shown(self) -> None:
        """Remember that readers see what `changes` and `take` gave."""
        for start, state in self._next.items():
            if state is None:
                self._settled |= self._behind.pop(start, set())
                self._shown.pop(start, None)
            else:
                self._shown[start] = state
        self._next = {}

    def settle(self) -> None:
        """Withdraw the notices of what is not behind any more."""
        settled, self._settled = self._settled, set()
        if settled:
            self.store.tracker.notices.delete(settled)

    def _values(self, record: ProgressRecord, length: int) -> list[CoordinateValues]:
        job = self.archive.job(Region(record.start, min(record.stop, len(self.archive.index))))
        found = recorded_shares(job, record, self.declared, self.archive.arrays)
        return [
            CoordinateValues(name, record.start, shares[: length - record.start])
            for name, shares in found.items()
        ]

    def _nothing(self, region: Region) -> ProgressRecord:
        dataset_id = self.archive.config.dataset_id
        return ProgressRecord(dataset_id=dataset_id, start=region.start, stop=region.stop)

    def _starts(self, first: int, stop: int) -> Iterator[int]:
        """Yield where the regions begin that touch these positions."""
        length = self.archive.config.region_length
        return iter(range(first // length * length, stop, length) if first < stop else ())
