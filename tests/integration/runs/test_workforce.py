"""Workers come when they come: each is looked at as it joins, and a run without any says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster, Worker
from distributed.comm import CommClosedError

from clusters import local_client
from gridmill.runs.dask.clusters import connect
from gridmill.runs.dask.plugin.pipeline import PLUGIN, PipelinePlugin
from gridmill.runs.dask.workers import joining, queues, workforce
from gridmill.runs.dask.workers.workforce import NoWorkers, Workforce
from tiny import Provider, Tiny, hours, truth, until

GOOD = {"modules": ["gridmill"], "threads": 0, "versions": {}}


COMMON = {"nthreads": 5, "host": "127.0.0.1", "dashboard_address": None}
SCHEDULER = {
    "cls": Scheduler,
    "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
}


def without(module: str) -> dict:
    """Give options of a worker that cannot import a module: a process of its own."""
    return {"preload": [f"import sys; sys.modules[{module!r}] = None"], "silence_logs": 50}


def spec(options: dict) -> dict:
    """Give what a cluster makes a worker of."""
    kind = Nanny if "preload" in options else Worker
    return {"cls": kind, "options": {**COMMON, **options}}


@contextmanager
def cluster_of(*options: dict) -> Iterator[Client]:
    """Give a client of a cluster with a worker for each of these options."""
    workers = {n: spec(one) for n, one in enumerate(options)}
    with (
        SpecCluster(workers=workers, scheduler=SCHEDULER, silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        yield client


def add(client: Client, **options) -> None:
    """Add a worker to such a cluster."""
    client.cluster.worker_spec[f"added-{len(client.cluster.worker_spec)}"] = spec(options)
    client.cluster.sync(client.cluster._correct_state)


@pytest.fixture
def dataset(tmp_path) -> Tiny:
    """A dataset of 40 hours, whose source is there."""
    Provider(tmp_path / "source").publish(hours(40))
    return Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What is said of workers."""
    lines: list[str] = []
    monkeypatch.setattr(workforce.log, "warning", lambda text, *args: lines.append(text % args))
    return lines


def wait_until(condition, seconds: float = 30.0) -> None:
    """Wait for what other processes do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# -- each worker as it joins ------------------------------------------------------------------


@pytest.mark.parametrize("module", ["gridmill", "tiny"])
def test_workers_that_can_run_nothing_are_refused_at_once(dataset, module):
    """Where not one can import what it needs, the cause is named before anything is submitted."""
    with (
        cluster_of(without(module)) as client,
        pytest.raises(ValueError, match=rf"no worker can run anything: tcp://.*{module}"),
    ):
        dataset.backfill(until(40), client=client)
    assert not list(dataset.store.tracker.all_records())


def test_a_worker_that_joins_and_can_run_nothing_is_closed_and_the_run_goes_on(dataset, said):
    """Its cause is said once; it gets no work, and the good worker does all of it."""
    with cluster_of({}) as client:
        found = Workforce(client, PipelinePlugin(), "tiny")
        found.open()
        add(client, **without("gridmill"))
        add(client, **without("gridmill"))
        wait_until(lambda: len({e["address"] for _, e in client.get_events(joining.TOPIC)}) == 2)
        wait_until(lambda: len(client.nthreads()) == 1)
        found.look(client.nthreads())
        found.look(client.nthreads())
        (line,) = said
        assert line.startswith("2 of 2 workers cannot import gridmill: ")
        report = dataset.backfill(until(40), client=client)
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


def test_a_run_survives_a_useless_worker_that_joins_it(dataset, said):
    """In the middle of a run: no task fails for it."""
    with cluster_of({}) as client:

        def join(event) -> None:
            if event.kind == "region" and len(client.cluster.worker_spec) == 1:
                threading.Thread(target=add, args=(client,), kwargs=without("tiny")).start()
                time.sleep(3)

        report = dataset.backfill(until(40), client=client, listener=join)
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


def test_a_worker_that_is_lost_as_a_run_begins_does_not_end_it(dataset, monkeypatch):
    """Where a plugin's broadcast breaks off, workers that it did not reach get it all the same.

    The scheduler answers by closing the connection, as it does when one of the workers is gone.
    """
    register, broken = Client.register_plugin, []

    def break_off(self, plugin, *args, **options):
        if plugin.name not in broken:
            broken.append(plugin.name)
            raise CommClosedError("Stream is closed")
        return register(self, plugin, *args, **options)

    monkeypatch.setattr(Client, "register_plugin", break_off)
    with cluster_of({}) as client:
        report = dataset.backfill(until(40), client=client)
    assert PLUGIN in broken
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


def test_a_dataset_of_another_run_closes_nobody(dataset):
    """Once a run has ended, workers that join are not asked for its jobs' module any more."""
    with cluster_of({}) as client:
        first = Workforce(client, PipelinePlugin(), "no_such_package_of_anybody")
        first._register(joining.Joining(first._import_plugin, b"", GOOD))
        first.close()
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
        assert first._import_plugin not in next(iter(plugins.values()))


