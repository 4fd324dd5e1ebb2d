"""A disk that is full, or takes nothing any more, is what the error names, with the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiny
from gridmill.cli.exit_codes import ExitCode
from gridmill.publishing.publisher import Publisher
from gridmill.stores.objects.leftovers import naming
from gridmill.stores.objects.writable import StoreUnwritable
from tiny import Provider, hours, until

# In a namespace of its own, which the mount ends with.
IN_A_MOUNT = """
import subprocess, sys
from pathlib import Path

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", sys.argv[1]], check=True)
from gridmill.cli.errors import told_in_one_line
from tiny import Tiny, until

disk = Path(sys.argv[1])
options = {"source_base": sys.argv[2], "state": sys.argv[3] or None}

def fill(event):
    if event.kind == "submitted":
        with (disk / "filling").open("wb", buffering=0) as out:
            try:
                while out.write(bytes(4096)):
                    pass
            except OSError:
                pass

def freeze(event):
    if event.kind == "submitted":
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

try:
    dataset = Tiny(disk / "a.zarr", **{k: v for k, v in options.items() if v})
    report = dataset.backfill(until(8), client="none", listener=globals()[sys.argv[4]])
    print("failures", report.failures)
except Exception as error:
    told = told_in_one_line(error)
    print(told.exit_code, told.message)
"""


def can_mount() -> bool:
    """Whether this user may mount a disk in a namespace of its own."""
    try:
        probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(probe, capture_output=True).returncode == 0
    except OSError:
        return False


needs_mount = pytest.mark.skipif(not can_mount(), reason="no mount in a namespace of its own")


def run_on_a_disk(tmp_path: Path, fault: str, state: str = "") -> str:
    """Backfill on a small disk that is full or frozen once regions are begun."""
    provider, disk = Provider(tmp_path / "source"), tmp_path / "disk"
    provider.publish(hours(8))
    disk.mkdir()
    path = os.pathsep.join([str(Path(tiny.__file__).parent), *sys.path])
    command = ["unshare", "-rm", sys.executable, "-c", IN_A_MOUNT]
    done = subprocess.run(
        [*command, str(disk), str(provider.root), state, fault],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@needs_mount
@pytest.mark.parametrize(
    ("fault", "cause"), [("fill", "No space left on device"), ("freeze", "Read-only file system")]
)
def test_a_disk_that_takes_nothing_any_more_is_named_and_not_the_lease(tmp_path, fault, cause):
    """One line says which archive, why, and at which path.

    That the lease cannot be ended follows from it, and is not what the line says.
    """
    line = run_on_a_disk(tmp_path, fault)
    disk = tmp_path / "disk"
    assert line.startswith(f"{int(ExitCode.UNWRITABLE)} cannot write to {disk / 'a.zarr'} any more")
    assert cause in line
    assert f"'{disk}/a.zarr.gridmill/" in line
    assert fault == "fill" or "leases" not in line


@needs_mount
@pytest.mark.parametrize(
    ("fault", "cause"), [("fill", "No space left on device"), ("freeze", "Read-only file system")]
)
def test_what_cannot_be_uploaded_names_the_object(tmp_path, fault, cause):
    """Where the records are elsewhere the run ends in order, and each failure has its path."""
    line = run_on_a_disk(tmp_path, fault, state=str(tmp_path / "state"))
    assert cause in line
    assert f"{tmp_path / 'disk'}/" in line


@pytest.mark.parametrize(
    ("place", "kind"),
    [("a/c/0", StoreUnwritable), ("a.gridmill/x", StoreUnwritable), ("tmp", OSError)],
)
def test_only_what_lies_in_the_archive_says_that_it_is_not_writable(
    client, tmp_path, monkeypatch, place, kind
):
    """A full disk of temporary files is none of the store's."""

    def refuses(*args, **options):
        raise OSError(28, os.strerror(28), str(tmp_path / place))

    Provider(tmp_path / "source").publish(hours(4))
    dataset = tiny.Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    monkeypatch.setattr(Publisher, "publish", refuses)
    with pytest.raises(OSError, match="No space left") as caught:
        dataset.backfill(until(4), client=client)
    assert type(caught.value) is kind


