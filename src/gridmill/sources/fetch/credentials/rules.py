"""What an author or operator declares of a credential: for which host, how sent, where it is read.

Names only, never a value: a rule may be shown, logged, pickled and sent anywhere.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from gridmill.model.urls import split_url

__all__ = [
    "ApiKey",
    "BearerToken",
    "Credential",
    "Login",
    "S3Access",
    "credential_of",
    "host_url",
    "origin_of",
    "rule_for",
    "with_overrides",
]

PORTS = {"http": 80, "https": 443, "s3": 0}
HOST = re.compile(r"(?:(https?|s3)://)?((?:\*\.)?[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(?::(\d+))?/?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What takes no value: a query parameter's or header's name of another form would break a request.
NAME = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class Credential:
    """A credential for one source host, by what names it; one of its subclasses is declared.

    Parameters
    ----------
    host
        Who gets it, and nobody else: ``data.example.org``, with a port if it has one, or
        ``*.example.org`` for all hosts below it. It is sent over https only, unless the host is
        written as ``http://…``. For `S3Access` a bucket, ``s3://bucket``.
    env
        Name of the environment variable that holds it, where the run is started.
    command
        Instead, a program and its arguments that print it, as a text or a sequence; no shell. It is
        called again when the host refuses what it printed.

    Raises
    ------
    ValueError
        The host cannot be one, or not exactly one place is named.
    """

    host: str
    env: str | tuple[str, ...] | None = field(default=None, kw_only=True)
    command: str | tuple[str, ...] | None = field(default=None, kw_only=True)

    kind: ClassVar[str]
    what: ClassVar[str]

    def __post_init__(self) -> None:
        """Check what was declared, without repeating what could be a secret."""
        if isinstance(self.command, str):
            object.__setattr__(self, "command", tuple(shlex.split(self.command)))
        for name in ("env", "command"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        is_bucket = self.host.startswith("s3://")
        if not HOST.fullmatch(self.host) or is_bucket != isinstance(self, S3Access):
            wanted = "s3://bucket" if isinstance(self, S3Access) else "a host like data.example.org"
            raise ValueError(f"{type(self).__name__} is for {wanted}, not {self.host!r}")
        for variable in self.variables:
            if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
                raise ValueError(
                    f"{self.told_host}: env names an environment variable; what is given is no "
                    "such name (give the variable's name, never the credential itself)"
                )
        self._check_places()

    def _check_places(self) -> None:
        if (self.env is None) == (self.command is None):
            raise ValueError(f"{self.told_host}: give either env or command")
        if isinstance(self.env, tuple) and not isinstance(self, S3Access):
            raise ValueError(f"{self.told_host}: env names one variable, not {len(self.env)}")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that are named."""
        if self.env is None:
            return ()
        return (self.env,) if isinstance(self.env, str) else self.env

    @property
    def told_host(self) -> str:
        """How the rule is called in an error."""
        return f"the credential for {self.host}"

    @property
    def place(self) -> str:
        """Where it is read, in words."""
        if self.command:
            return f"the command {self.command[0]}"
        many = "s" if len(self.variables) > 1 else ""
        return f"the environment variable{many} {', '.join(self.variables)}"

    @property
    def needs_secret(self) -> bool:
        """Whether there is something to read."""
        return True

    def attached(self, secret: str, url: str, headers: dict[str, str]) -> str:
        """Add the credential to a request's headers, or return the URL that holds it."""
        raise NotImplementedError

    def hidden_parts(self, secret: str) -> tuple[str, ...]:
        """Return what must not be shown, in every form in which it is sent."""
        return (secret, quote(secret, safe=""))


@dataclass(frozen=True)
class BearerToken(Credential):
    """A token that is sent as ``Authorization: Bearer …``, see `Credential`.

    Examples
    --------
    >>> BearerToken("data.example.org", env="EXAMPLE_TOKEN").place
    'the environment variable EXAMPLE_TOKEN'
    """

    kind: ClassVar[str] = "bearer"
    what: ClassVar[str] = "bearer token"

    def attached(self, secret: str, url: str, headers: dict[str, str]) -> str:
        """Add the header."""
        headers["Authorization"] = f"Bearer {secret}"
        return url


