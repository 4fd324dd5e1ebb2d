"""Puts over what was looked at, on the condition that nobody put another one since."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gridmill.stores.objects.patience import Patience

__all__ = ["PutRefused", "put_checked"]

VersionT = TypeVar("VersionT")


class PutRefused(OSError):  # noqa: N818
    """Another object was there than the one that was looked at."""


def put_checked(
    patience: Patience,
    where: str,
    content: bytes,
    version: VersionT | None,
    *,
    check: Callable[[], None],
    look: Callable[[], tuple[bytes | None, VersionT | None]],
    put_over: Callable[[VersionT | None], bool],
    advice: str = "",
) -> None:
    """Check and put over what was looked at; look again where another one is there by now.

    Parameters
    ----------
    patience
        How often.
    where
        The object's URL, for the error.
    content
        What is put.
    version
        Of what was looked at; None if nothing was there.
    check
        Called before each put; raises what prevents it.
    look
        Returns what is there, None where that does not matter, and its version.
    put_over
        Puts it over a version; whether the condition held.
    advice
        What else may be done where the condition is always refused.

    Raises
    ------
    PutRefused
        The condition was refused as often as `patience` allows.
    """
    for attempt in patience.attempts_at(PutRefused):
        with attempt:
            if attempt.num > 1:
                there, version = look()
                if there == content:
                    return
            check()
            if not put_over(version):
                raise PutRefused(
                    f"{where} was not put: the store refused the condition of each of "
                    f"{attempt.num} puts, although each was made of what was there just before; "
                    f"end the process that keeps writing it{advice}"
                )
