"""What makes a test a unit test: nothing outside its process is asked, and none is started."""

from __future__ import annotations

import platform
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy.testing  # noqa: F401 (numpy 2.0 asks a program about the processor as it is imported)
import pytest

# What Python itself reports (see "Audit events table" in its documentation), whoever does it.
OUTSIDE = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
}
_refused: list[str] = []
_is_on = False


class OutsideReachedError(Exception):
    """A unit test opened a socket or started a process."""


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _is_on and event in OUTSIDE:
        _refused.append(f"{event} {arguments!r:.200}")
        raise OutsideReachedError(f"{_refused[-1]}: move the test to tests/integration")


# Libraries that read netCDF ask for it, and Python asks `uname` once a process.
platform.processor()

# Hooks are never removed; this one rests while other tests run.
sys.addaudithook(_refuse)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Refuse from a unit test's first fixture to its last; called for other tests, too."""
    global _is_on
    _is_on = Path(__file__).parent in item.path.parents
    try:
        return (yield)
    finally:
        _is_on = False


@pytest.fixture(autouse=True)
def refused() -> Iterator[list[str]]:
    """What was refused: it fails the test also where code under test hides errors."""
    yield _refused
    found = list(_refused)
    _refused.clear()
    assert found == []
