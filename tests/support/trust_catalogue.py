"""The faults, by name: what is laid before a driver starts, done while it runs, and taken away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
from distributed import Status as WorkerStatus

from gridmill.testing import (
    EmptyBody,
    Hang,
    HtmlBody,
    Latency,
    Reset,
    Slow,
    Status,
    Truncated,
)
from gridmill.testing.faults import Fault as WrongAnswer
from gridmill.testing.faults import LostAnswer, StoreFault
from trust_archive import KINDS, is_on_s3
from trust_dataset import DAYS_PER_REGION, GROUPS, VARIABLES, source_path
from trust_driver import Errand, Result
from trust_faults import PAUSE_S, Death
from trust_harness import MOMENTS, Driver, Lab, Outcome, Run, processes_of, read_log

# A lease of another machine's is taken over after so long.
LEASE_LIVES_S = 2.0


class Fault:
    """A fault of one run; subclasses override what they need.

    Attributes
    ----------
    moments
        When in an archive's life it can strike.
    kinds
        On which kinds of stores.
    sets_death
        Whether it decides about the life of driver or cluster; a run has one of these at most.
    """

    moments: tuple[str, ...] = MOMENTS
    kinds: Collection[str] = tuple(KINDS)
    sets_death = False

    def change(self, run: Run, errand: Errand) -> Errand:
        """Change the first driver's errand."""
        return errand

    def arm(self, run: Run) -> None:
        """Lay the fault, before the first driver starts."""

    def meanwhile(self, run: Run, driver: Driver) -> None:
        """Act while the first driver runs; called again and again."""

    def check(self, run: Run, result: Result | None) -> None:
        """Check how the first driver ended; None if it died."""

    def disarm(self, run: Run) -> None:
        """Take the fault away, before the reruns."""

    def injected(self, run: Run) -> int:
        """Count how often it struck."""
        raise NotImplementedError


# -- inside the processes ---------------------------------------------------------------------


def any_path(run: Run) -> str:
    """Choose a source file."""
    return run.pick_path()


def any_read(run: Run) -> str:
    """Choose what is read of a source file."""
    group, day = run.pick_file()
    return f"{run.rng.choice(GROUPS[group])}/{source_path(group, day)}"


def any_object(run: Run) -> str:
    """Choose a data object."""
    name, day = run.rng.choice(VARIABLES), run.pick_day()
    return f"store:{name}/c/{day if name == 'wind' else day // DAYS_PER_REGION}/0/0"


class Laid(Fault):
    """A fault on the switchboard."""

    def __init__(
        self, place: str, action: str, pattern: Callable[[Run], str] | str, times: int = 1
    ) -> None:
        self.place, self.action, self.pattern, self.times = place, action, pattern, times

    def arm(self, run: Run) -> None:
        """Lay it."""
        pattern = self.pattern if isinstance(self.pattern, str) else self.pattern(run)
        self.laid = run.switchboard.lay(self.place, self.action, pattern, self.times)

    def disarm(self, run: Run) -> None:
        """Take away what nobody took."""
        run.switchboard.take_away(self.laid)

    def fired(self, run: Run) -> list[dict[str, Any]]:
        """Give those that were suffered."""
        wanted = (self.place, self.action)
        return [f for f in run.switchboard.fired() if (f.get("place"), f["action"]) == wanted]

    def injected(self, run: Run) -> int:
        """Count them."""
        return len(self.fired(run))


class AtGate(Laid):
    """Something that the test does while a task waits in its middle."""

    def __init__(self, act: Callable[[Run, Driver], None], place: str = "compress") -> None:
        pattern = any_read if place == "compress" else any_object
        super().__init__(place, "gate", pattern)
        self.act = act
        self.acted = 0

    def meanwhile(self, run: Run, driver: Driver) -> None:
        """Act once the task is at the gate; then open it."""
        if not self.acted and self.fired(run):
            self.acted += 1
            self.act(run, driver)
            self.leave(run)

    def leave(self, run: Run) -> None:
        """Open the gate."""
        run.switchboard.open_gates()

    def injected(self, run: Run) -> int:
        """Count what was done."""
        return self.acted


