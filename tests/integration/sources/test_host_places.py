"""Tests of the limit on downloads at a host, in all runs on a scheduler together."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import dask
import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from clusters import local_client
from gridmill.runs.dask.plugin.pipeline import PipelinePlugin
from gridmill.runs.dask.plugin.places import HostPlaces
from gridmill.sources.fetch import hosts
from gridmill.sources.fetch.download import DownloadSettings, fetch
from gridmill.sources.fetch.hosts import place_at
from gridmill.testing import ArchiveServer, Status
from steps import meanwhile, wait_until
from tiny import Provider, TinyJob, TinyTemplate, dataset_of, hours, until

LATENCY_S = 0.1


@pytest.fixture
def server(tmp_path):
    """Serve twelve files, slowly."""
    for number in range(12):
        (tmp_path / f"{number}.nc").write_bytes(b"CDF")
    with ArchiveServer(tmp_path, latency_s=LATENCY_S) as server:
        server.release_all()
        yield server


def fetch_all(url: str, folder: str, numbers: list[int], most: int | None) -> int:
    """Fetch files at once, as a download task does; count them."""
    settings = DownloadSettings(most_at_host=most, wait_initial_s=0.01)

    def one(number: int) -> int:
        return fetch(f"{url}/{number}.nc", Path(folder) / f"{number}", settings=settings).nbytes

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, numbers))


def fetch_everywhere(client: Client, server: ArchiveServer, folder: Path, most: int | None):
    """Fetch six files on each of two workers; give when the requests came, in order."""
    client.register_plugin(PipelinePlugin())
    folder.mkdir()
    futures = [
        client.submit(
            fetch_all, server.url, str(folder), numbers, most, workers=[worker], pure=False
        )
        for worker, numbers in zip(client.nthreads(), (range(6), range(6, 12)), strict=True)
    ]
    assert sum(client.gather(futures)) == 12 * 3
    return sorted(request.time for request in server.requests)


def test_all_workers_share_the_places_at_a_host(tmp_path, server, client):
    """With two places, no third request comes before the first of the two was answered."""
    times = fetch_everywhere(client, server, tmp_path / "out", 2)

    assert len(times) == 12
    assert all(third - first >= LATENCY_S for first, third in zip(times, times[2:], strict=False))


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_told_to_slow_down_keeps_the_place_while_waiting(tmp_path, server, client, status):
    """While all who have a place wait as long as the server asked, nobody else asks."""
    server.inject("*", Status(status=status, retry_after_s=1), times=2)

    times = fetch_everywhere(client, server, tmp_path / "out", 2)

    assert len(times) == 12 + 2
    assert times[2] - times[0] >= 1.0


def test_places_come_back_after_errors(tmp_path, server, client):
    """More fetches fail than there are places, and the next one goes on."""
    server.inject("*", Status(status=401), times=4)
    client.register_plugin(PipelinePlugin())
    folder = str(tmp_path)
    for number in range(4):
        future = client.submit(fetch_all, server.url, folder, [number], 2, pure=False)
        assert "401" in str(future.exception())

    assert client.submit(fetch_all, server.url, folder, [5], 2, pure=False).result() == 3


@pytest.mark.parametrize("most", [0, -1, True, 2.5])
def test_a_limit_is_a_count(most):
    """Anything else is refused where it is given."""
    with pytest.raises(ValueError, match="most_at_host"):
        DownloadSettings(most_at_host=most)


# -- several runs ------------------------------------------------------------------------------


class Polite(TinyJob):
    """Asks a host for two things at once."""

    download_settings = DownloadSettings(attempts=1, most_at_host=2)


class OtherTemplate(TinyTemplate):
    """Another dataset."""

    dataset_attributes: ClassVar = {"dataset_id": "other", "title": "Other"}


def most_at_once(times: list[float]) -> int:
    """Count the most requests that came within the time that the server takes for each."""
    return max(sum(0 <= t - first < LATENCY_S for t in times) for first in times)


def test_two_runs_share_the_places_at_a_host(tmp_path, client):
    """What workers fetch for two datasets, and what a driver asks, is never more than the cap."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(24))
    with ArchiveServer(provider.root, latency_s=LATENCY_S) as server:
        server.release_all()
        one = dataset_of(job=Polite)(tmp_path / "one.zarr", source_base=server.url)
        other_class = dataset_of(template=OtherTemplate, job=Polite)
        other = other_class(tmp_path / "other.zarr", source_base=server.url)
        one.backfill(until(12), client=client)
        with meanwhile(lambda: one.backfill(until(24), client=client, revalidate=True)):
            other.backfill(until(16), client=client)
        requests = server.requests
    # The driver asks for those of the first run whether they are as they were.
    assert len(requests) >= 12 + 12 + 12 + 16
    assert most_at_once([request.time for request in requests]) == 2


