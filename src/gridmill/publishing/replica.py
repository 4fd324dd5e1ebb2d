"""One replica: an archive of its own that holds what the primary's records say.

What workers put into it is taken over, what it lacks is copied, and its records say both. It is
published as far as it has whole regions without a gap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive, lacking_in
from gridmill.archive.axis.following import (
    check_completed,
    promotion_told,
    refuse_labels_from_before,
    why_declared_otherwise,
)
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.publishing.copies import Copy
from gridmill.publishing.extent import Extent
from gridmill.publishing.staging import staged_region
from gridmill.publishing.variables.showing import show_added
from gridmill.publishing.view import Check, ReaderView
from gridmill.stores.final_store import FinalStore, StagedRegion, Uploaded, readable_length
from gridmill.stores.metadata import array_metadata
from gridmill.stores.state.leases import LeaseProof
from gridmill.stores.structure import StructureMismatch, structure_differences

__all__ = ["MakeCopies", "Replica", "declared"]

MakeCopies = Callable[[Sequence[Copy]], Sequence[Uploaded | str]]
# A variable of a region: the region's key, and the variable's name.
Place = tuple[str, str]

# Recorded as soon as they are copied: what an interruption costs.
REGIONS_AT_ONCE = 16


class Replica:
    """One replica during one run.

    Parameters
    ----------
    archive
        What the primary holds.
    extent
        Judges which of its regions are whole; None looks at the archive's records itself.
    store
        The replica's.

    Attributes
    ----------
    view
        What its readers see.
    completeness
        Keeps its coordinate at what its records say.
    published
        How many positions its readers see, as far as is known.
    failure
        Why it is left alone.
    """

    def __init__(self, archive: Archive, extent: Extent | None, store: FinalStore) -> None:
        self.archive = archive
        self.extent = extent or Extent(archive)
        self.store = store
        self.view = ReaderView(archive, self.extent, store)
        self.completeness = self.view.completeness
        self.published: int | None = None
        self.failure: str | None = None
        # By region, the fingerprint of what its records say; None before they are read.
        self._known: dict[str, str] | None = None
        # What workers put into it.
        self._kept: dict[Place, Uploaded] = {}
        # By region, records with uploads that are to be made visible.
        self._staged: dict[str, ProgressRecord] = {}
        # By region, the primary's record of what could not be copied, and why.
        self._behind: dict[str, tuple[ProgressRecord, str]] = {}
        # Variables of the primary that it does not have yet: they are shown once it has all.
        self._lacking: tuple[str, ...] = ()

    # -- what it is -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make what uploads need; to be called while nobody else publishes."""
        store = self.store
        store.check_writable()
        check_completed(store)
        stored = store.metadata()
        if self.archive.unseen:
            self._prepare_for_unseen(stored)
            return
        if stored is None:
            store.tracker.write_declaration(self._declaration())
        self._check_declaration()
        if stored is None:
            self.view.prepare()
            return
        template = json.loads(self.archive.metadata)
        declared = template["consolidated_metadata"]["metadata"]
        data = {var.name for var in self.archive.config.data_vars}
        self._lacking = tuple(sorted(data & declared.keys() - array_metadata(stored).keys()))
        for name in self._lacking:
            declared.pop(name)
        differences = structure_differences(template, stored, self.archive.append_dim)
        if left := sorted(array_metadata(stored).keys() - declared.keys()):
            differences.append(
                "if it was removed from the archive while this replica was away: gridmill "
                f"remove-variable {' '.join(left)} removes it here, too"
            )
        if differences:
            raise StructureMismatch(store.url, differences)
        refuse_labels_from_before(self.archive, store)
        if self._lacking and not store.shows_uploads:
            self.view.prepare()

    def _prepare_for_unseen(self, stored: dict[str, Any] | None) -> None:
        """Make what uploads of variables need that are being added.

        Raises
        ------
        ValueError
            It holds no archive yet.
        """
        if stored is None:
            raise ValueError(
                f"{self.store.url} holds no archive yet: run an update, which fills it, then this"
            )
        lacking = lacking_in(self.archive, stored)
        if lacking and not self.store.shows_uploads:
            self.view.prepare()

    def is_made(self, following: Collection[str] | None = None) -> bool:
        """Whether a run has made this replica; raises if it is something else.

        Where it is about to follow the archive, that may have been interrupted there; `following`
        names what may be declared otherwise then.
        """
        if self.store.tracker.read_declaration() is None and self.store.metadata() is None:
            return False
        if following is None:
            check_completed(self.store)
        self._check_declaration(following or ())
        return True

    def _declaration(self) -> dict[str, Any]:
        declared = self.archive.store.tracker.read_declaration() or {}
        declared.pop("format_version", None)
        own = self.store.tracker.read_declaration()
        if own is None:
            return {**declared, **self.store.declared_format()}
        version = {k: v for k, v in own.items() if k == "format_version"}
        return {**declared, "format": self.store.format, **version}

    def _check_declaration(self, but: Collection[str] = ()) -> None:
        own, ours = map(
            promotion_told, (self.store.tracker.read_declaration(), self._declaration())
        )
        variables = {"variables": ours.get("variables")}
        if own != ours and own.get("variables") and {**own, **variables} == ours:
            self.store.tracker.replace_declaration(variables)  # they come and go
        elif {k: own[k] for k in own if k not in but} != {k: ours[k] for k in ours if k not in but}:
            raise ValueError(f"{self.store.url} {why_declared_otherwise(own, ours)}")

    # -- what it holds --------------------------------------------------------------------------

    def keep(self, region: Region, variable: str, uploaded: Uploaded) -> None:
        """Keep what a worker put into it."""
        self._kept[region.key, variable] = uploaded

    def catch_up(
        self, changed: Mapping[str, ProgressRecord], proof: LeaseProof, copy: MakeCopies
    ) -> None:
        """Bring what the primary's records have, and its own have not.

        Parameters
        ----------
        changed
            By region's key, the primary's records that may have changed; at first all are read.
        proof
            Says whether the run may still write.
        copy
            Makes copies.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        if self._known is None:
            self._learn()
            self.completeness.learn(proof.run)
            everything = self.archive.store.tracker.all_records()
            self._bring((declared(self.archive, r) for r in everything), proof, copy)
        again = {key: record for key, (record, _) in self._behind.items()}
        self._bring({**again, **changed}.values(), proof, copy)

    def _learn(self) -> None:
        """Read what its own records say."""
        self._known = {}
        for record in self.store.tracker.all_records():
            self._hold(record)

    def _hold(self, record: ProgressRecord) -> None:
        assert self._known is not None
        key = record.region.key
        self._known[key] = _fingerprint(record)
        self._behind.pop(key, None)
        self._staged.pop(key, None)
        if any(v.token for v in record.variables.values()):
            self._staged[key] = record

    def _bring(
        self, records: Iterable[ProgressRecord], proof: LeaseProof, copy: MakeCopies
    ) -> None:
        known = self._known or {}
        differing = (r for r in records if known.get(r.region.key) != _fingerprint(r))
        while batch := list(islice(differing, REGIONS_AT_ONCE)):
            self._bring_batch(batch, proof, copy)

    def _bring_batch(
        self, records: Sequence[ProgressRecord], proof: LeaseProof, copy: MakeCopies
    ) -> None:
        tokens, wanted = self._wanted(records, proof)
        refused = {r.region.key: why for r in records if (why := _why_not_copied(r, wanted))}
        wanted = {place: one for place, one in wanted.items() if place[0] not in refused}
        for place, made in zip(wanted, copy(list(wanted.values())), strict=True):
            if isinstance(made, str):
                refused[place[0]] = made
            else:
                tokens[place] = made.token
        for record in records:
            key = record.region.key
            if key in refused:
                self._behind[key] = (record, refused[key])
            else:
                self._record(record, tokens, proof)

    def _wanted(
        self, records: Sequence[ProgressRecord], proof: LeaseProof
    ) -> tuple[dict[Place, str | None], dict[Place, Copy]]:
        """Find the tokens of what is there already, and what is to be copied."""
        tokens: dict[Place, str | None] = {}
        wanted: dict[Place, Copy] = {}
        for record in records:
            held = self.store.tracker.read(record.region)
            for name, variable in record.variables.items():
                place = (record.region.key, name)
                there = _there(held, name, self._kept.pop(place, None), variable)
                if there is not None:
                    tokens[place] = there.token
                elif variable.objects:
                    wanted[place] = self._copy_of(record.start, name, variable, proof)
        return tokens, wanted

    def _copy_of(self, start: int, name: str, variable: VariableRecord, proof: LeaseProof) -> Copy:
        return Copy(
            source=self.archive.store,
            target=self.store,
            objects=variable.objects,
            token=variable.token,
            metadata=self.archive.metadata,
            proof=proof,
            name=f"{start}-{name}",
        )

    def _record(
        self, record: ProgressRecord, tokens: Mapping[Place, str | None], proof: LeaseProof
    ) -> None:
        """Write the primary's record as its own, with its own tokens."""
        key = record.region.key
        variables = {
            name: replace(variable, token=tokens.get((key, name)))
            for name, variable in record.variables.items()
        }
        mirrored = replace(record, variables=variables)
        proof.check()
        self.completeness.announce(record.region, proof.run)
        self.store.tracker.write(mirrored)
        self._hold(mirrored)

    # -- what its readers see -------------------------------------------------------------------

    def publish(
        self,
        trimmed: xr.Dataset,
        check: Check,
        *,
        message: str = "",
        together: Collection[str] = (),
    ) -> None:
        """Make visible what it holds of the dataset that readers of the primary are to see.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """
        dim = self.archive.append_dim
        if self._lacking and self._behind:
            return
        if self._lacking:
            show_added(self.view, self._lacking, check, lambda: None)
            self._lacking = ()
        store, length = self.store, trimmed.sizes[dim]
        visible = store.published_length(dim)
        upto = self._whole_prefix(visible or 0, length)
        if visible is not None and length < visible:
            return  # it was published, and then the run that was to publish the primary died
        values = self.completeness.changes(visible or 0, upto)
        staged = self._staged_below(upto, visible or 0)
        if upto == visible and not staged and not values and self.published is not None:
            return
        shown = trimmed.isel({dim: slice(0, upto)})
        self.view.show(
            shown,
            check,
            seen=visible or 0,
            staged=staged,
            values=values,
            message=message,
            together=together,
        )
        self.published = upto
        self._staged = {k: r for k, r in self._staged.items() if r.stop > upto}

    def restore(self, message: str, check: Check) -> bool:
        """Write metadata and coordinates again, see `Replicas.restore`; whether that changed it."""
        length = len(self.archive.index)
        visible = readable_length(self.store, self.archive.append_dim)
        if visible is None:
            self._learn()
            visible = self._whole_prefix(0, length)
        if not 0 < visible <= length:
            return False
        return self.view.restore(visible, message, check)

    def why_behind(self, positions: int) -> str | None:
        """Say why it does not show what the primary does; None if it shows as many positions."""
        primary = self.archive.store.published_length(self.archive.append_dim) or 0
        if self._behind:
            _, why = next(iter(self._behind.values()))
            return f"{len(self._behind)} regions could not be copied: {why}"
        if positions < primary:
            return f"shows {positions} of {primary} positions: the next run continues it"
        if positions > primary:
            return f"shows {positions} positions, {self.archive.store.url} only {primary}"
        return None

    def _whole_prefix(self, visible: int, length: int) -> int:
        """How far it may be visible: where it has whole regions without a gap."""
        known = self._known or {}
        position = visible
        while position < length:
            region = self.archive.region_at(position)
            record = self.archive.store.tracker.read(region)
            if record is None or not self.extent.is_whole(record):
                return max(visible, region.start)
            if known.get(region.key) != _fingerprint(declared(self.archive, record)):
                return max(visible, region.start)
            position = region.stop
        return length

    def _staged_below(self, upto: int, visible: int) -> list[StagedRegion]:
        ready = [
            record
            for record in self._staged.values()
            if record.start < upto or record.region.is_static
            if self.extent.is_whole(record)
        ]
        return [
            staged_region(self.archive, record, upto, visible)
            for record in sorted(ready, key=lambda record: record.stop)
        ]


