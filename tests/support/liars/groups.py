"""Files with groups: HDF5 and netCDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np

import daily_netcdf as daily
from daily_netcdf import Held, write
from gridmill import DataVar, read_h5py, read_netcdf
from liars.files import Provider

__all__ = ["Groups", "Hdf5"]


class Hdf5Job(daily.Job):
    """Reads a dataset in a group."""

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the dataset's only time."""
        with h5py.File(coord.downloaded_path) as file:
            return read_h5py(file["Grid/t2m"], np.s_[0])


class Hdf5(Provider):
    """HDF5 with groups, without netCDF's conventions."""

    # Stored values come as they are: what is packed is the author's to unpack.
    lies = tuple(lie for lie in Provider.lies if lie != "packed_by_text")
    job = Hdf5Job

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        since = netCDF4.date2num(held.time.to_pydatetime(), held.since)
        with h5py.File(path, "w") as file:
            group = file.create_group("Grid")
            axes = {"time": [since], "lat": held.lats, "lon": held.lons}
            for (name, labels), unit in zip(
                axes.items(), (held.since, "degrees_north", "degrees_east"), strict=True
            ):
                scale = group.create_dataset(name, data=np.asarray(labels, "float64"))
                scale.attrs["units"] = unit
                scale.make_scale(name)
            group["time"].attrs["calendar"] = held.calendar
            stored = group.create_dataset(held.name, data=held.values[np.newaxis])
            stored.attrs["units"] = held.units
            for at, name in enumerate(axes):
                stored.dims[at].attach_scale(group[name])


class GroupJob(daily.Job):
    """Reads a variable in a group."""

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read it whole."""
        return read_netcdf(coord.downloaded_path, "product/t2m")


class Groups(Provider):
    """NetCDF with groups."""

    job = GroupJob

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        write(path, held, "NETCDF4", group="product")
