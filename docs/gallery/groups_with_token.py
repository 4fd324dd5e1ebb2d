"""HDF5 groups, for who has a token.

The provider's files are HDF5, their variables lie in a group, longitude before latitude. The server
gives them only to who sends a token, which an environment variable holds.
"""

import os
import threading
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    BearerToken,
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_netcdf,
)

LATS, LONS = np.arange(80.0, -81, -20), np.arange(-170.0, 180, 20)


class Template(TemplateConfig):
    """Half hours on a grid of 20°."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "30min"
    dataset_attributes = {"dataset_id": "groups-with-token", "title": "Half-hourly rain"}
    coords = (
        Coordinate(name="time", dtype="int64", units="seconds since 1970-01-01"),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="precipitation",
            encoding=Encoding(chunks=(48, 9, 18)),
            attrs={"long_name": "Precipitation rate", "units": "mm h-1"},
        ),
    )

    def dimension_coordinates(self):
        """Return the grid, from north to south; the files run from south to north."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class HalfHour(SourceFileCoord):
    """The file of a half hour."""

    time: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"{self.time:%Y%j/rain.S%H%M%S}.HDF5"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.time}


class Job(RegionJob):
    """Reads a half hour."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each half hour."""
        return [HalfHour(time=time) for time in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return latitude × longitude; the files say -9999.9 where they have nothing."""
        path, name = coord.downloaded_path, f"Grid/{data_var.name}"
        values = read_netcdf(path, name, index={"time": 0}, dims=("lat", "lon"))
        values[values == np.float32(-9999.9)] = np.nan
        return values


class Rain(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def guarded(folder: Path) -> ThreadingHTTPServer:
    """Return a server that gives files to who has the token."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.headers["Authorization"] == "Bearer open-sesame":
                super().do_GET()
            else:
                self.send_error(401)

        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def write(path: Path, time: pd.Timestamp, values: np.ndarray) -> None:
    """Write a file as the provider does: longitude before latitude, from south to north."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        grid = file.create_group("Grid")
        labels = {"time": [time.timestamp()], "lon": LONS, "lat": LATS[::-1]}
        units = ("seconds since 1970-01-01", "degrees_east", "degrees_north")
        for (name, axis), unit in zip(labels.items(), units, strict=True):
            grid[name] = axis
            grid[name].attrs["units"] = unit
            grid[name].make_scale(name)
        stored = np.where(np.isnan(values), np.float32(-9999.9), values)
        grid["precipitation"] = stored[::-1].T[np.newaxis]
        grid["precipitation"].attrs["units"] = "mm h-1"
        for number, name in enumerate(labels):
            grid["precipitation"].dims[number].attach_scale(grid[name])


def main(folder: Path) -> xr.Dataset:
    """Build a day; the token is kept nowhere."""
    values = np.random.default_rng(0).gamma(1, 3, (48, 9, 18)).astype("float32")
    values[:, 0] = np.nan
    times = pd.date_range("2025-01-01", periods=48, freq="30min")
    for time, one in zip(times, values, strict=True):
        write(folder / "source" / f"{time:%Y%j/rain.S%H%M%S}.HDF5", time, one)
    with guarded(folder / "source") as server:
        url = f"http://127.0.0.1:{server.server_port}"
        rules = [BearerToken(url, env="RAIN_TOKEN")]
        dataset = Rain(folder / "rain.zarr", source_base=url, credentials=rules)
        os.environ["RAIN_TOKEN"] = "open-sesame"
        dataset.backfill("2025-01-02", now="2025-01-02")
        server.shutdown()
    stored = xr.open_zarr(folder / "rain.zarr")
    np.testing.assert_array_equal(stored.precipitation, values)
    assert b"open-sesame" not in b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )
    return stored
