"""An operation that is killed with SIGKILL before one of its writes: before the first, the second …

A process that has imported everything forks one for each attempt, so that an attempt takes as long
as the operation itself: what one imports on its way, the next ones have. What a write is: a put, a
put on a condition or a delete of an object beside or in a store, a commit of Icechunk and a change
of one of its branches.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Attempts", "Readers", "copies_to_kill", "forked", "guarded", "thinned"]

MOST_WRITES = 400
# A reader that never rests takes more of a core than what it looks at.
PAUSE_S = 0.1
WRITES = ("put", "put_if_absent", "overwrite", "delete")


def thinned(stride: int) -> int:
    """Return by how many writes deaths are apart in `make test`; 1 with GRIDMILL_LONG=1."""
    return 1 if "GRIDMILL_LONG" in os.environ else stride


class Attempts:
    """Calls a function in a process of its own; a context manager.

    Parameters
    ----------
    function
        ``"module:name"``, of a module in this folder or beside the tests; takes plain values.
    folders
        Where its modules are, too.
    of_leases
        Whether writes of leases count, which are those of every command.
    """

    def __init__(self, function: str, *folders: Path, of_leases: bool = True) -> None:
        here = [str(Path(__file__).parent), *map(str, folders)]
        path = os.pathsep.join([*here, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._mother = subprocess.Popen(
            [sys.executable, __file__, function, *([] if of_leases else ["leases"])],
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


def copies_to_kill(base: Path, names: Sequence[str], stride: int = 1) -> Iterator[tuple[int, Path]]:
    """Yield numbers of writes, each with a folder that holds copies of what is to be worked on.

    Parameters
    ----------
    base
        Where the originals are, and the folders.
    names
        Of the originals; who takes the folders says when it is enough.
    stride
        Every such number is given.
    """
    for number in count(1, stride):
        folder = base / f"step-{number}"
        for name in names:
            shutil.copytree(base / name, folder / name)
        yield number, folder
        shutil.rmtree(folder)


class Readers:
    """Looks at something in a loop, in a thread, and keeps what it finds wrong.

    What each death leaves is seen for certain by a test that then calls `once`.

    Parameters
    ----------
    look
        Raises AssertionError where what readers see is wrong.
    pause_s
        How long it rests between two looks.
    """

    def __init__(self, look: Callable[[], object], pause_s: float = PAUSE_S) -> None:
        self.look = look
        self.pause_s = pause_s
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
        while not self._ended.wait(self.pause_s):
            self.once()

    def once(self) -> None:
        """Look once more."""
        try:
            self.look()
        except Exception as error:
            self.violations.append(f"{type(error).__name__}: {error}")
        self.looks += 1


# -- the process that forks -----------------------------------------------------------------------


def forked(do: Callable[[], object]) -> int:
    """Do something in a fork of this process; its exit code, or minus the signal that ended it.

    What it imports of others until it is done, the next forks have.
    """
    had = {*sys.modules}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        guarded(lambda: (do(), _tell(writing, had)))
    _import_too(_told(reading, writing)[1])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def guarded(do: Callable[[], object]) -> NoReturn:
    """Do something in a fork and end it, with 0 if nothing was raised."""
    code = 1
    try:
        do()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _import_too(names: Iterable[str]) -> None:
    """Import what a fork imported of others, so that the next ones have it."""
    for name in names:
        # Icechunk 2 starts threads as it is imported, and no fork of theirs goes on.
        if name.partition(".")[0] not in ("gridmill", "icechunk"):
            with suppress(ImportError):  # some are made by others, under names of their own
                importlib.import_module(name)


def _count_writes(
    dies_before: int | None, tell: Callable[[], None], left_out: Sequence[str] = ()
) -> None:
    """Kill this process before a write; at the write before that one, tell what is imported.

    Writes of objects in folders that are left out do not count.
    """
    left = [dies_before]

    def count() -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if left[0] == 1:
                tell()

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            if not (len(args) > 1 and str(args[1]).partition("/")[0] in left_out):
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


def _attempt(
    function: Callable[..., Any], number: int | None, arguments: Any, left_out: Sequence[str]
) -> tuple[str, list[str]]:
    """Call a function in a fork; how that ended, and what it imported until the last write."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        tell = functools.partial(_tell, writing, {*sys.modules})
        try:
            _count_writes(number, tell, left_out)
            function(*arguments)
            tell("done")
        except BaseException as error:
            tell(" ".join(f"{type(error).__name__}: {error}".split()))
        os._exit(0)
    said, imported = _told(reading, writing)
    _, status = os.waitpid(child, 0)
    return "died" if os.WIFSIGNALED(status) else said or f"ended with {status}", imported


def _tell(writing: int, had: set[str], said: str = "") -> None:
    """Write a line about an attempt: how it ended, and what it imported."""
    line = json.dumps([said, sorted({*sys.modules} - had)]) + "\n"
    os.write(writing, line.encode())


def _told(reading: int, writing: int) -> tuple[str, list[str]]:
    """Give the last line that a fork wrote until it ended."""
    os.close(writing)
    with os.fdopen(reading) as answer:
        lines = [json.loads(line) for line in answer if line.endswith("\n")]
    return lines[-1] if lines else ("", [])


def _mother(named: str, *left_out: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = named.partition(":")
    function = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        said, imported = _attempt(function, *json.loads(line), left_out)
        answers.write(said + "\n")
        answers.flush()
        _import_too(imported)


if __name__ == "__main__":
    _mother(*sys.argv[1:])
