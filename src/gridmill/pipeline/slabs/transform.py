"""The author's transformations, slab by slab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from gridmill.authoring.derived.making import make_into
from gridmill.authoring.transforms.resolution import losses_noted, with_resolution
from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.pipeline.canvas import Slab, Values
from gridmill.pipeline.faults import NotTransformed, is_of_the_file
from gridmill.pipeline.slabs.dividing import takes_data_array
from gridmill.pipeline.slabs.layers import Layer, Layers
from gridmill.pipeline.values import RunContext, VariableWork

__all__ = ["TransformedSlabs"]


class TransformedSlabs:
    """The slabs of a canvas as the author transforms them; each may be taken twice.

    One alone is transformed once and kept; of several, each is transformed whenever it is taken,
    so that memory holds one of them.
    """

    def __init__(self, layers: Layers, context: RunContext) -> None:
        self.layers = layers
        self.context = context
        self.work = layers.work
        self.canvas = layers.canvas
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
        with losses_noted() as lost:
            found = [self._transformed(layer, number) for layer in self.layers.sources]
        self._lost[number] = lost
        values = self._made(number, found) if self.work.data_var.is_made else found[0]
        if len(self.canvas.slabs) == 1:
            self._only = values
        return values

    def _transformed(self, layer: Layer, number: int) -> Values:
        values = layer.canvas.values(number)
        slab = layer.canvas.slabs[number]
        with with_resolution(layer.resolutions.within(slab)):
            _transform_inplace(values, self.context, layer.work, slab)
        return values

    def _made(self, number: int, sources: list[Values]) -> Values:
        """Make the variable of its sources; hooks have seen these, and see it no more."""
        var, values = self.work.data_var, self.canvas.values(number)
        with _by_the_author():
            make_into(var, sources, self.work.offsets, values)
        if var.keep_mantissa_bits is not None:
            round_mantissa_inplace(values, var.keep_mantissa_bits)
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
