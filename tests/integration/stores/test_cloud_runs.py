"""Whole runs on Google Cloud Storage and Azure: with faults, in both formats, as the source."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from azurite import Azurite, azurite_script
from gcs_server import GcsServer
from generated import DIMS, Generated, build_archive, times_of, truth
from gridmill.stores.state.leases import LeaseHeld
from gridmill.testing import ArchiveServer, FaultProxy, LostAnswer, Reset, Status

DAYS = 4


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The provider's files."""
    return build_archive(tmp_path_factory.mktemp("provider"), DAYS)


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsServer]:
    """Google Cloud Storage, as documented."""
    with GcsServer() as server:
        server.page = 1000
        yield server


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    """Azure's emulator."""
    if azurite_script() is None:
        pytest.skip("no Azurite: npm install azurite, and GRIDMILL_AZURITE names it")
    with Azurite() as server:
        yield server


@pytest.fixture(params=["gcs", "azure"])
def cloud(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any], FaultProxy]]:
    """A bucket behind a proxy that can fail: its URL, its options and the proxy."""
    server = request.getfixturevalue(request.param)
    with FaultProxy(server.url) as proxy:
        if request.param == "gcs":
            yield "gs://bucket", {**server.storage_options, "base_url": proxy.url}, proxy
        else:
            yield "abfs://container", server.options_through(proxy.url), proxy


def assert_whole(dataset: Generated, days: int) -> None:
    """Compare all values that a reader sees with the formula."""
    with dataset.store.open_dataset() as ds:
        assert ds.sizes["time"] == 4 * days
        check(ds)


def check(ds: xr.Dataset) -> None:
    """Compare all values of a dataset with the formula."""
    times = ds.get_index("time")
    assert times.equals(times_of(DAYS)[: len(times)])
    for name in DIMS:
        wanted = truth(name, times if "time" in DIMS[name] else None)
        np.testing.assert_array_equal(ds[name].values, wanted)


@pytest.mark.parametrize("ending", ["zarr", "icechunk"])
def test_a_run_outlives_what_a_cloud_does_to_it(
    cloud: tuple[str, dict[str, Any], FaultProxy], ending: str, archive: Path, client: Client
) -> None:
    """Throttling, resets and lost answers delay it; what is done is not done again."""
    bucket, options, proxy = cloud
    url = f"{bucket}/{uuid.uuid4().hex}.{ending}"
    with ArchiveServer(archive) as provider:
        provider.release_all()
        dataset = Generated(url, source_base=provider.url, storage_options=options)
        for fault, times in [(Status(status=503), 6), (Reset(), 3), (LostAnswer(), 3)]:
            proxy.inject(
                "*/c/*" if ending == "zarr" else "*chunks*", fault, method="PUT", times=times
            )
            proxy.inject("*gridmill*", fault, method="PUT", times=2)
        assert dataset.backfill("2020-01-03", client=client).succeeded
        assert_whole(dataset, 2)
        asked = len(provider.requests)
        assert dataset.backfill("2020-01-03", client=client).variables_done == 0
        assert len(provider.requests) == asked
        assert dataset.reformat_operational_update(client=client, now="2020-01-05").succeeded
        assert_whole(dataset, DAYS)


def test_a_second_run_is_told_who_holds_the_archive(
    cloud: tuple[str, dict[str, Any], FaultProxy], archive: Path, client: Client
) -> None:
    """Leases hold in a cloud as they do elsewhere."""
    from gridmill.operations.maintenance import by_hand

    bucket, options, _ = cloud
    url = f"{bucket}/{uuid.uuid4().hex}.zarr"
    dataset = Generated(url, source_base=str(archive), storage_options=options)
    dataset.backfill("2020-01-02", client=client)
    with by_hand(dataset, "truncate"), pytest.raises(LeaseHeld, match="held by the truncate"):
        dataset.backfill("2020-01-03", client=client)
    assert dataset.backfill("2020-01-03", client=client).succeeded
    assert_whole(dataset, 2)
