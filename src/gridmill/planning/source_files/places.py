"""Where a region's source files lie in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gridmill.authoring.locate import locate, processing_region
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import url_of
from gridmill.model.urls import mask_url
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.sources.fetch.credentials.access import using

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Places", "place_files", "positions_filled"]


def place_files(
    job: RegionJob[Any, Any], ds: xr.Dataset, places: Places, variables: Sequence[DataVar]
) -> Iterator[SourceFile]:
    dims, every = {dim for var in variables for dim in var.dims}, set(ds.dims)
    with using(job.access):
        listed: Any = job.generate_source_file_coords(ds, variables)
        if listed is None:
            raise ValueError(
                f"{type(job).__name__}.generate_source_file_coords() returns None: return the "
                "source files, or an empty list"
            )
        coords: tuple[Any, ...] = tuple(listed)
    for coord in coords:
        labels = coord.out_loc()
        if unknown := labels.keys() - every:
            raise ValueError(
                f"out_loc() of {mask_url(url_of(coord))} names dims {sorted(unknown)} "
                "that no variable has"
            )
        if job.not_held and _is_beyond(job, labels):
            continue
        place = {dim: places.of(dim, label) for dim, label in labels.items() if dim in dims}
        yield SourceFile(coord, place)


def _is_beyond(job: RegionJob[Any, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a file is of a label that the archive does not have."""
    return any(
        not isinstance(labels.get(dim), slice) and labels.get(dim) in index
        for dim, index in job.not_held.items()
    )


@dataclass(frozen=True)
class Places:
    """Where labels are; thousands of source files share a few hundred of them."""

    indexes: Mapping[str, pd.Index[Any]]
    known: dict[tuple[str, Hashable], int | slice] = field(default_factory=dict)

    def of(self, dim: str, label: Any) -> int | slice:
        """Find a label, or a slice of labels."""
        if not isinstance(label, Hashable):
            return locate(self.indexes[dim], dim, label)
        if (dim, label) not in self.known:
            self.known[dim, label] = locate(self.indexes[dim], dim, label)
        return self.known[dim, label]


def positions_filled(job: RegionJob[Any, Any], file: SourceFile) -> slice:
    """Return the positions that a source file fills, see `Region.filled_by`."""
    return job.region.filled_by(file.place.get(job.append_dim), processing_region(job))
