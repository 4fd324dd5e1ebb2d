"""Source bytes to tmp store, in as many processes as cores, against bare primitives in the same."""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numcodecs.blosc
import numpy as np

from benchmarks.dataset import BenchmarkGrid, end_of
from benchmarks.fields import NAMES, SHAPE, write_archive
from benchmarks.forecast import end_of_inits, forecast_of, write_forecast
from benchmarks.measures import Measure, compare
from benchmarks.on_hand import on_hand
from benchmarks.sizes import Size
from gridmill.runs.dask.plugin.memory import keep_freed_memory

__all__ = ["bare", "core", "everywhere", "processes"]

CHUNK, RESET_HOURS = (61, 60), 6
# What is accumulated since the last reset.
TOTALS = {"GRIB": "v10", "NetCDF": None}


def core(folder: Path, size: Size) -> Iterator[Measure]:
    """Decode, transform, compress: gridmill's stage against bare ecCodes, netCDF4 and blosc."""
    for kind, write in (("GRIB", write_forecast), ("NetCDF", write_archive)):
        archive = folder / kind
        archive.mkdir()
        write(archive, size.steps)
        with processes() as pool:
            ours = partial(everywhere, pool, _ours, kind, str(archive), size.steps)
            reference = partial(everywhere, pool, bare, kind, str(archive), size.steps)
            # The reference keeps a buffer of what our first turn freed: only the next ones find
            # all their memory warm.
            ours(), reference()
            yield from compare(
                f"core: {kind} to tmp store / bare primitives",
                ours,
                reference,
                cpu=1 / 0.90,
                wall=1 / 0.85,
                pairs=size.pairs,
            )


def processes() -> ProcessPoolExecutor:
    """Return as many plain processes as cores, which keep what they imported."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context)


def everywhere(
    pool: ProcessPoolExecutor, work: Callable[..., None], *args: object, times: int = 1
) -> None:
    """Do the same work in every process, at once, so many times."""
    count = os.cpu_count() or 1
    for done in [pool.submit(_again_and_again, times, work, *args) for _ in range(count)]:
        done.result()


def _again_and_again(times: int, work: Callable[..., None], *args: object) -> None:
    for _ in range(times):
        work(*args)


# -- in a process -----------------------------------------------------------------------------

_held = ExitStack()
atexit.register(_held.close)
_ready: dict[tuple[str, str], Callable[[], None]] = {}


def _ours(kind: str, archive: str, steps: int) -> None:
    if ("ours", kind) not in _ready:
        dataset_class = forecast_of(steps) if kind == "GRIB" else BenchmarkGrid
        until = end_of_inits(1) if kind == "GRIB" else end_of(steps)
        scratch = Path(_held.enter_context(tempfile.TemporaryDirectory(dir=Path(archive).parent)))
        dataset = dataset_class(scratch / "out.zarr", source_base=archive)
        numcodecs.blosc.use_threads = False
        region = _held.enter_context(on_hand(dataset, until, scratch))
        sources = region.download()
        _ready["ours", kind] = lambda: region.discard(region.compress(sources))
    _ready["ours", kind]()


def bare(kind: str, archive: str, steps: int) -> None:
    if ("bare", kind) not in _ready:
        keep_freed_memory()
        scratch = Path(_held.enter_context(tempfile.TemporaryDirectory(dir=Path(archive).parent)))
        buffer = np.zeros((steps, *SHAPE), np.float32)
        read = _grib_reader(Path(archive)) if kind == "GRIB" else _netcdf_reader(Path(archive))
        _ready["bare", kind] = partial(
            _primitives, read, buffer, scratch, _mantissa_bits(kind), TOTALS[kind]
        )
    _ready["bare", kind]()


def _mantissa_bits(kind: str) -> dict[str, int]:
    """Return what the variables of the dataset keep: each bit more is up to twice the bytes."""
    dataset_class = forecast_of(1) if kind == "GRIB" else BenchmarkGrid
    kept = [var.keep_mantissa_bits for var in dataset_class.template_config.data_vars]
    return dict(zip(NAMES, kept, strict=True))


def _primitives(
    read: Callable[[str, int, np.ndarray], None],
    buffer: np.ndarray,
    to: Path,
    mantissa_bits: dict[str, int],
    totals: str | None,
) -> None:
    """Decode into a reused buffer, take differences, round, cut, compress, write: all there is."""
    blosc = numcodecs.blosc.Blosc("zstd", 3, numcodecs.blosc.Blosc.BITSHUFFLE)
    numcodecs.blosc.use_threads = False
    for name in NAMES:
        for step in range(len(buffer)):
            read(name, step, buffer[step])
        if name == totals:
            for step in range(len(buffer) - 1, -1, -1):
                if step % RESET_HOURS:
                    np.subtract(buffer[step], buffer[step - 1], out=buffer[step])
                np.multiply(buffer[step], np.float32(1 / 3600), out=buffer[step])
        _round_blocks_inplace(buffer, mantissa_bits[name])
        corners = itertools.product(*(range(0, n, c) for n, c in zip(SHAPE, CHUNK, strict=True)))
        with (to / name).open("wb") as file:
            for y, x in corners:
                chunk = np.ascontiguousarray(buffer[:, y : y + CHUNK[0], x : x + CHUNK[1]])
                file.write(blosc.encode(chunk))


def _round_blocks_inplace(values: np.ndarray, keep_bits: int, block: int = 1 << 16) -> None:
    """Round mantissas to the nearest, ties to even, in blocks that stay in the cache."""
    flat, dropped = values.reshape(-1).view(np.uint32), 23 - keep_bits
    half, mask = np.uint32((1 << (dropped - 1)) - 1), np.uint32(0xFFFFFFFF ^ ((1 << dropped) - 1))
    scratch = np.empty(block, np.uint32)
    for start in range(0, flat.size, block):
        part = flat[start : start + block]
        odd = scratch[: part.size]
        np.right_shift(part, np.uint32(dropped), out=odd)
        np.bitwise_and(odd, np.uint32(1), out=odd)
        np.add(odd, half, out=odd)
        np.add(part, odd, out=part)
        np.bitwise_and(part, mask, out=part)


def _grib_reader(archive: Path) -> Callable[[str, int, np.ndarray], None]:
    import eccodes

    places = {}
    names = {"TMP:2 m above": "t2m", "UGRD:10 m above": "u10", "APCP:surface": "v10"}
    for listing in sorted(archive.rglob("*.idx")):
        lines = listing.read_text().splitlines()
        path, lead = listing.with_suffix(""), int(listing.with_suffix("").name[-3:])
        starts = [int(line.split(":")[1]) for line in lines] + [path.stat().st_size]
        for number, line in enumerate(lines):
            for start, name in names.items():
                if f":{start}" in line:
                    place = (path, starts[number], starts[number + 1])
                    places.setdefault((name, lead - 1), place)

    def read(name: str, step: int, into: np.ndarray) -> None:
        path, start, stop = places[name, step]
        with path.open("rb") as file:
            file.seek(start)
            message = file.read(stop - start)
        handle = eccodes.codes_new_from_message(message)
        into.reshape(-1)[:] = eccodes.codes_get_values(handle)
        eccodes.codes_release(handle)

    return read


def _netcdf_reader(archive: Path) -> Callable[[str, int, np.ndarray], None]:
    import netCDF4

    def read(name: str, step: int, into: np.ndarray) -> None:
        with netCDF4.Dataset(archive / "20200101" / f"f{step:03d}.nc") as file:
            file.set_auto_mask(False)
            into[...] = file[name][0]

    return read