def retire_worker(run: Run, driver: Driver) -> None:
    """Retire a worker; another one is started in its place later, by the run's end."""
    cluster = run.lab.cluster
    workers = sorted(cluster.client.scheduler_info(n_workers=-1)["workers"])
    cluster.replace_worker(workers[run.rng.randrange(len(workers))])


def restart_worker(run: Run, driver: Driver) -> None:
    """Let a nanny restart its worker."""
    client = run.lab.cluster.client
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    client.restart_workers([run.rng.choice(workers)], timeout=90)


def pause_worker(run: Run, driver: Driver) -> None:
    """Let Dask pause a worker, as it does when memory runs out, and continue later."""
    client = run.lab.cluster.client
    worker = run.rng.choice(sorted(client.scheduler_info(n_workers=-1)["workers"]))
    client.run(_set_status, "paused", workers=[worker])
    timer = threading.Timer(
        PAUSE_S, lambda: client.run(_set_status, "running", workers=[worker], on_error="ignore")
    )
    timer.start()


def _set_status(status: str, dask_worker: Any) -> None:
    dask_worker.loop.add_callback(setattr, dask_worker, "status", WorkerStatus[status])


# -- the source -------------------------------------------------------------------------------


class Answered(Fault):
    """The source server answers requests for a file with a fault."""

    def __init__(self, answer: WrongAnswer, times: int | None = 1) -> None:
        self.answer, self.times = answer, times

    def arm(self, run: Run) -> None:
        """Tell the server."""
        self.path = run.pick_path()
        run.server.inject(self.path, self.answer, self.times)

    def disarm(self, run: Run) -> None:
        """Let the server answer as it should."""
        run.server.clear_faults()
        run.server.end_hangs()

    def injected(self, run: Run) -> int:
        """Count the requests that met it."""
        asked = [r for r in run.server.requests if r.path == self.path and not r.byte_range]
        return min(len(asked), self.times or len(asked))


class FileLate(Fault):
    """A file is not there yet."""

    def arm(self, run: Run) -> None:
        """Hold it."""
        self.path = run.pick_path()
        run.server.hold(self.path)

    def disarm(self, run: Run) -> None:
        """Release it."""
        run.server.release(self.path)

    def injected(self, run: Run) -> int:
        """Count the refusals."""
        return sum(r.path == self.path and r.status == 404 for r in run.server.requests)


class FileArrives(FileLate):
    """A file is not there when it is first asked for, and arrives while the run goes on."""

    def meanwhile(self, run: Run, driver: Driver) -> None:
        """Release it after the first refusal."""
        if self.injected(run):
            run.server.release(self.path)


class FileGone(FileLate):
    """The provider no longer has a file whose values are published."""

    moments = ("update", "heal")

    def arm(self, run: Run) -> None:
        """Hold the file of a published day in a region that will be written again."""
        days = range(DAYS_PER_REGION, run.moment.published_days)
        self.path = source_path(run.rng.choice(("met", "rain")), run.rng.choice(days))
        run.server.hold(self.path)

    def disarm(self, run: Run) -> None:
        """It is gone for good."""


class FileReplaced(Fault):
    """A file is another one than it should be, until it is put right."""

    def __init__(self, how: str) -> None:
        self.how = how

    def arm(self, run: Run) -> None:
        """Replace it."""
        group, day = self.file = run.pick_file()
        match self.how:
            case "wrong":
                run.source.put_another(group, day, day - 1 if day else day + 1)
            case "undecodable":
                run.source.put(group, day, broken=[run.rng.choice(GROUPS[group])])
            case "revised":
                run.source.put(group, day, version=1)

    def disarm(self, run: Run) -> None:
        """Put the right one there; a revised file is the right one."""
        if self.how != "revised":
            run.source.put(*self.file)

    def injected(self, run: Run) -> int:
        """Count how often it was sent."""
        return sum(r.path == source_path(*self.file) for r in run.fetches())


