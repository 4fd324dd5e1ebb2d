"""Versions of an archive that have a name, where a store keeps versions at all."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple, Protocol

from gridmill.model.urls import mask_url

__all__ = [
    "NEXT",
    "PRESENT",
    "PREVIOUS",
    "Branches",
    "Tag",
    "Versions",
    "address_of",
    "check_tag_name",
    "no_branches",
    "no_versions",
    "state_of",
]

# Branches of an Icechunk archive, and what the addresses of their records end with.
PRESENT, NEXT, PREVIOUS = "main", "stage", "previous"
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


class Branches(Protocol):
    """The versions of an archive that are beside each other: present, next and previous one."""

    def tip(self, name: str) -> str | None:
        """Return the version that a branch points at; None if there is no such branch."""

    def descends_from(self, name: str, version: str) -> bool:
        """Whether a branch points at a version, or at one that was made of it."""

    def point(self, name: str, version: str) -> None:
        """Let a branch that need not be there point at a version."""

    def move(self, name: str, before: str, version: str) -> None:
        """Let a branch point at another version, in one step, if it points where it is taken to.

        Raises
        ------
        ValueError
            Somebody else moved it meanwhile; it stays.
        """

    def drop(self, name: str) -> None:
        """Delete a branch, if it is there; what only it held goes with the next upkeep."""


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


def no_versions(url: str) -> ValueError:
    """Return why versions of a plain Zarr archive have no names."""
    return ValueError(
        f"{url} is plain Zarr, which keeps no versions, so that none can have a name: "
        "Icechunk does. Copy the archive to keep it as it is"
    )


def no_branches(url: str) -> ValueError:
    """Return why a plain Zarr archive has no other versions at its address."""
    return ValueError(
        f"{mask_url(url)} is plain Zarr, whose objects cannot be exchanged in one step: "
        "who opened it before would read objects of another version by the metadata of this one"
    )


def address_of(url: str, version: int) -> str:
    """Return where a next version of a plain Zarr archive is built: beside it, for good.

    Examples
    --------
    >>> address_of("s3://bucket/sst.zarr", 2), address_of("/data/sst", 3)
    ('s3://bucket/sst.v2.zarr', '/data/sst.v3')
    """
    folder, slash, name = url.rstrip("/").rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    named = f"{stem}.v{version}{dot}{suffix}" if stem else f"{name}.v{version}"
    return f"{folder}{slash}{named}"


def state_of(state: str, name: str) -> str:
    """Return where the records of another version of an archive are, by those of the present one.

    Examples
    --------
    >>> state_of("a.icechunk.gridmill", "stage"), state_of("s3://b/records/", "stage")
    ('a.icechunk.stage.gridmill', 's3://b/records.stage')
    """
    state = state.rstrip("/")
    own = state.removesuffix(".gridmill")
    return f"{own}.{name}{state[len(own) :]}"


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
