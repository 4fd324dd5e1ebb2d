"""A real dask-gateway: our command line asks it for workers, some are lost, nothing is left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from gateway import gateway, why_not
from gridmill.cli import ExitCode, cli
from gridmill.runs.dask.clusters import connect
from tiny import Provider, Tiny, hours, truth, until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no gateway here: {why_not()}")
SUPPORT = Path(__file__).parents[2] / "support"
CLUSTER = "dask_gateway:GatewayCluster"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    """A server with one worker process a core, of five threads."""
    with gateway(os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])) as started:
        yield started


@pytest.fixture
def dataset(tmp_path) -> Tiny:
    """A dataset of 40 hours, whose source is there."""
    Provider(tmp_path / "source").publish(hours(40))
    return Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))


def processes_of(folder: Path, what: str) -> list[psutil.Process]:
    """Give the schedulers or workers that the server has started."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = " ".join(process.info["cmdline"] or ())
        if f"distributed.cli.dask_{what}" in line and str(folder) in str(process.info["cwd"]):
            found.append(process)
    return found


def assert_left_nothing(folder: Path) -> None:
    """Neither scheduler nor worker nor folder of a cluster is there any more."""
    end = time.monotonic() + 30
    while processes_of(folder, "worker") or processes_of(folder, "scheduler"):
        assert time.monotonic() < end
        time.sleep(0.2)
    while list((folder / "clusters").iterdir()):
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize("size", [("--workers", "2"), ("--adapt", "0:2")], ids=["workers", "adapt"])
def test_the_command_line_runs_on_a_gateway_and_leaves_nothing(dataset, server, tmp_path, size):
    """It scales by the cluster's own ways, since its class takes no number of workers."""
    address, folder = server
    args = ["backfill", "tiny:Tiny", "--until", until(40), "--store", str(tmp_path / "a")]
    args += ["--source-base", str(tmp_path / "source"), "--cluster", CLUSTER, *size]
    done = CliRunner().invoke(cli, [*args, "--cluster-option", f"address={address}"])
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "warning" not in done.stderr.lower()
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))
    assert_left_nothing(folder)


def test_workers_that_are_killed_are_replaced(dataset, server):
    """All of them vanish in the middle: the server starts others, and the run completes."""
    address, folder = server
    killed = []

    def kill(event) -> None:
        if event.kind == "region" and not killed:
            for worker in processes_of(folder, "worker"):
                killed.append(worker.pid)
                for process in [worker, *worker.children(recursive=True)]:
                    process.kill()

    with connect(CLUSTER, workers=2, address=address) as client:
        client.wait_for_workers(2)
        report = dataset.backfill(until(40), client=client, listener=kill)
    assert killed
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))
    assert_left_nothing(folder)


def test_a_server_that_is_not_there_is_said_in_a_line(tmp_path):
    """With its address and why, and the exit code of a failure."""
    args = ["backfill", "tiny:Tiny", "--until", until(4), "--store", str(tmp_path / "a")]
    args += ["--source-base", str(tmp_path), "--cluster", CLUSTER, "--workers", "1"]
    done = CliRunner().invoke(cli, [*args, "--cluster-option", "address=http://127.0.0.1:1"])
    assert done.exit_code == ExitCode.FAILED, done.output
    (line,) = done.stderr.strip().splitlines()
    assert "('127.0.0.1', 1)" in line
    assert not (tmp_path / "a").exists()
