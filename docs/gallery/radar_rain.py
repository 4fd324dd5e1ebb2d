"""Gzipped GRIB with fallbacks.

An hour of rain comes twice: soon from radars alone, later with gauges, each a gzipped file of one
GRIB message without an inventory. Readers see the first at once, and updates take in the other.
"""

import gzip
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import eccodes
import numpy as np
import pandas as pd
import xarray as xr

from gridmill import Address, DynamicalDataset, Encoding, Finality, TemplateConfig
from gridmill.authoring.cf import TIME
from gridmill.authoring.forecasts.analysis import AnalysisFile, GribAnalysisJob
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.sources.grib.identity import Surface

GRID = LatitudeLongitudeGrid(step_degrees=30)


class Template(TemplateConfig):
    """Hours on a grid of 30°."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "h"
    dataset_attributes = {"dataset_id": "radar-rain", "title": "Hourly rain"}
    coords = (TIME, Finality(dims=("time",)), *GRID.coords)
    data_vars = (
        GribVar(
            name="rain",
            encoding=Encoding(chunks=(24, 7, 12)),
            attrs={"long_name": "Rain rate", "units": "kg m-2 s-1"},
            parameter="PRATE",
            levels=(Level("surface", Surface(1, None)),),
            codes=((0, 1, 7),),
        ),
    )

    def dimension_coordinates(self):
        """Return the grid."""
        return dict(GRID.labels())

    def derive_coordinates(self, ds):
        """Return the grid mapping."""
        return GRID.auxiliary()


@dataclass(frozen=True, kw_only=True)
class HourFile(AnalysisFile):
    """The file of one hour."""

    def get_url(self):
        """Return its names, the better one first."""
        hour = f"{self.init_time + self.lead_time:%Y%m%d%H}"
        radar = Address(f"radar_{hour}.grib2.gz", provisional="radars alone")
        return (f"gauges_{hour}.grib2.gz", radar)


class Job(GribAnalysisJob):
    """Reads a message an hour; -3 is out of the radars' sight."""

    file_type = HourFile
    grid = GRID
    init_frequency = timedelta(hours=1)
    publication_delay = timedelta(hours=4)

    def inventory_url(self, url):
        """There is none."""

    def transform_values_inplace(self, values, data_var):
        """Turn mm of the hour into a rate."""
        values[values < 0] = np.nan
        values /= 3600
        super().transform_values_inplace(values, data_var)


class RadarRain(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def message(values: np.ndarray, time: pd.Timestamp, **keys: int) -> bytes:
    """Encode a global field as a provider does."""
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    rows, columns = values.shape
    step = 360 / columns
    ends = {"latitudeOfFirst": 90, "latitudeOfLast": -90, "longitudeOfLast": 360 - step}
    grid = {f"{end}GridPointInDegrees": degrees for end, degrees in ends.items()}
    steps = dict.fromkeys(("iDirectionIncrementInDegrees", "jDirectionIncrementInDegrees"), step)
    when = {"dataDate": int(f"{time:%Y%m%d}"), "dataTime": int(f"{time:%H%M}")}
    for key, value in {"Ni": columns, "Nj": rows, **grid, **steps, **when, **keys}.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set(handle, "packingType", "grid_ieee")
    eccodes.codes_set_values(handle, values.ravel())
    encoded = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return encoded


def write(folder: Path, product: str, hour: pd.Timestamp, mm: np.ndarray) -> None:
    """Write the file of an hour."""
    rate = {"discipline": 0, "parameterCategory": 1, "parameterNumber": 7}
    encoded = message(mm, hour, typeOfFirstFixedSurface=1, **rate)
    (folder / f"{product}_{hour:%Y%m%d%H}.grib2.gz").write_bytes(gzip.compress(encoded))


def main(folder: Path) -> xr.Dataset:
    """Build a day, the last hours of which have no gauges until later."""
    source = folder / "source"
    source.mkdir()
    mm = np.random.default_rng(0).gamma(1, 3, (24, 7, 12)).astype("float32")
    mm[:, 0, :3] = -3
    for at, hour in enumerate(pd.date_range("2025-01-01", periods=24, freq="h")):
        write(source, "radar", hour, mm[at] / 2)
        if at < 20:
            write(source, "gauges", hour, mm[at])
    dataset = RadarRain(folder / "rain.zarr", source_base=str(source))
    dataset.backfill("2025-01-02", now="2025-01-02")
    expected = np.where(mm < 0, np.nan, mm) / np.float32(3600)
    expected[20:] /= 2
    stored = xr.open_zarr(folder / "rain.zarr")
    np.testing.assert_array_equal(stored.rain, expected)
    for at, hour in enumerate(pd.date_range("2025-01-01T20", periods=4, freq="h")):
        write(source, "gauges", hour, mm[20 + at])
    dataset.reformat_operational_update(now="2025-01-02T01")
    expected[20:] *= 2
    stored = xr.open_zarr(folder / "rain.zarr")
    np.testing.assert_array_equal(stored.rain, expected)
    return stored
