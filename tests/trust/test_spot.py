"""A short version of what `spot.py` plays: half of all workers are lost again and again."""

from __future__ import annotations

from pathlib import Path

from gridmill.runs.in_flight import CHAINS_PER_THREAD
from gridmill.runs.workplaces.workplace import threads_per_worker
from spot_loss import play
from tiny import NAMES

WORKERS = 4


def test_workers_that_are_lost_cost_what_was_in_flight(tmp_path: Path) -> None:
    """The archive is the same, and no more files are asked for again than were in flight."""
    losses = play(tmp_path, workers=WORKERS, seconds=12, every_s=4.0)
    assert losses.same_bytes
    assert not losses.failures
    assert losses.killed >= WORKERS // 2
    rounds = losses.killed / (WORKERS // 2)
    chains = CHAINS_PER_THREAD * WORKERS * threads_per_worker()
    in_flight = chains / len(NAMES) + 1
    assert losses.files_again <= rounds * in_flight * losses.most_files
