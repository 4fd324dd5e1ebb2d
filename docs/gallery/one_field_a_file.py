"""One variable, level and lead a file; shorter cycles.

Each GRIB file holds a single field: a variable on one level at one lead. The forecasts of 00 and 12
UTC reach to 12 hours, those of 06 and 18 UTC to 6: what a cycle does not have is not asked for.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from radar_rain import message

from gridmill import Coordinate, DynamicalDataset, Encoding
from gridmill.authoring.forecasts.fields import FieldFile, GribFieldJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.sources.grib.identity import Surface

LEVELS = (850.0, 500.0)
DIMS = ("init_time", "lead_time", "level", "latitude", "longitude")


def on_levels(name: str, parameter: str, code: tuple[int, int, int], units: str) -> GribVar:
    """Return a variable on levels of pressure."""
    return GribVar(
        name=name,
        dims=DIMS,
        encoding=Encoding(chunks=(1, 5, 2, 7, 12)),
        attrs={"long_name": name.replace("_", " "), "units": units},
        parameter=parameter,
        levels=tuple(Level(f"{level:g}", Surface(100, level * 100)) for level in LEVELS),
        codes=(code,),
    )


class Template(ForecastTemplate):
    """Forecasts every six hours on two levels."""

    dims = DIMS
    append_dim_start = "2025-01-01"
    dataset_attributes = {"dataset_id": "one-field-a-file", "title": "Forecasts, a field a file"}
    grid = LatitudeLongitudeGrid(step_degrees=30)
    lead_hours = (0, 3, 6, 9, 12)
    more_coords = (Coordinate(name="level", attrs={"units": "hPa", "positive": "down"}),)
    more_labels = {"level": np.array(LEVELS)}
    data_vars = (
        on_levels("air_temperature", "T", (0, 0, 0), "K"),
        on_levels("eastward_wind", "U", (0, 2, 2), "m s-1"),
    )


@dataclass(frozen=True, kw_only=True)
class LevelFile(FieldFile):
    """The file of one variable on one level at one lead."""

    level: float = 0.0

    def get_url(self):
        """Return its path."""
        lead = self.lead_time // timedelta(hours=1)
        return f"{self.init_time:%Y%m%d%H}/{self.field}/{self.level:g}/{lead:03d}.grib2"

    def out_loc(self):
        """Return the place that it fills, with its level."""
        return {**super().out_loc(), "level": self.level}


class Job(GribFieldJob):
    """Reads a field a file."""

    file_type = LevelFile
    grid = Template.grid
    publication_delay = timedelta(hours=6)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each level; at 06 and 18 UTC up to 6 hours."""
        return [
            replace(file, level=level)
            for file in super().generate_source_file_coords(processing_region_ds, data_var_group)
            for level in LEVELS
            if file.init_time.hour in (0, 12) or file.lead_time <= timedelta(hours=6)
        ]

    def levels_in(self, coord, data_var):
        """Return the one that a file holds."""
        return [data_var.levels[LEVELS.index(coord.level)]]


class OneFieldAFile(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(path: Path, init: pd.Timestamp, lead: int, level: float, code: int, field) -> None:
    """Write a field as the provider does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    surface = {"typeOfFirstFixedSurface": 100, "scaleFactorOfFirstFixedSurface": 0}
    keys = {"parameterCategory": code, "parameterNumber": code, "forecastTime": lead, **surface}
    keys["scaledValueOfFirstFixedSurface"] = int(level * 100)
    path.write_bytes(message(field, init, discipline=0, **keys))


def main(folder: Path) -> xr.Dataset:
    """Build a day of four forecasts."""
    inits = pd.date_range("2025-01-01", periods=4, freq="6h")
    random = np.random.default_rng(0)
    expected = random.normal(0, 30, (2, 4, 5, 2, 7, 12)).astype("float32")
    for which, i, j, k in np.ndindex(2, 4, 5, 2):
        init, lead, level = inits[i], 3 * j, LEVELS[k]
        if init.hour in (6, 18) and lead > 6:
            expected[which, i, j, k] = np.nan
            continue
        folders = folder / "source" / f"{init:%Y%m%d%H}" / "TU"[which] / f"{level:g}"
        path = folders / f"{lead:03d}.grib2"
        write(path, init, lead, level, 2 * which, expected[which, i, j, k])
    dataset = OneFieldAFile(folder / "a.zarr", source_base=str(folder / "source"))
    report = dataset.backfill("2025-01-02", now="2025-01-03")
    assert (report.positions_after, report.new_gaps) == (4, 0)
    stored = xr.open_zarr(folder / "a.zarr")
    np.testing.assert_array_equal(stored.air_temperature, expected[0])
    np.testing.assert_array_equal(stored.eastward_wind, expected[1])
    return stored
