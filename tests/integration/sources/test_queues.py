"""A queue that makes one ask, wait and fetch, on loopback: nothing is asked for twice."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event, local
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridmill import DownloadFailed, DownloadSettings
from gridmill.sources.queues import fetching
from gridmill.sources.queues.claims import Held
from gridmill.sources.queues.client import OgcQueue
from gridmill.sources.queues.fetching import Patience, fetch_queued
from gridmill.sources.queues.tickets import Chain, Ticket, Tickets, key_of
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.s3.objects import S3Objects
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


@pytest.fixture(scope="module")
def bucket(s3_server) -> str:
    """A bucket for the module."""
    s3_server.create_bucket("queues")
    return "queues"


@pytest.fixture(params=["folder", "bucket"])
def tickets_anywhere(request, tickets) -> Tickets:
    """Tickets in a folder, and in a bucket."""
    if request.param == "folder":
        return tickets
    url = f"s3://{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}/state"
    options = request.getfixturevalue("s3_server").storage_options
    return Tickets(S3Objects(url, options))


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


# A claim lives longer than a busy machine lets its holder wait.
PATIENT = replace(QUICK, claim_s=4, wait_s=60)


def at_once(server: QueueServer, tickets: Tickets, folder: Path) -> None:
    """Let four tasks fetch the same."""
    with ThreadPoolExecutor(4) as pool:
        paths = [folder / f"f{n}" for n in range(4)]
        done = [pool.submit(get, server, tickets, path, patience=PATIENT) for path in paths]
        assert {file.result().nbytes for file in done} == {len(make({"hour": 3}))}


def fail_once(objects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first read fail of whoever renewed a claim."""
    put, get = objects.put_if_absent, objects.get
    has_renewed, has_failed = local(), Event()

    def put_if_absent(key: str, content: bytes) -> bool:
        has_renewed.here = key.count(".") > 1
        return put(key, content)

    def failing(key: str) -> bytes | None:
        if getattr(has_renewed, "here", False) and not has_failed.is_set():
            has_failed.set()
            raise OSError("503 Slow Down")
        return get(key)

    monkeypatch.setattr(objects, "put_if_absent", put_if_absent)
    monkeypatch.setattr(objects, "get", failing)


def test_who_asks_for_long_is_not_presumed_dead(tmp_path, tickets_anywhere, monkeypatch):
    """The answer takes longer than a claim lives that is not renewed; one renewal fails."""
    fail_once(tickets_anywhere.objects, monkeypatch)
    with QueueServer(make, answers_after_s=1.5 * PATIENT.claim_s) as server:
        at_once(server, tickets_anywhere, tmp_path)
    assert len(server.jobs) == 1
    assert len(list(tickets_anywhere.objects.keys("queue"))) == 1


class Failing(LocalObjects):
    """Objects of which one request fails, and may have been made."""

    fails_at = ""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        self.fail("before the put")
        is_put = super().put_if_absent(key, content)
        self.fail("after the put")
        # As a link that was sent twice, over NFS.
        return is_put and not self.is_now("put, and told of as if it was there")

    def get(self, key: str) -> bytes | None:
        self.fail("the read")
        return super().get(key)

    def fail(self, at: str) -> None:
        """Raise, if it is to fail here."""
        if self.is_now(at):
            raise OSError("503 Slow Down")

    def is_now(self, at: str) -> bool:
        """Whether it is to fail here, once."""
        is_now = self.fails_at == at
        if is_now:
            self.fails_at = ""
        return is_now


@pytest.mark.parametrize(
    "fails_at",
    ["before the put", "after the put", "the read", "put, and told of as if it was there"],
)
def test_a_renewal_that_fails_loses_no_claim(tmp_path, fails_at):
    """Wherever it failed, the next one knows what it left; only then is the claim as new."""
    objects = Failing(tmp_path / "state", tmp_path / "staging")
    tickets = Tickets(objects)
    claim = Ticket(queue="q", job=None, since=0.0)
    assert tickets.claim("k", claim)
    held = Held(tickets, "k", Chain(claim, claim), 60)
    objects.fails_at = fails_at
    with suppress(OSError):
        assert held.renew()
    assert not objects.fails_at
    for _ in range(2):
        before = time.time()
        assert held.renew()
        assert tickets.read("k").last.since >= before
    tickets.keep("k", replace(claim, job="job-1"))
    assert not held.renew()
    assert list(objects.keys("queue")) == ["queue/k.json"]


