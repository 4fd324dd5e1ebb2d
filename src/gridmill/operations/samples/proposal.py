"""What is proposed for a dataset, and what is asked. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gridmill.authoring.forecasts.variables import Window
from gridmill.operations.samples.facts import ArrayAxis, ArraySample, GribField, GribSample
from gridmill.operations.samples.pattern import PathPattern
from gridmill.sources.grib.grids import Grid

__all__ = [
    "MOST_QUESTIONS",
    "ArrayProposal",
    "GribProposal",
    "Proposal",
    "ProposedArray",
    "ProposedField",
    "Question",
    "Timing",
]

MOST_QUESTIONS = 12


@dataclass(frozen=True)
class Question:
    """What samples do not say: the question, why it is asked, and what to look at.

    `at` is the place in the code where it stands.
    """

    at: str
    text: str
    why: str
    look_at: str


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The append dim: its labels in the samples, and its step; None where they are irregular."""

    labels: Sequence[Any]
    frequency: str | None
    calendar: str = "proleptic_gregorian"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What every dataset has."""

    timing: Timing
    pattern: PathPattern
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    compression: str
    member: str | None
    questions: tuple[Question, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProposedField:
    """A variable, and the fields of the samples that are it, one a level.

    `word` is the part of its files' names that is its own, None where a file has all variables.
    """

    name: str
    fields: tuple[GribField, ...]
    more: Mapping[str, str | None]
    window: Window | None
    word: str | None = None

    @property
    def first(self) -> GribField:
        """The field of its first level."""
        return self.fields[0]


@dataclass(frozen=True, kw_only=True)
class GribProposal(Proposal):
    """A dataset of GRIB files."""

    samples: Sequence[GribSample]
    variables: tuple[ProposedField, ...]
    grid: Grid | None
    lead_hours: tuple[float, ...]
    members: tuple[int, ...] = ()
    member_words: Mapping[int, str] = field(default_factory=dict)
    pressures: tuple[float, ...] = ()
    inventory: str | None = None

    @property
    def is_forecast(self) -> bool:
        """Whether there are leads; else files are of one time each."""
        return bool(self.lead_hours)


@dataclass(frozen=True, kw_only=True)
class ProposedArray:
    """A variable of files of arrays."""

    name: str
    source_name: str
    source_dims: tuple[str, ...]
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    word: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArrayProposal(Proposal):
    """A dataset of netCDF, HDF5, Zarr or GeoTIFF files.

    `axes` and `auxiliary` are its coordinates by their names in the archive; `has_many` says
    whether a file fills several positions of the append dim, and `positions` how many a sample
    does.
    """

    samples: Sequence[ArraySample]
    variables: tuple[ProposedArray, ...]
    axes: Mapping[str, ArrayAxis]
    auxiliary: Mapping[str, ArrayAxis]
    mappings: Mapping[str, Mapping[str, Any]]
    time_dim: str | None
    has_many: bool
    positions: int
