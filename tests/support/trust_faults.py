"""Faults inside the processes of a run: at the stages of a worker, and at every put.

Workers and drivers of a trust run share a folder, the switchboard (``TRUST_SWITCHBOARD``). A test
lays a fault there; the first task or put that fits takes it, tells so in ``fired.jsonl`` and
suffers it. Taking is atomic, so that each fault is suffered as often as it was laid.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import random
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.s3 import bucket as s3_objects
from gridmill.stores.objects.s3.bucket import S3Bucket
from gridmill.stores.objects.s3.objects import S3Objects

# Shards are put in parts, and smaller objects whole, as large and small ones are elsewhere.
s3_objects.MULTIPART_FROM_NBYTES = 30_000

# A request that shall not end takes longer than this.
DIES_WITHIN_S = 0.01
# A gate that the test forgot must not hold a thread for ever.
GATE_TIMEOUT_S = 40.0
# How long a process stands still.
PAUSE_S = 1.5


class Switchboard:
    """The folder of faults, as the test sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def lay(self, place: str, action: str, pattern: str = "*", times: int = 1) -> list[Path]:
        """Lay a fault for the next `times` visitors of `place` whose name fits `pattern`.

        Parameters
        ----------
        place
            ``download`` (a path), ``compress`` (variable/path), ``put`` (role:key, before it),
            ``in-put`` (half the bytes are staged) or ``after-put``.
        action
            ``kill``, ``stop``, ``gate``, ``slow``, ``enospc``, ``eio``, ``unreadable`` or ``bug``.
        pattern
            A glob.
        times
            How many visitors.
        """
        laid = []
        for _ in range(times):
            content = json.dumps({"place": place, "action": action, "pattern": pattern})
            hidden = self.folder / f".{uuid.uuid4().hex}"
            hidden.write_text(content)
            laid.append(hidden.rename(self.folder / f"{place}.{uuid.uuid4().hex}.fault"))
        return laid

    def take_away(self, laid: list[Path]) -> None:
        """Take away what nobody took."""
        for file in laid:
            file.unlink(missing_ok=True)

    def fired(self) -> list[dict[str, Any]]:
        """Give what was suffered, in order."""
        log = self.folder / "fired.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def open_gates(self) -> None:
        """Let everybody pass who waits at a gate."""
        (self.folder / "gates-open").touch()

    def clear(self) -> None:
        """Take away what nobody took, and open the gates."""
        self.open_gates()
        for file in self.folder.glob("*.fault"):
            file.unlink(missing_ok=True)

    def reset(self) -> None:
        """Make it new for the next run."""
        self.clear()
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)


def call_in(environment: Mapping[str, str], function: Callable[..., None], *args: Any) -> None:
    """Call a function with these environment variables, in a process that is forked for it."""
    os.environ.update(environment)
    function(*args)


def hit(place: str, name: str) -> None:
    """Suffer the faults that wait at a place for this name."""
    folder = os.environ.get("TRUST_SWITCHBOARD")
    if folder is None:
        return
    for file in sorted(Path(folder).glob(f"{place}.*.fault")):
        try:
            fault = json.loads(file.read_text())
            if not fnmatch.fnmatchcase(name, fault["pattern"]):
                continue
            file.unlink()
        except FileNotFoundError:
            continue
        append(Path(folder) / "fired.jsonl", {**fault, "name": name, "pid": os.getpid()})
        _suffer(fault["action"], Path(folder))


