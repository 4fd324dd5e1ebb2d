"""Take variables away from an archive that its dataset no longer declares."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gridmill.authoring.template import TemplateConfig
from gridmill.model.display_hook import page_of
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.maintenance import check_exists, leased
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.variables.hiding import forget_hidden, hide
from gridmill.publishing.view import ReaderView
from gridmill.runs.additions.showing import nobody_at_work
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import array_metadata
from gridmill.stores.state.beside.variables import GoingVariables, read_going, write_going
from gridmill.stores.state.claims import ADDING
from gridmill.stores.state.leases import Lease

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = [
    "GRACE_S",
    "check_removal",
    "delete_hidden",
    "hide_in_all",
    "remove_variables",
    "without",
]

# Who opened the archive just before reads on; what is deleted under a reader reads as missing.
GRACE_S = 60.0


def check_removal(
    dataset: DynamicalDataset, names: Sequence[str], *, now: Any = None, force: bool = False
) -> None:
    """Raise unless variables can be removed.

    Parameters
    ----------
    dataset
        With its archive.
    names
        The variables.
    now
        The present; None asks the clock.
    force
        Whether the date until which a name is kept does not matter.

    Raises
    ------
    ValueError
        The code still declares one, readers were promised it, the archive does not have it, or its
        regions are as long as they are because of it.
    StructureMismatch
        The template contradicts the archive.
    """
    check_exists(dataset)
    config, going = dataset.config(), read_going(dataset.store.state)
    there = {var.name for var in (*config.data_vars, *config.kept_vars)}
    coded = {var.name for var in dataset.coded().data_vars}
    present = dataset.present(now)
    for name in names:
        if name in coded:
            raise ValueError(
                f"the dataset's code declares {name}: take it out of data_vars first, so that no "
                "update fills it, then this again"
            )
        if name not in {*there, *going.removing} and name not in _left_in_replicas(dataset):
            raise ValueError(
                f"{dataset.store.url} has no variable {name} to be removed; it has "
                f"{', '.join(sorted(there))}"
            )
        until = going.kept_until.get(name)
        if until is not None and not force and present < config.label(until):
            raise ValueError(
                f"{name} is kept for readers until {until}: wait, or give --force to remove it now"
            )
    # What is published without them is the template's.
    dataset.archive(now).check_structure()
    if names and not without(config, names).data_vars:
        raise ValueError(f"without {', '.join(names)} the archive has no variable")
    if without(config, names).region_length != config.region_length:
        raise ValueError(
            f"the archive's regions of {config.region_length} positions are as long as they are "
            f"because of {', '.join(names)}: without, its records would fit no region; build a new "
            "archive, or keep it"
        )


def _left_in_replicas(dataset: DynamicalDataset) -> set[str]:
    """Name what replicas have that the archive has no more, as far as they can be reached."""
    found: set[str] = set()
    for store in dataset.replicas:
        with suppress(OSError, ValueError):
            found |= array_metadata(store.metadata() or {}).keys()
    return found - array_metadata(dataset.store.metadata() or {}).keys()


def remove_variables(
    dataset: DynamicalDataset,
    names: Sequence[str],
    *,
    why: str = "",
    force: bool = False,
    grace_s: float = GRACE_S,
    now: Any = None,
) -> RunReport:
    """Take variables away from readers of an archive and its replicas, then delete them.

    Waits for the end of runs that are at work; those that begin meanwhile wait. Interrupted, the
    same call completes it, and it takes them away from a replica that could not be reached.

    Parameters
    ----------
    dataset
        With its archive.
    names
        The variables.
    why
        Kept in the report.
    force
        See `check_removal`.
    grace_s
        How long objects are left, on plain Zarr, for those who opened the archive before.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        See `check_removal`.
    LeaseHeld
        A run is at work for long, or variables are being added.
    """
    check_removal(dataset, names, now=now, force=force)
    report = RunReport.begin(dataset.dataset_id, "remove-variable", mask_url(dataset.store.url))
    state = dataset.store.state
    with leased(dataset.store, report.run, report.kind, [ADDING]) as lease:
        with nobody_at_work(state, report.run) as alone:
            publisher = hide_in_all(dataset, names, alone, now)
        removed = delete_hidden(publisher, names, lease, grace_s)
        note = f"removed {', '.join(names)}" + (f": {why}" if why else "")
        report.notes.append(f"{note}; {removed} objects deleted")
        report.replicas = publisher.replicas.outcomes()
        length = dataset.store.published_length(publisher.archive.append_dim) or 0
        report.positions_before = report.positions_after = length
        report.end()
        dataset.store.tracker.reports.write(report, page_of(report))
    return report


def hide_in_all(
    dataset: DynamicalDataset,
    names: Sequence[str],
    lease: Lease,
    now: Any = None,
    replicas: Sequence[FinalStore] | None = None,
) -> Publisher:
    """Let readers of the replicas, then of the archive no longer see variables.

    Parameters
    ----------
    dataset
        With its archive.
    names
        The variables.
    lease
        Of all of it.
    now
        The present; None asks the clock.
    replicas
        Some of the archive's; None means all.

    Returns
    -------
    Publisher
        Of the archive without them.
    """
    archive = dataset.archive(now, config=without(dataset.config(), names))
    publisher = Publisher(archive, dataset.replicas if replicas is None else replicas)

    def take_away(view: ReaderView) -> None:
        tracker = view.store.tracker
        going = read_going(view.store.state)
        removing = tuple(sorted({*going.removing, *names}))
        write_going(view.store.state, replace(going, removing=removing))
        view.completeness.learn(lease.claim.run)

        def declare() -> None:
            declared = tracker.read_declaration() or {}
            if declared.get("variables"):
                left = [name for name in declared["variables"] if name not in names]
                tracker.replace_declaration({"variables": left})

        with lease.publishing() as check:
            hide(view, names, check, declare, lease.claim.run)
        forget_hidden(view, names)

    with publisher.feeding(lease):
        there = array_metadata(archive.store.metadata() or {})
        shown = [name for name in names if name in there]
        publisher.change_everywhere(take_away)
        if shown:
            with lease.publishing():
                publisher.note_variables(lease, removed=shown)
    return publisher


def delete_hidden(publisher: Publisher, names: Sequence[str], lease: Lease, grace_s: float) -> int:
    """Delete what is left of variables that no reader sees; how many objects of the archive."""
    if any(s.shows_uploads for s in (publisher.archive.store, *publisher.replicas.stores)):
        time.sleep(grace_s)

    def sweep(view: ReaderView) -> int:
        deleted = view.store.delete_removed(names, lease.proof.check)
        going = read_going(view.store.state)
        kept = {name: date for name, date in going.kept_until.items() if name not in names}
        removing = tuple(name for name in going.removing if name not in names)
        write_going(view.store.state, GoingVariables(kept, removing))
        return deleted

    return publisher.change_everywhere(sweep)


def without(config: TemplateConfig, names: Sequence[str]) -> TemplateConfig:
    """Return an archive's template without some variables."""
    twin = copy.copy(config)
    twin.data_vars = tuple(var for var in config.data_vars if var.name not in names)
    twin.kept_vars = tuple(var for var in config.kept_vars if var.name not in names)
    twin.__dict__.pop("region_length", None)
    return twin
