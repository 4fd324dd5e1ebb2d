"""One source file's piece of a variable: read, compared with its place, or why it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.authoring.source_file import known_of
from gridmill.model.files.versions import is_on_disk
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.canvas import Values
from gridmill.pipeline.values import RunContext, SourceFile, VariableWork
from gridmill.sources.evidence.compare import UNTOLD, compare
from gridmill.sources.evidence.expected import ExpectedAxis, Promise
from gridmill.sources.evidence.observed import observing
from gridmill.sources.fetch.credentials.access import using
from gridmill.sources.grib.keys import silence_eccodes
from gridmill.sources.wholeness import is_netcdf_or_hdf5

if TYPE_CHECKING:
    from gridmill.authoring.regridding.reading import Regridding

__all__ = ["is_as_it_came", "is_gone", "read_one", "why_withdrawn"]


def read_one(context: RunContext, work: VariableWork, file: SourceFile, piece: Values) -> list[str]:
    """Read a file into its place; what is worth knowing of how it was read."""
    silence_eccodes()  # an author's reader may have brought it
    place = file.place_in_source(work.job.append_dim)
    regridding = _regridding(context, work, file, place)
    values = piece if regridding is None else regridding.room(piece)
    with observing(piece.dtype) as seen, using(work.job.access):
        work.job.read_data_into(file.coord, work.data_var, values)
    remarks = [UNTOLD] if not seen and _says_what_it_holds(file) else []
    if seen:
        promise = _promise(context, work, file)
        if regridding is not None:
            promise = regridding.of(promise, with_fields=any(one.fields for one in seen))
        remarks = compare(seen, values, promise)
    if regridding is not None:
        regridding.bring(values, piece)
    return remarks


def _regridding(
    context: RunContext, work: VariableWork, file: SourceFile, place: Mapping[str, Any]
) -> Regridding | None:
    """Return how the fields come to the archive's grid; None where they are on it."""
    if work.data_var.regridded is None:
        return None  # without what weights need
    from gridmill.authoring.regridding.reading import regridding_of

    return regridding_of(work.job, file.coord, work.data_var, context.axes, place)


def _says_what_it_holds(file: SourceFile) -> bool:
    """Whether a source file is of a format whose files say what they hold, and none is told."""
    path = file.coord.downloaded_path
    if path is None or not path.is_file():
        return False
    with path.open("rb", buffering=0) as opened:  # a few bytes here and there
        return is_netcdf_or_hdf5(opened, path.stat().st_size)


def why_withdrawn(work: VariableWork, file: SourceFile) -> str:
    """Say why this version of a file is not read; empty if it is."""
    word = known_of(file.coord, work.withdrawn)
    is_told = file.is_told_by(word)
    return f"{SourceFileStatus.WITHDRAWN}: {word.note}" if word is not None and is_told else ""


def _promise(context: RunContext, work: VariableWork, file: SourceFile) -> Promise:
    """Return what a source file should hold of a variable, by its place."""
    job, var = work.job, work.data_var
    place = file.place_in_source(job.append_dim)
    known = dict(context.axes)
    if work.times is not None:
        known[job.append_dim] = work.times
    unknown = ExpectedAxis(labels=np.array([], "U1"))
    fields = {
        name: axis.at(tuple(place.get(dim, slice(None)) for dim in axis.dims))
        for name, axis in known.items()
        if axis.dims and set(axis.dims) <= set(var.dims)
    }
    return Promise(
        axes={dim: known.get(dim, unknown).at(place.get(dim, slice(None))) for dim in var.dims},
        append_dim=job.append_dim,
        units=var.attrs.get("units"),
        unchecked=frozenset(job.unchecked),
        fields={name: axis for name, axis in fields.items() if axis.labels.ndim == 2},
    )


def is_as_it_came(file: SourceFile) -> bool:
    """Whether what lies on this worker's disk is what arrived, or what was unpacked from that."""
    path = file.coord.downloaded_path
    checksum = file.coord.unpacked or file.coord.checksum
    return checksum is None or (path is not None and path.is_file() and is_on_disk(path, checksum))


def is_gone(file: SourceFile, error: Exception) -> bool:
    """Whether a file, or what was kept beside it, is not there; not every decoder says so."""
    path = file.coord.downloaded_path
    return isinstance(error, FileNotFoundError) or path is None or not path.exists()
