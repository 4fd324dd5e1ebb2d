"""When variables that came to an archive, or go, are shown: while no run is at work, and briefly.

Runs are not kept away while variables are made; a run that began without them would publish
without them. So what shows them waits for the end of the runs that are at work, and runs that begin
meanwhile wait for it, which takes seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.claims import EVERYTHING
from gridmill.stores.state.leases import Lease, LeaseHeld

__all__ = ["SHOWING", "nobody_at_work", "patiently_held"]

log = logging.getLogger(__name__)

# The kind of the lease under which variables are shown: runs wait for it.
SHOWING = "show-variables"
# Longer than updates take; what takes longer is waited for by calling again.
WAITS_S = 900.0
# Between two looks: few requests beside what an update takes.
LOOKS_EVERY_S = 0.5


def patiently_held(
    stack: ExitStack, lease_of: Callable[[], Lease], *, unless: str | None = None
) -> Lease:
    """Enter a lease, and wait for who holds it.

    Parameters
    ----------
    stack
        Leaves it.
    lease_of
        Makes the lease.
    unless
        Wait only for a holder of this kind; None waits for every one.

    Raises
    ------
    LeaseHeld
        It is held for longer than is waited, or by another kind.
    """
    deadline = time.monotonic() + WAITS_S
    is_told = False
    while True:
        try:
            return stack.enter_context(lease_of())
        except LeaseHeld as held:
            if unless not in (None, held.holder.kind) or time.monotonic() > deadline:
                raise
            if not is_told:
                log.info("waiting for the %s %s", held.holder.kind, held.holder.run)
                is_told = True
        time.sleep(LOOKS_EVERY_S)


@contextmanager
def nobody_at_work(state: Objects, run: str) -> Iterator[Lease]:
    """Hold all of an archive once no run is at work.

    Raises
    ------
    LeaseHeld
        A run is at work for longer than is waited.
    """
    with ExitStack() as stack:
        yield patiently_held(
            stack,
            lambda: Lease(state, run=f"{run}-shows", kind=SHOWING, positions=[EVERYTHING]),
        )
