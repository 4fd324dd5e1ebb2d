"""Icechunk's branches: the present version is one, the next and the previous one are others.

Readers read `main`. To let it point at another version is one write of one object: who opened the
archive before stays with the snapshot that he has, who opens it after gets the other one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import icechunk
from zarr.core.sync import sync

from gridmill.model.urls import is_local, mask_url
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.repository import BRANCH, RepositoryAt
from gridmill.stores.icechunk.settings.formats import format_of
from gridmill.stores.icechunk.uploads import said_of_merged

__all__ = ["IcechunkBranches", "begin_branch"]


class IcechunkBranches:
    """The branches of a repository, see `gridmill.stores.versions.Branches`.

    Parameters
    ----------
    repository
        The repository.
    """

    def __init__(self, repository: RepositoryAt) -> None:
        self.repository = repository

    def tip(self, name: str) -> str | None:
        """Return the version that a branch points at; None if there is no such branch."""

        def look() -> str | None:
            here = self.repository.open()
            return str(here.lookup_branch(name)) if name in here.list_branches() else None

        return patiently(look)

    def descends_from(self, name: str, version: str) -> bool:
        """Whether a branch points at a version, or at one that was made of it."""
        here = self.repository.open()
        return patiently(lambda: any(one.id == version for one in here.ancestry(branch=name)))

    def point(self, name: str, version: str) -> None:
        """Let a branch that need not be there point at a version."""
        there = self.tip(name)
        if there is None:
            self._change(name, version, lambda here: here.create_branch(name, version))
        elif there != version:
            self.move(name, there, version)

    def move(self, name: str, before: str, version: str) -> None:
        """Let a branch point at another version, if it points where it is taken to.

        Raises
        ------
        ValueError
            Somebody else moved it meanwhile; it stays.
        """

        def reset(here: icechunk.Repository) -> None:
            here.reset_branch(name, version, from_snapshot_id=before)

        self._change(name, version, reset)

    def drop(self, name: str) -> None:
        """Delete a branch, if it is there; what only it held goes with the next upkeep."""
        here = self.repository.open()
        if patiently(lambda: name in here.list_branches()):
            patiently(lambda: here.delete_branch(name))

    def _change(self, name: str, version: str, change: Callable[[Any], None]) -> None:
        here = self.repository.open()
        try:
            patiently(lambda: change(here))
        except (icechunk.IcechunkError, OSError) as error:
            # Where an answer got lost, the next attempt meets what it was about.
            if self.tip(name) == version:
                return
            raise ValueError(
                f"{mask_url(self.repository.url)}: the branch {name} was changed by somebody else "
                "at this moment; nothing was changed: look at its last commits, and run again"
            ) from error


def begin_branch(repository: RepositoryAt) -> None:
    """Make the branch that a repository is opened at, with nothing in it, unless it is there.

    It appears with a first commit that holds nothing: at no moment does it show what it began from.

    Raises
    ------
    ValueError
        Two branches are not safe in this repository.
    """
    here, name = repository.open(), repository.branch
    if name == BRANCH or name in here.list_branches():
        return
    if is_local(repository.url) and format_of(here) > 1:
        raise ValueError(
            f"{mask_url(repository.url)} is a local repository in Icechunk's format "
            f"{format_of(here)}, which keeps all branches in one object that a local disk does not "
            "guard: build the next version at an address of its own, or in a bucket"
        )
    begun = f"{name}-begun"
    if begun in here.list_branches():
        here.delete_branch(begun)
    here.create_branch(begun, here.lookup_branch(BRANCH))
    session = here.writable_session(begun)
    sync(session.store.delete_dir(""))
    if session.has_uncommitted_changes:
        session.commit(
            "Begin the next version, not yet to be seen", said_of_merged(here, {}, begun)
        )
    here.create_branch(name, here.lookup_branch(begun))
    here.delete_branch(begun)
