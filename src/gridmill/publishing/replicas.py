"""Replicas: further stores that readers read, published before the primary.

A replica holds the primary's objects, and records of its own that say so: it is an archive like
any other, and may take the primary's place. Workers put what they made into the replicas first.
What a replica lacks nevertheless, because it is new or failed before, is copied from the primary's
objects, published or not, before anything is published.

A replica that fails is left alone for the rest of the run, whose report says why. It holds up the
primary for as long as a store is waited for, once in each process, and no longer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.reports import ReplicaOutcome
from gridmill.publishing.completeness import CompletenessUpkeep
from gridmill.publishing.extent import Extent
from gridmill.publishing.staging import staged_region
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import (
    FinalStore,
    ObjectReplaced,
    StagedRegion,
    Uploaded,
    readable_length,
)
from gridmill.stores.leases import LeaseLost, LeaseProof
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.structure import StructureMismatch, structure_differences

__all__ = ["Copy", "Replicas", "copy_objects"]

log = logging.getLogger(__name__)

STATIC_KEY = -1
# Recorded as soon as they are copied: what an interruption costs.
REGIONS_AT_ONCE = 16


@dataclass(frozen=True)
class Copy:
    """A variable of a region that is to be copied from one store to another.

    Parameters
    ----------
    source, target
        The stores.
    objects, token
        What the upload to `source` returned.
    metadata
        The template's consolidated root metadata.
    proof
        Says whether the run may still write.
    name
        Says what it is, in keys of tasks.
    """

    source: FinalStore
    target: FinalStore
    objects: tuple[ObjectReceipt, ...]
    token: str | None
    metadata: bytes
    proof: LeaseProof
    name: str


def copy_objects(copy: Copy, folder: Path) -> Uploaded | str:
    """Copy objects, byte by byte; or say why the source does not hold them as recorded.

    Parameters
    ----------
    copy
        What is copied, and where to.
    folder
        An empty one for the objects on their way; the caller deletes it.

    Raises
    ------
    LeaseLost
        The run may not write any more.
    OSError
        The target refuses.
    """
    (folder / "zarr.json").write_bytes(copy.metadata)
    try:
        copy.source.download(folder, copy.objects, copy.token)
    except ObjectReplaced as error:
        return str(error)
    keys = [receipt.key for receipt in copy.objects]
    return copy.target.upload(folder, keys, copy.proof, replaces=True)


def _copy_here(copies: Sequence[Copy]) -> list[Uploaded | str]:
    made: list[Uploaded | str] = []
    for copy in copies:
        with temporary_folder() as folder:
            made.append(copy_objects(copy, folder))
    return made


@dataclass(eq=False)
class _Replica:
    """One replica during one run.

    Attributes
    ----------
    known
        By region, the fingerprint of what the replica's records say; None before they are read.
    kept
        By region and variable, what workers put into it.
    staged
        By region, records with uploads that are to be made visible.
    behind
        By region, the primary's record of what could not be copied, and why.
    failure
        Why it is left alone.
    completeness
        Keeps its coordinate at what its records say.
    """

    store: FinalStore
    completeness: CompletenessUpkeep
    known: dict[int, str] | None = None
    kept: dict[tuple[int, str], Uploaded] = field(default_factory=dict)
    staged: dict[int, ProgressRecord] = field(default_factory=dict)
    behind: dict[int, tuple[ProgressRecord, str]] = field(default_factory=dict)
    published: int | None = None
    failure: str | None = None


class Replicas:
    """Further stores that hold what the primary does.

    Parameters
    ----------
    archive
        What the primary holds.
    extent
        Judges which of its regions are whole.
    stores
        The replicas.

    Attributes
    ----------
    copy : callable
        Makes copies; in this process unless somebody knows better.
    """

    def __init__(self, archive: Archive, extent: Extent, stores: Sequence[FinalStore]) -> None:
        self.archive = archive
        self.extent = extent
        self.copy: Callable[[Sequence[Copy]], Sequence[Uploaded | str]] = _copy_here
        self._all = [
            _Replica(store, CompletenessUpkeep(archive, extent, store)) for store in stores
        ]
        self._noted: dict[int, ProgressRecord] = {}
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

    def prepare(self) -> None:
        """Make what uploads need in each; to be called while nobody else publishes."""
        self._prepared = True
        for replica in self._healthy():
            with self._left_alone_if_it_fails(replica):
                self._prepare(replica.store)

    def keep(self, region: slice, variable: str, replicated: Mapping[str, Uploaded]) -> None:
        """Keep what a worker put into replicas, by their URL."""
        for replica in self._all:
            uploaded = replicated.get(replica.store.url)
            if uploaded is not None:
                replica.kept[_key(region), variable] = uploaded

    def note(self, record: ProgressRecord) -> None:
        """Keep in mind that the primary's record of a region may have changed."""
        if self._all:
            self._noted[_key(record.region)] = self._declared(record)

    def catch_up(self, proof: LeaseProof) -> None:
        """Bring what the primary's records have, and a replica's have not.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        noted, self._noted = self._noted, {}
        for replica in self._healthy():
            with self._left_alone_if_it_fails(replica):
                if replica.known is None:
                    self._learn(replica)
                    replica.completeness.learn(proof.run)
                    self._bring(replica, self._primary_records(), proof)
                again = {key: record for key, (record, _) in replica.behind.items()}
                self._bring(replica, {**again, **noted}.values(), proof)

    def publish(self, trimmed: xr.Dataset, check: Callable[[], None]) -> None:
        """Make visible what each holds of the dataset that readers of the primary are to see.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        for replica in self._healthy():
            with self._left_alone_if_it_fails(replica):
                self._publish(replica, trimmed, check)

    def settle(self) -> None:
        """Withdraw the notices of what is not behind any more; see `CompletenessUpkeep`."""
        for replica in self._healthy():
            with self._left_alone_if_it_fails(replica):
                replica.completeness.settle()

    def each(self, change: Callable[[FinalStore], object]) -> None:
        """Do to each what is done to the primary by hand; one where it fails is left alone.

        What no run has made yet has nothing to be changed.

        Raises
        ------
        LeaseLost
            It may not be done any more.
        """
        for replica in self._healthy():
            with self._left_alone_if_it_fails(replica):
                if self._is_made(replica.store):
                    change(replica.store)

    def restore(self, message: str, run: str, check: Callable[[], None]) -> int:
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
            with self._left_alone_if_it_fails(replica):
                if self._is_made(replica.store):
                    replica.completeness.learn(run)
                    changed += self._restore(replica, message, check)
        return changed

    def lengths(self) -> list[int]:
        """How many positions readers of each see; 0 of one that does not say."""
        return [readable_length(replica.store, self._dim) or 0 for replica in self._healthy()]

    def outcomes(self) -> list[ReplicaOutcome]:
        """Say how far each is published, and what is wrong with it."""
        found = []
        for replica in self._all:
            url = mask_url(replica.store.url)
            if replica.failure is None:  # one that does not answer is not waited for again
                with self._left_alone_if_it_fails(replica):
                    replica.published = replica.store.published_length(self._dim) or 0
            failure = replica.failure or self._why_behind(replica, replica.published or 0)
            found.append(ReplicaOutcome(url, replica.published, failure))
        return found

    # -- what a replica is ----------------------------------------------------------------------

    @property
    def _dim(self) -> str:
        return self.archive.config.append_dim

    def _healthy(self) -> Iterator[_Replica]:
        return (replica for replica in self._all if replica.failure is None)

    def _left_alone_if_it_fails(self, replica: _Replica) -> _LeftAlone:
        return _LeftAlone(replica)

    def _prepare(self, store: FinalStore) -> None:
        store.check_writable()
        stored = store.metadata()
        if stored is None:
            store.tracker.write_declaration(self._declaration(store))
        self._check_declaration(store)
        if stored is None:
            with self.archive.written(self.archive.up_to(0)) as folder:
                store.prepare(folder)
            return
        template = json.loads(self.archive.metadata)
        differences = structure_differences(template, stored, self._dim)
        if differences:
            raise StructureMismatch(store.url, differences)

    def _declaration(self, store: FinalStore) -> dict[str, Any]:
        declared = self.archive.store.tracker.read_declaration() or {}
        return {**declared, "format": store.format}

    def _check_declaration(self, store: FinalStore) -> None:
        if store.tracker.read_declaration() != self._declaration(store):
            raise ValueError(
                f"{store.url} holds another archive, or one that was declared differently: "
                "give another --replica, or empty it"
            )

    def _is_made(self, store: FinalStore) -> bool:
        """Whether a run has made this replica; raises if it is something else."""
        if store.tracker.read_declaration() is None and store.metadata() is None:
            return False
        self._check_declaration(store)
        return True

    def _restore(self, replica: _Replica, message: str, check: Callable[[], None]) -> bool:
        length = len(self.archive.index)
        visible = readable_length(replica.store, self._dim)
        if visible is None:
            self._learn(replica)
            visible = self._whole_prefix(replica, 0, length)
        if not 0 < visible <= length:
            return False
        with self.archive.written(self.archive.up_to(visible)) as folder:
            replica.completeness.write_recorded(folder, visible)
            return replica.store.publish(folder, message=message, check=check)

    def _learn(self, replica: _Replica) -> None:
        """Read what the replica's own records say."""
        replica.known = {}
        for record in _records(replica.store):
            self._hold(replica, record)

    def _hold(self, replica: _Replica, record: ProgressRecord) -> None:
        assert replica.known is not None
        key = _key(record.region)
        replica.known[key] = _fingerprint(record)
        replica.behind.pop(key, None)
        replica.staged.pop(key, None)
        if replica.store.stages and any(v.token for v in record.variables.values()):
            replica.staged[key] = record

    # -- copies ---------------------------------------------------------------------------------

    def _primary_records(self) -> Iterator[ProgressRecord]:
        return map(self._declared, _records(self.archive.store))

    def _declared(self, record: ProgressRecord) -> ProgressRecord:
        """Leave out variables that are being added and that no reader sees yet."""
        arrays = self.archive.arrays
        seen = {name: v for name, v in record.variables.items() if name in arrays}
        return replace(record, variables=seen)

    def _bring(
        self, replica: _Replica, records: Iterable[ProgressRecord], proof: LeaseProof
    ) -> None:
        known = replica.known or {}
        differing = (r for r in records if known.get(_key(r.region)) != _fingerprint(r))
        while batch := list(islice(differing, REGIONS_AT_ONCE)):
            self._bring_batch(replica, batch, proof)

    def _bring_batch(
        self, replica: _Replica, records: Sequence[ProgressRecord], proof: LeaseProof
    ) -> None:
        tokens: dict[tuple[int, str], str | None] = {}
        wanted: dict[tuple[int, str], Copy] = {}
        for record in records:
            held = replica.store.tracker.read(record.region)
            for name, variable in record.variables.items():
                place = (_key(record.region), name)
                there = _there(held, name, replica.kept.pop(place, None), variable)
                if there is not None:
                    tokens[place] = there.token
                elif variable.objects:
                    wanted[place] = self._copy_of(replica, place, variable, proof)
        refused: dict[int, str] = {}
        for place, made in zip(wanted, self.copy(list(wanted.values())), strict=True):
            if isinstance(made, str):
                refused[place[0]] = made
            else:
                tokens[place] = made.token
        for record in records:
            key = _key(record.region)
            if key in refused:
                replica.behind[key] = (record, refused[key])
                continue
            variables = {
                name: replace(variable, token=tokens.get((key, name)))
                for name, variable in record.variables.items()
            }
            mirrored = replace(record, variables=variables)
            proof.check()
            replica.completeness.announce(record.region, proof.run)
            replica.store.tracker.write(mirrored)
            self._hold(replica, mirrored)

    def _copy_of(
        self, replica: _Replica, place: tuple[int, str], variable: VariableRecord, proof: LeaseProof
    ) -> Copy:
        return Copy(
            source=self.archive.store,
            target=replica.store,
            objects=variable.objects,
            token=variable.token,
            metadata=self.archive.metadata,
            proof=proof,
            name=f"{max(place[0], 0)}-{place[1]}",
        )

    # -- publications ---------------------------------------------------------------------------

    def _publish(self, replica: _Replica, trimmed: xr.Dataset, check: Callable[[], None]) -> None:
        store, length = replica.store, trimmed.sizes[self._dim]
        visible = store.published_length(self._dim)
        upto = self._whole_prefix(replica, visible or 0, length)
        if visible is not None and length < visible:
            return  # it was published, and then the run that was to publish the primary died
        values = replica.completeness.changes(visible or 0, upto)
        staged = self._staged(replica, upto, visible or 0)
        if upto == visible and not staged and not values and replica.published is not None:
            return
        with self.archive.written(trimmed.isel({self._dim: slice(0, upto)})) as folder:
            store.publish(folder, staged, check=check, values=values)
        replica.completeness.note_shown()
        replica.published = upto
        replica.staged = {k: r for k, r in replica.staged.items() if r.stop > upto}

    def _whole_prefix(self, replica: _Replica, visible: int, length: int) -> int:
        """How far a replica may be visible: where it has whole regions without a gap."""
        known = replica.known or {}
        position = visible
        while position < length:
            region = self.archive.region_at(position)
            record = self.archive.store.tracker.read(region)
            if record is None or not self.extent.is_whole(record):
                return max(visible, int(region.start))
            if known.get(_key(region)) != _fingerprint(self._declared(record)):
                return max(visible, int(region.start))
            position = int(region.stop)
        return length

    def _staged(self, replica: _Replica, upto: int, visible: int) -> list[StagedRegion]:
        ready = [
            record
            for record in replica.staged.values()
            if record.start < upto or record.stop == record.start
            if self.extent.is_whole(record)
        ]
        return [
            staged_region(self.archive, record, upto, visible)
            for record in sorted(ready, key=lambda record: record.stop)
        ]

    def _why_behind(self, replica: _Replica, positions: int) -> str | None:
        primary = self.archive.store.published_length(self._dim) or 0
        if replica.behind:
            _, why = next(iter(replica.behind.values()))
            return f"{len(replica.behind)} regions could not be copied: {why}"
        if positions < primary:
            return f"shows {positions} of {primary} positions: the next run goes on"
        if positions > primary:
            return f"shows {positions} positions, {self.archive.store.url} only {primary}"
        return None


