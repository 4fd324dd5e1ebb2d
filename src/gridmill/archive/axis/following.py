"""Whether a replica has the positions and the version of its archive: it follows by a command.

Until it has followed, its readers see what they saw, under the labels of then, and runs leave it
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridmill.archive.archive import Archive
from gridmill.archive.axis.labels import LabelsWouldChange, refuse_other_labels
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import array_metadata
from gridmill.stores.state.beside.exchange import (
    PROMOTED,
    RETAINED,
    UNDER_WAY,
    promotion_of,
)

__all__ = [
    "MOVING",
    "check_completed",
    "check_same_arrays",
    "promotion_told",
    "refuse_labels_from_before",
    "why_declared_otherwise",
]

# What a declaration says otherwise once the first positions are gone.
MOVING = ("start", RETAINED)


def check_completed(replica: FinalStore) -> None:
    """Raise where the records of a replica may not say what its readers see.

    Raises
    ------
    ValueError
        It says which command completes it.
    """
    tracker = replica.tracker
    for command, order in {"reindex": tracker.reindexing, "retain": tracker.retaining}.items():
        if order.read() is not None:
            raise ValueError(
                f"a {command} of {mask_url(replica.url)} was interrupted: gridmill {command} with "
                "this --replica completes it"
            )


def check_same_arrays(archive: Archive, replica: FinalStore) -> None:
    """Raise where readers of a replica see other variables than those of its archive do.

    Raises
    ------
    ValueError
        It was away as they came or went, and its values of them cannot move along.
    """
    theirs = array_metadata(replica.metadata() or {})
    differing = theirs.keys() ^ archive.stored_arrays().keys()
    if differing:
        raise ValueError(
            f"{mask_url(replica.url)} was away also while {', '.join(sorted(differing))} came or "
            "went: fill another address instead, which an update does"
        )


def refuse_labels_from_before(archive: Archive, replica: FinalStore) -> None:
    """Raise where readers of a replica see other labels than the archive has.

    Raises
    ------
    LabelsWouldChange
        It says which command lets it follow, where there may be one.
    """
    visible = replica.published_length(archive.append_dim) or 0
    try:
        length = min(visible, len(archive.index))
        refuse_other_labels(archive, replica, length, {archive.append_dim})
    except LabelsWouldChange as error:
        if archive.config.settling_window is None:
            raise
        raise LabelsWouldChange(
            f"{error}. If late labels were inserted while this replica was away: gridmill reindex "
            "with this --replica inserts them here, too"
        ) from error


def promotion_told(declaration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a declaration that can be compared: a replica's promotions have names of its own."""
    declared = dict(declaration or {})
    return {**declared, PROMOTED: promotion_of(declared)} if PROMOTED in declared else declared


def why_declared_otherwise(own: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Say what to do where a replica is declared otherwise than its archive is.

    Examples
    --------
    >>> ours = {"dataset_id": "sst", "start": "2025-02-01", "retained": "b"}
    >>> why_declared_otherwise({"dataset_id": "sst", "start": "2025-01-01"}, ours)[:45]
    'begins elsewhere, as the archive was retained'
    >>> why_declared_otherwise({"dataset_id": "sst"}, {**ours, "promoted": "b"})[-51:]
    'gridmill promote with this --replica lets it follow'
    >>> why_declared_otherwise({"dataset_id": "other"}, ours).partition(":")[0]
    'holds another archive, or one that was declared differently'
    """
    is_ours = all(own.get(name) == ours.get(name) for name in ("dataset_id", "format"))
    is_other = PROMOTED in ours and own.get(PROMOTED) != ours[PROMOTED]
    if is_ours and (UNDER_WAY in own or is_other):
        if own.get("format") == "zarr":
            return (
                "shows the version from before a promotion, which plain Zarr cannot follow: give "
                "another --replica, or empty it"
            )
        return (
            "shows the version from before a promotion, or is between two: gridmill promote with "
            "this --replica lets it follow"
        )
    changes = {name: ours[name] for name in MOVING if name in ours}
    if own.get(RETAINED) != ours.get(RETAINED) and {**own, **changes} == dict(ours):
        return (
            "begins elsewhere, as the archive was retained: gridmill retain with this --replica "
            "lets it follow"
        )
    return (
        "holds another archive, or one that was declared differently: give another --replica, or "
        "empty it"
    )
