"""Several mirrors at once: the first whole answer wins, and the others are stopped.

Each is asked in a thread of its own, which ends when it notices that the race is over: before its
next request, with the next bytes of a body, or while it waits for a place at its host. One that
hangs before its first byte ends with its read timeout; a host where several do is asked only where
no other mirror has the file, so that threads do not pile up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

from gridmill.model.urls import split_url

__all__ = ["NoneWonError", "Stop", "Stopped", "quickest", "stop_of_this"]

AnswerT = TypeVar("AnswerT")

# So many that lost and still hang at a host: more would learn nothing more.
MOST_HANGING = 4


class Stopped(Exception):  # noqa: N818  no error: somebody else had it first
    """Another mirror was faster."""


class NoneWonError(Exception):
    """No mirror has the file: what each said, in the order in which it did."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        super().__init__(errors)
        self.errors = list(errors)


class Stop:
    """Stops requests to a mirror once another one won."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._closers: list[Callable[[], object]] = []

    def set(self) -> None:
        """Say that the race is over, and end what blocks."""
        self._event.set()
        with self._lock:
            for close in self._closers:
                with suppress(Exception):  # it may have ended by itself
                    close()

    def check(self) -> None:
        """Raise `Stopped` if the race is over."""
        if self._event.is_set():
            raise Stopped("another mirror was faster")

    def wait(self, seconds: float) -> None:
        """Wait, at most until the race is over; raise as `check` does."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def closing(self, close: Callable[[], object]) -> Iterator[None]:
        """Have something called that ends what blocks, if the race is over within the block."""
        with self._lock:
            self._closers.append(close)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._closers.remove(close)


_stop: ContextVar[Stop | None] = ContextVar("stop", default=None)


def stop_of_this() -> Stop | None:
    """Return what stops the thread that asks; None where it races nobody."""
    return _stop.get()


def quickest(
    asks: Mapping[str, Callable[[], AnswerT]],
    failures: tuple[type[Exception], ...],
    forget: Callable[[str], object] = lambda url: None,
) -> AnswerT:
    """Ask mirrors at once, and return the first answer.

    Parameters
    ----------
    asks
        By URL, what asks there.
    failures
        What an ask raises where the mirror has no answer; anything else ends the race.
    forget
        Called with the URL of each that did not win, once nothing of it goes on.

    Raises
    ------
    NoneWonError
        All of them failed.
    """
    with _hanging_lock:
        is_slow = {url: _hanging[_host(url)] >= MOST_HANGING for url in asks}
    heats = [[url for url in asks if is_slow[url] is slow] for slow in (False, True)]
    errors: list[Exception] = []
    for heat in (heat for heat in heats if heat):
        try:
            return _Race({url: asks[url] for url in heat}, failures, forget).run()
        except NoneWonError as error:
            errors += error.errors
    raise NoneWonError(errors)


_hanging: Counter[str] = Counter()
_hanging_lock = Lock()


def _host(url: str) -> str:
    return split_url(url).netloc


@dataclass
class _Race(Generic[AnswerT]):
    asks: Mapping[str, Callable[[], AnswerT]]
    failures: tuple[type[Exception], ...]
    forget: Callable[[str], object]
    stop: Stop = field(default_factory=Stop)
    is_over: bool = False
    under_way: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    ended: SimpleQueue[tuple[bool, Any]] = field(default_factory=SimpleQueue)

    def run(self) -> AnswerT:
        self.under_way.update(self.asks)
        for url in self.asks:
            # A thread of its own knows what this one does, its credentials among it.
            ask = partial(copy_context().run, self._ask, url)
            Thread(target=ask, name=f"mirror {_host(url)}", daemon=True).start()
        errors: list[Exception] = []
        try:
            while len(errors) < len(self.asks):
                has_won, told = self.ended.get()
                if has_won:
                    answer: AnswerT = told
                    return answer
                if not isinstance(told, self.failures):
                    raise told
                errors.append(told)
        finally:
            self._end()
        raise NoneWonError(errors)

    def _ask(self, url: str) -> None:
        _stop.set(self.stop)
        try:
            answer = self.asks[url]()
        except BaseException as error:
            self._leave(url)
            self.ended.put((False, error))
            return
        with _hanging_lock:
            has_won, self.is_over = not self.is_over, True
        self._leave(url, has_won=has_won)
        if has_won:
            self.ended.put((True, answer))

    def _leave(self, url: str, *, has_won: bool = False) -> None:
        with _hanging_lock:
            self.under_way.discard(url)
            if url in self.hanging:
                _hanging[_host(url)] -= 1
        if not has_won:
            self.forget(url)

    def _end(self) -> None:
        with _hanging_lock:
            self.is_over = True
            self.hanging = set(self.under_way)
            _hanging.update(map(_host, self.hanging))
        self.stop.set()
