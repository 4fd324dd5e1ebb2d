"""Daily wind at 10 m of the world since 1940, 0.25°, from the hourly winds of ERA5.

Mean and maximum of the speeds of the 24 hours of a day (UTC). The source is ARCO-ERA5, Google's
public Zarr archive of ECMWF's reanalysis: 48 chunks of one hour each make a day, and nothing is
downloaded beside them.

That archive has its whole axis from the first day on, with NaN where there is nothing yet. Its
attributes say how far it is valid: with final ERA5 (about three months late), and behind that with
preliminary ERA5T (about a week late). Readers see preliminary days at once, `finality` tells them
apart, and updates take in the final ones. A day with NaN inside these bounds, as they came before
(https://github.com/google-research/arco-era5/issues/134), is a file that cannot be read: it is
pending until the provider fixes it.

The history of the product: ERA5 from 1940 on is one model version (IFS Cy41r2,
https://doi.org/10.1002/qj.3803); the years before 1959 were added in 2023. No mirror of this
archive is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Completeness,
    DataVar,
    DynamicalDataset,
    Encoding,
    Finality,
    NotAvailable,
    TemplateConfig,
    read_xarray,
)
from gridmill.authoring.cf import TIME_BOUNDS, TIME_OF_CELLS, attributes, time_bounds
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.authoring.sources.arrays import ArrayRegion, ArrayRegionJob
from gridmill.sources.arrays.region import open_region

__all__ = ["EcmwfEra5WindDaily", "Era5Day", "Era5WindDailyJob", "Era5WindDailyTemplate"]

ATTRIBUTES = {
    "dataset_id": "ecmwf-era5-wind-daily",
    "title": "ERA5 daily wind speed at 10 m, 0.25°",
    "institution": "European Centre for Medium-Range Weather Forecasts",
    "source": "ERA5 hourly data on single levels, from ARCO-ERA5, "
    "https://github.com/google-research/arco-era5",
    "license": "Copernicus licence; contains modified Copernicus Climate Change Service "
    "information",
    "summary": "Mean and maximum of the hourly wind speeds of each day at 10 m since 1940, on a "
    "global grid of 0.25°, computed from ECMWF's reanalysis ERA5; preliminary (ERA5T) at first, "
    "and final after about three months.",
    "keywords": "wind speed, daily mean, daily maximum, reanalysis, global, ERA5, ECMWF, "
    "Copernicus",
    "references": "https://doi.org/10.24381/cds.adbb2d47",
    "creator_name": "European Centre for Medium-Range Weather Forecasts",
    "creator_type": "institution",
    "creator_url": "https://www.ecmwf.int",
    "coverage_content_type": "modelResult",
    "Conventions": "CF-1.11, ACDD-1.3",
}
WINDS = ("10m_u_component_of_wind", "10m_v_component_of_wind")
HOURS = 24
DAY = pd.Timedelta("1D")


def _wind(name: str, method: str, long_name: str) -> DataVar:
    return DataVar(
        name=name,
        # A month in one object; a chunk has 1.8 MB before compression, a shard 125 MB.
        encoding=Encoding(chunks=(30, 103, 144), shards=(30, 721, 1440)),
        keep_mantissa_bits=9,
        attrs=attributes(
            name,
            f"time: {method} (interval: 1 hour)",
            standard_name="wind_speed",
            long_name=long_name,
            units="m s-1",
        ),
    )


class Era5WindDailyTemplate(TemplateConfig):
    """Days in regions of 30."""

    dims = ("time", "latitude", "longitude")
    append_dim = "time"
    append_dim_start = "1940-01-01"
    append_dim_frequency = "D"
    dataset_attributes = ATTRIBUTES
    grid: ClassVar = LatitudeLongitudeGrid(step_degrees=0.25)
    coords = (
        TIME_OF_CELLS,
        TIME_BOUNDS,
        *grid.coords,
        Completeness(dims=("time",)),
        Finality(dims=("time",)),
    )
    data_vars = (
        _wind("wind_speed_10m", "mean", "Wind speed at 10 m, mean of the day's hours"),
        _wind("maximum_wind_speed_10m", "maximum", "Wind speed at 10 m, greatest of the hours"),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the points of the grid."""
        return dict(self.grid.labels())

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return begin and end of each day, and the grid mapping."""
        return {**time_bounds(ds, DAY), **self.grid.auxiliary()}


@dataclass(frozen=True, kw_only=True)
class Era5Day(ArrayRegion):
    """The hours of a day, of both components."""

    day: pd.Timestamp

    def labels(self) -> dict[str, slice]:
        """Return the hours to fetch."""
        return {"time": slice(self.day, self.day + pd.Timedelta(hours=HOURS - 1))}

    def out_loc(self) -> dict[str, pd.Timestamp]:
        """Return the day that they fill."""
        return {"time": self.day}


class Era5WindDailyJob(ArrayRegionJob[DataVar, Era5Day]):
    """Reads a day hour by hour."""

    publication_delay = timedelta(days=30)
    # A day costs 48 small requests to ask for. What is provisional is asked for beyond that.
    lookback = timedelta(days=14)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[DataVar]
    ) -> Sequence[Era5Day]:
        """Return one selection a day."""
        store = "ar/full_37-1h-0p25deg-chunk-1.zarr-v3"
        days = processing_region_ds.get_index("time")
        return [Era5Day(store=store, arrays=WINDS, day=day) for day in days]

    def why_provisional(self, coord: Era5Day, attributes: Mapping[str, Any]) -> str | None:
        """Compare a day with the last that is valid, and the last that is final."""
        final, valid = (
            pd.Timestamp(attributes[name]) for name in ("valid_time_stop", "valid_time_stop_era5t")
        )
        if coord.day > max(final, valid):
            raise NotAvailable(coord.store, f"it is valid until {max(final, valid):%Y-%m-%d}")
        return None if coord.day <= final else "ERA5T, final after about three months"

    def read_data(self, coord: Era5Day, data_var: DataVar) -> np.ndarray[Any, Any]:
        """Compute the speed of each hour, and its mean or maximum; two hours are in memory."""
        assert coord.downloaded_path is not None
        with open_region(coord.downloaded_path) as opened:
            if opened.sizes["time"] != HOURS:
                raise ValueError(f"{coord.day:%Y-%m-%d} has {opened.sizes['time']} hours, not 24")
            speeds = (_speed(opened.isel(time=hour)) for hour in range(HOURS))
            if data_var.name.startswith("maximum"):
                return _combined(speeds, np.maximum)
            return _combined(speeds, np.add) / np.float32(HOURS)


class EcmwfEra5WindDaily(DynamicalDataset):
    """Daily wind speed at 10 m from ERA5, 0.25°."""

    template_config = Era5WindDailyTemplate
    region_job = Era5WindDailyJob
    source_base = "https://storage.googleapis.com/gcp-public-data-arco-era5"
    verified = None


def _speed(hour: xr.Dataset) -> np.ndarray[Any, Any]:
    east, north = (read_xarray(hour, name) for name in WINDS)
    speed: np.ndarray[Any, Any] = np.hypot(east, north, dtype="float32")
    if not np.isfinite(speed).all():
        raise ValueError(f"wind at {hour.time.values} has missing values, which ERA5 never has")
    return speed


def _combined(speeds: Any, how: np.ufunc) -> np.ndarray[Any, Any]:
    total: np.ndarray[Any, Any] = next(speeds)
    for speed in speeds:
        how(total, speed, out=total)
    return total