@dataclass(frozen=True)
class _LeftAlone:
    """Lets a replica's failure be no failure of the run."""

    replica: _Replica

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
            log.warning("replica %s is left alone: %s", mask_url(self.replica.store.url), cause)
        return True


def _records(store: FinalStore) -> Iterator[ProgressRecord]:
    static = store.tracker.read(slice(0, 0))
    if static is not None:
        yield static
    yield from store.tracker.records()


def _key(region: slice) -> int:
    return region.start if region.stop > region.start else STATIC_KEY


def _fingerprint(record: ProgressRecord) -> str:
    """Tell records apart by all that they say, but for what only their own store understands."""
    plain = {name: replace(v, token=None) for name, v in record.variables.items()}
    return hashlib.sha256(replace(record, variables=plain).to_json()).hexdigest()[:16]


def _there(
    held: ProgressRecord | None, name: str, kept: Uploaded | None, variable: VariableRecord
) -> Uploaded | None:
    """Give what a replica holds of a variable, if that is what the primary's record says.

    What was just put there comes first: what was there before may be damaged, and made again.
    """
    if kept is not None and set(kept.objects) == set(variable.objects):
        return kept
    before = None if held is None else held.variables.get(name)
    if before is not None and before.objects and before.objects == variable.objects:
        return Uploaded(before.objects, before.token)
    return None