def test_the_strictest_run_says_how_many(tmp_path, client):
    """Who may ask for more asks for as few as another run's dataset lets it."""
    for number in range(9):
        (tmp_path / f"{number}.nc").write_bytes(b"CDF")
    with ArchiveServer(tmp_path, latency_s=LATENCY_S) as server:
        server.release_all()
        client.register_plugin(PipelinePlugin())
        for numbers, most in (([8], 1), (range(8), 8)):
            fetching = client.submit(
                fetch_all, server.url, str(tmp_path), list(numbers), most, pure=False
            )
            assert fetching.result() == 3 * len(numbers)
        times = [request.time for request in server.requests]
    assert len(times) == 9
    assert most_at_once(times) == 1


def test_without_a_cluster_the_places_are_those_of_the_process(tmp_path):
    """Threads of a process that works for no cluster wait for each other, too."""
    for number in range(6):
        (tmp_path / f"{number}.nc").write_bytes(b"CDF")
    with ArchiveServer(tmp_path, latency_s=LATENCY_S) as server:
        server.release_all()
        fetch_all(server.url, str(tmp_path), list(range(6)), 2)
        assert most_at_once([request.time for request in server.requests]) == 2


HOLDER = """
import sys, time
from distributed import Client
from gridmill.runs.dask.plugin.places import HostPlaces
client = Client(sys.argv[1])
with HostPlaces(client.scheduler, client.loop)("http://host", 1):
    print("held", flush=True)
    time.sleep(600)
"""


def hold_for_ever(host: str, told: str) -> None:
    """Take a worker's place, say so, and never give it back."""
    with place_at(f"{host}/file", 1):
        Path(told).touch()
        time.sleep(600)


def test_the_places_of_killed_drivers_and_workers_come_back(tmp_path):
    """After Dask's lease timeout; meanwhile nobody else has them."""
    timeouts = {
        "distributed.scheduler.locks.lease-timeout": "6 s",
        "distributed.scheduler.locks.lease-validation-interval": "200 ms",
    }
    with dask.config.set(timeouts), local_client(n_workers=1) as client:
        address = client.cluster.scheduler_address
        places = HostPlaces(client.scheduler, client.loop)
        for host in ("http://host", "http://other"):
            take(places, host)  # whoever is the first says how long leases last
        driver = subprocess.Popen(
            [sys.executable, "-c", HOLDER, address], stdout=subprocess.PIPE, text=True
        )
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        client.register_plugin(PipelinePlugin())
        with meanwhile(lambda: take(places, "http://host")) as taken:
            time.sleep(0.5)
            assert not taken.done()
            driver.kill()
            driver.wait()
            driver.stdout.close()
        told = tmp_path / "told"
        held = client.submit(hold_for_ever, "http://other", str(told), pure=False)
        wait_until(told.exists)
        (pid,) = client.run(os.getpid).values()
        held.cancel()
        os.kill(pid, signal.SIGKILL)
        take(places, "http://other")


def take(places: HostPlaces, host: str) -> None:
    """Have the only place at a host for a moment."""
    with places(host, 1):
        pass


def test_a_place_is_one_however_its_address_is_written(tmp_path):
    """Credentials and the case of a host do not make it another."""
    with ArchiveServer(tmp_path, latency_s=LATENCY_S) as server:
        (tmp_path / "file.nc").write_bytes(b"CDF")
        server.release_all()
        port = server.url.rpartition(":")[2]
        urls = [f"http://{host}:{port}/file.nc" for host in ("localhost", "me:x@LOCALHOST")]
        settings = DownloadSettings(most_at_host=1)
        with ThreadPoolExecutor(2) as pool:
            for index, url in enumerate(urls):
                pool.submit(fetch, url, tmp_path / f"copy{index}", settings=settings)
        assert most_at_once([request.time for request in server.requests]) == 1
        assert len(server.requests) == 2


