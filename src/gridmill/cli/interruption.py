"""Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends that is closed."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any, NoReturn

__all__ = ["Interruption"]

INTERRUPT_AGAIN_S = 0.5
ENDING: list[signal.Signals] = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interruption:
    """Ends a run on Ctrl-C, SIGTERM or SIGHUP, so that lease and cluster are given back.

    Under ``nohup`` SIGHUP stays ignored.

    Python drops a KeyboardInterrupt that is raised while an object is deleted, and prints its
    traceback; distributed's futures ask for locks there. The signal is sent again until somebody
    has `seen` it, so the traceback would only alarm.
    """

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> Interruption:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._raise)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.seen = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook_before

    def _unraisable(self, unraisable: Any) -> None:
        if self.seen or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook_before(unraisable)

    def _raise(self, number: int, frame: Any) -> NoReturn:
        if not self.seen:
            again = threading.Timer(INTERRUPT_AGAIN_S, self._send_again)
            again.daemon = True
            again.start()
        raise KeyboardInterrupt

    def _send_again(self) -> None:
        main = threading.main_thread().ident
        if not self.seen and main is not None:
            signal.pthread_kill(main, signal.SIGINT)
