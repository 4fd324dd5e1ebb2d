"""What the stages of a chain take and return: frozen values that Dask sends between workers."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.fields.statistics import ValueStatistics
from gridmill.model.files.versions import Identity, Word, identity_of
from gridmill.model.records import ObjectReceipt
from gridmill.model.reports.spans import Span
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.workspace import WorkspaceOfKey
from gridmill.sources.evidence.expected import ExpectedAxis
from gridmill.stores.final_store import FinalStore, Uploaded
from gridmill.stores.state.leases import LeaseProof

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Bench",
    "LocalFiles",
    "LocalShards",
    "Place",
    "Receipt",
    "RunContext",
    "SourceFile",
    "VariableWork",
]

Place = Mapping[str, int | slice]


@dataclass(frozen=True)
class RunContext:
    """What all tasks of a run share; sent once to each worker.

    Parameters
    ----------
    run
        Name of the run.
    store
        The final store.
    proof
        Says whether the run may still write.
    metadata
        The template's consolidated root metadata (``zarr.json``), whole.
    published
        Positions of the append dim that readers saw when the run began.
    coords
        Coordinates without the append dim, where an author's hook takes a DataArray.
    replicas
        Further stores, which get all that the final store gets, and get it first.
    axes
        By dim, the template's labels, without the append dim.
    """

    run: str
    store: FinalStore
    proof: LeaseProof
    metadata: bytes
    published: int
    coords: xr.Dataset | None = None
    replicas: tuple[FinalStore, ...] = ()
    axes: Mapping[str, ExpectedAxis] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceFile:
    """A source file and its place: by dim, positions relative to the processing region.

    Where many steps of the source become one position, `place` says which position that is, and
    `steps` which of the processing region's steps the file holds. `holds` names those sources of
    a derived variable that it has; None: all.

    `seconds` and `attempts` say what its download took, `arrived` when it was (ISO 8601, UTC). One
    that `is_kept` is not read again: the final store has its values, and `coord` is what became of
    it. One that `came_with_another` fills another place from the same download.
    """

    coord: SourceFileCoord
    place: Place
    seconds: float = 0.0
    attempts: int = 1
    is_kept: bool = False
    arrived: str | None = None
    steps: int | slice | None = None
    holds: frozenset[str] | None = None
    came_with_another: bool = False

    def gives(self, source: str) -> bool:
        """Whether it has one of the sources of a variable."""
        return self.holds is None or source in self.holds

    def place_in_source(self, append_dim: str) -> Place:
        """Return its place along the steps of its source."""
        return self.place if self.steps is None else {**self.place, append_dim: self.steps}

    @property
    def identity(self) -> Identity:
        """What tells two versions of the file apart."""
        return identity_of(self.coord.nbytes, self.coord.etag, self.coord.last_modified)

    def is_told_by(self, word: Word | None) -> bool:
        """Whether somebody's word is about this version of the file."""
        return word is not None and word.is_about(self.identity, self.coord.checksum)

    @property
    def nbytes_fetched(self) -> int:
        """Bytes that its download took."""
        return 0 if self.is_kept or self.came_with_another else self.coord.nbytes or 0

    def lies_in(self, dim: str, positions: slice | None) -> bool:
        """Whether it fills one of these positions of the processing region; None means all."""
        at = self.place.get(dim)
        if at is None or positions is None:
            return True
        first, stop = (at.start, at.stop) if isinstance(at, slice) else (at, at + 1)
        return bool(first < positions.stop and stop > positions.start)


