"""Changes of metadata that only describe, in a store that exists: titles, units, comments."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridmill.by_hand import by_hand, check_exists
from gridmill.dataset import Archive, DynamicalDataset
from gridmill.run_report import RunReport
from gridmill.structure import Difference, compare_structures

__all__ = ["Migration", "migrate_metadata", "plan_migration"]


@dataclass(frozen=True)
class Migration:
    """Where template and store differ.

    Parameters
    ----------
    permitted
        What only describes: neither stored bytes nor what they decode to depend on it.
    refused
        Everything else: it takes a backfill or a new store.
    """

    permitted: tuple[Difference, ...]
    refused: tuple[Difference, ...]


def plan_migration(dataset: DynamicalDataset, *, now: Any = None) -> Migration:
    """List where a dataset's template and its store differ; writes nothing.

    Raises
    ------
    ValueError
        There is no store yet, or gridmill did not make it.
    """
    check_exists(dataset)
    differences = _compare(dataset, dataset.archive(now))
    return Migration(
        tuple(d for d in differences if d.is_description),
        tuple(d for d in differences if not d.is_description),
    )


def migrate_metadata(dataset: DynamicalDataset, *, who: str, now: Any = None) -> RunReport:
    """Apply to a store what of its template only describes; nothing else.

    Readers see all of it at once: on plain Zarr with the one put of the root metadata, on Icechunk
    with a commit.

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
    """
    with by_hand(dataset, "migrate-metadata", now=now) as hand:
        permitted = plan_migration(dataset, now=now).permitted
        with hand.lease.publishing(), tempfile.TemporaryDirectory(prefix="gridmill-") as folder:
            _write_changed(dataset, permitted, Path(folder))
            named = ", ".join(_name(difference) for difference in permitted)
            dataset.store.publish(Path(folder), message=f"Change what only describes: {named}")
        hand.report.notes.extend(f"{who} changed {difference}" for difference in permitted)
    return hand.report


def _compare(dataset: DynamicalDataset, archive: Archive) -> list[Difference]:
    stored = dataset.store.metadata()
    if stored is None or not stored.get("consolidated_metadata"):
        raise ValueError(
            f"{dataset.store.url} has no metadata that gridmill wrote: there is nothing to migrate"
        )
    declared = json.loads(archive.publisher.metadata)
    return compare_structures(declared, stored, archive.config.append_dim)


def _write_changed(
    dataset: DynamicalDataset, permitted: Sequence[Difference], folder: Path
) -> None:
    """Write the store's metadata with these changes, as a local store without coordinates."""
    stored = dataset.store.metadata()
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
    (folder / "zarr.json").write_text(json.dumps(root, indent=2))
    for name, array in arrays.items():
        (folder / name).mkdir()
        (folder / name / "zarr.json").write_text(json.dumps(array, indent=2))


def _name(difference: Difference) -> str:
    where = "" if difference.array is None else f"{difference.array} "
    return f"{where}{difference.key}"
