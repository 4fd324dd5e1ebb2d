"""A claim that is kept alive while its holder asks a queue."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import replace
from threading import Event, Lock, Thread

from gridmill.sources.queues.tickets import Chain, Ticket, Tickets

__all__ = ["Held"]

log = logging.getLogger(__name__)

# So often is a claim renewed before it would be presumed dead: some renewals may fail.
RENEWALS = 6


class Held:
    """A claim that a thread renews while the context lasts.

    Parameters
    ----------
    tickets
        Where it is kept.
    key
        Of the request.
    known
        What is known of the request; the claim is the last of it, as it was written.
    claim_s
        Age from which others presume it dead.

    Notes
    -----
    A request may wait for its turn at a host, or for a credential, longer than any `claim_s`.
    """

    def __init__(self, tickets: Tickets, key: str, known: Chain, claim_s: float) -> None:
        self._tickets, self._key, self._known = tickets, key, known
        self._next: Ticket | None = None
        self._every_s = claim_s / RENEWALS
        self._renewing = Lock()
        self._done = Event()
        self._thread = Thread(target=self._renew_often, daemon=True)

    def __enter__(self) -> Held:
        """Begin to renew it."""
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """End that: what is written next is the job's name."""
        self._done.set()
        self._thread.join()

    def renew(self) -> bool:
        """Renew it; False if it was presumed dead, and is another's now."""
        with self._renewing:
            # One whose renewal failed on its way may be there, and is renewed in its turn.
            if self._next is not None and not self._follow(self._next):
                return False
            self._next = replace(self._known.last, since=time.time(), by=uuid.uuid4().hex)
            return self._follow(self._next)

    def _follow(self, renewed: Ticket) -> bool:
        if not self._tickets.follow(self._key, self._known, renewed):
            return False
        self._known, self._next = replace(self._known, last=renewed), None
        return True

    def _renew_often(self) -> None:
        url = self._known.first.queue
        while not self._done.wait(self._every_s):
            try:
                if not self.renew():
                    log.warning("claim lost url=%s key=%s", url, self._key)
                    return
            except Exception as error:
                log.warning("claim not renewed url=%s key=%s: %s", url, self._key, error)
