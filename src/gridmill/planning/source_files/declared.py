"""Where source files are not offered by the declaration of a job: see `Offering`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.authoring.labels import parse_label
from gridmill.authoring.region_job import RegionJob
from gridmill.model.files.offering import Offering
from gridmill.pipeline.values import SourceFile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NotOffered", "positions_not_offered"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class NotOffered:
    """Says of source files of a region whether the provider does not offer them.

    Parameters
    ----------
    job
        The region job.
    indexes
        Of every dim the labels, the append dim's being those of the processing region.
    """

    def __init__(self, job: RegionJob[Any, Any], indexes: Mapping[str, pd.Index[Any]]) -> None:
        self.append_dim = job.append_dim
        declared = () if job.is_static else job.offerings
        outside = [(one, _outside(one, indexes[job.append_dim])) for one in declared]
        self._masks = [(one.dim, at, _chosen(one, indexes)) for one, at in outside if at.any()]

    def without(self, files: Iterable[SourceFile]) -> Iterable[SourceFile]:
        """Return those files that the provider offers."""
        return (file for file in files if not self(file)) if self._masks else files

    def __call__(self, file: SourceFile) -> bool:
        """Whether all that a file fills is not offered."""
        for dim, outside, chosen in self._masks:
            along = outside[_at(file, self.append_dim)].all()
            if along and (dim is None or (dim in file.place and chosen[_at(file, dim)].all())):
                return True
        return False


def positions_not_offered(job: RegionJob[Any, Any]) -> Mask:
    """Return the positions of a region at which nothing is offered."""
    index = job.template_ds.get_index(job.append_dim)[job.region.slice]
    found = np.zeros(len(index), bool)
    for one in job.offerings:
        if one.dim is None:
            found |= _outside(one, index)
    return found


def _at(file: SourceFile, dim: str) -> Any:
    at = file.place.get(dim, slice(None))
    return at if isinstance(at, slice) else slice(at, at + 1)


def _outside(one: Offering, index: pd.Index[Any]) -> Mask:
    """Return the positions that an offering speaks of, and at which it is not there."""
    calendar = getattr(index, "calendar", "proleptic_gregorian")
    outside = np.zeros(len(index), bool)
    if one.since is not None:
        outside |= np.asarray(index < parse_label(one.since, calendar))
    if one.until is not None:
        outside |= np.asarray(index >= parse_label(one.until, calendar))
    if one.hours is not None:
        outside &= np.isin([label.hour for label in index], list(one.hours))
    return outside


def _chosen(one: Offering, indexes: Mapping[str, pd.Index[Any]]) -> Mask:
    """Return which labels of its dim an offering speaks of."""
    if one.dim is None or one.dim not in indexes:
        return np.zeros(0, bool)
    index = indexes[one.dim]
    if isinstance(one.labels, slice):
        chosen = np.ones(len(index), bool)
        if one.labels.start is not None:
            chosen &= np.asarray(index >= _label(index, one.labels.start))
        if one.labels.stop is not None:
            chosen &= np.asarray(index <= _label(index, one.labels.stop))
        return chosen
    return np.asarray(index.isin([_label(index, label) for label in one.labels or ()]))


def _label(index: pd.Index[Any], label: Any) -> Any:
    import pandas as pd

    return pd.Timedelta(label) if isinstance(index, pd.TimedeltaIndex) else label
