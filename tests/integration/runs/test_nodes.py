"""Nodes with disks of their own: killed, joined, and with fewer threads than one would wish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from distributed import Client

from generated import DIMS, Generated, build_archive, times_of, truth
from gridmill.cli import ExitCode, cli
from gridmill.runs.narration import Event
from nodes import Nodes

DAYS = 24


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Source files of 24 days: twelve regions."""
    return build_archive(tmp_path_factory.mktemp("source"), DAYS)


def assert_true(store: Path) -> None:
    """Compare every value of an archive with the formula."""
    with xr.open_zarr(store) as ds:
        assert ds.sizes["time"] == len(times_of(DAYS))
        for name, dims in DIMS.items():
            wanted = truth(name, times_of(DAYS) if "time" in dims else None)
            np.testing.assert_array_equal(ds[name].values, wanted)


def test_nodes_that_vanish_and_join_leave_a_correct_archive(source, tmp_path):
    """Two of four nodes are killed in the middle and two others join; each has its own disk."""
    changes = {2: ("kill", 0), 3: ("join", None), 5: ("kill", 1), 6: ("join", None)}
    regions = 0

    def disturb(event: Event) -> None:
        nonlocal regions
        if event.kind != "region":
            return
        regions += 1
        what, number = changes.pop(regions, (None, None))
        if what == "kill":
            nodes.kill(number)
        elif what == "join":
            nodes.join(nthreads=2)

    with Nodes(tmp_path) as nodes:
        for _ in range(4):
            nodes.join()
        with Client(nodes.address) as client:
            client.wait_for_workers(4)
            dataset = Generated(tmp_path / "a.zarr", source_base=str(source))
            report = dataset.backfill("2020-01-25", client=client, listener=disturb)
    assert changes == {}
    assert report.failures == []
    assert report.positions_after == len(times_of(DAYS))
    assert_true(tmp_path / "a.zarr")
    workers = {span.worker for span in report.spans}
    assert len(workers) >= 4


def test_a_cluster_with_one_thread_a_worker_works_with_a_warning(source, tmp_path):
    """All one knows is tcp://…: the archive is correct, and one line says what would be better."""
    with Nodes(tmp_path) as nodes:
        nodes.join(nthreads=1)
        nodes.join(nthreads=1)
        with Client(nodes.address) as client:
            client.wait_for_workers(2)
        where = ["--store", str(tmp_path / "a.zarr"), "--source-base", str(source)]
        args = ["backfill", "generated:Generated", "--until", "2020-01-25", *where]
        done = CliRunner().invoke(cli, [*args, "--cluster", nodes.address])
        assert done.exit_code == ExitCode.SUCCESS, done.output
        warnings = [line for line in done.stderr.splitlines() if "warning" in line.lower()]
        assert len(warnings) == 1
        assert warnings[0].endswith(
            "2 of 2 workers have fewer than 5 threads, so stages overlap less: start them with "
            "--nthreads 5"
        )
        assert_true(tmp_path / "a.zarr")
        with Client(nodes.address) as client:  # it is left as it was found
            assert len(client.nthreads()) == 2
