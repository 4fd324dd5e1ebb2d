"""A process that wrote to a bucket and read from it ends without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zarr

from azurite import Azurite, azurite_script
from gridmill.stores.objects.opening import open_objects
from quirky_s3 import QuirkyS3, as_aws
from tiny import Provider, hours

SUPPORT = Path(__file__).parents[2] / "support"
WRITES = """
import json, sys
from gridmill.operations.statistics.gathering import read_statistics
from gridmill.operations.statistics.publishing import write_statistics
from tiny import Tiny, until

source, bucket, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
dataset = Tiny(f"{bucket}/a.zarr", source_base=source, storage_options=options)
assert dataset.backfill(until(4), client="none").succeeded
for _ in range(2):
    found = read_statistics(dataset, now=until(24))
    write_statistics(found, f"{bucket}/statistics.zarr", options)
with dataset.store.open_dataset() as ds:
    assert ds.sizes["time"] == 4
try:
    write_statistics(found, f"{bucket}/a.zarr", options)
except ValueError as error:
    print(error)
"""


@pytest.fixture(params=["s3", "az"])
def bucket(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict]]:
    """A bucket's address, and the options by which it is reached."""
    if request.param == "s3":
        with QuirkyS3(as_aws) as server:
            yield "s3://bucket", server.storage_options
        return
    pytest.importorskip("obstore")
    pytest.importorskip("adlfs")
    if azurite_script() is None:
        pytest.skip("Azurite is not installed: npm install azurite")
    with Azurite() as azurite:
        yield f"az://{azurite.container}", azurite.storage_options


def test_a_process_ends_without_a_word(bucket, tmp_path):
    """Neither of a session that a loop cannot close, nor of one that nobody did."""
    url, options = bucket
    Provider(tmp_path / "source").publish(hours(4))
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    arguments = [str(tmp_path / "source"), url, json.dumps(options)]
    done = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-c", WRITES, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "a.zarr holds something else than statistics" in done.stdout
    group = zarr.open_group(
        open_objects(f"{url}/statistics.zarr", storage_options=options).as_zarr(), mode="r"
    )
    assert group.attrs["variables"] == ["a", "b"]
    assert group["count"][:].tolist() == [24, 24]
