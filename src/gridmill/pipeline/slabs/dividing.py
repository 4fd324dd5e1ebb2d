"""How a variable is divided into slabs, by what its transformations need whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import SLAB_NBYTES, Slab, slabs_of

__all__ = ["slabs_for", "takes_data_array", "transforms"]


def takes_data_array(job_class: type[RegionJob[Any, Any]]) -> bool:
    """Whether an author overrides a hook that takes an xarray object on a worker."""
    return job_class.apply_data_transformations is not RegionJob.apply_data_transformations


def transforms(job_class: type[RegionJob[Any, Any]]) -> bool:
    """Whether an author overrides how values are transformed."""
    by_author = job_class.transform_values_inplace is not RegionJob.transform_values_inplace
    return by_author or takes_data_array(job_class)


def slabs_for(
    job: RegionJob[Any, Any],
    var: DataVar,
    shape: Sequence[int],
    offsets: Sequence[int] | None = None,
) -> list[Slab]:
    """Divide what is too large for memory, along dims that no transformation needs whole.

    Parameters
    ----------
    job, var
        The variable and its region job.
    shape
        Of the variable over the processing region.
    offsets
        See `VariableWork`: the steps of its sources count. All of them are held at once.
    """
    needed = job.whole_dims
    if needed is None:
        needed = var.dims if transforms(type(job)) else ()
    whole = [dim in needed or dim == job.append_dim for dim in var.dims]
    itemsize = max(np.dtype(one.encoding.value_dtype).itemsize for one in (var, *var.sources))
    along = tuple(shape) if offsets is None else (offsets[-1], *shape[1:])
    most = SLAB_NBYTES // (len(var.sources) + 1) if var.is_made else SLAB_NBYTES
    slabs = slabs_of(along, var.encoding.chunks, itemsize, whole=whole, most_nbytes=most)
    return slabs if offsets is None else [(slice(0, shape[0]), *slab[1:]) for slab in slabs]
