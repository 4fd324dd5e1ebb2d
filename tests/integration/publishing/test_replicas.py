"""Replicas: the same values in every store, never behind the primary, caught up without sources."""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from distributed import Client

from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.cli import cli
from gridmill.stores.final_store import FinalStore
from gridmill.stores.opening import open_store
from gridmill.testing import ArchiveServer, S3Server
from tiny import snapshot

DAYS = 6


def day(number: int) -> pd.Timestamp:
    """Give the start of a day, counted from 0."""
    return pd.Timestamp(START) + pd.Timedelta(days=number)


def assert_holds(store: FinalStore, days: int) -> None:
    """Compare all that readers of a store see with the formula."""
    with store.open_dataset() as ds:
        assert ds.get_index("time").equals(times_of(DAYS)[: 4 * days])
        for name in DIMS:
            times = ds.get_index("time") if "time" in DIMS[name] else None
            np.testing.assert_array_equal(ds[name].values, truth(name, times))


def objects_of(path: Path) -> dict[str, bytes]:
    """Give all objects of a plain store."""
    return snapshot(path)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    """A server with the provider's files, which counts what it is asked."""
    with ArchiveServer(build_archive(tmp_path_factory.mktemp("provider"), DAYS)) as server:
        server.release_all()
        yield server


@pytest.fixture(params=["zarr from zarr", "icechunk from zarr", "zarr from icechunk"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A primary and a replica, of all kinds."""
    replica, primary = request.param.split(" from ")
    return str(tmp_path / f"primary.{primary}"), str(tmp_path / f"replica.{replica}")


def test_a_replica_holds_what_the_primary_does(
    urls: tuple[str, str], provider: ArchiveServer, client: Client
) -> None:
    """A backfill and updates inside shards fill all stores with the same values."""
    primary, replica = urls
    dataset = Generated(primary, source_base=provider.url, replicas=[replica])
    assert dataset.backfill(day(3), client=client).succeeded
    for number in (4, DAYS):
        report = dataset.reformat_operational_update(client=client, now=day(number))
        assert report.succeeded
        assert [(r.positions, r.failure) for r in report.replicas] == [(4 * number, None)]
        assert_holds(dataset.store, number)
        assert_holds(dataset.replicas[0], number)
    if {Path(url).suffix for url in urls} == {".zarr"}:
        assert objects_of(Path(primary)) == objects_of(Path(replica))


def test_a_replica_takes_the_primarys_place(
    urls: tuple[str, str], provider: ArchiveServer, client: Client
) -> None:
    """A run on the replica goes on where the primary was, and does nothing again."""
    primary, replica = urls
    Generated(primary, source_base=provider.url, replicas=[replica]).backfill(day(3), client=client)
    promoted = Generated(replica, source_base=provider.url)
    assert promoted.backfill(day(3), client=client).variables_done == 0
    assert promoted.backfill(day(DAYS), client=client).succeeded
    assert_holds(promoted.store, DAYS)


def test_a_new_replica_is_filled_without_the_sources(
    urls: tuple[str, str], provider: ArchiveServer, client: Client
) -> None:
    """What the primary holds is copied: no source file is asked for."""
    primary, replica = urls
    Generated(primary, source_base=provider.url).backfill(day(4), client=client)
    asked = len(provider.requests)
    dataset = Generated(primary, source_base=provider.url, replicas=[replica])
    report = dataset.backfill(day(4), client=client)
    assert report.succeeded
    assert report.variables_done == 0
    assert len(provider.requests) == asked
    assert_holds(dataset.replicas[0], 4)


def break_down(folder: Path) -> None:
    """Let nothing be written into a store and its records any more: files are in their place."""
    for path in (folder, Path(f"{folder}.gridmill")):
        if path.exists():
            path.rename(path.with_suffix(path.suffix + ".away"))
        path.write_text("not a folder")


def mend(folder: Path) -> None:
    """Undo `break_down`."""
    for path in (folder, Path(f"{folder}.gridmill")):
        path.unlink()
        away = path.with_suffix(path.suffix + ".away")
        if away.exists():
            away.rename(path)


def test_a_replica_that_breaks_down_is_caught_up_by_the_next_run(
    tmp_path: Path, provider: ArchiveServer, client: Client
) -> None:
    """It fails in the middle: the primary goes on, the report says so, the next run mends it."""
    replica = tmp_path / "replica.zarr"
    others = [replica, tmp_path / "other.icechunk"]
    dataset = Generated(tmp_path / "primary.zarr", source_base=provider.url, replicas=others)
    seen: list[str] = []

    def strike(event: Any) -> None:
        if event.kind == "published" and not seen:
            seen.append(event.detail)
            break_down(replica)

    report = dataset.backfill(day(DAYS), client=client, listener=strike)
    assert seen
    assert not report.succeeded
    lame, well = report.replicas
    assert lame.failure is not None
    assert (well.positions, well.failure) == (4 * DAYS, None)
    assert_holds(dataset.store, DAYS)
    assert_holds(dataset.replicas[1], DAYS)
    kept = dataset.store.tracker.reports.last()
    assert kept is not None
    assert kept["replicas"][0]["failure"] == lame.failure
    mend(replica)
    asked = len(provider.requests)
    again = Generated(tmp_path / "primary.zarr", source_base=provider.url, replicas=others)
    assert again.backfill(day(DAYS), client=client).succeeded
    assert len(provider.requests) == asked
    assert_holds(again.replicas[0], DAYS)
    assert objects_of(replica) == objects_of(tmp_path / "primary.zarr")


def test_a_wrong_replica_is_not_touched(
    tmp_path: Path, provider: ArchiveServer, s3_server: S3Server, client: Client
) -> None:
    """Another archive, wrong credentials, a missing bucket: a line each, without the secret."""
    other = tmp_path / "other.zarr"
    Generated(other, source_base=provider.url).backfill(day(2), client=client, start=str(day(1)))
    before = objects_of(other)
    options = {**s3_server.storage_options, "secret": "not the secret"}
    dataset = Generated(
        tmp_path / "primary.zarr",
        source_base=provider.url,
        replicas=[
            other,
            {"url": f"s3://public/{uuid.uuid4().hex}.zarr", "storage_options": options},
            {"url": "s3://nowhere/a.icechunk", "storage_options": s3_server.storage_options},
        ],
    )
    report = dataset.backfill(day(2), client=client)
    assert_holds(dataset.store, 2)
    assert objects_of(other) == before
    causes = [replica.failure or "" for replica in report.replicas]
    assert "declared differently" in causes[0]
    assert "SignatureDoesNotMatch" in causes[1]
    assert "there is no bucket nowhere" in causes[2]
    shown = repr(report) + report.to_json().decode()
    assert "not the secret" not in shown
    assert s3_server.secret_key not in shown


def test_readers_of_a_replica_are_never_behind(
    tmp_path: Path, provider: ArchiveServer, client: Client
) -> None:
    """Who looks at the primary and then at the replicas always finds as much there, and right."""
    replicas = [tmp_path / "one.zarr", tmp_path / "two.icechunk"]
    dataset = Generated(tmp_path / "primary.zarr", source_base=provider.url, replicas=replicas)
    done = threading.Event()
    lengths: list[tuple[int, ...]] = []
    failures: list[str] = []

    def look() -> None:
        stores = [dataset.store, *(open_store(str(path), "generated") for path in replicas)]
        while not done.is_set():
            seen = tuple(store.published_length("time") or 0 for store in stores)
            lengths.append(seen)
            if seen[0] > min(seen):
                failures.append(f"primary {seen[0]}, replicas {seen[1:]}")
            time.sleep(0.002)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        dataset.backfill(day(2), client=client)
        for number in range(3, DAYS + 1):
            dataset.reformat_operational_update(client=client, now=day(number))
    finally:
        done.set()
        reader.join()
    assert failures == []
    assert len({seen[0] for seen in lengths}) >= DAYS - 1


def test_an_object_that_is_not_as_recorded_is_not_copied(
    tmp_path: Path, provider: ArchiveServer, client: Client
) -> None:
    """A damaged primary is not spread: the replica stays behind, the report names the object."""
    primary = tmp_path / "primary.zarr"
    Generated(primary, source_base=provider.url).backfill(day(4), client=client)
    shard = next(
        path for path in sorted((primary / "temperature" / "c").rglob("*")) if path.is_file()
    )
    shard.write_bytes(shard.read_bytes()[::-1])
    dataset = Generated(primary, source_base=provider.url, replicas=[tmp_path / "replica.zarr"])
    (outcome,) = dataset.backfill(day(4), client=client).replicas
    assert outcome.positions == 0
    assert "temperature/c/0/0/0 was replaced" in (outcome.failure or "")


def test_the_command_line_takes_replicas(
    tmp_path: Path, provider: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--replica` may be repeated or stand in the settings; one that fails is an exit code of 1."""
    monkeypatch.chdir(tmp_path)
    command = ["backfill", "generated:Generated", "--cluster", "none", "--json"]
    command += ["--source-base", provider.url, "--store", "primary.zarr"]
    (tmp_path / "gridmill.toml").write_text('replica = ["one.zarr", "two.icechunk"]')
    done = CliRunner().invoke(cli, [*command, "--until", str(day(2))])
    assert done.exit_code == 0, done.output
    replicas = json.loads(done.stdout)["replicas"]
    assert [replica["positions"] for replica in replicas] == [8, 8]
    shutil.rmtree(tmp_path / "one.zarr")
    shutil.rmtree(tmp_path / "one.zarr.gridmill")
    (tmp_path / "one.zarr").write_text("not a folder")
    command.remove("--json")
    failed = CliRunner().invoke(cli, [*command, "--until", str(day(3)), "--replica", "one.zarr"])
    assert failed.exit_code == 1
    assert "1 replica failed" in failed.output
    with xr.open_zarr(tmp_path / "primary.zarr") as ds:
        assert ds.sizes["time"] == 12
