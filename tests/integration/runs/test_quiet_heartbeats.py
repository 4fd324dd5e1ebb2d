"""A heartbeat that a closing scheduler does not take prints nothing at a run's end."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError

from gridmill.runs.dask.plugin.pipeline import PipelinePlugin


async def _lines(error: type[Exception], dask_worker: Any) -> list[str]:
    """Return what a worker logs of a heartbeat that fails so."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())

    async def fails(**_: Any) -> None:
        raise error("in a heartbeat")

    logger, scheduler = logging.getLogger("distributed.worker"), dask_worker.scheduler
    dask_worker.scheduler = type("Scheduler", (), {"heartbeat_worker": staticmethod(fails)})()
    logger.addHandler(handler)
    try:
        await dask_worker.heartbeat()
    finally:
        logger.removeHandler(handler)
        dask_worker.scheduler = scheduler
    return found


@pytest.mark.parametrize(("error", "says"), [(CommClosedError, False), (PermissionError, True)])
def test_a_heartbeat_at_the_end_says_nothing(error: type[Exception], says: bool) -> None:
    """Whatever else prevents one is said."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(PipelinePlugin(is_one_machine=True))
        (lines,) = client.run(_lines, error).values()
    assert any("heartbeat" in line for line in lines) is says
