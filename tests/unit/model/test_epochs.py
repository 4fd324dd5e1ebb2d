"""What gridmill means to store cannot change unnoticed, and what was made earlier is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grib_messages import changed, encode, encode_in_band_missing
from gridmill.authoring.derived.humidity import humidity_of
from gridmill.authoring.derived.making import aggregated
from gridmill.authoring.derived.wind import from_direction_of, speed_of
from gridmill.authoring.grids import LatitudeLongitudeGrid, RotatedGrid
from gridmill.authoring.regridding import Regrid
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.weights import make_weights
from gridmill.authoring.transforms.deaccumulation import deaccumulate_inplace
from gridmill.authoring.transforms.interpolation import interpolate_single_gaps_inplace
from gridmill.authoring.transforms.packing import pack
from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.authoring.transforms.scaling import scale_inplace
from gridmill.model.epochs import (
    AGGREGATION,
    BILINEAR,
    CONSERVATIVE,
    DEACCUMULATION,
    ENCODING,
    EPOCHS,
    GRIB_DECODING,
    INTERPOLATION,
    NETCDF_READING,
    PACKING,
    RELATIVE_HUMIDITY,
    ROUNDING,
    SCALING,
    WIND_DIRECTION,
    WIND_SPEED,
    made_earlier,
    note_stage,
    noted_stages,
)
from gridmill.model.fields.derived import METHODS, Aggregation
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.variables import DataVar, Encoding
from gridmill.pipeline.shards import ObjectWriter
from gridmill.sources.evidence.observed import observing
from gridmill.sources.grib.messages import decode_message_into, read_grid
from gridmill.sources.netcdf import read_netcdf

PINNED = Path(__file__).with_name("epochs.json")
VALUES = np.linspace(-3, 400, 4 * 3 * 5).reshape(4, 3, 5)


# -- a small fixed input for each stage, and what comes of it ----------------------------------


def grib_decoding(folder: Path) -> list[np.ndarray]:
    """Decode what the packings and scanning modes share a field for; ecCodes made the messages."""
    field = np.linspace(190, 320, 31 * 16).reshape(31, 16)
    field[3, 4] = np.nan
    messages = [
        encode(field, packing=packing)
        for packing in ("grid_simple", "grid_complex_spatial_differencing", "grid_ccsds")
    ]
    northwards = {
        "jScansPositively": 1,
        "latitudeOfFirstGridPointInDegrees": 0,
        "latitudeOfLastGridPointInDegrees": 60,
    }
    messages += [changed(messages[0], northwards), encode_in_band_missing(2)[0]]
    found = []
    for message in messages:
        found.append(np.empty(read_grid(message).shape, "float32"))
        decode_message_into(found[-1], message)
    return found


def netcdf_reading(folder: Path) -> list[np.ndarray]:
    import netCDF4

    path = folder / "fixed.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim, n in zip("tyx", VALUES.shape, strict=True):
            file.createDimension(dim, n)
        packed = file.createVariable("packed", "i2", tuple("tyx"), fill_value=-32768, zlib=True)
        packed.scale_factor, packed.add_offset = 0.02, 190.0
        packed[:] = np.ma.masked_greater(VALUES, 350)
        plain = file.createVariable("plain", "f4", tuple("tyx"), chunksizes=(1, 3, 5), zlib=True)
        plain.valid_range = np.array([0, 300], "f4")
        plain[:] = VALUES
    with observing(np.dtype("float32")):  # as a run does for an archive of float32
        whole = [read_netcdf(path, name) for name in ("packed", "plain")]
        return [*whole, read_netcdf(path, "packed", index={"t": 2, "y": slice(1, 3)})]


def scaling(folder: Path) -> list[np.ndarray]:
    values = VALUES.astype("float32")
    scale_inplace(values, factor=0.01, offset=-273.15)
    return [values]


def mantissa_rounding(folder: Path) -> list[np.ndarray]:
    found = [VALUES.astype(dtype) for dtype in ("float32", "float64")]
    for values in found:
        values[0, 0, :3] = np.nan, np.inf, -0.0
        round_mantissa_inplace(values, 7)
    return found


def deaccumulation(folder: Path) -> list[np.ndarray]:
    hours = 3600 * np.array([3, 6, 9, 12])
    found = []
    for kind in ("accumulation", "average"):
        values = np.abs(VALUES).astype("float32")
        values[2, 1, 3], values[1, 0, 0] = np.nan, 1e6
        values[3, 2] = values[2, 2] - 200
        deaccumulate_inplace(
            values,
            step_seconds=hours,
            axis=0,
            reset_every_s=6 * 3600,
            kind=kind,
            non_negative_within=0.01,
            resolution=np.array([0.0, 300.0, 400.0, 10.0]).reshape(4, 1, 1),
        )
        found.append(values)
    return found


def interpolation(folder: Path) -> list[np.ndarray]:
    values = VALUES.astype("float32")
    values[1, 0], values[2, 1], values[1, 1] = np.nan, np.nan, np.nan
    interpolate_single_gaps_inplace(values, coordinate=[0.0, 1.0, 4.0, 5.0], axis=0)
    return [values]


def packing(folder: Path) -> list[np.ndarray]:
    found = []
    for dtype, scale, offset in (("int16", 0.01, 273.15), ("uint8", -3.0, None), ("int32", 7, 1)):
        packed = {"scale_factor": scale, "add_offset": offset, "fill_value": 7}
        stored, refused = pack(VALUES, Encoding(chunks=(1,), dtype=dtype, **packed))
        found += [stored, np.zeros(VALUES.shape, bool) if refused is None else refused]
    return found


def encoding(folder: Path) -> list[np.ndarray]:
    """Encode without a compressor: the bytes that one gives are those of its library's release."""
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    index = {"chunk_shape": [2, 3, 5], "codecs": codecs, "index_codecs": codecs}
    index["index_location"] = "end"
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(VALUES.shape),
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 3, 5]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "sharding_indexed", "configuration": index}],
        "attributes": {},
    }
    writer = ObjectWriter(folder, "fixed", metadata)
    target = tuple(slice(0, n) for n in VALUES.shape)
    writer.write(target, VALUES.astype("float32"))
    writer.close()
    return [np.frombuffer((folder / key).read_bytes(), "u1") for key in writer.keys]


