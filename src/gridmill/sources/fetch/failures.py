"""Why a fetch did not give a file, told without credentials."""

from __future__ import annotations

from gridmill.model.urls import SECRET_NAME, mask_text, mask_url
from gridmill.sources.fetch.credentials.hidden import hide

__all__ = [
    "SECRET_NAME",
    "DownloadFailed",
    "NotAFileError",
    "NotAvailable",
    "PermanentError",
    "TransientError",
    "mask_text",
    "mask_url",
]


class NotAvailable(Exception):  # noqa: N818  a status of the source file rather than an error
    """The provider does not have the file: raise it in `RegionJob.download_file`.

    Parameters
    ----------
    url
        Where it was looked for; credentials are masked.
    cause
        The provider's answer.

    Examples
    --------
    >>> raise NotAvailable("https://data.example.org/a.nc", "the listing does not have it")
    Traceback (most recent call last):
    ...
    gridmill.sources.fetch.failures.NotAvailable: https://data.example.org/a.nc is not available: \
the listing does not have it
    """

    def __init__(self, url: str, cause: str = "the provider does not have it") -> None:
        super().__init__(hide(mask_url(url)), hide(mask_text(cause)))
        self.url, self.cause = self.args

    def __str__(self) -> str:
        return f"{self.url} is not available: {self.cause}"


class DownloadFailed(Exception):  # noqa: N818  the name of the source file's status
    """The file could not be fetched, and that does not show that it is absent.

    Raise it in `RegionJob.download_file` once trying again is useless in this run: the next run
    tries again.

    Parameters
    ----------
    url
        Where it was looked for; credentials are masked.
    cause
        What went wrong in the last attempt; credentials are masked.
    attempts
        How many attempts were made.
    has_arrived
        Whether all that the provider sends arrived, and is no file of its format or not all of one:
        that is a failure to read it rather than to fetch it.

    Examples
    --------
    >>> str(DownloadFailed("https://data.example.org/a.nc", "the queue is full"))
    'https://data.example.org/a.nc was not fetched in 1 attempt: the queue is full; the next run \
tries again'
    """

    def __init__(self, url: str, cause: str, attempts: int = 1, has_arrived: bool = False) -> None:
        super().__init__(hide(mask_url(url)), hide(mask_text(cause)), attempts, has_arrived)
        self.url, self.cause, self.attempts, self.has_arrived = self.args

    def __str__(self) -> str:
        if self.has_arrived:
            return f"{self.url} arrived and cannot be used: {self.cause}"
        return (
            f"{self.url} was not fetched in {self.attempts} "
            f"attempt{'s' if self.attempts != 1 else ''}: {self.cause}; the next run tries again"
        )


class TransientError(Exception):
    """Worth another attempt; credentials are masked."""

    def __init__(self, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(hide(mask_text(cause)))
        self.retry_after_s = retry_after_s


class NotAFileError(TransientError):
    """All that was sent arrived, and is not what it should be."""


class PermanentError(Exception):
    """Another attempt would give the same; credentials are masked."""

    def __init__(self, cause: str) -> None:
        super().__init__(hide(mask_text(cause)))
