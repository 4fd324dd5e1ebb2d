"""Workers on networks and disks of their own speak TLS; one is cut off for a while."""

from __future__ import annotations

import os
import subprocess
import time

import numpy as np
import pytest

from namespaces import Network, why_not
from slow import SlowTiny
from tiny import Provider, hours, truth, until

pytest.importorskip("cryptography")
pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no namespaces here: {why_not()}")
# Dask takes a connection for lost that is dead for so long; `make test-long` leaves its default.
LONG = "GRIDMILL_LONG" in os.environ
CUT_OFF_S = 60 if LONG else 25
SETTINGS = {} if LONG else {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}
POSITIONS = 160 if LONG else 40


def test_a_worker_that_is_cut_off_costs_nothing_but_time(tmp_path):
    """Three nodes; the link of one is down for longer than Dask waits, and comes back."""
    Provider(tmp_path / "source").publish(hours(POSITIONS))
    dataset = SlowTiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    with Network(tmp_path, SETTINGS) as network:
        nodes = [network.join() for _ in range(3)]
        args = ["-m", "gridmill.cli", "backfill", "slow:SlowTiny", "--until", until(POSITIONS)]
        args += ["--store", str(tmp_path / "a"), "--source-base", str(tmp_path / "source")]
        driver = network.run(*args, "--cluster", network.address)
        wait_for_a_region(dataset, driver)
        network.cut_off(nodes[0], CUT_OFF_S)
        output, _ = driver.communicate(timeout=280)
        assert driver.returncode == 0, output
        assert not any((tmp_path / "scratch").iterdir())  # each node has its own
    scheduler = (tmp_path / "node-0.log").read_text()
    assert "Remove worker" in scheduler
    assert "tcp://" not in scheduler
    found = dataset.store.open_dataset().a.values
    np.testing.assert_array_equal(found, truth(hours(POSITIONS)))


def wait_for_a_region(dataset: SlowTiny, driver: subprocess.Popen[str]) -> None:
    """Wait until one is recorded."""
    end = time.monotonic() + 120
    while not list(dataset.store.tracker.all_records()):
        assert driver.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
