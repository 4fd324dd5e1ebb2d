"""Runs drivers under faults, and judges what is left: the archive, the leftovers, the readers.

A `Lab` holds what many runs share: a cluster and a reader in processes of their own, finished
archives to begin with, and reference archives. A `Run` is one archive under faults: its own
source server, store and logs.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import zarr
from distributed import Client
from zarr.core.buffer import cpu

import trust_dataset
import trust_driver
import trust_reader
from gridmill.model.records import ProgressRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.runs.dask.plugin.pipeline import PLUGIN
from gridmill.testing import ArchiveServer, Request
from trust_archive import S3, Archive, Shelf, is_icechunk, is_on_s3
from trust_dataset import GROUPS, FormulaTruth, SourceArchive, group_of, label, source_path
from trust_driver import Errand, Result
from trust_faults import Switchboard, call_in
from trust_reader import Missing, Place, Sightings, Watch, Watched

# Two shared cores: a run takes two seconds when nothing else goes on.
DRIVER_TIMEOUT_S = 150.0
DAYS = 8
WORKERS = 2
SUPPORT = Path(__file__).parent
MOMENTS = ("backfill", "update", "heal")


@dataclass(frozen=True)
class Moment:
    """Where in an archive's life a run begins.

    Parameters
    ----------
    errand
        What the driver does.
    published_days
        What readers see before; 0 for no archive.
    gaps
        By group and day, the source files that were missing for good and are there now.
    """

    errand: Mapping[str, str]
    published_days: int = 0
    gaps: tuple[tuple[str, int], ...] = ()


_BACKFILL = {"kind": "backfill", "until": label(DAYS), "now": label(DAYS)}
_UPDATE = {"kind": "update", "now": label(DAYS)}
MOMENT_OF: Mapping[str, Moment] = {
    # From nothing.
    "backfill": Moment(_BACKFILL),
    # The second region is published up to its first day.
    "update": Moment(_UPDATE, published_days=4),
    # The first region has a gap whose source file is there now.
    "heal": Moment(_UPDATE, published_days=5, gaps=(("met", 1),)),
}


class Process:
    """A child process that was forked from a server which has imported everything."""

    _context: Any = None

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        if Process._context is None:
            Process._context = get_context("forkserver")
            Process._context.set_forkserver_preload(["trust_dataset", "trust_driver", "dask.array"])
        # The server has the environment of the first lab.
        ours = {name: value for name, value in os.environ.items() if name.startswith("TRUST_")}
        self.process = Process._context.Process(
            target=call_in, args=(ours, function, *arguments), daemon=False
        )
        self.process.start()
        self.pid: int = self.process.pid
        self.started = time.time()

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return bool(self.process.is_alive())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def join(self, timeout_s: float) -> bool:
        """Wait until it ends; whether it did."""
        self.process.join(timeout_s)
        return not self.process.is_alive()


class Driver:
    """A driver process at its errand."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.process = Process(trust_driver.run, errand)
        self.started = time.time()
        self.ended = float("inf")

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def wait(self, meanwhile: Callable[[], None] = lambda: None) -> Result | None:
        """Wait until it ends; None if it died. One that never ends is killed and an error."""
        deadline = time.monotonic() + DRIVER_TIMEOUT_S
        while self.process.is_alive:
            if time.monotonic() > deadline:
                self.process.signal(signal.SIGKILL)
                self.process.join(10)
                raise TimeoutError(f"the driver did not end in {DRIVER_TIMEOUT_S} s:\n{self.log}")
            meanwhile()
            self.process.join(0.02)
        self.ended = min(self.ended, time.time())
        file = self.errand.folder / "result.json"
        return Result(**json.loads(file.read_text())) if file.exists() else None

    @property
    def log(self) -> str:
        """The end of what it wrote to its standard output and error."""
        log = self.errand.folder / "log.txt"
        return log.read_text()[-3000:] if log.exists() else "nothing"


