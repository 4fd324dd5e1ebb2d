"""Where source files and processing regions lie: from labels to positions along a dim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.region import as_slice

if TYPE_CHECKING:
    import pandas as pd

    from gridmill.authoring.region_job import RegionJob

__all__ = ["locate", "locate_along", "processing_region"]


def processing_region(job: RegionJob[Any, Any]) -> slice:
    """Return what `RegionJob.get_processing_region` gives, cut to the template."""
    wanted = job.get_processing_region()
    length = job.template_ds.sizes[job.append_dim]
    return slice(max(wanted.start, 0), min(wanted.stop, length))


def locate_along(
    index: pd.Index[Any], dim: str, coords: Iterable[SourceFileCoord]
) -> list[tuple[SourceFileCoord, slice]]:
    """Find the positions along a dim that source files fill.

    Raises
    ------
    ValueError
        A label that a file claims to fill is not in the index.
    """
    return [(c, as_slice(locate(index, dim, c.out_loc().get(dim, slice(None))))) for c in coords]


def locate(index: pd.Index[Any], dim: str, label: Any) -> int | slice:
    """Find the position of a label, or the positions of a slice of labels, both ends included.

    Raises
    ------
    ValueError
        The label is not in the index.
    """
    if isinstance(label, slice):
        found = index.slice_indexer(label.start, label.stop)
        return slice(*found.indices(len(index)))
    try:
        hash(label)  # pandas has an error of its own for lists
        return int(index.get_loc(label))  # type: ignore[arg-type]
    except (KeyError, TypeError) as error:
        span = f"{index[0]} … {index[-1]}" if len(index) else "nothing"
        raise ValueError(
            f"out_loc() gives {dim}={label!r}, which is not in {dim}: {span}"
        ) from error
