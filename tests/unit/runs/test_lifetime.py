"""A worker of a job leaves before the job's walltime, whatever the queue calls that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.runs.dask.workers.lifetime import lifetime_arguments, walltime_seconds


@pytest.mark.parametrize(
    ("walltime", "queue", "seconds"),
    [
        ("02:00:00", "slurm", 7200),
        ("02:00:00", "pbs", 7200),
        ("1-00:30:00", "slurm", 88_200),
        ("2-0", "slurm", 172_800),
        ("90", "slurm", 5400),
        ("30:00", "slurm", 1800),
        ("00:30", "lsf", 1800),
        ("3600", "pbs", 3600),
        ("00:30", "oar", None),
        ("90", "oar", None),
        ("UNLIMITED", "slurm", None),
    ],
)
def test_a_walltime_is_read_as_its_queue_means_it(walltime, queue, seconds):
    """Three numbers mean the same to all; what not all read alike is left to the user."""
    assert walltime_seconds(walltime, queue) == seconds


@given(st.integers(46, 30 * 86_400))
def test_every_worker_leaves_in_time_and_works_before(seconds):
    """The latest of the staggered ones has a margin; the earliest works before."""
    walltime = f"{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
    _, lifetime, _, stagger = lifetime_arguments(walltime, "slurm")
    middle, spread = int(lifetime[:-1]), int(stagger[:-1])
    assert middle + spread <= seconds - 15
    assert middle - spread >= min(1, seconds / 2)


def test_a_walltime_that_leaves_no_time_is_left_alone():
    """Below 45 seconds a worker could not even start."""
    assert lifetime_arguments("00:00:45", "slurm") == []
