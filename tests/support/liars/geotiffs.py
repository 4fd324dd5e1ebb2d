"""Files of GeoTIFF."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

import daily_netcdf as daily
from daily_netcdf import Held
from gridmill import DataVar, read_geotiff
from liars.files import Provider

__all__ = ["GeoTiff"]


class TiffJob(daily.Job):
    """Reads gzipped GeoTIFF."""

    file_type = type("TiffDay", (daily.Day,), {"get_url": lambda s: f"{s.label:%Y%m%d}.tif.gz"})

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the band."""
        return read_geotiff(coord.downloaded_path, crs="EPSG:4326")


class GeoTiff(Provider):
    """Gzipped GeoTIFF: says neither its time nor its variable."""

    lies = (
        *("flipped", "rolled", "celsius", "another_grid", "another_length", "another_quantity"),
        *daily.BYTES,
    )
    job = TiffJob
    suffix = "tif.gz"

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        lats, lons = np.asarray(held.lats), np.asarray(held.lons)
        if (order := np.argsort(lons)).size and (np.diff(lons) < 0).any():
            lons, held.values = lons[order], held.values[:, order]
        step = lats[1] - lats[0], lons[1] - lons[0]
        grid = rasterio.Affine(step[1], 0, lons[0] - step[1] / 2, 0, step[0], lats[0] - step[0] / 2)
        plain = path.with_suffix("")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(
                plain,
                "w",
                driver="GTiff",
                dtype="float32",
                count=1,
                height=lats.size,
                width=lons.size,
                crs="EPSG:4326",
                transform=grid,
            ) as out:
                out.write(held.values.astype("float32"), 1)
                out.units = (held.units,)
        path.write_bytes(gzip.compress(plain.read_bytes(), 1))
        plain.unlink()
