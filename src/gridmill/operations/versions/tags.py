"""Names versions of an archive, and deletes such names."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.stores.state.claims import UPKEEP
from gridmill.stores.versions import Tag

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["delete_tag", "list_tags", "moment_of", "tag_archive"]


def tag_archive(dataset: DynamicalDataset, name: str, at: datetime | None = None) -> Tag:
    """Return what readers see a name, or what they saw at a moment.

    Raises
    ------
    ValueError
        There is no archive, its format keeps no versions, nothing is kept of the moment, or the
        name is another version's.
    LeaseHeld
        An upkeep is at work: it may forget the version. Runs continue.
    """
    check_exists(dataset)
    versions = dataset.store.versions
    with by_hand(dataset, "tag", [UPKEEP]) as hand, hand.lease.publishing():
        tag = versions.tag(name, at)
        hand.report.notes.append(f"tagged {_told(tag)}")
    return tag


def list_tags(dataset: DynamicalDataset) -> list[Tag]:
    """Return the tags of an archive, the earliest version first.

    Raises
    ------
    ValueError
        There is no archive, or its format keeps no versions.
    """
    check_exists(dataset)
    return dataset.store.versions.tags()


def delete_tag(dataset: DynamicalDataset, name: str) -> Tag:
    """Delete a tag; what only it held goes with the next upkeep.

    Raises
    ------
    ValueError
        There is no archive or no such tag, or its format keeps no versions.
    LeaseHeld
        An upkeep is at work.
    """
    check_exists(dataset)
    versions = dataset.store.versions
    with by_hand(dataset, "tag", [UPKEEP]) as hand:
        tag = versions.delete(name)
        hand.report.notes.append(f"deleted tag {_told(tag)}")
    return tag


def moment_of(dataset: DynamicalDataset, name: str) -> datetime:
    """Return when the version of a tag was published.

    Raises
    ------
    ValueError
        There is no such tag, or the archive's format keeps no versions.
    """
    tags = {tag.name: tag for tag in list_tags(dataset)}
    if name not in tags:
        raise ValueError(f"{name} is no time like 2025-07-01T06:00, and no tag of the archive")
    return tags[name].at


def _told(tag: Tag) -> str:
    at = f"{tag.at:%Y-%m-%dT%H:%M:%S}"
    return f"{tag.name}: snapshot {tag.snapshot}, published at {at}"