@dataclass(frozen=True)
class VariableWork:
    """What compress needs beside the source files.

    Parameters
    ----------
    job
        The region job as a worker gets it, with this variable only.
    processing_region
        Positions along the append dim that are read.
    sizes
        Length of every dim, the append dim's being that of the processing region.
    coords
        The processing region's coordinates along the append dim, where a hook needs them.
    continues
        Whether the final store has values of the region already, of source files that are kept.
    token
        What their upload returned, see `Uploaded`.
    times
        The processing region's labels along the append dim; None for static variables.
    released
        By URL, credentials masked, the version of a source file that no gate holds any more.
    holes
        Keys of the objects that an earlier run found gone, see `VariableRecord`.
    withdrawn
        Likewise the version that is not read again, and why.
    offered
        Positions of the processing region at which the provider has the variable; None: all.
    skips_same
        Whether what the store has already, byte by byte, is not put again.
    offsets
        Where each position's steps of the source begin, and where the last one's end; None where
        they are not aggregated. `coords` and `times` are those of the steps.
    """

    job: RegionJob[Any, Any]
    processing_region: slice
    sizes: Mapping[str, int]
    coords: xr.Dataset | None = None
    continues: bool = False
    token: str | None = None
    times: ExpectedAxis | None = None
    released: Mapping[str, Word] = field(default_factory=dict)
    holes: frozenset[str] = frozenset()
    withdrawn: Mapping[str, Word] = field(default_factory=dict)
    offered: slice | None = None
    skips_same: bool = False
    offsets: tuple[int, ...] | None = None

    @property
    def data_var(self) -> DataVar:
        """The variable."""
        var: DataVar = self.job.data_vars[0]
        return var

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variable over the processing region."""
        return tuple(self.sizes[dim] for dim in self.data_var.dims)

    @property
    def sources(self) -> tuple[VariableWork, ...]:
        """The work as the job's hooks get it: of each of the variable's sources, along its steps.

        Mostly this work itself.
        """
        if not self.data_var.is_made:
            return (self,)
        sizes, dim = dict(self.sizes), self.job.append_dim
        if self.offsets is not None:
            sizes[dim] = self.offsets[-1]

        def of(source: DataVar) -> VariableWork:
            job = copy.copy(self.job)
            vars(job).update(data_vars=(source,))
            return replace(self, job=job, sizes=sizes)

        return tuple(of(source) for source in self.data_var.sources)


# To move a task away from its input costs a download: Dask weighs that by the input's size, and
# providers are about so much slower than a cluster's own network.
DOWNLOAD_COST = 10


@dataclass(frozen=True)
class LocalFiles:
    """Source files on a worker's disk: what download returns.

    Parameters
    ----------
    folder
        Where they are; valid only on the worker that made it.
    job
        The region job, to download again elsewhere.
    files
        All that were asked for, with what became of them.
    spans
        The stages that made it.
    most_claimed
        See `Bench`.
    """

    folder: Path
    job: RegionJob[Any, Any]
    files: tuple[SourceFile, ...]
    spans: tuple[Span, ...] = ()
    most_claimed: int = sys.maxsize

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(file.nbytes_fetched for file in self.files)

    def __sizeof__(self) -> int:
        """Tell Dask what it costs to use it from another worker, in bytes."""
        return min(DOWNLOAD_COST * self.nbytes, self.most_claimed)


@dataclass(frozen=True)
class LocalShards:
    """Compressed objects on a worker's disk: what compress returns.

    Parameters
    ----------
    folder
        A Zarr store with the whole metadata; valid only on the worker that made it.
    keys
        The objects to upload.
    work, source
        What it was made from, to remake it elsewhere.
    unread
        By index of the source file: why it could not be read, or which gate held its place.
    healed
        The source files as downloaded again, if they were.
    spans
        The stages that made it, without those of `source`.
    epochs
        Of what its values went through, see `gridmill.model.epochs`.
    remarks
        By index of the source file, what is worth knowing of how it was read.
    holes
        Those of `keys` that lack published values: the store does not have them any more, nor does
        a source file.
    lost
        How many values transformations made missing, by why.
    statistics
        Of what is stored, where its values are numbers.
    """

    folder: Path
    keys: tuple[str, ...]
    work: VariableWork
    source: LocalFiles
    unread: Mapping[int, str]
    healed: tuple[SourceFile, ...] | None
    spans: tuple[Span, ...]
    epochs: Mapping[str, int] = field(default_factory=dict)
    remarks: Mapping[int, Sequence[str]] = field(default_factory=dict)
    holes: tuple[str, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    statistics: ValueStatistics | None = None

    def __sizeof__(self) -> int:
        """Tell Dask what it costs to use it from another worker, in bytes."""
        return self.source.__sizeof__()


@dataclass(frozen=True)
class Receipt:
    """What upload returns: the objects that it wrote, and what became of the source files.

    Parameters
    ----------
    variable
        Name of the variable.
    objects
        Empty if no source file had the variable.
    files
        The source files that it was made from. Dask may have run the download task again since
        the driver heard of it, and a file may have come or gone in between.
    unread
        By index of the source file: why it could not be read, or which gate held its place.
    healed
        The source files as downloaded again, if they were.
    spans
        The stages that made it, without those of the download task.
    token
        What publishing needs to make the objects visible, see `Uploaded`.
    replicated
        By a replica's URL, what was put into it; a replica that failed is left out.
    epochs
        Of what its values went through, see `gridmill.model.epochs`.
    remarks
        By index of the source file, what is worth knowing of how it was read.
    holes
        Keys of those objects that lack published values, see `LocalShards`.
    lost
        How many values transformations made missing, by why.
    statistics
        Of what is stored, see `LocalShards`.
    put_nbytes
        Bytes that were put: less than `objects` have where some of them were there already.
    """

    variable: str
    objects: tuple[ObjectReceipt, ...]
    files: tuple[SourceFile, ...]
    unread: Mapping[int, str]
    healed: tuple[SourceFile, ...] | None = None
    spans: tuple[Span, ...] = field(default=())
    token: str | None = None
    replicated: Mapping[str, Uploaded] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    remarks: Mapping[int, Sequence[str]] = field(default_factory=dict)
    holes: tuple[str, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    statistics: ValueStatistics | None = None
    put_nbytes: int = 0

    @property
    def not_read(self) -> dict[int, str]:
        """Those `unread` that could not be read: what a gate holds was."""
        arrived, failed = SourceFileStatus.SUCCEEDED, SourceFileStatus.READ_FAILED
        return {at: why for at, why in self.unread.items() if arrived.of_unread(why) is failed}

    @property
    def reader(self) -> str:
        """The worker that read the source files; empty if none is named."""
        return next((span.worker for span in self.spans if span.stage == "compress"), "")


@dataclass(frozen=True)
class Bench:
    """Where a stage runs.

    Parameters
    ----------
    space
        Its folders.
    worker
        Its name.
    most_claimed
        Bytes that what it makes may claim to have where Dask asks what it costs to move it.
    raises
        Whether what a reader raises and decoders do not comes as it is, for who looks for it with
        a debugger; else it is a failure to read, as all others.
    """

    space: WorkspaceOfKey
    worker: str
    most_claimed: int = sys.maxsize
    raises: bool = False
