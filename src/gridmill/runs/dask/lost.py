"""Tells the loss of the scheduler from what else may go wrong on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from distributed import Client

from gridmill.runs.workplaces.workplace import SchedulerLost

__all__ = ["told_of_loss"]


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
        if isinstance(error, CancelledError) or client.status != "running":
            raise _lost(" ".join(f"{type(error).__name__}: {error}".split())) from error
        raise


def _lost(why: str) -> SchedulerLost:
    return SchedulerLost(
        f"the Dask scheduler is gone, or its client was closed ({why}). What is recorded is safe: "
        "run again to go on"
    )
