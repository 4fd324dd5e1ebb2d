"""Asks a queue for what it has to make first, waits, and fetches it: without asking twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gridmill.sources.fetch.credentials.rules import origin_of
from gridmill.sources.fetch.download import Download, fetch
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable, mask_url
from gridmill.sources.fetch.hosts import place_at
from gridmill.sources.fetch.settings import DownloadSettings
from gridmill.sources.queues.claims import Held
from gridmill.sources.queues.client import Queue
from gridmill.sources.queues.tickets import Chain, Ticket, Tickets, TicketUnreadable, key_of

__all__ = ["Patience", "fetch_queued"]

log = logging.getLogger(__name__)

# A job that is younger was asked for by this run, if what the one before made could not be read.
UNREAD_S = 600.0
# After which one is requested again whose product cannot be fetched: its server may be away.
UNFETCHED_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a task waits for a queue.

    Parameters
    ----------
    most_queued
        Jobs that the tasks of all runs on a cluster ask and wait for at once; None for no limit.
        One that was given up after `wait_s` may still be in the queue beside them.
    wait_s
        Seconds that a task waits for its job, from when it has its place among `most_queued`; it
        looks again at their end. Then its file is a failed download, and the next run goes on
        waiting for the same job. Not counted are the waits for a place, and for a turn at the host,
        and the fetch of what was made. A submission is not cut short, and the requests of the last
        look may take a connect and a read timeout each. So it bounds one file's wait and not a
        run's: one whose jobs are all late waits so long for each `most_queued` of its files.
    poll_initial_s, poll_max_s
        Seconds between two looks at a job, which double up to the longest.
    claim_s
        Seconds after which one that asks for a job, and does not renew its claim, is presumed dead.
    """

    # What Copernicus lets one user have is about this.
    most_queued: int | None = 4
    # A worker's thread waits, and most jobs are ready by then.
    wait_s: float = 1800.0
    poll_initial_s: float = 1.0
    # Jobs take minutes to hours.
    poll_max_s: float = 60.0
    # It is renewed several times before, so a store may fail for a while.
    claim_s: float = 120.0


def fetch_queued(
    queue: Queue,
    request: Mapping[str, Any],
    destination: Path,
    *,
    tickets: Tickets,
    settings: DownloadSettings,
    patience: Patience,
    unread_before: bool = False,
) -> Download:
    """Fetch what a queue makes of a request to `destination`, which is then whole or untouched.

       Parameters
       ----------
       queue
           The provider's queue.
       request
           What to ask for: plain values.
       destination
           Local file to make or replace.
       tickets
           Where it is kept which job the request became.
       settings
           How hard to try each question, and the fetch.
       patience
           How long to wait for the job.
       unread_before
           Whether an earlier run read in vain what its job made: it is requested again.

       Raises
       ------
       NotAvailable
           The queue says that it has no such thing.
       DownloadFailed
           It failed, the fetch did, or the job is not ready yet: the next call continues
    with it.
    """
    whole = key_of(f"{queue.url} {getattr(queue, 'process', '')}", request)
    key = tickets.in_force(whole, _now())
    with place_at(f"queue+{queue.url}", patience.most_queued):
        try:
            key = _anew(tickets, key) if unread_before else key
            url = _Waiting(queue, request, key, tickets, settings, patience).until_ready()
        except TicketUnreadable as error:
            raise DownloadFailed(queue.url, str(error), 1) from None
        try:
            done = fetch(url, destination, settings=_without_secrets(settings, url, queue.url))
        except NotAvailable as error:
            # What was made is thrown away by now: only a new job makes it again.
            tickets.forget(key)
            told = f"what its job made is gone ({error.cause}); the next run requests it again"
            raise DownloadFailed(url, told, 1) from None
        except DownloadFailed:
            tickets.doubt(key, _now() + UNFETCHED_S)
            raise
        tickets.trust(key)
        return done


