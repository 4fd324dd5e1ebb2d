"""The main job on a file system of fsspec's that has no conditional put."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np

from clusters import local_client
from tiny import Provider, Tiny, hours, truth, until


def test_an_archive_grows_and_resumes_where_nothing_is_conditional(tmp_path: Path) -> None:
    """A backfill, its rerun and an update on memory:// give what the provider has."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    # The memory is that of this process, so the workers are its threads.
    dataset = Tiny(f"memory://{uuid.uuid4().hex}/a.zarr", source_base=str(provider.root))
    with local_client(n_workers=1, processes=False) as client:
        assert dataset.backfill(until(8), client=client).positions_after == 8
        assert dataset.backfill(until(8), client=client).variables_done == 0
        provider.publish(hours(10))
        update = dataset.reformat_operational_update(now=until(10), client=client)
    assert update.succeeded
    ds = dataset.store.open_dataset()
    assert ds.sizes["time"] == 10
    for name in "ab":
        # Not on the workers of other tests' clusters: they have another memory.
        values = ds[name].compute(scheduler="synchronous").values
        np.testing.assert_array_equal(values, truth(hours(10), name))
    assert not list(dataset.store.state.keys("leases"))
