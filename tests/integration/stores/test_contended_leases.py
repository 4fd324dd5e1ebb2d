"""Leases that several processes want at the same moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from gridmill.stores.objects.opening import open_objects
from gridmill.stores.state import leases as lease_module
from gridmill.stores.state.claims import STATIC, current_claims
from gridmill.stores.state.leases import Lease, LeaseHeld

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def objects(tmp_path):
    return open_objects(str(tmp_path / "state"))


def lease_of(objects, run, *positions, **options):
    return Lease(objects, run=run, kind="update", positions=positions, **options)


def run_all(target, *argument_lists):
    """Run a function in as many processes as there are arguments, and wait for success."""
    processes = [FORK.Process(target=target, args=arguments) for arguments in argument_lists]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def contend(root: str, who: int, rounds: int, positions: tuple[int, int]) -> None:
    """Try to hold the positions again and again; mark each with an exclusive file meanwhile."""
    objects = open_objects(root)
    held = number = 0
    while number < rounds or not held:
        number += 1
        try:
            with lease_of(objects, f"run{who}-{number}", positions):
                marks = [Path(root) / f"mark-{at}" for at in range(*positions)]
                for mark in marks:
                    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
                time.sleep(0.002)
                for mark in marks:
                    mark.unlink()
                held += 1
        except LeaseHeld:
            time.sleep(0.003)
    (Path(root) / f"held-{who}").write_text(str(held))


def test_two_processes_never_hold_one_position(tmp_path):
    """In many rounds of three racing processes an exclusive mark is never met."""
    claims = [(0, 8), (4, 12), (8, 16)]
    run_all(contend, *((str(tmp_path), who, 40, at) for who, at in enumerate(claims)))
    held = [int((tmp_path / f"held-{who}").read_text()) for who in range(3)]
    assert all(held)
    assert not list(tmp_path.glob("mark-*"))
    assert current_claims(open_objects(str(tmp_path))) == []


def meet(root: str, who: int, barrier, positions: tuple[int, int]) -> None:
    with lease_of(open_objects(root), f"run{who}", positions):
        barrier.wait(30)


def test_disjoint_runs_go_side_by_side(tmp_path):
    """Both hold their lease at the same moment."""
    barrier = FORK.Barrier(3)
    arguments = [(0, 4), (4, 8), STATIC]
    run_all(meet, *((str(tmp_path), who, barrier, at) for who, at in enumerate(arguments)))


def hold_for_ever(root: str, started) -> None:
    with lease_of(open_objects(root), "victim", (0, 8)):
        started.set()
        time.sleep(60)


def test_a_killed_holder_of_this_host_is_replaced_at_once(tmp_path):
    """After SIGKILL the next run does not wait for the time to live."""
    started = FORK.Event()
    process = FORK.Process(target=hold_for_ever, args=(str(tmp_path), started))
    process.start()
    assert started.wait(30)
    objects = open_objects(str(tmp_path))
    with pytest.raises(LeaseHeld), lease_of(objects, "next", (0, 1)):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    began = time.monotonic()
    with lease_of(objects, "next", (0, 1)):
        assert [claim.run for claim in current_claims(objects)] == ["next"]
    assert time.monotonic() - began < lease_module.TIME_TO_LIVE_S / 2


def publish_in_turn(root: str, who: int) -> None:
    objects = open_objects(root)
    with lease_of(objects, f"run{who}", (who, who + 1)) as lease:
        for _ in range(25):
            with lease.publishing():
                mark = Path(root) / "publishing"
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
                time.sleep(0.001)
                mark.unlink()


def test_one_run_at_a_time_publishes(tmp_path):
    """Three processes with disjoint regions publish in turn, never two at once."""
    run_all(publish_in_turn, *((str(tmp_path), who) for who in range(3)))
