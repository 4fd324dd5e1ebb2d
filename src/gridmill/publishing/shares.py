"""How much of what is expected of each position has arrived, by what is recorded of a region.

See Also
--------
gridmill.model.variables.Completeness : what authors declare, and what the values mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gridmill.authoring.describing.finality import Finality
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_offered
from gridmill.authoring.source_file import known_of
from gridmill.model.records import ProgressRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Completeness, DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.belief import nothing_missing
from gridmill.planning.prepare import prepare_region
from gridmill.planning.source_files.offered import Offered

__all__ = ["recorded_completeness", "recorded_shares"]

Counts = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Shares = np.ndarray[Any, np.dtype[np.float32]]


def recorded_completeness(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    completeness: Completeness,
    metadata: Mapping[str, Any],
) -> Shares:
    """Return the share of what is expected of a region that its record says has arrived.

    Parameters
    ----------
    job
        The region job with every declared variable along the append dim.
    record
        What is known of the region.
    completeness
        The coordinate; of a `Finality`, what is provisional does not count.
    metadata
        By variable, its array metadata in the template.

    Returns
    -------
    ndarray
        float32 over the region and the coordinate's other dims: of the places that the source
        files fill, each counted once for each variable, the share that rests on files which were
        read. 0 where nothing is offered.
    """
    return recorded_shares(job, record, [completeness], metadata)[completeness.name]


def recorded_shares(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    declared: Sequence[Completeness],
    metadata: Mapping[str, Any],
) -> dict[str, Shares]:
    """Return by name what `recorded_completeness` gives for several coordinates of a region."""
    prepared = prepare_region(job, None, metadata, nothing_missing)
    groups = [(g.variables, _Files(job, g.files, prepared.sizes)) for g in prepared.groups]
    return {share.name: _share(job, record, share, prepared.sizes, groups) for share in declared}


def _share(
    job: RegionJob[Any, Any],
    record: ProgressRecord,
    completeness: Completeness,
    sizes: Mapping[str, int],
    groups: Sequence[tuple[Sequence[DataVar], _Files]],
) -> Shares:
    dims = completeness.own_dims
    shape = (len(job.region), *(sizes[dim] for dim in dims[1:]))
    expected, arrived = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    is_finality = isinstance(completeness, Finality)
    for variables, files in groups:
        for var in (var for var in variables if is_offered(job, var)):
            lacking = files.lacking(record, var.name, only_final=is_finality)
            whole = files.count(var, frozenset(), dims)
            expected += whole
            arrived += files.count(var, lacking, dims) if lacking else whole
    return np.divide(
        arrived, expected, out=np.zeros(shape, np.float32), where=expected > 0, dtype=np.float32
    )


class _Files:
    """The source files of a group of variables, and which places of a region rest on them."""

    def __init__(
        self, job: RegionJob[Any, Any], files: Sequence[SourceFile], sizes: Mapping[str, int]
    ) -> None:
        self.offered = Offered(job, files, sizes)
        self.coords = [file.coord for file in files]

    def lacking(
        self, record: ProgressRecord, name: str, *, only_final: bool = False
    ) -> frozenset[int]:
        """Find those files that the record does not say were read for a variable, or are final."""
        fills = record.fills(name)
        if fills is None:
            return frozenset(range(len(self.coords)))
        outcomes: dict[str, deque[bool]] = {}
        for file, fill in zip(record.groups[record.variables[name].group], fills, strict=True):
            is_read = fill.status is SourceFileStatus.SUCCEEDED
            counts = is_read and not (only_final and file.is_provisional)
            outcomes.setdefault(file.url, deque()).append(counts)
        # One URL may be that of several places, in the same order in each list.
        known = (known_of(coord, outcomes) for coord in self.coords)
        return frozenset(at for at, of in enumerate(known) if not (of and of.popleft()))

    def count(self, var: DataVar, lacking: frozenset[int], dims: Sequence[str]) -> Counts:
        """Count the places of a variable that rest on the other files alone, along `dims`."""
        return _counted(self.offered.places(var, lacking), var.dims, dims)


def _counted(mask: Mask, own: Sequence[str], dims: Sequence[str]) -> Counts:
    """Sum a mask along those of its own dims that are not among `dims`, in the order of `dims`."""
    counts = mask.sum(tuple(n for n, dim in enumerate(own) if dim not in dims), dtype=np.int32)
    left = [dim for dim in own if dim in dims]
    counts = counts.transpose([left.index(dim) for dim in dims if dim in left])
    return np.expand_dims(counts, [n for n, dim in enumerate(dims) if dim not in left])
