"""Deflated netCDF-4 variables are read without HDF5's inflating, and hold what HDF5 reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.sources import _hdf5_chunks, netcdf
from gridmill.sources.netcdf import read_netcdf

LARGE = (3, 160, 240)
FIELDS = np.random.default_rng(1).normal(size=LARGE).astype("f4").round(1)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note whether each variable that is read was read without HDF5's inflating."""
    noted: list[bool] = []

    def read_deflated(*args: Any) -> Any:
        found = _hdf5_chunks.read_deflated(*args)
        noted.append(found is not None)
        return found

    monkeypatch.setattr(netcdf, "read_deflated", read_deflated)
    return noted


def by_hdf5(path: Path, name: str, **options: Any) -> np.ndarray:
    """Read a variable with netCDF4 alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netcdf, "read_deflated", lambda *_: None)
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
