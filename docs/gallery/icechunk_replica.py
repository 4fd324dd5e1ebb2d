"""Icechunk, with a replica in plain Zarr.

The dataset does not know where it is stored. Here the archive is an Icechunk repository, where
each update is one commit, and a plain Zarr replica is published before it.
"""

from pathlib import Path

import icechunk
import xarray as xr
from daily import Daily, write_source


def main(folder: Path) -> xr.Dataset:
    """Build both, and read both."""
    source = folder / "source"
    source.mkdir()
    write_source(source)
    dataset = Daily(
        folder / "daily.icechunk",
        format="icechunk",
        source_base=str(source),
        replicas=[str(folder / "replica.zarr")],
    )
    dataset.backfill("2025-01-11")
    dataset.reformat_operational_update(now="2025-01-21")
    storage = icechunk.local_filesystem_storage(str(folder / "daily.icechunk"))
    repository = icechunk.Repository.open(storage)
    stored = xr.open_zarr(repository.readonly_session("main").store, consolidated=False)
    replica = xr.open_zarr(folder / "replica.zarr")
    xr.testing.assert_equal(stored.load(), replica.load())
    earlier = [snapshot.id for snapshot in repository.ancestry(branch="main")][1]
    before = xr.open_zarr(
        repository.readonly_session(snapshot_id=earlier).store, consolidated=False
    )
    assert before.sizes["time"] < stored.sizes["time"]  # readers of a snapshot keep it
    return stored
