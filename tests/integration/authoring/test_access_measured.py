"""What `gridmill layout` says that reads cost, counted at a server that answers after 50 ms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore

from gridmill.authoring.encoding.access import ROUND_TRIP_S, cost_of
from gridmill.authoring.encoding.chunking import Cut
from web_files import WebFiles

SHAPE = (96, 24, 24)
CUTS = {
    "long in time": Cut((48, 6, 6), (96, 12, 12), 4),
    "maps": Cut((1, 12, 24), (24, 24, 24), 4),
}
READS = {"point series": (96, 1, 1), "map": (1, 24, 24)}


@pytest.mark.parametrize("is_sharded", [True, False])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("name", CUTS)
def test_the_computed_requests_are_those_of_zarr(
    name: str, read: str, is_sharded: bool, tmp_path: Path
) -> None:
    """No more requests, and the bytes of whole chunks with the indexes of their shards."""
    cut = CUTS[name]
    zarr.create_array(
        tmp_path / "a.zarr",
        data=np.arange(np.prod(SHAPE), dtype="float32").reshape(SHAPE),
        chunks=cut.chunks,
        shards=cut.shards if is_sharded else None,
        compressors=None,
    )
    wanted = READS[read]
    cost = cost_of(read, wanted, cut, is_sharded=is_sharded)
    with WebFiles(tmp_path, latency_s=ROUND_TRIP_S) as server:
        array = zarr.open_array(FsspecStore.from_url(f"{server.url}/a.zarr"), mode="r")
        server.requests.clear()
        array[tuple(slice(0, n) for n in wanted)]
        asked = [nbytes for method, _, nbytes in server.requests if method == "GET"]
    assert cost.shards < len(asked) <= cost.requests
    if not is_sharded:
        assert len(asked) == cost.requests
    raw = cost.chunks * cut.chunk_nbytes
    index = cost.shards * (16 * np.prod(np.divide(cut.shards, cut.chunks)) + 4)
    assert raw <= sum(asked) <= raw + index
