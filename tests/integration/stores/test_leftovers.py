"""What killed processes leave is swept, and what live ones use is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import gridmill
import tiny
from gridmill.stores.objects.leftovers import (
    ABANDONED_AFTER_S,
    name_of_ours,
    sweep,
    temporary_folder,
)
from gridmill.stores.objects.local import LocalObjects
from tiny import Provider, Tiny, hours, until


def name_of_a_dead_process() -> str:
    """Let a process give a name, and end."""
    code = "from gridmill.stores.objects.leftovers import name_of_ours; print(name_of_ours())"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_files_and_folders_of_a_dead_process_go(tmp_path: Path) -> None:
    """What a process of this machine left is deleted once it is gone."""
    name = name_of_a_dead_process()
    (tmp_path / name).write_bytes(b"half")
    (tmp_path / f"run-{name}" / "inside").mkdir(parents=True)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"run-{name}"]
    sweep(tmp_path, "run-")
    assert not list(tmp_path.iterdir())


def test_what_a_live_process_uses_stays(tmp_path: Path) -> None:
    """Files of a process that runs stay, and so does what has another kind of name."""
    kept = {name_of_ours(), "zarr.json", "a-1-b", "other-123-folder"}
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_files_of_another_machine_go_after_a_day(tmp_path: Path) -> None:
    """Whether a process of another machine lives is judged by the file's age."""
    old, new = (f"{'f' * 12}-1-{digit * 32}" for digit in "ab")
    for name in (old, new):
        (tmp_path / name).write_bytes(b"")
    long_ago = (tmp_path / new).stat().st_mtime - ABANDONED_AFTER_S - 1
    os.utime(tmp_path / old, (long_ago, long_ago))
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [new]


def test_whoever_writes_next_sweeps(tmp_path: Path) -> None:
    """Also where nobody probes before: a catalogue, a folder of statistics, replicas' records."""
    left = tmp_path / ".staging" / name_of_a_dead_process()
    for put in (lambda to: to.put("a", b""), lambda to: to.put_if_absent("b", b"")):
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"half")
        put(LocalObjects(tmp_path, left.parent))
        assert not left.exists()
    left.write_bytes(b"half")
    assert LocalObjects(tmp_path, left.parent).copy("a", "c")
    assert not left.exists()


def test_what_is_temporary_is_made_where_others_sweep() -> None:
    """The standard library's folders stay for good where their process is killed."""
    package = Path(gridmill.__file__).parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s*(from|import) tempfile\b", path.read_text(), re.MULTILINE)
    }
    assert {user for user in users if not user.startswith("testing/")} == {
        "stores/objects/leftovers.py",
        "archive/metadata.py",  # in a folder of ours
        "cli/commands/run_one.py",  # an address where nothing is
    }


def test_sweeping_nothing_is_allowed(tmp_path: Path) -> None:
    """A folder that is not there is swept already."""
    sweep(tmp_path / "absent")


def test_the_next_run_deletes_the_folder_of_one_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary folder goes with its process, at the latest when another is made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os, signal\n"
        "from gridmill.stores.objects.leftovers import temporary_folder\n"
        "with temporary_folder() as folder:\n"
        "    (folder / 'half').write_bytes(b'')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)})
    (left,) = tmp_path.iterdir()
    with temporary_folder() as first, temporary_folder() as second:
        assert set(tmp_path.iterdir()) == {first, second}
        assert left not in (first, second)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from gridmill.archive import archive
from gridmill.operations.accept import accept_files
from tiny import HOUR, START, Tiny, until

archive.write_by_xarray = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
dataset = Tiny(sys.argv[1], source_base=sys.argv[2])
{command}
"""
COMMANDS = {
    "plan": "dataset.plan(until(4))",
    "backfill": "dataset.backfill(until(4), client='none')",
    "validate": "dataset.validate(now=START + 4 * HOUR)",
    "accept": "accept_files(dataset, ['20200101T03.npy'], who='me', why='lost', now=until(4))",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_was_killed_before_it_ran_is_swept_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Planning, and what is done by hand, prepare metadata in folders that others sweep."""
    provider, scratch = Provider(tmp_path / "source"), tmp_path / "scratch"
    provider.publish(hours(3))
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
    if command != "backfill":
        dataset.backfill(until(4), client="none")
    path = os.pathsep.join([str(Path(tiny.__file__).parent), *sys.path])
    code = KILLED.format(command=COMMANDS[command])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.zarr"), str(provider.root)],
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": path},
    )
    assert done.returncode == -signal.SIGKILL
    assert list(scratch.glob("gridmill-*"))
    dataset.backfill(until(4), client="none")
    assert not list(scratch.glob("gridmill-*"))
