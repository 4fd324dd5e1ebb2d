"""What a GeoTIFF holds, where rasterio is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridmill.operations.samples.facts import Sample

__all__ = ["raster_dataset"]


def raster_dataset(sample: Sample) -> Any:
    """Return a raster's first band as a Dataset whose values are not read.

    Raises
    ------
    ImportError
        rasterio is not installed.
    ValueError
        Its rows are not parallel to its coordinates' axes.
    """
    import xarray as xr

    try:
        import rasterio
    except ImportError as error:
        raise ImportError(
            f"reading {sample.name} needs rasterio: pip install 'gridmill[geotiff]' ({error})"
        ) from error
    with rasterio.open(sample.path) as raster:
        step = raster.transform
        if step.b or step.d:
            raise ValueError(f"{sample.name} is turned against its coordinates")
        names = ("latitude", "longitude") if _is_geographic(raster) else ("y", "x")
        rows = np.round(step.f + step.e * (np.arange(raster.height) + 0.5), 9)
        columns = np.round(step.c + step.a * (np.arange(raster.width) + 0.5), 9)
        tags = {key: str(value) for key, value in raster.tags().items() if key != "AREA_OR_POINT"}
        units = raster.units[0] if raster.units and raster.units[0] else tags.get("units", "")
        named = raster.descriptions[0] or tags.get("long_name", "")
        blank = np.broadcast_to(np.zeros((), raster.dtypes[0]), (raster.height, raster.width))
        about = {"units": units, "long_name": named, "crs": raster.crs and raster.crs.to_string()}
        attrs = {key: value for key, value in about.items() if value}
        variable = xr.Variable(names, blank, attrs, {"_FillValue": raster.nodata})
    return xr.Dataset({"band_1": variable}, {names[0]: rows, names[1]: columns})


def _is_geographic(raster: Any) -> bool:
    return raster.crs is None or bool(raster.crs.is_geographic)
