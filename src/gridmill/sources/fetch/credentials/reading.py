"""Reads a credential where its rule says: the environment, a command, netrc, an AWS profile."""

from __future__ import annotations

import json
import netrc
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gridmill.sources.fetch.credentials.rules import (
    ApiKey,
    BearerToken,
    Credential,
    Login,
    S3Access,
    origin_of,
)

__all__ = ["CredentialMissing", "read_credential", "unreadable"]

# Somebody may have to look at a second device.
COMMAND_S = 120.0
KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


class CredentialMissing(Exception):  # noqa: N818  what it is about stands in its message
    """There is no credential where its rule says; names the rule and the next step, no value.

    Parameters
    ----------
    told
        What is missing.
    cause
        What the host answered to the one that there was.
    """

    def __init__(self, told: str, cause: str = "") -> None:
        super().__init__(told, cause)
        self.told, self.cause = told, cause

    def __str__(self) -> str:
        return self.told


def read_credential(rule: Credential, url: str) -> str:
    """Return the credential that a rule names, for the host of a URL.

    Raises
    ------
    CredentialMissing
        There is none, or the command fails; with no other error in its chain, and no frame of what
        was read in its traceback.
    """
    try:
        return _read(rule, url)
    except CredentialMissing as error:
        told = error.told
    except Exception as error:  # it may hold all that was read
        told = unreadable(rule, error)
    raise CredentialMissing(told)


def unreadable(rule: Credential, error: Exception) -> str:
    """Say that a place cannot be read, of an error whose own words may hold a secret."""
    return f"{rule.place} cannot be read ({type(error).__name__}); check its contents"


def _read(rule: Credential, url: str) -> str:
    if rule.command is not None:
        printed = _printed(rule)
        return _as_keys(rule, printed) if isinstance(rule, S3Access) else printed
    if isinstance(rule, S3Access):
        return _of_profile(rule) if rule.profile is not None else _of_variables(rule)
    if isinstance(rule, Login) and rule.env is None:
        return _of_netrc(rule, origin_of(url)[1])
    return _variable(rule, rule.variables[0])


def _variable(rule: Credential, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise CredentialMissing(
            f"the environment variable {name} is not set; set it where the run is started, or name "
            f"another place for {rule.told_host}"
        )
    return _one_line(rule, value)


def _one_line(rule: Credential, value: str) -> str:
    if not value.isprintable():
        raise CredentialMissing(
            f"{rule.place} holds more than one line, or control characters; it must hold the "
            f"{rule.what} alone"
        )
    # Logins and query parameters are encoded on their way, and of S3's keys the signature is sent.
    is_sent_so = isinstance(rule, BearerToken) or (isinstance(rule, ApiKey) and rule.query is None)
    if is_sent_so and not value.isascii():
        raise CredentialMissing(
            f"{rule.place} holds a character that is not ASCII, which HTTP does not carry as it "
            f"is; copy the {rule.what} there again: dashes and quotes may have been replaced"
        )
    return value


def _printed(rule: Credential) -> str:
    command = rule.command
    assert isinstance(command, tuple)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"did not end in {COMMAND_S:g} s"
        if isinstance(error, OSError):
            why = f"cannot be run: {error.strerror}"
        raise CredentialMissing(f"{rule.place} {why}; run it yourself") from None
    # What it says on stderr may hold anything.
    if done.returncode or not done.stdout.strip():
        how = f"ended with exit code {done.returncode}" if done.returncode else "printed nothing"
        raise CredentialMissing(f"{rule.place} {how}; run it yourself to see its output")
    try:
        printed = done.stdout.decode().strip()
    except UnicodeDecodeError:
        raise CredentialMissing(
            f"{rule.place} prints text that is not UTF-8; print UTF-8"
        ) from None
    return printed if isinstance(rule, S3Access) else _one_line(rule, printed)


def _of_netrc(rule: Login, host: str) -> str:
    path = Path(rule.netrc or os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc.netrc(path).authenticators(host)
    except OSError as error:
        raise CredentialMissing(f"{path} cannot be read: {error.strerror}") from None
    except netrc.NetrcParseError as error:
        # Its message repeats a word of the file.
        raise CredentialMissing(f"{path} is no netrc file from line {error.lineno} on") from None
    except UnicodeDecodeError:
        raise CredentialMissing(f"{path} is not UTF-8; save it in UTF-8") from None
    if found is None or not found[2]:
        raise CredentialMissing(
            f"{path} has no login for {host}; add a line: machine {host} login … password …"
        )
    return _one_line(rule, f"{found[0]}:{found[2]}")


def _of_variables(rule: S3Access) -> str:
    return _keys(rule, [_variable(rule, name) for name in rule.variables])


def _of_profile(rule: S3Access) -> str:
    import botocore.exceptions  # type: ignore[import-untyped]
    import botocore.session  # type: ignore[import-untyped]

    try:
        found = botocore.session.Session(profile=rule.profile).get_credentials()
        keys = None if found is None else found.get_frozen_credentials()
    except botocore.exceptions.BotoCoreError as error:
        raise CredentialMissing(f"{rule.place} gives no keys ({type(error).__name__})") from None
    if keys is None:
        raise CredentialMissing(f"{rule.place} has no keys; see aws configure")
    return _keys(rule, (keys.access_key, keys.secret_key, keys.token))


def _as_keys(rule: S3Access, printed: str) -> str:
    try:
        told: Any = json.loads(printed)
    except ValueError:
        told = None
    values = [told.get(name) for name in KEYS] if isinstance(told, Mapping) else [None]
    if not all(isinstance(value, str) for value in values[:2]):
        raise CredentialMissing(f"{rule.place} must print JSON with {' and '.join(KEYS[:2])}")
    return _keys(rule, values)


def _keys(rule: S3Access, values: Sequence[str | None]) -> str:
    """Return keys as one text."""
    checked = [None if value is None else _one_line(rule, value) for value in values]
    return json.dumps(dict(zip(KEYS, checked, strict=False)))
