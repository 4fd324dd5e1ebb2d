"""The main job on Icechunk: snapshots that are whole, resuming, conflicts, upkeep, faults."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner, Result
from distributed import Client

from clusters import local_client
from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.cli import cli
from gridmill.stores.icechunk import publication, upkeep
from gridmill.stores.icechunk.publication import PublishConflict
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.objects.writable import StoreUnwritable
from gridmill.testing import ArchiveServer, FaultProxy, LostAnswer, Reset, S3Server, Status

DAYS = 6


def day(number: int) -> pd.Timestamp:
    """Give the start of a day, counted from 0."""
    return pd.Timestamp(START) + pd.Timedelta(days=number)


def store_of(dataset: Generated) -> IcechunkStore:
    """Give a dataset's store."""
    assert isinstance(dataset.store, IcechunkStore)
    return dataset.store


def repository(dataset: Generated) -> icechunk.Repository:
    """Open a dataset's repository as anybody would."""
    return icechunk.Repository.open(store_of(dataset).repository.storage())


def messages(dataset: Generated) -> list[str]:
    """Give the messages of all commits, the last first."""
    return [snapshot.message for snapshot in repository(dataset).ancestry(branch="main")]


def assert_true(ds: xr.Dataset) -> None:
    """Compare all values of a dataset, however long, with the formula."""
    times = ds.get_index("time")
    assert times.equals(times_of(DAYS)[: len(times)])
    for name in DIMS:
        expected = truth(name, times if "time" in DIMS[name] else None)
        if "time" in DIMS[name] or len(times):
            np.testing.assert_array_equal(ds[name].values, expected)


def assert_whole(dataset: Generated, days: int) -> None:
    """Compare all values that a reader sees with the formula."""
    session = repository(dataset).readonly_session("main")
    with xr.open_zarr(session.store, consolidated=False) as ds:
        assert ds.sizes["time"] == 4 * days
        assert_true(ds)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The provider's files."""
    return str(build_archive(tmp_path_factory.mktemp("provider"), DAYS))


