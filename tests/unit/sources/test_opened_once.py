"""An archive that many regions are asked of is opened once a run, and not kept for ever."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from gridmill.sources.arrays import kept
from gridmill.sources.arrays.kept import MOST_OPEN, opened_once


class Run:
    """What lives as long as a run."""


class Opened:
    """Counts how often it opened."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self):
        """Open an archive."""
        self.times += 1
        return object()


def test_all_regions_of_a_run_share_one(monkeypatch):
    """Also those that are asked for at once; another run, and who waits a minute, opens anew."""
    run, opened = Run(), Opened()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: opened_once(run, "a", opened), range(50)))
    assert (opened.times, len(set(map(id, found)))) == (1, 1)
    opened_once(Run(), "a", opened)
    assert opened.times == 2
    monkeypatch.setattr(kept, "A_MINUTE_S", -1.0)
    assert opened_once(run, "a", opened) is not found[0]


def test_few_are_kept_and_none_beyond_a_run():
    """However many archives a run reads."""
    run, opened = Run(), Opened()
    for number in range(2 * MOST_OPEN):
        opened_once(run, number, opened)
    assert len(kept._known[run]) == MOST_OPEN
    runs = len(kept._known)
    del run
    gc.collect()
    assert len(kept._known) == runs - 1


def test_one_that_cannot_be_opened_is_tried_again():
    """For the next region, as if nobody had asked."""
    run, opened = Run(), Opened()

    def fails():
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        opened_once(run, "a", fails)
    opened_once(run, "a", opened)
    assert opened.times == 1
