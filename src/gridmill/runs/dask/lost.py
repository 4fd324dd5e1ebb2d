"""Tells the loss of the scheduler from what else may go wrong on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from distributed import Client
from distributed.comm.core import CommClosedError

from gridmill.runs.workplaces.workplace import SchedulerLost

__all__ = ["told_of_loss"]


@contextmanager
def told_of_loss(client: Client) -> Iterator[None]:
    """Raise `SchedulerLost` for whatever Dask raises where a client has no scheduler any more.

    That depends on the moment. While the client tries to connect again, calls raise
    `CommClosedError` or other `OSError`, and futures say that they were cancelled; once it gave
    up, submitting raises `ClosedClientError`, and others `RuntimeError`.

    Parameters
    ----------
    client
        The client that is asked for something in the body.

    Raises
    ------
    SchedulerLost
        There is no scheduler.
    """
    try:
        yield
    except SchedulerLost:
        raise
    except Exception as error:
        is_cut = isinstance(error, CommClosedError | CancelledError)
        if is_cut or client.status not in ("running", "newly-created"):
            raise SchedulerLost(
                f"the Dask scheduler is gone, or its client was closed ({_line(error)}). What is "
                "recorded is safe: run again to go on"
            ) from error
        raise


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