# -- a rate ------------------------------------------------------------------------------------

# Four turns of half a second each.
A_MINUTE, MANY, WINDOW_S = 480, 4, 0.5


def fetch_in_turns(url: str, folder: str, numbers: list[int], most: int = A_MINUTE) -> int:
    """Fetch files at once under a rate, in windows that a test has time for; count the bytes."""
    hosts.WINDOW_S = WINDOW_S
    settings = DownloadSettings(most_a_minute=most, wait_initial_s=0.01)

    def one(number: int) -> int:
        path = Path(folder) / f"{number}"
        return fetch(f"{url}/{number}.nc", path, settings=settings).nbytes

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, numbers))


def turns_everywhere(client: Client, server: ArchiveServer, folder: Path) -> list[float]:
    """Fetch six files on each of two workers; return when the requests came, in order."""
    client.register_plugin(PipelinePlugin())
    folder.mkdir()
    futures = [
        client.submit(
            fetch_in_turns, server.url, str(folder), numbers, workers=[worker], pure=False
        )
        for worker, numbers in zip(client.nthreads(), ([*range(6)], [*range(6, 12)]), strict=True)
    ]
    assert sum(client.gather(futures)) == 12 * 3
    return sorted(request.time for request in server.requests)


@given(st.integers(1, 5000), st.floats(0.1, 60.0))
def test_no_minute_has_more_turns_than_allowed(a_minute, window_s):
    """Whatever second it is counted from: as many as have turns at once, each window."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hosts, "WINDOW_S", window_s)
        many, hold_s = hosts.turns_of(a_minute)
    assert many >= 1
    # The turns that begin within 60 s, if each is taken again the moment that it is free.
    assert many * math.ceil(round(60 / hold_s, 9)) <= a_minute


def test_all_workers_share_a_rate(tmp_path, server, client):
    """A turn is free again a window after its answer, whichever process had it."""
    times = turns_everywhere(client, server, tmp_path / "out")
    assert len(times) == 12
    assert all(later - first >= WINDOW_S for first, later in zip(times, times[MANY:], strict=False))


def test_who_is_told_to_slow_down_keeps_the_turn_while_waiting(tmp_path, server, client):
    """While all who have a turn wait as long as the server asked, nobody else asks."""
    server.inject("*", Status(status=429, retry_after_s=1), times=MANY)
    times = turns_everywhere(client, server, tmp_path / "out")
    assert len(times) == 12 + MANY
    assert times[MANY] - times[0] >= 1.0


def test_an_attempt_and_a_range_are_a_request_each(tmp_path, server, monkeypatch):
    """The server counts requests, and so does the rate, where there is no cluster as well."""
    monkeypatch.setattr(hosts, "WINDOW_S", WINDOW_S)
    server.inject("0.nc", Status(status=503), times=2)
    settings = DownloadSettings(most_a_minute=120, wait_initial_s=0.01)
    fetch(f"{server.url}/0.nc", tmp_path / "a", settings=settings)
    fetch(f"{server.url}/1.nc", tmp_path / "b", settings=settings, byte_ranges=[(0, 1), (2, 3)])
    times = [request.time for request in server.requests]
    assert len(times) == 3 + 2
    assert all(later - first >= WINDOW_S for first, later in itertools.pairwise(times))


def test_the_wait_for_a_turn_is_no_part_of_a_fetch(tmp_path, server, monkeypatch):
    """With a deadline shorter than the wait for a turn all files come."""
    monkeypatch.setattr(hosts, "WINDOW_S", WINDOW_S)
    settings = DownloadSettings(most_a_minute=60, deadline_s=0.9)
    for number in range(4):
        fetch(f"{server.url}/{number}.nc", tmp_path / "a", settings=settings)
    with ThreadPoolExecutor(4) as pool:
        done = [
            pool.submit(fetch, f"{server.url}/{n}.nc", tmp_path / f"{n}.out", settings=settings)
            for n in range(4)
        ]
        assert [one.result().nbytes for one in done] == [3] * 4


@pytest.mark.parametrize("most", [0, -1, True, 2.5])
def test_a_rate_is_a_count(most):
    """Anything else is refused where it is given."""
    with pytest.raises(ValueError, match="most_a_minute"):
        DownloadSettings(most_a_minute=most)
