"""What reading a netCDF variable guarantees."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import h5py
import netCDF4
import numpy as np
import pytest

from gridmill.sources.evidence.netcdf import _described
from gridmill.sources.evidence.observed import observing
from gridmill.sources.netcdf import netcdf_variables, read_netcdf


@pytest.fixture(params=["NETCDF4", "NETCDF3_CLASSIC"])
def path(request, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w", format=request.param) as file:
        file.createDimension("time", None)
        file.createDimension("y", 2)
        file.createDimension("x", 3)
        packed = file.createVariable("packed", "i2", ("time", "y", "x"), fill_value=-99)
        packed.scale_factor, packed.add_offset = 0.5, 10.0
        packed.valid_range = np.array([-50, 50], "i2")
        packed.set_auto_maskandscale(False)
        packed[:] = np.array([[[0, 1, 2], [3, -99, 60]], [[4, 5, 6], [7, 8, 9]]], "i2")
        plain = file.createVariable("plain", "f4", ("y", "x"))
        plain.missing_value = np.float32(-1)
        plain[0] = [1, -1, np.nan]
        file.createVariable("counts", "i4", ("x",))[:] = [1, 2, 3]
        file.createVariable("scalar", "f8", ())[...] = 7.0
        file.createVariable("letters", "S1", ("x",))
    return path


def test_packed_values_are_physical_and_missing_ones_are_nan(path):
    """Scale and offset are applied; fill values and values out of the valid range are NaN."""
    values = read_netcdf(path, "packed")
    expected = [[[10, 10.5, 11], [11.5, np.nan, np.nan]], [[12, 12.5, 13], [13.5, 14, 14.5]]]
    assert type(values) is np.ndarray
    assert values.flags.c_contiguous
    assert values.flags.writeable
    np.testing.assert_array_equal(values, np.array(expected, "f4"))


def test_missing_value_nan_and_unwritten_are_nan(path):
    """missing_value, NaN itself and what was never written are NaN."""
    np.testing.assert_array_equal(read_netcdf(path, "plain"), [[1, np.nan, np.nan], [np.nan] * 3])


@pytest.mark.parametrize(
    ("index", "key"),
    [
        ({"time": 1}, np.s_[1]),
        ({"time": -1, "x": slice(1, None)}, np.s_[-1, :, 1:]),
        ({"x": slice(None, None, 2), "y": 0}, np.s_[:, 0, ::2]),
        ({"time": 0, "y": 0, "x": 2}, np.s_[0, 0, 2]),
        ({"time": np.int64(1)}, np.s_[1]),
    ],
)
def test_an_index_reads_what_numpy_would_give(path, index, key):
    """Reading a part gives the same as that part of the whole, dropped dimensions included."""
    part = read_netcdf(path, "packed", index=index)
    expected = read_netcdf(path, "packed")[key]
    np.testing.assert_array_equal(part, expected)
    assert part.shape == expected.shape


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_missing_value_is_nan(path, dtype):
    """numpy has a constant for it, which must not be written to."""
    value = read_netcdf(path, "packed", index={"time": 0, "y": 1, "x": 1}, dtype=dtype)
    assert np.isnan(value)
    assert value.shape == ()


def test_the_dtype_is_the_one_asked_for(path):
    """Integers and doubles come as asked, and a scalar is an array without dimensions."""
    assert read_netcdf(path, "counts", dtype="int64").tolist() == [1, 2, 3]
    assert read_netcdf(path, "packed", dtype="float64").dtype == np.dtype("float64")
    assert read_netcdf(path, "scalar", dtype="float32").dtype == np.dtype("float32")
    scalar = read_netcdf(path, "scalar")
    assert scalar.shape == ()
    assert scalar == 7


@pytest.mark.parametrize(
    ("stored", "value", "expected"),
    [
        ("f4", 0.1, "float32"),
        ("f8", 1 / 3, "float64"),
        ("i2", 32_767, "float32"),
        ("u1", 254, "float32"),
        ("i4", 2**31 - 1, "float64"),
        ("i8", 2**53, "float64"),
    ],
)
@pytest.mark.parametrize("deflated", [False, True])
def test_nothing_is_lost_unless_it_is_asked_for(tmp_path, stored, value, expected, deflated):
    """A double keeps its digits, and an integer is the number that it was."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2)
        file.createVariable("a", stored, ("x",), zlib=deflated)[:] = np.array([value, 0], stored)
    found = read_netcdf(path, "a")
    assert found.dtype == np.dtype(expected)
    assert found[0] == np.array(value, stored)


