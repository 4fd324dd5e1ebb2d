"""Tokens of uploads to Icechunk: what they hold, which are read, and what becomes of the others."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import sys
import types
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import icechunk
import numpy as np
import pandas as pd
import pytest
from distributed import Client

from generated import DIMS, START, Generated, build_archive, times_of, truth
from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.region import Region
from gridmill.stores.icechunk import upkeep
from gridmill.stores.icechunk.keys import get, put
from gridmill.stores.icechunk.settings import storage as icechunk_storage
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.icechunk.tokens import Token, TokenUnreadable, UploadLost, storage_of
from gridmill.stores.objects.local import LocalObjects
from gridmill.testing import S3Server

DAYS = 6
# Tokens of before this schema, by the major version of Icechunk whose fork they hold.
OLD = {
    path.name.partition("-")[2][0]: path.read_text()
    for path in (Path(__file__).parent / "old_tokens").iterdir()
}
OURS = icechunk.__version__[0]
WHAT = (ObjectReceipt("temperature/c/0/0/0", 10, 0),)


def day(number: int) -> pd.Timestamp:
    """Give the start of a day, counted from 0."""
    return pd.Timestamp(START) + pd.Timedelta(days=number)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The provider's files."""
    return str(build_archive(tmp_path_factory.mktemp("provider"), DAYS))


@pytest.fixture(params=["local", "s3"])
def make(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server, archive: str
) -> Callable[[], Generated]:
    """Make the same dataset anew, as another process would."""
    if request.param == "local":
        url, options = str(tmp_path / "a.icechunk"), {}
    else:
        url = f"s3://public/{uuid.uuid4().hex}.icechunk"
        options = s3_server.storage_options
    return lambda: Generated(url, source_base=archive, storage_options=options)


@pytest.fixture
def local(tmp_path: Path, archive: str) -> Callable[[], Generated]:
    """Make the same local dataset anew."""
    return lambda: Generated(tmp_path / "a.icechunk", source_base=archive)


def store_of(dataset: Generated) -> IcechunkStore:
    """Give a dataset's store."""
    assert isinstance(dataset.store, IcechunkStore)
    return dataset.store


def messages(dataset: Generated) -> list[str]:
    """Give the messages of all commits, the last first."""
    ancestry = store_of(dataset).repository.open().ancestry(branch="main")
    return [snapshot.message for snapshot in ancestry]


def assert_whole(dataset: Generated, days: int) -> None:
    """Compare all values that a reader sees with the formula."""
    with dataset.store.open_dataset() as ds:
        assert ds.sizes["time"] == 4 * days
        for name, dims in DIMS.items():
            expected = truth(name, times_of(days) if "time" in dims else None)
            np.testing.assert_array_equal(ds[name].values, expected)


def upload(dataset: Generated, client: Client, days: int = DAYS) -> None:
    """Upload what an archive of some days has, and publish nothing."""
    with client.as_current():
        for job in dataset.plan(day(days)).jobs:
            job.process()


def records(store: IcechunkStore) -> Iterator[ProgressRecord]:
    """Yield all records, the static one first."""
    static = store.tracker.read(Region(0, 0))
    yield from [*([static] if static else []), *list(store.tracker.records())]


def tokens(store: IcechunkStore) -> list[str]:
    """Give all tokens that are recorded."""
    every = [v.token for record in records(store) for v in record.variables.values()]
    return [token for token in every if token is not None]


def rewrite(store: IcechunkStore, change: Callable[[str], str], start: int | None = None) -> None:
    """Change the tokens of all records, or of the one that starts at a position."""
    for record in records(store):
        if start in (None, record.start):
            variables = {
                name: replace(v, token=None if v.token is None else change(v.token))
                for name, v in record.variables.items()
            }
            store.tracker.write(replace(record, variables=variables))


def of_another_icechunk(token: str) -> str:
    """Let a token say that another major version of Icechunk wrote it."""
    return json.dumps({**json.loads(token), "icechunk": "99.1.0"})


