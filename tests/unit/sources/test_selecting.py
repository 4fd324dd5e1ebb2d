"""Labels of a file's axis are found where they are, and what is not there is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gridmill import read_netcdf, read_xarray
from gridmill.sources import netcdf
from gridmill.sources.evidence.observed import observing
from gridmill.sources.selecting import positions_of

LEVELS = np.array([1000.0, 925, 850, 700, 500, 300])


@given(st.permutations(LEVELS.tolist()), st.data())
def test_positions_are_those_of_the_labels(axis, data):
    """In the order that is asked for, whatever the file's is, and in single precision, too."""
    wanted = data.draw(st.lists(st.sampled_from(axis), min_size=1, unique=True))
    found = positions_of(wanted, np.array(axis, "f4"), "level", "a.nc")
    assert [axis[at] for at in found] == wanted
    assert positions_of(wanted[0], np.array(axis), "level", "a.nc") == axis.index(wanted[0])


@pytest.mark.parametrize(
    ("wanted", "axis", "why"),
    [
        ([850, 10, 20], LEVELS, "a.nc has no level 10, 20; it has 1000, 925, 850"),
        (850.1, LEVELS, "has no level 850.1"),
        ([1.0], np.array([1.0, 1.0]), "has a level twice"),
        ([1.0], None, "no numbers along 'level' to select by"),
        ([1.0], np.array(["a"]), "no numbers along 'level' to select by"),
    ],
)
def test_what_cannot_be_selected_is_named(wanted, axis, why):
    """Nothing near a label is taken for it."""
    with pytest.raises(ValueError, match=why):
        positions_of(wanted, axis, "level", "a.nc")


@pytest.fixture(params=[False, True], ids=["contiguous", "deflated"])
def path(request, tmp_path: Path) -> Path:
    values = np.arange(2 * 6 * 3 * 4, dtype="f4").reshape(2, 6, 3, 4)
    ds = xr.Dataset(
        {"t": (("time", "level", "y", "x"), values)}, {"level": LEVELS, "x": np.arange(4.0)}
    )
    ds["level"].attrs["units"] = "hPa"
    how = {"zlib": True, "chunksizes": (1, 1, 3, 4)} if request.param else {}
    ds.to_netcdf(tmp_path / "a.nc", encoding={"t": how})
    return tmp_path / "a.nc"


@pytest.mark.parametrize(
    "select",
    [
        {"level": [850, 500]},
        {"level": [500, 1000, 925]},
        {"level": 700},
        {"level": [300]},
        {"level": LEVELS[::-1]},
        {"level": [850, 300], "x": [3, 1]},
    ],
)
def test_netcdf_is_read_by_labels(path, select):
    """As xarray selects; with positions of other dims, and what the file says of what was read."""
    with xr.open_dataset(path) as ds:
        wanted = ds.t.isel(time=1).sel(select)
        with observing() as seen:
            found = read_netcdf(path, "t", index={"time": np.int64(1)}, select=select)
            again = read_xarray(ds.isel(time=1), "t", select=select)
    np.testing.assert_array_equal(found, wanted.values)
    np.testing.assert_array_equal(again, wanted.values)
    for evidence in seen:
        labels = {axis.name: axis.values for axis in evidence.axes}
        labels |= {name: axis.values for name, axis in evidence.scalars.items()}
        np.testing.assert_array_equal(labels["level"], select["level"])


def test_dims_are_turned_after_labels_are_selected(path):
    """Those that are left are named."""
    found = read_netcdf(path, "t", select={"level": [850, 500]}, dims=("level", "time", "x", "y"))
    with xr.open_dataset(path) as ds:
        wanted = ds.t.sel(level=[850, 500]).transpose("level", "time", "x", "y")
        np.testing.assert_array_equal(found, wanted.values)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"select": {"level": [850, 50]}}, "no level 50; it has 1000, 925"),
        ({"select": {"time": [0]}}, "no numbers along 'time' to select by"),
        ({"select": {"height": [0]}}, "has no dimension 'height'"),
        ({"select": {"level": [850]}, "index": {"level": 0}}, "is in index and in select"),
    ],
)
def test_netcdf_without_a_label_is_not_read(path, given, why):
    """The file, the label and what it has are named."""
    with pytest.raises(ValueError, match=why):
        read_netcdf(path, "t", **given)


def test_a_chunk_is_read_once_for_all_of_its_levels(tmp_path, monkeypatch):
    """However many are asked for, and however far apart they lie."""
    path = tmp_path / "a.nc"
    levels = np.arange(60.0)
    values = np.arange(60.0 * 6).reshape(60, 2, 3)
    ds = xr.Dataset({"t": (("plev", "y", "x"), values)}, {"plev": levels})
    ds.to_netcdf(path, encoding={"t": {"zlib": True, "chunksizes": (60, 2, 3)}})
    parts = []
    read_part = netcdf._read_part

    def counted(*given):
        parts.append(given)
        return read_part(*given)

    monkeypatch.setattr(netcdf, "_read_part", counted)
    wanted = [50.0, 3.0, 41.0, 7.0]
    found = read_netcdf(path, "t", select={"plev": wanted})
    np.testing.assert_array_equal(found, values[[50, 3, 41, 7]])
    assert len(parts) == 1
