"""Doing again what Icechunk could not do, until it succeeds or patience ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import icechunk
import stamina

from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.writable import REFUSALS

__all__ = ["is_transient", "one_line", "patient_config", "patiently"]

T = TypeVar("T")


class _Transient(ConnectionError):  # noqa: N818
    """Worth another attempt."""


def patient_config(storage_class: str | None = None) -> icechunk.RepositoryConfig:
    """Leave little to the attempts of Icechunk's client, and let none of them wait for ever.

    New objects are of the storage class, if there is one.

    They share one budget in the whole process, which a burst of refusals uses up: from then on
    every failure is final at once, even a connection that the server had closed meanwhile. The
    attempts that count are those of `patiently`.
    """
    retries = icechunk.StorageRetriesSettings(
        max_tries=3, initial_backoff_ms=100, max_backoff_ms=1000
    )
    timeouts: Any = getattr(icechunk, "StorageTimeoutSettings", None)  # since Icechunk 2
    bounds: dict[str, Any] = {} if storage_class is None else {"storage_class": storage_class}
    if timeouts is not None:
        # Until an answer begins, and so until a put is sent: a shard of 100 MB at 5 Mbit/s.
        bounds["timeouts"] = timeouts(connect_timeout_ms=10_000, read_timeout_ms=180_000)
    return icechunk.RepositoryConfig(storage=icechunk.StorageSettings(retries=retries, **bounds))


def patiently(request: Callable[[], T], at: str | None = None) -> T:
    """Repeat what can be repeated, until it succeeds or patience ends.

    Raises
    ------
    OSError
        What Icechunk raised, in one line, which pickles; with the number of the system's error
        where the store is local and refuses, and `at`, the place that is written.
    """
    patience = Patience()
    for attempt in stamina.retry_context(
        on=_Transient,
        attempts=patience.attempts,
        timeout=patience.total_s,
        wait_initial=patience.wait_initial_s,
        wait_max=patience.wait_max_s,
        wait_jitter=patience.wait_initial_s,
    ):
        with attempt:
            try:
                return request()
            except icechunk.IcechunkError as error:
                raise _as_told(error, at) from None
    raise AssertionError("stamina raises what the last attempt raised")


def _as_told(error: icechunk.IcechunkError, at: str | None) -> OSError:
    said = f"Icechunk: {one_line(error)}"
    if is_transient(error):
        return _Transient(said)
    number = _NUMBERED.search(said)
    if number is None or int(number[1]) not in REFUSALS:
        return OSError(said)
    return OSError(int(number[1]), said, at)


# As the object store that Icechunk uses tells what the system said.
_NUMBERED = re.compile(r"\(os error (\d+)\)")


def is_transient(error: icechunk.IcechunkError) -> bool:
    """Whether the store did not answer, or not as it should, by the causes that are listed."""
    return _TRANSIENT.search(str(error)) is not None


_TRANSIENT = re.compile(
    r"dispatch failure|response error|streaming error|timed out|timeout|connection"
    r"|SlowDown|ServiceUnavailable|InternalError|RequestTimeout|Throttling|RequestLimitExceeded",
    re.IGNORECASE,
)


def one_line(error: BaseException) -> str:
    """Return the first line, which says what failed, and the last, which says why."""
    lines = [line.strip(" x|`->\t") for line in str(error).splitlines()]
    lines = [line for line in lines if line] or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}"