def test_who_was_presumed_dead_after_a_renewal_failed_learns_of_it(tmp_path):
    """An heir may follow the renewal that its holder does not know of."""
    objects = Failing(tmp_path / "state", tmp_path / "staging")
    tickets = Tickets(objects)
    claim, heir = (Ticket(queue="q", job=None, since=since) for since in range(2))
    assert tickets.claim("k", claim)
    held = Held(tickets, "k", Chain(claim, claim), 60)
    objects.fails_at = "after the put"
    with pytest.raises(OSError, match="503"):
        held.renew()
    assert tickets.follow("k", tickets.read("k"), heir)
    assert not held.renew()
    assert tickets.read("k").last == heir


@pytest.mark.parametrize("heirs", [0, 1, 2])
def test_a_dead_claim_has_one_heir(tmp_path, tickets_anywhere, heirs):
    """However many see that it is dead, and though heirs of it died as well."""
    with QueueServer(make, answers_after_s=0.2) as server:
        key = key_of(f"{server.url} weather", {"hour": 3})
        claim = Ticket(queue=server.url, job=None, since=0.0)
        assert tickets_anywhere.claim(key, claim)
        for since in range(heirs):
            heir = Ticket(queue=server.url, job=None, since=since)
            assert tickets_anywhere.follow(key, tickets_anywhere.read(key), heir)
        at_once(server, tickets_anywhere, tmp_path)
    assert len(server.jobs) == 1
    assert len(list(tickets_anywhere.objects.keys("queue"))) == 1


def test_a_claim_of_an_earlier_gridmill_is_inherited(tmp_path, server, tickets):
    """It did not say who wrote it."""
    key = key_of(f"{server.url} weather", {"hour": 3})
    claim = {"schema": 1, "queue": server.url, "job": None, "since": 0.0}
    tickets.objects.put(f"queue/{key}.json", json.dumps(claim).encode())
    at_once(server, tickets, tmp_path)
    assert len(server.jobs) == 1


def test_who_comes_late_asks_nothing(tickets):
    """A claim that was read before its job had a name is followed by none."""
    claim, heir, late = (Ticket(queue="q", job=None, since=since) for since in range(3))
    assert tickets.claim("k", claim)
    first, both = Chain(claim, claim), Chain(claim, heir)
    assert tickets.follow("k", first, heir)
    assert not tickets.follow("k", first, late)
    assert tickets.read("k", first) == both
    tickets.keep("k", replace(heir, job="job-1"))
    for known in (first, both):
        assert not tickets.follow("k", known, late)
        assert tickets.read("k", known).last.job == "job-1"
    assert list(tickets.objects.keys("queue")) == ["queue/k.json"]
    tickets.forget("k")
    assert tickets.read("k", both) is None
    assert tickets.claim("k", late)
    for known in (first, both):
        assert not tickets.follow("k", known, replace(late, by="another"))
        assert tickets.read("k", known) == Chain(late, late)


class Counting(LocalObjects):
    """Objects that count what is asked of them."""

    def __init__(self, *folders: Path) -> None:
        super().__init__(*folders)
        self.asked: list[str] = []

    def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        return super().get(key)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        self.asked.append(key)
        return super().put_if_absent(key, content)


def test_a_renewal_asks_no_more_of_the_store_than_the_first_did(tmp_path):
    """However often the claim was renewed; who holds one waits for its turn for hours."""
    objects = Counting(tmp_path / "state", tmp_path / "staging")
    tickets = Tickets(objects)
    claim = Ticket(queue="q", job=None, since=0.0)
    assert tickets.claim("k", claim)
    held = Held(tickets, "k", Chain(claim, claim), 60)
    numbers = []
    for _ in range(20):
        objects.asked.clear()
        assert held.renew()
        numbers.append(len(objects.asked))
    assert set(numbers) == {3}


def test_who_waits_reads_each_renewal_once(tmp_path, server):
    """However often it looks whether the job has a name."""
    objects = Counting(tmp_path / "state", tmp_path / "staging")
    tickets = Tickets(objects)
    key = key_of(f"{server.url} weather", {"hour": 3})
    claim = Ticket(queue=server.url, job=None, since=time.time())
    assert tickets.claim(key, claim)
    held = Held(tickets, key, Chain(claim, claim), 60)
    assert all(held.renew() for _ in range(20))
    renewals = set(objects.keys("queue")) - {f"queue/{key}.json"}
    objects.asked.clear()
    with pytest.raises(DownloadFailed, match="another task asks for is not ready"):
        get(server, tickets, tmp_path / "a", patience=replace(QUICK, wait_s=0.3, claim_s=600))
    asked = Counter(objects.asked)
    assert asked[f"queue/{key}.json"] > 1
    assert {asked[name] for name in renewals} == {1}
    assert len(renewals) == 20


