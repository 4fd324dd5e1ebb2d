"""A run's credentials reach workers, and nothing that is kept, shown, logged or scheduled."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from click.testing import CliRunner
from distributed import Client

from clusters import local_client
from gridmill import ApiKey, BearerToken, DownloadSettings, S3Access
from gridmill.cli import ExitCode, cli
from gridmill.display.run_page import report_page
from gridmill.runs.dask.plugin import secrets
from gridmill.sources.fetch.credentials import keeper as keeping
from guarded import Guarded
from tiny import Provider, Tiny, TinyJob, hours, until

TOKEN = "tok-5f3a9c-first"
RENEWED = "tok-77ab01-second"
KEY = "key-0d8e41-third"
VARIABLES = ("GRIDMILL_TEST_TOKEN", "GRIDMILL_TEST_KEY")


class QuickJob(TinyJob):
    """Asks once."""

    download_settings = DownloadSettings(attempts=1)


class Guarding(Tiny):
    """Its source files are on a server that asks who is there."""

    region_job = QuickJob


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two worker processes, which have nothing of this test's environment."""
    assert not any(name in os.environ for name in VARIABLES)
    with local_client(n_workers=2) as client:
        yield client


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files of eight hours."""
    Provider(tmp_path / "source").publish(hours(8))
    return tmp_path / "source"


def of_scheduler(dask_scheduler: Any) -> bytes:
    """Everything that a scheduler keeps, as bytes; runs there."""
    kept = [
        {str(key): (task.run_spec, task.annotations) for key, task in dask_scheduler.tasks.items()},
        {name: list(found) for name, found in dask_scheduler.get_events().items()},
        dict(dask_scheduler.worker_plugins),
        dict(dask_scheduler.task_metadata),
        dask_scheduler.get_logs(),
        [repr(one) for one in dask_scheduler.transition_log],
    ]
    return b"".join(cloudpickle.dumps(one) for one in kept)


class Watch:
    """Looks at the scheduler and its dashboard while a run goes on."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen = b""

    def __call__(self, event: Any) -> None:
        """Look, at each event of the run."""
        self.seen += repr(event).encode() + cloudpickle.dumps(event)
        self.seen += self.client.run_on_scheduler(of_scheduler)

    def after(self) -> bytes:
        """Everything that was seen, with what is left."""
        link = self.client.dashboard_link.rpartition("/")[0]
        pages = (
            "/info/main/workers.html",
            "/info/main/exceptions.html",
            "/info/main/logs.html",
            "/json/identity.json",
            "/metrics",
        )
        for page in pages:
            try:
                with urllib.request.urlopen(link + page) as answer:
                    self.seen += answer.read()
            except urllib.error.HTTPError as error:  # not every page bears every failure
                self.seen += error.read()
        logs = self.client.get_worker_logs()
        return self.seen + repr(logs).encode() + self.client.run_on_scheduler(of_scheduler)


def bytes_below(folder: Path) -> bytes:
    """Every byte of every file, and every file's name."""
    return b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    )


def log_everything(folder: str) -> None:
    """Let a worker log all that any library says into a file; runs there."""
    Path(folder).mkdir(exist_ok=True)
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)
    root.addHandler(logging.FileHandler(f"{folder}/worker-{os.getpid()}.log"))


def held_by_workers(dask_worker: Any) -> list[str]:
    """What a worker's environment and its folder hold of secrets' places; runs there."""
    return [name for name in ("GRIDMILL_TEST_TOKEN", "GRIDMILL_TEST_KEY") if name in os.environ]


def test_a_secret_reaches_workers_and_nothing_else(client, source, tmp_path, monkeypatch, caplog):
    """Workers without the variables fetch; every byte of what is kept or shown is searched."""
    monkeypatch.setenv("GRIDMILL_TEST_TOKEN", TOKEN)
    monkeypatch.setenv("GRIDMILL_TEST_KEY", KEY)
    watch = Watch(client)
    with (
        caplog.at_level(logging.DEBUG),
        Guarded(source, "query", [KEY], name="appid") as other,
        Guarded(source, valid=[TOKEN], elsewhere=other.url) as server,
    ):
        dataset = Guarding(
            str(tmp_path / "out" / "a.zarr"),
            source_base=server.url,
            credentials=[
                BearerToken(server.url, env="GRIDMILL_TEST_TOKEN"),
                ApiKey(other.url, query="appid", env="GRIDMILL_TEST_KEY"),
            ],
        )
        client.run(log_everything, str(tmp_path / "out"))
        report = dataset.backfill(until(8), client=client, listener=watch)
        assert report.succeeded, report.failures
        assert set(server.statuses) == {302}
        assert set(other.statuses) == {200}
        assert not any(client.run(held_by_workers).values())
    kept = bytes_below(tmp_path / "out")
    assert b"appid=***" in kept  # in the workers' logs
    everything = watch.after() + caplog.text.encode() + kept
    everything += report_page(report).encode() + json.dumps(report.to_dict()).encode()
    everything += cloudpickle.dumps(report)
    assert len(everything) > 10_000
    for secret in (TOKEN, KEY):
        assert secret.encode() not in everything


