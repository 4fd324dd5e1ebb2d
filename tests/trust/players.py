"""Processes that play: each has a worker of its own, and plays one scene after the other."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Protocol, TypeVar

from distributed import Client

from clusters import local_client

__all__ = ["Players", "players"]


class Scene(Protocol):
    """What is played; it has a name that says all of it."""

    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=Scene)


class Players:
    """Some processes, and what they are to play."""

    def __init__(self, pool: ProcessPoolExecutor, processes: int) -> None:
        self._pool, self._processes = pool, processes

    def play(
        self, play: Callable[[S, Path, Client], Any], scenes: Iterable[S]
    ) -> Iterator[tuple[S, Any]]:
        """Yield scenes as they are done, each with its result, or a text where it raised."""
        left = iter(scenes)
        played: dict[Future[Any], S] = {}
        while True:
            while len(played) <= self._processes and (scene := next(left, None)) is not None:
                played[self._pool.submit(_played, play, scene)] = scene
            if not played:
                return
            for done in wait(played, return_when=FIRST_COMPLETED).done:
                yield played.pop(done), done.result()


@contextmanager
def players(processes: int) -> Iterator[Players]:
    """Start so many."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh, initializer=_begin) as pool:
        yield Players(pool, processes)


# The client of this process.
_ours: list[Client] = []


def _begin() -> None:
    stack = ExitStack()
    _ours.append(stack.enter_context(local_client(n_workers=1, processes=False)))
    Finalize(None, stack.close, exitpriority=1)


def _played(play: Callable[[Any, Path, Client], Any], scene: Scene) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="lies-"))
    try:
        return play(scene, folder, _ours[0])
    except Exception as error:  # what a play cannot go on from is wrong, too
        return f"{scene.name}: {type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
