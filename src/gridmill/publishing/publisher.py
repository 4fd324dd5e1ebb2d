"""Makes what is recorded visible to readers, in an order that they can trust."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded, tokens_of
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.reports.publication import Publication, joined_spans
from gridmill.publishing.extent import Extent
from gridmill.publishing.replicas import Replicas
from gridmill.publishing.staging import Staging
from gridmill.publishing.view import ReaderView
from gridmill.stores.final_store import CoordinateValues, FinalStore, StagedRegion
from gridmill.stores.state.claims import current_claims, is_alive
from gridmill.stores.state.feed import utc_now
from gridmill.stores.state.leases import Lease

__all__ = ["Publisher"]

log = logging.getLogger(__name__)


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
        self.replicas = Replicas(archive, self.extent, replicas)
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

    def remember(self, record: ProgressRecord) -> None:
        """Keep in mind that a region may have uploads that are not visible yet."""
        self.replicas.remember(record)
        self.staging.remember(record)

    def may_show_more(self, record: ProgressRecord, lease: Lease) -> bool:
        """Whether a record that the run just wrote may be a reason to publish.

        Beyond a gap that is the run's own to close it is none, where publishing moves nothing but
        the end of what readers see.
        """
        archive = self.archive
        if (
            not archive.store.shows_uploads
            or self.replicas
            or archive.config.completeness is not None
        ):
            return True
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
        if self.archive.config.completeness is not None:
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
        visible = archive.look()
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
        archive, feed = self.archive, self.archive.store.tracker.feed
        revised, self._revised = self._revised, []
        if before == after and not revised:
            return  # an archive that begins, or what is said of it
        feed.note(
            Publication(
                at=utc_now(),
                run=lease.claim.run,
                kind=lease.claim.kind,
                gridmill=version("gridmill"),
                before=before,
                after=after,
                last=str(archive.index[after - 1]) if after else None,
                changed=joined_spans(revised),
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

    # -- variables that are added ---------------------------------------------------------------

    def show_unseen(self, lease: Lease, declare: Callable[[], None]) -> str | None:
        """Show new variables to readers once they are whole, all at once; else say why not yet.

        Parameters
        ----------
        lease
            The run's.
        declare
            Makes them part of the archive's declaration, for the runs that follow.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        archive = self.archive
        names = ", ".join(archive.unseen)
        self.completeness.learn(lease.claim.run)
        with lease.publishing() as check:
            for claim in current_claims(archive.store.state):
                if claim.run != lease.claim.run and is_alive(archive.store.state, claim):
                    return f"the {claim.kind} {claim.run} does not know {names}: run again after it"
            archive.look()
            lacking, staged, values = self._unseen_regions()
            if lacking:
                first = f"{archive.append_dim} {archive.index[lacking[0]]}"
                return f"{len(lacking)} regions lack {names} yet, the first from {first}"

            def check_and_declare() -> None:
                check()
                declare()

            self.view.show(
                archive.up_to(archive.published),
                check_and_declare,
                seen=archive.published,
                staged=staged,
                values=values,
                message=f"Add {names}",
            )
            self._revised.append((0, archive.published))
            self.note_extent(lease, archive.published, archive.published)
        self.completeness.settle()
        log.info("added %s", names)
        return None

    def _unseen_regions(self) -> tuple[list[int], list[StagedRegion], list[CoordinateValues]]:
        """Find where published regions that lack them begin, and what the others bring."""
        archive = self.archive
        lacking: list[int] = []
        staged: list[StagedRegion] = []
        values: list[CoordinateValues] = []
        for region in archive.visible_regions():
            record = archive.store.tracker.read(region)
            if record is None or self._lacks_unseen(region, record):
                lacking.append(region.start)
            else:
                staged.append(self._unseen_region(record))
                # With one more variable, every share is another one.
                values.extend(self.completeness.take(record, archive.published))
        return lacking, staged, values

    def _unseen_region(self, record: ProgressRecord) -> StagedRegion:
        stop = min(record.stop, self.archive.published)
        unseen = frozenset(self.archive.unseen)
        return StagedRegion(
            record.region.name, stop, tokens_of(self.archive, record), unseen=unseen
        )

    def _lacks_unseen(self, region: Region, record: ProgressRecord) -> bool:
        """Whether a region has something to do for the variables that nobody sees yet."""
        job = self.archive.job(region)
        job = replace(job, data_vars=[v for v in job.data_vars if v.name in self.archive.unseen])
        return bool(prepare_recorded(self.archive, job, record).todo)
