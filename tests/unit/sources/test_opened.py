"""What xarray opened is read with what it says of itself, decoded or not, whatever its format."""

from __future__ import annotations

import cftime
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import read_h5py, read_netcdf, read_xarray
from gridmill.sources.evidence.dates import as_numbers
from gridmill.sources.evidence.observed import observing

ROWS, COLUMNS = np.mgrid[0:3, 0:4].astype("float32")
SINCE = "hours since 1900-01-01"


def dataset() -> xr.Dataset:
    """Return a file's content."""
    encoding = {"units": SINCE, "dtype": "float64"}
    ds = xr.Dataset(
        {"t2m": (("time", "y", "x"), (ROWS + COLUMNS)[None], {"units": "K"})},
        coords={
            "time": ("time", pd.to_datetime(["2020-01-02"]), {"standard_name": "time"}),
            "lat": (("y", "x"), 50 + ROWS, {"units": "degrees_north"}),
            "lon": (("y", "x"), 10 + COLUMNS, {"units": "degrees_east"}),
            "step": pd.Timedelta("6h"),
            "number": 3,
        },
    )
    ds["time"].encoding = encoding
    return ds


@pytest.fixture(params=["NETCDF4", "NETCDF3_CLASSIC", "zarr"])
def opened(request: pytest.FixtureRequest, tmp_path):
    """A function that opens a file of each format."""
    path = tmp_path / "a"
    if request.param == "zarr":
        dataset().to_zarr(path, consolidated=False)
    else:
        dataset().to_netcdf(path, engine="netcdf4", format=request.param)

    def open_it(**options):
        if request.param == "zarr":
            return xr.open_zarr(path, consolidated=False, chunks=None, **options)
        return xr.open_dataset(path, engine="netcdf4", **options)

    return open_it


@pytest.mark.parametrize("decode", [True, False])
def test_a_reader_of_an_author_tells_what_read_netcdf_would(opened, decode):
    """Axes, time, lead, member, units and grid."""
    with opened(decode_times=decode, decode_timedelta=decode) as ds, observing() as seen:
        values = read_xarray(ds, "t2m")
    np.testing.assert_array_equal(values, (ROWS + COLUMNS)[None])
    (evidence,) = seen
    assert [axis.name for axis in evidence.axes] == ["time", "y", "x"]
    time = evidence.axes[0]
    assert (time.is_time, time.standard_name) == (True, "time")
    moment = as_numbers(np.array(["2020-01-02"], "M8[ns]"), time.units, time.calendar)
    np.testing.assert_allclose(time.values, moment)
    step, number = (evidence.scalars[name] for name in ("step", "number"))
    assert step.values * {"seconds": 1, "hours": 3600}[step.units] == 21600
    assert number.values == 3
    assert (evidence.units, evidence.variable) == ("K", "t2m")
    assert {(f.name, f.dims, f.units) for f in evidence.fields} == {
        ("lat", ("y", "x"), "degrees_north"),
        ("lon", ("y", "x"), "degrees_east"),
    }


def test_read_netcdf_tells_the_same_grid(tmp_path):
    """Whole, and a part of it."""
    dataset().to_netcdf(tmp_path / "a.nc")
    for index, lats in (({}, 50 + ROWS), ({"time": 0, "y": slice(1, 3)}, 50 + ROWS[1:3])):
        with observing() as seen:
            read_netcdf(tmp_path / "a.nc", "t2m", index=index)
        (field,) = (field for field in seen[0].fields if field.name == "lat")
        assert field.dims == ("y", "x")
        np.testing.assert_array_equal(field.values, lats)


def test_what_an_author_chose_keeps_its_coordinates():
    """By `isel` or `sel`, also of a DataArray alone."""
    with observing() as seen:
        assert read_xarray(dataset()["t2m"].isel(time=0, y=slice(0, 2))).shape == (2, 4)
    assert "time" in seen[0].scalars
    assert seen[0].fields[0].values.shape == (2, 4)


