"""Objects that are put together from pieces are what zarr reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridmill.shards import ObjectWriter


def make_array(folder: Path, shape, chunks, shards) -> None:
    """Make an array's metadata as zarr does, with a compressor and a checksum."""
    zarr.create_array(
        zarr.storage.LocalStore(folder),
        name="a",
        shape=shape,
        chunks=chunks,
        shards=shards,
        dtype="float32",
        fill_value=np.nan,
        compressors=[{"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}],
    )


def metadata_of(folder: Path) -> dict:
    """Read the array's metadata."""
    return json.loads((folder / "a" / "zarr.json").read_text())


@settings(deadline=None, max_examples=60)
@given(
    chunk=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    data=st.data(),
)
def test_zarr_reads_what_was_written_in_pieces(
    tmp_path_factory: pytest.TempPathFactory, chunk: list[int], data: st.DataObject
) -> None:
    """Any array, sharded or not, written chunk row by chunk row, reads back as its values."""
    folder = tmp_path_factory.mktemp("store")
    shape = tuple(data.draw(st.integers(1, 12)) for _ in chunk)
    shards = tuple(data.draw(st.integers(1, 3)) * n for n in chunk)
    sharded = data.draw(st.booleans())
    make_array(folder, shape, tuple(chunk), shards if sharded else None)
    metadata = metadata_of(folder)
    (folder / "out").mkdir()
    writer = ObjectWriter(folder / "out", "a", metadata)
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    rest = tuple(slice(0, n) for n in shape[1:])
    for start in range(0, shape[0], chunk[0]):
        target = (slice(start, min(start + chunk[0], shape[0])), *rest)
        writer.write(target, values[target])
    keys = writer.close()
    (folder / "out" / "a" / "zarr.json").write_text(json.dumps(metadata))
    found = zarr.open_array(zarr.storage.LocalStore(folder / "out"), path="a", mode="r")
    np.testing.assert_array_equal(found[...], values)
    grid = shards if sharded else chunk
    assert len(keys) == np.prod([-(-n // m) for n, m in zip(shape, grid, strict=True)])


def test_a_damaged_index_is_noticed(tmp_path: Path) -> None:
    """The index carries a checksum that zarr verifies."""
    make_array(tmp_path, (4,), (2,), (4,))
    metadata = metadata_of(tmp_path)
    (tmp_path / "out").mkdir()
    writer = ObjectWriter(tmp_path / "out", "a", metadata)
    writer.write((slice(0, 4),), np.arange(4, dtype="float32"))
    (key,) = writer.close()
    content = bytearray((tmp_path / "out" / key).read_bytes())
    content[-10] ^= 1
    (tmp_path / "out" / key).write_bytes(content)
    (tmp_path / "out" / "a" / "zarr.json").write_text(json.dumps(metadata))
    array = zarr.open_array(zarr.storage.LocalStore(tmp_path / "out"), path="a", mode="r")
    with pytest.raises(ValueError, match="checksum"):
        array[...]


def test_another_index_is_refused(tmp_path: Path) -> None:
    """Shards whose index this writer does not make are refused by name."""
    make_array(tmp_path, (4,), (2,), (4,))
    metadata = metadata_of(tmp_path)
    metadata["codecs"][0]["configuration"]["index_location"] = "start"
    with pytest.raises(ValueError, match="'a'"):
        ObjectWriter(tmp_path / "out", "a", metadata)
