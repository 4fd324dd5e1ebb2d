"""One variable of one region on its way through compress: which files it is made of, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from gridmill.authoring.transforms.resolution import resolutions_told
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import Index, Values
from gridmill.pipeline.faults import is_of_decoders, is_of_the_file
from gridmill.pipeline.slabs.layers import Layers, open_layers
from gridmill.pipeline.slabs.piece import is_as_it_came, is_gone, read_one, why_withdrawn
from gridmill.pipeline.slabs.resolution import Resolutions
from gridmill.pipeline.values import Bench, LocalFiles, RunContext, SourceFile, VariableWork
from gridmill.pipeline.workspace import TmpFolderLost

__all__ = ["Chain", "Taken", "place_of", "places_of", "read_files", "take"]


@dataclass(frozen=True)
class Chain:
    """What is made of which files, and where: `folder` is for the objects.

    Where files `may_vanish`, one that is not there says nothing about what the provider has: its
    folder is being deleted, as another worker's may be on the same disk.
    """

    bench: Bench
    context: RunContext
    work: VariableWork
    source: LocalFiles
    folder: Path
    scratch: Path
    may_vanish: bool

    @contextmanager
    def layers(self) -> Iterator[Layers]:
        """Return empty layers, and release their memory and disk space."""
        folder = self.scratch / uuid4().hex
        try:
            with open_layers(self.work, folder) as layers:
                yield layers
        finally:  # what is tried after a failure needs its room
            rmtree(folder, ignore_errors=True)


def read_files(
    chain: Chain, layers: Layers, held: Mapping[int, str]
) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Read every file that arrived and is not held into its place, and compare it with that.

    Gives by index why one was not read, and what is worth knowing of how one was.
    """
    work, source = chain.work, chain.source
    unread: dict[int, str] = {}
    remarks: dict[int, list[str]] = {}
    for index, file in enumerate(source.files):
        if file.is_kept or file.coord.status is not SourceFileStatus.SUCCEEDED:
            continue
        if not file.lies_in(work.job.append_dim, work.offered):
            continue
        left_out = held.get(index) or why_withdrawn(work, file)
        if left_out:
            unread[index] = left_out
            continue
        why_not, told = _read_into(chain, layers, file)
        if why_not:
            unread[index] = why_not
        elif told:
            remarks[index] = told
    return unread, remarks


def _read_into(chain: Chain, layers: Layers, file: SourceFile) -> tuple[str, list[str]]:
    """Read a file into the layers that it fills: why not, or what is worth knowing."""
    told: list[str] = []
    for layer in layers.filled_by(file):
        place = layer.place_of(file)
        piece = layer.canvas.room(place)
        taken = take(replace(chain, work=layer.work), file, piece)
        if taken.why_not:
            return taken.why_not, []
        told += [remark for remark in taken.remarks if remark not in told]
        layer.canvas.put(place, piece)
        taken.tell(layer.resolutions, place)
    return "", told


@dataclass(frozen=True)
class Taken:
    """What came of reading a source file: remarks and the steps of its values, or why it failed."""

    remarks: list[str] = field(default_factory=list)
    steps: Sequence[float] = ()
    why_not: str = ""

    def tell(self, resolutions: Resolutions, place: Index) -> None:
        """Note in which steps the values at a place were written, if the reader told."""
        if self.steps:
            resolutions.note(place, max(self.steps))


def take(chain: Chain, file: SourceFile, piece: Values) -> Taken:
    """Read a source file into a piece, or say why it cannot be read.

    Raises
    ------
    TmpFolderLost
        It lies on this worker's disk no more, or not as it came.
    Exception
        What says nothing about the file.
    """
    bench, source = chain.bench, chain.source
    try:
        with resolutions_told() as told:
            return Taken(read_one(chain.context, chain.work, file, piece), told)
    except Exception as error:
        if (chain.may_vanish and is_gone(file, error)) or not bench.space.has(source.folder):
            raise TmpFolderLost(str(source.folder)) from error
        if chain.may_vanish and not is_as_it_came(file):
            raise TmpFolderLost(str(source.folder)) from error
        if not is_of_the_file(error) or (bench.raises and not is_of_decoders(error)):
            raise
        cause = f"{type(error).__name__}: {error}"
        if not is_as_it_came(file):
            cause += "; what lies on the worker's disk is not what arrived"
        # Records outlive workers' folders, and the same fault must read the same in each.
        return Taken(why_not=cause.replace(f"{source.folder}/", ""))


def place_of(file: SourceFile, data_var: DataVar) -> Index:
    return tuple(file.place.get(dim, slice(None)) for dim in data_var.dims)


def places_of(chain: Chain, unread: Mapping[int, str]) -> dict[int, Index]:
    """Return by index the places of the source files that were read."""
    work = chain.work
    return {
        index: place_of(file, work.data_var)
        for index, file in enumerate(chain.source.files)
        if file.coord.status is SourceFileStatus.SUCCEEDED
        if index not in unread and not file.is_kept
        if file.lies_in(work.job.append_dim, work.offered)
    }
