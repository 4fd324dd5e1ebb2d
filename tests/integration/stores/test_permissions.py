"""Buckets whose keys may not be listed, and what a writer is told that may not do something."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import s3fs
import xarray as xr
import zarr

from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Completeness, Coordinate
from gridmill.operations.catalogue.opening import Way
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.s3.objects import S3Objects
from quirky_s3 import QuirkyS3, as_aws
from repository import ROOT
from tiny import Provider, TinyTemplate, dataset_of, hours, truth, until

PAGE = (ROOT / "docs" / "buckets.md").read_text()


class Template(TinyTemplate):
    """Coordinates of zeros, which are their fill: of no dim, of a grid's, along the append dim."""

    coords = (
        *TinyTemplate.coords,
        Coordinate(name="spatial_ref", dims=(), dtype="int32"),
        Coordinate(name="surface", dims=("x",), dtype="int32"),
        Coordinate(name="cycle", dims=("time",), dtype="int16"),
        Completeness(dims=("time",)),
    )

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Give zeros."""
        return {
            "spatial_ref": ((), np.int32(0)),
            "surface": (("x",), np.zeros(ds.sizes["x"], "int32")),
            "cycle": (("time",), np.zeros(ds.sizes["time"], "int16")),
        }


Zeros = dataset_of(template=Template)


@pytest.fixture
def server() -> Iterator[QuirkyS3]:
    """A bucket that behaves as AWS' do."""
    with QuirkyS3(as_aws) as server:
        yield server


@pytest.fixture
def made(server: QuirkyS3, tmp_path: Path) -> DynamicalDataset:
    """An archive of one and a half shards, of which a file is missing."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    url = f"s3://bucket/{uuid.uuid4().hex}/a.zarr"
    options = {"storage_options": server.storage_options, "source_base": str(provider.root)}
    dataset = Zeros(url, **options)
    assert dataset.backfill(until(5), client="none").succeeded
    assert dataset.reformat_operational_update(now=until(6), client="none").succeeded
    return dataset


def one_liner() -> str:
    """Return how the guide opens a bucket that cannot be listed."""
    found = re.search(r"```python\n(ds = xr\.open_zarr\(.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


def test_a_reader_loads_everything_without_listing(
    made: DynamicalDataset, server: QuirkyS3
) -> None:
    """By the guide's line, with each coordinate, though each is nothing but fill."""
    server.may_list = False
    line = one_liner().replace("s3://bucket/a.zarr", made.store.url)
    options = {"anon": True, "endpoint_url": server.url}
    assert '{"anon": True}' in line
    found: dict[str, Any] = {"xr": xr, "options": options}
    exec(line.replace('{"anon": True}', "options"), found)
    ds = found["ds"].load()
    assert (int(ds["spatial_ref"]), ds["surface"].values.tolist()) == (0, [0, 0, 0])
    assert ds["cycle"].values.tolist() == [0] * 6
    assert ds["completeness"].values.tolist() == [1] * 6
    for name in "ab":
        np.testing.assert_array_equal(ds[name].values, truth(hours(6), name))
    made.store.open_dataset().load()


def test_what_a_catalogue_says_opens_a_bucket_that_cannot_be_listed(
    made: DynamicalDataset, server: QuirkyS3
) -> None:
    """Its Python looks for no other format, which is absent and so forbidden."""
    server.may_list = False
    way = Way("zarr", made.store.url, "zarr", {"anon": True, "endpoint_url": server.url})
    found: dict[str, Any] = {}
    exec(way.python, found)
    for name in "ab":
        np.testing.assert_array_equal(found["ds"][name].values, truth(hours(6), name))


def test_every_coordinate_has_its_object(made: DynamicalDataset) -> None:
    """One of no dim, too."""
    keys = set(made.store.objects.keys())
    assert {
        f"{name}/c/0" for name in ("time", "x", "y", "surface", "cycle", "completeness")
    } <= keys
    assert "spatial_ref/c" in keys


def test_what_is_not_known_of_completeness_has_an_object_too(
    server: QuirkyS3, tmp_path: Path
) -> None:
    """Where nothing arrived, it says so."""
    provider = Provider(tmp_path / "provider")
    provider.root.mkdir()
    url = f"s3://bucket/{uuid.uuid4().hex}/a.zarr"
    options = {"storage_options": server.storage_options, "source_base": str(provider.root)}
    dataset = Zeros(url, **options)
    dataset.backfill(until(4), client="none", now="2030-01-01")
    if dataset.store.published_length("time"):
        assert "completeness/c/0" in set(dataset.store.objects.keys())


