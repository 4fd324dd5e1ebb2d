"""How long it takes until something happens."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measures import Measure, Meter, measured
from benchmarks.sizes import Size

__all__ = ["start"]

FIRST_TASK = """
from gridmill.runs.dask.clusters import connect
if __name__ == "__main__":
    with connect("local", silence_logs=50) as client:
        client.submit(int, "1").result()
"""


def start(folder: Path, size: Size) -> Iterator[Measure]:
    """Start the command line, import the package, run a first task."""
    script = shutil.which("gridmill", path=str(Path(sys.executable).parent)) or "gridmill"
    first = folder / "first.py"
    first.write_text(FIRST_TASK)
    cases = (
        ("start: gridmill --help", [script, "--help"], 0.5),
        ("start: import gridmill", [sys.executable, "-c", "import gridmill"], 0.5),
        ("start: first task on a LocalCluster", [sys.executable, str(first)], 6.0),
    )
    for name, command, most in cases:
        meters = []
        for _ in range(size.pairs + 1):
            with Meter() as meter:
                subprocess.run(command, check=True, capture_output=True)
            meters.append(meter)
        meters = meters[1:]
        load = max(meter.foreign_load for meter in meters)
        yield measured(name, "s", [m.wall_s for m in meters], most=most, foreign_load=load)
        yield measured(name, "CPU s", [m.cpu_s for m in meters])
