"""Readers open each kind of store with the guide's one-liner, and need nothing of gridmill."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from generated import DIMS, START, Generated, build_archive, truth
from gridmill.testing import S3Server
from repository import ROOT

PAGE = (ROOT / "docs" / "guides" / "stores.md").read_text()
# A process without gridmill, without credentials, and with an endpoint as AWS' tools take it.
READER = """
import sys
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "gridmill":
            raise AssertionError("readers have no gridmill")

sys.meta_path.insert(0, Nothing())
import xarray as xr
{before}
ds = {opening}
ds.load().to_netcdf(sys.argv[1])
"""
LOCAL_REPO = """
import icechunk
repo = icechunk.Repository.open(icechunk.local_filesystem_storage({url!r}))
"""
S3_REPO = """
import icechunk
storage = icechunk.s3_storage(
    bucket="public", prefix={prefix!r}, region="us-east-1", endpoint_url={endpoint!r},
    allow_http=True, force_path_style=True, anonymous=True,
)
repo = icechunk.Repository.open(storage)
"""


def one_liners() -> dict[str, str]:
    """Give how the guide's table opens each kind of store, by what it shows for --store."""
    rows = re.findall(r"^\| (`[^|]*) \| `\w+`[^|]*\| `(xr\.open_zarr\([^|]*\))` \|$", PAGE, re.M)
    return {store.partition("`")[2].partition("`")[0]: line for store, line in rows}


@pytest.fixture(scope="module")
def archives(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, client: Client
) -> dict[str, str]:
    """The same archive in every kind of store, by kind: a primary and three replicas."""
    folder = tmp_path_factory.mktemp("readers")
    bucket = f"s3://public/{uuid.uuid4().hex}"
    urls = {
        "zarr": str(folder / "a.zarr"),
        "icechunk": str(folder / "a.icechunk"),
        "s3 zarr": f"{bucket}/a.zarr",
        "s3 icechunk": f"{bucket}/a.icechunk",
    }
    primary, *others = urls.values()
    options = {"storage_options": s3_server.storage_options}
    dataset = Generated(
        primary,
        source_base=str(build_archive(folder / "provider", 2)),
        replicas=[{"url": url, **(options if "://" in url else {})} for url in others],
    )
    until = pd.Timestamp(START) + pd.Timedelta(days=2)
    assert dataset.backfill(until, client=client).succeeded
    return urls


@pytest.mark.parametrize("kind", ["zarr", "s3 zarr", "icechunk", "s3 icechunk"])
def test_the_guides_one_liner_opens_it(
    kind: str, archives: dict[str, str], s3_server: S3Server, tmp_path: Path
) -> None:
    """Without gridmill, and in a bucket without credentials, it gives every value."""
    url, lines = archives[kind], one_liners()
    before = ""
    if kind == "zarr":
        opening = lines["/data/sst.zarr"].replace("/data/sst.zarr", url)
    elif kind == "s3 zarr":
        opening = lines["s3://bucket/sst.zarr"].replace("s3://bucket/sst.zarr", url)
    else:
        opening = lines["/data/sst"]
        prefix = url.removeprefix("s3://public/")
        shape = S3_REPO if "://" in url else LOCAL_REPO
        before = shape.format(url=url, prefix=prefix, endpoint=s3_server.endpoint_url)
    seen = tmp_path / "seen.nc"
    secrets = {name for name in os.environ if name.startswith("AWS_")}
    environment = {k: v for k, v in os.environ.items() if k not in secrets}
    subprocess.run(
        [sys.executable, "-c", READER.format(before=before, opening=opening), str(seen)],
        env={
            **environment,
            "AWS_ENDPOINT_URL": s3_server.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(tmp_path),
        },
        check=True,
        timeout=120,
    )
    with xr.open_dataset(seen) as ds:
        times = ds.get_index("time")
        assert len(times) == 8
        for name in DIMS:
            expected = truth(name, times if "time" in DIMS[name] else None)
            np.testing.assert_array_equal(ds[name].values, expected)
