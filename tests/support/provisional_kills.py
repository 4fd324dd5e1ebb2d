"""Provisional files become final while drivers are killed at steps, and a reader looks on.

Run as a process of its own: it forks a driver for each update, and imports nothing before that has
threads.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from gridmill.stores.objects.local import LocalObjects
from killed_steps import forked
from preliminary import FINAL, PRELIMINARY, Told, TwoFolders
from tiny import HOUR, START, hours, until, values_at

# With a stride of 3, more than an update has steps.
POSITIONS = 32
NOW = START + HOUR * (POSITIONS + 10)


class Steps:
    """Counts the steps of a driver, and kills it at one of them."""

    def __init__(self, dies_at: int) -> None:
        self.left = dies_at

    def take(self) -> None:
        """Take a step, or die."""
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def around(self, do: Any) -> Any:
        """Return a method with a step before and after."""

        def stepping(*args: Any, **options: Any) -> Any:
            self.take()
            found = do(*args, **options)
            self.take()
            return found

        return stepping


def archive(folder: Path, kind: str) -> Any:
    """Return the dataset."""
    return Told(folder / "a", source_base=str(folder / "provider"), format=kind)


def update(folder: Path, kind: str, day: int, dies_at: int) -> None:
    """Update, and die at a step."""
    steps = Steps(dies_at)
    put = mock.patch.object(LocalObjects, "put", steps.around(LocalObjects.put))
    with put, mock.patch.object(Told.region_job, "read_data", steps.around(_read)):
        if kind == "icechunk":
            import icechunk

            commit = steps.around(icechunk.Session.commit)
            icechunk.Session.commit = commit
        dataset, now = archive(folder, kind), NOW + timedelta(days=day)
        dataset.reformat_operational_update(client="none", now=now, until=until(POSITIONS))


_read = Told.region_job.read_data


def in_child(do: Callable[[], None]) -> bool:
    """Do it in a process of its own; whether that was killed."""
    code = forked(do)
    if code not in (0, -signal.SIGKILL):
        raise AssertionError(f"the driver ended with {code}")
    return code != 0


def build(folder: Path, kind: str) -> None:
    """Build the archive, of preliminary files alone."""
    TwoFolders(folder / "provider").preliminary(hours(POSITIONS))
    made = in_child(
        lambda: archive(folder, kind).backfill(until(POSITIONS), client="none", now=NOW) and None
    )
    assert not made


def drive(folder: Path, kind: str, first: int, stride: int) -> None:
    """Let one file after the other become final, with a kill at another step each time.

    Writes how many drivers were killed into ``killed``.
    """
    provider, killed = TwoFolders(folder / "provider"), 0
    for day, label in enumerate(hours(POSITIONS)):
        # The provider's log: what may be seen from now on.
        with (folder / "log").open("a") as log:
            log.write(f"{day}\n")
        provider.finish([label])
        at = first + day * stride
        if not in_child(lambda day=day, at=at: update(folder, kind, 2 * day, at)):
            break
        killed += 1
        in_child(lambda day=day: update(folder, kind, 2 * day + 1, -1))
    (folder / "killed").write_text(str(killed))


def read(folder: Path, kind: str) -> None:
    """Read in a loop until told to stop; write how often, and each violation, into ``seen``."""
    seen = np.full(POSITIONS, PRELIMINARY)
    times, violations = 0, []
    while not (folder / "stop").exists() or not times:
        try:
            finality, found = _look(folder, kind)
        except Exception as error:  # a shard that was replaced between two requests
            torn = str(error)
            try:
                finality, found = _look(folder, kind)
            except Exception as again:
                violations.append(f"{torn}, then {again}")
                continue
        log = [int(line) for line in (folder / "log").read_text().split()]
        times += 1
        violations += _violations(finality, found, seen, set(log))
        time.sleep(0.01)
    (folder / "seen").write_text(json.dumps([times, violations]))


def _look(folder: Path, kind: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Load finality, and then data, as a reader does."""
    import xarray as xr

    if kind == "zarr":
        store: Any = str(folder / "a")
    else:
        import icechunk

        repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder / "a")))
        store = repository.readonly_session("main").store
    with xr.open_zarr(store, chunks=None, consolidated=kind == "zarr") as ds:
        finality = ds["finality"].values
        return finality, {name: ds[name].values for name in ("a", "b")}


def _violations(
    finality: np.ndarray, found: dict[str, np.ndarray], seen: np.ndarray, log: set[int]
) -> list[str]:
    if len(finality) != POSITIONS:
        return [f"{len(finality)} positions"]
    wrong = []
    for position, label in enumerate(hours(POSITIONS)):
        versions = [_version(found[name][position], label, number) for name, number in VARIABLES]
        if -1 in versions:
            wrong.append(f"{position}: a value that no file gives")
        if FINAL in versions and position not in log:
            wrong.append(f"{position}: final before the provider had it")
        if finality[position] == 1 and versions != [FINAL, FINAL]:
            wrong.append(f"{position}: said to be final, and is {versions}")
        if seen[position] == FINAL and versions != [FINAL, FINAL]:
            wrong.append(f"{position}: final before, and {versions} now")
        if versions == [FINAL, FINAL]:
            seen[position] = FINAL
    return wrong


VARIABLES = (("a", 0), ("b", 1))
_known: dict[Any, Any] = {}


def _version(values: np.ndarray, label: Any, number: int) -> int:
    for version in (FINAL, PRELIMINARY):
        key = (label, version)
        if key not in _known:
            _known[key] = values_at(label, version)
        if np.array_equal(values, _known[key][number]):
            return version
    return -1


if __name__ == "__main__":
    what, where, store, *numbers = sys.argv[1:]
    {"build": build, "drive": drive, "read": read}[what](Path(where), store, *map(int, numbers))
