"""A provider of daily NetCDF files, the dataset that is made of them, and lies of such a provider.

A lie is what a file holds, or is, instead of what its name promises.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import netCDF4
import numpy as np
import pandas as pd

from gridmill import DataVar, Encoding, RegionJob, SourceFileCoord, read_netcdf
from tiny import GridTemplate

DAYS = pd.date_range("2020-01-01", periods=8, freq="D")
LATS = np.array([60.0, 20.0, -40.0])
# As large as what is read without netCDF4: chunks of 64 KiB.
LONS = np.arange(0.0, 360.0, 1 / 16)
FORMATS = ("NETCDF4", "NETCDF3_CLASSIC")
DUE = pd.Timedelta(hours=2)  # after the label


def field(day: int) -> np.ndarray:
    """Return a day's temperatures in kelvin, different at every place."""
    values = 250 + 10 * day + np.arange(3.0)[:, None] + np.cos(np.deg2rad(LONS))
    return values.astype("float32")


class Template(GridTemplate):
    """Daily temperature."""

    append_dim_frequency = "D"
    data_vars = (
        DataVar(
            name="t2m",
            encoding=Encoding(chunks=(4, 3, LONS.size)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Day(SourceFileCoord):
    """The file of a day."""

    label: Any

    def get_url(self) -> str:
        """Give its name."""
        return self.label.strftime("%Y%m%d.nc")

    def out_loc(self) -> dict[str, Any]:
        """Give its day."""
        return {"time": self.label}


class Job(RegionJob[DataVar, Day]):
    """Reads as the README shows."""

    publication_delay = DUE
    file_type: ClassVar[type[SourceFileCoord]] = Day

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a day."""
        return [self.file_type(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Read the file's variable whole."""
        return read_netcdf(coord.downloaded_path, "t2m")


@dataclass(kw_only=True)
class Held:
    """What a file holds."""

    values: np.ndarray
    lats: np.ndarray
    lons: np.ndarray
    time: pd.Timestamp | None
    units: str = "K"
    since: str = "hours since 1900-01-01"
    calendar: str = "standard"
    scale: Any = None
    dtype: str = "f4"
    name: str = "t2m"


def write(path: Path, held: Held, kind: str, group: str = "") -> None:
    """Write a file as a provider does, in a group if one is named."""
    with netCDF4.Dataset(path, "w", format=kind) as whole:
        file = whole.createGroup(group) if group else whole
        for name, labels, units in (
            ("latitude", held.lats, "degrees_north"),
            ("longitude", held.lons, "degrees_east"),
        ):
            file.createDimension(name, len(labels))
            coordinate = file.createVariable(name, "f8", (name,))
            coordinate.units = units
            coordinate[:] = labels
        if held.time is not None:
            file.createDimension("time", 1)
            time = file.createVariable("time", "f8", ("time",))
            time.units, time.calendar = held.since, held.calendar
            time[:] = netCDF4.date2num(held.time.to_pydatetime(), held.since)
        options = {"zlib": True, "chunksizes": held.values.shape} if kind == "NETCDF4" else {}
        stored = file.createVariable(held.name, held.dtype, ("latitude", "longitude"), **options)
        stored.units = held.units
        stored[:] = held.values
        if held.scale is not None:
            stored.scale_factor = held.scale


def flipped(held: Held) -> None:
    """From south to north."""
    held.values, held.lats = held.values[::-1], held.lats[::-1]


def rolled(held: Held) -> None:
    """From -180 to 180."""
    half = LONS.size // 2
    held.values, held.lons = np.roll(held.values, half, 1), np.roll(LONS, half)
    held.lons = np.where(held.lons >= 180, held.lons - 360, held.lons)


def celsius(held: Held) -> None:
    """In degrees Celsius."""
    held.values, held.units = held.values - 273.15, "degC"


def the_day_before(held: Held) -> None:
    """A stale copy."""
    held.values, held.time = held.values - 10, held.time - pd.Timedelta(days=1)


def another_grid(held: Held) -> None:
    """Half a step to the east."""
    held.lons = held.lons + 1 / 32


def another_quantity(held: Held) -> None:
    """No temperature."""
    held.units = "Pa"


def packed_by_text(held: Held) -> None:
    """By what is no number."""
    held.scale = "0.01"


def another_length(held: Held) -> None:
    """One latitude more."""
    held.values = np.concatenate([held.values, held.values[-1:]])
    held.lats = np.append(held.lats, -80.0)


def another_calendar(held: Held) -> None:
    """Days since a date of a calendar without leap days."""
    held.calendar = "noleap"


def renamed(held: Held) -> None:
    """Under a name that nobody knows."""
    held.name = "2t"


def cut(content: bytes, draw: random.Random) -> bytes:
    """A cache's copy that lost its end; its length agrees."""
    return content[: draw.randrange(1, len(content) - 4)]


def page(content: bytes, draw: random.Random) -> bytes:
    """A page that says sorry."""
    return b"<!DOCTYPE html><html><body>Service unavailable</body></html>"


def empty(content: bytes, draw: random.Random) -> bytes:
    """Nothing."""
    return b""


def noise(content: bytes, draw: random.Random) -> bytes:
    """Bytes of no format."""
    return draw.randbytes(len(content))


# What a file holds, or what becomes of its bytes.
HELD: dict[str, Callable[[Held], None]] = {
    function.__name__: function
    for function in (
        flipped,
        rolled,
        celsius,
        the_day_before,
        another_grid,
        another_length,
        another_quantity,
        another_calendar,
        packed_by_text,
        renamed,
    )
}
BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    function.__name__: function for function in (cut, page, empty, noise)
}