class Cluster:
    """A cluster in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        environment = {**os.environ, "TMPDIR": str(folder)}
        with (folder / "cluster.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SUPPORT / "trust_cluster.py"), str(folder), str(WORKERS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError(f"no cluster: {(folder / 'cluster.log').read_text()[-2000:]}")
        self.client = Client(self.address, timeout=60, set_as_default=False)
        self.wait_for_workers()
        self.pids = {self.process.pid, *self.client.run(os.getpid).values()}

    def wait_for_workers(self) -> None:
        """Wait until as many workers as there should be take tasks."""
        self.client.wait_for_workers(WORKERS, timeout=90)

    def wait_until_idle(self) -> None:
        """Wait until no task runs any more, not even one that nobody waits for."""
        deadline = time.monotonic() + 60
        while True:
            # The scheduler may not have noticed yet that a worker was killed.
            running = self.client.run(_count_running, on_error="ignore")
            if len(running) == WORKERS and not any(running.values()):
                return
            assert time.monotonic() < deadline, f"tasks run on and on: {running}"
            time.sleep(0.05)

    def share_a_disk(self) -> bool:
        """Whether workers use each other's folders, and tasks go to whichever is free."""
        # A worker that its nanny has just started again has no plugin yet.
        answers = self.client.run(_shares_disk, on_error="ignore").values()
        return set(answers) == {True}

    def tmp_folders(self) -> list[Path]:
        """Give what is left of the pipeline's temporary folders on the workers' disks."""
        return [path for path in self.folder.glob("**/gridmill/*") if path.is_dir()]

    def replace_worker(self, address: str) -> None:
        """Retire a worker, gracefully; its nanny starts another one."""
        pid = self.client.run(os.getpid, workers=[address])[address]
        self.client.retire_workers([address], close_workers=False, remove=True)
        os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        """End scheduler and nannies with SIGKILL; workers end because their nanny is gone."""
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        """Stop it and all its processes."""
        with suppress(Exception):
            self.client.close(timeout=5)
        family = _family(self.process.pid)
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        _, alive = psutil.wait_procs(family, timeout=10)
        for process in alive:
            process.kill()


def _shares_disk(dask_worker: Any) -> bool:
    plugin = dask_worker.plugins[PLUGIN]
    return bool(plugin.workspace.shares_disk) and plugin.most_claimed == 0


def _count_running(dask_worker: Any) -> int:
    return len(dask_worker.state.all_running_tasks)


class Lab:
    """What many runs share; a context manager.

    Parameters
    ----------
    folder
        For everything.
    workers_share_disk
        Whether a worker uses what is on another one's disk, and variables spread over them.
    """

    def __init__(self, folder: Path, *, workers_share_disk: bool = False) -> None:
        self.folder = folder
        self.switchboard = Switchboard(folder / "switchboard")
        self._environment = {
            "TRUST_SWITCHBOARD": str(self.switchboard.folder),
            "TRUST_WORKERS_SHARE_DISK": "yes" if workers_share_disk else "",
        }
        self._number = 0
        self._cluster: Cluster | None = None
        self._stocks: dict[str, Stock] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        self._stack.enter_context(mock.patch.dict(os.environ, self._environment))
        # Before the fork server starts: its children are drivers and readers.
        search = [str(SUPPORT), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, search))
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._reader = Process(trust_reader.read_for_ever, theirs)
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if not self._reader.join(10):
            self._reader.signal(signal.SIGKILL)
        if self._cluster is not None:
            self._cluster.close()
        self._stack.close()

    @cached_property
    def s3(self) -> S3:
        """The S3 server of archives in a bucket."""
        folder = self.folder / "outages"
        folder.mkdir()
        return self._stack.enter_context(S3(folder / "now"))

    def stock(self, kind: str) -> Stock:
        """Give the finished archives of a kind of store."""
        if kind not in self._stocks:
            self._stocks[kind] = Stock(self, kind)
        return self._stocks[kind]

    @property
    def cluster(self) -> Cluster:
        """The shared cluster; a new one where a fault ended the last."""
        if self._cluster is not None and self._cluster.process.poll() is not None:
            self._cluster.close()
            self._cluster = None
        if self._cluster is None:
            self._cluster = Cluster(self.new_folder("cluster"))
        return self._cluster

    def new_folder(self, name: str) -> Path:
        """Give the path of a folder that is not there yet."""
        self._number += 1
        return self.folder / f"{self._number:04d}-{name}"

    def watch(self, watch: Watch) -> None:
        """Let the reader read."""
        self._connection.send(watch)

    def end_watch(self) -> Watched:
        """Let the reader read once more, and report."""
        self._connection.send("over")
        if not self._connection.poll(60):
            raise TimeoutError("the reader does not answer")
        watched: Watched = self._connection.recv()
        return watched