def test_what_no_floating_point_holds_is_not_read_as_such(tmp_path):
    """Its neighbour would be stored; as an integer it can be had."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2)
        file.createVariable("a", "i8", ("x",))[:] = [2**53 + 1, 0]
    with pytest.raises(ValueError, match=r"beyond 2\^53.*dtype='int64'"):
        read_netcdf(path, "a")
    assert read_netcdf(path, "a", dtype="int64")[0] == 2**53 + 1


def test_dims_in_another_order_are_what_numpy_would_transpose(path):
    """Missing values go along, and so do the axes that are told of."""
    whole = read_netcdf(path, "packed", index={"time": 0})
    with observing() as seen:
        turned = read_netcdf(path, "packed", index={"time": 0}, dims=("x", "y"))
    np.testing.assert_array_equal(turned, whole.T)
    assert turned.flags.c_contiguous
    assert [axis.name for axis in seen[0].axes] == ["x", "y"]
    np.testing.assert_array_equal(read_netcdf(path, "packed", dims=("time", "y", "x"))[0], whole)


@pytest.mark.parametrize(
    ("variable", "options", "error", "message"),
    [
        ("packed", {"dims": ("x", "y")}, ValueError, "time, y, x, and x, y are asked for"),
        ("packed", {"dims": ("y", "y"), "index": {"time": 0}}, ValueError, "name each once"),
        ("t2m", {}, ValueError, "no variable 't2m'.*packed, plain, counts"),
        ("packed", {"index": {"lat": 0}}, ValueError, "no dimension 'lat'.*time, y, x"),
        ("packed", {"index": {"time": 2}}, IndexError, "position 2 .*'time'.*length 2"),
        ("packed", {"dtype": "int16"}, ValueError, "missing values.*int16"),
        ("letters", {}, ValueError, "'letters'.*numeric"),
    ],
)
def test_a_mistake_is_told_with_variable_file_and_choices(path, variable, options, error, message):
    """The error names the variable, the file and what could be had instead."""
    with pytest.raises(error, match=message) as caught:
        read_netcdf(path, variable, **options)
    assert str(path) in str(caught.value)


def test_variables_in_groups_are_listed_and_read(tmp_path):
    """A variable in a group goes by group/name."""
    path = tmp_path / "groups.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2)
        file.createVariable("a", "f4", ("x",))[:] = 1
        file.createGroup("g").createGroup("h").createVariable("b", "f4", ("x",))[:] = 2
    assert netcdf_variables(path) == ("a", "g/h/b")
    assert read_netcdf(path, "g/h/b").tolist() == [2, 2]


def test_a_file_that_is_not_netcdf_is_an_os_error(tmp_path):
    """Neither a missing nor a broken file is taken for an author's mistake."""
    (tmp_path / "broken.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 100)
    for name in ("broken.nc", "none.nc"):
        with pytest.raises(OSError, match=name):
            read_netcdf(tmp_path / name, "a")


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_a_cut_file_is_not_read(tmp_path, kind):
    """Whoever fetched it: the library would give values that are not there, without an error."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.createDimension("x", 100)
        file.createVariable("a", "f4", ("x",))[:] = np.arange(1.0, 101.0)
    nbytes = path.stat().st_size
    assert read_netcdf(path, "a").min() == 1
    os.truncate(path, nbytes - 40)
    with pytest.raises(OSError, match=f"not whole: it has {nbytes - 40} bytes, .* needs {nbytes}"):
        read_netcdf(path, "a")


def test_threads_read_at_once(path):
    """Threads that read one file get the same values."""
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: read_netcdf(path, "packed"), range(40)))
    for values in results:
        np.testing.assert_array_equal(values, results[0])


def test_the_first_name_that_a_file_has_is_read(tmp_path):
    """A provider may call a variable otherwise from some day on."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2)
        file.createVariable("other", "f4", ("x",))[:] = [1.0, 2.0]
    assert read_netcdf(path, ("name", "other")).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="has none of the variables name, third"):
        read_netcdf(path, ("name", "third"))


def test_what_a_variable_refers_to_is_looked_up_once():
    """A coordinate of two dims is as large as a field, and is asked for in several roles."""
    asked = []
    found = {name: (np.zeros((2, 3)), {"units": "degrees"}, ("y", "x")) for name in ("lat", "lon")}

    def find(name):
        asked.append(name)
        return found.get(name)

    described = _described(("y", "x"), {"coordinates": "lat lon"}, find, {})
    assert [one.name for one in described.fields] == ["lat", "lon"]
    assert sorted(asked) == sorted(set(asked))


@pytest.mark.parametrize("written", [np.bytes_, str])
def test_a_dimension_without_a_coordinate_has_no_labels(tmp_path, written):
    """Its scale holds zeros, whichever kind of text says what it is."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim in ("y", "x"):
            file.createDimension(dim, 160)
        file.createVariable("x", "f8", ("x",))[:] = np.arange(160)
        options = {"zlib": True, "chunksizes": (160, 160)}
        file.createVariable("a", "f4", ("y", "x"), **options)[:] = 1
    with h5py.File(path, "a") as file:
        file["y"].attrs["NAME"] = written(file["y"].attrs["NAME"].decode())
    with observing() as seen:
        read_netcdf(path, "a")
    y, x = seen[0].axes
    assert (y.name, y.values, x.name, x.values.tolist()) == ("y", None, "x", list(range(160)))


@pytest.mark.parametrize("options", [{}, {"index": {"time": 0}}])
def test_coordinates_of_groups_above_are_those_of_a_variable(tmp_path, options):
    """Whichever library reads it: dims, a time that nothing names, and what `coordinates` name."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim, length in (("time", 1), ("y", 160), ("x", 160)):
            file.createDimension(dim, length)
        file.createVariable("time", "f8", ("time",))[:] = 7
        file["time"].units = "hours since 2020-01-01"
        file.createVariable("y", "f8", ("y",))[:] = np.arange(160)
        file.createVariable("lat", "f8", ("y", "x"))[:] = 5
        group = file.createGroup("g").createGroup("h")
        chunks = {"zlib": True, "chunksizes": (1, 160, 160)}
        stored = group.createVariable("a", "f4", ("time", "y", "x"), **chunks)
        stored[:] = 1
        stored.coordinates = "lat"
    with observing() as seen:
        read_netcdf(path, "g/h/a", **options)
    axes = {axis.name: axis for axis in (*seen[0].axes, *seen[0].scalars.values())}
    assert axes["time"].values.ravel().tolist() == [7]
    assert axes["y"].values.tolist() == list(range(160))
    assert axes["x"].values is None
    assert [one.name for one in seen[0].fields] == ["lat"]
