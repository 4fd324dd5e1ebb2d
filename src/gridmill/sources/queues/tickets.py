"""What is asked of queues, kept durably beside the records: which job a request became.

A ticket is written before a request is sent, and again once the job's name is known. So whoever
comes after a killed process knows that it may have asked, and looks for the job before it asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

__all__ = ["Ticket", "TicketUnreadable", "Tickets", "key_of"]

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
        When it was asked for, seconds since the epoch.
    """

    queue: str
    job: str | None
    since: float


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

    def read(self, key: str) -> Ticket | None:
        """Read what is known of a request; None if nobody asked.

        Raises
        ------
        TicketUnreadable
            It is damaged, or a later gridmill's.
        """
        content = self.objects.get(_name(key))
        if content is None:
            return None
        try:
            told = json.loads(content)
            if told.get("schema", SCHEMA) > SCHEMA:
                raise ValueError(f"schema {told['schema']} is newer than {SCHEMA}")
            return Ticket(**{name: told[name] for name in Ticket.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TicketUnreadable(
                f"{self.objects.url}/{_name(key)} is no ticket ({error}): look at the queue "
                "whether the job is there, and delete the file to ask again"
            ) from None

    def claim(self, key: str, ticket: Ticket) -> bool:
        """Say that a request is about to be sent, unless somebody said so; whether it was said."""
        return self.objects.put_if_absent(_name(key), _content(ticket))

    def keep(self, key: str, ticket: Ticket) -> None:
        """Say which job a request became."""
        self.objects.put(_name(key), _content(ticket))

    def forget(self, key: str) -> None:
        """Forget a request, so that it is asked for anew."""
        self.objects.delete(_name(key))


def _name(key: str) -> str:
    return f"queue/{key}.json"


def _content(ticket: Ticket) -> bytes:
    return json.dumps({"schema": SCHEMA, **asdict(ticket)}).encode()
