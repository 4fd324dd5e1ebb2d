"""Unit tests stay what they are: sockets and processes are refused to them."""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest


def connect() -> None:
    """Ask another process on this machine."""
    with socket.socket() as asking:
        asking.connect(("127.0.0.1", 9))


def listen() -> None:
    """Wait for others to ask."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))


def start() -> None:
    """Start a program."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def fork() -> None:
    """Become two processes."""
    multiprocessing.get_context("fork").Process(target=print).start()


@pytest.mark.parametrize("do", [connect, listen, start, fork])
def test_nothing_outside_this_process_is_reached(do, refused):
    """The error says where such a test belongs, and it is kept where code hides errors."""
    with pytest.raises(Exception, match="move the test to tests/integration"):
        do()
    assert len(refused) == 1
    refused.clear()


def test_threads_are_held_to_it_too(refused):
    """What a pool of downloads does counts as what its test does."""
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(connect).exception()
    assert "move the test to tests/integration" in str(error)
    refused.clear()
