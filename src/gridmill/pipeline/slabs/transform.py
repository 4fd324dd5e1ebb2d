"""The author's transformations, slab by slab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.transforms.resolution import losses_noted, with_resolution
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import Canvas, Slab, Values, slabs_of
from gridmill.pipeline.faults import is_of_the_file
from gridmill.pipeline.slabs.resolution import Resolutions
from gridmill.pipeline.values import RunContext, VariableWork

__all__ = ["NotTransformed", "TransformedSlabs", "slabs_for", "takes_data_array", "transforms"]


class NotTransformed(Exception):  # noqa: N818
    """An author's transformation raised, or made what cannot be stored; its cause says what."""


class TransformedSlabs:
    """The slabs of a canvas as the author transforms them; each may be taken twice.

    One alone is transformed once and kept; of several, each is transformed whenever it is taken,
    so that memory holds one of them.
    """

    def __init__(
        self, canvas: Canvas, resolutions: Resolutions, context: RunContext, work: VariableWork
    ) -> None:
        self.canvas = canvas
        self.resolutions = resolutions
        self.context = context
        self.work = work
        self._lost: dict[int, Counter[str]] = {}
        self._only: Values | None = None

    def __iter__(self) -> Iterator[tuple[int, Values]]:
        """Yield the number of each slab, and its values over the processing region."""
        for number in range(len(self.canvas.slabs)):
            yield number, self._take(number)

    @property
    def lost(self) -> dict[str, int]:
        """How many values transformations made missing, by why; of the slabs taken so far."""
        return dict(sum(self._lost.values(), Counter()))

    def _take(self, number: int) -> Values:
        if self._only is not None:
            return self._only
        values = self.canvas.values(number)
        slab = self.canvas.slabs[number]
        with with_resolution(self.resolutions.within(slab)), losses_noted() as lost:
            _transform_inplace(values, self.context, self.work, slab)
        self._lost[number] = lost
        if len(self.canvas.slabs) == 1:
            self._only = values
        return values


@contextmanager
def _by_the_author() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_of_the_file(error):
            raise
        raise NotTransformed(f"{type(error).__name__}: {error}") from error


def _transform_inplace(values: Values, context: RunContext, work: VariableWork, slab: Slab) -> None:
    job, data_var = work.job, work.data_var
    if not takes_data_array(type(job)):
        with _by_the_author():
            job.transform_values_inplace(values, data_var)
        return
    import xarray as xr

    data_array = xr.DataArray(values, dims=data_var.dims, name=data_var.name, attrs=data_var.attrs)
    at = dict(zip(data_var.dims, slab, strict=True))
    for coords in (context.coords, work.coords):
        if coords is not None:
            fitting = {n: c for n, c in coords.coords.items() if set(c.dims) <= set(data_var.dims)}
            cut = {n: c[{d: at[str(d)] for d in c.dims}] for n, c in fitting.items()}
            data_array = data_array.assign_coords(cut)
    with _by_the_author():
        job.apply_data_transformations(data_array, data_var)
    if not np.shares_memory(data_array.values, values):
        raise TypeError(
            f"{type(job).__name__}.apply_data_transformations must change the values in place"
        )


def takes_data_array(job_class: type[RegionJob[Any, Any]]) -> bool:
    """Whether an author overrides a hook that takes an xarray object on a worker."""
    return job_class.apply_data_transformations is not RegionJob.apply_data_transformations


def transforms(job_class: type[RegionJob[Any, Any]]) -> bool:
    """Whether an author overrides how values are transformed."""
    by_author = job_class.transform_values_inplace is not RegionJob.transform_values_inplace
    return by_author or takes_data_array(job_class)


def slabs_for(job: RegionJob[Any, Any], var: DataVar, shape: Sequence[int]) -> list[Slab]:
    """Divide what is too large for memory, along dims that no transformation needs whole."""
    needed = job.whole_dims
    if needed is None:
        needed = var.dims if transforms(type(job)) else ()
    whole = [dim in needed or dim == job.append_dim for dim in var.dims]
    itemsize = np.dtype(var.encoding.value_dtype).itemsize
    return slabs_of(shape, var.encoding.chunks, itemsize, whole=whole)