# -- the store --------------------------------------------------------------------------------


class AtStore(Fault):
    """What is between gridmill and the store's server, or the server itself, fails for a while.

    It strikes while data is uploaded, and the run outlives it.
    """

    kinds = tuple(kind for kind in KINDS if is_on_s3(kind))

    def __init__(self, fault: StoreFault, times: int, method: str = "PUT") -> None:
        self.fault, self.times, self.method = fault, times, method

    def arm(self, run: Run) -> None:
        """Tell the proxy."""
        below = run.archive.url.removeprefix("s3:/")
        self.injections = run.lab.s3.proxy.inject(
            # Not the probes: whoever asks first whether the store is there is not patient.
            f"{below}/*/*",
            self.fault,
            method=self.method,
            times=self.times,
        )

    def check(self, run: Run, result: Result | None) -> None:
        """The driver does not mind."""
        if result is not None:
            assert result.error is None, result

    def disarm(self, run: Run) -> None:
        """Let all requests pass."""
        run.lab.s3.proxy.clear_faults()

    def injected(self, run: Run) -> int:
        """Count the requests that met it."""
        return self.injections.met


class ServerKilled(AtGate):
    """The store's server dies by SIGKILL in the middle of an upload, and is started again."""

    kinds = AtStore.kinds

    def __init__(self) -> None:
        super().__init__(self.kill, "put")

    def kill(self, run: Run, driver: Driver) -> None:
        """Kill it; start it again while tasks ask for it."""
        run.lab.s3.kill()
        self.restarting = threading.Timer(1.0, run.lab.s3.restart)
        self.restarting.start()

    def disarm(self, run: Run) -> None:
        """Wait until it is back."""
        self.restarting.join()
        super().disarm(run)


# -- the driver and the cluster ---------------------------------------------------------------


class DriverDies(Fault):
    """The driver dies by SIGKILL at a put or a deletion."""

    sets_death = True

    def __init__(self, when: str, place: str, most: Mapping[str, int] | int = 1) -> None:
        self.when, self.place, self.most = when, place, most

    def change(self, run: Run, errand: Errand) -> Errand:
        """Say where it dies."""
        most = self.most if isinstance(self.most, int) else self.most[run.moment_name]
        return errand.but(death=Death(self.when, self.place, run.rng.randint(1, most)))

    def check(self, run: Run, result: Result | None) -> None:
        """It did not live to tell."""
        assert result is None, result

    def injected(self, run: Run) -> int:
        """Count the deaths."""
        return sum(fault["action"] == "die" for fault in run.switchboard.fired())

    def disarm(self, run: Run) -> None:
        """Once is enough; let minutes pass for what it leaves."""
        run.archive.age_beats()


class DriverDiesAt(DriverDies):
    """The driver dies by SIGKILL at an event of the run."""

    def __init__(self, kind: str, detail: str, most: int) -> None:
        self.kind, self.detail, self.most_events = kind, detail, most

    def change(self, run: Run, errand: Errand) -> Errand:
        """Say where it dies."""
        return errand.but(
            dies_at_event=(self.kind, self.detail, run.rng.randint(1, self.most_events))
        )


class DriverDiesWithCluster(DriverDiesAt):
    """The driver runs its own cluster, and dies: its workers end by themselves."""

    def change(self, run: Run, errand: Errand) -> Errand:
        """Give it its own cluster."""
        return super().change(run, errand.but(scheduler=None))

    def check(self, run: Run, result: Result | None) -> None:
        """Nothing of it goes on."""
        super().check(run, result)
        left = processes_of(run.drivers[-1])
        _, alive = psutil.wait_procs(left, timeout=30)
        assert not alive, f"still running: {alive}"


