"""What of a region need not be fetched again when source files of it arrived later. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.model.variables import DataVar
from gridmill.pipeline.slabs.transform import transforms
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
    if not mixes:
        return frozenset(stored)
    return frozenset(stored) - footprint.needed(sorted(stored))


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
        self.job = job.for_worker((data_var,))
        self.shape = tuple(sizes[dim] if dim in divided else 1 for dim in data_var.dims)
        self.places = [
            tuple(file.place.get(dim, slice(None)) for dim in data_var.dims) for file in files
        ]
        self.everything = frozenset(range(len(files)))

    @property
    def is_large(self) -> bool:
        """Whether to look through it costs more than to read files again."""
        return prod(self.shape) > LARGEST

    @property
    def overlaps(self) -> bool:
        """Whether two files fill one place."""
        return bool((self.times() > 1).any())

    def times(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Return how many files fill each place."""
        times = np.zeros(self.shape, np.int32)
        for place in self.places:
            times[place] += 1
        return times

    def filled(self, indexes: Collection[int]) -> Mask:
        """Give the places of these files."""
        filled = np.zeros(self.shape, bool)
        for index in indexes:
            filled[self.places[index]] = True
        return filled

    def of(self, indexes: Collection[int]) -> Mask:
        """Give where values rest on these files alone."""
        return self.job.provenance(self.filled(indexes), self.data_var)

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
