"""What ends a run from outside ends it in order."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from gridmill.cli.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_stop_gives_back_what_it_holds(number):
    """Ctrl-C, a service manager's SIGTERM, and the SIGHUP of a terminal that is closed."""
    interruption = Interruption()
    # Whoever runs the tests may ignore one of them, as nohup does.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            end_in(interruption, number)
    finally:
        signal.signal(number, before)
    assert interruption.seen


def end_in(interruption: Interruption, number: int) -> None:
    """Send a signal to this process while a run would go on."""
    with interruption:
        os.kill(os.getpid(), number)
        time.sleep(5)


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


def release_in(interruption: Interruption) -> None:
    """Delete what interrupts while a run would go on."""
    with interruption:
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
