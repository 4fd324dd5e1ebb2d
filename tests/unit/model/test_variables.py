"""What the declarations of variables and coordinates refuse, and how they are stored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gridmill.model.variables import Coordinate, DataVar, Encoding

ATTRS = {"long_name": "x", "units": "1"}


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"chunks": (0, 2)}, "chunks"),
        ({"chunks": (2,), "shards": (-2,)}, "shards"),
        ({"chunks": (2, 2), "shards": (4,)}, "rank"),
        ({"chunks": (2, 3), "shards": (4, 4)}, "whole multiples"),
    ],
)
def test_lengths_that_make_no_array_are_refused(lengths, message):
    """Chunks and shards must be positive, of one rank, and fit into each other."""
    with pytest.raises(ValueError, match=message):
        Encoding(**lengths)


def test_the_stored_object_is_the_shard_or_else_the_chunk():
    """`object_shape` says what one object covers, with and without shards."""
    assert Encoding(chunks=(2, 3)).object_shape == (2, 3)
    assert Encoding(chunks=(2, 3), shards=(4, 9)).object_shape == (4, 9)
    var = DataVar(
        name="a", encoding=Encoding(chunks=(2, 3), shards=(4, 9)), attrs=ATTRS, dims=("x", "time")
    )
    assert (var.object_length("x"), var.object_length("time")) == (4, 9)


@pytest.mark.parametrize(
    ("dtype", "given", "fill"),
    [("float32", None, math.nan), ("int16", None, 0), ("float64", -9.0, -9.0), ("int32", 7, 7)],
)
def test_the_fill_value_has_a_default_for_every_dtype(dtype, given, fill):
    """NaN for floating point, 0 for others, unless one is given; xarray is told the same.

    Integers have a missing value where one is declared, and only there.
    """
    encoding = Encoding(chunks=(1,), dtype=dtype, fill_value=given)
    np.testing.assert_equal(encoding.fill, fill)
    told = encoding.to_xarray()
    np.testing.assert_equal(told["fill_value"], fill)
    # An integer fill that nobody declared must not turn real values into NaN for readers.
    is_missing = dtype.startswith("float") or given is not None
    np.testing.assert_equal(told["_FillValue"], fill if is_missing else None)
    np.testing.assert_equal(encoding.missing, fill if is_missing else None)


def test_an_archive_whose_fill_nobody_took_for_missing_keeps_that():
    """Its readers see the fill as a number, as they always did."""
    encoding = Encoding(chunks=(1,), dtype="int32", fill_value=7, fill_is_missing=False)
    told = encoding.to_xarray()
    assert (told["fill_value"], told["_FillValue"], encoding.missing) == (7, None, None)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dtype": "float32"}, "pack values into integers, and dtype is float32"),
        ({"dtype": "int64"}, "give one of int8, .*uint32"),
        ({"fill_value": None}, "need a fill_value.*like -32768"),
        ({"fill_value": 40_000}, "fill_value 40000 is not a int16, .* -32768 to 32767"),
        ({"fill_value": 0.5}, "fill_value 0.5 is not a int16"),
        ({"scale_factor": 0.0}, "scale_factor 0.0 .*must be finite"),
        ({"add_offset": math.nan}, "add_offset nan must be finite"),
    ],
)
def test_what_cannot_pack_is_refused(changes, why):
    """When it is declared; what is wrong and what is right are named."""
    fields = {"dtype": "int16", "scale_factor": 0.01, "fill_value": -1, **changes}
    with pytest.raises(ValueError, match=why):
        Encoding(chunks=(1,), **fields)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "expected"),
    [
        ("int16", 0.01, 273.15, "float32"),
        ("uint8", 1.0, None, "float32"),
        ("int16", 0.001, 1e6, "float64"),
        ("int32", 1e-6, None, "float64"),
    ],
)
def test_values_are_in_the_precision_that_tells_packed_ones_apart(dtype, scale, offset, expected):
    """Half of the memory where that is enough."""
    packing = {"scale_factor": scale, "add_offset": offset}
    encoding = Encoding(chunks=(1,), dtype=dtype, fill_value=1, **packing)
    assert encoding.value_dtype == expected
    assert math.isnan(encoding.value_fill)


def test_the_checksum_comes_last_and_can_be_left_out():
    """The crc32c guards the compressed bytes of each chunk."""
    codecs = Encoding(chunks=(1,)).to_xarray()["compressors"]
    assert [codec["name"] for codec in codecs] == ["blosc", "crc32c"]
    codecs = Encoding(chunks=(1,), checksum=False).to_xarray()["compressors"]
    assert [codec["name"] for codec in codecs] == ["blosc"]


def test_a_codec_that_writes_the_time_is_refused():
    """Whatever runs twice must give the same bytes."""
    gzip = {"name": "gzip", "configuration": {"level": 5}}
    with pytest.raises(ValueError, match="gzip writes the time"):
        Encoding(chunks=(1,), compressors=(gzip,))


@pytest.mark.parametrize("dtype", ["S4", "object", "datetime64[ns]", "timedelta64[h]"])
def test_what_is_no_number_is_refused_when_it_is_declared(dtype):
    """It cannot be stored; the line says what to store instead."""
    with pytest.raises(ValueError, match=r"none of numbers or booleans.*flag_meanings"):
        Encoding(chunks=(1,), dtype=dtype)
    with pytest.raises(ValueError, match="none of numbers or booleans"):
        Coordinate(name="station", dtype=dtype).encoding({"station": 3})


def test_text_is_of_coordinates_alone():
    """A variable of text is refused, with what to store instead."""
    assert Coordinate(name="station", dtype="str").encoding({"station": 3}).is_text
    attrs = {"long_name": "x", "units": "1"}
    with pytest.raises(ValueError, match=r"'a' is text.*flag_meanings"):
        DataVar(name="a", encoding=Encoding(chunks=(1,), dtype="str"), attrs=attrs)


def test_a_variable_says_what_cf_needs():
    """A variable without units or a long name is refused."""
    with pytest.raises(ValueError, match="'units'"):
        DataVar(name="a", encoding=Encoding(chunks=(1,)), attrs={"long_name": "x"})


def test_dims_are_taken_from_the_template_unless_given():
    """A variable's own dims win, and their number must be that of its chunks."""
    var = DataVar(name="a", encoding=Encoding(chunks=(1, 2)), attrs=ATTRS)
    assert var.with_dims(("time", "x")).dims == ("time", "x")
    assert var.with_dims(("time", "x")).with_dims(("y",)).dims == ("time", "x")
    with pytest.raises(ValueError, match="one chunk length a dim"):
        var.with_dims(("time", "y", "x"))


