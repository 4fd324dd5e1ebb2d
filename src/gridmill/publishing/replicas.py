"""Replicas: further stores that readers read, published before the primary.

A replica holds the primary's objects, and records of its own that say so: it is an archive like
any other, and may take the primary's place. Workers put what they made into the replicas first.
What a replica lacks nevertheless, because it is new or failed before, is copied from the primary's
objects, published or not, before anything is published.

A replica that fails is left alone for the rest of the run, whose report says why. It holds up the
primary for as long as a store is waited for, once in each process, and no longer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.reports.entries import ReplicaOutcome
from gridmill.publishing.copies import copy_here
from gridmill.publishing.extent import Extent
from gridmill.publishing.replica import MakeCopies, Replica, declared
from gridmill.publishing.view import Check, ReaderView
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore, Uploaded, readable_length
from gridmill.stores.state.leases import LeaseLost, LeaseProof

__all__ = ["Replicas"]

log = logging.getLogger(__name__)


class Replicas:
    """Further stores that hold what the primary does.

    Parameters
    ----------
    archive
        What the primary holds.
    stores
        The replicas.
    extent
        Judges which of its regions are whole; None looks at the archive's records itself.

    Attributes
    ----------
    copy : callable
        Makes copies; in this process unless somebody knows better.
    """

    def __init__(
        self, archive: Archive, stores: Sequence[FinalStore], extent: Extent | None = None
    ) -> None:
        self.archive = archive
        self.copy: MakeCopies = copy_here
        self._judges = extent or Extent(archive)
        self._all = [Replica(archive, self._judges, store) for store in stores]
        self._changed: dict[str, ProgressRecord] = {}
        self._prepared = False

    @property
    def stores(self) -> tuple[FinalStore, ...]:
        """Those that have not failed."""
        return tuple(replica.store for replica in self._healthy())

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def are_prepared(self) -> bool:
        """Whether all can take uploads, as far as they have not failed."""
        return self._prepared or not self._all

    @property
    def have_failed(self) -> bool:
        """Whether one has."""
        return any(replica.failure is not None for replica in self._all)

    def prepare(self) -> None:
        """Make what uploads need in each; to be called while nobody else publishes."""
        self._prepared = True
        for replica in self._healthy():
            with _LeftAlone(replica):
                replica.prepare()

    def keep(self, region: Region, variable: str, replicated: Mapping[str, Uploaded]) -> None:
        """Keep what a worker put into replicas, by their URL."""
        for replica in self._all:
            uploaded = replicated.get(replica.store.url)
            if uploaded is not None:
                replica.keep(region, variable, uploaded)

    def remember(self, record: ProgressRecord) -> None:
        """Keep in mind that the primary's record of a region may have changed."""
        if self._all:
            self._changed[record.region.key] = declared(self.archive, record)

    def catch_up(self, proof: LeaseProof) -> None:
        """Bring what the primary's records have, and a replica's have not.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        changed, self._changed = self._changed, {}
        for replica in self._healthy():
            with _LeftAlone(replica):
                replica.catch_up(changed, proof, self.copy)

    def publish(
        self,
        trimmed: xr.Dataset,
        check: Check,
        *,
        message: str = "",
        together: Collection[str] = (),
    ) -> None:
        """Make visible what each holds of the dataset that readers of the primary are to see.

        For `message` and `together` see `FinalStore.publish`.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        for replica in self._healthy():
            with _LeftAlone(replica):
                replica.publish(trimmed, check, message=message, together=together)

    def settle(self) -> None:
        """Withdraw the notices of what is not behind any more; see `CompletenessUpkeep`."""
        for replica in self._healthy():
            with _LeftAlone(replica):
                replica.completeness.settle()

    def each(self, change: Callable[[ReaderView], object]) -> None:
        """Do to each what maintenance does to the primary; one where it fails is left alone.

        What no run has made yet has nothing to be changed.

        Raises
        ------
        LeaseLost
            It may not be done any more.
        """
        for replica in self._healthy():
            with _LeftAlone(replica):
                if replica.is_made():
                    change(replica.view)

    def follow(
        self, change: Callable[[ReaderView], object], declared_since: Collection[str] = ()
    ) -> None:
        """Let each follow where positions of the archive moved; one where it fails is left alone.

        Also one in which that was interrupted. What was known of it is looked up again.

        Parameters
        ----------
        change
            Lets it follow.
        declared_since
            What the archive's declaration may say since, and that of a replica not yet.

        Raises
        ------
        LeaseLost
            It may not be done any more.
        """
        for number, replica in enumerate(self._all):
            if replica.failure is not None:
                continue
            with _LeftAlone(replica):
                if replica.is_made(declared_since):
                    change(replica.view)
                    self._all[number] = Replica(self.archive, self._judges, replica.store)
                    self._prepared = False

    def restore(self, message: str, run: str, check: Check) -> int:
        """Write metadata and coordinates of each again, as the template has them; data stay.

        Readers see as many positions as before; where that cannot be read, those that a replica
        has without a gap.

        Parameters
        ----------
        message
            Says what this is for.
        run
            Its name.
        check
            Called before every step, see `FinalStore.publish`.

        Returns
        -------
        int
            How many replicas that changed.

        Raises
        ------
        LeaseLost
            It may not be done any more.
        """
        changed = 0
        for replica in self._healthy():
            with _LeftAlone(replica):
                if replica.is_made():
                    replica.completeness.learn(run)
                    changed += replica.restore(message, check)
        return changed

    def lengths(self) -> list[int]:
        """How many positions readers of each see; 0 of one that does not say."""
        dim = self.archive.append_dim
        return [readable_length(replica.store, dim) or 0 for replica in self._healthy()]

    def outcomes(self) -> list[ReplicaOutcome]:
        """Say how far each is published, and what is wrong with it."""
        found = []
        for replica in self._all:
            url = mask_url(replica.store.url)
            if replica.failure is None:  # one that does not answer is not waited for again
                with _LeftAlone(replica):
                    dim = self.archive.append_dim
                    replica.published = replica.store.published_length(dim) or 0
            failure = replica.failure or replica.why_behind(replica.published or 0)
            found.append(ReplicaOutcome(url, replica.published, failure))
        return found

    def _healthy(self) -> Iterator[Replica]:
        return (replica for replica in self._all if replica.failure is None)


@dataclass(frozen=True)
class _LeftAlone:
    """Lets a replica's failure be no failure of the run."""

    replica: Replica

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: Any, traceback: Any) -> bool:
        if error is None or not isinstance(error, Exception) or isinstance(error, LeaseLost):
            return False
        # What stores raise says all by itself.
        name = "" if isinstance(error, OSError) and str(error) else f"{type(error).__name__}: "
        cause = " ".join(f"{name}{error}".split())
        self.replica.failure = self.replica.failure or cause
        with suppress(Exception):
            log.warning(
                "replica %s is skipped for the rest of the run: %s",
                mask_url(self.replica.store.url),
                cause,
            )
        return True
