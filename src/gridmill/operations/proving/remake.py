"""Recomputes variables of a region, and compares them with what readers see.

It runs wherever it is put, in this process or on a worker, and writes nothing but to a temporary
folder of its own. Source files that are gone, or are another version by now, are left out: there
the published values stay, as in every run, and say nothing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore, StorePath

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import url_of
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ObjectReceipt, VariableRecord
from gridmill.model.reports.proof import VariableProof
from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import mask_url
from gridmill.pipeline.compress import compress
from gridmill.pipeline.download import download
from gridmill.pipeline.values import (
    Bench,
    LocalFiles,
    LocalShards,
    RunContext,
    SourceFile,
    VariableWork,
)
from gridmill.pipeline.workspace import Workspace
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.leftovers import temporary_folder

__all__ = ["Errand", "Recorded", "remake"]

SUCCEEDED, HELD = SourceFileStatus.SUCCEEDED, SourceFileStatus.HELD
MOST_CAUSES = 5


@dataclass(frozen=True)
class Recorded:
    """What the records say of a variable, and of its source files."""

    variable: VariableRecord
    files: tuple[SourceFileRecord, ...]

    def gave(self, index: int) -> bool:
        """Whether a source file gave the variable its values."""
        return self.files[index].status is SUCCEEDED and index not in self.variable.unread


@dataclass(frozen=True)
class Errand:
    """Variables of one region that share source files, to be recomputed; pickles.

    Parameters
    ----------
    job
        As workers get it, with these variables.
    files
        The source files and their places.
    works, recorded
        By variable.
    context
        What is published, and where; its lease is never asked for.
    labels
        Of the region's positions.
    """

    job: RegionJob[Any, Any]
    files: tuple[SourceFile, ...]
    works: Mapping[str, VariableWork]
    recorded: Mapping[str, Recorded]
    context: RunContext
    labels: tuple[str, ...] = ()


def remake(errand: Errand) -> tuple[VariableProof, ...]:
    """Recompute the variables of an errand, one after the other, and compare each."""
    with temporary_folder() as scratch:
        bench = Bench(Workspace(scratch / "work").of_key("prove"), "prove")
        source = download(bench, errand.job, _asked_for(errand))
        return tuple(_Remake(errand, bench, source, name).proof() for name in errand.works)


def _asked_for(errand: Errand) -> list[SourceFile]:
    """Mark those source files as kept that gave no variable anything."""
    return [
        replace(file, is_kept=not any(known.gave(index) for known in errand.recorded.values()))
        for index, file in enumerate(errand.files)
    ]


@dataclass
class _Remake:
    """One variable that is recomputed."""

    errand: Errand
    bench: Bench
    source: LocalFiles
    name: str
    causes: list[str] = field(default_factory=list)

    @property
    def known(self) -> Recorded:
        return self.errand.recorded[self.name]

    @property
    def work(self) -> VariableWork:
        return self.errand.works[self.name]

    def proof(self) -> VariableProof:
        """Make it and compare it."""
        gave = [index for index in range(len(self.known.files)) if self.known.gave(index)]
        gone = {index: why for index in gave if (why := self._why_not_as_it_was(index))}
        counts: dict[str, Any] = {"files": len(gave) - len(gone), "gone": len(gone)}
        if len(gone) == len(gave):
            return VariableProof(self.name, "unprovable", causes=_some(gone.values()), **counts)
        files = tuple(
            file if self.known.gave(index) and index not in gone else replace(file, is_kept=True)
            for index, file in enumerate(self.source.files)
        )
        source = replace(self.source, files=files)
        shards = compress(self.bench, self.errand.context, self.work, source)
        try:
            return self._compared(shards, gone, counts)
        finally:
            self.bench.space.discard(shards.folder)

    def _why_not_as_it_was(self, index: int) -> str | None:
        """Say why a source file cannot be used to prove what it gave; None if it can."""
        was, coord = self.known.files[index], self.source.files[index].coord
        url = mask_url(url_of(coord))
        if coord.status is not SUCCEEDED:
            return f"{url} is gone: {coord.detail or coord.status}"
        now = replace(
            was,
            nbytes=coord.nbytes,
            etag=coord.etag,
            last_modified=coord.last_modified,
            checksum=coord.checksum,
        )
        is_known = was.checksum is not None or any(part is not None for part in was.identity)
        return f"{url} was revised since" if is_known and not now.is_as(was) else None

    def _compared(
        self, shards: LocalShards, gone: Mapping[int, str], counts: Mapping[str, Any]
    ) -> VariableProof:
        kept_out = {at: why for at, why in shards.unread.items() if self.known.gave(at)}
        held = {at: why for at, why in kept_out.items() if SUCCEEDED.of_unread(why) is HELD}
        broken = {at: why for at, why in kept_out.items() if at not in held}
        failed = [f"{self._url(at)} cannot be read any more: {why}" for at, why in broken.items()]
        others = [*gone.values(), *(f"{self._url(at)}: {why}" for at, why in held.items())]
        earlier = self._made_under_earlier(shards)
        by, differences = self._compare_objects(shards.folder, shards.keys)
        if earlier and differences:
            others, differences = [*others, earlier], []
        failed += differences
        if failed:
            return VariableProof(self.name, "failed", by, causes=_some(failed), **counts)
        verdict = "unprovable" if others else "proven"
        return VariableProof(self.name, verdict, by, causes=_some(others), **counts)  # type: ignore[arg-type]

    def _url(self, index: int) -> str:
        return mask_url(url_of(self.source.files[index].coord))

    def _made_under_earlier(self, shards: LocalShards) -> str | None:
        """Say which epoch or declared version was raised since: other values were meant then."""
        known = self.known.variable
        raised = [
            f"epoch {epoch} of {stage}"
            for stage, epoch in (known.epochs or {}).items()
            if shards.epochs.get(stage, epoch) != epoch
        ]
        declared = type(self.errand.job).version
        if known.version is not None and known.version != declared:
            raised.append(f"version {known.version} of the dataset")
        return f"made under {', '.join(raised)}, which stored other values" if raised else None

    # -- comparing ------------------------------------------------------------------------------

    def _compare_objects(self, folder: Path, keys: Sequence[str]) -> tuple[str, list[str]]:
        """Compare objects; what was compared at the least, and what differs."""
        receipts = {receipt.key: receipt for receipt in self.known.variable.objects}
        by, differences = "bytes", list[str]()
        for key in keys:
            stored = self.errand.context.store.read_object(key)
            if stored is None:
                differences.append(f"{key} is gone from the store")
            elif stored != (folder / key).read_bytes():
                # Other libraries, or what history left at its end: what is decoded decides.
                by = "values"
                found = list(self._value_differences(folder, key))
                differences += found or _not_as_recorded(receipts.get(key), stored)
        return by, differences

    def _value_differences(self, folder: Path, key: str) -> Iterator[str]:
        """Yield where an object's values differ, bit for bit: the first place, and how many."""
        at = self._positions(key)
        try:
            stored = self.errand.context.store.read(self.name, at)
        except (ValueError, RuntimeError, OSError) as error:
            yield f"{key} cannot be decoded: {error}"
            return
        made = np.asarray(self._made(folder)[at])
        differs = _bits(made) != _bits(stored)
        if differs.any():
            first = tuple(int(axis[0]) for axis in np.nonzero(differs))
            place = self._place(tuple(p + i for p, i in zip(_starts(at), first, strict=True)))
            yield (
                f"{place} is {stored[first]!s}, its source files give {made[first]!s}; "
                f"{int(differs.sum())} of {prod(differs.shape)} values of {key} differ"
            )

    def _made(self, folder: Path) -> Any:
        metadata = array_metadata(json.loads(self.errand.context.metadata))[self.name]
        parsed = ArrayV3Metadata.from_dict(copy.deepcopy(dict(metadata)))
        store = LocalStore(folder, read_only=True)
        return zarr.Array(zarr.AsyncArray(parsed, StorePath(store, self.name)))

    def _positions(self, key: str) -> tuple[slice, ...]:
        """Return what an object holds of the region, as positions of the array."""
        var, job = self.work.data_var, self.errand.job
        numbers = [int(part) for part in key.removeprefix(f"{self.name}/c").split("/")[1:]]
        lengths, found = var.encoding.object_shape, []
        for dim, number, length in zip(var.dims, numbers, lengths, strict=True):
            stop = job.region.stop if dim == job.append_dim else self.work.sizes[dim]
            found.append(slice(number * length, min((number + 1) * length, stop)))
        return tuple(found)

    def _place(self, position: Sequence[int]) -> str:
        """Name a place by its label, and by its positions along the other dims."""
        job, dims = self.errand.job, self.work.data_var.dims
        parts = []
        for dim, at in zip(dims, position, strict=True):
            known = dim == job.append_dim and at - job.region.start < len(self.errand.labels)
            parts.append(f"{dim}={self.errand.labels[at - job.region.start] if known else at}")
        return f"{self.name}[{', '.join(parts)}]"


def _starts(at: Sequence[slice]) -> list[int]:
    return [part.start for part in at]


def _bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """View values as whole numbers: of two NaN, each is another where its bits are."""
    if values.dtype.kind != "f":
        return values
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _not_as_recorded(receipt: ObjectReceipt | None, stored: bytes) -> list[str]:
    """Say of an object with the same values that it is not the one that was recorded."""
    if receipt is None or receipt.is_of(stored):
        return []
    return [f"{receipt.key} is not the object that was recorded"]


def _some(causes: Any) -> tuple[str, ...]:
    found = list(causes)
    more = len(found) - MOST_CAUSES
    return (*found[:MOST_CAUSES], *([f"and {more} more"] if more > 0 else []))
