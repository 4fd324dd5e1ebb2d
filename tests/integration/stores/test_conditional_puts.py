"""Puts on a condition, on stores that each make something else of conditions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from ceph_rgw import CephRgw, ceph_missing
from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Change
from gridmill.stores.objects.s3 import objects as s3
from gridmill.stores.objects.s3 import requests as s3_requests
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.state.leases import LeaseLost
from gridmill.testing import FaultProxy, S3Server
from quirky_s3 import (
    Conditions,
    QuirkyS3,
    as_aws,
    as_ceph,
    ignores,
    ignores_tags,
    knows_no_tags,
    knows_none,
    never_matches,
    never_matches_or_400,
    never_new,
)

PATIENCE = Patience(attempts=4, wait_initial_s=0.01, wait_max_s=0.05)


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port may have been another server's before."""
    monkeypatch.setattr(s3_requests, "_connections", {})


@pytest.fixture
def server() -> Iterator[QuirkyS3]:
    """A store like AWS, until a test says otherwise."""
    with QuirkyS3(as_aws) as server:
        yield server


def objects_in(server: QuirkyS3) -> S3Objects:
    """Return objects with little patience."""
    return S3Objects("s3://bucket/folder", server.storage_options, patience=PATIENCE)


def putting(objects: S3Objects, content: bytes, looks_first: bool) -> Change:
    """Return what overwrites the key if its check passes, made by a look or not."""
    change = objects.change("key", content) if looks_first else None
    return change or partial(objects.overwrite, "key", content)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged as a warning of a store, whatever level other tests left behind."""
    lines: list[str] = []
    monkeypatch.setattr(s3.log, "warning", lambda text, *args: lines.append(text % args))
    return lines


ALL = [
    (as_aws, ""),
    (as_ceph, ""),
    (never_matches, "If-Match"),
    (never_matches_or_400, "If-Match"),
    (ignores_tags, "If-Match"),
    (knows_no_tags, "If-Match"),
    (never_new, "If-None-Match"),
    (ignores, "If-None-Match and If-Match"),
    (knows_none, "If-None-Match and If-Match"),
]


@pytest.mark.parametrize(("conditions", "not_meant"), ALL, ids=[c.__name__ for c, _ in ALL])
def test_objects_are_written_whatever_a_store_makes_of_conditions(
    conditions: Conditions, not_meant: str, server: QuirkyS3, said: list[str]
) -> None:
    """Each kind of put works in few requests; one line says what the store does not honour."""
    server.conditions = conditions
    objects = objects_in(server)
    assert objects.honours_conditions() == (not not_meant)
    asked = len(server.puts)
    assert asked <= 8
    assert objects.put_if_absent("key", b"first")
    assert not objects.put_if_absent("key", b"second")
    assert objects.get("key") == b"first"
    objects.overwrite("key", b"third", lambda: None)
    assert objects.get("key") == b"third"
    objects.overwrite("key", b"fourth", lambda: None, is_new=True)
    change = objects.change("key", b"fifth")
    assert change is not None
    change(lambda: None)
    assert objects.get("key") == b"fifth"
    assert objects.change("key", b"fifth") is None
    assert len(server.puts) - asked <= 6
    assert list(objects.keys()) == ["key"]
    assert len(said) == bool(not_meant)
    assert all(f"does not honour {not_meant} of puts: the lease alone" in line for line in said)


@pytest.mark.parametrize("looks_first", [False, True])
@pytest.mark.parametrize("conditions", [as_aws, as_ceph])
def test_a_newer_object_stays_where_tags_are_sent_as_the_store_wants_them(
    conditions: Conditions, looks_first: bool, server: QuirkyS3
) -> None:
    """A writer that stood still is refused, quotes or not, and asks again whether it may."""
    server.conditions = conditions
    objects = objects_in(server)
    objects.put("key", b"old")
    checks = []

    def another_puts_meanwhile() -> None:
        checks.append(None)
        if len(checks) > 1:
            raise LeaseLost("taken for dead")
        objects.put("key", b"newer")

    put = putting(objects, b"ours", looks_first)
    with pytest.raises(LeaseLost):
        put(another_puts_meanwhile)
    assert objects.get("key") == b"newer"


@pytest.mark.parametrize("conditions", [never_matches, ignores_tags, knows_no_tags])
def test_one_of_two_is_the_first_although_tags_mean_nothing(
    conditions: Conditions, server: QuirkyS3
) -> None:
    """Where If-None-Match is meant, putting if absent does without a look before."""
    server.conditions = conditions
    objects = objects_in(server)
    assert not objects.honours_conditions()
    server.contents["/bucket/folder/key"] = b"theirs"
    before = len(server.puts)
    assert not objects.put_if_absent("key", b"ours")
    assert len(server.puts) == before + 1
    assert server.contents["/bucket/folder/key"] == b"theirs"


@pytest.mark.parametrize(
    ("conditions", "number"),
    [(c, n) for c, puts in [(as_aws, 4), (as_ceph, 6), (ignores, 3)] for n in range(puts)],
)
def test_an_answer_that_is_lost_misleads_nobody(
    conditions: Conditions, number: int, server: QuirkyS3
) -> None:
    """What is found out about conditions is the same when the answer to any put of it is lost."""
    server.conditions, server.lost_answers = conditions, {number}
    assert objects_in(server).honours_conditions() == (conditions is not ignores)
    assert len(server.puts) > number + 1


def gone(headers: Any, tag: str | None) -> int:
    """Answer as if the object vanished after each look at it."""
    return 404 if "If-Match" in headers else as_aws(headers, tag)


@pytest.mark.parametrize("looks_first", [False, True])
@pytest.mark.parametrize("refuses", [never_matches, gone])
def test_a_condition_that_never_holds_ends_in_an_error(
    refuses: Conditions, looks_first: bool, server: QuirkyS3
) -> None:
    """As many puts as patience allows, each after a check; then key, reason and remedy."""
    objects = objects_in(server)
    assert objects.honours_conditions()
    objects.put("key", b"old")
    server.conditions = refuses
    before, checks = len(server.puts), []
    put = putting(objects, b"new", looks_first)
    with pytest.raises(OSError, match=r"s3://bucket/folder/key was not put: .* each of 4 puts"):
        put(lambda: checks.append(None))
    assert len(server.puts) - before == len(checks) == PATIENCE.attempts
    assert objects.get("key") == b"old"


def test_what_became_the_same_meanwhile_is_not_put_again(server: QuirkyS3) -> None:
    """A change that another one made, too, is done."""
    objects = objects_in(server)
    assert objects.honours_conditions()
    objects.put("key", b"old")
    change = objects.change("key", b"new")
    assert change is not None
    objects.put("key", b"new")
    before = len(server.puts)
    change(lambda: None)
    assert len(server.puts) == before + 1


def test_a_real_store_is_asked_once(s3_server: S3Server) -> None:
    """SeaweedFS honours both conditions, is asked in few requests, and keeps nothing of it."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        options = {**s3_server.storage_options, "endpoint_url": proxy.url}
        objects = S3Objects("s3://public/asked", options)
        assert objects.honours_conditions()
        assert len(proxy.requests) == 6
        assert objects.honours_conditions()
        assert len(proxy.requests) == 6
        assert not list(objects.keys())


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The provider's files."""
    return str(build_archive(tmp_path_factory.mktemp("provider"), 4))


