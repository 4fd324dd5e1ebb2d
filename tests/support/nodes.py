"""A cluster as one finds it: `dask scheduler` and `dask worker` processes, each a node by itself.

No worker knows another's disk: each has its own local directory, and is told not to look into
that of others. Nodes are killed and started while something runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import gridmill

SUPPORT = Path(__file__).parent


class Nodes:
    """A scheduler, and workers on nodes of their own; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._scheduler: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._scheduler = self._start(
            "scheduler", "--port", "0", "--scheduler-file", str(self.scheduler_file)
        )
        deadline = time.monotonic() + 60
        while not self.scheduler_file.exists():
            assert time.monotonic() < deadline, "no scheduler"
            time.sleep(0.1)
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for process in [*self.workers, self._scheduler]:
            if process is not None:
                process.kill()
                process.wait()

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(json.loads(self.scheduler_file.read_text())["address"])

    def join(self, nthreads: int = 5) -> None:
        """Start one more node."""
        number = len(self.workers)
        local = self.folder / f"node-{number}"
        local.mkdir()
        options = ["--nthreads", str(nthreads), "--no-nanny", "--local-directory", str(local)]
        options += ["--death-timeout", "60"]  # where the tests were killed
        options += ["--scheduler-file", str(self.scheduler_file), "--name", f"node-{number}"]
        self.workers.append(self._start("worker", *options))

    def kill(self, number: int) -> None:
        """Let a node vanish."""
        self.workers[number].kill()

    def kill_scheduler(self) -> None:
        """Let the scheduler vanish."""
        assert self._scheduler is not None
        self._scheduler.kill()

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        source = str(Path(gridmill.__file__).parents[1])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([source, str(SUPPORT)]),
            "DASK_GRIDMILL__WORKERS_SHARE_DISK": "False",
        }
        command = [sys.executable, "-m", "dask", what, "--host", "127.0.0.1", "--no-dashboard"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, *options], env=environment, cwd=self.folder, stdout=log, stderr=log
            )
