"""How a variable is divided into slabs, by what its transformations need whole; what they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from operator import sub
from typing import Any

import numpy as np

from gridmill.authoring.derived.making import BLOCK_VALUES
from gridmill.authoring.region_job import RegionJob
from gridmill.model.variables import DataVar
from gridmill.pipeline.canvas import SLAB_NBYTES, Slab, slabs_of

__all__ = ["SlabNeeds", "needs_of", "slabs_for", "takes_data_array", "transforms"]

# What is held of the slab that is being encoded: its scratch file mapped, and what encoding copies.
SLABS_HELD = 2.5
# Beside a block of each input, as float64, while a variable is made of them.
BLOCKS_HELD = 5


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


@dataclass(frozen=True)
class SlabNeeds:
    """What a worker needs while it compresses one variable of one region.

    Parameters
    ----------
    disk_nbytes
        Of the files that its values are scattered to before they are transformed; 0 where they
        stay in memory. Of what is made of others, or of many steps, these hold all inputs.
    memory_nbytes
        Of a slab and its inputs, with what making and encoding take.
    reading_nbytes
        Of these alone: what is held while source files are read.
    """

    disk_nbytes: int
    memory_nbytes: int
    reading_nbytes: int


def needs_of(
    job: RegionJob[Any, Any],
    var: DataVar,
    shape: Sequence[int],
    offsets: Sequence[int] | None = None,
) -> SlabNeeds:
    """Return what a variable takes of a worker's disk and memory; parameters as of `slabs_for`."""
    slabs = slabs_for(job, var, shape, offsets)
    # Later ones are as large, or cut off by the end.
    part = tuple(at.stop - at.start for at in slabs[0])

    def nbytes(of: DataVar, lengths: tuple[int, ...]) -> int:
        steps = lengths if of is var or offsets is None else (offsets[-1], *lengths[1:])
        return int(prod(steps) * np.dtype(of.encoding.value_dtype).itemsize)

    own, is_divided = nbytes(var, part), len(slabs) > 1
    disk = sum(nbytes(one, tuple(shape)) for one in var.sources) if is_divided else 0
    encoding = int(SLABS_HELD * own)
    if not var.is_made:
        return SlabNeeds(disk, encoding, own)
    inputs = [nbytes(one, part) for one in var.sources]
    making = own + max(inputs) * is_divided + _making_nbytes(len(inputs), part, offsets)
    return SlabNeeds(disk, sum(inputs) + max(making, encoding), sum(inputs) + own)


def _making_nbytes(n_inputs: int, part: tuple[int, ...], offsets: Sequence[int] | None) -> int:
    """Return what making a slab takes beside it: some blocks, of one position's steps at most."""
    steps = part[:1] if offsets is None else (max(map(sub, offsets[1:], offsets), default=0),)
    block = min(BLOCK_VALUES, prod(steps + part[1:]))
    return int(np.dtype("float64").itemsize * block * (n_inputs + BLOCKS_HELD))
