"""Deflated netCDF-4 variables are read without HDF5's inflating, and hold what HDF5 reads."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources import hdf5_chunks as _hdf5_chunks
from gridmill.sources import netcdf
from gridmill.sources.netcdf import read_netcdf
from gridmill.sources.wholeness import lacks

LARGE = (3, 160, 240)
FIELDS = np.random.default_rng(1).normal(size=LARGE).astype("f4").round(1)


def note(monkeypatch: pytest.MonkeyPatch, name: str) -> list[bool]:
    """Note whether each call of a way to read did what was asked."""
    noted: list[bool] = []

    def read(*args: Any) -> Any:
        found = getattr(_hdf5_chunks, name)(*args)
        noted.append(found is not None)
        return found

    monkeypatch.setattr(netcdf, name, read)
    return noted


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note whether each variable that is read was read without HDF5's inflating."""
    monkeypatch.setattr(netcdf, "read_whole", lambda *_: None)
    return note(monkeypatch, "read_deflated")


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note whether each variable that is read whole was read without netCDF4."""
    return note(monkeypatch, "read_whole")


def by_hdf5(path: Path, name: str, **options: Any) -> np.ndarray:
    """Read a variable with netCDF4 alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netcdf, "read_deflated", lambda *_: None)
        patch.setattr(netcdf, "read_whole", lambda *_: None)
        return read_netcdf(path, name, **options)


def write(path: Path, values: np.ndarray = FIELDS, **options: Any) -> None:
    """Write a deflated variable `a` with the dims time, y, x."""
    with netCDF4.Dataset(path, "w") as file:
        for dim, length in zip(("time", "y", "x"), values.shape, strict=True):
            file.createDimension(dim, length)
        options = {"zlib": True, "chunksizes": (1, *values.shape[1:]), **options}
        file.createVariable("a", values.dtype, ("time", "y", "x"), **options)[:] = values


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("index", [{}, {"time": 1}, {"time": -1, "y": slice(3, 90)}, {"x": 7}])
def test_values_are_those_that_hdf5_reads(tmp_path, fast, shuffle, index):
    """Shuffled or not, whole or in part; and what is read may be changed."""
    write(tmp_path / "a.nc", shuffle=shuffle)
    found = read_netcdf(tmp_path / "a.nc", "a", index=index)
    assert fast == [True]
    assert found.flags.writeable
    np.testing.assert_array_equal(found, by_hdf5(tmp_path / "a.nc", "a", index=index))
    np.testing.assert_array_equal(
        found, FIELDS[tuple(index.get(dim, slice(None)) for dim in ("time", "y", "x"))]
    )


DTYPES = ["f4", "f8", "i1", "u1", "i2", "u2", "i4", ">f4", ">i2"]
SHAPE = (4, 5, 6)


