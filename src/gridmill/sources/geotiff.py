"""Read a band of a GeoTIFF into a numpy array, with rasterio.

Where its pixels lie, and its units, are told to who observes (`gridmill.sources.evidence`), as
`gridmill.read_netcdf` does it for netCDF. Covers: nodata, masks, scale and offset, several bands,
plain GeoTIFF and cloud-optimised; what is gzipped or in a zip is unpacked before, see
`SourceFileCoord.compression`. Does not cover: rotated grids, ground control points, remote files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gridmill.sources.evidence.observed import Axis, Evidence, dtype_made, is_observed, observe

__all__ = ["read_geotiff"]

# Beside a file GDAL looks for others, whose names might be another download's.
ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
DEGREES = {"y": "degrees_north", "x": "degrees_east"}


def read_geotiff(
    path: Path,
    band: int | Sequence[int] = 1,
    *,
    crs: str | None = None,
    dtype: npt.DTypeLike | None = None,
) -> np.ndarray[Any, Any]:
    """Read a band's physical values.

    Parameters
    ----------
    path
        A GeoTIFF.
    band
        Number of the band, from 1 on; or several, which become the first dim.
    crs
        The coordinate reference system that it must be in, like ``"EPSG:4326"``: coordinates alone
        do not tell two zones of one projection apart. None takes any.
    dtype
        Floating-point dtype of the result. None takes float32 where a run reads for a variable of
        that dtype or less, and for what float32 holds exactly; else float64.

    Returns
    -------
    numpy.ndarray
        y × x in the file's order, mostly from north to south; NaN where it has nodata or its mask
        leaves values out. Scale and offset are applied.

    Raises
    ------
    ValueError
        There is no such band, its values are no real numbers, its grid is rotated, or it is in
        another reference system.
    OSError
        It is no GeoTIFF, or not all of one.
    ImportError
        rasterio is not installed.

    Notes
    -----
    Safe to call from several threads. It opens the file itself, and nothing beside it.
    """
    bands = (band,) if isinstance(band, int) else tuple(band)
    with _opened(path) as opened:
        _check(opened, path, bands, crs)
        found = opened.read(list(bands), masked=True)
        packing = [(opened.scales[n - 1], opened.offsets[n - 1]) for n in bands]
        axes = _axes(opened)
        units = {opened.units[n - 1] or None for n in bands}
        names = {opened.descriptions[n - 1] or f"band {n}" for n in bands}
    values = _physical(found, packing, dtype)
    if isinstance(band, int):
        values = values[0]
    if is_observed():
        first = () if isinstance(band, int) else (Axis(name="band"),)
        observe(
            Evidence(
                variable=" and ".join(sorted(names)),
                values=values,
                axes=(*first, *axes),
                units=units.pop() if len(units) == 1 else None,
            )
        )
    return values


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import rasterio
    except ImportError as error:
        raise ImportError(
            f"reading {path} needs rasterio, which is not installed; run: "
            "pip install 'gridmill[geotiff]'"
        ) from error
    with rasterio.Env(**ALONE), rasterio.open(path, driver="GTiff") as opened:
        yield opened


def _check(opened: Any, path: Path, bands: Sequence[int], crs: str | None) -> None:
    if missing := [n for n in bands if not 1 <= n <= opened.count]:
        raise ValueError(f"{path} has {opened.count} bands, not band {missing[0]}; they begin at 1")
    for number in bands:
        if np.dtype(opened.dtypes[number - 1]).kind not in "iuf":
            raise ValueError(
                f"band {number} of {path} is of type {opened.dtypes[number - 1]}; only real "
                "numbers can be read"
            )
    if opened.transform.is_identity or not opened.transform.is_rectilinear:
        raise ValueError(f"{path} has no georeference, or a rotated one: {opened.transform!r}")
    if crs is not None:
        from rasterio.crs import CRS

        if opened.crs is None or opened.crs != CRS.from_user_input(crs):
            told = "no reference system" if opened.crs is None else opened.crs.to_string()
            raise ValueError(f"{path} is in {told}, and {crs} is wanted")


def _axes(opened: Any) -> tuple[Axis, Axis]:
    """Return the centres of the pixels."""
    along = opened.transform
    x = along.c + along.a * (np.arange(opened.width) + 0.5)
    y = along.f + along.e * (np.arange(opened.height) + 0.5)
    # Where pixels are points, GDAL moves the corner by half of one: these are centres anyhow.
    units: dict[str, str | None] = {"y": None, "x": None}
    if opened.crs is not None and opened.crs.is_geographic:
        units |= DEGREES
    elif opened.crs is not None and opened.crs.linear_units in ("metre", "meter"):
        units |= dict.fromkeys(units, "m")
    return Axis(name="y", values=y, units=units["y"]), Axis(name="x", values=x, units=units["x"])


def _physical(
    found: Any, packing: Sequence[tuple[float, float]], dtype: npt.DTypeLike | None
) -> np.ndarray[Any, Any]:
    """Unpack values in double precision, and give those that are missing NaN."""
    is_packed = any(pair != (1.0, 0.0) for pair in packing)
    values = np.ma.getdata(found)
    if is_packed:
        scales, offsets = (
            np.array(of, "float64")[:, None, None] for of in zip(*packing, strict=True)
        )
        values = values * scales + offsets
    plain = values.astype(_default(values) if dtype is None else np.dtype(dtype))
    mask = np.ma.getmask(found)
    if np.any(mask):
        plain[mask] = np.nan
    return plain


def _default(values: np.ndarray[Any, Any]) -> np.dtype[Any]:
    made = dtype_made()
    is_small = values.dtype.itemsize <= (4 if values.dtype.kind == "f" else 2)
    if is_small or (made is not None and made.kind == "f" and made.itemsize <= 4):
        return np.dtype("float32")
    return np.dtype("float64")
