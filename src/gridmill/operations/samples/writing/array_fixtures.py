"""Small samples of files of arrays, for a package's test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.operations.samples.facts import ArraySample
from gridmill.operations.samples.proposal import ArrayProposal

__all__ = ["write_arrays"]

MOST_TIMES = 2


def write_arrays(proposal: ArrayProposal, folder: Path, most_nbytes: int) -> list[Path]:
    """Write one sample of each set of variables: its first times, of which values may be made up.

    Values stay where all samples together are small; else they are a ramp along each row.
    """
    wanted = {var.source_name.rpartition("/")[2] for var in proposal.variables}
    chosen: dict[frozenset[str], ArraySample] = {}
    for sample in proposal.samples:
        names = frozenset(var.name for var in sample.variables) & wanted
        if names:
            chosen.setdefault(names, sample)
    nbytes = 0
    written = []
    for number, (names, sample) in enumerate(chosen.items()):
        suffix = ".tif" if sample.sample.kind == "geotiff" else ".nc"
        path = folder / f"sample_{number}{suffix}"
        nbytes += _size(sample, names)
        if suffix == ".tif":
            shutil.copy2(sample.sample.path, path)
        else:
            _write(sample, names, path, is_ramp=nbytes > most_nbytes)
        written.append(path)
    return written


def _size(sample: ArraySample, names: frozenset[str]) -> int:
    """Return the bytes of what is kept, before compression."""
    return sum(
        np.dtype(var.dtype).itemsize
        * int(
            np.prod(
                [
                    min(n, MOST_TIMES) if dim == sample.time_dim else n
                    for dim, n in zip(var.dims, var.shape, strict=True)
                ]
            )
        )
        for var in sample.variables
        if var.name in names
    )


def _write(sample: ArraySample, names: frozenset[str], path: Path, *, is_ramp: bool) -> None:
    with _opened(sample) as ds:
        left = {var.name for var in sample.variables} - names
        kept = ds.drop_vars([name for name in left if name in ds.variables])
        if sample.time_dim is not None:
            kept = kept.isel({sample.time_dim: slice(0, MOST_TIMES)})
        if is_ramp:
            kept = kept.assign({name: _ramp(kept[name].variable) for name in names})
        for var in kept.variables.values():
            fill = var.encoding.get("_FillValue")
            var.encoding = {} if fill is None else {"_FillValue": fill}
        zipped: Any = {name: {"zlib": True, "complevel": 4} for name in names}
        kept.to_netcdf(path, engine="netcdf4", group=sample.group or None, encoding=zipped)


def _opened(sample: ArraySample) -> Any:
    import xarray as xr

    if sample.sample.kind == "zarr":
        return xr.open_zarr(sample.sample.path, decode_times=False, mask_and_scale=False)
    return xr.open_dataset(
        sample.sample.path,
        engine="netcdf4",
        group=sample.group or None,
        decode_times=False,
        mask_and_scale=False,
    )


def _ramp(var: Any) -> Any:
    """Return a variable with made-up stored values that any dtype holds."""
    ramp = (np.arange(var.shape[-1]) % 100).astype(var.dtype)
    return var.copy(data=np.broadcast_to(ramp, var.shape).copy())
