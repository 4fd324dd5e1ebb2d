"""Files of arrays, of a sample, with other times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from gridmill.authoring.sources.arrays import ArrayRegion

__all__ = ["DatedArrays"]


class DatedArrays:
    """Files that are written again for other times; GeoTIFF has none, and is copied.

    Parameters
    ----------
    samples
        A folder with netCDF or GeoTIFF files.
    """

    def __init__(self, samples: Path) -> None:
        self._samples = sorted(samples.glob("sample_*"))
        self._times: defaultdict[Path, set[Any]] = defaultdict(set)
        self._holding: dict[Path, tuple[Path, str]] = {}
        self._stores: set[Path] = set()

    def write(self, job: Any, coord: Any, group: Sequence[Any], path: Path) -> None:
        """Add the times that a source file fills."""
        index = job.processing_region_ds().get_index(job.append_dim)
        label = coord.out_loc()[job.append_dim]
        if isinstance(label, slice):
            label = index[index.slice_indexer(label.start, label.stop)]
        self._times[path] |= set(np.atleast_1d(np.asarray(label, object)).tolist())
        self._holding[path] = self._sample_of(group[0].source_name)
        if isinstance(coord, ArrayRegion):
            self._stores.add(path)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Return the files and what is in each."""
        for path, times in self._times.items():
            sample, group = self._holding[path]
            if sample.suffix == ".tif":
                yield path, sample.read_bytes()
            elif path in self._stores:
                # An absent chunk would be a region that is not there yet.
                _dated(sample, group, sorted(times)).to_zarr(path, write_empty_chunks=True)
            else:
                yield path, _netcdf(_dated(sample, group, sorted(times)), group)

    def _sample_of(self, source_name: str) -> tuple[Path, str]:
        group, _, name = source_name.rpartition("/")
        for path in self._samples:
            if path.suffix == ".tif":
                return path, ""
            with xr.open_dataset(path, group=group or None, decode_times=False) as ds:
                if name in ds.variables:
                    return path, group
        raise ValueError(f"no sample has the variable {source_name}")


def _dated(sample: Path, group: str, times: Sequence[Any]) -> xr.Dataset:
    """Return a sample with these times, one after the other."""
    raw: Any = {"decode_times": False, "mask_and_scale": False}
    with xr.open_dataset(sample, group=group or None, **raw) as opened:
        ds = opened.load()
    named = [name for name in ds.variables if " since " in str(ds[name].attrs.get("units", ""))]
    own = [name for name in named if ds[name].attrs.get("standard_name") != REFERENCE]
    if not own:
        return ds
    axis = next((name for name in own if ds[name].ndim == 1), own[0])
    if ds[axis].ndim == 1:
        dim = ds[axis].dims[0]
        ds = ds.isel({dim: np.arange(len(times)) % ds.sizes[dim]})
    return _moved(ds, str(axis), times)


def _moved(ds: xr.Dataset, axis: str, times: Sequence[Any]) -> xr.Dataset:
    """Return a Dataset with other times on an axis, and the bounds that belong to them."""
    import cftime

    coord = ds[axis]
    calendar = coord.attrs.get("calendar", "standard")
    dates = [_as_cftime(time, calendar) for time in times]
    numbers = np.asarray(cftime.date2num(dates, coord.attrs["units"], calendar), "float64")
    moved = (numbers - np.atleast_1d(coord.values)).reshape(coord.shape)
    found = ds.assign_coords({axis: (coord.dims, numbers.reshape(coord.shape), coord.attrs)})
    bounds = coord.attrs.get("bounds")
    if bounds in ds.variables:
        old = ds[bounds]
        found[bounds] = (old.dims, old.values + moved[..., np.newaxis], old.attrs)
    for name in (axis, bounds):
        if name in found.variables:
            found[name].encoding = {}
    return found


def _as_cftime(time: Any, calendar: str) -> Any:
    import cftime

    return cftime.datetime(
        time.year, time.month, time.day, time.hour, time.minute, time.second, calendar=calendar
    )


def _netcdf(ds: xr.Dataset, group: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sample.nc"
        ds.to_netcdf(path, engine="netcdf4", group=group or None)
        return path.read_bytes()


REFERENCE = "forecast_reference_time"