def test_a_wrong_token_is_said_once_and_does_not_hammer(client, source, tmp_path, monkeypatch):
    """Each process tries it once; the report names host, place and next step, and not the token."""
    monkeypatch.setenv("GRIDMILL_TEST_TOKEN", "wrong-token-9a8b7c")
    watch = Watch(client)
    with Guarded(source, valid=[TOKEN]) as server:
        rules = [BearerToken(server.url, env="GRIDMILL_TEST_TOKEN")]
        dataset = Guarding(
            str(tmp_path / "out" / "a.zarr"), source_base=server.url, credentials=rules
        )
        report = dataset.backfill(until(8), client=client, listener=watch)
    assert not report.succeeded
    assert len(server.asked) <= 2
    everything = watch.after() + bytes_below(tmp_path / "out") + cloudpickle.dumps(report)
    assert b"wrong-token-9a8b7c" not in everything
    assert b"GRIDMILL_TEST_TOKEN is refused; put a valid one there" in everything


def test_workers_are_answered_at_once_whatever_fails_where_it_is_read(
    client, source, tmp_path, monkeypatch
):
    """By the rule's place and the error's type; its own words may hold what was read."""

    def fails(rule: Any, url: str) -> str:
        raise RuntimeError(f"cannot parse {TOKEN}")

    monkeypatch.setattr(keeping, "read_credential", fails)
    watch = Watch(client)
    with Guarded(source, valid=[TOKEN]) as server:
        rules = [BearerToken(server.url, env="GRIDMILL_TEST_TOKEN")]
        dataset = Guarding(
            str(tmp_path / "out" / "a.zarr"), source_base=server.url, credentials=rules
        )
        report = dataset.backfill(until(2), client=client, listener=watch)
    assert server.asked == []
    everything = watch.after() + bytes_below(tmp_path / "out") + cloudpickle.dumps(report)
    told = b"the environment variable GRIDMILL_TEST_TOKEN cannot be read (RuntimeError)"
    assert told in everything
    assert TOKEN.encode() not in everything


def test_a_token_that_expires_in_a_run_is_renewed_for_all_workers(client, source, tmp_path):
    """The command runs where the run was started, once for each time that it expires."""
    count = tmp_path / "count"
    program = tmp_path / "token.py"
    program.write_text(
        f"import pathlib\np = pathlib.Path({str(count)!r})\n"
        "n = len(p.read_text()) if p.exists() else 0\n"
        f"p.write_text('x' * (n + 1))\nprint([{TOKEN!r}, {RENEWED!r}][min(n, 1)])\n"
    )
    with Guarded(source, valid=[TOKEN, RENEWED]) as server:
        # The first is good for three files.
        server.uses = 3
        expire = server.answer

        def answer(asked: Any) -> Any:
            if server.given(asked) == RENEWED:
                server.uses = None
            return expire(asked)

        server.answer = answer
        rules = [BearerToken(server.url, command=(sys.executable, str(program)))]
        dataset = Guarding(str(tmp_path / "a.zarr"), source_base=server.url, credentials=rules)
        report = dataset.backfill(until(8), client=client)
        assert report.succeeded, report.failures
    assert count.read_text() == "xx"
    assert dataset.store.published_length("time") == 8


