"""Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends that is closed."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import Any

from gridmill.cli.errors import causes

__all__ = ["Interruption"]

INTERRUPT_AGAIN_S = 0.5
# Who presses Ctrl-C again after this time does not want to wait for what is given back.
IMPATIENT_AFTER_S = 2.0
ENDING: list[signal.Signals] = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interruption:
    """Ends a command on Ctrl-C, SIGTERM or SIGHUP, so that lease and cluster are given back.

    Under ``nohup`` SIGHUP stays ignored.

    While what the first signal raised is on its way, others are ignored: a terminal that is closed
    and `timeout` send two, and giving a lease back may take longer than the second one. Only a
    second Ctrl-C, two seconds later, ends that, too.

    Python drops a KeyboardInterrupt that is raised while an object is deleted, and prints its
    traceback; distributed's futures ask for locks there. So the signal is sent again until the
    command has ended, and the traceback, which would only alarm, is left out.
    """

    def __enter__(self) -> Interruption:
        self._first: float | None = None
        self._over = threading.Event()
        self._sending: threading.Thread | None = None
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._raise)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        if self._sending is not None:
            self._sending.join()  # what it sends meets this handler, not the one before
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook_before

    def _unraisable(self, unraisable: Any) -> None:
        if self._over.is_set() or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook_before(unraisable)

    def _raise(self, number: int, frame: Any) -> None:
        if self._over.is_set():
            return
        if self._first is None:
            self._first = time.monotonic()
            self._sending = threading.Thread(target=self._send_again, daemon=True)
            self._sending.start()
        elif _is_on_its_way() and not self._is_impatient(number):
            return
        raise KeyboardInterrupt

    def _is_impatient(self, number: int) -> bool:
        assert self._first is not None
        waited_s = time.monotonic() - self._first
        return number == signal.SIGINT and waited_s > IMPATIENT_AFTER_S

    def _send_again(self) -> None:
        main = threading.main_thread().ident
        while not self._over.wait(INTERRUPT_AGAIN_S) and main is not None:
            signal.pthread_kill(main, signal.SIGTERM)


def _is_on_its_way() -> bool:
    """Whether the main thread, which signals interrupt, sees to an interruption already."""
    return any(isinstance(error, KeyboardInterrupt) for error in causes(sys.exc_info()[1]))
