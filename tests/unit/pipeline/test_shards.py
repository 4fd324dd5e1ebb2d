"""Objects that are put together from pieces are what zarr reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import gridmill.pipeline.shards
from gridmill.pipeline.shards import ObjectWriter


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
    location = data.draw(st.sampled_from(["end", "start"]))
    whole = {"shape": shards, "index_location": location}
    make_array(folder, shape, tuple(chunk), whole if sharded else None)
    metadata = metadata_of(folder)
    (folder / "out").mkdir()
    writer = ObjectWriter(folder / "out", "a", metadata)
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    rest = tuple(slice(0, n) for n in shape[1:])
    for start in range(0, shape[0], chunk[0]):
        target = (slice(start, min(start + chunk[0], shape[0])), *rest)
        writer.write(target, values[target])
    keys = writer.keys
    lengths = {key: data.draw(st.integers(0, 2000)) for key in keys}
    writer.close(lengths)
    if sharded:
        assert all((folder / "out" / key).stat().st_size >= n for key, n in lengths.items())
    (folder / "out" / "a" / "zarr.json").write_text(json.dumps(metadata))
    found = zarr.open_array(zarr.storage.LocalStore(folder / "out"), path="a", mode="r")
    np.testing.assert_array_equal(found[...], values)
    grid = shards if sharded else chunk
    assert len(keys) == np.prod([-(-n // m) for n, m in zip(shape, grid, strict=True)])


def write_whole(folder: Path, array: zarr.Array, values: np.ndarray) -> dict[str, bytes]:
    """Write an array in one piece; give its objects."""
    folder.mkdir()
    writer = ObjectWriter(folder, "a", json.loads(json.dumps(array.metadata.to_dict())))
    writer.write(tuple(slice(0, n) for n in values.shape), values)
    writer.close()
    return {key: (folder / key).read_bytes() for key in writer.keys}


@st.composite
def layouts(draw: st.DrawFn) -> dict:
    """Draw what `zarr.create_array` takes: any rank, ragged edges, dtypes, fills and codecs."""
    chunks = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    dtype = draw(st.sampled_from(["float32", "float64", "int16", "uint8"]))
    blosc = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3}}
    zstd = {"name": "zstd", "configuration": {"level": 1}}  # gzip writes the time into its bytes
    turned = {"name": "transpose", "configuration": {"order": [*reversed(range(len(chunks)))]}}
    endian = draw(st.sampled_from(["little", "big"]))
    return {
        "shape": tuple(draw(st.integers(1, 9)) for _ in chunks),
        "chunks": chunks,
        "dtype": dtype,
        "fill_value": draw(st.sampled_from([np.nan, 7] if dtype.startswith("f") else [0, 7])),
        "filters": [turned] * draw(st.booleans()),
        "serializer": {"name": "bytes", "configuration": {"endian": endian}},
        "compressors": draw(st.sampled_from([(blosc, {"name": "crc32c"}), (zstd,), ()])),
        "config": {"write_empty_chunks": True},
    }


@settings(deadline=None, max_examples=60)
@given(layout=layouts(), data=st.data())
def test_chunks_have_the_bytes_that_zarr_writes(
    tmp_path_factory: pytest.TempPathFactory, layout: dict, data: st.DataObject
) -> None:
    """Every chunk, ragged or filled, is what zarr makes of it, whichever way it is encoded."""
    folder = tmp_path_factory.mktemp("store")
    values = np.full(layout["shape"], layout["fill_value"], layout["dtype"])
    values.reshape(-1)[data.draw(st.integers(0, 2)) :: 3] = 5
    stored: dict = {}
    zarr.create_array(zarr.storage.MemoryStore(stored), name="a", **layout)[...] = values
    expected = {key: bytes(buffer.as_numpy_array()) for key, buffer in stored.items()}
    shards = tuple(data.draw(st.integers(1, 3)) * n for n in layout["chunks"]) or None
    plain = zarr.create_array(zarr.storage.MemoryStore(), name="a", **layout)
    sharded = zarr.create_array(zarr.storage.MemoryStore(), name="a", **layout, shards=shards)
    chunks = write_whole(folder / "chunks", plain, values)
    assert chunks == {key: expected[key] for key in expected if not key.endswith(".json")}
    objects = write_whole(folder / "shards", sharded, values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gridmill.pipeline.shards, "_encode_at_once", lambda array, buffer: None)
        assert write_whole(folder / "chunks-by-zarr", plain, values) == chunks
        assert write_whole(folder / "shards-by-zarr", sharded, values) == objects


def test_a_codec_that_cannot_work_at_once_is_left_to_zarr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a codec says of itself decides; the objects are the same."""
    array = zarr.create_array(
        zarr.storage.MemoryStore(), name="a", shape=(4,), chunks=(2,), dtype="float32"
    )
    values = np.arange(4, dtype="float32")
    expected = write_whole(tmp_path / "at-once", array, values)

    monkeypatch.setattr(zarr.codecs.ZstdCodec, "_sync_capable", False, raising=False)
    assert gridmill.pipeline.shards._encode_at_once(array, values[:2]) is None
    assert write_whole(tmp_path / "by-zarr", array, values) == expected


def test_a_damaged_index_is_noticed(tmp_path: Path) -> None:
    """The index carries a checksum that zarr verifies."""
    make_array(tmp_path, (4,), (2,), (4,))
    metadata = metadata_of(tmp_path)
    (tmp_path / "out").mkdir()
    writer = ObjectWriter(tmp_path / "out", "a", metadata)
    writer.write((slice(0, 4),), np.arange(4, dtype="float32"))
    writer.close()
    (key,) = writer.keys
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
    metadata["codecs"][0]["configuration"]["index_codecs"].reverse()
    with pytest.raises(ValueError, match="'a'"):
        ObjectWriter(tmp_path / "out", "a", metadata)