@pytest.mark.parametrize("number", [28, 122])
def test_an_error_without_a_path_gets_one(tmp_path, number):
    """The system names no file where a write finds no room; what has a name keeps it."""
    with pytest.raises(OSError, match="somewhere") as caught, naming(tmp_path / "somewhere"):
        raise OSError(number, os.strerror(number))
    assert caught.value.errno == number
    with pytest.raises(OSError, match="elsewhere"), naming(tmp_path / "somewhere"):
        raise OSError(number, os.strerror(number), "elsewhere")
    with pytest.raises(ConnectionError) as other, naming(tmp_path / "somewhere"):
        raise ConnectionResetError(104, "reset")
    assert other.value.filename is None


# By hand: the disk is full or frozen as a part of a lease is written.
BY_HAND = """
import os, subprocess, sys
from pathlib import Path

disk, source, kind, fault, part = Path(sys.argv[1]), *sys.argv[2:6]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
from gridmill.cli.group import cli
from gridmill.stores.objects.local import LocalObjects
from tiny import Tiny, until

Tiny(disk / "a", source_base=source, format=kind).backfill(until(8), client="none")
put = LocalObjects.put

def put_and_fault(self, key, content):
    put(self, key, content)
    if not (key.startswith("leases/") and key.endswith(part)):
        return
    if fault == "freeze":
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    else:
        with (disk / "filling").open("wb", buffering=0) as out:
            try:
                while out.write(bytes(4096)):
                    pass
            except OSError:
                pass

LocalObjects.put = put_and_fault
command, *rest = sys.argv[6:]
archive = ["tiny:Tiny", "--store", "a", "--format", kind, "--source-base", source]
os.chdir(disk)
cli.main([command, *archive, "--now", until(8), *rest])
"""
CAUSES = {"fill": "No space left on device", "freeze": "Read-only file system"}
ACCEPT = ["accept", "20200101T05.npy", "--why", "lost"]
TRUNCATE = ["truncate", "--end", until(4), "--yes"]
COPY = ["copy", "--to", "b"]


@needs_mount
@pytest.mark.parametrize(
    ("kind", "fault", "part", "command", "at"),
    [
        ("zarr", "fill", "-publishing/claim.json", ACCEPT, "/a/time/c/0"),
        ("zarr", "freeze", "/held", TRUNCATE, "/a.gridmill/"),
        ("zarr", "freeze", "-publishing/claim.json", ACCEPT, "/a.gridmill/staging/"),
        ("zarr", "freeze", "/held", ["restore-metadata", "--yes"], "/a.gridmill/"),
        ("zarr", "fill", "-publishing/claim.json", COPY, "/b/"),
        ("icechunk", "fill", "-publishing/claim.json", TRUNCATE, "(os error 28)"),
    ],
)
def test_by_hand_the_archive_and_the_cause_are_named_too(tmp_path, kind, fault, part, command, at):
    """The exit code says that the store cannot be written, as that of a run does."""
    provider, disk = Provider(tmp_path / "source"), tmp_path / "disk"
    provider.publish(hours(8))
    provider.withdraw(hours(8)[5])
    disk.mkdir()
    path = os.pathsep.join([str(Path(tiny.__file__).parent), *sys.path])
    words = [str(disk), str(provider.root), kind, fault, part, *command]
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", BY_HAND, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == ExitCode.UNWRITABLE, line
    store = "b" if command is COPY else "a"
    assert line.startswith(f"error: cannot write to {store} any more: [Errno ")
    assert CAUSES[fault] in line
    assert at in line
    # What gives the right to publish back cannot be deleted either, which is no cause.
    assert fault == "fill" or part == "/held" or "leases/" not in line
