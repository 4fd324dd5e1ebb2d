"""Tests of the limit on downloads at a host, in all workers of a cluster together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import Client, wait

from gridmill.runs.dask.plugin import PipelinePlugin
from gridmill.sources.fetch.download import DownloadSettings, fetch
from gridmill.testing import ArchiveServer, Status

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
    wait(futures)
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
