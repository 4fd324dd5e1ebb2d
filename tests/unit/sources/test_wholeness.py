"""A file that lost its end is not taken for one that is whole."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridmill.sources.wholeness import CHUNK_NBYTES, classic_nbytes, hdf5_nbytes, lacks

CLASSIC = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")
TYPES = ("i1", "i2", "i4", "f4", "f8", "S1")


def write(path: Path, kind: str, variables: list[tuple[str, bool, int]], n_records: int) -> bytes:
    """Write variables (dtype, whether along records, length), and return the file's bytes."""
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.createDimension("record", None)
        file.title = "x" * len(variables)
        for number, (dtype, has_records, length) in enumerate(variables):
            file.createDimension(f"d{number}", length)
            dims = ("record", f"d{number}") if has_records else (f"d{number}",)
            stored = file.createVariable(f"v{number}", dtype, dims)
            stored.units = "1"
            shape = (n_records, length) if has_records else (length,)
            stored[...] = np.full(shape, b"a" if dtype == "S1" else 1, dtype)
    return path.read_bytes()


def said_of(content: bytes, folder: Path) -> str:
    """Say what the file of these bytes lacks."""
    path = folder / "cut"
    path.write_bytes(content)
    with path.open("r+b") as file:
        return lacks(file, len(content))


variables = st.lists(
    st.tuples(st.sampled_from(TYPES), st.booleans(), st.integers(1, 5)), min_size=1, max_size=4
)


@pytest.mark.parametrize("kind", CLASSIC)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variables, st.integers(1, 3), st.data())
def test_no_part_of_a_classic_file_is_taken_for_all_of_it(tmp_path, kind, variables, n, data):
    """Whatever is cut off, up to what only fills the last value up to four bytes."""
    content = write(tmp_path / "a.nc", kind, variables, n)
    needed = classic_nbytes(io.BytesIO(content), len(content))
    assert needed <= len(content) < needed + 4
    assert said_of(content, tmp_path) == said_of(content + b"\0" * 9, tmp_path) == ""
    cut = data.draw(st.integers(8, needed - 1))
    assert f"{cut:,} bytes" in said_of(content[:cut], tmp_path)