def test_who_was_presumed_dead_while_it_looked_does_not_ask(tmp_path, server, tickets):
    """An heir may be stopped for long, and go on once another has asked."""

    class Stopped(OgcQueue):
        def find(self, request, key, settings):
            tickets.keep(key, replace(claim, job=OgcQueue.submit(self, request, key, settings)))

    key = key_of(f"{server.url} weather", {"hour": 3})
    claim = Ticket(queue=server.url, job=None, since=0.0)
    assert tickets.claim(key, claim)
    queue = Stopped(url=server.url, process="weather", knows_keys=server.knows_keys)
    fetch_queued(queue, {"hour": 3}, tmp_path / "a", tickets=tickets, settings=ONCE, patience=QUICK)
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


def test_a_job_is_looked_at_once_more_at_the_end_of_the_wait(tmp_path, server, tickets):
    """Though the pause between two looks is longer than what is left of it."""
    server.takes_s = 0.5
    patience = Patience(wait_s=3, poll_initial_s=600, poll_max_s=600)
    assert get(server, tickets, tmp_path / "a", patience=patience)


def test_a_look_takes_no_longer_than_the_wait(tmp_path, tickets):
    """A queue that is down is asked until `wait_s` is over, whatever a download's deadline is."""
    settings = DownloadSettings(
        attempts=1000,
        wait_initial_s=0.02,
        wait_max_s=0.02,
        deadline_s=600,
        connect_timeout_s=1,
        read_timeout_s=1,
    )
    patience = replace(QUICK, wait_s=0.5)
    with QueueServer(make) as server:
        server.odd_answers["/jobs/job-0"] = (503, b"")
        with pytest.raises(DownloadFailed) as failed:
            get(server, tickets, tmp_path / "a", settings=settings, patience=patience)
    assert failed.value.url == f"{server.url}/jobs/job-0"
    assert failed.value.attempts < settings.attempts


EXECUTION = "/processes/weather/execution"
ODD = [
    (EXECUTION, 404, b"no such process"),
    (EXECUTION, 200, b"{}"),
    (EXECUTION, 200, b'{"jobID": null}'),
    (EXECUTION, 200, b"[1]"),
    (EXECUTION, 200, b"<html>please log in</html>"),
    ("/jobs/job-0", 200, b"{}"),
    ("/jobs/job-0", 200, b'{"status": {}}'),
    ("/jobs/job-0", 200, b'"successful"'),
    ("/jobs/job-0", 200, b"\xff"),
    ("/jobs/job-0", 200, b"[" * 100_000),
    ("/jobs/job-0", 403, b"no"),
    ("/jobs/job-0/results", 200, b"{}"),
    ("/jobs/job-0/results", 200, b'{"asset": []}'),
    ("/jobs/job-0/results", 200, b'{"asset": {"value": {"href": null}}}'),
    ("/jobs/job-0/results", 200, b'{"asset": {"value": {"href": "file:///etc/hostname"}}}'),
    ("/jobs/job-0/results", 200, b'{"asset": {"value": {"href": "http://a:b/"}}}'),
]


@pytest.mark.parametrize(("path", "status", "body"), ODD)
def test_an_odd_answer_is_a_failed_download(tmp_path, tickets, path, status, body):
    """It names what was asked, and the job is waited for once the queue is itself again."""
    settings = replace(ONCE, forbidden_means_absent=True)
    with QueueServer(make) as server:
        server.odd_answers[path] = (status, body)
        with pytest.raises(DownloadFailed) as failed:
            get(server, tickets, tmp_path / "a", settings=settings)
        assert failed.value.url == f"{server.url}{path}"
        server.odd_answers.clear()
        get(server, tickets, tmp_path / "a", settings=settings)
    assert len(server.jobs) == 1


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/jobs", 404, b"no"),
        ("/jobs", 200, b"{}"),
        ("/jobs", 200, b'{"jobs": {}}'),
        ("/jobs", 200, b'{"jobs": ["job-0"]}'),
        ("/jobs", 200, b'{"jobs": [{"processID": "weather"}]}'),
        ("/jobs/job-0", 200, b"no"),
    ],
)
def test_where_jobs_cannot_be_looked_through_none_is_asked_for(
    tmp_path, tickets, path, status, body
):
    """One may be among them."""
    with QueueServer(make) as server:
        server.lose_answers(1)
        with pytest.raises(DownloadFailed):
            get(server, tickets, tmp_path / "a")
        server.odd_answers[path] = (status, body)
        with pytest.raises(DownloadFailed, match=f"{path}.*queue"):
            get(server, tickets, tmp_path / "a")
        server.odd_answers.clear()
        get(server, tickets, tmp_path / "a")
    assert len(server.jobs) == 1


