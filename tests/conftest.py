"""Servers, clusters and real data that many tests share."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from distributed import Client
from distributed.client import _get_global_client
from hypothesis import settings

from clusters import local_client
from gridmill.testing import S3Server

with suppress(ImportError):
    # Before ecCodes, whose library brings a PROJ of its own: loaded first, it breaks this one.
    import pyproj  # noqa: F401

# No test asserts a time. In CI the same examples every time, at a desk new ones.
settings.register_profile("gridmill", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("gridmill")

# pytest adds its handlers to loggers that keep what they log to themselves, as those do that Dask
# sets up. A cluster that is to be quiet silences all handlers of these two, and no test sees a log.
for name in ("distributed", "bokeh"):
    logging.getLogger(name).handlers.clear()
    logging.getLogger(name).propagate = True

UNIT = Path(__file__).parent / "unit"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run unit tests first: later there are clusters and servers in this process."""
    items.sort(key=lambda item: UNIT not in item.path.parents)


@pytest.fixture(scope="module", autouse=True)
def _nobody_leaves_a_default_client() -> Iterator[None]:
    """What a later file computes in passing must not go to the workers of an earlier one."""
    yield
    assert _get_global_client() is None


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 endpoint for the whole run; use a bucket of your own (`public` is readable)."""
    with S3Server(public_buckets=["public"]) as server:
        yield server


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Two worker processes for the whole run; tests that kill workers start their own."""
    with local_client() as client:
        yield client


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real source files, which are no part of the project."""
    folder = os.environ.get("GRIDMILL_TEST_DATA")
    if not folder:
        pytest.skip("GRIDMILL_TEST_DATA does not name the folder of real source files")
    return Path(folder)


@pytest.fixture(scope="session")
def wfde5_archive(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """31 daily WFDE5 files under the provider's paths."""
    root = tmp_path_factory.mktemp("provider")
    script = shared_data / "S5_wfde5" / "make_nc_archive.py"
    subprocess.run([sys.executable, str(script), str(root)], check=True, capture_output=True)
    return root
