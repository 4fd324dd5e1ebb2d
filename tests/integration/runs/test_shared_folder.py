"""What the workers of a machine share stays until the last of them leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from clusters import local_client
from gridmill.runs.dask.plugin.pipeline import PLUGIN, PipelinePlugin
from gridmill.runs.dask.plugin.shared import A_DAY_S, SharedFolder

STAY = """
import sys, time
from pathlib import Path
from gridmill.runs.dask.plugin.shared import SharedFolder
shared = SharedFolder(Path(sys.argv[1]))
print("in", flush=True)
time.sleep(600)
"""


def filled(path: Path) -> SharedFolder:
    """Join a folder, and put something into it."""
    shared = SharedFolder(path)
    path.mkdir(exist_ok=True)
    (path / "inventory").write_text("lines")
    return shared


def test_the_last_one_that_leaves_deletes_it(tmp_path):
    """And leaves nothing beside it."""
    path = tmp_path / "inventories-1"
    first, second = filled(path), filled(path)
    first.leave()
    assert (path / "inventory").exists()
    second.leave()
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_killed_has_left(tmp_path):
    """Its lock goes with its process."""
    path = tmp_path / "inventories-1"
    shared = filled(path)
    command = [sys.executable, "-c", STAY, str(path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    again = filled(path)
    again.leave()
    assert path.exists()
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    shared.leave()
    assert not path.exists()


def test_what_killed_clusters_left_goes_after_a_day(tmp_path):
    """Those of today stay, and so does what is called otherwise."""
    for name in ("inventories-1", "inventories-2", "others-1"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").touch()
    before = time.time() - A_DAY_S - 60
    for name in ("inventories-1", "inventories-1.lock", "others-1"):
        os.utime(tmp_path / name, (before, before))
    SharedFolder(tmp_path / "inventories-3").leave()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"inventories-2", "inventories-2.lock", "others-1", "others-1.lock"}


def test_a_worker_that_retires_takes_no_inventories_from_the_others(tmp_path):
    """They are deleted with the cluster."""
    with local_client(local_directory=str(tmp_path)) as client:
        client.register_plugin(PipelinePlugin())
        there = client.run(lambda dask_worker: dask_worker.plugins[PLUGIN].shared.path)
        (path,) = set(there.values())
        path.mkdir()
        (path / "inventory").write_text("lines")
        client.retire_workers([next(iter(there))], close_workers=True, remove=True)
        while len(client.nthreads()) > 1:
            time.sleep(0.05)
        time.sleep(1)  # its teardown comes after it has left the scheduler
        assert (path / "inventory").exists()
    assert not path.exists()
