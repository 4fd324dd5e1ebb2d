"""Makes what is recorded visible to readers, in an order that they can trust."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

from gridmill.archive.archive import Archive
from gridmill.archive.axis.labels import refuse_other_labels
from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.settling import is_offered
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.reports.publication import Publication, joined_spans
from gridmill.publishing.extent import Extent
from gridmill.publishing.replicas import Replicas
from gridmill.publishing.staging import Staging
from gridmill.publishing.view import ReaderView
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.beside.feed import utc_now
from gridmill.stores.state.leases import Lease

__all__ = ["Publisher"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class Publisher:
    """Publishes the longest prefix of an archive that its records allow.

    Parameters
    ----------
    archive
        With its records.
    replicas
        Further stores that readers read.
    """

    def __init__(self, archive: Archive, replicas: Sequence[FinalStore] = ()) -> None:
        self.archive = archive
        self.extent = Extent(archive)
        self.staging = Staging(archive, self.extent)
        self.replicas = Replicas(archive, replicas, self.extent)
        self.view = ReaderView(archive, self.extent, archive.store, self.remember)
        self.completeness = self.view.completeness
        self._revised: list[tuple[int, int]] = []

    def prepare(self, lease: Lease) -> None:
        """Make what uploads need, where a store's format needs more than a place."""
        self._prepare_replicas(lease)
        archive, store = self.archive, self.archive.store
        if store.shows_uploads or not (archive.unseen or store.metadata() is None):
            return
        with lease.publishing():
            self.view.prepare()

    def change_everywhere(self, change: Callable[[ReaderView], T]) -> T:
        """Apply maintenance to the replicas, then to the archive.

        A replica where it fails is left alone, see `Replicas.each`.

        Returns
        -------
        T
            What it gave for the archive.
        """
        self.replicas.each(change)
        return change(self.view)

    def remember(self, record: ProgressRecord) -> None:
        """Keep in mind that a region may have uploads that are not visible yet."""
        self.replicas.remember(record)
        self.staging.remember(record)

    def may_show_more(self, record: ProgressRecord, lease: Lease) -> bool:
        """Whether a record that the run just wrote may be a reason to publish.

        Where publishing moves nothing but the end of what readers see, it is none if it lacks a
        variable, or lies beyond a gap that is the run's own to close.
        """
        archive = self.archive
        if not archive.store.shows_uploads or self.replicas or shares_of(archive.config.coords):
            return True
        if not record.region.is_static and _lacks_variables(archive, record):
            return False
        end = archive.region_start(archive.published)
        return record.start <= end or not any(a <= end < b for a, b in lease.claim.positions)

    def publish(self, lease: Lease, *, message: str = "", together: Collection[str] = ()) -> bool:
        """Make the longest settled prefix visible; whether readers see more than before.

        Parameters
        ----------
        lease
            The run's; other runs wait while this one publishes.
        message, together
            See `FinalStore.publish`.

        Raises
        ------
        LeaseLost
            The run may not write any more.

        Notes
        -----
        Root and records are read again, and the extent is never lowered.
        """
        self._prepare_replicas(lease)
        # It may take long, and others want to publish meanwhile.
        if self.replicas:
            self.replicas.catch_up(lease.proof)
        if shares_of(self.archive.config.coords):
            self.completeness.learn(lease.claim.run)
        with lease.publishing() as check:
            is_news = self._publish(check, lease, message, together)
        self.completeness.settle()
        self.replicas.settle()
        return is_news

    def _publish(
        self, check: Callable[[], None], lease: Lease, message: str, together: Collection[str]
    ) -> bool:
        archive = self.archive
        if not self.extent.is_static_settled():
            return False
        seen_before = archive.published
        visible = archive.look()
        is_irregular = archive.config.append_dim_frequency is None
        if is_irregular and visible is not None and visible != seen_before:
            # Somebody else published since: an irregular axis may have got other labels.
            refuse_other_labels(archive, archive.store, visible, {archive.append_dim})
        self._remember_static()
        trimmed = self.extent.publishable(self.remember)
        length = trimmed.sizes[archive.append_dim]
        values = self.completeness.changes(archive.published, length)
        staged = self.staging.below(length)
        is_news = visible is None or length > visible or bool(staged or values)
        if visible is not None and length < visible:
            trimmed, length = archive.up_to(visible), visible
        if self.replicas:
            self.replicas.catch_up(lease.proof)  # with what others recorded in the meantime
            self.replicas.publish(trimmed, check, message=message, together=together)
        if not is_news:
            return False
        changed = self.view.show(
            trimmed,
            check,
            seen=visible or 0,
            staged=staged,
            values=values,
            message=message,
            together=together,
        )
        self.staging.forget(length)
        if not changed:
            return False
        archive.published = length
        self.note_extent(lease, visible or 0, length)
        log.info("published %d positions, up to %s", length, archive.last_label)
        return True

    # -- the feed -------------------------------------------------------------------------------

    def note_revised(self, region: Region) -> None:
        """Keep in mind for the feed that published positions hold other values, or will soon."""
        self._revised.append((region.start, region.stop))

    def note_extent(self, lease: Lease, before: int, after: int) -> None:
        """Put into the feed how many positions readers see, and which are others than before.

        While no other run publishes.
        """
        revised, self._revised = self._revised, []
        if before == after and not revised:
            return  # an archive that begins, or what is said of it
        self._feed(lease, before, after, changed=joined_spans(revised))

    def note_variables(
        self, lease: Lease, *, added: Sequence[str] = (), removed: Sequence[str] = ()
    ) -> None:
        """Put into the feed which variables readers see since now, and which no longer.

        While no other run publishes.
        """
        length = self.archive.store.published_length(self.archive.append_dim) or 0
        changed = ((0, length),) if added and length else ()
        names = {"added": tuple(added), "removed": tuple(removed)}
        self._feed(lease, length, length, changed=changed, **names)

    def _feed(self, lease: Lease, before: int, after: int, **changes: Any) -> None:
        feed, index = self.archive.store.tracker.feed, self.archive.index
        feed.note(
            Publication(
                at=utc_now(),
                run=lease.claim.run,
                kind=lease.claim.kind,
                gridmill=version("gridmill"),
                before=before,
                after=after,
                last=str(index[after - 1]) if 0 < after <= len(index) else None,
                **changes,
            )
        )
        feed.write()

    @contextmanager
    def feeding(self, lease: Lease) -> Iterator[None]:
        """Write in the end, however it comes, what the feed lacks of what is published within."""
        self.archive.store.tracker.feed.begin()
        try:
            yield
        finally:
            self._write_feed(lease)

    def _write_feed(self, lease: Lease) -> None:
        feed = self.archive.store.tracker.feed
        # What replaced published objects of a store that shows uploads needed no publication.
        is_shown = bool(self._revised) and self.archive.store.shows_uploads
        if not (feed.has_news or is_shown):
            return
        try:
            with lease.publishing():
                if is_shown:
                    self.note_extent(lease, self.archive.published, self.archive.published)
                feed.write(at_once=True)
        except Exception as error:  # the feed tells, and decides nothing
            log.warning("the feed lacks what was published last: %s", error)

    def _remember_static(self) -> None:
        store = self.archive.store
        if not store.shows_uploads or self.replicas:
            static = store.tracker.read(Region.STATIC)
            if static is not None:
                self.remember(static)

    def _prepare_replicas(self, lease: Lease) -> None:
        if not self.replicas.are_prepared:
            with lease.publishing():
                self.replicas.prepare()

    def restore(self, length: int, message: str, lease: Lease) -> int:
        """Write metadata and coordinates again, of replicas first; how many stores that changed.

        Parameters
        ----------
        length
            How many positions readers see, or saw before the store was damaged.
        message
            Says what this is for.
        lease
            Of all positions.

        Raises
        ------
        ValueError
            Readers see more by now; the archive is as it was.
        LeaseLost
            Nothing may be written any more.
        """
        run = lease.claim.run
        self.completeness.learn(run)
        with lease.publishing() as check:
            restored = self.replicas.restore(message, run, check)
            return restored + self.view.restore(length, message, check)


def _lacks_variables(archive: Archive, record: ProgressRecord) -> bool:
    """Whether a region's record has nothing of a variable that the provider has there."""
    job = archive.job(record.region)
    return any(v.name not in record.variables and is_offered(job, v) for v in job.data_vars)