def append(log: Path, entry: dict[str, Any]) -> None:
    """Append a line to a log that many processes write."""
    line = json.dumps({"time": time.time(), **entry}).encode() + b"\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def _suffer(action: str, folder: Path) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            wake_up = f"sleep {PAUSE_S}; kill -CONT {os.getpid()}"
            subprocess.Popen(["sh", "-c", wake_up], start_new_session=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        case "slow":
            time.sleep(1.0)
        case "gate":
            deadline = time.monotonic() + GATE_TIMEOUT_S
            while not (folder / "gates-open").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        case "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "eio":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        case "unreadable":
            raise ValueError("injected: cannot be decoded")
        case "bug":
            raise KeyError("injected: an error in an author's code")


@dataclass(frozen=True)
class Death:
    """Where a driver dies by SIGKILL.

    Parameters
    ----------
    when
        ``before``, ``in`` (half staged) or ``after`` a put; ``before-delete`` or ``after-delete``.
    place
        Glob for role:key.
    nth
        At which of those.
    """

    when: str
    place: str
    nth: int = 1


class _Fate:
    """The death that waits for this process; only drivers are given one."""

    death: Death | None = None
    seen = 0

    def meet(self, when: str, place: str) -> None:
        if self.death is None or self.death.when != when:
            return
        if not fnmatch.fnmatchcase(place, self.death.place):
            return
        self.seen += 1
        if self.seen == self.death.nth:
            die(asdict(self.death))


FATE = _Fate()


def die(why: dict[str, Any]) -> None:
    """Tell the switchboard, and die."""
    folder = os.environ.get("TRUST_SWITCHBOARD")
    if folder is not None:
        append(Path(folder) / "fired.jsonl", {**why, "action": "die", "pid": os.getpid()})
    os.kill(os.getpid(), signal.SIGKILL)


class Faulty:
    """Mixed into objects: puts are logged, and meet the faults of the switchboard."""

    role = ""
    put_log = Path()

    @classmethod
    def like(cls, objects: Any, role: str, put_log: Path) -> Any:
        """Give faulty objects with the settings of others."""
        faulty = cls.__new__(cls)
        vars(faulty).update(vars(objects), role=role, put_log=put_log)
        return faulty

    def put(self, key: str, content: bytes) -> None:
        """Put an object; log when it began and when it was there."""
        with faulty_put(self.put_log, self.role, key, len(content)):
            super().put(key, content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        FATE.meet("before-delete", f"{self.role}:{key}")
        super().delete(key)
        FATE.meet("after-delete", f"{self.role}:{key}")


@contextmanager
def faulty_put(put_log: Path, role: str, key: str, nbytes: int) -> Iterator[None]:
    """Put an object within: it is logged, and meets the faults that wait before and after."""
    place, began = f"{role}:{key}", time.time()
    hit("put", place)
    FATE.meet("before", place)
    yield
    entry = {"began": began, "role": role, "key": key, "nbytes": nbytes, "pid": os.getpid()}
    append(put_log, entry)
    FATE.meet("after", place)
    hit("after-put", place)


class FaultyLocal(Faulty, LocalObjects):
    """Files, which can also be left half staged."""

    def _stage(self, key: str, content: bytes) -> Path:
        place = f"{self.role}:{key}"
        if waits_in_put(place):
            half = super()._stage(key, content[: len(content) // 2])
            try:
                suffer_in_put(place)
            finally:
                with suppress(FileNotFoundError):
                    half.unlink()
        return super()._stage(key, content)


@dataclass(frozen=True)
class FaultyBucket(S3Bucket):
    """A bucket in which the parts of an object may be there and nobody puts them together."""

    role: str = ""

    async def _put_parts(self, client: Any, at: dict[str, str], content: bytes) -> list[Any]:
        parts = await super()._put_parts(client, at, content)
        suffer_in_put(f"{self.role}:{at['Key'].removeprefix(self.root)}")
        return parts


class FaultyS3(Faulty, S3Objects):
    """Objects in a bucket; of those in parts, all can be there and nobody put them together."""

    def put(self, key: str, content: bytes) -> None:
        """Put an object."""
        self._suffer_meanwhile(key, content)
        super().put(key, content)

    def _put_over(self, key: str, content: bytes, tag: str | None) -> bool:
        """Put an object on a condition: logged, with the same faults."""
        if len(content) >= s3_objects.MULTIPART_FROM_NBYTES:
            return super()._put_over(key, content, tag)  # which puts it
        self._suffer_meanwhile(key, content)
        with faulty_put(self.put_log, self.role, key, len(content)):
            return super()._put_over(key, content, tag)

    def _suffer_meanwhile(self, key: str, content: bytes) -> None:
        place = f"{self.role}:{key}"
        if len(content) < s3_objects.MULTIPART_FROM_NBYTES and waits_in_put(place):
            threading.Timer(DIES_WITHIN_S * random.random(), suffer_in_put, [place]).start()

    @classmethod
    def like(cls, objects: Any, role: str, put_log: Path) -> Any:
        """Give faulty objects with the settings of others, and a bucket with faults of its own."""
        faulty = super().like(objects, role, put_log)
        bucket = faulty.bucket
        settings = {field.name: getattr(bucket, field.name) for field in fields(S3Bucket)}
        faulty.bucket = FaultyBucket(**settings, role=role)
        return faulty


def faulty(objects: Objects, role: str, put_log: Path) -> Any:
    """Give faulty objects like others."""
    kind = FaultyLocal if isinstance(objects, LocalObjects) else FaultyS3
    return kind.like(objects, role, put_log)


def waits_in_put(place: str) -> bool:
    """Whether a fault waits for the middle of a put."""
    death = FATE.death
    dies = death is not None and death.when == "in" and fnmatch.fnmatchcase(place, death.place)
    return dies or _waits("in-put", place)


def suffer_in_put(place: str) -> None:
    """Suffer what waits for the middle of a put."""
    FATE.meet("in", place)
    hit("in-put", place)


def _waits(place: str, name: str) -> bool:
    folder = os.environ.get("TRUST_SWITCHBOARD")
    if folder is None:
        return False
    for file in Path(folder).glob(f"{place}.*.fault"):
        with suppress(FileNotFoundError):
            if fnmatch.fnmatchcase(name, json.loads(file.read_text())["pattern"]):
                return True
    return False