def test_two_runs_on_one_cluster_have_each_their_own(client, source, tmp_path, monkeypatch):
    """What one was given is not sent for the other."""
    monkeypatch.setenv("GRIDMILL_TEST_TOKEN", TOKEN)
    with Guarded(source, valid=[TOKEN]) as server:
        rules = [BearerToken(server.url, env="GRIDMILL_TEST_TOKEN")]
        ours = Guarding(str(tmp_path / "a.zarr"), source_base=server.url, credentials=rules)
        assert ours.backfill(until(4), client=client).succeeded
        theirs = Guarding(str(tmp_path / "b.zarr"), source_base=server.url)
        assert not theirs.backfill(until(4), client=client).succeeded


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("http://[::1]:8080", "http://[::1]:8080/a.bin"),
        ("[2001:DB8::7]", "https://[2001:db8::7]/a.bin"),
        ("*.example.org:8443", "https://data.example.org:8443/a.bin"),
        ("s3://bucket", "s3://bucket/a.bin"),
    ],
)
def test_a_worker_asks_for_a_host_as_its_rule_names_it(host, url, monkeypatch):
    """Also for one that is named by its IPv6 address."""
    monkeypatch.setenv("GRIDMILL_TEST_TOKEN", TOKEN)
    places: Any = {"env": ("GRIDMILL_TEST_TOKEN", "GRIDMILL_TEST_TOKEN")}
    is_bucket = host.startswith("s3:")
    rule = S3Access(host, **places) if is_bucket else BearerToken(host, env="GRIDMILL_TEST_TOKEN")
    keeper = keeping.Keeper([rule])

    class Here:
        address = "here"

        def log_event(self, topic: str, question: dict[str, Any]) -> None:
            secrets.deliver(question["number"], secrets._envelope(question, keeper))

    worker: Any = Here()
    version, value = secrets.AskDriver(worker)(keeper.id, url, None)
    assert version == 1
    assert TOKEN in value


@pytest.mark.parametrize("wrong", [{"host": "http://::1:8080"}, {"refusal": {"of": "later"}}])
def test_a_question_that_nobody_understands_is_answered_too(wrong):
    """As one of another release of gridmill; the worker does not wait in vain."""
    keeper = keeping.Keeper([BearerToken("data.example.org", env="GRIDMILL_TEST_TOKEN")])
    question = {"host": "https://data.example.org:443", "refusal": None, **wrong}
    assert "Error)" in secrets._envelope(question, keeper).error


def settings_file(folder: Path, server: Guarded) -> None:
    """Write what an operator says."""
    (folder / "gridmill.toml").write_text(
        f'store = "out/a.zarr"\nsource-base = "{server.url}"\n'
        f'[credential."{server.url}"]\nkind = "bearer"\nenv = "GRIDMILL_TEST_TOKEN"\n'
    )


@pytest.mark.parametrize("is_right", [True, False])
def test_an_operator_names_the_place_in_the_settings(source, tmp_path, monkeypatch, is_right):
    """It goes before what the author declares; no output of any command holds the token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDMILL_TEST_TOKEN", TOKEN)
    monkeypatch.setattr(QuickJob, "credentials", (BearerToken("http://127.0.0.1", env="NOBODY"),))
    with Guarded(source, valid=[TOKEN if is_right else "another"]) as server:
        settings_file(tmp_path, server)
        spec = "test_secrets_in_runs:Guarding"
        monkeypatch.setitem(sys.modules, "test_secrets_in_runs", sys.modules[__name__])
        told = io.StringIO()
        shown = ["--json"] if is_right else []
        for args in (
            ["update", spec, "--now", until(8), "--cluster", "none", "-vv", *shown],
            ["status", spec, "--now", until(8), "--json"],
            ["report", spec, "--html", "page.html"],
            ["gaps", spec],
        ):
            done = CliRunner().invoke(cli, args)
            told.write(done.output)
            if args[0] == "update":
                wanted = ExitCode.SUCCESS if is_right else ExitCode.FAILED
                assert done.exit_code == wanted, done.output
                assert is_right or "7 other files" in " ".join(done.output.split())
    everything = told.getvalue().encode() + bytes_below(tmp_path)
    assert TOKEN.encode() not in everything


def test_a_mistake_in_the_settings_is_said_without_its_value(source, tmp_path, monkeypatch):
    """Whoever pastes the token itself does not find it in the error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gridmill.toml").write_text(
        f'store = "a"\n[credential."data.example.org"]\nkind = "bearer"\ntoken = "{TOKEN}"\n'
    )
    done = CliRunner().invoke(cli, ["status", "tiny:Tiny"])
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "token is no setting of kind bearer" in done.output
    assert TOKEN not in done.output