def aggregation(folder: Path) -> list[np.ndarray]:
    steps = np.array(VALUES)
    steps[1, 0], steps[:3, 1] = np.nan, np.nan
    every = [(method, least) for method in METHODS for least in (None, 1, 3)]
    hows = [Aggregation(method=method, every="h", at_least=least) for method, least in every]
    return [aggregated(how, steps) for how in hows]


# Rounded: of functions like the arctangent, the last bits are those of a processor's library.
def wind_speed(folder: Path) -> list[np.ndarray]:
    return [speed_of(VALUES.ravel() - 100, VALUES.ravel()[::-1] - 100).astype("float32")]


def wind_direction(folder: Path) -> list[np.ndarray]:
    return [from_direction_of(VALUES.ravel() - 100, VALUES.ravel()[::-1] - 100).astype("float32")]


def relative_humidity(folder: Path) -> list[np.ndarray]:
    kelvin = VALUES.ravel() / 5 + 230
    return [humidity_of(kelvin, kelvin - 4).astype("float32")]


def regridded(how: Regrid) -> np.ndarray:
    """Bring a small field with a missing value to another grid."""
    attrs = {"long_name": "v", "units": "1"}
    var = DataVar(name="v", encoding=Encoding(chunks=(1, 2)), attrs=attrs)
    rows, columns = (of.size for of in how.grid.labels().values())
    field = np.linspace(-3, 400, rows * columns).reshape(rows, columns).astype("float32")
    field[2, 3] = np.nan
    target = Target(np.arange(-90.0, 91, 18), np.arange(-170.0, 190, 24))
    out = np.empty((2, *target.shape), "float32")
    for values, at_least in zip(out, (1.0, 0.4), strict=True):
        how = Regrid(grid=how.grid, method=how.method, at_least=at_least)
        regrid_into(field, make_weights(how.grid, target, how.method), how, var, values)
    return out


