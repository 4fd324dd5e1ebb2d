"""A provider of hourly NetCDF files, and what is made of them: wind speed, and days of hours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    read_netcdf,
)
from gridmill.authoring.derived import Aggregation, wind_speed
from gridmill.stores.objects.local import LocalObjects
from tiny import GridTemplate

LATS, LONS = np.array([50.0, 40.0, 30.0]), np.arange(0.0, 40.0, 10)
START = pd.Timestamp("2020-01-01")


def var(name: str, units: str = "m s-1", method: str | None = None, **more: Any) -> DataVar:
    """Return a variable; of days where it has a method."""
    attrs = {"long_name": name, "units": units}
    attrs |= {"cell_methods": f"time: {method}"} if method else {}
    return DataVar(name=name, encoding=Encoding(chunks=(2, 3, 4)), attrs=attrs, **more)


def field(name: str, time: pd.Timestamp) -> np.ndarray:
    """Return what the provider has of a time: different at every place, time and variable."""
    hours = (time - START) / pd.Timedelta("1h")
    phase = {"u": 0.0, "v": 1.0, "t": 2.0}[name]
    places = np.arange(LATS.size * LONS.size).reshape(LATS.size, LONS.size)
    return (10 * np.sin(hours / 5 + phase) + places).astype("float32")


def write_hour(folder: Path, time: pd.Timestamp, names: tuple[str, ...] = ("u", "v")) -> None:
    """Publish an hour: both components in a file, and each in one of its own."""
    coords = {"latitude": LATS, "longitude": LONS, "time": time}
    for some in (names, *((name,) for name in names)):
        values = {n: (("latitude", "longitude"), field(n, time), {"units": "m s-1"}) for n in some}
        xr.Dataset(values, coords).to_netcdf(folder / f"{'_'.join(some)}_{time:%Y%m%d%H}.nc")


class HourlyTemplate(GridTemplate):
    """An hourly grid."""

    append_dim_start = str(START)
    append_dim_frequency = "h"
    data_vars = (var("speed", derived=wind_speed(var("u"), var("v"))),)

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


class DailyTemplate(HourlyTemplate):
    """Days of hours."""

    append_dim_frequency = "D"
    data_vars = tuple(
        var(
            f"speed_{method}",
            method=method,
            derived=wind_speed(var("u"), var("v")),
            aggregated=Aggregation(method=method, every="h"),
        )
        for method in ("mean", "minimum", "maximum", "sum")
    )


@dataclass(frozen=True, kw_only=True)
class Hour(SourceFileCoord):
    """The file of an hour."""

    time: pd.Timestamp
    what: str

    def get_url(self) -> str:
        """Give its name."""
        return f"{self.what}_{self.time:%Y%m%d%H}.nc"

    def out_loc(self) -> dict[str, Any]:
        """Give its hour."""
        return {"time": self.time}


class Together(RegionJob[DataVar, Hour]):
    """Both components lie in one file; nothing here knows what is made of them."""

    publication_delay = timedelta(hours=2)
    reads_again = False

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file an hour."""
        return [Hour(time=t, what="u_v") for t in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Read a component."""
        return read_netcdf(coord.downloaded_path, data_var.name)


class Apart(Together):
    """Each component lies in a file of its own."""

    def source_groups(self, data_vars):
        """Give a group a component."""
        return [[one] for one in data_vars]

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file an hour of the component."""
        (one,) = data_var_group
        return [Hour(time=t, what=one.name) for t in processing_region_ds.get_index("time")]


def dataset(
    store: Path, source: Path, template: Any, job: Any = Together, **settings: Any
) -> DynamicalDataset:
    """Return a dataset of these."""

    class Made(DynamicalDataset):
        template_config = template
        region_job = job

    return Made(store, source_base=str(source), **settings)


def update_and_die(store: str, source: str, now: str, at_put: str) -> None:
    """Update in this process, and kill it before a put by its number; say how many there were."""
    put, done = LocalObjects.put, []

    def put_or_die(self: Any, key: str, *args: Any, **options: Any) -> Any:
        if len(done) == int(at_put):
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(key)
        return put(self, key, *args, **options)

    with mock.patch.object(LocalObjects, "put", put_or_die):
        made = dataset(Path(store), Path(source), DailyTemplate)
        made.reformat_operational_update(client="none", now=now)
    print(len(done))


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Call `update_and_die` in a process of its own."""
    path = os.pathsep.join(
        [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, hourly; hourly.update_and_die(*sys.argv[1:])",
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
