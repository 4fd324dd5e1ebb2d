"""What a variable's region was made of, and whether that is what it is made of today.

That is its fingerprint, a mapping with

- ``array``: hash of the array metadata that decode its values;
- ``stop``: the region's end;
- ``places``: hash of the places that its source files fill, in order;
- ``addresses``: hash of the source files' addresses;
- ``labels``: hash of the region's labels along the append dim;
- ``grid``: hash of the labels along the other dims;
- ``made``: of a variable that is derived, aggregated or regridded, hash of the formula's name and
  its inputs' names, of the aggregation, and of the source's grid and the method.

A record is believed while the first three, the labels and ``made`` are as they are today: an
irregular axis can get a label between two others, and then every later place is another label's.
Another address of the file that fills a place does not make it another file: it is told, and so are
raised epochs (see `gridmill.model.epochs`) and the dataset's raised version. Releases of libraries
are recorded only. The labels along the other dims decide nothing here: `gridmill.archive.axis` asks
for them.

Records of gridmill 0.1 say nothing of labels: they are believed as they were.

Records of gridmill 0.1.0 have a hash of all that and of the versions of its libraries, which nobody
can compute any more. Such a record is believed where the archive's own array metadata are today's,
and so are the source files that it lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import given_addresses, url_of
from gridmill.model.files.addresses import Address
from gridmill.model.records import ProgressRecord
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.source_files.places import positions_filled
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.structure import decoding, without_append_length

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Listed", "fits", "hash_of_array", "hash_of_grid"]

# What of a fingerprint decides whether a record is believed, in words.
DECIDES = {"array": "the array's metadata", "stop": "the region's end", "places": "source files"}
# Likewise, where a record has it.
LABELS = "labels"
# Likewise, of what is made of other variables, of many steps, or on another grid.
MADE = "made"


def fits(known: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether two fingerprints are of the same array, region, labels and places of source files.

    Examples
    --------
    >>> fits({"array": "a", "stop": 4, "places": "p", "addresses": "x"},
    ...      {"array": "a", "stop": 4, "places": "p", "addresses": "y"})
    True
    """
    has_same_labels = known.get(LABELS, ours.get(LABELS)) == ours.get(LABELS)
    is_made_so = known.get(MADE) == ours.get(MADE)
    return has_same_labels and is_made_so and all(known.get(part) == ours[part] for part in DECIDES)


