"""Records what is done, and shows it to readers, as often as is cheap."""

from __future__ import annotations

import time
from math import inf
from typing import Any

from gridmill.model.records import ProgressRecord
from gridmill.planning.recording import record_outcome
from gridmill.planning.revisions import changed_places, revised
from gridmill.publishing.publisher import Publisher
from gridmill.runs.in_flight import RegionInFlight
from gridmill.runs.narration import Narrator
from gridmill.stores.state.leases import Lease

__all__ = ["PUBLISH_INTERVAL_S", "Ledger", "Showing"]

# Each publication rewrites the root object, and stores limit how often one object may change.
PUBLISH_INTERVAL_S = 1.0
# Of the loop's time, in which it submits nothing, at most; more only where no task ends.
PUBLISHING_SHARE = 0.1
# What is done of regions that are not complete is recorded so often that a kill costs what workers
# have in hand, and little more; less often where writing would hold up the loop, but not rarely.
RECORD_INTERVAL_S, LONGEST_RECORD_INTERVAL_S = 1.0, 5.0
RECORDING_SHARE = 0.05


class Showing:
    """Publishes while a run goes on.

    Parameters
    ----------
    publisher
        Knows the final store.
    lease
        The run's right to write.
    narrator
        Is told what readers see.
    interval_s
        Readers see new data at most this often; less often where the store is so slow that
        publishing would hold up the loop.
    """

    def __init__(
        self, publisher: Publisher, lease: Lease, narrator: Narrator, interval_s: float
    ) -> None:
        self.publisher = publisher
        self.lease = lease
        self.narrator = narrator
        self.interval_s = interval_s
        # What earlier runs left of this one's regions is expected when they are found done. What
        # they left elsewhere waits until there is nothing else to do for a moment, or for the end.
        self._next, self._next_if_idle = inf, time.monotonic() + interval_s
        self._has_news, self._has_published = True, False
        # Whether something was recorded since, whatever readers will see of it.
        self._is_behind = True

    def expect(self) -> None:
        """Remember that there is something to show; the first of it waits for nothing."""
        self._has_news = True
        if not self._has_published:
            self._next = self._next_if_idle = 0.0

    def note_recorded(self) -> None:
        """Remember that a record was written: what readers may see is to be judged again."""
        self._is_behind = True

    def is_due(self, is_idle: bool) -> bool:
        """Whether it is time to publish."""
        earliest = self._next_if_idle if is_idle else self._next
        return self._has_news and time.monotonic() >= earliest

    def finish(self) -> None:
        """Show readers what is recorded, unless they see it already; replicas get another try."""
        if self._is_behind or self.publisher.replicas:
            self.publish()

    def publish(self) -> None:
        """Show readers what is recorded."""
        began, self._has_news, self._has_published = time.monotonic(), False, True
        self._is_behind = False
        is_visible = self.publisher.publish(self.lease)
        ended = time.monotonic()
        pause_s = (ended - began) / PUBLISHING_SHARE
        self._next_if_idle = began + self.interval_s
        self._next = max(self._next_if_idle, ended + pause_s)
        if is_visible:
            archive = self.publisher.archive
            self.narrator.note_published(archive.published, archive.last_label)
        self.narrator.note_visible(self.publisher.archive.published)


class Ledger:
    """Writes the records of a run's regions.

    Parameters
    ----------
    publisher
        Knows the final store, and judges how far readers may see.
    lease
        The run's right to write.
    run
        Named in the records.
    now
        The present, as a label of the append dim.
    showing
        Is told when there is more to show.
    """

    def __init__(
        self, publisher: Publisher, lease: Lease, *, run: str, now: Any, showing: Showing
    ) -> None:
        self.publisher = publisher
        self.lease = lease
        self.run = run
        self.now = now
        self.showing = showing
        self.tracker = publisher.archive.store.tracker
        self.unrecorded: set[RegionInFlight] = set()
        self._record_next = time.monotonic() + RECORD_INTERVAL_S

    def begin(self, region: RegionInFlight) -> None:
        """Take out of a region's record what is not true any more once one object is replaced."""
        if region.outcome.prepared.record is not None:
            self._record(region, is_begun=True)

    def record(self, region: RegionInFlight) -> ProgressRecord:
        """Write the record of a region all of whose tasks have ended."""
        record = self._record(region, is_begun=False)
        if region.known is not None:
            region.changed = changed_places(region.known, record)
        found = revised(region.changed, self.publisher.archive.published)
        if found is not None:
            self.publisher.note_revised(found[0])
        return record

    def _record(self, region: RegionInFlight, *, is_begun: bool) -> ProgressRecord:
        """Write a region's record: all that it says is true of the store by now."""
        dataset_id = self.tracker.dataset_id
        record = record_outcome(region.outcome, dataset_id=dataset_id, run=self.run, now=self.now)
        self.write(record, is_begun=is_begun)
        self.publisher.remember(record)
        self.unrecorded.discard(region)
        return record

    def write(self, record: ProgressRecord, *, is_begun: bool = False) -> None:
        """Write a record, but not over that of a run which took this one for dead."""
        self.lease.proof.check()
        self.publisher.completeness.announce(record.region, self.run)
        self.tracker.write(record, is_begun=is_begun)
        self.showing.note_recorded()
        if self.publisher.may_show_more(record, self.lease):
            self.showing.expect()

    def note_found(self, record: ProgressRecord) -> None:
        """Let readers see soon what an earlier run recorded and did not publish any more."""
        is_seen = record.stop <= self.publisher.archive.published
        if not is_seen and self.publisher.may_show_more(record, self.lease):
            self.showing.expect()

    def record_partly(self, *, at_once: bool = False) -> None:
        """Keep the variables that are done of regions that are not, at a bounded rate."""
        began = time.monotonic()
        if not self.unrecorded or (began < self._record_next and not at_once):
            return
        for region in list(self.unrecorded):
            self._record(region, is_begun=region.known is not None)
        ended = time.monotonic()
        pause_s = max(RECORD_INTERVAL_S, (ended - began) / RECORDING_SHARE)
        self._record_next = ended + min(pause_s, LONGEST_RECORD_INTERVAL_S)
