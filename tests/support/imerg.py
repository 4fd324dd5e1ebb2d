"""Files such as NASA makes of IMERG, small, and a server that shows and serves them to who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from guarded import Answer, Asked, Guarded

__all__ = ["NO_VALUE", "Gesdisc", "millimetres", "path_of", "quality", "write_half_hour"]

NO_VALUE = np.float32(-9999.9)


def millimetres(time: pd.Timestamp, lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
    """Return rain in mm per hour, latitude by longitude; the first cell has no value."""
    draw = np.random.default_rng(time.hour * 60 + time.minute)
    rain = draw.gamma(0.5, 4.0, (lats.size, lons.size)).astype("float32")
    rain[0, 0] = NO_VALUE
    return rain


def quality(time: pd.Timestamp, lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
    """Return the quality index."""
    return np.random.default_rng(time.minute).random((lats.size, lons.size)).astype("float32")


def path_of(time: pd.Timestamp, version: str = "V07B") -> str:
    """Return where the Late Run's file of a half hour is."""
    end = time + pd.Timedelta("29min59s")
    minute = time.hour * 60 + time.minute
    span = f"{time:%Y%m%d-S%H%M%S}-{end:E%H%M%S}.{minute:04d}"
    return f"GPM_3IMERGHHL.07/{time:%Y/%j}/3B-HHR-L.MS.MRG.3IMERG.{span}.{version}.HDF5"


def write_half_hour(
    path: Path,
    time: pd.Timestamp,
    labels: dict[str, Any],
    *,
    says: pd.Timestamp | None = None,
    shift: float = 0.0,
) -> None:
    """Write a half hour as NASA does: longitude by latitude, from south to north, in a group.

    Parameters
    ----------
    path, time
        Where, and whose values.
    labels
        The archive's latitudes, from the north, and longitudes.
    says
        The time that it says of itself.
    shift
        Of its longitudes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lats, lons = labels["latitude"], labels["longitude"]
    since = ((says or time) - pd.Timestamp("1980-01-06")) // pd.Timedelta("1s")
    with h5py.File(path, "w") as file:
        grid = file.create_group("Grid")
        axes = {"time": [since], "lon": lons + shift, "lat": lats[::-1]}
        units = ("seconds since 1980-01-06 00:00:00 UTC", "degrees_east", "degrees_north")
        for (name, values), unit in zip(axes.items(), units, strict=True):
            kind = "int32" if name == "time" else "float32"
            scale = grid.create_dataset(name, data=np.asarray(values, kind))
            scale.attrs["units"] = np.bytes_(unit)
            scale.make_scale(name)
        for name, made, unit in (
            ("precipitation", millimetres, "mm/hr"),
            ("precipitationQualityIndex", quality, "n/a"),
        ):
            field = made(time, lats, lons)[::-1].T[np.newaxis]
            stored = grid.create_dataset(name, data=field, compression="gzip", shuffle=True)
            stored.attrs["units"] = np.bytes_(unit)
            for at, dim in enumerate(axes):
                stored.dims[at].attach_scale(grid[dim])


class Gesdisc(Guarded):
    """Shows its folders to everybody, its files to who may, and a page for what it lacks."""

    def answer(self, asked: Asked) -> Answer:
        """Give an index page, or what a guarded server gives."""
        folder = self.root / asked.path.strip("/")
        if not asked.path.endswith("/"):
            return super().answer(asked)
        if not folder.is_dir():
            return 404, {}, b""
        names = sorted(path.name for path in folder.iterdir())
        links = "".join(
            f'<a href="{name}">{name}</a>\n<a href="{name}.xml">{name}.xml</a>\n' for name in names
        )
        page = f"<html><head><title>Index of {asked.path}</title></head><body>{links}</body></html>"
        return 200, {"Content-Type": "text/html"}, page.encode()
