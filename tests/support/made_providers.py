"""Small twins of built-in GRIB datasets, and providers that have their files.

A twin is the dataset itself on a grid of a few cells; a provider has every file that its job lists,
with messages that say what the job asks of them, and values that `made` gives.
"""

from __future__ import annotations

import bz2
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import eccodes
import numpy as np

from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import HorizontalGrid, MeshGrid, ProjectedGrid, RotatedGrid
from gridmill.authoring.source_file import url_of
from gridmill.model.region import Region, regions_of
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector

__all__ = ["made", "message", "twin", "write_provider"]

HOUR = timedelta(hours=1)
PACK = {".gz": gzip.compress, ".bz2": bz2.compress}


def twin(dataset: type[DynamicalDataset], grid: HorizontalGrid, **template: Any) -> Any:
    """Return a dataset on another grid, with other attributes of its template."""
    config, job = dataset.template_config, dataset.region_job
    shape = _shape(grid)
    data_vars = tuple(
        replace(
            var,
            keep_mantissa_bits=None,
            encoding=Encoding(chunks=(*var.encoding.chunks[: -len(shape)], *shape)),
        )
        for var in config.data_vars
    )
    given = {"grid": grid, "data_vars": data_vars, **template}
    small = type(f"Small{config.__name__}", (config,), given)
    jobs = type(f"Small{job.__name__}", (job,), {"grid": grid})
    made_of = {"template_config": small, "region_job": jobs}
    return type(f"Small{dataset.__name__}", (dataset,), made_of)