def test_a_plugin_that_cannot_be_set_up_is_a_cause_like_another(said):
    """A worker whose disk cannot be used, say, tells why and is closed."""
    with cluster_of({}) as client:
        wanted = {**GOOD, "threads": 0}
        client.register_plugin(joining.ByValue(joining.Joining(PLUGIN, b"no pickle", wanted)))
        ((_, told),) = client.get_events(joining.TOPIC)
        ((kind, text, is_fatal),) = told["findings"]
        assert (kind, is_fatal) == ("setup", True)
        assert text.startswith("cannot be set up for gridmill: UnpicklingError")
        wait_until(lambda: not client.nthreads())


def test_what_is_wrong_with_workers_is_a_line_a_kind_and_not_a_worker(said):
    """Two workers with too few threads are one line, with how many there are of it."""
    few = {"nthreads": 2}
    with cluster_of(few, {}, few) as client:
        found = Workforce(client, PipelinePlugin(), "")
        found.open()
        add(client, **few)
        wait_until(lambda: len(client.nthreads()) == 4)
        found.look(client.nthreads())
    (line,) = said
    assert line.startswith("2 of 3 workers have fewer than 5 threads, so stages overlap less")


def test_other_versions_are_said_with_both():
    """Another numpy may mean other bytes."""
    found = joining.other_versions({"python": "2.7", "numpy": np.__version__, "zarr": "1.0"})
    assert [kind.split()[0] for kind in found] == ["python", "zarr"]
    text = [*found.values()][1]
    assert text.startswith("have zarr")
    assert "this process 1.0" in text


def test_workers_as_they_should_be_are_no_news(dataset, said):
    """Nothing is said of workers of this environment."""
    with cluster_of({}, {}) as client:
        dataset.backfill(until(40), client=client)
    assert said == []


def test_a_full_disk_and_missing_malloc_are_found(monkeypatch):
    """Each with its remedy."""
    monkeypatch.setattr(joining, "FEWEST_FREE_NBYTES", 1 << 60)
    monkeypatch.setattr("gridmill.runs.dask.plugin.memory.keep_freed_memory", lambda: False)
    with local_client(n_workers=1, processes=False) as client:
        (worker,) = client.cluster.workers.values()
        findings = joining.examine(GOOD, worker)
    assert [kind for kind, _, _ in findings] == ["memory", "disk"]


def test_what_was_said_is_not_said_by_the_next_run_and_is_by_another_client(dataset, said):
    """A command that waits for files runs often on one client; a new one has heard nothing."""
    with cluster_of({"nthreads": 2}) as client:
        dataset.backfill(until(4), client=client)
        dataset.backfill(until(8), client=client)
        assert len(said) == 1
        with Client(client.scheduler.address) as other:
            dataset.backfill(until(12), client=other)
        assert len(said) == 2


def test_a_scheduler_that_does_not_answer_is_not_the_workforces_to_judge(dataset, monkeypatch):
    """The loop sees whether it is gone: a question that fails ends nothing."""
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.0)
    asked = []

    def gone(self, present) -> None:
        asked.append(present)
        if len(asked) > 1:
            raise CommClosedError("the scheduler is busy")

    monkeypatch.setattr(Workforce, "look", gone)
    with cluster_of({}) as client:
        report = dataset.backfill(until(40), client=client)
    assert len(asked) > 1
    assert report.failures == []


