"""Icechunk's tags: names of snapshots, which upkeep keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import icechunk

from gridmill.stores.icechunk.named.moments import Moments
from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.versions import Tag, check_tag_name

__all__ = ["IcechunkVersions"]


class IcechunkVersions:
    """The tags of a repository, see `gridmill.stores.versions.Versions`.

    Parameters
    ----------
    moments
        What readers of the repository saw, and when.
    """

    def __init__(self, moments: Moments) -> None:
        self.moments = moments
        self.repository = moments.repository

    def tag(self, name: str, moment: datetime | None = None) -> Tag:
        """Name what readers see, or saw at a moment.

        Raises
        ------
        ValueError
            The name is another version's, or was deleted, or nothing is kept of the moment.
        """
        check_tag_name(name)
        snapshot = self._published(moment)
        here = self._open()
        if name in here.list_tags():
            known = self._tag(here, name)
            if known.snapshot == snapshot:
                return known
            raise ValueError(
                f"{name} is the tag of what was published at {known.at:%Y-%m-%dT%H:%M:%S}, and a "
                "tag does not move: choose another name"
            )
        try:
            patiently(lambda: here.create_tag(name, snapshot))
        except OSError as error:
            if name in here.list_tags():
                return self._tag(here, name)
            raise ValueError(
                f"{name} cannot be the name of a tag of {self.repository.url}: the name of one "
                f"that was deleted is not given again ({error})"
            ) from error
        return self._tag(here, name)

    def tags(self) -> list[Tag]:
        """Return the tags, the earliest version first."""
        here = self._open()
        found = patiently(lambda: [self._tag(here, name) for name in here.list_tags()])
        return sorted(found, key=lambda tag: (tag.at, tag.name))

    def delete(self, name: str) -> Tag:
        """Delete a tag.

        Raises
        ------
        ValueError
            There is none of this name.
        """
        here = self._open()
        if name not in here.list_tags():
            known = ", ".join(tag.name for tag in self.tags()) or "none"
            raise ValueError(f"{self.repository.url} has no tag {name}; its tags: {known}")
        tag = self._tag(here, name)
        patiently(lambda: here.delete_tag(name))
        return tag

    def _published(self, moment: datetime | None) -> str:
        """Return the snapshot that readers see, or saw."""
        if moment is not None:
            store: Any = self.moments.as_of(moment)
            return str(store.session.snapshot_id)
        return str(patiently(lambda: self._open().lookup_branch(self.repository.branch)))

    def _open(self) -> icechunk.Repository:
        return patiently(self.repository.open)

    def _tag(self, here: icechunk.Repository, name: str) -> Tag:
        snapshot = here.lookup_tag(name)
        found = here.lookup_snapshot(snapshot)
        at = self.moments.seen_since(snapshot, found.written_at)
        return Tag(name, snapshot, at, found.message)