@pytest.fixture(params=["local", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server
) -> tuple[str, dict[str, Any]]:
    """Where a repository may be made: a URL and its storage options."""
    if request.param == "local":
        return str(tmp_path / "a.icechunk"), {}
    return f"s3://public/{uuid.uuid4().hex}.icechunk", s3_server.storage_options


@pytest.fixture
def dataset(archive: str, tmp_path: Path) -> Generated:
    """A dataset whose archive is a local repository."""
    return Generated(tmp_path / "a.icechunk", source_base=archive)


# -- the main job -----------------------------------------------------------------------------


def test_backfill_and_updates_equal_the_source_in_every_snapshot(
    place: tuple[str, dict[str, Any]], archive: str, client: Client
) -> None:
    """A backfill and daily updates inside shards: every snapshot ever made is whole and true."""
    url, options = place
    dataset = Generated(url, source_base=archive, storage_options=options)
    assert dataset.backfill(day(3), client=client).succeeded
    assert_whole(dataset, 3)
    for number in range(4, DAYS + 1):
        assert dataset.reformat_operational_update(client=client, now=day(number)).succeeded
    assert_whole(dataset, DAYS)
    lengths = []
    repo = repository(dataset)
    for snapshot in list(repo.ancestry(branch="main"))[:-2]:
        session = repo.readonly_session(snapshot_id=snapshot.id)
        with xr.open_zarr(session.store, consolidated=False) as ds:
            lengths.append(ds.sizes["time"])
            assert_true(ds)
    assert lengths == sorted(lengths, reverse=True)
    assert {0, 8, 12, 16, 20, 24} <= set(lengths)
    commits = len(messages(dataset))
    assert dataset.backfill(day(DAYS), client=client).variables_done == 0
    assert len(messages(dataset)) == commits


def test_a_commit_says_what_it_brings(dataset: Generated, client: Client) -> None:
    """Its message names the positions, the variables and how many source files there are."""
    dataset.backfill(day(2), client=client)
    newest, static, created, _ = messages(dataset)
    assert newest == (
        "time 2020-01-01 00:00:00 to 2020-01-02 18:00:00: humidity, precipitation, temperature "
        "from 2 of 2 source files"
    )
    assert static == "static variables: orography from 1 of 1 source files"
    assert created == "Prepare the archive, not yet to be seen"


def test_anyone_opens_a_public_repository(
    archive: str, s3_server: S3Server, client: Client
) -> None:
    """A repository in a public bucket opens without credentials."""
    prefix = f"{uuid.uuid4().hex}.icechunk"
    options = s3_server.storage_options
    dataset = Generated(f"s3://public/{prefix}", source_base=archive, storage_options=options)
    dataset.backfill(day(2), client=client)
    storage = icechunk.s3_storage(
        bucket="public",
        prefix=prefix,
        region=s3_server.region,
        endpoint_url=s3_server.endpoint_url,
        allow_http=True,
        force_path_style=True,
        anonymous=True,
    )
    session = icechunk.Repository.open(storage).readonly_session("main")
    with xr.open_zarr(session.store, consolidated=False) as ds:
        assert_true(ds)


def test_a_reader_sees_whole_regions_only(
    dataset: Generated, client: Client, tmp_path: Path
) -> None:
    """Who opens again and again during updates inside shards never meets a wrong value."""
    dataset.backfill(day(1), client=client)
    done = threading.Event()
    lengths: list[int] = []

    def read() -> None:
        while not done.is_set():
            session = repository(dataset).readonly_session("main")
            with xr.open_zarr(session.store, consolidated=False) as ds:
                assert_true(ds)
                lengths.append(ds.sizes["time"])

    reader = threading.Thread(target=read)
    failures: list[Any] = []
    hook, threading.excepthook = threading.excepthook, failures.append
    reader.start()
    for number in range(2, 5):
        dataset.reformat_operational_update(client=client, now=day(number))
    done.set()
    reader.join()
    threading.excepthook = hook
    assert not failures
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 1


# -- resuming ---------------------------------------------------------------------------------


def test_what_was_durable_is_not_done_again(archive: str, client: Client, tmp_path: Path) -> None:
    """A run that ends before it publishes leaves no commit; the next publishes its uploads."""
    with ArchiveServer(Path(archive)) as server:
        server.release_all()
        dataset = Generated(tmp_path / "a.icechunk", source_base=server.url)
        with client.as_current():
            for job in dataset.plan(day(4)).jobs[:2]:  # the static one, and the first region
                job.process()
        assert messages(dataset)[:-1] == ["Prepare the archive, not yet to be seen"]
        with pytest.raises(FileNotFoundError):
            xr.open_zarr(repository(dataset).readonly_session("main").store, consolidated=False)
        asked = len(server.requests)
        again = Generated(tmp_path / "a.icechunk", source_base=server.url)
        report = again.backfill(day(2), client=client)
        assert len(server.requests) == asked
    assert (report.variables_done, report.variables_skipped) == (0, 4)
    assert report.positions_after == 8
    assert_whole(again, 2)


def test_uploads_that_are_gone_are_done_again(
    dataset: Generated, client: Client, tmp_path: Path
) -> None:
    """A receipt whose objects are gone from storage is not believed."""
    with client.as_current():
        for job in dataset.plan(day(2)).jobs:
            job.process()
    chunks = list((tmp_path / "a.icechunk" / "chunks").iterdir())
    # Each session inlines what is small; humidity's objects are not.
    assert chunks
    for chunk in chunks:
        chunk.unlink()
    report = dataset.backfill(day(2), client=client)
    assert report.variables_done >= 1
    assert_whole(dataset, 2)


def test_a_branch_that_was_set_back_is_published_again(dataset: Generated, client: Client) -> None:
    """After somebody set main back, the next run shows all again without doing it again."""
    dataset.backfill(day(2), client=client)
    before = repository(dataset).lookup_branch("main")
    dataset.backfill(day(DAYS), client=client)
    repository(dataset).reset_branch("main", before)
    assert_whole(dataset, 2)
    report = dataset.backfill(day(DAYS), client=client)
    assert report.variables_done == 0
    assert_whole(dataset, DAYS)


def test_regions_of_another_run_become_visible_with_ours(
    archive: str, dataset: Generated, client: Client, tmp_path: Path
) -> None:
    """What another run uploads in the meantime is merged by whoever publishes beyond it."""
    dataset.backfill(day(2), client=client)
    other = Generated(tmp_path / "a.icechunk", source_base=archive)
    between = other.plan(day(4)).jobs[-1]
    done: list[str] = []

    def process_what_is_between(event: Any) -> None:
        if event.kind == "region" and not done:
            done.append(event.region)
            with client.as_current():
                between.process()

    report = dataset.backfill(
        day(DAYS), start=str(day(4)), client=client, listener=process_what_is_between
    )
    assert done
    assert report.variables_done == 3
    assert_whole(dataset, DAYS)


def test_an_archive_keeps_its_format(archive: str, dataset: Generated, client: Client) -> None:
    """A store that was made in one format is not continued in the other."""
    dataset.backfill(day(2), client=client)
    plain = Generated(store_of(dataset).url, source_base=archive, format="zarr")
    with pytest.raises(ValueError, match="is in format icechunk, not zarr"):
        plain.backfill(day(4), client=client)


# -- other committers -------------------------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let somebody act between a publication's reading and its commit."""

    def arrange(act: Callable[[], None]) -> None:
        commit = publication.commit

        def act_and_commit(*arguments: Any) -> None:
            monkeypatch.setattr(publication, "commit", commit)
            act()
            commit(*arguments)

        monkeypatch.setattr(publication, "commit", act_and_commit)

    return arrange


def test_a_commit_of_something_else_stays(
    dataset: Generated, client: Client, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """A committer who adds an array of his own meanwhile is not in the way, nor disturbed."""
    dataset.backfill(day(2), client=client)

    def add_array() -> None:
        session = repository(dataset).writable_session("main")
        group = zarr.open_group(session.store, mode="r+")
        notes = group.create_group("notes").create_array("note", shape=(2,), dtype="int8")
        notes[:] = [4, 2]
        session.commit("A note")

    meanwhile(add_array)
    assert dataset.backfill(day(4), client=client).succeeded
    assert "A note" in messages(dataset)
    session = repository(dataset).readonly_session("main")
    found = zarr.open_array(session.store, path="notes/note", mode="r")
    assert found[:].tolist() == [4, 2]
    assert_whole(dataset, 4)


def test_a_commit_of_the_same_is_not_overwritten(
    dataset: Generated, client: Client, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """A committer who changes what is published meanwhile stops the publication, and keeps his."""
    dataset.backfill(day(2), client=client)

    def resize() -> None:
        session = repository(dataset).writable_session("main")
        array = zarr.open_array(session.store, path="temperature", mode="r+")
        array.resize((9, 6, 8))
        session.commit("Resized by hand")

    meanwhile(resize)
    with pytest.raises(PublishConflict, match="nothing was published"):
        dataset.backfill(day(4), client=client)
    assert messages(dataset)[0] == "Resized by hand"


# -- upkeep -----------------------------------------------------------------------------------


def test_expiry_and_garbage_collection_keep_what_readers_see(
    dataset: Generated, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old snapshots and what only they hold go; the archive and its resuming stay."""
    monkeypatch.setattr(upkeep, "GARBAGE_MARGIN", timedelta(0))
    for number in range(1, 5):
        dataset.backfill(day(number), client=client)
    store = store_of(dataset)
    before = len(messages(dataset))
    now = datetime.now(UTC)
    may_go = upkeep.expire(store.repository, now, dry_run=True)
    assert len(messages(dataset)) == before
    expired = upkeep.expire(store.repository, now)
    assert may_go - expired in (0, 1)  # Icechunk 2 keeps the very first
    would_go = upkeep.collect_garbage(store.uploads, now, dry_run=True)
    assert would_go["snapshots_deleted"] > 0
    assert upkeep.collect_garbage(store.uploads, now) == would_go
    assert len(messages(dataset)) < before
    assert_whole(dataset, 4)
    assert dataset.backfill(day(4), client=client).variables_done == 0
    assert dataset.backfill(day(DAYS), client=client).succeeded
    assert_whole(dataset, DAYS)


def test_garbage_collection_spares_uploads_that_wait(
    dataset: Generated, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is uploaded and not yet published survives, though no snapshot holds it."""
    monkeypatch.setattr(upkeep, "GARBAGE_MARGIN", timedelta(0))
    dataset.backfill(day(2), client=client)
    with client.as_current():
        dataset.plan(day(4)).jobs[-1].process()
    upkeep.collect_garbage(store_of(dataset).uploads, datetime.now(UTC) + timedelta(hours=1))
    report = dataset.backfill(day(4), client=client)
    assert report.variables_done == 0
    assert_whole(dataset, 4)


def test_upkeep_on_the_command_line(dataset: Generated, client: Client) -> None:
    """A dry run changes nothing, a real one forgets; an archive without snapshots is refused."""

    def run(*options: str) -> Result:
        shown = ["upkeep", "generated:Generated", "--older-than", "0s", "--json", *options]
        return CliRunner().invoke(cli, shown)

    for number in (1, 2):
        dataset.backfill(day(number), client=client)
    before = messages(dataset)
    url = str(store_of(dataset).url)
    dry = run("--store", url, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert json.loads(dry.stdout)["snapshots_expired"] > 0
    assert messages(dataset) == before
    assert run("--store", url).exit_code == 0
    assert len(messages(dataset)) < len(before)
    assert_whole(dataset, 2)
    Generated(f"{url}.zarr", source_base=dataset.source_base).backfill(day(1), client=client)
    refused = run("--store", f"{url}.zarr")
    assert refused.exit_code == 2
    assert "keeps no snapshots" in refused.stderr


# -- faults and refusals ----------------------------------------------------------------------


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """What lies between the client and the server."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def test_faults_of_the_store_change_nothing(
    archive: str, s3_server: S3Server, proxy: FaultProxy, client: Client
) -> None:
    """Throttling, resets and lost answers delay a run on S3, which ends as without them."""
    options = {**s3_server.storage_options, "endpoint_url": proxy.url}
    url = f"s3://public/{uuid.uuid4().hex}.icechunk"
    dataset = Generated(url, source_base=archive, storage_options=options)
    dataset.backfill(day(2), client=client)
    for fault, times in [(Status(status=503), 8), (Reset(), 3)]:
        proxy.inject("*/chunks/*", fault, method="PUT", times=times)
        proxy.inject("*/manifests/*", fault, method="PUT", times=1)
    proxy.inject("*/chunks/*", LostAnswer(), method="PUT", times=2)
    assert dataset.backfill(day(DAYS), client=client).succeeded
    assert_whole(dataset, DAYS)


def test_a_burst_of_failures_is_outlived(archive: str, s3_server: S3Server, client: Client) -> None:
    """Failures that use up what Icechunk's client tries by itself do not end a run."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        options = {**s3_server.storage_options, "endpoint_url": proxy.url}
        url = f"s3://public/{uuid.uuid4().hex}.icechunk"
        dataset = Generated(url, source_base=archive, storage_options=options)
        dataset.backfill(day(2), client=client)
        proxy.inject("*/chunks/*", Reset(), method="PUT", times=40)
        assert dataset.backfill(day(DAYS), client=client).succeeded
    direct = Generated(url, source_base=archive, storage_options=s3_server.storage_options)
    assert_whole(direct, DAYS)


def test_a_commit_whose_answer_is_lost_is_made_once(
    archive: str, s3_server: S3Server, proxy: FaultProxy, client: Client
) -> None:
    """A commit that the store has, though nobody heard of it, is neither lost nor repeated."""
    options = {**s3_server.storage_options, "endpoint_url": proxy.url}
    url = f"s3://public/{uuid.uuid4().hex}.icechunk"
    dataset = Generated(url, source_base=archive, storage_options=options)
    dataset.backfill(day(2), client=client)
    before = len(messages(dataset))
    # The branch's reference in Icechunk 1.1, the repository's object in 2.
    for pattern in ("*/refs/branch.main/ref.json", "*.icechunk/repo"):
        proxy.inject(pattern, LostAnswer(), method="PUT", times=1)
    assert dataset.backfill(day(4), client=client).succeeded
    proxy.clear_faults()
    assert len(set(messages(dataset))) == len(messages(dataset)) > before
    assert_whole(dataset, 4)


@pytest.mark.parametrize(
    ("bucket", "options", "words"),
    [
        ("public", {"secret": "wrong"}, "SignatureDoesNotMatch: the credentials are not right"),
        ("nowhere", {}, "there is no bucket nowhere"),
        ("public", {"anon": True, "key": None, "secret": None}, "may not do that in bucket public"),
    ],
    ids=["wrong secret", "missing bucket", "read-only bucket"],
)
def test_an_unusable_store_is_said_in_one_line(
    bucket: str, options: dict[str, Any], words: str, archive: str, s3_server: S3Server
) -> None:
    """Wrong credentials, a missing or a read-only bucket: the line is that of plain Zarr."""
    dataset = Generated(
        f"s3://{bucket}/{uuid.uuid4().hex}.icechunk",
        source_base=archive,
        storage_options={**s3_server.storage_options, **options},
    )
    with pytest.raises(StoreUnwritable, match=words) as refused:
        dataset.backfill(day(2), client="tcp://127.0.0.1:1")
    assert "\n" not in str(refused.value)
    assert s3_server.secret_key not in str(refused.value)


def test_what_is_not_supported_is_refused(tmp_path: Path) -> None:
    """Other places than a local path and S3, and fsync, are refused when the store is named."""
    with pytest.raises(ValueError, match="Icechunk stores are local paths, or URLs of"):
        Generated("sftp://host/a.icechunk")
    with pytest.raises(ValueError, match="no fsync"):
        Generated(tmp_path / "a.icechunk", fsync=True)


def test_what_is_opened_is_read_on_a_cluster(
    archive: str, s3_server: S3Server, client: Client
) -> None:
    """Workers that know nothing of the store compute on what `open_dataset` gives."""
    url = f"s3://public/{uuid.uuid4().hex}.icechunk"
    dataset = Generated(url, source_base=archive, storage_options=s3_server.storage_options)
    dataset.backfill(day(2), client=client)
    with local_client(n_workers=1), dataset.store.open_dataset() as ds:
        assert_true(ds)
