"""The main job on a real S3 server: equality, faults of the store, refusals, secrecy."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.objects.writable import StoreUnwritable
from gridmill.stores.zarr_store import ZarrStore
from gridmill.testing import DamagedBody, FaultProxy, LostAnswer, Reset, S3Server, Status

DAYS = 6


def day(number: int) -> pd.Timestamp:
    """Give the start of a day, counted from 0."""
    return pd.Timestamp(START) + pd.Timedelta(days=number)


def assert_whole(url: str, days: int, storage_options: dict[str, Any] | None = None) -> None:
    """Compare all values that a reader sees with the formula."""
    with xr.open_zarr(url, storage_options=storage_options) as ds:
        times = times_of(days)
        assert ds.get_index("time").equals(times)
        for name in DIMS:
            expected = truth(name, times if "time" in DIMS[name] else None)
            np.testing.assert_array_equal(ds[name].values, expected)


def contents(objects: Objects) -> dict[str, bytes | None]:
    """Give every object, by key."""
    keys = list(objects.keys())
    return {key: objects.get(key) for key in keys}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The provider's files."""
    return str(build_archive(tmp_path_factory.mktemp("provider"), DAYS))


@pytest.fixture(scope="module")
def built(archive: str, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """The same archive built locally, without any fault."""
    path = tmp_path_factory.mktemp("local") / "a.zarr"
    dataset = Generated(path, source_base=archive)
    assert dataset.backfill(day(DAYS), client=client).succeeded
    return dataset


@pytest.fixture(scope="module")
def whole_bucket(s3_server: S3Server) -> str:
    """A bucket for the module: a server has few volumes, and a bucket takes several."""
    s3_server.create_bucket("main-job")
    return "main-job"


@pytest.fixture
def bucket(whole_bucket: str) -> str:
    """A place of the test's own in a bucket."""
    return f"{whole_bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """What lies between the client and the server."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def through(proxy: FaultProxy, server: S3Server) -> dict[str, Any]:
    """Give storage options whose requests pass the proxy."""
    return {**server.storage_options, "endpoint_url": proxy.url}


# -- the main job -----------------------------------------------------------------------------


def test_backfill_and_updates_equal_the_source(
    archive: str, built: Generated, bucket: str, s3_server: S3Server, client: Client
) -> None:
    """A backfill and daily updates inside shards give what a local archive holds, byte for byte."""
    url, options = f"s3://{bucket}/deep/a.zarr", s3_server.storage_options
    dataset = Generated(url, source_base=archive, storage_options=options)
    report = dataset.backfill(day(4), client=client)
    assert report.succeeded
    assert_whole(url, 4, options)
    for number in range(5, DAYS + 1):
        assert dataset.reformat_operational_update(client=client, now=day(number)).succeeded
        assert_whole(url, number, options)
    assert contents(dataset.store.objects) == contents(built.store.objects)
    rerun = dataset.backfill(day(DAYS), client=client)
    assert rerun.variables_done == 0
    assert dataset.status().positions == 4 * DAYS


def test_an_update_asks_a_bucket_little(
    archive: str, bucket: str, s3_server: S3Server, proxy: FaultProxy, monkeypatch
) -> None:
    """Each request is waited for: it opens the archive twice, and publishes once.

    Which conditions of puts the bucket means is asked while the first source files are fetched.
    """
    url = f"s3://{bucket}/a.zarr"
    dataset = Generated(url, source_base=archive, storage_options=through(proxy, s3_server))
    dataset.backfill(day(3), client="none")
    ahead: list[str] = []
    honours = S3Objects.honours_conditions

    def noted(objects: S3Objects) -> bool:
        puts = [r for r in proxy.requests[before:] if r.method == "PUT" and "/c/" in r.path]
        ahead.append("late" if puts else objects.url)
        return honours(objects)

    monkeypatch.setattr(S3Objects, "honours_conditions", noted)
    before = len(proxy.requests)
    report = dataset.reformat_operational_update(client="none", now=day(4))
    assert (report.positions_before, report.positions_after) == (12, 16)
    asked = Counter((r.method, r.path.partition("a.zarr")[2]) for r in proxy.requests[before:])
    # Once with each opening, and once to see what publishing is to change.
    labels = [asked["GET", f"/{name}/c/0"] for name in ("time", "latitude", "longitude")]
    assert max(labels) <= 3
    # Of the opening, of the check before the lease and under it, and of the publication two.
    assert asked["GET", "/zarr.json"] <= 5
    assert ahead == [url]
    claims = [key for method, key in asked if method == "PUT" and "-publishing/" in key]
    assert [asked["PUT", key] for key in claims] == [1]


def test_records_and_lease_live_beside_the_store(
    archive: str, bucket: str, s3_server: S3Server, client: Client
) -> None:
    """The bucket holds the store, the records beside it and nothing else; no lease is left."""
    dataset = Generated(
        f"s3://{bucket}/a.zarr", source_base=archive, storage_options=s3_server.storage_options
    )
    dataset.backfill(day(2), client=client)
    keys = list(S3Objects(f"s3://{bucket}", s3_server.storage_options).keys())
    beside = [key for key in keys if not key.startswith("a.zarr/")]
    assert all(key.startswith("a.zarr.gridmill/") for key in beside)
    assert "a.zarr.gridmill/regions/0000000000.json" in beside
    assert not [key for key in keys if "lease" in key or "probe" in key]


def test_records_may_live_elsewhere(
    archive: str, bucket: str, s3_server: S3Server, client: Client, tmp_path: Path
) -> None:
    """`state` keeps the records of a store in a bucket in a local folder."""
    state = tmp_path / "records"
    dataset = Generated(
        f"s3://{bucket}/a.zarr",
        source_base=archive,
        storage_options=s3_server.storage_options,
        state=str(state),
    )
    dataset.backfill(day(2), client=client)
    assert (state / "declaration.json").exists()
    keys = S3Objects(f"s3://{bucket}", s3_server.storage_options).keys()
    assert all(key.startswith("a.zarr/") for key in keys)


def test_anyone_reads_a_public_bucket(archive: str, s3_server: S3Server, client: Client) -> None:
    """An archive in a public bucket opens without credentials."""
    url = f"s3://public/{uuid.uuid4().hex}.zarr"
    dataset = Generated(url, source_base=archive, storage_options=s3_server.storage_options)
    dataset.backfill(day(2), client=client)
    assert_whole(url, 2, {"anon": True, "endpoint_url": s3_server.endpoint_url})


def test_the_usual_chain_finds_credentials_and_endpoint(
    archive: str, bucket: str, s3_server: S3Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment variables of AWS are enough: no storage option is needed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3_server.region)
    objects = S3Objects(f"s3://{bucket}/environment")
    objects.put("key", b"content")
    assert objects.get("key") == b"content"


def test_a_profile_gives_credentials_and_endpoint(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile of AWS's files, given as storage option, is enough."""
    config = tmp_path / "config"
    config.write_text(
        "[profile archive]\n"
        f"endpoint_url = {s3_server.endpoint_url}\nregion = {s3_server.region}\n"
        f"aws_access_key_id = {s3_server.access_key}\n"
        f"aws_secret_access_key = {s3_server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    objects = S3Objects(f"s3://{bucket}/profile", {"profile": "archive"})
    objects.put("key", b"content")
    assert objects.get("key") == b"content"


# -- faults of the store ----------------------------------------------------------------------


def test_bursts_resets_and_lost_answers_change_nothing(
    archive: str,
    built: Generated,
    bucket: str,
    s3_server: S3Server,
    proxy: FaultProxy,
    client: Client,
) -> None:
    """Throttling, errors, resets, damage and answers lost after the deed change nothing."""
    # Not the first requests: a store that answers nothing at all is given up on soon.
    for method, pattern, fault, times in [
        ("PUT", "*/c/*", Status(status=503), 12),
        ("PUT", "*/c/*", Reset(), 4),
        ("PUT", "*/c/*", LostAnswer(), 4),
        ("PUT", "*/zarr.json", Status(status=503), 3),
        ("GET", "*/zarr.json", Status(status=500), 4),
        ("PUT", "*/regions/*", LostAnswer(), 2),
        ("PUT", "*/regions/*", DamagedBody(), 2),
    ]:
        proxy.inject(pattern, fault, method=method, times=times)
    dataset = Generated(
        f"s3://{bucket}/a.zarr", source_base=archive, storage_options=through(proxy, s3_server)
    )
    report = dataset.backfill(day(DAYS), client=client)
    assert report.succeeded
    met = [request.status for request in proxy.requests]
    assert (met.count(503), met.count(500)) == (15, 4)
    assert contents(dataset.store.objects) == contents(built.store.objects)


def test_a_server_that_is_killed_and_restarted_loses_nothing(
    archive: str, built: Generated, client: Client
) -> None:
    """SIGKILL to the server in the middle of uploads delays the run, which ends as without it."""
    with S3Server() as server, FaultProxy(server.endpoint_url, latency_s=0.02) as proxy:
        server.create_bucket("archive")

        def kill_and_restart() -> None:
            seen = lambda: [r for r in proxy.requests if r.method == "PUT" and "/c/" in r.path]  # noqa: E731
            while len(seen()) < 3:
                killed.wait(0.01)
            server.kill()
            killed.set()
            server.restart()

        killed = threading.Event()
        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        dataset = Generated(
            "s3://archive/a.zarr", source_base=archive, storage_options=through(proxy, server)
        )
        report = dataset.backfill(day(DAYS), client=client)
        killer.join()
        assert killed.is_set()
        assert report.succeeded
        expected = contents(built.store.objects)
        # SeaweedFS that is killed between an object and its folders never lists the object (2 of
        # 30 kills, with nothing but botocore); readers, who ask by key, get it.
        objects = dataset.store.objects
        assert {key: objects.get(key) for key in expected} == expected
        assert set(objects.keys()) <= expected.keys()


def test_a_store_that_refuses_data_fails_the_variable_and_publishes_nothing_of_it(
    archive: str, bucket: str, s3_server: S3Server, proxy: FaultProxy, client: Client
) -> None:
    """A store that is full for one variable: its cause is reported, readers see no position."""
    proxy.inject("*/humidity/c/*", Status(status=507), method="PUT", times=None)
    dataset = Generated(
        f"s3://{bucket}/a.zarr", source_base=archive, storage_options=through(proxy, s3_server)
    )
    assert isinstance(dataset.store, ZarrStore)
    assert isinstance(dataset.store.objects, S3Objects)
    dataset.store.objects.patience = Patience(attempts=2, wait_initial_s=0.01)
    report = dataset.backfill(day(2), client=client)
    assert not report.succeeded
    assert [failure.variable for failure in report.failures] == ["humidity"]
    assert "HTTP 507" in report.failures[0].cause
    assert not report.positions_after
    proxy.clear_faults()
    assert dataset.backfill(day(2), client=client).succeeded
    assert_whole(f"s3://{bucket}/a.zarr", 2, s3_server.storage_options)


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket_name", "options", "words"),
    [
        ("public", {"secret": "wrong"}, "SignatureDoesNotMatch: the credentials are not right"),
        ("public", {"key": "nobody"}, "InvalidAccessKeyId: the credentials are not right"),
        ("nowhere", {}, "there is no bucket nowhere"),
        ("public", {"anon": True, "key": None, "secret": None}, "may not do that in bucket public"),
        ("public", {"endpoint_url": "http://127.0.0.1:9"}, "cannot connect to http://127.0.0.1:9"),
    ],
    ids=["wrong secret", "wrong key", "missing bucket", "read-only bucket", "no server"],
)
def test_an_unusable_store_is_said_in_one_line_before_anything_is_done(
    bucket_name: str, options: dict[str, Any], words: str, archive: str, s3_server: S3Server
) -> None:
    """Wrong credentials, a missing or read-only bucket, no server: one clear line, no object."""
    url = f"s3://{bucket_name}/{uuid.uuid4().hex}.zarr"
    merged = {**s3_server.storage_options, **options}
    dataset = Generated(url, source_base=archive, storage_options=merged)
    # A client that cannot be connected to shows that it is not needed.
    with pytest.raises(StoreUnwritable) as refused:
        dataset.backfill(day(2), client="tcp://127.0.0.1:1")
    message = str(refused.value)
    assert words in message
    assert url in message
    assert "\n" not in message
    assert s3_server.secret_key not in message
    written = S3Objects("s3://public", s3_server.storage_options).keys()
    assert not [key for key in written if key.startswith(url.removeprefix("s3://public/"))]


def test_a_bucket_that_becomes_read_only_refuses_the_next_run(
    archive: str, s3_server: S3Server, client: Client
) -> None:
    """An update whose credentials may only read says so at its start."""
    url = f"s3://public/{uuid.uuid4().hex}.zarr"
    writer = Generated(url, source_base=archive, storage_options=s3_server.storage_options)
    writer.backfill(day(2), client=client)
    anonymous = {"anon": True, "endpoint_url": s3_server.endpoint_url}
    reader = Generated(url, source_base=archive, storage_options=anonymous)
    assert reader.status().positions == 8
    with pytest.raises(StoreUnwritable, match="may not do that"):
        reader.reformat_operational_update(client=client, now=day(4))


# -- secrecy ----------------------------------------------------------------------------------


def test_no_credential_is_written_or_logged(
    archive: str,
    bucket: str,
    s3_server: S3Server,
    proxy: FaultProxy,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither secret nor access key is in an object, a report, a repr, a task key or a log."""
    proxy.inject("*/c/*", Status(status=503), method="PUT", times=2)
    caplog.set_level(logging.DEBUG, logger="gridmill")
    caplog.set_level(logging.INFO)
    keys: list[str] = []
    dataset = Generated(
        f"s3://{bucket}/a.zarr", source_base=archive, storage_options=through(proxy, s3_server)
    )

    def note_keys(event: Any) -> None:
        keys.extend(str(key) for key in client.futures)

    report = dataset.backfill(day(2), client=client, listener=note_keys)
    objects = S3Objects(f"s3://{bucket}", s3_server.storage_options)
    written = b"\n".join(content or b"" for content in contents(objects).values())
    worker_logs = str(client.get_worker_logs())
    said = [repr(dataset.store), repr(objects), str(report.to_json()), caplog.text, *keys]
    assert keys
    for secret in (s3_server.secret_key, f"'{s3_server.access_key}'"):
        assert secret.encode() not in written
        assert not [text for text in [*said, worker_logs] if secret in text]