def bilinear(folder: Path) -> list[np.ndarray]:
    """Interpolate between points of the globe, and of a grid about another pole."""
    globe = LatitudeLongitudeGrid(step_degrees=30)
    rotated = RotatedGrid(
        southern_pole=(-30, 10),
        first_latitude=-60,
        first_longitude=-60,
        step_degrees=20,
        shape=(7, 7),
    )
    return [regridded(Regrid(grid=grid, method="bilinear")) for grid in (globe, rotated)]


def conservative(folder: Path) -> list[np.ndarray]:
    """Take means by area."""
    return [regridded(Regrid(grid=LatitudeLongitudeGrid(step_degrees=30), method="conservative"))]


PROBES: dict[str, Callable[[Path], list[np.ndarray]]] = {
    GRIB_DECODING: grib_decoding,
    NETCDF_READING: netcdf_reading,
    SCALING: scaling,
    ROUNDING: mantissa_rounding,
    DEACCUMULATION: deaccumulation,
    INTERPOLATION: interpolation,
    PACKING: packing,
    ENCODING: encoding,
    AGGREGATION: aggregation,
    WIND_SPEED: wind_speed,
    WIND_DIRECTION: wind_direction,
    RELATIVE_HUMIDITY: relative_humidity,
    BILINEAR: bilinear,
    CONSERVATIVE: conservative,
}


def digest(arrays: list[np.ndarray]) -> str:
    """Hash values and how they are shaped, any NaN being like another."""
    total = hashlib.sha256()
    for array in arrays:
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.nan, array).astype(array.dtype)
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(EPOCHS))
def test_what_a_stage_gives_changes_only_with_its_epoch(name, tmp_path):
    """The hash of its output on a small fixed input is pinned beside its epoch."""
    pinned = json.loads(PINNED.read_text())[name]
    found = digest(PROBES[name](tmp_path))
    assert (EPOCHS[name], found) == (pinned["epoch"], pinned["sha256"]), (
        f"{name} gives other values than under epoch {pinned['epoch']}. If it is meant to, raise "
        f"its epoch in gridmill/epochs.py and pin epoch and {found} in {PINNED.name}; if not, it "
        "would change archives that go on under it"
    )


@pytest.mark.parametrize("name", sorted(EPOCHS))
def test_every_stage_notes_that_it_was_used(name, tmp_path):
    """What made a value is in the record, whoever wrote the dataset."""
    with noted_stages() as used:
        PROBES[name](tmp_path)
    assert used == {name: EPOCHS[name]}


def test_stages_are_noted_by_thread():
    """Two variables that are compressed at once do not take each other's stages for theirs."""
    with noted_stages() as used, ThreadPoolExecutor(1) as pool:
        pool.submit(note_stage, ENCODING).result()
        assert used == {}
        note_stage(SCALING)
    assert list(used) == [SCALING]
    note_stage(ENCODING)  # nobody collects: nothing happens


def record(start: int, **variables: dict[str, Any]) -> ProgressRecord:
    made = {n: VariableRecord(state="done", group=0, **v) for n, v in variables.items()}
    return ProgressRecord(dataset_id="d", start=start, stop=start + 4, variables=made)


def test_regions_are_counted_by_what_was_raised_since():
    """A region counts once for each stage, whichever of its variables went through it."""
    old, new = {"scaling": 1, "encoding": 1}, {"scaling": 2, "encoding": 1}
    records = [
        record(0, a={"epochs": old, "version": 1}, b={"epochs": old, "version": 1}),
        record(4, a={"epochs": new, "version": 2}, b={"epochs": old, "version": 2}),
        record(8, a={"epochs": new, "version": 2}, b={"epochs": new, "version": 2}),
    ]
    assert made_earlier(records, 2, {"scaling": 2, "encoding": 1}) == {
        "epoch 1 of scaling, now 2": 2,
        "version 1 of the dataset, now 2": 1,
    }
    assert made_earlier(records[2:], 2, {"scaling": 2, "encoding": 1}) == {}


def test_a_record_without_epochs_was_made_under_the_first():
    """By which stages, the other records of the variable say."""
    records = [record(0, a={}, b={}), record(4, a={"epochs": {"scaling": 2}, "version": 1}, b={})]
    assert made_earlier(records, 1, {"scaling": 2}) == {"epoch 1 of scaling, now 2": 1}
