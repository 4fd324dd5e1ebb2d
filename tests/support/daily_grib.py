"""A provider of daily GRIB files with inventories, the dataset made of them, and lies of both.

A lie here is what an inventory says of a file that is as it should be, or what is of a file whose
inventory is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from daily_netcdf import DAYS
from grib_messages import encode
from gridmill import Coordinate, Encoding
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic
from tiny import TinyTemplate

__all__ = ["LATS", "LIES", "LONS", "Job", "Template", "field", "publish"]

LATS, LONS = np.arange(31.0), np.arange(16.0)
LEAD = 6


def _variable(name: str, parameter: str, code: tuple[int, int, int], height: float) -> GribVar:
    return GribVar(
        name=name,
        dims=("init_time", "lead_time", "latitude", "longitude"),
        encoding=Encoding(chunks=(1, 1, 31, 16)),
        attrs={"units": "K", "long_name": name},
        parameter=parameter,
        levels=(Level(f"{height:g} m above ground", Surface(103, height)),),
        statistic=Statistic.INSTANT,
        codes=(code,),
    )


TEMPERATURE = _variable("t2m", "TMP", (0, 0, 0), 2.0)
WIND = _variable("u10", "UGRD", (0, 2, 2), 10.0)


def field(day: int, number: int = 0) -> np.ndarray:
    """Return a day's field, different for each day and variable."""
    return np.random.default_rng([day, number]).normal(280, 9, (31, 16)).astype("float32")


class Template(TinyTemplate):
    """Daily forecasts of six hours."""

    append_dim = "init_time"
    append_dim_frequency = "D"
    dims = ("init_time", "lead_time", "latitude", "longitude")
    coords = (
        Coordinate(name="init_time", dtype="int64", units="seconds since 1970-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="latitude"),
        Coordinate(name="longitude"),
    )
    data_vars = (TEMPERATURE, WIND)

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give one lead and the grid."""
        leads = pd.to_timedelta([LEAD], unit="h")
        return {"lead_time": leads, "latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Day(ForecastFile):
    """The file of a day."""

    def get_url(self) -> str:
        """Give its name."""
        return self.init_time.strftime("%Y%m%d.grib2")


class Job(GribForecastJob[Day]):
    """Reads messages by their inventory."""

    file_type = Day
    publication_delay = timedelta(hours=2)


def _message(var: GribVar, day: int, number: int) -> bytes:
    code = var.codes[0]
    keys = {
        "discipline": code[0],
        "parameterCategory": code[1],
        "parameterNumber": code[2],
        "typeOfFirstFixedSurface": 103,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": int(var.levels[0].surface.value or 0),
        "dataDate": int(f"{DAYS[day]:%Y%m%d}"),
        "dataTime": 0,
        "forecastTime": LEAD,
    }
    return encode(field(day, number), packing="grid_ieee", keys=keys)


Files = tuple[bytes, bytes]


def stale_index(day: int, files: Files, draw: random.Random) -> Files:
    """Of another upload, whose messages lay elsewhere."""
    content, index = files
    at = index.split(b":")[1 + 6]  # of the second line
    return content, index.replace(b":" + at + b":", b":%d:" % (int(at) + 7))


def page_as_index(day: int, files: Files, draw: random.Random) -> Files:
    """A page that says sorry."""
    return files[0], b"<!DOCTYPE html><html><body>Service unavailable</body></html>"


def swapped_index(day: int, files: Files, draw: random.Random) -> Files:
    """Each message under the name of the other."""
    content, index = files
    names = b"TMP:2 m above ground", b"UGRD:10 m above ground"
    swapped = index.replace(names[0], b"#").replace(names[1], names[0]).replace(b"#", names[1])
    return content, swapped


def cut_message(day: int, files: Files, draw: random.Random) -> Files:
    """The file ends early, and its index does not say so."""
    return files[0][: draw.randrange(1, len(files[0]) - 4)], files[1]


def message_of_the_day_before(day: int, files: Files, draw: random.Random) -> Files:
    """In the file of another day, whose index names this one."""
    return _content(day - 1), files[1]


LIES: dict[str, Callable[[int, Files, random.Random], Files]] = {
    function.__name__: function
    for function in (
        stale_index,
        page_as_index,
        swapped_index,
        cut_message,
        message_of_the_day_before,
    )
}


def _content(day: int) -> bytes:
    return _message(TEMPERATURE, day, 0) + _message(WIND, day, 1)


def publish(root: Path, day: int, lie: str, draw: random.Random) -> None:
    """Put the file of a day and its inventory: the truth, or a lie."""
    first = len(_message(TEMPERATURE, day, 0))
    stamp = f"d={DAYS[day]:%Y%m%d}00"
    lines = (
        f"1:0:{stamp}:TMP:2 m above ground:{LEAD} hour fcst:\n"
        f"2:{first}:{stamp}:UGRD:10 m above ground:{LEAD} hour fcst:\n"
    )
    files = _content(day), lines.encode()
    if lie:
        files = LIES[lie](day, files, draw)
    name = DAYS[day].strftime("%Y%m%d.grib2")
    for path, content in zip((root / name, root / f"{name}.idx"), files, strict=True):
        path.unlink(missing_ok=True)
        path.write_bytes(content)
