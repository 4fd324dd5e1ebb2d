"""A scheduler that dies, at whatever moment the driver notices."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client
from distributed.comm.core import CommClosedError

from generated import DIMS, Generated, build_archive, times_of, truth
from gridmill.runs.dask import lost
from gridmill.runs.dask.lost import told_of_loss
from gridmill.runs.dask.on_cluster import OnCluster
from gridmill.runs.dask.plugin.pipeline import PipelinePlugin
from gridmill.runs.workplaces.workplace import SchedulerLost
from nodes import Nodes
from steps import wait_until

DAYS = 24
# What a client says of itself while it tries to connect again, and once it gave up.
MOMENTS = ["connecting", "closed"]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Source files of 24 days: twelve regions."""
    return build_archive(tmp_path_factory.mktemp("source"), DAYS)


def lose(nodes: Nodes, client: Client, moment: str) -> None:
    """Kill the scheduler and let the client come so far."""
    nodes.kill_scheduler()
    wait_until(lambda: client.status == moment)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_says_that_its_scheduler_is_gone(moment, source, tmp_path):
    """Whether tasks were cancelled first or the next ones cannot be sent; a rerun goes on."""
    dataset = Generated(tmp_path / "a.zarr", source_base=str(source))
    with Nodes(tmp_path) as nodes:
        nodes.join()
        # A client that waits longer is seen while it tries.
        with Client(nodes.address, timeout=2 if moment == "closed" else 8) as client:
            client.wait_for_workers(1)
            seen: list[str] = []

            def disturb(event) -> None:
                if event.kind == "region" and not seen:
                    seen.append(event.kind)
                    lose(nodes, client, moment)

            with pytest.raises(SchedulerLost, match="safe: rerun to resume"):
                dataset.backfill("2020-01-25", client=client, listener=disturb)
            assert seen
    again = Generated(tmp_path / "a.zarr", source_base=str(source))
    report = again.backfill("2020-01-25", client="none")
    assert report.regions_skipped >= 1
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        for name, dims in DIMS.items():
            wanted = truth(name, times_of(DAYS) if "time" in dims else None)
            np.testing.assert_array_equal(ds[name].values, wanted)


def test_a_run_ends_where_no_task_says_that_it_was_cancelled(source, tmp_path, monkeypatch):
    """A client never says what became of tasks that it took while it gave up."""
    dataset = Generated(tmp_path / "a.zarr", source_base=str(source))
    with Nodes(tmp_path) as nodes:
        nodes.join()
        with Client(nodes.address, timeout=2) as client:
            client.wait_for_workers(1)

            def silent(there: OnCluster, wait_s: float) -> None:
                if client.status == "running":
                    lose(nodes, client, "connecting")
                time.sleep(wait_s)

            monkeypatch.setattr(OnCluster, "take", silent)
            monkeypatch.setattr(OnCluster, "has_ready", lambda there: False)
            with pytest.raises(SchedulerLost):
                dataset.backfill("2020-01-25", client=client)


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_a_cluster_is_asked_says_that_it_is_gone(moment, tmp_path, monkeypatch):
    """Calls in turn, further ones, workers, and what is sent away; no task is sent any more."""
    with Nodes(tmp_path) as nodes:
        nodes.join()
        with Client(nodes.address, timeout=2 if moment == "closed" else 8) as client:
            client.wait_for_workers(1)
            client.register_plugin(PipelinePlugin())
            there = OnCluster(client)
            (worker,) = there.threads()
            results = there.each(os.path.basename, ["a/b", "a/c", "a/d"])
            assert next(results) == "b"
            lose(nodes, client, moment)
            sent: list[Any] = []
            monkeypatch.setattr(client, "submit", lambda *args, **options: sent.append(args))
            with pytest.raises(SchedulerLost):
                list(results)
            with pytest.raises(SchedulerLost):
                list(there.each(os.path.basename, ["a/b"]))
            with pytest.raises(SchedulerLost):
                there.threads()
            with pytest.raises(SchedulerLost):
                there.retire(worker)
            there.let_go()
            assert sent == []


def test_a_call_that_waits_when_the_scheduler_dies_says_so(tmp_path):
    """Dask says that it was cancelled, or, where workers are counted, that nobody answers."""
    with Nodes(tmp_path) as nodes:
        nodes.join()
        with Client(nodes.address, timeout=2) as client, ThreadPoolExecutor(1) as aside:
            client.wait_for_workers(1)
            client.register_plugin(PipelinePlugin())
            waiting = aside.submit(list, OnCluster(client).each(time.sleep, [60]))
            wait_until(lambda: any(client.processing().values()))
            nodes.kill_scheduler()
            with pytest.raises(SchedulerLost, match=r"Cancelled|CommClosed"):
                waiting.result()


def break_soon(nodes: Nodes) -> None:
    """Fail as a request does whose connection breaks first."""
    threading.Timer(0.2, nodes.kill_scheduler).start()
    raise CommClosedError("it broke")


def test_a_request_that_fails_before_the_client_notices_says_so(tmp_path):
    """Each request has a connection of its own, which breaks at another moment."""
    with (
        Nodes(tmp_path) as nodes,
        Client(nodes.address, timeout=2) as client,
        pytest.raises(SchedulerLost, match="broke"),
        told_of_loss(client),
    ):
        break_soon(nodes)


def test_a_connection_that_breaks_alone_is_no_loss(tmp_path, monkeypatch):
    """As one between two workers, of which a task's function tells."""
    monkeypatch.setattr(lost, "NOTICES_S", 0.2)
    with (
        Nodes(tmp_path) as nodes,
        Client(nodes.address, timeout=2) as client,
        pytest.raises(CommClosedError, match="broke"),
        told_of_loss(client),
    ):
        raise CommClosedError("it broke")


def test_what_a_function_raises_is_no_loss(tmp_path):
    """It is raised as it is."""
    with Nodes(tmp_path) as nodes:
        nodes.join()
        with Client(nodes.address) as client:
            client.register_plugin(PipelinePlugin())
            with pytest.raises(FileNotFoundError):
                list(OnCluster(client).each(os.listdir, [str(tmp_path / "nothing")]))
