"""What of a region need not be fetched again when source files of it arrived later. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from gridmill.authoring.derived.making import rests_on_whole
from gridmill.authoring.derived.steps import step_offsets
from gridmill.authoring.region_job import RegionJob
from gridmill.model.variables import DataVar
from gridmill.pipeline.slabs.dividing import transforms
from gridmill.pipeline.values import SourceFile

__all__ = ["Footprint", "files_to_keep"]

# Looked through some ten times, this takes a second.
LARGEST = 50_000_000

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def files_to_keep(
    job: RegionJob[Any, Any],
    data_var: DataVar,
    files: Sequence[SourceFile],
    sizes: Mapping[str, int],
    stored: Collection[int],
) -> frozenset[int]:
    """Choose the source files whose values the final store has, and that nothing else rests on.

    Parameters
    ----------
    job
        The region job.
    data_var
        The variable.
    files
        The source files that fill it.
    sizes
        Length of every dim, the append dim's being that of the processing region.
    stored
        Indexes of the files that an earlier run read into what the store has.

    Returns
    -------
    frozenset of int
        Those of `stored` that need not be read again. The others are: a transformation mixes
        them with files that are still to be read, as `RegionJob.provenance` says. None where it
        does not say that though values are transformed, where files overlap, or where that
        would take the driver long to find out.
    """
    whole = data_var.dims if job.whole_dims is None else job.whole_dims
    footprint = Footprint(job, data_var, files, sizes, whole)
    mixes = type(job).provenance is not RegionJob.provenance
    if (transforms(type(job)) and not mixes) or footprint.is_large or footprint.overlaps:
        return frozenset()
    keep = frozenset(stored) - footprint.sharing_positions(stored)
    if not mixes and data_var.derived is None:
        return keep
    return keep - footprint.needed(sorted(keep))


class Footprint:
    """Which values rest on which source files; along dims that all files fill whole, once.

    Parameters
    ----------
    job, data_var, files, sizes
        See `files_to_keep`.
    whole
        Dims that are looked along nevertheless, because a transformation mixes values there.
    """

    def __init__(
        self,
        job: RegionJob[Any, Any],
        data_var: DataVar,
        files: Sequence[SourceFile],
        sizes: Mapping[str, int],
        whole: Collection[str],
    ) -> None:
        divided = {dim for file in files for dim in file.place} | {job.append_dim, *whole}
        self.data_var = data_var
        self.job = job
        self.files = files
        self.offsets = step_offsets(job, data_var)
        along = dict(sizes)
        self.shape = tuple(sizes[dim] if dim in divided else 1 for dim in data_var.dims)
        if self.offsets is not None:
            along[job.append_dim] = self.offsets[-1]
        # Where the files lie along the steps of their source: mostly the append dim's own.
        self.source_shape = tuple(along[dim] if dim in divided else 1 for dim in data_var.dims)
        self.places = [
            tuple(
                file.place_in_source(job.append_dim).get(dim, slice(None)) for dim in data_var.dims
            )
            for file in files
        ]
        self.everything = frozenset(range(len(files)))

    @property
    def is_large(self) -> bool:
        """Whether to look through it costs more than to read files again."""
        return prod(self.source_shape) * len(self.data_var.sources) > LARGEST

    @property
    def overlaps(self) -> bool:
        """Whether two files fill one place."""
        return bool((self.times() > 1).any())

    def times(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Return how many files fill each place."""
        found = np.zeros(self.source_shape, np.int32)
        for source in self.data_var.sources:
            times = np.zeros(self.source_shape, np.int32)
            for file, place in zip(self.files, self.places, strict=True):
                if file.gives(source.name):
                    times[place] += 1
            np.maximum(found, times, out=found)
        return found

    def filled(self, indexes: Collection[int], source: str = "") -> Mask:
        """Return the places of these files, or of those that have one of the variable's sources."""
        filled = np.zeros(self.source_shape, bool)
        for index in indexes:
            if not source or self.files[index].gives(source):
                filled[self.places[index]] = True
        return filled

    def of(self, indexes: Collection[int]) -> Mask:
        """Return where values rest on these files alone."""
        masks = [
            self.job.for_worker((source,)).provenance(self.filled(indexes, source.name), source)
            for source in self.data_var.sources
        ]
        return rests_on_whole(self.data_var, self.offsets, masks)

    def sharing_positions(self, stored: Collection[int]) -> set[int]:
        """Find those stored files that make a position together with one that is not stored.

        Also with one that is found so: what is read is aggregated with all else of its position.
        """
        if self.offsets is None:
            return set()
        dim, known = self.job.append_dim, set(stored)
        touched = np.zeros(self.shape[0], bool)
        new = self.everything - known
        while new:
            for index in new:
                touched[self.files[index].place.get(dim, slice(None))] = True
            known -= new
            new = frozenset(
                i for i in known if touched[self.files[i].place.get(dim, slice(None))].any()
            )
        return set(stored) - known

    def needed(self, stored: Sequence[int]) -> set[int]:
        """Find those stored files without which a value that rests on another cannot be made."""
        to_be_made = self.of(self.everything) & ~self.of(stored)
        found: set[int] = set()
        # By halves: of thousands of files, few are needed.
        suspects = [stored]
        while suspects:
            some = suspects.pop()
            if not (to_be_made & ~self.of(self.everything - set(some))).any():
                continue
            if len(some) == 1:
                found.update(some)
            else:
                middle = len(some) // 2
                suspects += [some[:middle], some[middle:]]
        return found
