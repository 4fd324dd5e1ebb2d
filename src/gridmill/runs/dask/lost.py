"""Tells the loss of the scheduler from what else may go wrong on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from distributed import Client
from distributed.comm.core import CommClosedError

from gridmill.runs.workplaces.workplace import SchedulerLost

__all__ = ["told_of_loss"]

# How long a client may take to notice that its own connection broke, too.
NOTICES_S = 5.0


@contextmanager
def told_of_loss(client: Client) -> Iterator[None]:
    """Raise `SchedulerLost` where a client has no scheduler any more, before and after asking it.

    A client that lost its connection cancels its tasks and tries to connect again. It takes further
    tasks meanwhile, and those that come while it gives up never end: it is not asked then. What it
    raises depends on the moment (distributed 2026.8): `OSError`, `RuntimeError`,
    `ClosedClientError` or `AttributeError`.

    Parameters
    ----------
    client
        The client that is asked for something in the body.

    Raises
    ------
    SchedulerLost
        There is no scheduler.
    """
    if client.status != "running":
        raise _lost(f"the client is {client.status}")
    try:
        yield
    except SchedulerLost:
        raise
    except Exception as error:
        if isinstance(error, CancelledError) or _is_gone(client, error):
            raise _lost(" ".join(f"{type(error).__name__}: {error}".split())) from error
        raise


def _is_gone(client: Client, error: Exception) -> bool:
    """Whether the scheduler is gone: a request may fail before the client knows it."""
    until = time.monotonic() + (NOTICES_S if isinstance(error, CommClosedError) else 0.0)
    while client.status == "running":
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def _lost(why: str) -> SchedulerLost:
    return SchedulerLost(
        f"the Dask scheduler is gone, or its client was closed ({why}). Recorded work is safe: "
        "rerun to resume"
    )
