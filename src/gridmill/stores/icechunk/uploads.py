"""Which uploads are there, and which of them the branch holds."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any

import icechunk
from zarr.abc.store import Store

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.stores.final_store import StagedRegion
from gridmill.stores.icechunk.keys import get, has, read_metadata
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.repository import AT_ONCE, BRANCH, RepositoryAt
from gridmill.stores.icechunk.settings.formats import DEFAULT, format_of
from gridmill.stores.icechunk.tokens import Forks, UploadLost
from gridmill.stores.lookahead import each
from gridmill.stores.metadata import ROOT, array_metadata
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.records import UpdateProgressTracker

__all__ = ["MERGED", "Uploads", "digest_of", "digests_without", "merged_in", "said_of_merged"]

log = logging.getLogger(__name__)

# In a commit's metadata: by region, the digest of what the branch holds of it.
MERGED = "gridmill-merged"
# The same, as far as the commit changed it; None for a region of which it holds nothing any more.
MERGED_BY = "gridmill-merged-by"


class Uploads:
    """The uploads of one archive, by their tokens.

    Parameters
    ----------
    repository
        What they were made in.
    tracker
        The records that hold their tokens.

    Attributes
    ----------
    forks
        Opens what they wrote.
    """

    def __init__(self, repository: RepositoryAt, tracker: UpdateProgressTracker) -> None:
        self.repository = repository
        self.tracker = tracker
        self.forks = Forks(repository, tracker.objects.url)
        self._remember_nothing()

    def __getstate__(self) -> dict[str, Any]:
        return {
            k: v
            for k, v in self.__dict__.items()
            if k not in ("_known_merged", "_complained", "_digests")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember_nothing()

    def _remember_nothing(self) -> None:
        self._known_merged: Mapping[str, str] | None = None
        self._complained: set[str] = set()

    @property
    def state(self) -> Objects:
        """Where the records are."""
        return self.tracker.objects

    def format_of_new(self) -> int:
        """Return the format that a new repository is made in: as asked, or as declared before."""
        declared = self.tracker.read_declaration() or {}
        return self.repository.format_version or declared.get("format_version") or DEFAULT

    # -- what is where ------------------------------------------------------------------------

    def missing(self, receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        """Return the keys whose object is gone or has fewer bytes.

        With a token, they are looked for in what it made durable, published or not; once the
        snapshot that it began from has expired, in what readers see. What this Icechunk does not
        read any more is there only where all of its region is published.
        """
        if not receipts:
            return []
        if token is None:
            return self._missing_in(patiently(self.repository.published), receipts)
        of = self.forks.name_of(receipts[0].key)
        try:
            return self._missing_in(patiently(lambda: self.forks.held(token, of)), receipts)
        except UploadLost as lost:
            reason = str(lost)
        is_there = self.forks.is_readable(token, of) or self._is_shown(token)
        published = patiently(self.repository.published) if is_there else None
        gone = self._missing_in(published, receipts)
        if gone:
            self._complain(gone[0], reason)
        return gone

    def _missing_in(self, store: Store | None, receipts: Sequence[ObjectReceipt]) -> list[str]:
        def is_there(receipt: ObjectReceipt) -> bool:
            return store is not None and patiently(lambda: has(store, receipt))

        found = each(is_there, receipts, AT_ONCE)
        return [r.key for r, there in zip(receipts, found, strict=True) if not there]

    def _complain(self, key: str, reason: str) -> None:
        """Say once why what was uploaded is uploaded again, whatever it may be."""
        if reason not in self._complained:
            self._complained.add(reason)
            log.warning(
                "%s: uploads that no reader sees yet count as not uploaded and are repeated, "
                "the first that of %s: %s",
                self.repository.url,
                key,
                reason,
            )

    def lost(self, region: StagedRegion) -> frozenset[str]:
        """Name the variables whose uploads cannot be merged any more, and must be.

        This Icechunk does not read them, or they began from a seed and their array became visible
        without them.
        """
        said = self._merged_lately().get(region.name)
        if said == digest_of(region):
            return frozenset()
        return frozenset(
            name
            for name, token in region.tokens.items()
            if not self.forks.is_readable(token, self.forks.name_of(name, region.name))
            or (said is None and self._is_late(token, name, region.name))
        )

    def _is_late(self, token: str, name: str, region: str) -> bool:
        if self.forks.token(token, name, region).seed is None:
            return False
        store = patiently(self.repository.published)
        is_shown = store is not None and get(store, f"{name}/{ROOT}") is not None
        return is_shown and region not in self.merged()  # another store of ours may have published

    def whole_regions(self) -> Iterator[StagedRegion]:
        """Yield all regions with uploads, whole."""
        # What is being added awaits its commit, too.
        for record in chain(self.tracker.all_records(), self.tracker.adding.all_records()):
            tokens = {n: v.token for n, v in record.variables.items() if v.token is not None}
            if tokens:
                yield StagedRegion(record.region.name, record.stop, tokens)

    def merged(self) -> Mapping[str, str]:
        """Read what the branch holds, and remember it; see `merged_in`."""
        self._known_merged = patiently(
            lambda: merged_in(self.repository.open(), self.repository.branch)
        )
        return self._known_merged

    def _merged_lately(self) -> Mapping[str, str]:
        """Return what the branch held at the last publication, or else now; see `merged_in`."""
        if self._known_merged is None:
            try:
                return self.merged()
            except FileNotFoundError:
                return {}
        return self._known_merged

    def _is_shown(self, token: str) -> bool:
        """Whether readers see all of the region that a token belongs to."""
        name, digest = self._digests.get(token, ("", ""))
        return bool(digest) and self._merged_lately().get(name) == digest

    @cached_property
    def _digests(self) -> Mapping[str, tuple[str, str]]:
        """By token, its region and the digest of what readers may see of it."""
        store = patiently(self.repository.published)
        metadata = {} if store is None else patiently(lambda: read_metadata(store))
        arrays = array_metadata(metadata) if metadata else {}
        found = {}
        for region in self.whole_regions():
            # A variable that is being added is seen only once all of it is there.
            seen = {n: t for n, t in region.tokens.items() if n in arrays}
            digest = digest_of(replace(region, tokens=seen))
            found.update(dict.fromkeys(seen.values(), (region.name, digest)))
        return found


def digest_of(region: StagedRegion) -> str:
    """Tell apart what a region brings, and how much of it is visible: both may change."""
    tokens = json.dumps(sorted(region.tokens.items())).encode()
    return f"{hashlib.sha256(tokens).hexdigest()[:16]} {region.stop}"


def digests_without(
    record: ProgressRecord, arrays: Collection[str], names: Collection[str], said: str | None
) -> tuple[str | None, str]:
    """Return the digests of a region with all that readers see, and without some arrays.

    `said` is what the branch holds of it; None and nothing where it holds nothing.
    """
    if said is None:
        return None, ""
    tokens = {n: v.token for n, v in record.variables.items() if v.token and n in arrays}
    whole = StagedRegion(record.region.name, int(said.split()[-1]), tokens)
    rest = {name: token for name, token in tokens.items() if name not in names}
    return digest_of(whole), digest_of(replace(whole, tokens=rest))


def merged_in(repository: icechunk.Repository, branch: str = BRANCH) -> dict[str, str]:
    """Return by region what the branch holds of it, as the commits of ours say."""
    merged: dict[str, str | None] = {}
    if branch != BRANCH and branch not in repository.list_branches():
        return {}
    for snapshot in repository.ancestry(branch=branch):
        # What a later commit says of a region stands.
        merged = {**snapshot.metadata.get(MERGED_BY, {}), **merged}
        if MERGED in snapshot.metadata:
            merged = {**snapshot.metadata[MERGED], **merged}
            break
    return {name: digest for name, digest in merged.items() if digest is not None}


def said_of_merged(
    repository: icechunk.Repository, merged: Mapping[str, str], branch: str = BRANCH
) -> dict[str, Any]:
    """Return what a commit says of what the branch holds with it.

    All, in format 1: a commit is read by itself, and a search for what it leaves out would
    read one after the other. In format 2 one object has what every commit says, so that each says
    what it changed: all of it in each grew with the square of the archive.
    """
    if format_of(repository) == 1:
        return {MERGED: dict(merged)}
    before = merged_in(repository, branch)
    changed: dict[str, str | None] = {k: v for k, v in merged.items() if before.get(k) != v}
    return {MERGED_BY: {**changed, **dict.fromkeys(before.keys() - merged.keys())}}
