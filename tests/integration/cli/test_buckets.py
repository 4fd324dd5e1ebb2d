"""Archives in a bucket, as users of the command line and readers meet them, in both formats."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import xarray as xr

from generated import DIMS, Generated, build_archive, times_of, truth
from gridmill.cli import ExitCode
from gridmill.cli.options.creation import check_may_create
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.s3.bucket import S3Bucket
from gridmill.testing import FaultProxy, S3Server, Status
from repository import SUPPORT

FORMATS = ("zarr", "icechunk")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source files of two days."""
    return build_archive(tmp_path_factory.mktemp("source"), 2)


@pytest.fixture
def prefix() -> str:
    """A name that nobody used."""
    return uuid.uuid4().hex


def backfill(
    url: str, options: Mapping[str, Any], source: Path, *more: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `gridmill backfill` in a process of its own."""
    given = [f"--store-option={k}={v}" for k, v in options.items() if k != "client_kwargs"]
    region = f'--store-option=client_kwargs={{"region_name": "{S3Server.region}"}}'
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [
            *(sys.executable, "-m", "gridmill.cli", "backfill", "generated:Generated"),
            *("--until", "2020-01-03", "--store", url, "--source-base", str(source)),
            *("--cluster", "none", *given, region, *more),
        ],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def written(url: str, server: S3Server) -> dict[str, bytes]:
    """Give whatever is in the store and beside it."""
    found = {}
    for place in (url, f"{url}.gridmill"):
        objects = open_objects(place, storage_options=server.storage_options)
        found.update({f"{place}/{key}": objects.get(key) or b"" for key in objects.keys("")})
    return found


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("bucket", "wrong", "words"),
    [
        ("public", {"secret": "not-the-one"}, "SignatureDoesNotMatch"),
        ("nowhere", {}, "there is no bucket nowhere"),
        ("public", {"anon": True, "key": None, "secret": None}, "may not do that in bucket public"),
    ],
    ids=["wrong credentials", "missing bucket", "read-only bucket"],
)
def test_a_store_that_cannot_be_written(
    bucket: str,
    wrong: dict[str, Any],
    words: str,
    format_: str,
    prefix: str,
    source: Path,
    s3_server: S3Server,
) -> None:
    """One line says why, the exit code says that it is the store, and nothing is half published."""
    options = {**s3_server.storage_options, **wrong}
    done = backfill(f"s3://{bucket}/{prefix}", options, source, "--format", format_)
    assert done.returncode == ExitCode.UNWRITABLE, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert words in line
    assert line.startswith("error: ")
    if bucket == "public":
        assert not written(f"s3://{bucket}/{prefix}", s3_server)


@pytest.fixture
def full(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A server whose disk is full when data comes."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        proxy.inject("*/c/*", Status(status=507), method="PUT", times=None)
        yield proxy


@pytest.mark.parametrize("format_", FORMATS)
def test_an_update_of_an_address_that_looks_misspelt_stops(
    s3_server: S3Server, source: Path, prefix: str, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the archive beside it, after one listing of what is there; --create makes one."""
    here = f"s3://public/{prefix}"
    right, wrong = (f"{here}/{name}.{format_}" for name in ("forecast", "forcast"))
    options = s3_server.storage_options
    dataset = Generated(right, source_base=str(source), storage_options=options, format=format_)
    dataset.backfill("2020-01-02", client="none")
    new = Generated(wrong, source_base=str(source), storage_options=options, format=format_)
    listed: list[str] = []
    page = S3Bucket.page

    def page_noted(self: S3Bucket, below: str, wanted: Mapping[str, str]) -> dict[str, Any]:
        listed.append(below)
        return page(self, below, wanted)

    monkeypatch.setattr(S3Bucket, "page", page_noted)
    with pytest.raises(ValueError, match=f"but at {right}: is that the one"):
        check_may_create(new, None, options=options)
    assert [one for one in listed if ".gridmill" not in one] == [f"{prefix}/"]
    check_may_create(new, True, options=options)
    other = Generated(f"{here}/another.{format_}", storage_options=options, format=format_)
    check_may_create(other, None, options=options)
    # Who may not list makes one, as ever; and a bucket may be an archive of its own.
    check_may_create(new, None, options={**options, "secret": "wrong"})


def test_a_server_without_space(
    full: FaultProxy, prefix: str, source: Path, s3_server: S3Server
) -> None:
    """A full disk at the server is not retried for minutes: it is told, and nothing is shown."""
    url = f"s3://public/{prefix}/a.zarr"
    options = {**s3_server.storage_options, "endpoint_url": full.url}
    done = backfill(url, options, source)
    assert done.returncode == ExitCode.FAILED, done.stderr
    assert "HTTP 507" in done.stdout + done.stderr
    assert not [key for key in written(url, s3_server) if "/c/" in key]
    again = backfill(url, s3_server.storage_options, source)
    assert again.returncode == ExitCode.SUCCESS, again.stderr
    assert_true(xr.open_zarr(url, storage_options=reading(s3_server)))


@pytest.mark.parametrize("format_", FORMATS)
def test_no_credential_is_in_what_a_run_leaves(
    format_: str, prefix: str, source: Path, tmp_path: Path, s3_server: S3Server
) -> None:
    """Not in output or logs, however verbose, not in the store, a record, a report or a tmp file.

    Then anyone opens the archive with the README's line, where the bucket lets anyone read.
    """
    url = f"s3://public/{prefix}/a.{format_}"
    (tmp_path / "tmp").mkdir()
    done = backfill(
        *(url, s3_server.storage_options, source, "--format", format_, "--debug"),
        TMPDIR=str(tmp_path / "tmp"),
    )
    assert done.returncode == ExitCode.SUCCESS, done.stderr
    left = written(url, s3_server)
    assert any("/runs/" in key for key in left)
    assert any("/regions/" in key for key in left)
    left |= {str(p): p.read_bytes() for p in (tmp_path / "tmp").rglob("*") if p.is_file()}
    left |= {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    assert not [key for key, content in left.items() if s3_server.secret_key.encode() in content]
    with open_as_anyone(url, format_, s3_server) as ds:
        assert_true(ds)


def reading(server: S3Server) -> dict[str, Any]:
    """Give the options of a reader without credentials."""
    options = server.storage_options
    return {"anon": True, **{k: options[k] for k in ("endpoint_url", "client_kwargs")}}


def open_as_anyone(url: str, format_: str, server: S3Server) -> xr.Dataset:
    """Open an archive as the README tells readers to."""
    if format_ == "zarr":
        return xr.open_zarr(url, storage_options=reading(server))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    storage = icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix,
        region=server.region,
        endpoint_url=server.endpoint_url,
        allow_http=True,
        force_path_style=True,
        anonymous=True,
    )
    repo = icechunk.Repository.open(storage)
    return xr.open_zarr(repo.readonly_session("main").store, consolidated=False)


def assert_true(ds: xr.Dataset) -> None:
    """Compare every value of two days with the formula."""
    assert ds.sizes["time"] == len(times_of(2))
    for name, dims in DIMS.items():
        wanted = truth(name, times_of(2) if "time" in dims else None)
        np.testing.assert_array_equal(ds[name].values, wanted)