def test_bounds_and_calendars_are_told():
    """Dates of cftime in their own calendar."""
    dates = [cftime.DatetimeNoLeap(2020, 3, day) for day in (1, 2, 3)]
    ds = xr.Dataset(
        {"v": ("time", [1.0, 2.0]), "time_bnds": (("time", "n"), [dates[:2], dates[1:]])},
        coords={"time": ("time", dates[:2], {"bounds": "time_bnds"})},
    )
    with observing() as seen:
        read_xarray(ds, "v")
    (time,) = seen[0].axes
    assert time.calendar == "noleap"
    np.testing.assert_array_equal(time.bounds[:, 0], time.values)
    assert np.ptp(time.bounds) == 2 * 86400


def test_a_time_to_which_nothing_refers_is_told():
    """As one scalar variable of a file."""
    ds = xr.Dataset({"v": ("x", [1.0]), "valid_time": pd.Timestamp("2020-01-02")})
    with observing() as seen:
        read_xarray(ds, "v")
    assert seen[0].scalars["valid_time"].is_time


@pytest.mark.parametrize(
    ("opened", "variable", "message"),
    [
        (dataset(), "t", "no variable 't'; name one of those it has: t2m"),
        (dataset(), None, "needs the name of a variable: it has t2m"),
        (dataset()["t2m"].assign_attrs(scale_factor=0.1), None, "mask_and_scale=True"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(opened, variable, message):
    """With the names that there are."""
    with pytest.raises(ValueError, match=message):
        read_xarray(opened, variable)


@pytest.fixture
def hdf5(tmp_path):
    """An HDF5 file as no netCDF library writes it: axes by scale, by label, and without a name."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        packed = file.create_dataset("grid/rain", data=np.arange(24, dtype="i2").reshape(2, 3, 4))
        packed.attrs.update({"units": "mm", "scale_factor": 0.5, "_FillValue": np.int16(7)})
        scale = file.create_dataset("grid/when", data=[24.0, 48.0])
        scale.attrs.update({"units": "hours since 2020-01-01", "standard_name": b"time"})
        scale.make_scale("when")
        packed.dims[0].attach_scale(scale)
        file.create_dataset("grid/lat", data=[50.0, 51.0, 52.0]).attrs["units"] = "degrees_north"
        packed.dims[1].label = "lat"
        file.create_dataset("grid/names", data=[b"a"])
        yield file


@pytest.mark.parametrize(
    "selection",
    [(), ..., 1, -1, np.s_[1, ...], np.s_[..., 2], np.s_[0, 1:3], np.s_[:, ::2, np.int64(1)]],
)
def test_what_is_read_of_hdf5_is_what_h5py_gives(hdf5, selection):
    """And what the file says of it is told of the part that is read."""
    stored = hdf5["grid/rain"]
    with observing() as seen:
        values = read_h5py(stored, selection)
    np.testing.assert_array_equal(values, stored[selection])
    (evidence,) = seen
    meant = np.where(values == 7, np.nan, values * 0.5)
    np.testing.assert_array_equal(evidence.values, meant)
    assert evidence.units == "mm"
    axes = {axis.name: axis for axis in evidence.axes} | dict(evidence.scalars)
    assert set(axes) == {"when", "lat", "dim 2"}
    assert [len(axis.values) for axis in evidence.axes if axis.name != "dim 2"] == [
        n for axis, n in zip(evidence.axes, values.shape, strict=True) if axis.name != "dim 2"
    ]
    assert axes["when"].is_time
    assert axes["when"].standard_name == "time"


def test_of_hdf5_numbers_are_read_by_positions_and_slices(hdf5):
    """The message names what is wrong, and the next step."""
    with pytest.raises(ValueError, match=r"names.*choose a numeric dataset"):
        read_h5py(hdf5["grid/names"])
    with pytest.raises(ValueError, match=r"not by \[0, 1\]; select more of what it gives"):
        read_h5py(hdf5["grid/rain"], [0, 1])
