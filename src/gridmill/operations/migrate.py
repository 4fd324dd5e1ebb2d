"""Changes of metadata that only describe, in a store that exists: titles, units, comments.

The code's own template is compared, and not the archive as it was made: what was described
otherwise then is what this changes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.archive.metadata import with_current
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.publishing.replicas import Replicas
from gridmill.publishing.view import ReaderView
from gridmill.stores.final_store import FinalStore
from gridmill.stores.structure import Difference, compare_structures

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Migration", "migrate_metadata", "migration_of"]


@dataclass(frozen=True)
class Migration:
    """Where template and store differ.

    Parameters
    ----------
    permitted
        What only describes: neither stored bytes nor what they decode to depend on it.
    refused
        Everything else.
    takes
        For each that is refused, what runs make of it, and what it takes to follow the code.
    """

    permitted: tuple[Difference, ...]
    refused: tuple[Difference, ...]
    takes: tuple[str, ...] = ()


def migration_of(dataset: DynamicalDataset, *, now: Any = None) -> Migration:
    """List where a dataset's template and its store, or a replica, differ; writes nothing.

    Raises
    ------
    ValueError
        There is no store yet, or gridmill did not make it.
    """
    check_exists(dataset)
    archive, made = _as_coded(dataset, now), dataset.archive(now)
    differences = _compare(dataset.store, archive)

    def add(view: ReaderView) -> None:
        differences.extend(d for d in _compare(view.store, archive) if d not in differences)

    Replicas(archive, dataset.replicas).each(add)
    refused = tuple(d for d in differences if not d.is_description)
    stopping = _compare(dataset.store, made) if refused else []
    return Migration(
        tuple(d for d in differences if d.is_description),
        refused,
        tuple(_what_it_takes(difference, archive, stopping) for difference in refused),
    )


def _what_it_takes(difference: Difference, coded: Archive, stopping: Sequence[Difference]) -> str:
    """Say what it takes for an archive to follow the code in what is refused."""
    if difference in stopping and difference.key == "shape":
        return (
            "runs stop: make the code agree, or build a new archive; gridmill grow adds labels "
            "that a provider added"
        )
    if difference in stopping:
        return "runs stop: make the code agree, or build a new archive"
    is_missing = not difference.key and difference.stored is None
    if is_missing and difference.array in {var.name for var in coded.config.data_vars}:
        return "continues without it; gridmill backfill --variables adds it"
    return "stays as it was created; a new archive follows the code"


def migrate_metadata(dataset: DynamicalDataset, *, who: str, now: Any = None) -> RunReport:
    """Apply to a store and its replicas what of its template only describes; nothing else.

    Readers see all of it at once: on plain Zarr with the one put of the root metadata, on Icechunk
    with a commit. Replicas come first; one where it fails says so in the report, and is left to the
    next call.

    Parameters
    ----------
    dataset
        With its archive.
    who
        Kept in the report.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no store yet, or gridmill did not make it.
    LeaseHeld
        A run works on the archive.
    LeaseLost
        Another process took this one for dead.
    """
    with by_hand(dataset, "migrate-metadata", now=now) as hand:
        changed: list[Difference] = []
        coded = _as_coded(dataset, now)

        with hand.lease.publishing() as check:

            def change(view: ReaderView) -> None:
                permitted = [d for d in _compare(view.store, coded) if d.is_description]
                if not permitted:
                    return
                named = ", ".join(_name(difference) for difference in permitted)
                message = f"Change what only describes: {named}"
                root = _changed(view.store, permitted, coded)
                view.describe(root, message, check)
                changed.extend(difference for difference in permitted if difference not in changed)

            hand.publisher.change_everywhere(change)
        hand.report.notes.extend(f"{who} changed {difference}" for difference in changed)
    return hand.report


def _as_coded(dataset: DynamicalDataset, now: Any) -> Archive:
    return dataset.archive(now, config=dataset.coded())


def _compare(store: FinalStore, archive: Archive) -> list[Difference]:
    stored = store.metadata()
    if stored is None or not stored.get("consolidated_metadata"):
        raise ValueError(
            f"{store.url} has no metadata that gridmill wrote: there is nothing to migrate"
        )
    declared = json.loads(archive.metadata)
    return compare_structures(declared, stored, archive.config.append_dim)


def _changed(store: FinalStore, permitted: Sequence[Difference], coded: Archive) -> dict[str, Any]:
    """Return the store's root metadata with these changes, and what they have to say then."""
    stored = store.metadata()
    assert stored is not None
    root = copy.deepcopy(stored)
    arrays = root["consolidated_metadata"]["metadata"]
    for difference in permitted:
        node = root if difference.array is None else arrays[difference.array]
        attributes = node.setdefault("attributes", {})
        if difference.declared is None:
            attributes.pop(difference.key)
        else:
            attributes[difference.key] = difference.declared
    declared = coded.config.dataset_attributes
    return with_current(root, coded.template_ds, coded.append_dim, declared)


def _name(difference: Difference) -> str:
    where = "" if difference.array is None else f"{difference.array} "
    return f"{where}{difference.key}"
