"""How a worker gets a credential that the process which started its run keeps.

It asks by an event, which names rule and host; who keeps it answers that worker alone. So a secret
passes through the scheduler and stays in no task, plugin, event or metadata there. Workers that
join later ask when they need it, and again when a host refuses what they have.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client, Worker

from gridmill.sources.fetch.credentials.keeper import Keeper, Refusal, known_keeper
from gridmill.sources.fetch.credentials.reading import (
    COMMAND_S,
    CredentialMissing,
    unreadable,
)
from gridmill.sources.fetch.credentials.rules import host_url, rule_for

__all__ = ["AskDriver", "answer_workers", "deliver"]

log = logging.getLogger(__name__)

TOPIC = "gridmill-credentials"
# An event or an answer may be lost with a connection.
ASK_AGAIN_S = 15.0
GIVE_UP_S = COMMAND_S + 60.0


@dataclass(frozen=True)
class _Envelope:
    """An answer on its way; Dask may log what it cannot deliver, and shows nothing of it."""

    version: int = 0
    value: str = field(default="", repr=False)
    error: str = ""


@dataclass
class _Waiting:
    came: threading.Event = field(default_factory=threading.Event)
    envelope: _Envelope = field(default_factory=_Envelope)


_waiting: dict[str, _Waiting] = {}


class AskDriver:
    """Asks the keeper of a credential, see `gridmill.sources.fetch.credentials.keeper.AskKeeper`.

    Parameters
    ----------
    worker
        The Dask worker of this process; not asked in its event loop.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __call__(self, keeper: str, url: str, refusal: Refusal | None) -> tuple[int, str]:
        """Return version and value.

        Raises
        ------
        CredentialMissing
            There is none, as the keeper says; or nobody answers.
        """
        number, waiting = uuid.uuid4().hex, _Waiting()
        question = {
            "number": number,
            "worker": self._worker.address,
            "keeper": keeper,
            "host": host_url(url),
            "refusal": None if refusal is None else vars(refusal),
        }
        _waiting[number] = waiting
        try:
            self._wait(question, waiting)
        finally:
            del _waiting[number]
        if waiting.envelope.error:
            raise CredentialMissing(waiting.envelope.error)
        return waiting.envelope.version, waiting.envelope.value

    def _wait(self, question: Mapping[str, Any], waiting: _Waiting) -> None:
        end = monotonic() + GIVE_UP_S
        while monotonic() < end:
            self._worker.log_event(TOPIC, dict(question))
            if waiting.came.wait(ASK_AGAIN_S):
                return
        raise CredentialMissing(
            f"who started the run did not give this worker the credential within {GIVE_UP_S:g} s; "
            "it is read there, not here: is it still running?"
        )


def deliver(number: str, envelope: _Envelope) -> None:
    """Take an answer on a worker; late ones are dropped."""
    waiting = _waiting.get(number)
    if waiting is not None:
        waiting.envelope = envelope
        waiting.came.set()


_answering: WeakKeyDictionary[Client, bool] = WeakKeyDictionary()


def answer_workers(client: Client) -> None:
    """Answer workers that ask for what this process keeps, for as long as its client is there."""
    if client not in _answering:
        _answering[client] = True
        answers = _Answers(client)
        client.subscribe_topic(TOPIC, answers.hear)  # type: ignore[no-untyped-call]


class _Answers:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._at_work: set[str] = set()

    def hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Answer in a thread: a command takes its time, and this is Dask's event loop."""
        question = event[1]
        keeper = known_keeper(str(question.get("keeper")))
        if keeper is None:
            return  # of another run
        with self._lock:
            if question["number"] in self._at_work:
                return
            self._at_work.add(question["number"])
        threading.Thread(target=self._answer, args=(question, keeper), daemon=True).start()

    def _answer(self, question: Mapping[str, Any], keeper: Keeper) -> None:
        try:
            envelope = _envelope(question, keeper)
            self._client.run(deliver, question["number"], envelope, workers=[question["worker"]])
        except Exception as error:  # a worker that is gone needs no answer
            log.debug("no answer worker=%s: %s", question["worker"], type(error).__name__)
        finally:
            with self._lock:
                self._at_work.discard(question["number"])


def _envelope(question: Mapping[str, Any], keeper: Keeper) -> _Envelope:
    host, rule = str(question["host"]), None
    try:
        rule = rule_for(keeper.rules, host)
        if rule is None:
            return _Envelope(error=f"no credential is declared for {host}")
        refusal = None if question["refusal"] is None else Refusal(**question["refusal"])
        secret = keeper.secret(rule, host, refusal)
        return _Envelope(secret.version, secret.value)
    except CredentialMissing as error:
        return _Envelope(error=str(error))
    except Exception as error:  # without an answer the worker would wait
        if rule is not None:
            return _Envelope(error=unreadable(keeper.rules[rule], error))
        return _Envelope(error=f"no rule is found for {host} ({type(error).__name__})")