def test_an_archive_from_before_gets_what_it_lacks(
    made: DynamicalDataset, server: QuirkyS3, tmp_path: Path
) -> None:
    """With its next publication, and by restore-metadata; nothing else of it changes."""
    for key in ("spatial_ref/c", "surface/c/0", "cycle/c/0"):
        made.store.objects.delete(key)
    Provider(tmp_path / "provider").publish(hours(7))
    assert made.reformat_operational_update(now=until(7), client="none").succeeded
    assert {"spatial_ref/c", "surface/c/0", "cycle/c/0"} <= set(made.store.objects.keys())


HASTY = Patience(attempts=2, wait_initial_s=0.01)


@pytest.mark.parametrize(
    ("method", "call", "permission"),
    [
        ("PUT", lambda o: o.put("key", b"x"), "PutObject needs s3:PutObject"),
        ("DELETE", lambda o: o.delete("key"), "DeleteObject needs s3:DeleteObject"),
        ("GET", lambda o: o.get("key"), "GetObject needs s3:GetObject, and s3:ListBucket"),
        ("HEAD", lambda o: o.nbytes("key"), "HeadObject needs s3:GetObject, and s3:ListBucket"),
        ("GET", lambda o: list(o.keys()), "ListObjectsV2 needs s3:ListBucket"),
        ("GET", lambda o: o.abort_abandoned_uploads(), "needs s3:ListBucketMultipartUploads"),
    ],
)
def test_an_error_names_the_missing_permission(
    method: str, call: Callable[[S3Objects], object], permission: str, server: QuirkyS3
) -> None:
    """And the request that needs it."""
    server.refused[method] = "Access Denied"
    objects = S3Objects("s3://bucket/a", server.storage_options, patience=HASTY)
    with pytest.raises(PermissionError, match=permission):
        call(objects)


def test_a_permission_that_the_store_names_is_named(server: QuirkyS3) -> None:
    """Such as that of a key with which objects are encrypted."""
    server.refused["PUT"] = (
        "User: x is not authorized to perform: kms:GenerateDataKey on resource: y"
    )
    objects = S3Objects("s3://bucket/a", server.storage_options, patience=HASTY)
    with pytest.raises(PermissionError, match="PutObject needs kms:GenerateDataKey"):
        objects.put("key", b"x")


def test_a_writer_that_may_not_list_is_told(server: QuirkyS3, tmp_path: Path) -> None:
    """Before it writes anything of an archive."""
    server.may_list = False
    url = f"s3://bucket/{uuid.uuid4().hex}/a.zarr"
    dataset = Zeros(url, storage_options=server.storage_options, source_base=str(tmp_path))
    with pytest.raises(OSError, match="s3:ListBucket"):
        dataset.backfill(until(4), client="none")
    assert not [key for key in server.contents if "a.zarr/" in key]


@pytest.mark.parametrize("who", ["writer", "reader"])
def test_the_guides_policies_are_json_and_name_what_errors_name(who: str) -> None:
    """A writer's holds every permission that an error can ask for; a reader's needs no listing."""
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)]
    policies = {block["Statement"][0]["Sid"]: block for block in blocks if "Statement" in block}
    allowed = {action for statement in policies[who]["Statement"] for action in statement["Action"]}
    needed = {
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"),
        *("s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"),
        *("s3:GetObjectTagging", "s3:PutObjectTagging"),
    }
    assert allowed == (needed if who == "writer" else {"s3:GetObject"})


def test_zarr_is_told_that_what_is_forbidden_is_absent(
    made: DynamicalDataset, server: QuirkyS3
) -> None:
    """The guide's way to read an archive that lacks objects: they are fill."""
    made.store.objects.delete("b/c/1/0/0")
    server.may_list = False
    (lines,) = re.findall(r"```python\n(fs = .*?)```", PAGE, re.S)
    lines = lines.replace("bucket/a.zarr", made.store.url.removeprefix("s3://"))
    found: dict[str, Any] = {"xr": xr, "zarr": zarr, "s3fs": s3fs}
    exec(lines.replace("anon=True", f"anon=True, endpoint_url={server.url!r}"), found)
    ds = found["ds"].load()
    np.testing.assert_array_equal(ds["a"].values, truth(hours(6), "a"))
    assert np.isnan(ds["b"].values[4:]).all()