class DriverDiesElsewhere(DriverDiesAt):
    """A driver of another machine, with another clock, dies: its lease runs out."""

    def __init__(self, clock_off_s: float) -> None:
        super().__init__("stage", "upload", 4)
        self.clock_off_s = clock_off_s

    def change(self, run: Run, errand: Errand) -> Errand:
        """Move it."""
        return (
            super()
            .change(run, errand)
            .but(clock_off_s=self.clock_off_s, machine="elsewhere", lease_lives_s=LEASE_LIVES_S)
        )

    def disarm(self, run: Run) -> None:
        """Wait until its lease is old, whatever the clocks say."""
        time.sleep(LEASE_LIVES_S)


class Ended(AtGate):
    """The driver is told to end by a signal, in the middle of a task."""

    sets_death = True

    def __init__(self, number: int) -> None:
        super().__init__(lambda run, driver: driver.process.signal(number))
        self.number = number

    def check(self, run: Run, result: Result | None) -> None:
        """It ends; after Ctrl-C it says so."""
        assert result is None or not result.is_complete
        if self.number == signal.SIGINT:
            assert result is not None
            assert result.error == "KeyboardInterrupt", result


class Zombie(AtGate):
    """The driver dies while an upload is under way, which goes on during the rerun."""

    sets_death = True

    def __init__(self) -> None:
        super().__init__(lambda run, driver: driver.process.signal(signal.SIGKILL), "put")

    def leave(self, run: Run) -> None:
        """Open the gate a little later."""

    def disarm(self, run: Run) -> None:
        """Open the gate while the rerun runs."""
        run.zombies_may_run = True
        threading.Timer(run.rng.uniform(0, 1.5), run.switchboard.open_gates).start()


class SchedulerDies(AtGate):
    """The scheduler dies by SIGKILL in the middle of a task."""

    sets_death = True

    def __init__(self) -> None:
        super().__init__(lambda run, driver: run.lab.cluster.kill())

    def check(self, run: Run, result: Result | None) -> None:
        """The driver says what happened."""
        assert result is not None
        assert result.error == "SchedulerLost", result


class SecondDriver(AtGate):
    """A second driver wants the same regions: it is told who holds them."""

    sets_death = True

    def __init__(self) -> None:
        super().__init__(self.second)

    def second(self, run: Run, driver: Driver) -> None:
        """Start it; it does not wait."""
        result = run.drive()
        assert result is not None
        assert result.error == "LeaseHeld", result
        assert f"pid {driver.pid}" in result.message, result


class Overtaken(AtGate):
    """A driver of another machine stands still, is overtaken, and wakes up."""

    sets_death = True

    def __init__(self) -> None:
        super().__init__(self.overtake)

    def change(self, run: Run, errand: Errand) -> Errand:
        """Move it."""
        return errand.but(machine="elsewhere", lease_lives_s=LEASE_LIVES_S)

    def overtake(self, run: Run, driver: Driver) -> None:
        """Stop it, let another one do its work, wake it up."""
        driver.process.signal(signal.SIGSTOP)
        time.sleep(LEASE_LIVES_S)
        result = run.drive()
        self.woken = time.time()
        driver.process.signal(signal.SIGCONT)
        assert result is not None
        assert result.error is None, f"{result}\n{run.drivers[-1].log}"

    def check(self, run: Run, result: Result | None) -> None:
        """It notices before its next step: it shows readers nothing, and writes no record."""
        assert result is not None
        assert not result.is_complete, result
        late = [put for put in read_log(run.put_log) if put.get("pid") == run.drivers[0].pid]
        late = [put["key"] for put in late if put["began"] > self.woken]
        assert not [key for key in late if key == "zarr.json" or key.startswith("regions/")], late


# Publications that a run is sure to make: others depend on its pace.
_ROOTS = {"backfill": 1, "update": 1, "heal": 1}
_REGIONS = {"backfill": 3, "update": 2, "heal": 3}
_RUN = "state:leases/*-??????"
_PUBLISHING = "state:leases/*-publishing"

