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
import yaml

from gridmill.dataset import DynamicalDataset
from gridmill.runs.dask.clusters import connect
from gridmill.runs.dask.workers import jobs, workforce
from gridmill.runs.dask.workers.workforce import NoWorkers
from repository import ROOT
from slow import SlowTiny
from slurm import slurm, why_not
from tiny import Provider, Tiny, hours, truth, until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no Slurm here: {why_not()}")
# Where minutes matter less: see `make test-long`.
LONG = "GRIDMILL_LONG" in os.environ
SUPPORT = Path(__file__).parents[2] / "support"
SCRIPT = ROOT / "deploy/slurm/my-forecast.sbatch"


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


@pytest.fixture
def slow(tmp_path) -> DynamicalDataset:
    """One where reading a file takes a second."""
    Provider(tmp_path / "source").publish(hours(160))
    return SlowTiny(tmp_path / "a", source_base=str(tmp_path / "source"))


def assert_complete(dataset: DynamicalDataset, positions: int = 40) -> None:
    """Every value is as the provider's files say."""
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(positions)))


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


@pytest.mark.parametrize("size", [{"workers": 2}, {"adapt": (1, 2)}], ids=["workers", "adapt"])
def test_jobs_of_several_processes_are_replaced(dataset, options, size):
    """Dask looks for a worker of the job's name, and none has it: gridmill knows better."""
    cancelled = []

    def cancel(event) -> None:
        if event.kind == "region" and not cancelled:
            cancelled.append(event)
            subprocess.run(["scancel", "--user=root"], check=True)

    given = {**options, "cores": 2}
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        connect("dask_jobqueue:SLURMCluster", **size, **given) as client,
    ):
        report = dataset.backfill(until(40), client=client, listener=cancel)
    assert cancelled
    assert report.failures == []
    assert_complete(dataset)


def test_why_jobs_are_refused_is_said_and_they_are_asked_for_again(dataset, options, monkeypatch):
    """What sbatch said is in the driver's line; once the queue takes jobs, the run completes."""
    said: list[str] = []
    monkeypatch.setattr(jobs, "REFUSED_AGAIN_S", 1.0)

    def say(text: str, *args: object) -> None:
        said.append(text % args)
        partition("UP")

    monkeypatch.setattr(workforce.log, "warning", say)
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.5)
    partition("INACTIVE")
    try:
        with connect("dask_jobqueue:SLURMCluster", workers=2, **options) as client:
            report = dataset.backfill(until(40), client=client)
    finally:
        partition("UP")
    assert said[0].startswith("the queue refused a job, which is asked for again: sbatch: error:")
    assert "Required partition not available" in said[0]
    assert report.failures == []
    assert_complete(dataset)


def partition(state: str) -> None:
    """Let the only partition take jobs, or refuse them."""
    subprocess.run(["scontrol", "update", "PartitionName=all", f"State={state}"], check=True)


def test_a_run_whose_jobs_are_all_refused_ends_with_the_reason(dataset, options, monkeypatch):
    """A wrong partition, say, is named when it gives up."""
    monkeypatch.setattr("gridmill.runs.in_flight.RESIZE_INTERVAL_S", 0.5)
    given = {**options, "queue": "nowhere"}
    with (
        dask.config.set({"gridmill.worker-timeout": "3s"}),
        connect("dask_jobqueue:SLURMCluster", workers=1, **given) as client,
        pytest.raises(NoWorkers, match=r"the queue refuses jobs: sbatch: error: invalid partition"),
    ):
        dataset.backfill(until(40), client=client)


def test_workers_leave_before_their_walltime_and_others_come(slow, options):
    """Jobs of a minute, and a run that takes longer: none of them is ended by Slurm."""
    given = {**options, "walltime": "00:01:00"}
    before = jobs_of_slurm()
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "5s"}),
        connect("dask_jobqueue:SLURMCluster", workers=1, **given) as client,
    ):
        report = slow.backfill(until(28), client=client)
        ended = [state for job, state in jobs_of_slurm().items() if job not in before]
    assert report.failures == []
    assert_complete(slow, 28)
    logs = [log.read_text() for log in Path(options["log_directory"]).iterdir()]
    assert any("Reason: worker-lifetime-reached" in log for log in logs)
    assert "TIMEOUT" not in ended


