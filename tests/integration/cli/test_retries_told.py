"""A retry is told in words to those who ask, and to nobody else: the report counts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from generated import build_archive, day_url, times_of
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import Status
from repository import SUPPORT

IN_THIS_PROCESS = ["--cluster", "none"]
ON_WORKERS = ["--cluster", "local", "--workers", "1"]


@pytest.mark.parametrize("cluster", [IN_THIS_PROCESS, ON_WORKERS], ids=["here", "workers"])
@pytest.mark.parametrize("asks", [False, True], ids=["calm", "verbose"])
def test_a_retry_is_told_in_words_to_those_who_ask(asks, cluster, tmp_path):
    """Its number, the wait and the cause; what stamina logs is an event's name alone."""
    source = build_archive(tmp_path / "source", 2)
    with ArchiveServer(source) as server:
        server.release_all()
        server.inject(day_url(times_of(1)[0]), Status(status=503), times=1)
        args = ["backfill", "generated:Generated", "--until", "2020-01-03"]
        args += ["--store", str(tmp_path / "a.zarr"), "--source-base", server.url, *cluster]
        done = subprocess.run(
            [sys.executable, "-m", "gridmill.cli", *args, *["-v"] * asks],
            cwd=SUPPORT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "source files retried 1 time" in done.stdout + done.stderr
    assert "retry_scheduled" not in done.stdout + done.stderr
    told = [line for line in done.stderr.splitlines() if "retry 1 in" in line]
    # Workers tell their own logs.
    assert len(told) == (asks and cluster is IN_THIS_PROCESS), done.stderr
    assert all("503" in line for line in told)
