"""Variables that new archives do not have any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Superseded"]


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """Why archives made earlier have a variable that new ones do not have.

    Parameters
    ----------
    by
        Name of the variable in its place.
    why
        What is wrong with it, in a sentence without its full stop.
    """

    by: str
    why: str