@pytest.mark.skipif(not LONG, reason="takes minutes: make test-long runs it")
def test_a_run_outlives_its_jobs_walltime_many_times(slow, options):
    """Where workers are told to stay, Slurm ends them: what they had in hand is made elsewhere."""
    stay = ["--lifetime", "1h"]
    given = {**options, "walltime": "00:01:00", "worker_extra_args": stay}
    before = jobs_of_slurm()
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        connect("dask_jobqueue:SLURMCluster", workers=1, **given) as client,
    ):
        report = slow.backfill(until(160), client=client)
        ended = [state for job, state in jobs_of_slurm().items() if job not in before]
    assert ended.count("TIMEOUT") >= 3
    assert report.failures == []
    assert_complete(slow, 160)


def jobs_of_slurm() -> dict[str, str]:
    """Give the jobs that Slurm remembers, and what became of each."""
    asked = ["squeue", "--states=all", "--noheader", "--format=%i %T"]
    return dict(line.split() for line in subprocess.check_output(asked, text=True).splitlines())


def test_jobs_need_no_disk_in_common(dataset, options, tmp_path):
    """Each mounts a disk of its own at the same path, as nodes have; one is lost in the middle."""
    own = tmp_path / "own-disk"
    scratch = options["local_directory"]
    mount = f"mkdir -p {scratch} && mount -t tmpfs own {scratch}"
    own.write_text(
        f'#!/bin/sh\nexec unshare --mount sh -c \'{mount} && exec {sys.executable} "$@"\' sh "$@"\n'
    )
    own.chmod(0o755)
    cancelled = []

    def cancel_one(event) -> None:
        if event.kind == "region" and not cancelled:
            running = subprocess.check_output(["squeue", "--noheader", "--format=%i"], text=True)
            cancelled.append(running.split()[0])
            subprocess.run(["scancel", cancelled[0]], check=True)

    given = {**options, "python": str(own), "local_directory": "$NODE_DISK"}
    given["job_script_prologue"] = [f"export NODE_DISK={scratch}"]
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        connect("dask_jobqueue:SLURMCluster", workers=3, **given) as client,
    ):
        client.wait_for_workers(3)
        held = client.run(lambda dask_worker: os.path.ismount(scratch))
        report = dataset.backfill(until(40), client=client, listener=cancel_one)
        assert not list(Path(scratch).iterdir())
    assert all(held.values())
    assert cancelled
    assert report.failures == []
    assert_complete(dataset)


def test_the_driver_may_be_a_job(dataset, options, tmp_path):
    """As the example's script has it: it asks for its workers from there, and ends them itself."""
    script = SCRIPT.read_text()
    site = tmp_path / "jobqueue.yaml"
    names = {name.replace("_", "-"): value for name, value in options.items()}
    names["death-timeout"] = 60
    site.write_text(yaml.safe_dump({"jobqueue": {"slurm": {**names, "name": "worker"}}}))
    for shown, here in {
        "exec gridmill": f"export DASK_CONFIG={tmp_path}\nexec {sys.executable} -m gridmill.cli",
        "my-forecast --until 2025-07-01": f"tiny:Tiny --until {until(40)}",
        "/archive/my-forecast.zarr": f"{tmp_path}/a --source-base {tmp_path}/source",
        "--workers 16 --worker-timeout 12h": "--workers 2 --worker-timeout 3min",
        "local_directory=/local/scratch": f"local_directory={tmp_path}/scratch",
        "cores=4": "cores=1",
        "memory=16GB": "memory=1GB",
        "interface=ib0": "interface=lo",
    }.items():
        assert shown in script
        script = script.replace(shown, here)
    (tmp_path / "driver.sh").write_text(script)
    output = tmp_path / "driver.out"
    submitted = ["sbatch", "--wait", f"--output={output}", str(tmp_path / "driver.sh")]
    done = subprocess.run(submitted, check=False, timeout=280)
    assert done.returncode == 0, output.read_text()
    assert_complete(dataset)
    assert "RUNNING" not in jobs_of_slurm().values()


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