@pytest.mark.parametrize("about", [b"{}", b'{"metadata": null}', b'{"metadata": {"request": []}}'])
@pytest.mark.parametrize("status", [200, 404])
def test_a_job_that_is_not_ours_is_passed_over(tmp_path, tickets, status, about):
    """One that was deleted since it was listed is no absent file, nor one that tells little."""
    with QueueServer(make) as server:
        server.lose_answers(1)
        with pytest.raises(DownloadFailed):
            get(server, tickets, tmp_path / "a")
        other = OgcQueue(url=server.url, process="weather").submit({"hour": 5}, "other", ONCE)
        server.odd_answers[f"/jobs/{other}"] = (status, about)
        assert np.load(get(server, tickets, tmp_path / "a").path)[0, 0, 0] == 3
    assert [job.request["hour"] for job in server.jobs] == [3, 5]


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


def test_what_an_earlier_run_read_in_vain_is_asked_for_anew(tmp_path, server, tickets, monkeypatch):
    """Once, by however many tasks of a run; until then the job is fetched again."""
    get(server, tickets, tmp_path / "a")
    get(server, tickets, tmp_path / "a", unread_before=True)
    assert len(server.jobs) == 1
    later = time.time() + fetching.UNREAD_S
    monkeypatch.setattr(fetching, "_now", lambda: later)
    with ThreadPoolExecutor(4) as pool:
        paths = [tmp_path / f"b{number}" for number in range(4)]
        list(pool.map(lambda at: get(server, tickets, at, unread_before=True), paths))
    get(server, tickets, tmp_path / "c")
    assert len(server.jobs) == 2


@pytest.mark.parametrize("is_ours", [False, True], ids=["the file's fault", "the reader's fault"])
def test_an_unreadable_file_of_a_queue_heals(tmp_path, server, monkeypatch, is_ours):
    """The provider makes another; where the reader was mended, what it made is read."""
    monkeypatch.setattr(fetching, "UNREAD_S", 0.0)
    make_well = server.make
    if not is_ours:
        server.make = lambda request: b"no array" if request["hour"] == 5 else make_well(request)

    def reads_wrong(job: Any, coord: Any, data_var: Any) -> Any:
        if coord.label.hour == 5:
            raise ValueError("what is this?")
        return np.load(coord.downloaded_path)[data_var.number]

    dataset = queued_dataset(server)
    late = type("Late", (dataset.region_job,), {"publication_delay": timedelta(hours=2)})
    notebook = {"read_data": reads_wrong, "__module__": "__main__"}
    wrong = type("Wrong", (late,), notebook if is_ours else {})
    before, right = (
        type("Queued", (dataset,), {"region_job": job})(tmp_path / "a.zarr")
        for job in (wrong, late)
    )
    report = before.backfill(END, client="none", now=LATE)
    assert report.new_gaps > 0
    assert asked(server)[5] == 1
    server.make = make_well
    options = {"until": END, "client": "none", "now": LATE + pd.Timedelta(days=10)}
    after = right if is_ours else before
    after.reformat_operational_update(**options)
    assert after.store.open_dataset().a[:, 0, 0].values.tolist() == list(range(8))
    # Without the pause each of two variables may ask.
    assert asked(server)[5] in ({1} if is_ours else {2, 3})


def test_what_cannot_be_fetched_for_a_day_is_asked_for_anew(tmp_path, server, tickets, monkeypatch):
    """A server that is away for an hour is no reason to."""
    get(server, tickets, tmp_path / "a")
    made = f"/made/{server.jobs[0].name}"
    server.odd_answers[made] = (200, b"<!DOCTYPE html><html><body>Sorry</body></html>")
    began = time.time()
    for hours in (0, 1, 23):
        monkeypatch.setattr(fetching, "_now", lambda at=began + 3600 * hours: at)
        with pytest.raises(DownloadFailed, match="HTML"):
            get(server, tickets, tmp_path / "b")
    assert len(server.jobs) == 1
    monkeypatch.setattr(fetching, "_now", lambda: began + 90_000)
    assert np.load(get(server, tickets, tmp_path / "b").path)[0, 0, 0] == 3
    assert len(server.jobs) == 2


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
