"""A driver in a process of its own, which is killed with SIGKILL while it works on a region."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tiny import TinyJob

__all__ = ["DIES_AT", "Mortal", "kill_while_making"]

DIES_AT = "GRIDMILL_TEST_DIES_AT"


class Mortal(TinyJob):
    """Kills its process when it is to read a certain file."""

    def read_data(self, coord, data_var):
        """Read, or die."""
        if coord.get_url() == os.environ.get(DIES_AT):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read_data(coord, data_var)


def kill_while_making(
    store: Path, provider: Path, url: str, *, until: str, now: str, **options: str
) -> None:
    """Backfill in a process that kills itself where it reads a file; raise if it does not."""
    script = (
        "from pathlib import Path; from datetime import timedelta; import sys;"
        "from killed import Mortal; from tiny import dataset_of;"
        "Mortal.publication_delay = timedelta(hours=2);"
        "store, provider, until, now, kind = sys.argv[1:];"
        "dataset = dataset_of(job=Mortal)(Path(store), source_base=provider, format=kind);"
        "dataset.backfill(until, client='none', now=now, redo=True)"
    )
    support = str(Path(__file__).parent)
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [str(store), str(provider), until, now, options.get("kind", "zarr")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, DIES_AT: url, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != -signal.SIGKILL:
        raise AssertionError(f"the driver ended with {done.returncode}: {done.stderr[-2000:]}")
