"""A command that is told to stop ends in order: its lease is given back, its folders go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

import tiny
from gridmill.cli import ExitCode
from gridmill.cli.interruption import ENDING
from tiny import Provider, Tiny, TinyTemplate, dataset_of, hours, until


class RetitledTemplate(TinyTemplate):
    """The same, by another title."""

    dataset_attributes = {"dataset_id": "tiny", "title": "Another"}


Retitled = dataset_of(template=RetitledTemplate)

# Each ends at once, for good, where its process is told to while it holds a lease. The signal comes
# twice, as from a terminal that is closed and from `timeout`, and giving back takes a while.
STOPPED = """
import os, signal, sys, time
from gridmill.cli import interruption
from gridmill.cli.group import main
from gridmill.stores.objects.local import LocalObjects

number, part = int(sys.argv.pop(1)), sys.argv.pop(1)
signal.signal(number, signal.SIG_DFL)  # which nohup, around the tests, has set to be ignored
interruption.INTERRUPT_AGAIN_S = 0.05
put, delete, told = LocalObjects.put, LocalObjects.delete, []

def put_and_stop(self, key, content):
    put(self, key, content)
    if key.startswith("leases/") and key.endswith(part):
        told.append(key)
        os.kill(os.getpid(), number)

def delete_late(self, key):
    if told == told[:1] != []:
        told.append(key)
        os.kill(os.getpid(), number)
    time.sleep(0.1 if told else 0)
    delete(self, key)

LocalObjects.put, LocalObjects.delete = put_and_stop, delete_late
main()
"""
WHY = ["--why", "lost"]
SPAN = ["--start", until(0), "--end", until(2), "--variables", "a"]
COMMANDS = {
    "update": ["--cluster", "none"],
    "backfill": ["--until", until(8), "--redo", "--cluster", "none"],
    "accept": ["20200101T05.npy", *WHY],
    "truncate": ["--end", until(4), "--yes"],
    "withdraw": [*SPAN, *WHY, "--yes"],
    "migrate-metadata": ["--yes"],
    "restore-metadata": ["--yes"],
    "statistics": ["--read", "--publish"],
    "copy": ["--to", "b"],
}
SPECS = {"migrate-metadata": "test_told_to_stop:Retitled"}
# The lease itself, and the right to publish.
PARTS = ("/held", "-publishing/claim.json")


@pytest.mark.parametrize(
    ("command", "part", "number"),
    [(*drawn, ENDING[at % len(ENDING)]) for at, drawn in enumerate(product(COMMANDS, PARTS))],
)
def test_a_command_that_is_told_to_stop_gives_back_its_lease(
    tmp_path: Path, command: str, part: str, number: signal.Signals
) -> None:
    """By hand as in a run, by whichever signal, with its lease in hand and while it publishes."""
    provider, scratch = Provider(tmp_path / "source"), tmp_path / "scratch"
    provider.publish(hours(8))
    provider.withdraw(hours(8)[5])
    dataset = Tiny(tmp_path / "a", source_base=str(provider.root))
    dataset.backfill(until(8), client="none")
    scratch.mkdir()
    own = [str(Path(__file__).parent), str(Path(tiny.__file__).parent)]
    archive = [SPECS.get(command, "tiny:Tiny"), "--store", "a", "--source-base", "source"]
    words = [command, *archive, *COMMANDS[command], "--now", until(8)]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), part, *words],
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(own + sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == ExitCode.INTERRUPTED, done.stderr
    assert "error: interrupted" in done.stderr
    assert [*tmp_path.glob("*.gridmill/leases")] == [*scratch.iterdir()] == []
