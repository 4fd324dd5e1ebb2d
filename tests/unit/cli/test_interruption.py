"""What ends a run from outside ends it in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridmill.cli import interruption
from gridmill.cli.interruption import ENDING, Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_stop_gives_back_what_it_holds(number):
    """Ctrl-C, a service manager's SIGTERM, and the SIGHUP of a terminal that is closed."""
    with ignoring_none(), pytest.raises(KeyboardInterrupt):
        end_in(Interruption(), number)


@contextlib.contextmanager
def ignoring_none() -> Iterator[None]:
    """Take every signal: whoever runs the tests may ignore one of them, as nohup does."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_in(watch: Interruption, number: int) -> None:
    """Send a signal to this process while a run would go on."""
    with watch:
        os.kill(os.getpid(), number)
        time.sleep(5)


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGHUP] * 2, [signal.SIGTERM] * 2, [signal.SIGINT] * 2],
    ids=["once", "closed terminal", "timeout", "two keys"],
)
def test_giving_back_is_not_interrupted(signals, monkeypatch):
    """It may take long; a closed terminal and `timeout` send their signal twice."""
    monkeypatch.setattr(interruption, "INTERRUPT_AGAIN_S", 0.05)
    given_back = []

    def give_back() -> None:
        try:
            os.kill(os.getpid(), signals[0])
            time.sleep(5)
        finally:
            for number in signals[1:]:
                os.kill(os.getpid(), number)
            with contextlib.suppress(FileNotFoundError):  # what goes on beneath is no end of it
                Path("absent").stat()
            time.sleep(0.3)
            given_back.append(True)

    with ignoring_none(), pytest.raises(KeyboardInterrupt), Interruption():
        give_back()
    assert given_back


def test_a_second_ctrl_c_after_a_while_ends_what_is_given_back(monkeypatch):
    """Whoever cannot wait need not send SIGKILL."""
    monkeypatch.setattr(interruption, "IMPATIENT_AFTER_S", 0.05)
    given_back = []

    def give_back() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
            given_back.append(True)

    with pytest.raises(KeyboardInterrupt), Interruption():
        give_back()
    assert not given_back


def test_who_is_told_to_go_on_without_its_terminal_goes_on():
    """Under nohup SIGHUP is ignored, and stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


class Released:
    """What interrupts its process while it is deleted, as a signal may at any moment."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_comes_again_and_prints_no_traceback(monkeypatch):
    """What is raised while an object is deleted is dropped by Python: nothing of it is shown."""
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    with pytest.raises(KeyboardInterrupt):
        release_in(Interruption())
    assert not shown


def release_in(watch: Interruption) -> None:
    """Delete what interrupts while a run would go on."""
    with watch:
        del [Released()][0]
        time.sleep(5)


def test_other_errors_that_python_drops_are_shown_as_ever(monkeypatch):
    """Only what the signal raised is left out."""
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    with Interruption():
        del [Broken()][0]
    assert [str(one.exc_value) for one in shown] == ["broken"]
