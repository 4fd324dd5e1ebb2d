"""NetCDF groups, HDF5 and whatever xarray opens, as an author reads them; whole and lying."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pandas as pd
import pytest

from gridmill import (
    DataVar,
    DownloadSettings,
    Encoding,
    RegionJob,
    SourceFileCoord,
    read_h5py,
    read_netcdf,
)
from gridmill.authoring.sources.opened import XarrayRegionJob
from gridmill.testing import ArchiveServer
from tiny import GridTemplate, dataset_of

LATS, LONS = np.array([60.0, 20.0, -40.0]), np.arange(0.0, 360.0, 45.0)
DAYS = pd.date_range("2020-01-01", periods=3, freq="D")
END, LATE = "2020-01-04", pd.Timestamp("2020-01-06")


def field(day: int) -> np.ndarray:
    """Return a day's rain."""
    return np.arange(24, dtype="float32").reshape(3, 8) + 100 * day


@dataclass
class Day:
    """What a file holds."""

    values: np.ndarray
    day: pd.Timestamp
    lats: np.ndarray
    units: str = "mm"


def write_groups(path: Path, held: Day) -> None:
    """Write netCDF with a group, whose dims and coordinates are the root's."""
    with netCDF4.Dataset(path, "w") as out:
        _write_axes(out, held)
        rain = out.createGroup("Grid").createVariable("rain", "f4", ("time", "lat", "lon"))
        rain.units, rain[0] = held.units, held.values


def write_plain(path: Path, held: Day) -> None:
    """Write netCDF as xarray opens it."""
    with netCDF4.Dataset(path, "w") as out:
        _write_axes(out, held)
        rain = out.createVariable("rain", "f4", ("time", "lat", "lon"))
        rain.units, rain[0] = held.units, held.values


def _write_axes(out: Any, held: Day) -> None:
    for name, values, units in (
        ("time", [(held.day - DAYS[0]).days], "days since 2020-01-01"),
        ("lat", held.lats, "degrees_north"),
        ("lon", LONS, "degrees_east"),
    ):
        out.createDimension(name, len(values))
        axis = out.createVariable(name, "f8", (name,))
        axis.units, axis[:] = units, values
        if name == "time":
            axis.standard_name = "time"


def write_hdf5(path: Path, held: Day) -> None:
    """Write HDF5 as IMERG's is: a group, with datasets of the labels beside."""
    with h5py.File(path, "w") as out:
        grid = out.create_group("Grid")
        axes = {"time": [(held.day - DAYS[0]).days], "lat": held.lats, "lon": LONS}
        units = ("days since 2020-01-01", "degrees_north", "degrees_east")
        for (name, values), told in zip(axes.items(), units, strict=True):
            grid[name] = np.asarray(values, "f8")
            grid[name].attrs["units"] = told
            grid[name].make_scale(name)
        grid["time"].attrs["standard_name"] = "time"
        grid["rain"] = held.values[None]
        grid["rain"].attrs["units"] = held.units
        for number, name in enumerate(axes):
            grid["rain"].dims[number].attach_scale(grid[name])


class Template(GridTemplate):
    """Daily rain."""

    append_dim_frequency = "D"
    data_vars = (
        DataVar(
            name="rain",
            encoding=Encoding(chunks=(4, 3, 8)),
            attrs={"long_name": "Rain", "units": "mm"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class DayFile(SourceFileCoord):
    """A day's file."""

    day: Any

    def get_url(self) -> str:
        """Give its name."""
        return f"{self.day:%Y%m%d}.nc"

    def out_loc(self) -> dict[str, Any]:
        """Give its day."""
        return {"time": self.day}


class Listing:
    """A file a day."""

    download_settings = DownloadSettings(attempts=1)
    publication_delay = timedelta(hours=2)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a day."""
        return [DayFile(day=day) for day in processing_region_ds.get_index("time")]


class Groups(Listing, RegionJob):
    """Reads a variable in a group."""

    def read_data(self, coord, data_var):
        """Give latitude × longitude."""
        return read_netcdf(coord.downloaded_path, "Grid/rain", index={"time": 0})


class Hdf5(Listing, RegionJob):
    """Reads a dataset."""

    def read_data(self, coord, data_var):
        """Give latitude × longitude."""
        with h5py.File(coord.downloaded_path) as file:
            return read_h5py(file["Grid/rain"], np.s_[0])


class Opened(Listing, XarrayRegionJob):
    """Lets xarray open it."""

    engine = "netcdf4"


Write = Callable[[Path, Day], None]
KINDS = [(Groups, write_groups), (Hdf5, write_hdf5), (Opened, write_plain)]
kinds = pytest.mark.parametrize(("job", "write"), KINDS, ids=["groups", "HDF5", "xarray"])


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ArchiveServer]:
    """A server of what is written there."""
    (tmp_path / "source").mkdir()
    with ArchiveServer(tmp_path / "source") as server:
        server.release_all()
        yield server


def put(provider: ArchiveServer, write: Write, second: Day | None = None) -> None:
    """Write three days, of which the second may be another."""
    for number, day in enumerate(DAYS):
        held = Day(field(number), day, LATS)
        write(provider.root / f"{day:%Y%m%d}.nc", second if number == 1 and second else held)


@kinds
def test_days_are_read_as_they_are(tmp_path, provider, client, job, write):
    """Every value, compared with its place."""
    put(provider, write)
    dataset = dataset_of(template=Template, job=job)(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.succeeded, report.new_gaps) == (True, 0)
    stored = dataset.store.open_dataset().rain.values
    np.testing.assert_array_equal(stored, np.stack([field(n) for n in range(3)]))
    assert not any("not compared" in note or "without a time" in note for note in report.notes)


LIES = {
    "grid": Day(field(1), DAYS[1], LATS + 1),
    "time": Day(field(1), DAYS[0], LATS),
    "units": Day(field(1), DAYS[1], LATS, units="K"),
}


@kinds
@pytest.mark.parametrize("lie", [*LIES, "cut"])
def test_a_file_that_lies_is_not_published(tmp_path, provider, client, job, write, lie):
    """Another grid, day or quantity, and half a file; the days beside are there."""
    put(provider, write, LIES.get(lie))
    if lie == "cut":
        path = provider.root / f"{DAYS[1]:%Y%m%d}.nc"
        path.write_bytes(path.read_bytes()[:-700])
    dataset = dataset_of(template=Template, job=job)(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.new_gaps, report.positions_after) == (1, 3)
    stored = dataset.store.open_dataset().rain.values
    assert np.isnan(stored[1]).all()
    np.testing.assert_array_equal(stored[2], field(2))


@kinds
def test_a_flipped_latitude_is_turned(tmp_path, provider, client, job, write):
    """And said."""
    put(provider, write, Day(field(1)[::-1], DAYS[1], LATS[::-1]))
    dataset = dataset_of(template=Template, job=job)(tmp_path / "a.zarr", source_base=provider.url)
    dataset.backfill(END, client=client, now=LATE)
    np.testing.assert_array_equal(dataset.store.open_dataset().rain.values[1], field(1))


def test_a_plan_says_how_often_xarray_opens_files(tmp_path, provider):
    """The slow way is not taken unseen."""
    dataset = dataset_of(template=Template, job=Opened)(tmp_path / "a.zarr", source_base="nowhere")
    warnings = dataset.plan(END).describe()["warnings"]
    assert any("xarray opens source files 3 times" in warning for warning in warnings)
