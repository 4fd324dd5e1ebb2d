"""Run the benchmarks: `python -m benchmarks [NAME …]`, or `make bench`."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr
from distributed import Client
from numcodecs.blosc import Blosc

from benchmarks.dataset import CHUNKS, KEEP_MANTISSA_BITS, SHARDS, BenchmarkGrid
from benchmarks.fields import NAMES, make_fields, write_archive
from benchmarks.memory import Peak, peaks
from benchmarks.pairs import Ratio, compare, foreign_load
from gridmill.chain import threads_per_worker
from gridmill.clusters import connect
from gridmill.publication import Publisher
from gridmill.shards import ObjectWriter
from gridmill.transforms import round_mantissa_inplace
from gridmill.variables import Encoding

STEPS = 24


def encode(folder: Path) -> Iterator[Ratio]:
    """Compress one variable's region to shards, against bare blosc on the same chunks."""
    values = make_fields(STEPS, 1)
    round_mantissa_inplace(values, KEEP_MANTISSA_BITS)
    blosc = Blosc("zstd", 3, Blosc.BITSHUFFLE)
    for chunk in ((24, 17, 16), (24, 61, 60), (12, 121, 120)):
        shard = tuple(-(-n // c) * c for n, c in zip((24, 361, 360), chunk, strict=True))
        metadata = _array_metadata(Encoding(chunks=chunk, shards=shard), values.shape)
        must = 1.6 if chunk == (24, 17, 16) else 1.25
        yield compare(
            f"encode {chunk}",
            lambda metadata=metadata: _write_shards(folder, metadata, values),
            lambda chunk=chunk: [
                blosc.encode(np.ascontiguousarray(c)) for c in _cut(values, chunk)
            ],
            must=must,
        )


def plain(folder: Path) -> Iterator[Ratio]:
    """A whole NetCDF backfill, against plain dask + xarray with threads on the same files."""
    archive = folder / "archive"
    archive.mkdir()
    write_archive(archive, STEPS)
    with connect("local", threads_per_worker=threads_per_worker(), silence_logs=50) as client:
        yield compare(
            "backfill / plain dask + xarray (threads)",
            lambda: _backfill(archive, folder / "ours.zarr", client),
            lambda: _plain(archive, folder / "plain.zarr"),
        )


def start(folder: Path) -> Iterator[Ratio]:
    """Start of the command line, against the bare interpreter."""
    script = shutil.which("gridmill", path=str(Path(sys.executable).parent)) or "gridmill"
    yield compare(
        "gridmill --help / python -c pass",
        lambda: subprocess.run([script, "--help"], capture_output=True, check=True),
        lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
    )


def memory(folder: Path) -> Iterator[Peak]:
    """Peak of a worker for 1 and 8 GB of float32 a variable: 1 GiB and a shard at most."""
    yield from peaks()


BENCHMARKS: dict[str, Callable[[Path], Iterator[Ratio | Peak]]] = {
    "encode": encode,
    "plain": plain,
    "start": start,
    "memory": memory,
}


def main(names: list[str]) -> int:
    """Run benchmarks, print a table, write JSON beside it."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"unknown benchmarks {unknown}; known: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    load = foreign_load()
    ratios: list[Ratio] = []
    peaked: list[Peak] = []
    print(f"{'A / B':45} {'CPU':>7} {'spread':>15} {'wall':>7}  must")
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="gridmill-bench-") as folder:
            for found in BENCHMARKS[name](Path(folder)):
                (peaked if isinstance(found, Peak) else ratios).append(found)
                print(found, "" if found.holds else " MISSED", flush=True)
    spoiled = max(load, foreign_load())
    if spoiled > 0.3:
        print(f"other processes kept {spoiled:.1f} cores busy: these ratios may be spoiled")
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "foreign_load": round(spoiled, 2),
        "versions": {name: version(name) for name in ("gridmill", "zarr", "distributed")},
        "when": time.strftime("%Y-%m-%d"),
    }
    content = {
        "machine": machine,
        "ratios": [vars(ratio) for ratio in ratios],
        "peaks": [vars(peak) for peak in peaked],
    }
    Path("benchmarks/results.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0


def _array_metadata(encoding: Encoding, shape: tuple[int, ...]) -> dict[str, object]:
    from gridmill import DataVar

    class Template(BenchmarkGrid.template_config):  # type: ignore[misc]
        data_vars = (DataVar(name="a", encoding=encoding, attrs={"long_name": "a", "units": "1"}),)

    config = Template()
    ds = config.get_template(f"2020-01-{1 + shape[0] // 24:02d}")
    publisher = Publisher(None, config, ds, None)  # type: ignore[arg-type]
    return publisher.arrays["a"]


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


def _backfill(archive: Path, store: Path, client: Client) -> None:
    for path in (store, store.with_name(store.name + ".gridmill")):
        shutil.rmtree(path, ignore_errors=True)
    report = BenchmarkGrid(store, source_base=str(archive)).backfill("2020-01-02", client=client)
    assert report.positions_after == STEPS


def _plain(archive: Path, store: Path) -> None:
    """The best that we can write with plain dask and xarray: blocks of whole shards, threads."""
    shutil.rmtree(store, ignore_errors=True)
    files = sorted(archive.glob("*.nc"))
    whole = {"time": 1, "latitude": -1, "longitude": -1}
    ds = xr.open_mfdataset(files, combine="nested", concat_dim="time", chunks=whole)
    ds = ds.chunk(dict(zip(("time", "latitude", "longitude"), SHARDS, strict=True)))
    for name in NAMES:
        ds[name].data = ds[name].data.map_blocks(_rounded, dtype="float32")
        ds[name].encoding = Encoding(chunks=CHUNKS, shards=SHARDS).to_xarray()
    ds.to_zarr(store, mode="w", zarr_format=3, consolidated=False)


def _rounded(block: np.ndarray) -> np.ndarray:
    block = np.array(block, dtype=np.float32, order="C")
    round_mantissa_inplace(block, KEEP_MANTISSA_BITS)
    return block


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
