"""Versions of an archive that have a name, where a store keeps versions at all."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple, Protocol

__all__ = ["Tag", "Versions", "check_tag_name"]

# As a part of an object's key, of a command line and of a reader's code.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Tag(NamedTuple):
    """A version with a name: it stays as it is, and is kept until the tag is deleted.

    Parameters
    ----------
    name
        Its name.
    snapshot
        The store's own name of the version.
    at
        When it was published (UTC).
    message
        What that publication brought.
    """

    name: str
    snapshot: str
    at: datetime
    message: str


class Versions(Protocol):
    """Names versions of an archive."""

    def tag(self, name: str, moment: datetime | None = None) -> Tag:
        """Name what readers see, or saw at a moment; the same again changes nothing.

        Raises
        ------
        ValueError
            The name is another version's, or was deleted, or nothing is kept of the moment.
        """

    def tags(self) -> list[Tag]:
        """Return the tags, the earliest version first."""

    def delete(self, name: str) -> Tag:
        """Delete a tag; what only it held goes with the next upkeep.

        Raises
        ------
        ValueError
            There is none of this name.
        """


def check_tag_name(name: str) -> None:
    """Raise unless a tag may be called so; a moment would be taken for one where both are taken.

    Raises
    ------
    ValueError
        It may not.

    Examples
    --------
    >>> check_tag_name("before 1.2/friday")
    Traceback (most recent call last):
    ValueError: 'before 1.2/friday' is no name of a tag: use letters, digits, ".", "_" and "-"
    """
    if not NAME.fullmatch(name):
        raise ValueError(f'{name!r} is no name of a tag: use letters, digits, ".", "_" and "-"')
    if _is_moment(name):
        raise ValueError(f"{name!r} reads as a moment: give the tag a name that does not")


def _is_moment(name: str) -> bool:
    try:
        datetime.fromisoformat(name)
    except ValueError:
        return False
    return True