@dataclass
class Listed:
    """The source files of a group, written out once for all variables that share them."""

    metadata: Mapping[str, Any]
    job: RegionJob[Any, Any]
    files: Sequence[SourceFile]
    stored: Callable[[], Mapping[str, Any]]
    hashes: dict[tuple[str, int], str] = field(default_factory=dict)
    whole: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def urls(self) -> list[str]:
        """Return the addresses by which the source files are called, credentials masked."""
        # A signature that is another one each time does not make it another address.
        first = (given if isinstance(given, str) else given[0].url for given in self._given)
        return [mask_url(url) for url in first]

    @cached_property
    def may_be_provisional(self) -> bool:
        """Whether one of the files' addresses says that what is there is provisional."""
        several = (given for given in self._given if not isinstance(given, str))
        return any(one.provisional is not None for of_file in several for one in of_file)

    @cached_property
    def _given(self) -> list[str | Sequence[Address]]:
        return [given_addresses(file.coord) for file in self.files]

    def fingerprint(self, name: str) -> dict[str, Any]:
        """Say what a variable's region is made of."""
        if name not in self.whole:
            self.whole[name] = self._up_to(name, len(self.files), self.job.region.stop)
        return self.whole[name]

    def _up_to(self, name: str, many: int, end: int) -> dict[str, Any]:
        """Say what it is made of, of the first source files and up to an earlier end."""
        return {
            "array": self._hash_of_array(name),
            "stop": end,
            "places": self._hash_of("places", many),
            "addresses": self._hash_of("addresses", many),
            "labels": self._hash_of_labels(end),
            "grid": self._hash_of_grid(name),
            **self._made_of(name),
        }

    def _made_of(self, name: str) -> dict[str, str]:
        var = self.var(name)
        made, regridded = (
            [None if part is None else part.content for part in parts]
            for parts in ((var.derived, var.aggregated), [v.regridded for v in var.sources])
        )
        if any(part is not None for part in regridded):
            return {MADE: _hash([*made, regridded])}
        return {MADE: _hash(made)} if var.is_made else {}

    def change(self, name: str, record: ProgressRecord | None) -> str:
        """Say in what a record's variable was made of something else; empty if in nothing."""
        known = None if record is None else record.variables.get(name)
        if record is None or known is None:
            return "no record"
        if known.fingerprint is None:
            return self._change_without_fingerprint(name, record)
        ours = self.fingerprint(name)
        changed = [
            told for part, told in DECIDES.items() if known.fingerprint.get(part) != ours[part]
        ]
        if known.fingerprint.get(MADE) != ours.get(MADE):
            changed.append("what it is made of, and how,")
        if known.fingerprint.get(LABELS, ours[LABELS]) != ours[LABELS]:
            changed.append(f"labels along {self.job.append_dim}")
        return f"{' and '.join(changed)} changed" if changed else ""

    def has_grown(self, name: str, record: ProgressRecord) -> bool:
        """Whether a record is that of the region's first positions, and all else is as it was."""
        known = record.variables[name]
        many = len(record.groups[known.group])
        if known.fingerprint is None:
            is_shorter = record.start < record.stop < self.job.region.stop
            return (
                is_shorter and not self._change_of_archive(name) and self._lists(record, name, many)
            )
        stop = known.fingerprint.get("stop", 0)
        as_shorter = self._up_to(name, many, stop)
        return record.start < stop < self.job.region.stop and fits(known.fingerprint, as_shorter)

    def _change_without_fingerprint(self, name: str, record: ProgressRecord) -> str:
        if record.stop < self.job.region.stop:
            return "the region's end changed"
        if not self._lists(record, name, len(self.files)):
            return "source files changed"
        return self._change_of_archive(name)

    def _change_of_archive(self, name: str) -> str:
        array = self.stored().get(name)
        if array is None:
            return "made by gridmill 0.1.0, and nothing published says how it is stored"
        is_same = self._array(array) == self._array(self.metadata[name])
        return "" if is_same else "the array's metadata changed"

    def _lists(self, record: ProgressRecord, name: str, many: int) -> bool:
        """Whether the files that a record lists are the first of ours, and as many."""
        theirs = record.groups[record.variables[name].group]
        ours = [
            (mask_url(url_of(file.coord)), at.start, at.stop)
            for file in self.files[:many]
            for at in (positions_filled(self.job, file),)
        ]
        return [(file.url, file.start, file.stop) for file in theirs] == ours

    def _array(self, array: Mapping[str, Any]) -> dict[str, Any]:
        return _decoded(array, self.job.append_dim)

    def _hash_of_array(self, name: str) -> str:
        return _hash_of_same_array(_Same(self.metadata[name]), self.job.append_dim)

    def _hash_of(self, what: str, many: int) -> str:
        if (what, many) not in self.hashes:
            told = {"places": self._places, "addresses": self._addresses}[what]
            self.hashes[what, many] = _hash(told(many))
        return self.hashes[what, many]

    def _places(self, many: int) -> list[str]:
        return [_place(file) for file in self.files[:many]]

    def _addresses(self, many: int) -> list[str]:
        return self.urls[:many]

    def _hash_of_labels(self, stop: int) -> str:
        if self.job.is_static:
            return _hash([])
        index = self.job.template_ds.get_index(self.job.append_dim)
        return _hash_of_labels(_Same(index), self.job.region.start, stop)

    def _hash_of_grid(self, name: str) -> str:
        """Tell the labels of a variable's other dims."""
        ds = self.job.template_ds
        dims = [dim for dim in self.var(name).dims if dim != self.job.append_dim]
        key = f"grid {dims}", 0
        if key not in self.hashes:
            self.hashes[key] = hash_of_grid(ds, dims)
        return self.hashes[key]

    def var(self, name: str) -> DataVar:
        """Return the variable of a name."""
        (found,) = (var for var in self.job.data_vars if var.name == name)
        known: DataVar = found
        return known


def _place(file: SourceFile) -> str:
    steps = "" if file.steps is None else repr(file.steps)
    holds = "" if file.holds is None else repr(sorted(file.holds))
    return f"{sorted(file.place.items())!r}{steps}{holds}"


def hash_of_array(array: Mapping[str, Any], append_dim: str) -> str:
    """Return what a fingerprint says of an array, from its metadata."""
    return _hash(_decoded(array, append_dim))


def hash_of_grid(template_ds: xr.Dataset, dims: Sequence[str]) -> str:
    """Return what a fingerprint says of the labels along dims, other than the append dim."""
    return _hash_of_same_grid(tuple((dim, _Same(template_ds.get_index(dim))) for dim in dims))


def _decoded(array: Mapping[str, Any], append_dim: str) -> dict[str, Any]:
    """Return what of an array's metadata decodes its values, whatever its length."""
    content = without_append_length(decoding(array), append_dim)
    # zarr writes an empty list of them, Icechunk none.
    return {key: value for key, value in content.items() if key != "storage_transformers"}


class _Same:
    """Stands for a value that nobody changes, told from others by identity: to remember its hash.

    The regions of a run share the template's indexes and array metadata.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


@lru_cache(maxsize=1024)  # more than a dataset has variables
def _hash_of_same_array(array: _Same, append_dim: str) -> str:
    return hash_of_array(array.value, append_dim)


@lru_cache(maxsize=64)  # more than a dataset has combinations of dims
def _hash_of_same_grid(labels: tuple[tuple[str, _Same], ...]) -> str:
    return _hash({dim: _digest(index) for dim, index in labels})


@lru_cache(maxsize=64)  # source groups of a region, also of the few that are prepared at once
def _hash_of_labels(index: _Same, start: int, stop: int) -> str:
    return _hash([str(label) for label in index.value[start:stop]])


@lru_cache(maxsize=64)  # more than a dataset has dims
def _digest(same: _Same) -> str:
    """Return a hash of labels; of numbers, of what single precision has of them."""
    index: pd.Index[Any] = same.value
    if index.dtype.kind in "iuf":
        return hashlib.sha256(np.asarray(index, "float32").tobytes()).hexdigest()[:16]
    return _hash([str(label) for label in index])


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
