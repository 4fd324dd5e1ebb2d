"""What is told a host over https is not told it in the clear, though it sends there itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from both_schemes import BothSchemes, serving_both
from gridmill import BearerToken, DownloadSettings
from gridmill.sources.fetch.credentials.access import kept_by, using
from gridmill.sources.fetch.download import read
from gridmill.sources.queues.client import JobState
from gridmill.sources.queues.fetching import Patience, fetch_queued
from gridmill.sources.queues.tickets import Tickets
from gridmill.stores.objects.local import LocalObjects

SECRET = "tok-5f3a9c"
SETTINGS = DownloadSettings(
    attempts=1, headers={"Private-Token": SECRET, "Cookie": SECRET, "X-Purpose": "archive"}
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BothSchemes]:
    """A server of both schemes at one port."""
    with serving_both(tmp_path, monkeypatch) as server:
        yield server


class Ready:
    """A queue whose job is ready at once, at an address of its own."""

    def __init__(self, url: str, result: str) -> None:
        self.url, self.result = url, result

    def submit(self, request: Any, key: str, settings: DownloadSettings) -> str:
        """Name the job."""
        return "job-0"

    def find(self, request: Any, key: str, settings: DownloadSettings) -> None:
        """Find none."""

    def look(self, job: str, settings: DownloadSettings) -> JobState:
        """Say where its result is."""
        return JobState(stage="ready", url=self.result)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_the_result_of_a_queue_is_asked_for_in_the_clear_without_secrets(tmp_path, server, scheme):
    """At the same host and port: only by https it is the queue that is asked."""
    server.answer = lambda *asked: (200, {}, b"made")
    tickets = Tickets(LocalObjects(tmp_path / "state", tmp_path / "staging"))
    queue = Ready(server.at("https"), f"{server.at(scheme)}/made")
    done = fetch_queued(
        queue, {}, tmp_path / "a", tickets=tickets, settings=SETTINGS, patience=Patience()
    )
    assert done.path.read_bytes() == b"made"
    assert (SECRET in repr(server.told)) == (scheme == "https")
    assert SECRET not in repr(server.in_the_clear())


def test_a_redirect_from_https_takes_no_secret_along(server):
    """To http of the same host and port."""
    server.answer = lambda scheme, path: (
        (302, {"Location": f"{server.at('http')}/b"}, b"")
        if scheme == "https"
        else (200, {}, b"file")
    )
    assert read(f"{server.at('https')}/a", settings=SETTINGS) == b"file"
    assert SECRET in repr(server.told)
    assert SECRET not in repr(server.in_the_clear())
    assert [told["X-Purpose"] for told in server.in_the_clear()] == ["archive"]


def test_the_cookie_of_a_login_over_https_stays_there(server, monkeypatch):
    """Though the host did not call it secure; by https it is sent again."""
    cookie = {"Set-Cookie": f"session={SECRET}; Path=/"}
    server.answer = lambda scheme, path: {
        ("https", "/a"): (302, {"Location": f"{server.at('http')}/b", **cookie}, b""),
        ("http", "/b"): (302, {"Location": f"{server.at('https')}/c"}, b""),
        ("https", "/c"): (200, {}, b"file"),
    }[scheme, path]
    monkeypatch.setenv("EXAMPLE_TOKEN", "another")
    access, keeper = kept_by([BearerToken("data.example.org", env="EXAMPLE_TOKEN")])
    with using(access):
        assert read(f"{server.at('https')}/a", settings=DownloadSettings(attempts=1)) == b"file"
    cookies = [headers.get("Cookie") for _, _, headers in server.told]
    assert cookies == [None, None, f"session={SECRET}"]
    assert keeper.rules
