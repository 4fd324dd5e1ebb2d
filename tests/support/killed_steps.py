"""An operation that is killed with SIGKILL before one of its writes: before the first, the second …

A process that has imported everything forks one for each attempt, so that an attempt takes as long
as the operation itself. What a write is: a put, a put on a condition or a delete of an object
beside or in a store, a commit of Icechunk and a change of one of its branches.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["Attempts", "Readers"]

MOST_WRITES = 400
WRITES = ("put", "put_if_absent", "overwrite", "delete")


class Attempts:
    """Calls a function in a process of its own; a context manager.

    Parameters
    ----------
    function
        ``"module:name"``, of a module in this folder or beside the tests; takes plain values.
    """

    def __init__(self, function: str, *folders: Path) -> None:
        here = [str(Path(__file__).parent), *map(str, folders)]
        path = os.pathsep.join([*here, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._mother = subprocess.Popen(
            [sys.executable, __file__, function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Attempts:
        return self

    def __exit__(self, *_: object) -> None:
        self._mother.stdin.close()
        self._mother.wait(60)
        self._mother.stdout.close()

    def dies_before(self, number: int | None, *arguments: Any) -> bool:
        """Call it, and kill it before its write of this number; whether it died.

        Raises
        ------
        AssertionError
            It failed.
        """
        self._mother.stdin.write(json.dumps([number, arguments]) + "\n")
        self._mother.stdin.flush()
        answer = self._mother.stdout.readline().strip()
        assert answer in ("died", "done"), answer
        return answer == "died"

    def one_after_the_other(self, *arguments: Any) -> Iterator[int]:
        """Yield after each attempt on what the ones before left, until one of them ends."""
        for number in range(1, MOST_WRITES):
            if not self.dies_before(number, *arguments):
                return
            yield number
        raise AssertionError(f"more than {MOST_WRITES} writes")


class Readers:
    """Looks at something in a loop, in a thread, and keeps what it finds wrong.

    Parameters
    ----------
    look
        Raises AssertionError where what readers see is wrong.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self.look = look
        self.violations: list[str] = []
        self.looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> Readers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._ended.wait(0.01):
            self.once()

    def once(self) -> None:
        """Look once more."""
        try:
            self.look()
        except Exception as error:
            self.violations.append(f"{type(error).__name__}: {error}")
        self.looks += 1


# -- the process that forks -----------------------------------------------------------------------


def _count_writes(dies_before: int | None) -> None:
    """Kill this process before a write."""
    left = [dies_before]

    def count() -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            count()
            return method(*args, **options)

        return call

    def counted_later(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            change = method(*args, **options)
            return None if change is None else counted(change)

        return call

    from gridmill.stores.icechunk import publication
    from gridmill.stores.icechunk.maintenance import rearranging, renaming
    from gridmill.stores.icechunk.named.branches import IcechunkBranches
    from gridmill.stores.icechunk.repository import RepositoryAt
    from gridmill.stores.objects.local import LocalObjects
    from gridmill.stores.objects.s3.objects import S3Objects

    for kind in (LocalObjects, S3Objects):
        for name in WRITES:
            setattr(kind, name, counted(getattr(kind, name)))
        kind.change = counted_later(kind.change)
    for name in ("point", "move", "drop"):
        setattr(IcechunkBranches, name, counted(getattr(IcechunkBranches, name)))
    publication.commit = counted(publication.commit)
    rearranging.commit = renaming.commit = publication.commit
    RepositoryAt.create = counted(RepositoryAt.create)


def _attempt(function: Callable[..., Any], number: int | None, arguments: Any) -> str:
    """Call a function in a fork; say how that ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        said = "done"
        try:
            _count_writes(number)
            function(*arguments)
        except BaseException as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return "died" if os.WIFSIGNALED(status) else said or f"ended with {status}"


def _mother(named: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = named.partition(":")
    function = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        answers.write(_attempt(function, *json.loads(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    _mother(sys.argv[1])