CATALOGUE: Mapping[str, Callable[[], Fault]] = {
    # the source
    "http 500 once": lambda: Answered(Status(status=500)),
    "http 500 on and on": lambda: Answered(Status(status=500), None),
    "http 429": lambda: Answered(Status(status=429, retry_after_s=1)),
    "slow": lambda: Answered(Slow(nbytes_per_s=20_000)),
    "late answer": lambda: Answered(Latency(seconds=0.7)),
    "hung once": lambda: Answered(Hang(timeout_s=30)),
    "hung on and on": lambda: Answered(Hang(timeout_s=30), None),
    "truncated once": lambda: Answered(Truncated(nbytes=9_000)),
    "truncated on and on": lambda: Answered(Truncated(nbytes=9_000), None),
    "empty": lambda: Answered(EmptyBody(), None),
    "html": lambda: Answered(HtmlBody(), None),
    "connection reset": lambda: Answered(Reset()),
    "file late": FileLate,
    "file arrives during the run": FileArrives,
    "file gone for good": FileGone,
    "wrong file": lambda: FileReplaced("wrong"),
    "undecodable variable": lambda: FileReplaced("undecodable"),
    "revised file": lambda: FileReplaced("revised"),
    # the workers
    "worker killed in download": lambda: Laid("download", "kill", any_path),
    "worker killed in compress": lambda: Laid("compress", "kill", any_read),
    "worker killed before put": lambda: Laid("put", "kill", any_object),
    "worker killed in put": lambda: Laid("in-put", "kill", any_object),
    "worker killed after put": lambda: Laid("after-put", "kill", any_object),
    "both workers killed": lambda: Laid("compress", "kill", "*", 2),
    "worker stopped in download": lambda: Laid("download", "stop", any_path),
    "worker stopped in compress": lambda: Laid("compress", "stop", any_read),
    "worker stopped in upload": lambda: Laid("put", "stop", any_object),
    "worker retired": lambda: AtGate(retire_worker),
    "worker restarted by nanny": lambda: AtGate(restart_worker),
    "worker paused by Dask": lambda: AtGate(pause_worker),
    "tmp disk full in download": lambda: Laid("download", "enospc", any_path),
    "tmp disk full in compress": lambda: Laid("compress", "enospc", any_read),
    "tmp disk full on and on": lambda: Laid("download", "enospc", any_path, 9),
    "decode error": lambda: Laid("compress", "unreadable", any_read),
    "error in an author's code": lambda: Laid("compress", "bug", any_read),
    # the final store
    "store refuses an object": lambda: Laid("put", "eio", any_object),
    "store full": lambda: Laid("put", "enospc", any_object, 9),
    "store slow": lambda: Laid("put", "slow", "store:*/c/*", 4),
    "store refuses a coordinate": lambda: Laid("put", "eio", "store:time/c/0"),
    "store refuses the root": lambda: Laid("put", "eio", "store:zarr.json"),
    "store throttles": lambda: AtStore(Status(status=503), 12),
    "store resets connections": lambda: AtStore(Reset(), 8, "*"),
    "store's answers get lost": lambda: AtStore(LostAnswer(), 5),
    "store's network slow": lambda: AtStore(Latency(seconds=0.8), 10),
    "store's server killed": ServerKilled,
    "records refuse a region": lambda: Laid("put", "eio", "state:regions/*"),
    # the driver
    "driver killed before claiming": lambda: DriverDies("before", f"{_RUN}/claim.json"),
    "driver killed claiming": lambda: DriverDies("after", f"{_RUN}/claim.json"),
    "driver killed having claimed": lambda: DriverDies("after", f"{_RUN}/held"),
    "driver killed at a download": lambda: DriverDiesAt("stage", "download", 3),
    "driver killed at an upload": lambda: DriverDiesAt("stage", "upload", 5),
    "driver killed before a record": lambda: DriverDies("before", "state:regions/*", _REGIONS),
    "driver killed in a record": lambda: DriverDies("in", "state:regions/*", _REGIONS),
    "driver killed after a record": lambda: DriverDies("after", "state:regions/*", _REGIONS),
    "driver killed publishing": lambda: DriverDies("after", f"{_PUBLISHING}/claim.json"),
    "driver killed before a coordinate": lambda: DriverDies("before", "store:time/c/0"),
    "driver killed after a coordinate": lambda: DriverDies("after", "store:time/c/0"),
    "driver killed before an array": lambda: DriverDies("before", "store:*/zarr.json", 4),
    "driver killed after an array": lambda: DriverDies("after", "store:*/zarr.json", 4),
    "driver killed before the root": lambda: DriverDies("before", "store:zarr.json", _ROOTS),
    "driver killed in the root": lambda: DriverDies("in", "store:zarr.json", _ROOTS),
    "driver killed after the root": lambda: DriverDies("after", "store:zarr.json", _ROOTS),
    "driver killed having published": lambda: DriverDies(
        "after-delete", f"{_PUBLISHING}/claim.json"
    ),
    "driver killed ending": lambda: DriverDies("before-delete", f"{_RUN}/claim.json"),
    "driver killed before its report": lambda: DriverDies("before", "state:runs/*"),
    "driver killed with its cluster": lambda: DriverDiesWithCluster("stage", "upload", 3),
    "driver killed during an upload": Zombie,
    "driver interrupted": lambda: Ended(signal.SIGINT),
    "driver terminated": lambda: Ended(signal.SIGTERM),
    "scheduler killed": SchedulerDies,
    "two drivers": SecondDriver,
    "driver overtaken": Overtaken,
    "clock ahead, driver killed": lambda: DriverDiesElsewhere(2 * 86_400),
    "clock behind, driver killed": lambda: DriverDiesElsewhere(-2 * 86_400),
}