class Stock:
    """Finished archives of one kind of store: to begin with, to compare with, and damaged ones.

    Parameters
    ----------
    lab
        Makes them.
    kind
        One of `KINDS`.
    """

    def __init__(self, lab: Lab, kind: str) -> None:
        self.lab = lab
        self.shelf = Shelf(kind, lab.folder, lab.s3 if is_on_s3(kind) else None)
        self._before: dict[str, Archive] = {}
        self._references: dict[tuple[Any, ...], dict[str, str]] = {}

    def archive_at(self, moment: str) -> Archive | None:
        """Give an archive as it is before a moment; None where there is none."""
        spec = MOMENT_OF[moment]
        if spec.published_days and moment not in self._before:
            # The gaps are older than the provider's delay, so that they are settled.
            made = self._make(f"before-{moment}", label(spec.published_days), hold=spec.gaps)
            self._before[moment] = made
        return self._before.get(moment)

    def reference(self, versions: Mapping[tuple[str, int], int]) -> dict[str, str]:
        """Give the digests of an uninterrupted backfill of source files of these versions."""
        other = tuple(sorted((key, version) for key, version in versions.items() if version))
        if not other:
            self._references[other] = self._references.get(other) or self.original.digests()
        elif other not in self._references:
            made = self._make("reference", label(DAYS), versions=dict(other))
            self._references[other] = made.digests()
        return self._references[other]

    @cached_property
    def original(self) -> Archive:
        """Give the archive of an uninterrupted backfill."""
        return self._make("original", label(DAYS))

    @cached_property
    def seeded(self) -> dict[str, Archive]:
        """Give copies of the original with one violation each, by its name."""
        made = {}
        for name, damage in DAMAGES.items():
            made[name] = self.shelf.new(f"seeded-{name}")
            self.original.copy_to(made[name])
            made[name].change(damage(self.original.contents()))
        return made

    def _make(
        self,
        name: str,
        until: str,
        *,
        hold: Iterable[tuple[str, int]] = (),
        versions: Mapping[tuple[str, int], int] | None = None,
    ) -> Archive:
        self.lab.switchboard.reset()
        archive, folder = self.shelf.new(name), self.lab.new_folder(name)
        source = SourceArchive(folder / "source", DAYS)
        for (group, day), version in (versions or {}).items():
            source.put(group, day, version=version)
        with ArchiveServer(source.root) as server:
            server.release_all()
            for group, day in hold:
                server.hold(source_path(group, day))
            errand = Errand(
                folder=folder / "driver",
                dataset="trust_dataset:Trust",
                store=archive.url,
                format=archive.format,
                storage_options=archive.options,
                source=server.url,
                put_log=folder / "puts.jsonl",
                kind="backfill",
                until=until,
                now=until,
                scheduler=self.lab.cluster.address,
            )
            driver = Driver(errand)
            result = driver.wait()
            assert result is not None, driver.log
            assert result.is_complete, result.error or driver.log
            assert result.report["positions_after"] == _steps(until), result
        return archive


def _steps(until: str) -> int:
    return trust_dataset.TrustTemplate().get_template(until).sizes["time"]


# -- seeded violations ------------------------------------------------------------------------


Contents = Mapping[str, bytes]


def _damage_value(contents: Contents) -> dict[str, bytes]:
    """Change one value, checksums and all."""
    stored = {k: cpu.Buffer.from_bytes(v) for k, v in contents.items() if k.startswith("temp")}
    array = zarr.open_array(zarr.storage.MemoryStore(stored), path="temperature", mode="r+")
    array[17, 5, 6] = array[17, 5, 6] + 1
    return {k: v.to_bytes() for k, v in stored.items() if v.to_bytes() != contents.get(k)}


