"""Values packed into integers.

`Encoding(dtype="int16", scale_factor=…, add_offset=…)` halves the bytes of float32. Readers get
floats back, with NaN for missing values. A value beyond the range is a failure to read its
file, never a wrong number.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_netcdf,
)


class Template(TemplateConfig):
    """Hourly temperature at three stations, in hundredths of a kelvin."""

    dims = ("time", "station")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "h"
    dataset_attributes = {"dataset_id": "packed", "title": "Packed temperature"}
    coords = (
        Coordinate(name="time", dtype="int64", units="hours since 2025-01-01", calendar="standard"),
        Coordinate(name="station", dtype="int64", attrs={"long_name": "Station number"}),
    )
    data_vars = (
        DataVar(
            name="temperature",
            encoding=Encoding(
                chunks=(24, 3),
                dtype="int16",
                scale_factor=0.01,
                add_offset=273.15,
                fill_value=-32768,
            ),
            attrs={"long_name": "Air temperature", "units": "K"},
        ),
    )

    def dimension_coordinates(self):
        """Return the stations."""
        return {"station": np.array([10015, 10020, 10035])}


@dataclass(frozen=True, kw_only=True)
class HourlyFile(SourceFileCoord):
    """The file of one hour."""

    hour: pd.Timestamp

    def get_url(self):
        """Return its name."""
        return f"{self.hour:%Y%m%d%H}.nc"

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.hour}


class Job(RegionJob):
    """Reads the stations of one hour."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each hour of the region."""
        return [HourlyFile(hour=hour) for hour in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return unpacked values by station."""
        return read_netcdf(coord.downloaded_path, "t2m")


class Packed(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build two days, and look at what is stored and what is read."""
    source = folder / "source"
    source.mkdir()
    for hour in pd.date_range("2025-01-01", periods=48, freq="h"):
        values = np.array([281.27, 279.5, np.nan], "float32")
        xr.Dataset({"t2m": ("station", values)}).to_netcdf(source / f"{hour:%Y%m%d%H}.nc")
    Packed(folder / "packed.zarr", source_base=str(source)).backfill("2025-01-03")
    stored = xr.open_zarr(folder / "packed.zarr")
    assert stored.temperature.encoding["dtype"] == "int16"
    np.testing.assert_allclose(stored.temperature[0], [281.27, 279.5, np.nan], atol=0.005)
    return stored