@st.composite
def variables(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
    """Draw stored values, how they are stored, and attributes that say what they mean."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, SHAPE).astype(dtype)
    options = {
        "shuffle": draw(st.booleans()),
        "chunksizes": tuple(draw(st.integers(1, n)) for n in SHAPE),
        "endian": "big" if dtype.byteorder == ">" else "little",
        "fill_value": draw(st.sampled_from([None, 3, 7, False])),
    }
    figures = {
        "missing_value": dtype.type(draw(st.integers(0, 9))),
        "valid_range": np.array([2, 8], dtype.newbyteorder("=")),
        "valid_min": dtype.type(1),
        "scale_factor": draw(st.sampled_from([np.float32(0.5), np.float64(0.1), np.float64(1)])),
        "add_offset": draw(st.sampled_from([np.float32(10), np.float64(0.3), np.float64(0)])),
        "_Unsigned": "true",
    }
    attributes = {k: v for k, v in figures.items() if draw(st.booleans())}
    # netCDF4 fails where its default fill value becomes unsigned, and takes one of the other byte
    # order for another number if a single value is read.
    if dtype.byteorder == ">":
        attributes.pop("_Unsigned", None)
    if "_Unsigned" in attributes and not options["fill_value"]:
        options["fill_value"] = 5
    return values, options, attributes


@given(variables(), st.data())
def test_values_mean_what_netcdf4_says(tmp_path_factory, variable, data):
    """Missing values, valid ranges, packing, byte order and any part, across chunks."""
    values, options, attributes = variable
    path = tmp_path_factory.mktemp("drawn") / "a.nc"
    write(path, values, **options)
    with netCDF4.Dataset(path, "a") as file:
        file["a"].setncatts(attributes)
    index = {
        dim: data.draw(
            st.one_of(
                st.integers(-n, n - 1),
                st.tuples(st.integers(0, n - 1), st.integers(0, n)).map(lambda ends: slice(*ends)),
            )
        )
        for dim, n in zip(("time", "y", "x"), SHAPE, strict=True)
        if data.draw(st.booleans())
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_hdf5_chunks, "LEAST_NBYTES", 0)
        found = read_netcdf(path, "a", index=index, dtype="f8")
    expected = by_hdf5(path, "a", index=index, dtype="f8")
    np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape


@st.composite
def plain_variables(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
    """Draw stored values whose meaning takes no more than a fill and a scale, and some that do."""
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8", "i2", "u2", "i4", "i8", "u1", ">f4"])))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, SHAPE).astype(dtype)
    default = netCDF4.default_fillvals.get(dtype.str[1:], 0)
    values[draw(st.integers(0, 3)), 1] = np.array(default).astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        values[2, 2] = np.nan
    fill = draw(st.sampled_from([None, 3, np.nan if dtype.kind == "f" else 4, False]))
    options = {
        "shuffle": draw(st.booleans()),
        "chunksizes": tuple(draw(st.integers(1, n)) for n in SHAPE),
        "endian": "big" if dtype.byteorder == ">" else "little",
        "fill_value": fill,
    }
    attributes: dict[str, Any] = {}
    if draw(st.booleans()):
        same = draw(st.booleans()) and fill not in (None, False)
        attributes["missing_value"] = dtype.type(fill if same else 5)
    scales = [np.float32(0.5), np.float64(0.1), np.float64(1), np.int16(2), np.array([2.0, 3.0])]
    for name in ("scale_factor", "add_offset"):
        if draw(st.booleans()):
            attributes[name] = draw(st.sampled_from(scales[: 4 if dtype.kind == "f" else 3]))
    return values, options, attributes


@given(plain_variables())
def test_whole_variables_mean_what_netcdf4_says(tmp_path_factory, variable):
    """Fills, given and default, and packing; what takes more is left to netCDF4."""
    values, options, attributes = variable
    path = tmp_path_factory.mktemp("drawn") / "a.nc"
    write(path, values, **options)
    with netCDF4.Dataset(path, "a") as file:
        file["a"].setncatts(attributes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_hdf5_chunks, "LEAST_NBYTES", 0)
        found = read_netcdf(path, "a", dtype="f8")
    np.testing.assert_array_equal(found, by_hdf5(path, "a", dtype="f8"))


@pytest.mark.parametrize("fill", [None, 275.5, np.nan])
@pytest.mark.parametrize("packing", [{}, {"scale_factor": 0.5}, {"add_offset": np.float32(3)}])
def test_a_whole_variable_is_read_without_netcdf4(tmp_path, whole, fill, packing):
    """With its missing values, and packed or not."""
    values = FIELDS.copy()
    values[1, 2:9] = netCDF4.default_fillvals["f4"] if fill is None else fill
    write(tmp_path / "a.nc", values, fill_value=fill)
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:
        file["a"].setncatts(packing)
    found = read_netcdf(tmp_path / "a.nc", "a")
    assert whole == [True]
    assert found.flags.writeable
    assert np.isnan(found[1, 2:9]).all()
    np.testing.assert_array_equal(found, by_hdf5(tmp_path / "a.nc", "a"))
    assert read_netcdf(tmp_path / "a.nc", "a", index={"time": 1}).shape == LARGE[1:]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("fill", [275.5, np.nan])
def test_a_missing_value_is_no_integer(tmp_path, whole, fill):
    """As where netCDF4 reads."""
    write(tmp_path / "a.nc", np.where(FIELDS > 3, fill, FIELDS).astype("f4"), fill_value=fill)
    with pytest.raises(ValueError, match="missing values, which int32 cannot hold"):
        read_netcdf(tmp_path / "a.nc", "a", dtype="i4")
    assert whole == [True]


@pytest.mark.parametrize("is_filled", [True, False])
def test_whether_bytes_are_missing_is_left_to_netcdf4(tmp_path, whole, is_filled):
    """They have a default fill value where they were written with filling, else none."""
    values = np.full(LARGE, netCDF4.default_fillvals["u1"], "u1")
    write(tmp_path / "a.nc", values, fill_value=None if is_filled else False)
    assert np.isnan(read_netcdf(tmp_path / "a.nc", "a")).all() == is_filled
    assert whole == [False]


@pytest.mark.parametrize(
    "attributes",
    [{"_FillValue": np.float64([1])}, {"scale_factor": "0.5"}, {"add_offset": [1.0, 2.0]}],
    ids=lambda attributes: next(iter(attributes)),
)
def test_attributes_that_do_not_fit_are_left_to_netcdf4(tmp_path, attributes):
    """It may refuse them, or read past them."""
    write(tmp_path / "a.nc")
    assert _hdf5_chunks.read_whole(tmp_path / "a.nc", "a") is not None
    with h5py.File(tmp_path / "a.nc", "a") as file:
        file["a"].attrs.update(attributes)
    assert _hdf5_chunks.read_whole(tmp_path / "a.nc", "a") is None


def test_what_is_no_number_is_left_to_netcdf4(tmp_path):
    """Enumerations look like numbers, and HDF5 has some that netCDF has not."""
    kind = h5py.enum_dtype({"clear": 0, "cloudy": 1}, basetype="i2")
    with h5py.File(tmp_path / "a.nc", "w") as file:
        for name, dtype in (("a", kind), ("b", "f2"), ("c", "i2")):
            file.create_dataset(name, LARGE, dtype, chunks=LARGE, compression="gzip")
    whether = [_hdf5_chunks.read_whole(tmp_path / "a.nc", name) is None for name in "abc"]
    assert whether == [True, True, False]


@pytest.mark.parametrize(
    "attributes",
    [
        {"valid_min": np.float32(0)},
        {"valid_max": np.float32(0)},
        {"valid_range": np.float32([-1, 1])},
        {"missing_value": np.float32(0.5)},
        {"missing_value": np.float32([0.5, 0.25])},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_what_takes_more_than_a_fill_and_a_scale_is_left_to_netcdf4(tmp_path, whole, attributes):
    """It knows what it means."""
    write(tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:
        file["a"].setncatts(attributes)
    found = read_netcdf(tmp_path / "a.nc", "a")
    assert whole == [False]
    np.testing.assert_array_equal(found, by_hdf5(tmp_path / "a.nc", "a"))


def test_an_unlimited_dim_is_as_long_as_any_variable_says(tmp_path, whole):
    """What others have more of is missing in this one."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for dim, length in zip(("time", "y", "x"), (None, *LARGE[1:]), strict=True):
            file.createDimension(dim, length)
        for name, steps in (("a", 2), ("b", 3)):
            var = file.createVariable(
                name, "f4", ("time", "y", "x"), zlib=True, chunksizes=(1, *LARGE[1:])
            )
            var[:] = FIELDS[:steps]
    found = read_netcdf(tmp_path / "a.nc", "a")
    assert whole == [False]
    assert found.shape == LARGE
    assert np.isnan(found[2]).all()


def test_chunks_that_were_never_written_are_missing(tmp_path, fast):
    """As along an unlimited dim, where a writer left out steps."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim, length in zip(("time", "y", "x"), (None, *LARGE[1:]), strict=True):
            file.createDimension(dim, length)
        var = file.createVariable(
            "a", "f4", ("time", "y", "x"), zlib=True, chunksizes=(1, *LARGE[1:])
        )
        var[4] = FIELDS[0]
        file.createVariable("time", "f8", ("time",))[:] = range(6)  # longer than the variable
    np.testing.assert_array_equal(read_netcdf(path, "a"), by_hdf5(path, "a"))
    with h5py.File(path) as file:
        assert file["a"].shape[0] == 5
        with_all = {"time": slice(0, 5)}
    assert np.isnan(read_netcdf(path, "a", index={"time": 2})).all()
    np.testing.assert_array_equal(read_netcdf(path, "a", index=with_all)[4], FIELDS[0])


def test_a_filter_that_a_chunk_did_without_is_not_undone(tmp_path, fast):
    """HDF5 notes with each chunk which filters it left out."""
    path = tmp_path / "a.nc"
    write(path, shuffle=True)
    with h5py.File(path, "a") as file:
        file["a"].id.write_direct_chunk((0, 0, 0), FIELDS[1].tobytes(), filter_mask=0b11)
    np.testing.assert_array_equal(read_netcdf(path, "a"), FIELDS[[1, 1, 2]])
    assert fast == [True]


@pytest.mark.parametrize("at", [2, 1000, -5, -1])
def test_a_damaged_chunk_is_an_os_error(tmp_path, fast, at):
    """As one is that HDF5 cannot read: no value of it enters an archive."""
    path = tmp_path / "a.nc"
    write(path)
    with h5py.File(path) as file:
        info = file["a"].id.get_chunk_info_by_coord((1, 0, 0))
    content = bytearray(path.read_bytes())
    place = info.byte_offset + (at % info.size)
    content[place] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"a\.nc.*damaged"):
        read_netcdf(path, "a")
    np.testing.assert_array_equal(read_netcdf(path, "a", index={"time": 2}), FIELDS[2])


@given(st.integers(0, 2**31), st.integers(1, 255))
def test_a_file_that_is_damaged_anywhere_is_read_as_netcdf4_reads_it_or_refused(
    tmp_path_factory, at, bits
):
    """What netCDF4 refuses for another part of it may be read, but never as other values."""
    path = tmp_path_factory.mktemp("damaged") / "a.nc"
    write(path, FIELDS[:1], fill_value=-9)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= bits
    path.write_bytes(content)
    with path.open("rb") as file:
        if lacks(file, len(content)):  # nobody opens what is found when it arrives
            return
    try:
        found = read_netcdf(path, "a")
    except (ValueError, OSError, RuntimeError, zlib.error):
        return
    try:
        expected = by_hdf5(path, "a")
    except (ValueError, OSError, RuntimeError, zlib.error):
        expected = FIELDS[:1]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"zlib": False},
        {"fletcher32": True},
        {"chunksizes": (1, 10, 10)},
        {"zlib": False, "compression": "zstd"},
    ],
    ids=["not deflated", "with another checksum", "small chunks", "another codec"],
)
def test_other_variables_are_left_to_hdf5(tmp_path, options):
    """Whatever they are compressed by, and where it would gain nothing."""
    write(tmp_path / "a.nc", **options)
    slices = [slice(0, n) for n in LARGE]
    assert _hdf5_chunks.read_deflated(tmp_path / "a.nc", "a", LARGE, slices) is None
    np.testing.assert_array_equal(read_netcdf(tmp_path / "a.nc", "a"), FIELDS)


@pytest.mark.parametrize("package", ["h5py", "deflate"])
def test_netcdf4_alone_suffices(tmp_path, fast, monkeypatch, package):
    """Without one of the packages of the extra, values are the same."""
    write(tmp_path / "a.nc")
    monkeypatch.setitem(sys.modules, package, None)
    np.testing.assert_array_equal(read_netcdf(tmp_path / "a.nc", "a"), FIELDS)
    assert fast == [False]
    assert _hdf5_chunks.read_whole(tmp_path / "a.nc", "a") is None
