"""Who keeps the credentials of a run: the process that started it; others ask it.

A secret is in the memory of the processes that need it and nowhere else: it is no part of a task,
of a region job or of anything that is pickled. What tasks carry is the number of a keeper.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from threading import Lock
from typing import NoReturn
from weakref import WeakValueDictionary

from gridmill.sources.fetch.credentials.hidden import keep_hidden
from gridmill.sources.fetch.credentials.reading import CredentialMissing, read_credential
from gridmill.sources.fetch.credentials.rules import Credential, Login, origin_of

__all__ = ["AskKeeper", "Keeper", "Refusal", "Secret", "ask_elsewhere", "keeper_of", "known_keeper"]

# How long a refused credential that did not change is not tried again.
LEFT_ALONE_S = 60.0
# New credentials that were all refused: what prints them is wrong, not out of date.
MOST_FRUITLESS = 3
OF_THIS_FILE = "it takes this credential for other files; ask the provider for access to this one"


class Secret:
    """One version of a credential, which neither shows nor pickles itself."""

    def __init__(self, value: str, version: int) -> None:
        self.value, self.version = value, version
        # Whether a host took it: one that may be wrong is tried by one request at a time.
        self.is_good = False
        self.gate = Lock()

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Hold the gate until it is known whether the host takes it."""
        if self.is_good:
            yield
            return
        with self.gate:
            yield

    def __repr__(self) -> str:
        return f"<Secret, version {self.version}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: send the rule that names it")


@dataclass(frozen=True)
class Refusal:
    """What a host refused.

    Parameters
    ----------
    version
        Of the secret.
    was_good
        Whether the host took it before.
    is_certain
        Whether it is the credential that the host refuses (401), and not only this request (403).
    cause
        What it answered.
    """

    version: int
    was_good: bool
    is_certain: bool
    cause: str = ""


# Returns a secret's version and value; of a URL, and of what was refused if anything was.
AskKeeper = Callable[[str, str, "Refusal | None"], tuple[int, str]]


@dataclass
class _Held:
    secret: Secret | None = None
    fruitless: int = 0
    # Until when the present one is not tried, and since when it is there.
    refused_until: float = 0.0
    since: float = 0.0
    # What the host answered to it.
    cause: str = ""
    lock: Lock = field(default_factory=Lock)


class Keeper:
    """Keeps what rules name, asked for once and again where a host refuses it; thread-safe.

    Parameters
    ----------
    rules
        What was declared.
    id
        Its number, by which others find it.
    ask
        Asks the keeper in another process instead of reading here.
    """

    def __init__(
        self,
        rules: Sequence[Credential],
        id: str = "",  # noqa: A002
        ask: AskKeeper | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.id = id or uuid.uuid4().hex
        # Of this process; sessions of logins. Thread-safe.
        self.cookies = CookieJar()
        self._ask = ask
        self._held: dict[tuple[int, str], _Held] = {}
        self._lock = Lock()
        _keepers[self.id] = self

    def secret(self, rule: int, url: str, refusal: Refusal | None = None) -> Secret:
        """Return what a rule names for a URL's host, another one if it was refused.

        Raises
        ------
        CredentialMissing
            There is none; or the one there is was refused, and there is no other.
        """
        held = self._of(rule, url)
        with held.lock:
            present = held.secret
            if present is None or (refusal and refusal.version == present.version):
                self._renew(held, rule, url, refusal)
            elif time.monotonic() < held.refused_until:
                raise self._left_alone(held, rule)
            assert held.secret is not None
            return held.secret

    def _of(self, rule: int, url: str) -> _Held:
        # Netrc has another login for each host that a rule's pattern fits.
        host = origin_of(url)[1] if isinstance(self.rules[rule], Login) else ""
        with self._lock:
            return self._held.setdefault((rule, host), _Held())

    def _renew(self, held: _Held, rule: int, url: str, refusal: Refusal | None) -> None:
        now = time.monotonic()
        if refusal is not None:
            held.cause = refusal.cause
            self._check_is_worth_it(held, rule, refusal, now)
        try:
            version, value = self._read(held, rule, url, refusal)
        except CredentialMissing:
            if refusal is not None:
                held.refused_until = now + LEFT_ALONE_S
            raise
        finally:
            held.since = now
        keep_hidden(self.rules[rule].hidden_parts(value))
        if held.secret is not None and held.secret.value == value:
            is_wrong = refusal is not None and (refusal.is_certain or not refusal.was_good)
            held.refused_until = now + LEFT_ALONE_S if is_wrong else 0.0
            raise self._left_alone(held, rule) if is_wrong else CredentialMissing(OF_THIS_FILE)
        held.secret = Secret(value, version)

    def _check_is_worth_it(self, held: _Held, rule: int, refusal: Refusal, now: float) -> None:
        """Raise where another credential is not asked for because one was refused."""
        is_recent = now < held.since + LEFT_ALONE_S
        if refusal.was_good and not refusal.is_certain and is_recent:
            raise CredentialMissing(OF_THIS_FILE)
        held.fruitless = held.fruitless + 1 if is_recent and not refusal.was_good else 1
        if now < held.refused_until or held.fruitless > MOST_FRUITLESS:
            held.refused_until = max(held.refused_until, now + LEFT_ALONE_S)
            raise self._left_alone(held, rule)

    def _read(self, held: _Held, rule: int, url: str, refusal: Refusal | None) -> tuple[int, str]:
        if self._ask is not None:
            return self._ask(self.id, url, refusal)
        value = read_credential(self.rules[rule], url)
        return (1 if held.secret is None else held.secret.version + 1), value

    def _left_alone(self, held: _Held, rule: int) -> CredentialMissing:
        one = self.rules[rule]
        told = (
            f"the {one.what} from {one.place} is refused; put a valid one there, or name another "
            f"place for it (credential.{one.host!r} in gridmill.toml)"
        )
        return CredentialMissing(told, held.cause)


_keepers: WeakValueDictionary[str, Keeper] = WeakValueDictionary()
# Of keepers in other processes, for as long as the asking process is there; last used last.
_distant: dict[str, Keeper] = {}
# Runs that a worker keeps credentials of; the least recently used ones would be requested again.
MOST_DISTANT = 32
# By who knows them, as in `gridmill.sources.fetch.hosts`.
_elsewhere: dict[object, AskKeeper] = {}
_finding = Lock()


def known_keeper(id: str) -> Keeper | None:  # noqa: A002
    """Return a keeper that was made in this process."""
    return _keepers.get(id)


def ask_elsewhere(owner: object, ask: AskKeeper | None) -> None:
    """Let keepers that this process does not have be asked through `ask`; None ends that."""
    _elsewhere.pop(owner, None)
    if ask is not None:
        _elsewhere[owner] = ask
    elif not _elsewhere:
        _distant.clear()


def keeper_of(id: str, rules: Sequence[Credential]) -> Keeper:  # noqa: A002
    """Return the keeper with a number, or one that asks it, or one that reads what is here."""
    with _finding:
        known, is_distant = _keepers.get(id), id in _distant
        if known is None:
            asks = [*_elsewhere.values()]
            known, is_distant = Keeper(rules, id, asks[-1] if asks else None), True
        if is_distant:
            _distant.pop(id, None)
            _distant[id] = known
            while len(_distant) > MOST_DISTANT:
                del _distant[next(iter(_distant))]
        return known
