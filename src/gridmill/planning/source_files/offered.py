"""Which places of a region are offered: a source file of the job fills them. Pure.

Elsewhere nothing is ever missing: some forecasts of a day end earlier than others, and a total has
no value at lead 0. The one notion for plans, validators, completeness and contracts; authors
declare it by the files that `RegionJob.generate_source_file_coords` returns, by `valid_from` and
`valid_until` of variables, and by `RegionJob.offerings`, which `prepare_region` leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gridmill.authoring.locate import processing_region
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import offered_span
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.source_files.declared import positions_not_offered
from gridmill.planning.source_files.footprint import Footprint

__all__ = ["Mask", "Offered", "is_offered_of", "left_out", "offered_in", "unlisted"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def offered_in(job: RegionJob[Any, Any], var: DataVar) -> slice | None:
    """Return the positions of the processing region at which the provider has a variable.

    None where that is all of them.
    """
    if job.is_static or (var.valid_from is None and var.valid_until is None):
        return None
    span, at = offered_span(job, var.name), processing_region(job)
    length = at.stop - at.start
    return slice(*(min(max(end - at.start, 0), length) for end in (span.start, span.stop)))


def is_offered_of(job: RegionJob[Any, Any], var: DataVar, file: SourceFile) -> bool:
    """Whether a source file fills a position at which the provider has a variable."""
    return file.lies_in(job.append_dim, offered_in(job, var))


def unlisted(
    job: RegionJob[Any, Any],
    variables: Sequence[DataVar],
    files: Sequence[SourceFile],
    sizes: Mapping[str, int],
) -> dict[str, str]:
    """Return where no file fills variables in which nothing says missing: readers see 0 there.

    Parameters
    ----------
    job, files, sizes
        See `Offered`.
    variables
        Those that share the files.

    Returns
    -------
    dict
        By name the first label of the append dim at which a place is not filled.
    """
    places = Offered(job, files, sizes)
    found = {}
    for var in (var for var in variables if var.encoding.missing is None):
        mask = places.places(var)
        if mask.all():
            continue
        at = int(np.argmin(mask.reshape(len(mask), -1).all(axis=1))) if mask.ndim else 0
        index = job.template_ds.get_index(job.append_dim)
        found[var.name] = "static" if job.is_static else str(index[job.region.start + at])
    return found


def left_out(
    job: RegionJob[Any, Any],
    variables: Sequence[DataVar],
    files: Sequence[SourceFile],
    sizes: Mapping[str, int],
) -> dict[str, str]:
    """Return which variables have a label of the append dim that no file fills, before one that is.

    Readers see it missing, and it is no gap: its author gave no file. What was not published at
    the end of a region is not told. Parameters and result as for `unlisted`.
    """
    places, filled = Offered(job, files, sizes), dict[tuple[str, ...], Mask]()
    found: dict[str, str] = {}
    for var in variables:
        if job.is_static or var.is_made or var.encoding.missing is None:
            continue
        if var.dims not in filled:
            times = places.times(var)[job.region.place_in(processing_region(job))]
            filled[var.dims] = np.asarray(times.any(axis=tuple(range(1, times.ndim))))
        has_files = filled[var.dims]
        span, start = offered_span(job, var.name), job.region.start
        is_meant = has_files | positions_not_offered(job)[: len(has_files)]
        is_meant[: max(0, span.start - start)] = True
        is_meant[max(0, span.stop - start) :] = True
        last = int(np.flatnonzero(has_files)[-1]) if has_files.any() else 0
        if not is_meant[:last].all():
            index = job.template_ds.get_index(job.append_dim)
            found[var.name] = str(index[start + int(np.argmin(is_meant[:last]))])
    return found


class Offered:
    """The places of a region that a group of source files fills.

    Parameters
    ----------
    job
        The region job.
    files
        The source files of a group of variables.
    sizes
        Length of every dim, the append dim's being that of the processing region.
    """

    def __init__(
        self, job: RegionJob[Any, Any], files: Sequence[SourceFile], sizes: Mapping[str, int]
    ) -> None:
        self.job = job
        self.files = files
        self.sizes = sizes
        # Variables of the same dims mostly lack the same files.
        self._footprints: dict[tuple[str, ...], Footprint] = {}  # of made ones by their names, too
        self._filled: dict[tuple[tuple[str, ...], frozenset[int]], Mask] = {}

    def places(self, var: DataVar, lacking: frozenset[int] = frozenset()) -> Mask:
        """Return which places of a variable are offered.

        Parameters
        ----------
        var
            One of the group's variables.
        lacking
            Indexes of files to leave out, with what rests on them.

        Returns
        -------
        ndarray
            Dims as the variable's, over the region; of length 1 where every file fills the whole
            dim. False outside of the variable's `valid_from` and `valid_until`, and where
            `RegionJob.provenance` says that a value rests on a place that no file fills.
        """
        job, mask = self.job, self._mask(var, lacking)
        if not job.is_static:
            mask = mask[job.region.place_in(processing_region(job))]
            span = offered_span(job, var.name)
            mask[: max(0, span.start - job.region.start)] = False
            mask[max(0, span.stop - job.region.start) :] = False
        return mask

    def times(self, var: DataVar) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Return how many files fill each place of the processing region, dims as for `places`."""
        return self._footprint(var).times()

    def _mask(self, var: DataVar, lacking: frozenset[int]) -> Mask:
        footprint = self._footprint(var)
        if var.is_made:
            return footprint.of(self._but(lacking))
        # What mixes along dims that no file divides takes too much memory: all of it, or nothing.
        if footprint.is_large:
            lacking = frozenset(range(len(self.files))) if lacking else lacking
            return Footprint(self.job, var, self.files, self.sizes, ()).filled(self._but(lacking))
        if (var.dims, lacking) not in self._filled:
            self._filled[var.dims, lacking] = footprint.filled(self._but(lacking))
        filled = self._filled[var.dims, lacking].copy()
        return self.job.for_worker((var,)).provenance(filled, var)

    def _footprint(self, var: DataVar) -> Footprint:
        key = (*var.dims, var.name) if var.is_made else var.dims
        if key not in self._footprints:
            mixes = type(self.job).provenance is not RegionJob.provenance
            whole = var.dims if self.job.whole_dims is None else self.job.whole_dims
            whole = whole if mixes else ()
            self._footprints[key] = Footprint(self.job, var, self.files, self.sizes, whole)
        return self._footprints[key]

    def _but(self, lacking: frozenset[int]) -> list[int]:
        return [at for at in range(len(self.files)) if at not in lacking]
