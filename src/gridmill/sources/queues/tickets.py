"""What is asked of queues, kept durably beside the records: which job a request became.

A ticket is written before a request is sent, and again once the job's name is known. So the
successor of a killed process knows that it may have asked, and looks for the job before it asks.

What a job made may turn out to be of no use. A doubt is then kept beside its ticket, and from a
time on the request is kept by another key, so that it is requested again.

Until the job has a name the ticket is a claim. Each claim is followed by at most one: by the same
one renewed while it is alive, else by an heir's. The claim that follows is an object whose name
is made of the former's, put only if it is absent: of all who try that, one succeeds.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

__all__ = ["Chain", "Ticket", "TicketUnreadable", "Tickets", "key_of"]

SCHEMA = 1


class Kept(Protocol):
    """What is needed of the objects beside a store."""

    url: str

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written."""

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""


class TicketUnreadable(ValueError):  # noqa: N818  the state of a file, as UnreadableState
    """A ticket is there and cannot be read; to ask again might be to ask twice."""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What is known of a request.

    Parameters
    ----------
    queue
        The queue's address.
    job
        The name of the job; None while nobody knows whether there is one.
    since
        When the process that asks for it was last known to be alive, seconds since the epoch.
    by
        Who wrote it, and no other ticket; earlier versions of gridmill wrote none.
    """

    queue: str
    job: str | None
    since: float
    by: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Chain:
    """The ends of what is known of a request, as they were read.

    Parameters
    ----------
    first
        The ticket: a job, or the first claim.
    last
        The claim that none follows; the ticket itself if there is no other.
    """

    first: Ticket
    last: Ticket


def key_of(queue: str, request: Mapping[str, Any]) -> str:
    """Return the key of a request: the same for the same request to the same queue.

    Examples
    --------
    >>> key_of("https://q", {"a": 1, "b": 2}) == key_of("https://q", {"b": 2, "a": 1})
    True
    """
    told = json.dumps([queue, dict(request)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


class Tickets:
    """The tickets of one archive.

    Parameters
    ----------
    objects
        Where they are kept: beside the records.

    Notes
    -----
    Sent to workers. What is atomic in the objects is atomic here.
    """

    def __init__(self, objects: Kept) -> None:
        self.objects = objects

    def read(self, key: str, known: Chain | None = None) -> Chain | None:
        """Read what is known of a request.

        Parameters
        ----------
        key
            Of the request.
        known
            What was read before: claims up to there are not read again.

        Returns
        -------
        Chain or None
            None if nobody asked.

        Raises
        ------
        TicketUnreadable
            It is damaged, or a later gridmill's.
        """
        first = self._read(_name(key))
        if first is None:
            return None
        # While the ticket is the same, none of the claims that follow it was deleted.
        last = known.last if known is not None and known.first == first else first
        claims = [claim for _, claim in self._claims_after(key, last)]
        return Chain(first, claims[-1] if claims else last)

    def _claims_after(self, key: str, ticket: Ticket) -> Iterator[tuple[str, Ticket]]:
        """Yield the claims that follow a ticket, each after the name of its object."""
        while ticket.job is None:
            name = _following(key, ticket)
            following = self._read(name)
            if following is None:
                return
            yield name, following
            ticket = following

    def _read(self, name: str) -> Ticket | None:
        content = self.objects.get(name)
        if content is None:
            return None
        try:
            told = json.loads(content)
            if told.get("schema", SCHEMA) > SCHEMA:
                raise ValueError(f"schema {told['schema']} is newer than {SCHEMA}")
            names = ("queue", "job", "since")
            return Ticket(**{name: told[name] for name in names}, by=told.get("by", ""))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TicketUnreadable(
                f"{self.objects.url}/{name} is no ticket ({error}): look at the queue "
                "whether the job is there, and delete the file to ask again"
            ) from None

    def claim(self, key: str, ticket: Ticket) -> bool:
        """Say that a request is about to be sent, unless somebody said so; whether it was said."""
        return self.objects.put_if_absent(_name(key), _content(ticket))

    def follow(self, key: str, known: Chain, following: Ticket) -> bool:
        """Let a claim follow another, unless one does or a job has a name; whether it does.

        Parameters
        ----------
        key
            Of the request.
        known
            What was read last.
        following
            An heir's, or the same renewed; it may be there of a try that failed on its way.
        """
        name = _following(key, known.last)
        is_put = self.objects.put_if_absent(name, _content(following))
        if not is_put and self._read(name) != following:
            return False
        if self._read(_name(key)) != known.first:
            # A job got its name since `known` was read, and the claims before it were deleted.
            self.objects.delete(name)
            return False
        return self._read(_following(key, following)) is None

    def keep(self, key: str, ticket: Ticket) -> None:
        """Say which job a request became; what was claimed before is deleted."""
        first = self._read(_name(key))
        claims = [] if first is None else [name for name, _ in self._claims_after(key, first)]
        self.objects.put(_name(key), _content(ticket))
        for name in claims:
            self.objects.delete(name)

    def forget(self, key: str) -> None:
        """Forget a request, so that it is requested again."""
        self.objects.delete(_name(key))

    def in_force(self, key: str, now: float) -> str:
        """Return the key by which a request is kept: another one after each doubt that counts.

        So nothing is deleted that another task may hold, and all come to the same key.

        Parameters
        ----------
        key
            Of the request.
        now
            Seconds since the epoch.
        """
        while (doubt := self.objects.get(_doubt(key))) is not None and _counts(doubt, now):
            key = key_of(key, {"after": "what could not be used"})
        return key

    def doubt(self, key: str, counts_from: float) -> None:
        """Say that what a job made cannot be used; what was said before counts from then at most.

        Parameters
        ----------
        key
            Of the request, as `in_force` returned it.
        counts_from
            When it is to be requested again, seconds since the epoch: until then the job may be
            right, and what fetched or read it may not be.
        """
        before = self.objects.get(_doubt(key))
        if before is None or not _counts(before, counts_from):
            self.objects.put(_doubt(key), json.dumps({"from": counts_from}).encode())

    def trust(self, key: str) -> None:
        """Take a doubt back."""
        if self.objects.get(_doubt(key)) is not None:
            self.objects.delete(_doubt(key))


def _name(key: str) -> str:
    return f"queue/{key}.json"


def _doubt(key: str) -> str:
    return f"queue/{key}.doubt.json"


def _counts(doubt: bytes, now: float) -> bool:
    """Whether a doubt counts by now; one that is damaged does not."""
    try:
        return float(json.loads(doubt)["from"]) <= now
    except (ValueError, KeyError, TypeError):
        return False


def _following(key: str, claim: Ticket) -> str:
    """Return the name of the claim that follows one."""
    return f"queue/{key}.{claim.by or claim.since}.json"


def _content(ticket: Ticket) -> bytes:
    return json.dumps({"schema": SCHEMA, **asdict(ticket)}).encode()
