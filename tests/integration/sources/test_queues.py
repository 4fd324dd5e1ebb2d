"""A queue that makes one ask, wait and fetch, on loopback: nothing is asked for twice."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridmill import DownloadFailed, DownloadSettings
from gridmill.sources.queues.client import OgcQueue
from gridmill.sources.queues.fetching import Patience, fetch_queued
from gridmill.sources.queues.tickets import Tickets, key_of
from gridmill.stores.objects.local import LocalObjects
from gridmill.testing.queues.queue_server import QueueServer
from queued import QUEUE, queued_dataset
from repository import ROOT
from tiny import snapshot

ONCE = DownloadSettings(attempts=1)
QUICK = Patience(poll_initial_s=0.02, poll_max_s=0.05, wait_s=20, claim_s=0.5)
END, LATE = "2020-01-01T08:00", pd.Timestamp("2020-01-02")


def make(request: Mapping[str, Any]) -> bytes:
    """Return the file of an hour."""
    content = io.BytesIO()
    np.save(content, np.full((2, 2, 3), request["hour"], "float32"))
    return content.getvalue()


@pytest.fixture(params=[True, False], ids=["knows keys", "knows no keys"])
def server(request) -> Iterator[QueueServer]:
    """A queue whose jobs take a moment."""
    with QueueServer(make, takes_s=0.1, knows_keys=request.param) as server:
        yield server


@pytest.fixture
def tickets(tmp_path: Path) -> Tickets:
    """Tickets in a folder."""
    return Tickets(LocalObjects(tmp_path / "state", tmp_path / "staging"))


def get(server: QueueServer, tickets: Tickets, path: Path, **changes: Any) -> Any:
    """Fetch what a request makes."""
    how = {"settings": ONCE, "patience": QUICK, **changes}
    queue = OgcQueue(url=server.url, process="weather", knows_keys=server.knows_keys)
    return fetch_queued(queue, {"hour": 3}, path, tickets=tickets, **how)


def test_what_was_asked_for_is_fetched_again_without_asking(tmp_path, server, tickets):
    """One job, however often its file is needed."""
    for name in ("a", "b"):
        assert np.load(get(server, tickets, tmp_path / name).path)[0, 0, 0] == 3
    assert len(server.jobs) == 1


def test_many_tasks_ask_once(tmp_path, server, tickets):
    """Those that come while another asks wait for its job."""
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda n: get(server, tickets, tmp_path / f"f{n}"), range(8))
        assert {file.nbytes for file in done} == {len(make({"hour": 3}))}
    assert len(server.jobs) == 1


def test_a_job_of_which_the_answer_was_lost_is_found(tmp_path, server, tickets):
    """The queue made it, and nobody heard its name."""
    server.lose_answers(1)
    with pytest.raises(DownloadFailed):
        get(server, tickets, tmp_path / "a")
    assert np.load(get(server, tickets, tmp_path / "a").path)[0, 0, 0] == 3
    assert len(server.jobs) == 1


def test_one_that_is_not_ready_is_waited_for_by_the_next_call(tmp_path, server, tickets):
    """A failed download that names its job, and no second one."""
    server.takes_s = 0.6
    with pytest.raises(DownloadFailed, match=r"job-0 is not ready after 0\.1 s"):
        get(server, tickets, tmp_path / "a", patience=Patience(wait_s=0.1, poll_initial_s=0.02))
    get(server, tickets, tmp_path / "a")
    assert len(server.jobs) == 1


@pytest.mark.parametrize("fault", ["failed", "dismissed", "forgotten", "thrown away"])
def test_a_job_that_came_to_nothing_is_asked_for_anew(tmp_path, server, tickets, fault):
    """Once it is known, by the call after."""
    get(server, tickets, tmp_path / "a")
    (job,) = server.jobs
    if fault == "forgotten":
        server.jobs.clear()
    elif fault == "thrown away":
        job.content = None
    else:
        job.status = fault
    with pytest.raises(DownloadFailed):
        get(server, tickets, tmp_path / "b")
    job.key = "another"
    get(server, tickets, tmp_path / "b")
    assert len(server.jobs) == (1 if fault == "forgotten" else 2)


def test_a_damaged_ticket_asks_nothing(tmp_path, server, tickets):
    """It may have been a job: whoever looks at it decides."""
    key = key_of(f"{server.url} weather", {"hour": 3})
    tickets.objects.put(f"queue/{key}.json", b"{")
    with pytest.raises(DownloadFailed, match="is no ticket"):
        get(server, tickets, tmp_path / "a")
    assert server.jobs == []


def asked(server: QueueServer) -> Counter[int]:
    """Count how often each hour was asked for."""
    return Counter(job.request["hour"] for job in server.jobs)


def test_a_run_asks_once_for_each_file_and_within_the_queue_s_limit(tmp_path, server, client):
    """Two workers, two regions, two variables."""
    dataset = queued_dataset(server)(tmp_path / "a.zarr")
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.succeeded, report.positions_after) == (True, 8)
    assert asked(server) == Counter(range(8))
    assert server.most_waiting <= 3
    again = dataset.backfill(END, client=client, now=LATE)
    assert again.variables_done == 0
    values = dataset.store.open_dataset().a[:, 0, 0].values
    assert values.tolist() == list(range(8))


@pytest.mark.parametrize("dies_at", ["claim", "submit", "keep", "look", "fetch", "read"])
def test_a_killed_run_asks_for_nothing_twice(tmp_path, server, dies_at):
    """SIGKILL before and after each step of a request; the archive is as that of a whole run."""
    script = "import queued, sys; queued.run_and_die(*sys.argv[1:])"
    support = str(ROOT / "tests" / "support")
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [str(tmp_path / "a.zarr"), server.url, str(server.knows_keys), dies_at]
    for _ in range(2):
        killed = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
        time.sleep(QUEUE.claim_s)
    dataset = queued_dataset(server)(tmp_path / "a.zarr")
    report = dataset.backfill(END, client="none", now=LATE)
    assert (report.succeeded, report.positions_after) == (True, 8)
    assert asked(server) == Counter(range(8))
    whole = queued_dataset(server)(tmp_path / "b.zarr")
    whole.backfill(END, client="none", now=LATE)
    assert snapshot(tmp_path / "a.zarr") == snapshot(tmp_path / "b.zarr")
