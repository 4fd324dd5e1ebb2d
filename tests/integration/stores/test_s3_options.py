"""What storage options mean to s3fs holds for the requests that are made beside it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import s3fs
from fsspec.asyn import sync

from gridmill.stores.headers import Headers
from gridmill.stores.icechunk import repository
from gridmill.stores.icechunk.settings import storage
from gridmill.stores.objects.s3 import bucket as s3_objects
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.opening import open_store
from gridmill.testing import FaultProxy, Forwarded, S3Server
from gridmill.testing.contract_archive import REGION, ContractArchive
from quirky_s3 import QuirkyS3, as_aws

# Of a connection, a body or a moment; what a request is made for is compared by its query.
OWN = {
    *("host", "user-agent", "authorization", "content-length", "content-md5", "expect", "range"),
    *("if-none-match", "amz-sdk-invocation-id", "amz-sdk-request", "x-amz-date"),
    *("accept", "accept-encoding", "connection", "content-encoding", "transfer-encoding"),
    *("x-amz-content-sha256", "x-amz-trailer", "x-amz-decoded-content-length"),
    *("x-amz-sdk-checksum-algorithm", "x-amz-checksum-crc32"),
}
OF_A_NEW_OBJECT = {
    "ACL": "bucket-owner-full-control",
    "StorageClass": "STANDARD",
    "ContentType": "application/octet-stream",
    "CacheControl": "max-age=60",
    "Metadata": {"archive": "sst"},
    "Tagging": "project=sst",
}
OF_ANY_REQUEST = {"ExpectedBucketOwner": "123456789012"}
# SeaweedFS has no keys.
ENCRYPTED = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "a-key", "BucketKeyEnabled": True}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "of a new object": {"s3_additional_kwargs": OF_A_NEW_OBJECT},
    "of any request": {"s3_additional_kwargs": OF_ANY_REQUEST},
    "encrypted": {"s3_additional_kwargs": ENCRYPTED},
    "requester pays": {"requester_pays": True},
    "all": {
        "requester_pays": True,
        "s3_additional_kwargs": {**OF_A_NEW_OBJECT, **OF_ANY_REQUEST, **ENCRYPTED},
    },
}
# What gridmill says of a new object where no option does; test_caches.py has more of it.
SAID = {"cache-control": "no-cache", "content-type": "application/octet-stream"}
NEW = [("PUT", "key"), ("POST", "key", "uploads")]
FEW = 5 << 20


def told(request: Forwarded) -> dict[str, str]:
    """Return what options can add to a request."""
    return {name: value for name, value in request.headers.items() if name not in OWN}


def by_operation(requests: list[Forwarded]) -> dict[tuple[str, ...], dict[str, str]]:
    """Return what each kind of request said, by method and what its query asks for."""
    said: dict[tuple[str, ...], dict[str, str]] = {}
    for request in requests:
        asked = {part.partition("=")[0] for part in request.query.split("&")}
        where = "bucket" if request.path.strip("/").count("/") == 0 else "key"
        asked -= {"", "prefix", "delimiter", "encoding-type", "max-keys"}
        said.setdefault((request.method, where, *sorted(asked)), told(request))
    return said


def ours(url: str, options: Mapping[str, Any]) -> None:
    """Make every kind of request, as stores do."""
    objects = S3Objects(url, options)
    content = bytes(s3_objects.MULTIPART_FROM_NBYTES)
    calls: list[Callable[[], object]] = [
        lambda: objects.put("key", b"content"),
        lambda: objects.put_if_absent("other", b"content"),
        lambda: objects.overwrite("key", b"over it", lambda: None),
        lambda: objects.put("large", content),
        lambda: objects.get("key"),
        lambda: objects.nbytes("key"),
        lambda: list(objects.keys()),
        lambda: objects.abort_abandoned_uploads(timedelta(0)),
        lambda: objects.delete("key"),
    ]
    for call in calls:
        call()


def theirs(url: str, options: Mapping[str, Any]) -> None:
    """Make the same kinds of requests by s3fs alone."""
    fs = s3fs.S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
    path = url.removeprefix("s3://")
    content = bytes(s3_objects.MULTIPART_FROM_NBYTES)
    fs.pipe_file(f"{path}/key", b"content")
    fs.pipe_file(f"{path}/large", content, chunksize=FEW)
    fs.cat_file(f"{path}/key")
    fs.info(f"{path}/key")
    fs.find(path)
    sync(fs.loop, fs._list_multipart_uploads, path.split("/")[0])
    sync(fs.loop, fs._rm_file, f"{path}/key")


@pytest.mark.parametrize("options", list(OPTIONS.values()), ids=list(OPTIONS))
def test_requests_say_what_those_of_s3fs_say(
    options: dict[str, Any], s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers of each operation are s3fs's own, be it in one request or in parts.

    Those of new objects say beside it what they are, and what caches may do.
    """
    monkeypatch.setattr(s3_objects, "MULTIPART_FROM_NBYTES", 2 * FEW)
    monkeypatch.setattr(s3_objects, "PART_NBYTES", FEW)
    said = []
    with ExitStack() as servers:
        server: S3Server | QuirkyS3 = s3_server
        if set(ENCRYPTED) & set(options.get("s3_additional_kwargs", ())):
            server = servers.enter_context(QuirkyS3(as_aws))
        proxy = servers.enter_context(FaultProxy(server.storage_options["endpoint_url"]))
        every = {**server.storage_options, "endpoint_url": proxy.url, **options}
        for make in (theirs, ours):
            before = len(proxy.requests)
            make(f"s3://public/{uuid.uuid4().hex}", every)
            said.append(by_operation(proxy.requests[before:]))
    expected, found = said
    for made in NEW:
        expected[made] = {**SAID, **expected[made]}
    assert expected == found
    assert len(expected) == 9


