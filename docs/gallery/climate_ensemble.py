"""An ensemble on a 360-day calendar, packed, whose experiments end differently.

Three experiments of a climate model have members of their own, months of 30 days, and different
ends, and a file is one month of one member. `offerings` says which months an experiment has:
elsewhere nothing is asked for, and nothing is missing. Values are packed into 16 bits.
"""

from dataclasses import dataclass
from pathlib import Path

import cftime
import numpy as np
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    Offering,
    RegionJob,
    SourceFileCoord,
    TemplateConfig,
    read_netcdf,
)

PACKED = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 273.15, "fill_value": -32768}
MEMBERS = {"historical": (1, 2, 3), "ssp245": (1, 2, 3), "ssp585": (1, 2)}


class Template(TemplateConfig):
    """Monthly temperature by experiment and member, in hundredths of a kelvin."""

    dims = ("time", "experiment", "member", "latitude")
    append_dim = "time"
    append_dim_start = "1860-01-01"
    append_dim_frequency = "MS"
    append_dim_capacity = 12 * 300
    calendar = "360_day"
    dataset_attributes = {"dataset_id": "climate-ensemble", "title": "A model's ensemble"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1860-01-01", calendar="360_day"),
        Coordinate(name="experiment", dtype="str", attrs={"long_name": "Experiment"}),
        Coordinate(name="member", dtype="int64", attrs={"standard_name": "realization"}),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
    )
    data_vars = (
        DataVar(
            name="temperature",
            encoding=Encoding(chunks=(12, 3, 3, 4), **PACKED),
            attrs={"standard_name": "air_temperature", "long_name": "Temperature", "units": "K"},
        ),
    )

    def dimension_coordinates(self):
        """Return experiments, members and four zones."""
        zones = np.array([-60.0, -20.0, 20.0, 60.0])
        return {"experiment": list(MEMBERS), "member": np.array([1, 2, 3]), "latitude": zones}


@dataclass(frozen=True, kw_only=True)
class MonthFile(SourceFileCoord):
    """The file of one month of one member of one experiment."""

    month: cftime.Datetime360Day
    experiment: str
    member: int

    def get_url(self):
        """Return its name."""
        return f"{self.experiment}/tas_r{self.member}_{self.month:%Y%m}.nc"

    def out_loc(self):
        """Return the labels that it fills."""
        return {"time": self.month, "experiment": self.experiment, "member": self.member}


class Job(RegionJob):
    """Says what the experiments have, and reads a month."""

    offerings = (
        Offering(dim="experiment", labels=["historical"], until="1860-09-01"),
        Offering(dim="experiment", labels=["ssp245"], since="1860-09-01"),
        Offering(dim="experiment", labels=["ssp585"], since="1860-09-01", until="1861-01-01"),
    )

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each month of each member."""
        return [
            MonthFile(month=month, experiment=experiment, member=member)
            for month in processing_region_ds.get_index("time")
            for experiment, members in MEMBERS.items()
            for member in members
        ]

    def read_data(self, coord, data_var):
        """Return values by latitude."""
        return read_netcdf(coord.downloaded_path, "tas")


class ClimateEnsemble(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build 14 months, and compare them with what the provider wrote."""
    months = xr.date_range("1860-01-01", periods=14, freq="MS", calendar="360_day", use_cftime=True)
    has = {"historical": range(8), "ssp245": range(8, 14), "ssp585": range(8, 12)}
    wanted = np.full((14, 3, 3, 4), np.nan)
    for at, (experiment, members) in enumerate(MEMBERS.items()):
        (folder / "source" / experiment).mkdir(parents=True)
        for number in has[experiment]:
            for member in members:
                values = 280 + np.random.default_rng([number, at, member]).normal(0, 9, 4)
                wanted[number, at, member - 1] = values
                ds = xr.Dataset({"tas": ("latitude", values, {"units": "K"})})
                name = f"tas_r{member}_{months[number]:%Y%m}.nc"
                ds.assign_coords(time=months[number]).to_netcdf(
                    folder / "source" / experiment / name
                )
    dataset = ClimateEnsemble(folder / "ensemble.zarr", source_base=str(folder / "source"))
    assert dataset.backfill("1861-03-01").new_gaps == 0
    stored = xr.open_zarr(folder / "ensemble.zarr")
    assert stored.temperature.encoding["dtype"] == "int16"
    np.testing.assert_allclose(stored.temperature, wanted, atol=0.0051)
    assert dataset.validate().succeeded
    return stored