def _damage_extent(contents: Contents) -> dict[str, bytes]:
    """Show a day more than there is."""
    changed = {}
    for key in (key for key in contents if key.endswith("zarr.json")):
        metadata = json.loads(contents[key])
        consolidated = metadata.get("consolidated_metadata") or {"metadata": {}}
        for array in (metadata, *consolidated["metadata"].values()):
            if (array.get("dimension_names") or [""])[0] == "time":
                array["shape"][0] += trust_dataset.STEPS_PER_DAY
        changed[key] = json.dumps(metadata).encode()
    return changed


def _lose_object(contents: Contents) -> dict[str, None]:
    """Lose a day of a variable."""
    return {"wind/c/3/0/0": None}


def _swap_objects(contents: Contents) -> dict[str, bytes]:
    """Put two days into each other's place."""
    one, other = "wind/c/1/0/0", "wind/c/6/0/0"
    return {one: contents[other], other: contents[one]}


def _flip_bit(contents: Contents) -> dict[str, bytes]:
    """Flip a bit of a chunk."""
    content = bytearray(contents["rain/c/0/0/0"])
    content[100] ^= 1
    return {"rain/c/0/0/0": bytes(content)}


DAMAGES: Mapping[str, Callable[[Contents], Mapping[str, bytes | None]]] = {
    "value": _damage_value,
    "extent": _damage_extent,
    "lost": _lose_object,
    "swapped": _swap_objects,
    "bit": _flip_bit,
}


# -- one archive under faults -----------------------------------------------------------------


@dataclass
class Outcome:
    """What became of a run.

    Attributes
    ----------
    injected
        How often faults struck, by fault.
    drivers
        Runs of drivers, and how many of them went to their end.
    sightings
        What the reader saw.
    seeded_visits, seeded_caught
        How often the reader visited a seeded violation, and caught it.
    violations
        What must not be.
    objects_redone, files_redone
        Objects put and source files sent more often than once.
    """

    injected: dict[str, int] = field(default_factory=dict)
    drivers: int = 0
    completed: int = 0
    sightings: Sightings = field(default_factory=Sightings)
    seeded_visits: int = 0
    seeded_caught: int = 0
    violations: list[str] = field(default_factory=list)
    objects_redone: int = 0
    files_redone: int = 0