def test_each_put_on_a_condition_carries_the_options(s3_server: S3Server) -> None:
    """Those that find out about conditions do, too: a bucket may refuse all others."""
    options = {"s3_additional_kwargs": {"StorageClass": "STANDARD"}, "requester_pays": True}
    with FaultProxy(s3_server.endpoint_url) as proxy:
        every = {**s3_server.storage_options, "endpoint_url": proxy.url, **options}
        objects = S3Objects(f"s3://public/{uuid.uuid4().hex}", every)
        assert objects.put_if_absent("key", b"content")
        objects.overwrite("key", b"over it", lambda: None)
    puts = [request.headers for request in proxy.requests if request.method == "PUT"]
    assert len(puts) == 6
    assert {"if-match", "if-none-match"} <= {name for headers in puts for name in headers}
    assert all(headers["x-amz-storage-class"] == "STANDARD" for headers in puts)
    assert all(headers["x-amz-request-payer"] == "requester" for headers in puts)


def test_copies_carry_the_options_and_read_with_the_customers_key() -> None:
    """Copied to another key or onto itself, as s3fs copies; the source needs its key as well."""
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    given = {"StorageClass": "STANDARD", **OF_ANY_REQUEST, **key}
    with QuirkyS3(as_aws) as server, FaultProxy(server.url) as proxy:
        options = {**server.storage_options, "endpoint_url": proxy.url}
        options |= {"requester_pays": True, "s3_additional_kwargs": given}
        fs = s3fs.S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
        S3Objects("s3://b/a", options, headers=Headers("", "")).put("zarr.json", b"{}")
        fs.cp_file("b/a/zarr.json", "b/a/theirs")
        objects = S3Objects("s3://b/a", options)
        assert objects.copy("zarr.json", "ours")
        change = objects.relabel("zarr.json")
        assert change is not None
        change(lambda: None)
    copies = [told(r) for r in proxy.requests if "x-amz-copy-source" in r.headers]
    theirs, *of_ours = copies
    assert len(of_ours) == 2
    of_key = {name: value for name, value in theirs.items() if "customer" in name}
    assert len(of_key) == 3
    for found in of_ours:
        assert theirs.items() <= found.items()
        of_source = "x-amz-copy-source-server-side-encryption-"
        for name, value in of_key.items():
            assert found[name.replace("x-amz-server-side-encryption-", of_source)] == value


def never_inline(real: Callable[..., Any]) -> Callable[..., Any]:
    """Let every chunk be an object, however small."""

    def config(*args: Any) -> Any:
        made = real(*args)
        made.inline_chunk_threshold_bytes = 0
        return made

    return config


def test_icechunk_is_told_what_it_can_be_and_the_rest_is_named(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New objects have the storage class; one line names what holds for the records alone."""
    lines: list[str] = []
    monkeypatch.setattr(storage.log, "warning", lambda text, *args: lines.append(text % args))
    monkeypatch.setattr(repository, "patient_config", never_inline(repository.patient_config))
    of_new = {"StorageClass": "STANDARD", "ACL": "bucket-owner-full-control"}
    with FaultProxy(s3_server.endpoint_url) as proxy:
        every = {**s3_server.storage_options, "endpoint_url": proxy.url}
        every |= {"s3_additional_kwargs": of_new, "default_block_size": 5 << 20}
        every["client_kwargs"] = {"region_name": "us-east-1", "verify": False}
        url = f"s3://public/{uuid.uuid4().hex}/a.icechunk"
        store = open_store(url, "contract", format="icechunk", storage_options=every)
        archive = ContractArchive(store, tmp_path)
        before = len(proxy.requests)
        archive.upload(0)
        archive.publish(REGION)
    puts = [r for r in proxy.requests[before:] if r.method == "PUT" and ".gridmill" not in r.path]
    kinds = {part for part in ("chunks", "manifests", "snapshots") for r in puts if part in r.path}
    assert kinds == {"chunks", "manifests", "snapshots"}
    assert {r.headers.get("x-amz-storage-class") for r in puts} == {"STANDARD"}
    (line,) = lines
    assert "cannot be told client_kwargs verify, s3_additional_kwargs ACL: they hold" in line