@dataclass(frozen=True)
class Scenario:
    """Faults that strike one archive at a moment of its life."""

    faults: tuple[str, ...]
    moment: str
    seed: int
    kind: str = "local"

    @property
    def name(self) -> str:
        """Tell it from others."""
        where = "" if self.kind == "local" else f" / {self.kind}"
        return f"{' + '.join(self.faults)} / {self.moment} / {self.seed}{where}"


def play(lab: Lab, scenario: Scenario, outcome: Outcome | None = None) -> Outcome:
    """Let drivers meet the faults, take these away, and prove that nothing is lost.

    All faults wait for the first driver. What did not strike it, because another fault was
    faster or kept the run from getting there, waits for the next one.

    Parameters
    ----------
    outcome
        Filled also where the proof fails.
    """
    waiting = {name: CATALOGUE[name]() for name in scenario.faults}
    with Run(lab, scenario.moment, scenario.seed, outcome, scenario.kind) as run:
        for fault in waiting.values():
            fault.arm(run)
        for _ in range(1 + len(scenario.faults)):
            for name in _drive_under(run, waiting):
                del waiting[name]
            if not waiting:
                return run.prove()
        raise AssertionError(f"never struck: {sorted(waiting)}\n{run.drivers[-1].log}")


def _drive_under(run: Run, faults: Mapping[str, Fault]) -> list[str]:
    """Run a driver under faults; take away those that struck, and name them."""
    errand = run.errand()
    for fault in faults.values():
        errand = fault.change(run, errand)
    driver = run.start(errand)

    def meanwhile() -> None:
        for fault in faults.values():
            fault.meanwhile(run, driver)

    result = run.finish(driver, meanwhile)
    struck = {name: fault for name, fault in faults.items() if fault.injected(run)}
    for name, fault in struck.items():
        run.outcome.injected[name] = fault.injected(run)
        fault.check(run, result)
    for fault in struck.values():
        fault.disarm(run)
    run.lab.cluster.wait_for_workers()
    return list(struck)
