"""A whole backfill, against the best that we can write with plain dask and xarray."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from distributed import Client, LocalCluster

from benchmarks.backfills import backfill
from benchmarks.core import bare, everywhere, processes
from benchmarks.dataset import DAY, KEEP_MANTISSA_BITS, BenchmarkGrid, end_of
from benchmarks.fields import NAMES, write_archive
from benchmarks.forecast import end_of_inits, forecast_of, write_forecast
from benchmarks.measures import Measure, compare
from benchmarks.sizes import Size
from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.model.variables import Encoding
from gridmill.runs.dask.clusters import connect
from gridmill.runs.dask.plugin.memory import MALLOC_OPTIONS

__all__ = ["plain"]

SHARDS, CHUNKS = (366, 360), (61, 60)
# What plain dask's workers need as much as ours, see `chain.keep_freed_memory`.
MENDED = {
    "MALLOC_MMAP_THRESHOLD_": str(MALLOC_OPTIONS[-3]),
    "MALLOC_TRIM_THRESHOLD_": str(MALLOC_OPTIONS[-1]),
    "MALLOC_TOP_PAD_": str(MALLOC_OPTIONS[-2]),
}
GRIB_MESSAGES = {
    "t2m": {"parameterCategory": 0, "parameterNumber": 0, "typeOfLevel": "heightAboveGround"},
    "u10": {"parameterCategory": 2, "parameterNumber": 2},
    "tp": {"parameterCategory": 1, "parameterNumber": 8},
}


def plain(folder: Path, size: Size) -> Iterator[Measure]:
    """Make the same archive with `open_mfdataset` and `to_zarr`, in threads and in processes.

    And see how far from that the limit is: bare primitives in as many processes as cores.
    """
    regions_a_core = max(1, size.regions_a_core // 2)
    regions = regions_a_core * (os.cpu_count() or 1) if size.steps == DAY else 1
    grib, netcdf = folder / "grib", folder / "netcdf"
    grib.mkdir()
    write_forecast(grib, size.steps, inits=regions)
    netcdf.mkdir()
    write_archive(netcdf, size.steps, copies=regions)
    forecast = partial(forecast_of(size.steps), source_base=str(grib))
    grid = partial(BenchmarkGrid, source_base=str(netcdf))
    end_of_grid = end_of(DAY * (regions - 1) + size.steps)
    cases = (
        ("GRIB", forecast, grib, end_of_inits(regions), _open_grib, 1 / 5),
        ("NetCDF", grid, netcdf, end_of_grid, _open_netcdf, 1 / 2.5),
    )
    for kind, dataset, archive, until, opened, most in cases:
        build = partial(_plain, partial(opened, archive), folder / "plain.zarr")
        for where in ("threads", "LocalCluster") if size.pairs > 1 else ("threads",):
            with (
                connect("local", silence_logs=50) as ours,
                _scheduler(where),
            ):
                yield from compare(
                    f"plain: {kind} backfill / dask + xarray, {where}",
                    partial(backfill, dataset, folder / "ours.zarr", until, ours),
                    build,
                    cpu=most,
                    wall=most,
                    pairs=size.pairs,
                )
        with processes() as pool, _scheduler("threads"):
            limit = partial(everywhere, pool, bare, kind, str(archive), size.steps)
            yield from compare(
                f"plain: {kind} bare primitives / dask + xarray, threads",
                partial(limit, times=regions_a_core),
                build,
                pairs=size.pairs,
            )


class _scheduler:  # noqa: N801
    """Where plain dask computes: threads of this process, or a cluster with malloc mended."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        if self.where == "threads":
            # As soon as there is any client, dask takes a rechunking for granted that needs one.
            threads = {"scheduler": "threads", "num_workers": 2, "array.rechunk.method": "tasks"}
            self._config = dask.config.set(threads)
            return
        environ = {f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in MENDED.items()}
        with dask.config.set(environ):
            self._cluster = LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                dashboard_address=None,
                worker_dashboard_address=None,
                silence_logs=50,
            )
        self._client = Client(self._cluster, set_as_default=False)
        self._config = dask.config.set(scheduler=self._client)

    def __exit__(self, *exc_info: object) -> None:
        self._config.__exit__(None, None, None)
        if self.where != "threads":
            self._client.close()
            self._cluster.close()


def _plain(opened: Callable[[], xr.Dataset], store: Path) -> None:
    """Write blocks of whole shards, rounded."""
    shutil.rmtree(store, ignore_errors=True)
    ds = opened()
    dims = ds[next(iter(ds.data_vars))].dims
    leading = [1] * (len(dims) - 3) + [min(DAY, ds.sizes[dims[-3]])]
    ds = ds.chunk(dict(zip(dims, (*leading, *SHARDS), strict=True)))
    for name in ds.data_vars:
        ds[name].data = ds[name].data.map_blocks(_rounded, dtype="float32")
        encoding = Encoding(chunks=(*leading, *CHUNKS), shards=(*leading, *SHARDS))
        ds[name].encoding = encoding.to_xarray()
    ds.to_zarr(store, mode="w", zarr_format=3, consolidated=False)


def _open_netcdf(archive: Path) -> xr.Dataset:
    whole = {"time": 1, "latitude": -1, "longitude": -1}
    files = sorted(archive.rglob("*.nc"))
    return xr.open_mfdataset(files, combine="nested", concat_dim="time", chunks=whole)[list(NAMES)]


def _open_grib(archive: Path) -> xr.Dataset:
    inits = [
        [f for f in sorted(folder.iterdir()) if f.suffix != ".idx" and "f000" not in f.name]
        for folder in sorted(archive.glob("*/*/atmos"))
    ]
    opened = {}
    for name, keys in GRIB_MESSAGES.items():
        ds = xr.open_mfdataset(
            inits,
            engine="cfgrib",
            combine="nested",
            concat_dim=["time", "step"],
            chunks={},
            backend_kwargs={"indexpath": "", "filter_by_keys": keys},
            coords="minimal",
            compat="override",
        )
        array = ds[next(iter(ds.data_vars))]
        array = array.drop_vars(set(array.coords) - {"latitude", "longitude"})
        opened[name] = array.transpose("time", "step", "latitude", "longitude")
    rain = opened["tp"]
    opened["tp"] = xr.concat([rain[:, :1], rain.diff("step")], "step") / np.float32(3600)
    return xr.Dataset({name: array.astype("float32") for name, array in opened.items()})


def _rounded(block: np.ndarray) -> np.ndarray:
    block = np.array(block, dtype=np.float32, order="C")
    round_mantissa_inplace(block, KEEP_MANTISSA_BITS)
    return block
