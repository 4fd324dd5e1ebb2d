"""A real Slurm of one node: jobs end, are cancelled, wait, and cannot import what they need."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest

from gridmill.runs.dask.clusters import connect
from gridmill.runs.dask.workers import workforce
from gridmill.runs.dask.workers.workforce import NoWorkers
from slurm import slurm, why_not
from tiny import Provider, Tiny, hours, truth, until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no Slurm here: {why_not()}")
SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="module")
def node() -> Iterator[Path]:
    """A node with four cores."""
    pytest.importorskip("dask_jobqueue")
    with slurm() as folder:
        yield folder


@pytest.fixture
def options(node, tmp_path, monkeypatch) -> dict:
    """What a user gives dask-jobqueue, and an environment that jobs inherit."""
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setattr(workforce, "REPLACE_INTERVAL_S", 1.0)
    return {
        "cores": 1,
        "memory": "1GB",
        "walltime": "00:05:00",
        "interface": "lo",
        "python": sys.executable,
        "log_directory": str(tmp_path / "logs"),
        "local_directory": str(tmp_path / "scratch"),
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
    }


@pytest.fixture
def dataset(tmp_path) -> Tiny:
    """A dataset of 40 hours, whose source is there."""
    Provider(tmp_path / "source").publish(hours(40))
    return Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))


def assert_complete(dataset: Tiny) -> None:
    """Every value is as the provider's files say."""
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


@pytest.mark.parametrize("size", [{"workers": 2}, {"adapt": (1, 2)}], ids=["workers", "adapt"])
def test_a_run_outlives_its_jobs(dataset, options, size):
    """All jobs are cancelled in the middle, as at their walltime: others take their place."""
    cancelled = []

    def cancel(event) -> None:
        if event.kind == "region" and not cancelled:
            cancelled.append(event)
            subprocess.run(["scancel", "--user=root"], check=True)

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        connect("dask_jobqueue:SLURMCluster", **size, **options) as client,
    ):
        report = dataset.backfill(until(40), client=client, listener=cancel)
    assert cancelled
    assert report.failures == []
    assert_complete(dataset)


def test_jobs_that_wait_are_why_there_is_no_worker(dataset, options, monkeypatch):
    """Slurm's reason is in the line, and the run ends after the time that it was given."""
    said: list[str] = []
    monkeypatch.setattr(workforce.log, "warning", lambda text, *args: said.append(text % args))
    monkeypatch.setattr(workforce, "SAY_AFTER_S", 1.0)
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.5)
    take_the_node()
    try:
        with (
            dask.config.set({"gridmill.worker-timeout": "6s"}),
            connect("dask_jobqueue:SLURMCluster", workers=1, **options) as client,
            pytest.raises(NoWorkers, match=r"SLURMCluster has asked for 1: job \d+ is PENDING"),
        ):
            dataset.backfill(until(40), client=client)
    finally:
        subprocess.run(["scancel", "--user=root"], check=True)
    assert any("is PENDING (Resources)" in line for line in said)


def take_the_node() -> None:
    """Let a job have all of it for as long as this takes, once those before it are gone."""
    job = ["sbatch", "--exclusive", "--output=/dev/null", "--wrap", "sleep 120"]
    subprocess.run(job, check=True)
    end = time.monotonic() + 60
    while b"RUNNING" not in subprocess.check_output(["squeue", "--noheader", "--format=%T"]):
        assert time.monotonic() < end
        time.sleep(0.2)


def test_jobs_that_cannot_import_the_dataset_say_so(dataset, options, monkeypatch, tmp_path):
    """The error that is in the job's log only is in the driver's line, too."""
    monkeypatch.setattr(workforce, "SAY_AFTER_S", 1.0)
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.5)
    hide = tmp_path / "hide.py"
    hide.write_text("import sys\nsys.modules['tiny'] = None\n")
    extra = ["--preload", str(hide)]
    with (
        dask.config.set({"gridmill.worker-timeout": "20s"}),
        connect("dask_jobqueue:SLURMCluster", workers=1, worker_extra_args=extra, **options) as one,
        pytest.raises((NoWorkers, ValueError), match=r"cannot import tiny"),
    ):
        dataset.backfill(until(40), client=one)