def _anew(tickets: Tickets, key: str) -> str:
    """Return the key for a new job, unless another task of this run asked for it."""
    known = tickets.read(key)
    if known is None or known.last.job is None or _now() - known.last.since < UNREAD_S:
        return key
    tickets.doubt(key, 0.0)
    return tickets.in_force(key, _now())


def _now() -> float:
    return time.time()


@dataclass
class _Waiting:
    """One request on its way through a queue."""

    queue: Queue
    request: Mapping[str, Any]
    key: str
    tickets: Tickets
    settings: DownloadSettings
    patience: Patience
    known: Chain | None = None

    def until_ready(self) -> str:
        """Ask, unless somebody did, and return where what was made is."""
        end, pause_s = time.monotonic() + self.patience.wait_s, self.patience.poll_initial_s
        while True:
            ticket = self._ticket()
            url = self._look(ticket, end)
            if url is not None:
                return url
            remaining_s = end - time.monotonic()
            if remaining_s <= 0:
                named = f"job {ticket.job}" if ticket.job else "a job that another task asks for"
                raise DownloadFailed(
                    self.queue.url,
                    f"{named} is not ready after {self.patience.wait_s:g} s; it is waited for, "
                    "not asked for again",
                    1,
                )
            time.sleep(min(pause_s, remaining_s))
            pause_s = min(2 * pause_s, self.patience.poll_max_s)

    def _look(self, ticket: Ticket, end: float) -> str | None:
        """Return where a job's result is; None while it is to be waited for."""
        if ticket.job is None:
            return None
        # The last look is given the time of one try.
        try_s = self.settings.connect_timeout_s + self.settings.read_timeout_s
        left_s = max(end - time.monotonic(), try_s)
        settings = replace(self.settings, deadline_s=min(self.settings.deadline_s, left_s))
        state = self.queue.look(ticket.job, settings)
        if state.stage == "ready":
            return state.url
        if state.stage == "waiting":
            return None
        # The next run asks again: this one would only meet the same again.
        self.tickets.forget(self.key)
        raise DownloadFailed(
            self.queue.url, f"job {ticket.job} is {state.stage}: {state.told or 'nothing told'}", 1
        )

    def _ticket(self) -> Ticket:
        """Return what is known of the request, after asking for it where nobody did."""
        known = self._read()
        mine = Ticket(queue=mask_url(self.queue.url), job=None, since=time.time())
        if known is None:
            if self.tickets.claim(self.key, mine):
                return self._asked(Chain(mine, mine), looks_first=False)
            return self._last_or(mine)
        age_s = mine.since - known.last.since
        is_dead = known.last.job is None and age_s >= self.patience.claim_s
        if is_dead and self.tickets.follow(self.key, known, mine):
            # Who claimed it died, before or after it asked.
            return self._asked(replace(known, last=mine), looks_first=True)
        return known.last

    def _read(self) -> Chain | None:
        self.known = self.tickets.read(self.key, self.known)
        return self.known

    def _last_or(self, mine: Ticket) -> Ticket:
        known = self._read()
        return mine if known is None else known.last

    def _asked(self, known: Chain, *, looks_first: bool) -> Ticket:
        asked = (self.request, self.key, self.settings)
        job = None
        with Held(self.tickets, self.key, known, self.patience.claim_s) as held:
            if looks_first:
                job = self.queue.find(*asked)
                if not held.renew():
                    return self._last_or(known.last)
            if job is None:
                job = self.queue.submit(*asked)
        return self._named(known.last, job)

    def _named(self, ticket: Ticket, job: str) -> Ticket:
        named = replace(ticket, job=job)
        self.tickets.keep(self.key, named)
        log.info("queued url=%s job=%s key=%s", mask_url(self.queue.url), job, self.key)
        return named


def _without_secrets(settings: DownloadSettings, url: str, queue: str) -> DownloadSettings:
    """Return the settings for a result: only the queue's own scheme, host and port get headers."""
    is_same = origin_of(url) == origin_of(queue)
    return settings if is_same else replace(settings, headers={})