def test_a_useless_worker_does_not_keep_others_from_being_asked_for(monkeypatch):
    """Once there was a good one, jobs that all end at once are asked for again."""
    monkeypatch.setattr(workforce, "REPLACE_INTERVAL_S", 0.0)
    asked = []
    with cluster_of({}) as client:
        monkeypatch.setattr(client.cluster, "scale", asked.append)
        workforce.keep_size(client, 2)
        found = Workforce(client, PipelinePlugin(), "")
        found._note("tcp://bad", [("import gridmill", "cannot import gridmill", True)])
        found.look(["tcp://bad"])
        assert asked == []
        found.look(["tcp://bad", "tcp://good"])
        found.look([])
        assert asked == [2, 2]


# -- nobody joins -----------------------------------------------------------------------------


def test_a_run_without_workers_says_so_and_gives_up(dataset, said, monkeypatch):
    """The cause that is known is named; what was begun is safe, and a rerun completes it."""
    monkeypatch.setattr(workforce, "SAY_AFTER_S", 0.2)
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.1)
    with cluster_of() as client:
        with (
            dask.config.set({"gridmill.worker-timeout": "2s"}),
            pytest.raises(NoWorkers, match=r"there was no worker for .* was asked for none"),
        ):
            dataset.backfill(until(40), client=client)
        add(client)
        assert dataset.backfill(until(40), client=client).failures == []
    assert "gives up in" in said[0]
    assert "SpecCluster was asked for none: give --workers N" in said[0]
    assert len(said) == len(set(said)) <= 4
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


def test_useless_workers_are_the_cause_of_having_none(dataset, said, monkeypatch):
    """Who joins and is closed again is why nobody works."""
    monkeypatch.setattr(workforce, "SAY_AFTER_S", 3.0)
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.1)
    with cluster_of() as client:
        threading.Timer(0.5, add, args=(client,), kwargs=without("gridmill")).start()
        with (
            dask.config.set({"gridmill.worker-timeout": "8s"}),
            pytest.raises(NoWorkers, match=r"was closed, since .* cannot import gridmill"),
        ):
            dataset.backfill(until(40), client=client)


class Queue(SpecCluster):
    """A cluster whose jobs end, and come again only when they are asked for."""

    def __init__(self, **options) -> None:
        super().__init__(worker=spec({}), scheduler=SCHEDULER, silence_logs=50, **options)

    def end_jobs(self) -> None:
        """End all of them, as a walltime does."""

        async def end() -> None:
            for worker in list(self.workers.values()):
                await worker.close()

        self.sync(end)


def test_jobs_that_end_are_asked_for_again(dataset, monkeypatch):
    """A run outlives its jobs' walltime: each of them ends several times."""
    monkeypatch.setattr(workforce, "REPLACE_INTERVAL_S", 0.2)
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.1)
    ended = []
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        connect(f"{__name__}:Queue", workers=2) as client,
    ):

        def end(event) -> None:
            if event.kind == "region" and len(ended) < 3:
                ended.append(event)
                client.cluster.end_jobs()

        report = dataset.backfill(until(40), client=client, listener=end)
    assert len(ended) == 3
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        (None, "none has connected to the scheduler"),
        (object(), "object has started none that reached the scheduler"),
    ],
)
def test_why_nobody_is_there_is_said_as_far_as_it_is_known(cluster, text):
    """Of a scheduler that somebody else started, and of a cluster that tells nothing."""
    assert text in queues.why_none_runs(cluster)


def test_slurm_is_asked_why_jobs_wait(tmp_path, monkeypatch):
    """Its reason stands in the line: squeue is asked for the cluster's jobs."""
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\necho "$@" > "$0.asked"; echo "job 17 is PENDING (Resources)"\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    job = type("Job", (), {"job_id": "17"})()
    cluster = type("SLURMCluster", (), {"worker_spec": {0: {}}, "workers": {0: job}})()
    why = queues.why_none_runs(cluster)
    assert why == "SLURMCluster has asked for 1: job 17 is PENDING (Resources)"
    assert "--jobs=17" in (tmp_path / "squeue.asked").read_text()


def test_a_real_adaptive_cluster_gets_work_for_more_workers_than_it_has():
    """Else it would see no reason to start another one."""
    with (
        LocalCluster(n_workers=1, processes=False, silence_logs=50, dashboard_address=None) as one,
        Client(one) as client,
    ):
        assert workforce.expected_workers(client, 1) == 1
        one.adapt(minimum=1, maximum=3, interval="1 hour")
        assert [workforce.expected_workers(client, n) for n in (0, 1, 2, 3, 5)] == [1, 2, 3, 3, 5]