def made(name: str, coord: Any, window_h: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return a variable's values in a file: a total grows with its period."""
    place = f"{name} {coord.init_time} {coord.ensemble_member}"
    rng = np.random.default_rng(zlib.crc32(place.encode()))
    rate = rng.gamma(2.0, 1.0, shape)
    if window_h:
        return (rate * window_h).astype("float32")
    return (rate + 10.0 + coord.lead_time / HOUR).astype("float32")


def write_provider(
    dataset: type[DynamicalDataset],
    folder: Path,
    until: str,
    *,
    inventory: Callable[[int, int, bytes, Any, GribVar, Selector], str] | None = None,
    suffix: str = "",
) -> Path:
    """Write the files of every position up to `until`, each as its first address names it."""
    config = dataset.template_config()
    ds = config.get_template(config.label(until))
    files: dict[str, dict[str, tuple[bytes, Any, GribVar, Selector]]] = {}
    for region in [Region.STATIC, *regions_of(ds.sizes[config.append_dim], config.region_length)]:
        is_static = region.is_static
        data_vars = [v for v in config.data_vars if (config.append_dim in v.dims) != is_static]
        job: Any = dataset.region_job(
            template_ds=ds,
            data_vars=data_vars,
            append_dim=config.append_dim,
            region=region,
            source_base=(str(folder),),
        )
        for group in job.source_groups(data_vars) if data_vars else []:
            for coord in job.generate_source_file_coords(job.processing_region_ds(), group):
                for var in group:
                    _add(files.setdefault(url_of(coord), {}), job, coord, var)
    for url, messages in files.items():
        _write(folder / url, list(messages.values()), inventory, suffix)
    return folder


def _add(messages: dict[str, Any], job: Any, coord: Any, var: GribVar) -> None:
    selectors = job.message_selectors(coord, var)
    for level, selector in zip(job.levels_in(coord, var), selectors, strict=True):
        key = f"{var.name} {level.name} {coord.ensemble_member}"
        messages[key] = (
            message(job.grid_of(coord), coord, var, level, selector),
            coord,
            var,
            selector,
        )


def _write(path: Path, messages: list[Any], inventory: Any, suffix: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content, lines = b"", []
    for number, (encoded, coord, var, selector) in enumerate(messages, 1):
        if inventory is not None:
            lines.append(inventory(number, len(content), encoded, coord, var, selector))
        content += encoded
    path.write_bytes(PACK.get(path.suffix, bytes)(content))
    if lines:
        name = f"{path.name}.idx" if suffix == ".idx" else f"{path.stem}{suffix}"
        path.with_name(name).write_text("\n".join(lines) + "\n")


def message(
    grid: HorizontalGrid, coord: Any, var: GribVar, level: Level, selector: Selector
) -> bytes:
    """Encode the message that a job asks for."""
    end = selector.end_step if selector.end_step is not None else coord.lead_time
    # A total whose start nobody asks of the message is one since the forecast's start.
    start = selector.start_step
    if start is None:
        start = end if var.window is None else timedelta(0)
    values = made(var.name, coord, (end - start) / HOUR, _shape(grid))
    is_total = var.statistic is not Statistic.INSTANT and var.window is not None
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    try:
        if var.short_name:
            eccodes.codes_set(handle, "shortName", var.short_name)
        for key, value in {
            **_grid_keys(grid),
            "dataDate": int(f"{coord.init_time:%Y%m%d}"),
            "dataTime": coord.init_time.hour * 100,
            **_product_keys(var, level, is_total=is_total, member=selector.member),
            "indicatorOfUnitOfTimeRange": 1,
            "forecastTime": int((start if is_total else end) / HOUR),
            **(_period_keys(var, (end - start) / HOUR) if is_total else {}),
        }.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set(handle, "packingType", "grid_ieee")
        eccodes.codes_set_values(handle, values.astype("float64").ravel())
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def _product_keys(
    var: GribVar, level: Level, *, is_total: bool, member: int | None
) -> dict[str, Any]:
    template = {(False, False): 0, (True, False): 8, (False, True): 1, (True, True): 11}
    keys: dict[str, Any] = {
        "productDefinitionTemplateNumber": template[is_total, member is not None]
    }
    if member is not None:
        keys |= {"typeOfEnsembleForecast": 3 if member else 1, "perturbationNumber": member}
    if var.codes:
        discipline, category, number = var.codes[0]
        keys |= {
            "discipline": discipline,
            "parameterCategory": category,
            "parameterNumber": number,
        }
    surface = level.surface
    if surface is not None:
        keys |= {"typeOfFirstFixedSurface": surface.type}
        keys |= {"scaleFactorOfFirstFixedSurface": 0}
        keys |= {"scaledValueOfFirstFixedSurface": int(surface.value or 0)}
    return keys


def _period_keys(var: GribVar, hours: float) -> dict[str, Any]:
    return {
        "typeOfStatisticalProcessing": 2 if var.statistic is Statistic.MAXIMUM else 1,
        "indicatorOfUnitForTimeRange": 1,
        "lengthOfTimeRange": int(hours),
    }


def _shape(grid: HorizontalGrid) -> tuple[int, ...]:
    labels = grid.labels()
    return tuple(len(labels[dim]) for dim in list(labels))


def _grid_keys(grid: HorizontalGrid) -> dict[str, Any]:
    labels: dict[str, Any] = dict(grid.labels())
    if isinstance(grid, MeshGrid):
        return _mesh_keys(grid)
    y, x = (np.asarray(labels[dim]) for dim in labels)
    keys: dict[str, Any] = {**_earth_keys(grid.mapping), "jScansPositively": int(y[1] > y[0])}
    if isinstance(grid, ProjectedGrid):
        return {"gridDefinitionTemplateNumber": 30, **keys, **_lambert_keys(grid)}
    if isinstance(grid, RotatedGrid):
        south, east = grid.southern_pole
        keys = {"gridDefinitionTemplateNumber": 1, **keys}
        keys |= {"latitudeOfSouthernPoleInDegrees": south, "longitudeOfSouthernPoleInDegrees": east}
    return {
        **keys,
        "Ni": x.size,
        "Nj": y.size,
        "latitudeOfFirstGridPointInDegrees": float(y[0]),
        "latitudeOfLastGridPointInDegrees": float(y[-1]),
        "longitudeOfFirstGridPointInDegrees": float(x[0]) % 360,
        "longitudeOfLastGridPointInDegrees": float(x[-1]) % 360,
        "iDirectionIncrementInDegrees": float(x[1] - x[0]),
        "jDirectionIncrementInDegrees": float(abs(y[1] - y[0])),
    }


def _mesh_keys(grid: MeshGrid) -> dict[str, Any]:
    return {
        "gridDefinitionTemplateNumber": 101,
        "shapeOfTheEarth": 6,
        "numberOfDataPoints": grid.cells,
        "numberOfGridUsed": int("".join(c for c in grid.mesh if c.isdigit())),
        "numberOfGridInReference": 1,
    }


def _lambert_keys(grid: ProjectedGrid) -> dict[str, Any]:
    about: Any = grid.mapping
    step = int(float(grid.step_m) * 1000)  # type: ignore[arg-type]
    return {
        "Nx": grid.shape[1],
        "Ny": grid.shape[0],
        "latitudeOfFirstGridPointInDegrees": grid.first_latitude,
        "longitudeOfFirstGridPointInDegrees": grid.first_longitude,
        "LaDInDegrees": about["latitude_of_projection_origin"],
        "LoVInDegrees": about["longitude_of_central_meridian"] % 360,
        "Dx": step,
        "Dy": step,
        "Latin1InDegrees": about["standard_parallel"],
        "Latin2InDegrees": about["standard_parallel"],
    }


def _earth_keys(mapping: Any) -> dict[str, Any]:
    if "semi_major_axis" in mapping:
        return {"shapeOfTheEarth": 2}
    if mapping["earth_radius"] == 6371229.0:
        return {"shapeOfTheEarth": 6}
    return {
        "shapeOfTheEarth": 1,
        "scaleFactorOfRadiusOfSphericalEarth": 0,
        "scaledValueOfRadiusOfSphericalEarth": int(mapping["earth_radius"]),
    }


def index_line(
    number: int, start: int, encoded: bytes, coord: Any, var: GribVar, selector: Selector
) -> str:
    """Give a line of ECMWF's inventories; that of a control has no number."""
    member = selector.member
    kind = "fc" if member is None else "pf" if member else "cf"
    about = {
        "date": f"{coord.init_time:%Y%m%d}",
        "time": f"{coord.init_time:%H%M}",
        "type": kind,
        "step": str(coord.lead_time // HOUR),
        "levtype": "sfc",
        "param": var.parameter,
        **({"number": str(member)} if member else {}),
        "_offset": start,
        "_length": len(encoded),
    }
    return json.dumps(about)


def idx_line(
    number: int, start: int, encoded: bytes, coord: Any, var: GribVar, selector: Selector
) -> str:
    """Give a line of NOAA's inventories."""
    end = coord.lead_time // HOUR
    step = f"{end} hour fcst"
    if var.window is not None:
        step = f"{(selector.start_step or timedelta(0)) // HOUR}-{end} hour acc fcst"
    level = selector.level
    member = {None: "", 0: "ENS=low-res ctl"}.get(selector.member, f"ENS=+{selector.member}")
    return f"{number}:{start}:d={coord.init_time:%Y%m%d%H}:{var.parameter}:{level}:{step}:{member}"