def test_a_coordinate_is_one_chunk_as_long_as_its_dims():
    """Without chunks a coordinate's only chunk covers its dims; an empty dim counts as one."""
    assert Coordinate(name="time").encoding({"time": 500}).chunks == (500,)
    auxiliary = Coordinate(name="valid", dims=("time", "lead"))
    assert auxiliary.encoding({"time": 500, "lead": 0}).chunks == (500, 1)
    assert Coordinate(name="crs", dims=()).encoding({}).chunks == ()
    assert Coordinate(name="time", chunks=(7,)).encoding({"time": 500}).chunks == (7,)


@pytest.mark.parametrize(
    ("spelled", "name"), [("f4", "float32"), (">f8", "float64"), ("i2", "int16"), ("?", "bool")]
)
def test_a_dtype_is_what_it_is_however_it_is_spelled(spelled, name):
    """What is missing, and how values are stored, follows from the dtype."""
    encoding = Encoding(chunks=(1,), dtype=spelled)
    assert encoding == Encoding(chunks=(1,), dtype=name)
    assert encoding.is_floating == name.startswith("float")


@pytest.mark.parametrize("name", ["atmosphere/t", "/t", "", ".", "zarr.json"])
def test_a_name_is_that_of_an_array_in_one_group(name):
    """A path of a group is refused with the reason as it is declared, and so is no name at all."""
    why = "is a path: an archive is one group" if "/" in name else "names no array in Zarr"
    with pytest.raises(ValueError, match=why):
        DataVar(name=name, encoding=Encoding(chunks=(1,)), attrs=ATTRS)
    with pytest.raises(ValueError, match=why):
        Coordinate(name=name)
