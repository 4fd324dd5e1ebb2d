"""Sample files of imaginary providers, as `gridmill new --from` meets them."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from grib_messages import encode

__all__ = [
    "SHAPE",
    "counts",
    "field",
    "forecast_message",
    "written_dated",
    "written_forecasts",
    "written_raster",
    "written_yearly",
]

SHAPE = (31, 16)
LATITUDES, LONGITUDES = np.linspace(60.0, 30.0, 31), np.arange(16.0)


def field(*seed: int) -> np.ndarray:
    """Return a field, another one for each seed."""
    return np.random.default_rng(list(seed)).normal(280, 9, SHAPE).astype("float32")


def forecast_message(
    init: datetime,
    lead: int,
    *,
    codes: tuple[int, int, int] = (0, 0, 0),
    surface: tuple[int, int] = (103, 2),
    start: int | None = None,
    statistic: int = 1,
    member: int | None = None,
    seed: int = 0,
) -> bytes:
    """Return a message on a regional grid; with `start` it describes a period, hours."""
    keys: dict[str, Any] = {
        "discipline": codes[0],
        "productDefinitionTemplateNumber": _template(start, member),
        "parameterCategory": codes[1],
        "parameterNumber": codes[2],
        "typeOfFirstFixedSurface": surface[0],
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": surface[1],
        "dataDate": int(f"{init:%Y%m%d}"),
        "dataTime": init.hour * 100,
        "indicatorOfUnitOfTimeRange": 1,
        "forecastTime": lead if start is None else start,
    }
    if start is not None:
        keys |= {
            "typeOfStatisticalProcessing": statistic,
            "indicatorOfUnitForTimeRange": 1,
            "lengthOfTimeRange": lead - start,
        }
    if member is not None:
        keys |= {"typeOfEnsembleForecast": 3 if member else 1, "perturbationNumber": member}
    return encode(field(seed, lead, member or 0), packing="grid_ieee", keys=keys)


def _template(start: int | None, member: int | None) -> int:
    if member is None:
        return 0 if start is None else 8
    return 1 if start is None else 11


def written_forecasts(
    folder: Path,
    form: str,
    inits: Sequence[datetime],
    leads: Sequence[int],
    members: Sequence[int | None] = (None,),
) -> list[Path]:
    """Write forecasts of temperature, wind on two levels, and rain since the last 6 hours."""
    paths = []
    for init in inits:
        for member in members:
            for lead in leads:
                path = folder / form.format(init=init, lead=lead, member=member)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(_fields(init, lead, member)))
                paths.append(path)
    return paths


def _fields(init: datetime, lead: int, member: int | None) -> list[bytes]:
    same = {"member": member}
    found = [
        forecast_message(init, lead, seed=1, **same),
        forecast_message(init, lead, codes=(0, 2, 2), surface=(100, 85_000), seed=2, **same),
        forecast_message(init, lead, codes=(0, 2, 2), surface=(100, 50_000), seed=3, **same),
    ]
    if lead:
        begun = (lead - 1) // 6 * 6
        rain = {"codes": (0, 1, 8), "surface": (1, 0), "start": begun}
        found.append(forecast_message(init, lead, seed=4, **rain, **same))
    return found


def dataset_of(times: Any, names: Sequence[str] = ("t2m", "rain"), **more: Any) -> xr.Dataset:
    """Return fields at some times."""
    shape = (len(times), *SHAPE)
    values = {
        name: (
            ("time", "lat", "lon"),
            np.stack([field(n, time.month, time.day) for time in times]).reshape(shape),
            {"long_name": f"Field {name}", "units": "K"},
        )
        for n, name in enumerate(names)
    }
    coords = {
        "time": times,
        "lat": ("lat", LATITUDES, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", LONGITUDES, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.Dataset(values, coords, **more)


def written_dated(folder: Path, suffix: str = "nc", days: int = 3, **more: Any) -> list[Path]:
    """Write a netCDF file a day, as it is or compressed."""
    paths = []
    for day in pd.date_range("2024-02-27", periods=days):
        path = folder / f"{day:%Y}/analysis-{day:%Y%m%d}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset_of(pd.DatetimeIndex([day])).to_netcdf(path, **more)
        paths.append(_wrapped(path, suffix))
    return paths


def _wrapped(path: Path, suffix: str) -> Path:
    content, target = path.read_bytes(), path.with_name(f"{path.name}.{suffix}")
    if suffix == "nc":
        return path
    path.unlink()
    if suffix == "zip":
        target = path.with_suffix(".zip")
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(path.name, content)
    else:
        target.write_bytes({"gz": gzip.compress, "bz2": bz2.compress}[suffix](content))
    return target


def written_yearly(folder: Path, names: Sequence[str] = ("t2m",)) -> list[Path]:
    """Write a year of months a variable and file, of a calendar with 360 days."""
    paths = []
    for name in names:
        for year in (2001, 2002):
            times = xr.date_range(
                f"{year}-01-16", periods=12, freq="30D", calendar="360_day", use_cftime=True
            )
            path = folder / f"{name}_{year}.nc"
            dataset_of(times, [name]).to_netcdf(path)
            paths.append(path)
    return paths


def counts(*seed: int) -> np.ndarray:
    """Return integers of more digits than single precision has."""
    return np.random.default_rng(list(seed)).integers(1 << 29, 1 << 30, SHAPE, dtype="int32")


def written_raster(
    folder: Path,
    day: str,
    values: np.ndarray,
    *,
    crs: str = "EPSG:4326",
    is_flipped: bool = False,
    scale: float = 1.0,
) -> Path:
    """Write the compressed GeoTIFF of a day, which says its time in its name alone."""
    import rasterio
    from rasterio.transform import Affine

    path = folder / f"rain.{pd.Timestamp(day):%Y.%m.%d}.tif"
    rows = (1.0, 29.5) if is_flipped else (-1.0, 60.5)
    about: Mapping[str, Any] = {
        "driver": "GTiff", "width": 16, "height": 31, "count": 1, "dtype": "int32", "crs": crs,
        "transform": Affine(1.0, 0.0, -0.5, 0.0, *rows), "nodata": -9999,
    }  # fmt: skip
    with rasterio.open(path, "w", **about) as raster:
        raster.write(values[::-1] if is_flipped else values, 1)
        raster.scales = (scale,)
    return _wrapped(path, "gz")
