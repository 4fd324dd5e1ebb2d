"""GFS forecasts of 0.25°, in complex packing: real fields where there are any, else like them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import eccodes
import numpy as np
import pandas as pd

from benchmarks.fields import SHAPE, make_fields
from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.datasets.noaa.gfs_forecast import GRID, NoaaGfsForecastFile, NoaaGfsForecastJob
from gridmill.datasets.noaa.variables import variables

__all__ = ["DIMS", "START", "end_of_inits", "forecast_of", "write_forecast"]

DIMS = ("init_time", "lead_time", "latitude", "longitude")
START, INIT_HOURS = "2026-08-01", 6
NAMES = ("temperature_2m", "wind_u_10m", "precipitation_surface")
RESET_HOURS = 6
# By inventory name: its level, GRIB2 code and surface, decimal scale, bits (of NOAA's own files).
MESSAGES = {
    "TMP": ("2 m above ground", (0, 0, 0), (103, 2), 1, 10),
    "UGRD": ("10 m above ground", (0, 2, 2), (103, 10), 2, 13),
    "APCP": ("surface", (0, 1, 8), (1, 0), 0, 12),
}


def forecast_of(steps: int) -> type[DynamicalDataset]:
    """Return the dataset of three variables at leads of 1 to `steps` hours."""

    class Template(ForecastTemplate):
        dims = DIMS
        append_dim_start = START
        dataset_attributes: ClassVar = {"dataset_id": "benchmark-forecast", "title": "Benchmark"}
        grid = GRID
        lead_hours = range(1, steps + 1)
        data_vars = tuple(
            var
            for var in variables(
                "gfs", DIMS, Encoding(chunks=(1, steps, 61, 60), shards=(1, steps, 366, 360))
            )
            if var.name in NAMES
        )

    return type("Forecast", (DynamicalDataset,), {"template_config": Template, "region_job": _Job})


class _Job(NoaaGfsForecastJob):
    file_type = NoaaGfsForecastFile


def end_of_inits(inits: int) -> str:
    """Return the end of an archive of so many forecasts."""
    return (pd.Timestamp(START) + inits * pd.Timedelta(hours=INIT_HOURS)).isoformat()


def write_forecast(folder: Path, steps: int, inits: int = 1) -> None:
    """Write one file a lead in NOAA's layout, with inventories; of several forecasts."""
    kit = os.environ.get("GRIDMILL_TEST_DATA")
    if kit is not None:
        script = Path(kit) / "S1_gfs_kit" / "make_gfs_archive.py"
        when = ("--start", START, "--inits", f"{inits}", "--leads", f"0:{steps}:1")
        command = [sys.executable, str(script), str(folder), "--grid", "0p25", *when]
        subprocess.run(command, check=True, capture_output=True)
        return
    every = _fields(steps)
    for init in pd.date_range(START, periods=inits, freq=f"{INIT_HOURS}h"):
        atmos = folder / f"gfs.{init:%Y%m%d}" / f"{init:%H}" / "atmos"
        atmos.mkdir(parents=True)
        for lead in range(1, steps + 1):
            path = atmos / f"gfs.t{init:%H}z.pgrb2.0p25.f{lead:03d}"
            lines, content = [], b""
            for number, name in enumerate(MESSAGES, start=1):
                line = f"{number}:{len(content)}:d={init:%Y%m%d%H}:{_line(name, lead)}:\n"
                lines.append(line)
                content += _message(name, every[name][lead - 1], init, lead)
            path.write_bytes(content)
            path.with_name(f"{path.name}.idx").write_text("".join(lines))


def _fields(steps: int) -> dict[str, np.ndarray]:
    rain = np.maximum(make_fields(steps, 2) - 274, 0) / 2
    total = np.cumsum(np.round(rain * 16) / 16, axis=0)
    for step in range(steps):
        first = step // RESET_HOURS * RESET_HOURS
        if first:
            total[step] -= total[first - 1]
    return {"TMP": make_fields(steps, 0), "UGRD": make_fields(steps, 1) - 280, "APCP": total}


def _line(name: str, lead: int) -> str:
    level = MESSAGES[name][0]
    if name != "APCP":
        return f"{name}:{level}:{lead} hour fcst"
    first = (lead - 1) // RESET_HOURS * RESET_HOURS
    if first % 24 == 0 and lead % 24 == 0:
        return f"{name}:{level}:{first // 24}-{lead // 24} day acc fcst"
    return f"{name}:{level}:{first}-{lead} hour acc fcst"


def _message(name: str, values: np.ndarray, init: pd.Timestamp, lead: int) -> bytes:
    _, code, surface, decimals, bits = MESSAGES[name]
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    keys = {
        "centre": "kwbc",
        "Ni": SHAPE[1],
        "Nj": SHAPE[0],
        "latitudeOfFirstGridPointInDegrees": 90,
        "longitudeOfFirstGridPointInDegrees": 0,
        "latitudeOfLastGridPointInDegrees": -90,
        "longitudeOfLastGridPointInDegrees": 359.75,
        "iDirectionIncrementInDegrees": 0.25,
        "jDirectionIncrementInDegrees": 0.25,
        "dataDate": int(f"{init:%Y%m%d}"),
        "dataTime": int(f"{init:%H%M}"),
        "productDefinitionTemplateNumber": 8 if name == "APCP" else 0,
        **dict(zip(("discipline", "parameterCategory", "parameterNumber"), code, strict=True)),
        "typeOfFirstFixedSurface": surface[0],
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": surface[1],
    }
    first = (lead - 1) // RESET_HOURS * RESET_HOURS
    if name == "APCP":
        keys |= {"typeOfStatisticalProcessing": 1, "stepRange": f"{first}-{lead}"}
    else:
        keys |= {"forecastTime": lead}
    try:
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)
        # ecCodes packs these in simple packing first, without a scale: it is set afterwards.
        eccodes.codes_set(handle, "packingType", "grid_complex_spatial_differencing")
        eccodes.codes_set(handle, "bitsPerValue", bits)
        eccodes.codes_set_values(handle, np.round(values * 10.0**decimals).astype("f8").ravel())
        eccodes.codes_set(handle, "decimalScaleFactor", decimals)
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)