def test_a_classic_file_that_is_cut_reads_as_something_else(tmp_path):
    """The library says nothing: that is why the header is asked."""
    content = write(tmp_path / "a.nc", CLASSIC[0], [("f4", False, 1000)], 1)
    (tmp_path / "cut.nc").write_bytes(content[: len(content) // 2])
    with netCDF4.Dataset(tmp_path / "cut.nc") as file:
        assert not (file["v0"][:] == 1).all()
    assert "its netCDF header says that it needs" in said_of(content[:2000], tmp_path)


def test_records_that_nobody_counted_are_not_asked_for(tmp_path):
    """Who streams a file does not know how many there will be."""
    content = write(tmp_path / "a.nc", CLASSIC[0], [("f4", True, 4), ("i2", True, 3)], 2)
    streamed = content[:4] + b"\xff" * 4 + content[8:]
    assert said_of(streamed[: len(content) - 20], tmp_path) == ""


@pytest.mark.parametrize("cut", [8, 40, 100, -1])
def test_no_part_of_an_hdf5_file_is_taken_for_all_of_it(tmp_path, cut):
    """Its superblock knows where it ends."""
    content = write(tmp_path / "a.nc", "NETCDF4", [("f4", False, 1000)], 1)
    assert hdf5_nbytes(io.BytesIO(content)) <= len(content)
    assert said_of(content, tmp_path) == said_of(content + b"more", tmp_path) == ""
    assert said_of(content[:cut], tmp_path) != ""


@pytest.mark.parametrize(
    ("version", "first", "width"), [(0, 24, 8), (1, 28, 8), (2, 12, 8), (3, 12, 4)]
)
def test_every_superblock_is_understood(tmp_path, version, first, width):
    """Of version 0 to 3, with offsets of any width."""
    sizes = bytes([0, 0, 0, 0, width, 8, 0]) if version < 2 else bytes([width, 8, 0])
    start = b"\x89HDF\r\n\x1a\n" + bytes([version]) + sizes
    block = start.ljust(first + 2 * width, b"\0") + (5000).to_bytes(width, "little")
    assert "needs 5,000" in said_of(block.ljust(4999, b"\0"), tmp_path)
    assert said_of(block.ljust(5000, b"\0"), tmp_path) == ""


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"CDF\x01", b"\x89HDF\r\n\x1a\n", b"GRIB", b"CDF\x05"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_arrives_is_judged(tmp_path, rest, start):
    """No bytes make it fail or go on for ever."""
    assert isinstance(said_of(start + rest, tmp_path), str)


class Counted(io.BytesIO):
    """Counts what is read of it."""

    n_reads = n_bytes = 0

    def read(self, size=-1):
        self.n_reads += 1
        found = super().read(size)
        self.n_bytes += len(found)
        return found


@pytest.mark.parametrize("kind", CLASSIC)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variables, st.data())
def test_a_damaged_header_costs_no_time_and_no_memory(tmp_path, kind, variables, data):
    """Whatever number a byte makes of it: no loop beyond what the file can hold, no large read."""
    content = bytearray(write(tmp_path / "a.nc", kind, variables, 1))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    content += bytes(1_000_000)
    file = Counted(bytes(content))
    assert isinstance(lacks(file, len(content)), str)
    assert file.n_bytes < 10 * len(content)
    assert file.n_reads < len(content)


def test_what_is_absent_has_no_elements(tmp_path):
    """Zeros that name a billion attributes are no header."""
    content = write(tmp_path / "a.nc", CLASSIC[0], [("f4", False, 4)], 1)
    at = content.index(b"\0\0\0\x0c")
    damaged = content[:at] + b"\0\0\0\0" + b"\x3f\xff\xff\xff" + content[at + 8 :]
    assert "its header has 1,073,741,823 elements of the kind 0, not 12" in said_of(
        damaged, tmp_path
    )


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_user_block_hides_no_missing_end(tmp_path, libver):
    """HDF5 may begin after 512, 1024, 2048, … bytes of something else."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=2048, libver=libver) as file:
        file["a"] = np.arange(1000)
    content = path.read_bytes()
    assert lacks(io.BytesIO(content), len(content)) == ""
    cut = content[:-100]
    assert "its HDF5 superblock" in lacks(io.BytesIO(cut), len(cut))


def with_heap(path: Path, words: list[str]) -> bytearray:
    """Write an HDF5 file whose attribute lies in a global heap, and return its bytes."""
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(3))
        file.attrs.create("words", words, dtype=h5py.string_dtype())
    return bytearray(path.read_bytes())


def objects_of(content: bytearray) -> list[int]:
    """Return where the lengths of the first heap's objects are; the last one is free space."""
    heap = content.index(b"GCOL")
    end, at, found = heap + int.from_bytes(content[heap + 8 : heap + 16], "little"), heap + 16, []
    while at + 16 <= end:
        found.append(at + 8)
        number = int.from_bytes(content[at : at + 2], "little")
        nbytes = int.from_bytes(content[at + 8 : at + 16], "little")
        at += 16 + -(-nbytes // 8) * 8 if number else nbytes
    return found


@pytest.mark.parametrize("begins", [0, 2 * CHUNK_NBYTES, CHUNK_NBYTES - 4])
@pytest.mark.parametrize("length", [0, (1 << 64) - 16, (1 << 64) - 1])
def test_a_heap_that_hdf5_would_follow_for_ever_is_found(tmp_path, length, begins):
    """Wherever it lies: the library never comes back, and all wait for it."""
    content = with_heap(tmp_path / "a.h5", ["one", "two"])
    *used, free = objects_of(content)
    at = free if length in (0, (1 << 64) - 1) else used[0]
    content[at : at + 8] = length.to_bytes(8, "little")
    heap = content.index(b"GCOL")
    begins = max(begins, heap)  # the last time the mark lies across what is looked through at once
    damaged = bytes(content[:heap]).ljust(begins, b"\0") + bytes(content[heap:])
    told = lacks(io.BytesIO(damaged), len(damaged))
    assert told == f"its HDF5 heap at byte {begins:,} has an object of length {length:,}"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0")), max_size=300))
def test_no_heap_of_a_whole_file_is_refused(tmp_path, words):
    """However many objects it has, and if it lies across what is looked through at a time."""
    content = with_heap(tmp_path / "a.h5", words)
    assert lacks(io.BytesIO(content), len(content)) == ""
    assert lacks(io.BytesIO(content + b"GCOL\x01\0\0\0"), len(content) + 8) == ""
