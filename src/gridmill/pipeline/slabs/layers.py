"""What source files are read into: a canvas for each source of a variable, mostly one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gridmill.authoring.derived.making import rests_on_whole
from gridmill.authoring.transforms.blocks import BoolArray
from gridmill.pipeline.canvas import Canvas, Index
from gridmill.pipeline.slabs.dividing import slabs_for
from gridmill.pipeline.slabs.resolution import Resolutions
from gridmill.pipeline.values import SourceFile, VariableWork

__all__ = ["Layer", "Layers", "open_layers"]


@dataclass(frozen=True)
class Layer:
    """A source of a variable, on its way: its work, values, and the steps that they came in."""

    work: VariableWork
    canvas: Canvas
    resolutions: Resolutions

    def place_of(self, file: SourceFile) -> Index:
        """Return where a file lies in it."""
        place = file.place_in_source(self.work.job.append_dim)
        return tuple(place.get(dim, slice(None)) for dim in self.work.data_var.dims)


@dataclass(frozen=True)
class Layers:
    """A variable's canvas, and those of its sources: the same one where nothing is made of others.

    All have the same slabs, but for their length along the append dim.
    """

    work: VariableWork
    canvas: Canvas
    sources: tuple[Layer, ...] = field(default=())

    def filled_by(self, file: SourceFile) -> Iterator[Layer]:
        """Yield the layers that a file is read into."""
        return (layer for layer in self.sources if file.gives(layer.work.data_var.name))

    def rests_on(self, number: int, files: Iterable[SourceFile]) -> BoolArray:
        """Return where in a slab values rest on these files alone."""
        known = list(files)

        def of(layer: Layer) -> BoolArray:
            name = layer.work.data_var.name
            places = [layer.place_of(file) for file in known if file.gives(name)]
            filled = layer.canvas.filled(number, places)
            return layer.work.job.provenance(filled, layer.work.data_var)

        masks = [of(layer) for layer in self.sources]
        return rests_on_whole(self.work.data_var, self.work.offsets, masks)

    def close(self, number: int) -> None:
        """Release a slab's disk space and memory."""
        for canvas in {id(c): c for c in (self.canvas, *(s.canvas for s in self.sources))}.values():
            canvas.close(number)


@contextmanager
def open_layers(work: VariableWork, folder: Path) -> Iterator[Layers]:
    """Return empty layers, and release their memory."""
    with ExitStack() as stack:

        def canvas(of: VariableWork, name: str) -> Canvas:
            encoding = of.data_var.encoding
            whole = slice(0, of.sizes.get(of.job.append_dim, 0))
            along = of.job.append_dim in of.data_var.dims
            cut = [(whole, *slab[1:]) if along else slab for slab in slabs]
            made = Canvas(of.shape, encoding.value_dtype, encoding.value_fill, cut, folder / name)
            return stack.enter_context(made)

        slabs = slabs_for(work.job, work.data_var, work.shape, work.offsets)
        if len(slabs) > 1:
            folder.mkdir()
        own = canvas(work, "own")
        if not work.data_var.is_made:
            yield Layers(work, own, (Layer(work, own, Resolutions(work.shape)),))
            return
        sources = [
            Layer(source, canvas(source, f"source-{at}"), Resolutions(source.shape))
            for at, source in enumerate(work.sources)
        ]
        yield Layers(work, own, tuple(sources))
