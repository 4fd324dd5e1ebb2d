"""Compress one variable's region to shards, against bare blosc on the same chunks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numcodecs.blosc
import numpy as np

from benchmarks.dataset import KEEP_MANTISSA_BITS, GridTemplate, end_of
from benchmarks.fields import make_fields
from benchmarks.measures import Measure, compare
from benchmarks.sizes import Size
from gridmill import DataVar, Encoding
from gridmill.archive.archive import Archive
from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.pipeline.shards import ObjectWriter

__all__ = ["encode"]

# Inner chunks of 24 steps or 12, small and large, and what their CPU may cost.
MOST = {(24, 17, 16): 1.6, (24, 61, 60): 1.25, (12, 121, 120): 1.25}


def encode(folder: Path, size: Size) -> Iterator[Measure]:
    """Compress one variable's region to shards, against bare blosc on the same chunks."""
    values = make_fields(size.steps, 1)
    round_mantissa_inplace(values, KEEP_MANTISSA_BITS)
    blosc = numcodecs.blosc.Blosc("zstd", 3, numcodecs.blosc.Blosc.BITSHUFFLE)
    numcodecs.blosc.use_threads = False
    for chunk, most in MOST.items():
        shard = tuple(-(-n // c) * c for n, c in zip((24, 361, 360), chunk, strict=True))
        metadata = _array_metadata(Encoding(chunks=chunk, shards=shard), values.shape)
        yield from compare(
            f"encode {chunk} / bare blosc",
            lambda metadata=metadata: _write_shards(folder, metadata, values),
            lambda chunk=chunk: [
                blosc.encode(np.ascontiguousarray(c)) for c in _cut(values, chunk)
            ],
            cpu=most,
            pairs=size.pairs,
        )


def _array_metadata(encoding: Encoding, shape: tuple[int, ...]) -> dict[str, object]:
    class Template(GridTemplate):
        data_vars = (DataVar(name="a", encoding=encoding, attrs={"long_name": "a", "units": "1"}),)

    config = Template()
    ds = config.get_template(end_of(shape[0]))
    archive = Archive(None, config, ds, None)  # type: ignore[arg-type]
    return archive.arrays["a"]


def _write_shards(folder: Path, metadata: dict[str, object], values: np.ndarray) -> None:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    writer = ObjectWriter(out, "a", metadata)
    writer.write(tuple(slice(0, n) for n in values.shape), values)
    writer.close()


def _cut(values: np.ndarray, chunk: tuple[int, ...]) -> Iterator[np.ndarray]:
    counts = [-(-n // c) for n, c in zip(values.shape, chunk, strict=True)]
    for cell in np.ndindex(*counts):
        yield values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, chunk, strict=True))]