def declared(archive: Archive, record: ProgressRecord) -> ProgressRecord:
    """Leave out variables that are being added and that no reader sees yet."""
    seen = {name: v for name, v in record.variables.items() if name in archive.arrays}
    return replace(record, variables=seen)


def _fingerprint(record: ProgressRecord) -> str:
    """Tell records apart by all that they say, but for what only their own store understands."""
    plain = {name: replace(v, token=None) for name, v in record.variables.items()}
    return hashlib.sha256(replace(record, variables=plain).to_json()).hexdigest()[:16]


def _why_not_copied(record: ProgressRecord, wanted: Collection[Place]) -> str:
    """Say which object is to be copied that lacks what was published; empty if none does.

    The replica may still have it.
    """
    holes = (
        key
        for name, variable in record.variables.items()
        if (record.region.key, name) in wanted
        for key in variable.holes
    )
    return next((f"{key} vanished, see gridmill validate" for key in holes), "")


def _there(
    held: ProgressRecord | None, name: str, kept: Uploaded | None, variable: VariableRecord
) -> Uploaded | None:
    """Return what a replica holds of a variable, if that is what the primary's record says.

    What was just put there comes first: what was there before may be damaged, and replaced.
    """
    if kept is not None and set(kept.objects) == set(variable.objects):
        return kept
    before = None if held is None else held.variables.get(name)
    if before is not None and before.objects and before.objects == variable.objects:
        return Uploaded(before.objects, before.token)
    return None