@pytest.mark.skipif(bool(ceph_missing()), reason=ceph_missing() or "Ceph is there")
def test_cephs_gateway_keeps_both_conditions(archive: str, said: list[str]) -> None:
    """The real one: tags as it wants them, no update without an end, and nothing is undone."""
    start = pd.Timestamp(START)
    with CephRgw() as ceph:
        objects = S3Objects(f"s3://{ceph.bucket}/asked", ceph.storage_options, patience=PATIENCE)
        assert objects.honours_conditions()
        assert objects.put_if_absent("key", b"first")
        assert not objects.put_if_absent("key", b"second")
        seen: list[bytes | None] = []

        def check() -> None:
            seen.append(objects.get("key"))
            if len(seen) > 1:
                raise LeaseLost("taken for dead")
            objects.put("key", b"newer")

        with pytest.raises(LeaseLost):
            objects.overwrite("key", b"late", check)
        assert seen == [b"first", b"newer"]
        assert objects.get("key") == b"newer"
        url, options = f"s3://{ceph.bucket}/a.zarr", ceph.storage_options
        dataset = Generated(url, source_base=archive, storage_options=options)
        assert dataset.backfill(start + pd.Timedelta(days=2), client="none").succeeded
        for days in (3, 4):
            now = start + pd.Timedelta(days=days)
            assert dataset.reformat_operational_update(client="none", now=now).succeeded
        with xr.open_zarr(url, storage_options=options) as ds:
            assert ds.get_index("time").equals(times_of(4))
            for name in DIMS:
                expected = truth(name, times_of(4) if "time" in DIMS[name] else None)
                np.testing.assert_array_equal(ds[name].values, expected)
    assert said == []


@pytest.mark.parametrize("conditions", [as_ceph, never_matches])
def test_an_archive_is_created_and_updated_on_a_store_with_quirks(
    conditions: Conditions, archive: str, server: QuirkyS3, client: Client
) -> None:
    """A backfill and updates of the same shards end, with what the provider has."""
    server.conditions = conditions
    url, options = "s3://bucket/a.zarr", server.storage_options
    dataset = Generated(url, source_base=archive, storage_options=options)
    start = pd.Timestamp(START)
    assert dataset.backfill(start + pd.Timedelta(days=2), client=client).succeeded
    for days in (3, 4):
        now = start + pd.Timedelta(days=days)
        assert dataset.reformat_operational_update(client=client, now=now).succeeded
    with xr.open_zarr(url, storage_options=options) as ds:
        assert ds.get_index("time").equals(times_of(4))
        for name in DIMS:
            expected = truth(name, times_of(4) if "time" in DIMS[name] else None)
            np.testing.assert_array_equal(ds[name].values, expected)


def test_keys_are_sorted_whatever_order_a_bucket_lists_them_in(server: QuirkyS3) -> None:
    """S3 Express promises none; what is read of records in order is read in order."""
    server.lists_in_order = False
    objects = objects_in(server)
    for key in ("b/2", "b/10", "a", "c"):
        objects.put(key, b"x")
    assert list(objects.keys()) == ["a", "b/10", "b/2", "c"]
    assert list(objects.keys("b")) == ["b/10", "b/2"]