@pytest.fixture
def in_old_form(monkeypatch: pytest.MonkeyPatch) -> Callable[[IcechunkStore, str], str]:
    """Write a token as it was before it had a schema, by code that is gone since."""
    gone = types.ModuleType("gridmill.stores.gone")
    gone._Credentials = type(  # type: ignore[attr-defined]
        "_Credentials", (icechunk_storage._Credentials,), {"__module__": gone.__name__}
    )

    def write(store: IcechunkStore, text: str) -> str:
        token = Token.from_text(text, "it")
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, gone.__name__, gone)
            patched.setattr(icechunk_storage, "_Credentials", gone._Credentials)
            repository = icechunk.Repository.open(store.repository.storage())
            pickled = pickle.dumps(token.fork(storage_of(repository)))
        assert (b"gridmill.stores.gone" in pickled) == store.url.startswith("s3://")
        return json.dumps(
            {
                "begun": token.begun.isoformat(timespec="seconds"),
                "place": token.place,
                "seed": token.seed,
                "fork": base64.b85encode(pickled).decode(),
            }
        )

    return write


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Give what the store warned of."""
    name = "gridmill.stores.icechunk.uploads"
    caplog.set_level("WARNING", name)
    return lambda: [r.getMessage() for r in caplog.records if r.name == name and r.levelno >= 30]


# -- what a token holds -----------------------------------------------------------------------


def test_a_token_names_nothing_of_ours_and_no_address(
    make: Callable[[], Generated], client: Client
) -> None:
    """It holds no module, credential, path or endpoint, so that all of these may change."""
    store = store_of(make())
    upload(make(), client, days=2)
    assert tokens(store)
    for text in tokens(store):
        content = json.loads(text)
        assert (content["schema"], content["icechunk"]) == (1, icechunk.__version__)
        held = b"".join(map(base64.b64decode, content["session"]))
        named = [b"gridmill", b"Credentials", b"s3://", b"http", b".icechunk", b"pickled"]
        assert [name for name in named if name in held] == []


def test_a_fork_comes_back_as_it_was(make: Callable[[], Generated], client: Client) -> None:
    """What is opened from a token is, byte by byte, what Icechunk wrote of the fork."""
    upload(make(), client, days=2)
    repository = store_of(make()).repository.open()
    fork = repository.writable_session("main").fork()
    text = Token.of(fork, datetime.now(UTC), "here").to_text()
    again = Token.from_text(text, "it").fork(storage_of(repository))
    assert again.__getstate__() == fork.__getstate__()


# -- tokens of before -------------------------------------------------------------------------


def test_old_tokens_are_published_though_the_module_that_they_name_is_gone(
    make: Callable[[], Generated],
    client: Client,
    in_old_form: Callable[[IcechunkStore, str], str],
) -> None:
    """Uploads of earlier code are committed, not made again, and their tokens stay as they are."""
    upload(make(), client)
    store = store_of(make())
    rewrite(store, lambda token: in_old_form(store, token))
    before = tokens(store)
    dataset = make()
    assert dataset.backfill(day(DAYS), client=client).variables_done == 0
    assert_whole(dataset, DAYS)
    assert tokens(store) == before
    commits = messages(dataset)
    assert make().backfill(day(DAYS), client=client).variables_done == 0
    assert messages(dataset) == commits


def test_an_archive_of_old_tokens_is_continued(
    make: Callable[[], Generated],
    client: Client,
    in_old_form: Callable[[IcechunkStore, str], str],
) -> None:
    """An update writes into a region whose upload is in the old form, and keeps what is there."""
    upload(make(), client, days=3)
    store = store_of(make())
    rewrite(store, lambda token: in_old_form(store, token))
    dataset = make()
    dataset.backfill(day(3), client=client)
    assert_whole(dataset, 3)
    assert make().backfill(day(4), client=client).variables_done == 3
    assert_whole(dataset, 4)


def test_an_old_token_opens_within_its_major_version(
    local: Callable[[], Generated], client: Client
) -> None:
    """One that Icechunk 1.1 or 2.3 really wrote is read by that major version, and by no other."""
    upload(local(), client, days=2)
    storage = storage_of(store_of(local()).repository.open())
    for major, text in OLD.items():
        token = Token.from_text(text, "it")
        if major == OURS:
            assert token.fork(storage).snapshot_id
        else:
            with pytest.raises(UploadLost, match="another version of Icechunk"):
                token.fork(storage)


# -- uploads that are lost --------------------------------------------------------------------


def test_uploads_of_another_icechunk_are_made_again(
    make: Callable[[], Generated], client: Client, warnings_of: Callable[[], list[str]]
) -> None:
    """What no reader sees yet counts as not uploaded, and one line says so."""
    upload(make(), client)
    rewrite(store_of(make()), of_another_icechunk)
    dataset = make()
    assert dataset.backfill(day(DAYS), client=client).variables_done == 10
    assert_whole(dataset, DAYS)
    [line] = warnings_of()
    assert "count as not uploaded" in line
    assert f"made with Icechunk 99.1.0, which {icechunk.__version__} does not read" in line


def test_a_plan_says_that_uploads_of_another_icechunk_are_made_again(
    local: Callable[[], Generated], client: Client, warnings_of: Callable[[], list[str]]
) -> None:
    """All of their regions are in it, and one line says why."""
    upload(local(), client)
    assert sum(bool(p.todo) for p in local().plan(day(DAYS)).prepared()) == 0
    text = OLD["2" if OURS == "1" else "1"].strip()
    rewrite(store_of(local()), lambda token: text)
    assert sum(bool(p.todo) for p in local().plan(day(DAYS)).prepared()) == 4
    [line] = warnings_of()
    assert "made with another version of Icechunk" in line


def test_the_extent_stops_before_an_upload_of_another_icechunk(
    local: Callable[[], Generated], client: Client
) -> None:
    """A run that does not reach such a region publishes what precedes it."""
    upload(local(), client)
    rewrite(store_of(local()), of_another_icechunk, start=8)
    dataset = local()
    report = dataset.backfill(day(2), client=client)
    assert report.variables_done == 0
    assert_whole(dataset, 2)
    assert local().backfill(day(DAYS), client=client).variables_done == 3
    assert_whole(dataset, DAYS)


@pytest.fixture
def newer_icechunk(client: Client) -> Iterator[Callable[[], None]]:
    """Let every process believe that it has another major version of Icechunk."""
    version = icechunk.__version__

    def become(version: str = "99.1.0") -> None:
        def be(version: str) -> None:
            import icechunk

            icechunk.__version__ = version

        be(version)
        client.run(be, version)

    yield become
    become(version)


def test_what_is_published_stays_done_with_another_icechunk(
    local: Callable[[], Generated],
    client: Client,
    newer_icechunk: Callable[[], None],
    warnings_of: Callable[[], list[str]],
) -> None:
    """Only a region that grows is written anew; the others are neither made again nor warned of."""
    local().backfill(day(3), client=client)
    newer_icechunk()
    commits = messages(local())
    assert local().backfill(day(3), client=client).variables_done == 0
    assert messages(local()) == commits
    assert local().backfill(day(DAYS), client=client).variables_done == 6
    assert_whole(local(), DAYS)
    assert warnings_of() == []


def test_publishing_an_upload_of_another_icechunk_is_refused(
    local: Callable[[], Generated], client: Client
) -> None:
    """Whoever asks the store for it learns which one it is, and what to do."""
    upload(local(), client, days=2)
    store = store_of(local())
    rewrite(store, of_another_icechunk)
    region = next(iter(store.uploads.whole_regions()))
    with pytest.raises(UploadLost, match=r"orography in the region from position static .* run a"):
        store.uploads.forks.to_merge(region.tokens["orography"], "orography", region.name)
    assert store.lost(region) == {"orography"}


def test_uploads_whose_snapshot_expired_are_made_again(
    local: Callable[[], Generated], client: Client, warnings_of: Callable[[], list[str]]
) -> None:
    """One line says so."""
    dataset = local()
    dataset.backfill(day(2), client=client)
    upload(local(), client, days=4)
    # As if somebody wrote the time coordinate once more.
    session = store_of(dataset).repository.open().writable_session("main")
    content = get(session.store, "time/c/0")
    assert content is not None
    put(session.store, "time/c/0", content)
    session.commit("Another commit")
    later = datetime.now(UTC) + timedelta(hours=1)
    upkeep.expire(store_of(dataset).repository, later)
    # Icechunk 1 keeps what expired until somebody collects garbage, as somebody else may.
    store_of(dataset).repository.open().garbage_collect(later)
    assert local().backfill(day(4), client=client).variables_done == 3
    assert_whole(local(), 4)
    [line] = warnings_of()
    assert "the snapshot that it began from has expired" in line


def test_an_archive_that_was_moved_keeps_its_uploads(
    local: Callable[[], Generated], client: Client, archive: str, tmp_path: Path
) -> None:
    """Moved with its records, its uploads are published from where it is now."""
    upload(local(), client)
    for suffix in ("", ".gridmill"):
        shutil.move(tmp_path / f"a.icechunk{suffix}", tmp_path / f"b.icechunk{suffix}")
    moved = Generated(tmp_path / "b.icechunk", source_base=archive)
    assert moved.backfill(day(DAYS), client=client).variables_done == 0
    assert_whole(moved, DAYS)
    assert not (tmp_path / "a.icechunk").exists()


# -- tokens that are not believed -------------------------------------------------------------


class _Malicious:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-called"),))


def _pickled(value: object) -> dict[str, Any]:
    content = json.loads(OLD[OURS])
    return {**content, "fork": base64.b85encode(pickle.dumps(value)).decode()}


def _good() -> dict[str, Any]:
    return json.loads(Token.from_text(OLD[OURS], "it").to_text())


DAMAGED: dict[str, tuple[Callable[[], Any], str]] = {
    "a callable": (lambda: _pickled(_Malicious()), "it names"),
    "another class": (lambda: _pickled(datetime.now(UTC)), "it names datetime.datetime"),
    "a number": (lambda: _pickled(1), "damaged"),
    "a short pickle": (lambda: {**json.loads(OLD[OURS]), "fork": "0b"}, "damaged"),
    "a short fork": (
        lambda: {**json.loads(OLD[OURS]), "fork": json.loads(OLD[OURS])["fork"][:-100]},
        "damaged",
    ),
    "no fork": (lambda: {"begun": "2026-01-01T00:00:00+00:00", "place": ""}, "damaged"),
    "no object": (lambda: [], "damaged"),
    "another checksum": (lambda: {**_good(), "crc32c": 1}, "its checksum is another one"),
    "a newer schema": (lambda: {**_good(), "schema": 7}, "schema 7, .* reads up to 1: use the"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_token_that_cannot_be_read_is_an_error(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never counts as absent: the line names what it is of and where, and nothing is run."""
    monkeypatch.chdir(tmp_path)
    make, words = DAMAGED[case]
    store = IcechunkStore(str(tmp_path / "a.icechunk"), "generated")
    store.repository.create(None, {}, 1)
    with pytest.raises(TokenUnreadable, match=words) as refused:
        store.missing(WHAT, json.dumps(make()))
    assert "temperature/c/0/0/0, kept in" in str(refused.value)
    assert isinstance(store.state, LocalObjects)
    assert str(store.state.url) in str(refused.value)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    assert not (tmp_path / "was-called").exists()


def test_a_session_with_a_callable_inside_is_refused() -> None:
    """A token whose session would have Icechunk load something by its name is not opened."""
    content = _good()
    content["session"][-1] = base64.b64encode(b"\xb0pickled_function").decode()
    content["crc32c"] = _checksum(content)
    with pytest.raises(TokenUnreadable, match="a callable where none belongs"):
        Token.from_text(json.dumps(content), "it")


def _checksum(content: dict[str, Any]) -> int:
    return int(google_crc32c.value(b"".join(map(base64.b64decode, content["session"]))))


def test_sessions_of_an_unknown_form_are_refused_when_they_are_written() -> None:
    """An Icechunk that pickles otherwise is named, instead of a token that nobody can open."""

    class Fork:
        def __getstate__(self) -> dict[str, bytes]:
            return {"_session": b"\x93\x01\x02\x03"}

    with pytest.raises(TokenUnreadable, match=f"Icechunk {icechunk.__version__} pickles sessions"):
        Token.of(Fork(), datetime.now(UTC), "here")
