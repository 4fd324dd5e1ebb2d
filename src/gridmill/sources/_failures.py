"""Why a fetch did not give a file, told without credentials."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = [
    "SECRET_NAME",
    "DownloadFailed",
    "NotAvailable",
    "PermanentError",
    "TransientError",
    "mask_text",
    "mask_url",
]


class NotAvailable(Exception):  # noqa: N818  a status of the source file rather than an error
    """The provider does not have the file.

    Parameters
    ----------
    url
        Where it was looked for; credentials are masked.
    cause
        The provider's answer.
    """

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(mask_url(url), cause)
        self.url, self.cause = self.args

    def __str__(self) -> str:
        return f"{self.url} is not available: {self.cause}"


class DownloadFailed(Exception):  # noqa: N818  the name of the source file's status
    """The file could not be fetched, and that does not show that it is absent.

    Parameters
    ----------
    url
        Where it was looked for; credentials are masked.
    cause
        What went wrong in the last attempt; credentials are masked.
    attempts
        How many attempts were made.
    """

    def __init__(self, url: str, cause: str, attempts: int) -> None:
        super().__init__(mask_url(url), mask_text(cause), attempts)
        self.url, self.cause, self.attempts = self.args

    def __str__(self) -> str:
        return (
            f"{self.url} was not fetched in {self.attempts} "
            f"attempt{'s' if self.attempts != 1 else ''}: {self.cause}; the next run tries again"
        )


class TransientError(Exception):
    """Worth another attempt."""

    def __init__(self, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s


class PermanentError(Exception):
    """Another attempt would give the same."""


SECRET_NAME = re.compile(
    r"sig|token|key|secret|passw|pwd|auth|credential|session|x-amz-|x-goog-", re.IGNORECASE
)


def mask_url(url: str) -> str:
    """Replace what may be a credential by `***`; everything else stays as it is.

    Masked are `user:password@` and the values of query and fragment parameters whose name looks
    secret (`signature`, `token`, `key`, `X-Amz-*` and the like, percent-encoded or not). A secret
    in the path is not recognised.

    Examples
    --------
    >>> mask_url("https://me:pw@example.org/a.nc?X-Amz-Signature=abc&var=t2m")
    'https://***@example.org/a.nc?X-Amz-Signature=***&var=t2m'
    """
    url = re.sub(r"(?<=//)[^/?#]*@", "***@", url, count=1)
    path, query_mark, query = url.partition("?")
    if not query_mark:
        path, query_mark, query = url.partition("#")
    return path + query_mark + re.sub(r"[^&#]+", _mask_parameter, query)


def _mask_parameter(match: re.Match[str]) -> str:
    # What precedes the last "=" decides, so that a URL inside a value, or ";" between parameters,
    # hides nothing: "next=https://host/?token=x", "a=1;token=x".
    parameter = match[0]
    names, equals, _ = parameter.rpartition("=")
    if equals and SECRET_NAME.search(unquote(names)):
        return parameter.partition("=")[0] + "=***"
    return parameter


def mask_text(text: str) -> str:
    return re.sub(r"\S+", lambda word: mask_url(word[0]), text)