class Run:
    """One archive under faults; a context manager.

    Parameters
    ----------
    lab
        What it shares with others.
    moment
        One of `MOMENTS`.
    seed
        Decides which files, objects and violations are chosen.
    outcome
        Filled while it goes on.
    kind
        The kind of its store, one of `KINDS`.
    """

    def __init__(
        self,
        lab: Lab,
        moment: str,
        seed: int,
        outcome: Outcome | None = None,
        kind: str = "local",
    ) -> None:
        self.lab = lab
        self.kind = kind
        self.stock = lab.stock(kind)
        self.truth = FormulaTruth()
        self.moment_name = moment
        self.moment = MOMENT_OF[moment]
        self.rng = random.Random(seed)
        self.outcome = outcome or Outcome()
        self.drivers: list[Driver] = []
        base = self.stock.archive_at(moment)
        self.stock.reference({})
        seeded = self.rng.choice(sorted(self.stock.seeded))
        self.seeded = self.stock.seeded[seeded]
        lab.cluster.wait_for_workers()
        lab.switchboard.reset()
        self.folder = lab.new_folder(moment)
        self.folder.mkdir()
        self.archive = self.stock.shelf.new(moment)
        self.put_log = self.folder / "puts.jsonl"
        if base is not None:
            base.copy_to(self.archive)
        self.source = SourceArchive(self.folder / "source", DAYS)
        self.server = ArchiveServer(self.source.root)
        # Whether the next driver may meet tasks of the last one.
        self.zombies_may_run = False
        self._watched: Watched | None = None

    def __enter__(self) -> Run:
        self._stack = ExitStack()
        self._stack.enter_context(self.server)
        self.server.release_all()
        outage = str(self.lab.s3.outage) if is_on_s3(self.kind) else None
        watch = Watch(self.archive.opening, (self.seeded.opening,), self.truth, outage)
        self.lab.watch(watch)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._watched is None:
            self.outcome.sightings = self.lab.end_watch().live
            self.outcome.violations = self.outcome.sightings.violations
        self.lab.switchboard.clear()
        for driver in self.drivers:
            if driver.process.is_alive:
                driver.process.signal(signal.SIGKILL)
                driver.process.join(10)
        self._stack.close()
        if exc[0] is None:
            shutil.rmtree(self.folder)

    @property
    def switchboard(self) -> Switchboard:
        """The faults inside the run's processes."""
        return self.lab.switchboard

    # -- drivers --------------------------------------------------------------------------------

    def errand(self, **changes: Any) -> Errand:
        """Give the moment's errand."""
        fields = {
            "folder": self.folder / self._next_name(),
            "dataset": "trust_dataset:Trust",
            "store": self.archive.url,
            "format": self.archive.format,
            "storage_options": self.archive.options,
            # Its requests are told from those of a dead one's tasks by the name in the URL.
            "source": self.server.url.replace("://", f"://{self._next_name()}@"),
            "put_log": self.put_log,
            "scheduler": self.lab.cluster.address,
            **self.moment.errand,
        }
        return Errand(**{**fields, **changes})

    def _next_name(self) -> str:
        return f"driver-{len(self.drivers)}"

    def start(self, errand: Errand) -> Driver:
        """Start a driver."""
        driver = Driver(errand)
        self.drivers.append(driver)
        self.outcome.drivers += 1
        return driver

    def drive(self, **changes: Any) -> Result | None:
        """Run a driver to its end."""
        result = self.finish(self.start(self.errand(**changes)))
        return result

    def finish(self, driver: Driver, meanwhile: Callable[[], None] = lambda: None) -> Result | None:
        """Wait for a driver."""
        result = driver.wait(meanwhile)
        self.outcome.completed += result is not None and result.is_complete
        return result

    # -- what to strike -------------------------------------------------------------------------

    def pick_day(self) -> int:
        """Choose a day whose source files this moment fetches."""
        first = self.moment.published_days // trust_dataset.DAYS_PER_REGION
        return self.rng.randrange(first * trust_dataset.DAYS_PER_REGION, DAYS)

    def pick_file(self) -> tuple[str, int]:
        """Choose a source file, by group and day."""
        return self.rng.choice(("met", "rain")), self.pick_day()

    def pick_path(self) -> str:
        """Choose a source file, by path."""
        return source_path(*self.pick_file())

    # -- proof ----------------------------------------------------------------------------------

    def recover(self) -> None:
        """Run until nothing is left to do; what was done must not be done again.

        The moment's errand is repeated until it goes to its end; an update then heals what
        only updates ask for again; at last a driver must find nothing to do.
        """
        for _ in range(3):
            result = self._drive_again()
            if result is not None and result.is_complete:
                break
        else:
            raise AssertionError(f"three reruns failed: {result}\n{self.drivers[-1].log}")
        if self.moment.errand != _UPDATE:
            self._drive_again(**_UPDATE)
        self._check_idle()

    def _drive_again(self, **changes: str) -> Result | None:
        if not self.zombies_may_run:
            self.lab.cluster.wait_until_idle()
        self.zombies_may_run = False
        done = done_objects(self.archive, self.source.etags)
        began = time.time()
        errand, user = self.errand(), self._next_name()
        if changes:
            errand = errand.but(until=None, start=None, end=None, **changes)
        result = self.finish(self.start(errand))
        again = sorted(put["key"] for put in self.puts(began) if put["key"] in done.objects)
        assert not again, f"put again, though recorded as done: {again}"
        fetched = sorted({r.path for r in self.fetches(began) if r.user == user} & done.files)
        assert not fetched, f"fetched again, though all that they fill is done: {fetched}"
        return result

    def _check_idle(self) -> None:
        began = time.time()
        result = self.drive()
        assert result is not None, self.drivers[-1].log
        assert result.is_complete, f"{result}\n{self.drivers[-1].log}"
        assert not self.puts(began), f"an idle run put {self.puts(began)}"
        assert not self.fetches(began), f"an idle run fetched {self.fetches(began)}"
        assert not result.report["variables_done"], result

    def check_archive(self) -> None:
        """Compare every object with those of an uninterrupted run."""
        expected = self.stock.reference(self.source.versions)
        found = self.archive.digests(expected)
        differing = {k for k in {*expected, *found} if expected.get(k) != found.get(k)}
        assert not differing, f"differ from an uninterrupted run: {sorted(differing)}"

    def check_leftovers(self) -> None:
        """Nothing is left of the runs: no lease, nothing staged, no temporary folder."""
        left = self.archive.leftovers()
        left += map(str, (self.folder / "tmp").iterdir())
        deadline = time.monotonic() + 20
        while (folders := self.lab.cluster.tmp_folders()) and time.monotonic() < deadline:
            time.sleep(0.1)
        left += map(str, folders)
        assert not left, f"left behind: {left}"

    def check_reader(self) -> None:
        """The reader saw no violation but the seeded one, and that each time."""
        outcome = self.outcome
        self._watched = self.lab.end_watch()
        outcome.sightings = self._watched.live
        outcome.violations = [
            *self._watched.live.violations,
            *judge_missing(self, self._watched.live),
        ]
        outcome.seeded_visits = len(self._watched.seeded)
        outcome.seeded_caught = sum(
            bool(seen.violations or judge_missing(self, seen, seeded=True))
            for _, seen in self._watched.seeded
        )
        assert outcome.seeded_visits, "the reader visited no seeded violation"
        missed = {path for path, seen in self._watched.seeded if not seen.violations}
        assert outcome.seeded_caught == outcome.seeded_visits, f"not caught: {missed}"
        assert outcome.sightings.opens, "the reader never opened the store"
        assert not outcome.violations, outcome.violations
        assert outcome.sightings.positions == DAYS * trust_dataset.STEPS_PER_DAY

    def count_redone(self) -> None:
        """Count what was done more often than once."""
        keys = [put["key"] for put in self.puts()]
        self.outcome.objects_redone = len(keys) - len(set(keys))
        paths = [request.path for request in self.fetches()]
        self.outcome.files_redone = len(paths) - len(set(paths))

    def prove(self) -> Outcome:
        """Rerun, and check everything."""
        self.recover()
        self.check_archive()
        self.check_leftovers()
        self.check_reader()
        self.count_redone()
        return self.outcome

    # -- logs -----------------------------------------------------------------------------------

    def puts(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Give the puts of data objects that began since, in the order in which they ended."""
        return [
            put
            for put in read_log(self.put_log)
            if put["role"] == "store" and is_data(put["key"]) and put["began"] >= since
        ]

    def shown_puts(self) -> list[dict[str, Any]]:
        """Give the puts of data objects with when readers could see them (`shown`), in order.

        That is at once where objects are what readers read, and with a commit in Icechunk.
        """
        puts = self.puts()
        if not is_icechunk(self.kind):
            return [{**put, "shown": put["time"]} for put in puts]
        log = read_log(self.put_log)
        uploads = [entry for entry in log if entry["role"] == "token"]
        commits = [entry for entry in log if entry["role"] == "shown"]
        shown = []
        for put in puts:
            names = (
                upload["name"]
                for upload in uploads
                if upload["time"] >= put["time"] and put["key"] in upload["keys"]
            )
            name = next(names, None)
            times = (commit["time"] for commit in commits if name in commit["names"])
            shown.append({**put, "shown": next(times, math.inf)})
        return sorted(shown, key=lambda put: put["shown"])

    def fetches(self, since: float = 0.0) -> list[Request]:
        """Give the requests that a whole file was sent for."""
        return [
            request
            for request in self.server.requests
            if request.time >= since and self._is_whole(request)
        ]

    def _is_whole(self, request: Request) -> bool:
        size = nbytes_in(request.etag)
        return request.status == 200 and not request.byte_range and request.nbytes == size


@dataclass(frozen=True)
class Done:
    """What records say is done for good: keys of objects, paths of source files."""

    objects: frozenset[str]
    files: frozenset[str]


def done_objects(archive: Archive, etags: Mapping[str, str]) -> Done:
    """Read what the records of an archive say; of regions that reach as far as they will.

    What came of a source file that is another one by now is not done.
    """
    objects: set[str] = set()
    files: set[str] = set()
    for content in archive.regions().values():
        record = ProgressRecord.from_json(content)
        is_static = record.stop == record.start
        length = trust_dataset.DAYS_PER_REGION * trust_dataset.STEPS_PER_DAY
        end = min(record.start + length, DAYS * trust_dataset.STEPS_PER_DAY)
        if not is_static and record.stop < end:
            continue  # its last days are still to be added
        same = [all(etags.get(f.url) == f.etag for f in group) for group in record.groups]
        complete = {
            n for n, v in record.variables.items() if record.is_complete([n]) and same[v.group]
        }
        for name in complete:
            objects.update(o.key for o in record.variables[name].objects)
        for group, names in GROUPS.items():
            if set(names) <= complete and (group == "static") == is_static:
                at = record.variables[names[0]].group
                assert all(f.status is SourceFileStatus.SUCCEEDED for f in record.groups[at])
                files.update(f.url for f in record.groups[at])
    return Done(frozenset(objects), frozenset(files))


def judge_missing(run: Run, seen: Sightings, *, seeded: bool = False) -> list[str]:
    """Give the missing values that nothing excuses.

    A value may be missing where the source file was truly unavailable to the job that put the
    object: by the source server's log, no whole and readable file was sent to that job, or a
    later request of the same job was refused.
    """
    puts = [] if seeded else run.shown_puts()
    found = []
    for place, stretches in sorted(seen.missing.items()):
        for stretch in stretches:
            why = _unexcused(run, place, stretch, puts, seeded=seeded)
            if why:
                name, day, quarter = place
                found.append(f"{stretch.first_began:.3f} {name} of day {day} {quarter}: {why}")
    return found


def _unexcused(
    run: Run, place: Place, stretch: Missing, puts: list[dict[str, Any]], *, seeded: bool
) -> str:
    name, day, _ = place
    ours = [put for put in puts if holds(put["key"], place)]
    before = [put for put in ours if put["shown"] <= stretch.first_began][-1:]
    during = [put for put in ours if stretch.first_began < put["shown"] <= stretch.last_began]
    if not before:
        known = not seeded and (group_of(name), day) in run.moment.gaps
        # An object put during the first open may be the one that was read.
        early = [put for put in ours if put["time"] <= stretch.last_ended]
        if not known and not early:
            return "missing, and nobody ever put it"
    path = source_path(group_of(name), day)
    for put in (*before, *during):
        if not _was_unavailable(run, name, path, put):
            return f"missing, though {path} was there for the job that put {put['key']}"
    return ""


def _was_unavailable(run: Run, name: str, path: str, put: dict[str, Any]) -> bool:
    began = max((d.started for d in run.drivers if d.started <= put["time"]), default=0.0)
    unreadable = f"{name}/{path}"
    if any(
        fault["name"] == unreadable and fault["action"] in ("unreadable", "bug")
        for fault in run.switchboard.fired()
        if "name" in fault and began <= fault["time"] <= put["time"]
    ):
        return True
    answers = [
        request
        for request in run.server.requests
        if request.path == path and not request.byte_range and began <= request.time <= put["time"]
    ]
    good = [
        run._is_whole(r) and name in run.source.held_by.get((path, r.etag or ""), {})
        for r in answers
    ]
    return not any(good) or not good[-1]


def holds(key: str, place: Place) -> bool:
    """Whether an object of the store holds values of a place."""
    name, day, quarter = place
    holding = trust_dataset.source_days_of(key)
    if holding is None or holding[0] != name or day not in holding[1]:
        return False
    return name != "rain" or key.endswith(f"/{quarter[0]}/0")


def digests(root: Path) -> dict[str, str]:
    """Give the checksum of every object of a local plain store, by key, see `digests_of`."""
    return Archive("local", str(root)).digests()


def is_data(key: str) -> bool:
    """Whether an object holds values of a data variable."""
    return any(fnmatchcase(key, f"{name}/c*") for names in GROUPS.values() for name in names)


def nbytes_in(etag: str | None) -> int:
    """Give the size that the archive server's ETag carries; -1 without one."""
    return -1 if etag is None else int(etag.strip('"').split("-")[1], 16)


def read_log(log: Path) -> list[dict[str, Any]]:
    """Read a log of lines; one that is being written is left out."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [json.loads(line) for line in lines]


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def processes_of(driver: Driver) -> list[psutil.Process]:
    """Give the processes that a driver started, also when it is gone: those of its session."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == driver.pid:
                found.append(process)
    return found
