"""Which credentials hold for the downloads of this thread, and one request that needs one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import TypeVar

from gridmill.sources.fetch.credentials.keeper import Keeper, Refusal, keeper_of
from gridmill.sources.fetch.credentials.reading import CredentialMissing
from gridmill.sources.fetch.credentials.rules import Credential, origin_of, rule_for

__all__ = ["NO_ACCESS", "Access", "Refused", "Use", "cookies", "kept_by", "use_for", "using"]

AnswerT = TypeVar("AnswerT")

# As often as a request is sent again: others may renew while it waits for its turn.
MOST_SENT = 3


@dataclass(frozen=True)
class Access:
    """What a region job knows of credentials: rules, and who keeps what they name. No secret.

    Parameters
    ----------
    rules
        What was declared.
    keeper
        The number of the keeper, see `gridmill.sources.fetch.credentials.keeper`.
    """

    rules: tuple[Credential, ...] = ()
    keeper: str = field(default_factory=lambda: uuid.uuid4().hex)


NO_ACCESS = Access(keeper="")
_present: ContextVar[Access] = ContextVar("gridmill-credentials", default=NO_ACCESS)


@contextmanager
def using(access: Access) -> Iterator[None]:
    """Let the downloads of this thread use the credentials of a region job."""
    token = _present.set(access)
    try:
        yield
    finally:
        _present.reset(token)


class Refused(Exception):  # noqa: N818  what the server did
    """A host refused a request that had a credential.

    Parameters
    ----------
    cause
        What it answered.
    is_certain
        Whether it refuses the credential, and not only this request.
    """

    def __init__(self, cause: str, *, is_certain: bool) -> None:
        super().__init__(cause)
        self.cause, self.is_certain = cause, is_certain


@dataclass(frozen=True)
class Use:
    """The use of a rule for one URL."""

    access: Access
    number: int
    url: str

    @property
    def rule(self) -> Credential:
        """The rule."""
        return self.access.rules[self.number]

    def send(self, ask: Callable[[str], AnswerT]) -> AnswerT:
        """Send a request with the credential, and again with another one if that is refused.

        Parameters
        ----------
        ask
            Sends it; raises `Refused`.

        Raises
        ------
        CredentialMissing
            There is no credential, or none that the host takes; names host, rule and next step.
        """
        keeper = keeper_of(self.access.keeper, self.access.rules)
        cause = ""
        try:
            for _ in range(MOST_SENT):
                secret = keeper.secret(self.number, self.url)
                with secret.tried():
                    if keeper.secret(self.number, self.url) is not secret:
                        continue  # another request found that it is not taken
                    try:
                        answer = ask(secret.value)
                    except Refused as refused:
                        cause = refused.cause
                        why = Refusal(secret.version, secret.is_good, refused.is_certain, cause)
                        keeper.secret(self.number, self.url, why)
                        continue
                    secret.is_good = True
                    return answer
            raise CredentialMissing(f"each {self.rule.what} from {self.rule.place} is refused")
        except CredentialMissing as error:
            raise CredentialMissing(self._told(cause or error.cause, str(error))) from None

    def _told(self, cause: str, why: str) -> str:
        scheme, host, _ = origin_of(self.url)
        whom = f"s3://{host}" if scheme == "s3" else host
        return f"{cause} from {whom}: {why}" if cause else f"no request was sent to {whom}: {why}"


def use_for(url: str) -> Use | None:
    """Return the use of the rule for a URL in this thread; None where none is declared."""
    access = _present.get()
    number = rule_for(access.rules, url) if access.rules else None
    return None if number is None else Use(access, number, url)


def cookies() -> CookieJar | None:
    """Return the cookies of the downloads of this thread; None where no credential is declared."""
    access = _present.get()
    return keeper_of(access.keeper, access.rules).cookies if access.rules else None


def kept_by(rules: Sequence[Credential]) -> tuple[Access, Keeper]:
    """Return the access to credentials that this process keeps, for as long as its keeper lives."""
    keeper = Keeper(rules)
    return Access(keeper.rules, keeper.id), keeper