@dataclass(frozen=True)
class Login(Credential):
    """A user and password, sent by HTTP's basic authentication, see `Credential`.

    Without `env` and `command` they are read from netrc. What they name holds ``user:password``.

    Parameters
    ----------
    netrc
        Path of the netrc file; by default what the variable NETRC names, else ``~/.netrc``.

    Notes
    -----
    A host that sends who asks to another one to log in, like NASA's Earthdata, is followed there
    and back, with the cookies that it sets; declare the login for that other host.
    """

    netrc: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "login"
    what: ClassVar[str] = "login"

    def _check_places(self) -> None:
        given = [name for name in ("env", "command", "netrc") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{self.told_host}: give one of {' and '.join(given)}, not both")

    @property
    def place(self) -> str:
        """Where it is read, in words."""
        if self.env or self.command:
            return super().place
        return "netrc" if self.netrc is None else f"netrc ({self.netrc})"

    def attached(self, secret: str, url: str, headers: dict[str, str]) -> str:
        """Add the header."""
        headers["Authorization"] = f"Basic {_base64(secret)}"
        return url

    def hidden_parts(self, secret: str) -> tuple[str, ...]:
        """Return the password, and both together as they are sent."""
        return (secret.partition(":")[2], _base64(secret))


@dataclass(frozen=True)
class ApiKey(Credential):
    """A key that is sent in a header or in a query parameter of the URL, see `Credential`.

    Parameters
    ----------
    header, query
        Name of the header, or of the parameter: one of the two.
    """

    header: str | None = field(default=None, kw_only=True)
    query: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "api-key"
    what: ClassVar[str] = "API key"

    def __post_init__(self) -> None:
        """Check that it is known how it is sent."""
        super().__post_init__()
        if (self.header is None) == (self.query is None):
            raise ValueError(f"{self.told_host}: give the name of either a header or a query")
        if not NAME.fullmatch(self.header or self.query or ""):
            raise ValueError(
                f"{self.told_host}: the header or query parameter has a name of letters, digits, "
                "dots and dashes"
            )

    def attached(self, secret: str, url: str, headers: dict[str, str]) -> str:
        """Add the header, or return the URL with the parameter."""
        if self.header is not None:
            headers[self.header] = secret
            return url
        parts = urlsplit(url)
        others = [p for p in parts.query.split("&") if p and p.partition("=")[0] != self.query]
        own = f"{self.query}={quote(secret, safe='')}"
        return parts._replace(query="&".join([*others, own])).geturl()


@dataclass(frozen=True)
class S3Access(Credential):
    """How a bucket of source files is reached, see `Credential`.

    Parameters
    ----------
    env
        Names of two or three environment variables: access key, secret key, session token.
    command
        Prints JSON as AWS's ``credential_process`` does.
    profile
        Instead, a profile of the AWS configuration where the run is started. With none of the
        three, what AWS's tools find on each worker.
    requester_pays
        Whether the requests are paid by who asks.
    """

    profile: str | None = field(default=None, kw_only=True)
    requester_pays: bool = field(default=False, kw_only=True)

    kind: ClassVar[str] = "s3"
    what: ClassVar[str] = "access key"

    def _check_places(self) -> None:
        given = [name for name in ("env", "command", "profile") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{self.told_host}: give one of {' and '.join(given)}, not both")
        if self.env is not None and len(self.variables) not in (2, 3):
            raise ValueError(
                f"{self.told_host}: env names two or three variables (access key, secret key, "
                f"session token), not {len(self.variables)}"
            )
        if not given and not self.requester_pays:
            raise ValueError(
                f"{self.told_host}: give env, command or profile, or say requester_pays"
            )

    @property
    def place(self) -> str:
        """Where it is read, in words."""
        if self.profile is not None:
            return f"the AWS profile {self.profile}"
        return super().place if self.needs_secret else "AWS's own settings"

    @property
    def needs_secret(self) -> bool:
        """Whether there is something to read; else AWS's tools find it, or nothing."""
        return (self.env, self.command, self.profile) != (None, None, None)

    def hidden_parts(self, secret: str) -> tuple[str, ...]:
        """Return the secret key and the session token."""
        keys = json.loads(secret)
        return tuple(keys[name] for name in ("SecretAccessKey", "SessionToken") if keys.get(name))


KINDS = {one.kind: one for one in (BearerToken, Login, ApiKey, S3Access)}


def credential_of(host: str, table: Mapping[str, Any]) -> Credential:
    """Return the credential that a table of a settings file declares for a host.

    Raises
    ------
    ValueError
        It has no such kind, or a setting that the kind does not have. No value is repeated.

    Examples
    --------
    >>> credential_of("data.example.org", {"kind": "bearer", "env": "EXAMPLE_TOKEN"})
    BearerToken(host='data.example.org', env='EXAMPLE_TOKEN', command=None)
    """
    given = dict(table)
    kind = KINDS.get(str(given.pop("kind", "")))
    if kind is None:
        raise ValueError(f"the credential for {host} has a kind, one of {', '.join(KINDS)}")
    known = {one.name.replace("_", "-") for one in fields(kind)} - {"host"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(
            f"the credential for {host}: {', '.join(unknown)} is no setting of kind {kind.kind}, "
            f"which has {', '.join(sorted(known))}; a credential itself is never written here"
        )
    for name, value in given.items():
        wanted = bool if name == "requester-pays" else (str, list)
        if not isinstance(value, wanted):
            raise ValueError(f"the credential for {host}: {name} is of a wrong type")
    return kind(host, **{name.replace("-", "_"): value for name, value in given.items()})


def with_overrides(
    declared: Sequence[Credential], overrides: Sequence[Credential]
) -> tuple[Credential, ...]:
    """Return what an author declared, but for the hosts of which an operator says something else.

    Examples
    --------
    >>> ours = BearerToken("a.org", env="A")
    >>> with_overrides([ours, BearerToken("b.org", env="B")], [Login("b.org")])[1].kind
    'login'
    """
    told = {one.host for one in overrides}
    return (*(one for one in declared if one.host not in told), *overrides)


def origin_of(url: str) -> tuple[str, str, int]:
    """Return whom a URL asks: scheme, host and port.

    Examples
    --------
    >>> origin_of("https://me:pw@Data.example.org/a"), origin_of("s3://bucket/key")
    (('https', 'data.example.org', 443), ('s3', 'bucket', 0))
    """
    parts = split_url(url)
    scheme = parts.scheme.lower()
    if scheme == "s3":
        return scheme, parts.netloc, 0
    return scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(scheme, 0)


def host_url(url: str) -> str:
    """Return the URL of whom a URL asks: what `origin_of` says, without path, login and query.

    Examples
    --------
    >>> host_url("https://me:pw@example.org/a?b"), host_url("http://[::1]:81/a"), host_url("s3://b/k")
    ('https://example.org:443', 'http://[::1]:81', 's3://b')
    """
    scheme, host, port = origin_of(url)
    if scheme == "s3":
        return f"{scheme}://{host}"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def rule_for(rules: Sequence[Credential], url: str) -> int | None:
    """Return the number of the rule for a URL, the one that names its host most closely.

    Examples
    --------
    >>> rules = [Login("*.example.org"), BearerToken("data.example.org", env="T")]
    >>> rule_for(rules, "https://data.example.org/a"), rule_for(rules, "https://b.example.org/a")
    (1, 0)
    >>> rule_for(rules, "http://data.example.org/a"), rule_for(rules, "https://example.org/a")
    (None, None)
    """
    asked = origin_of(url)
    matching = [n for n, rule in enumerate(rules) if _matches(rule, asked)]
    return max(matching, key=lambda n: _closeness(rules[n]), default=None)


def _matches(rule: Credential, asked: tuple[str, str, int]) -> bool:
    found = HOST.fullmatch(rule.host)
    assert found is not None
    scheme = found[1] or "https"
    host = found[2].strip("[]") if scheme == "s3" else found[2].strip("[]").lower()
    port = int(found[3]) if found[3] else PORTS[scheme]
    return (scheme, port) == (asked[0], asked[2]) and fnmatchcase(asked[1], host)


def _closeness(rule: Credential) -> tuple[bool, int]:
    return "*" not in rule.host, len(rule.host)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
