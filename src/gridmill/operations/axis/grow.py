"""Adds labels to dims of an archive that exists: members, leads or levels that a provider adds.

Stored objects stay where they are: what is added lies behind them, in objects of its own, and holds
nothing until updates fill it. The records come first, since they say of which array they are; until
the store has the labels too, runs are refused, and the same command completes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.labels import just_after
from gridmill.authoring.template import TemplateConfig
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.model.variables import Coordinate, DataVar
from gridmill.operations.axis.padding import check_padding
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.planning.fingerprint import hash_of_array, hash_of_grid
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.view import ReaderView
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import published_labels
from gridmill.stores.metadata import array_metadata

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Growth", "grow", "growth_of"]

HORIZONTAL = {"latitude", "longitude", "projection_x_coordinate", "projection_y_coordinate"}
NAMES = {"lat", "latitude", "lon", "longitude", "x", "y", "cell"}


@dataclass(frozen=True)
class Growth:
    """What a dim gets.

    Parameters
    ----------
    dim
        Its name.
    before
        How many labels it has.
    labels
        Those that it gets, in order.
    """

    dim: str
    before: int
    labels: tuple[Any, ...]

    def __str__(self) -> str:
        first, last = self.labels[0], self.labels[-1]
        span = f"{first}" if len(self.labels) == 1 else f"{first} … {last}"
        return f"{self.dim} from {self.before} to {self.before + len(self.labels)} labels ({span})"


def growth_of(dataset: DynamicalDataset, *, now: Any = None) -> list[Growth]:
    """List the dims of which the code declares more labels than an archive has; writes nothing.

    Raises
    ------
    ValueError
        There is no archive, or what the code declares does not begin with what the archive has, or
        nothing says missing in a variable that would get places without values.
    """
    check_exists(dataset)
    archive, where = dataset.archive(now), mask_url(dataset.store.url)
    stored = dataset.store.open_dataset(chunks=None)
    found = []
    for dim in (str(d) for d in archive.template_ds.sizes if d != archive.append_dim):
        there, ours = (list(ds.get_index(dim)) for ds in (stored, archive.template_ds))
        if there == ours:
            continue
        coord = next((c for c in archive.config.coords if c.name == dim), None)
        _check_may_grow(where, dim, coord, there, ours)
        found.append(Growth(dim, len(there), tuple(ours[len(there) :])))
    _check_says_missing(archive.config, {growth.dim for growth in found}, where)
    return found


def grow(dataset: DynamicalDataset, *, who: str, now: Any = None) -> RunReport:
    """Let an archive and its replicas have the labels that the code declares; see `growth_of`.

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
        There is nothing to add, or it cannot be added: nothing was written.
    LeaseHeld
        A run works on the archive.
    LeaseLost
        Another process took this one for dead.
    """
    growths = growth_of(dataset, now=now)
    if not growths:
        raise ValueError(
            f"{mask_url(dataset.store.url)} has all labels of every dim that the code declares: "
            "there is nothing to add"
        )
    message = "Add labels: " + ", ".join(str(growth) for growth in growths)
    with by_hand(dataset, "grow", now=now) as hand:
        seen = published_labels(dataset.store, dataset.declared.append_dim)
        end = None if seen is None or not len(seen) else just_after(seen[-1])
        archive = dataset.archive(end, as_declared=True)
        publisher = Publisher(archive, dataset.replicas)

        def widen(view: ReaderView) -> None:
            length = view.store.published_length(archive.append_dim)
            if length is None:
                return
            before = {growth.dim: growth.before for growth in growths}
            changed = _widened(archive, view, length, before)
            hand.lease.proof.check()
            for record in changed:
                hand.lease.proof.check()
                view.store.tracker.write(record)
            with hand.lease.publishing() as check:
                view.widen(length, message, check)

        publisher.change_everywhere(widen)
        hand.report.replicas = publisher.replicas.outcomes()
        hand.report.notes.append(f"{who}: {message}")
    return hand.report


def _check_may_grow(
    where: str, dim: str, coord: Coordinate | None, there: list[Any], ours: list[Any]
) -> None:
    attrs: Mapping[str, Any] = {} if coord is None else coord.attrs
    is_horizontal = (
        attrs.get("standard_name") in HORIZONTAL or attrs.get("axis") in ("X", "Y") or dim in NAMES
    )
    if is_horizontal:
        raise ValueError(
            f"{dim} of {where} has {len(there)} labels and the code declares {len(ours)} that are "
            "not the same: another grid is another archive, as every value would lie elsewhere; "
            "give another --store, and end this archive where the provider changed its grid"
        )
    if ours[: len(there)] != there:
        raise ValueError(
            f"{dim} of {where} has the labels {_few(there)}, and the code declares {_few(ours)}: "
            "labels are added behind those that are there, since stored objects do not move; let "
            "dimension_coordinates() give the new ones last, or build a new archive"
        )


def _check_says_missing(config: TemplateConfig, dims: Set[str], where: str) -> None:
    """Raise where readers would take the new places of a variable for values."""
    every = (*config.data_vars, *config.kept_vars)
    wordless = [v for v in every if v.encoding.missing is None and not dims.isdisjoint(v.dims)]
    if not wordless:
        return
    kept = [var.name for var in wordless if var in config.kept_vars]
    way = (
        f"the code no longer declares {', '.join(kept)}: let it declare the labels that the "
        f"archive has, take that away by gridmill remove-variable {' '.join(kept)}, and then add "
        "labels"
        if len(kept) == len(wordless)
        else "a new archive whose Encoding has a fill_value that cannot occur can have them"
    )
    fills = ", ".join(f"{var.name} ({var.encoding.dtype})" for var in wordless)
    raise ValueError(
        f"nothing says missing in {fills} of {where}: readers would see "
        f"{wordless[0].encoding.fill} at the labels that {', '.join(sorted(dims))} would get; {way}"
        "; nothing was written"
    )


def _few(labels: list[Any]) -> str:
    shown = ", ".join(str(label) for label in labels[:4])
    return f"{shown}, … {labels[-1]}" if len(labels) > 4 else shown


# -- records ------------------------------------------------------------------------------------


def _widened(
    archive: Archive, view: ReaderView, length: int, before: Mapping[str, int]
) -> list[ProgressRecord]:
    """Return the records that are to be of the archive with its new labels, where they are not."""
    stored = array_metadata(view.store.metadata() or {})
    found = []
    for record in list(view.store.tracker.all_records()):
        if record.stop > length:
            raise ValueError(
                f"the region from position {record.start} on is done and readers do not see all of "
                "it: run gridmill update until they do; nothing was written"
            )
        check_padding(archive, view.store, record, before)
        changed = _widened_record(archive, record, stored)
        if changed != record:
            found.append(changed)
    return found


def _widened_record(
    archive: Archive, record: ProgressRecord, stored: Mapping[str, Any]
) -> ProgressRecord:
    prepared = prepare_recorded(archive, archive.job(record.region), None)
    ours = {n: f for group in prepared.groups for n, f in group.fingerprints.items()}
    cut = {n for group in prepared.groups if group.is_cut for n in group.fingerprints}
    # What the code no longer declares is believed where it was, should it declare it again.
    every = {var.name: var for var in (*archive.config.data_vars, *archive.config.kept_vars)}

    def widened(name: str, known: VariableRecord) -> VariableRecord:
        was = known.fingerprint
        if was is None or name not in stored or name not in every:
            return known
        # What is not believed anyway stays so.
        if was.get("array") != hash_of_array(stored[name], archive.append_dim):
            return known
        if name in ours and name not in cut:
            _check_places(record, name, was, ours[name])
        return _fitting(known, was, archive, every[name])

    return replace(record, variables={n: widened(n, v) for n, v in record.variables.items()})


def _check_places(
    record: ProgressRecord, name: str, was: Mapping[str, Any], ours: Mapping[str, Any]
) -> None:
    if was.get("stop") == ours["stop"] and was.get("places") != ours["places"]:
        raise ValueError(
            f"the code lists other source files for the region from position {record.start} on "
            f"than {name} was made of: declare in RegionJob.offerings from when the provider "
            "has the new labels (Offering(dim=…, labels=…, since=…)), no earlier than the end "
            "of what readers see; nothing was written"
        )


def _fitting(
    known: VariableRecord, was: Mapping[str, Any], archive: Archive, var: DataVar
) -> VariableRecord:
    """Return what is known of a variable, of the array and the labels that it is to have."""
    dim = archive.append_dim
    changes = {"array": hash_of_array(archive.arrays[var.name], dim)}
    if "grid" in was:
        others = [own for own in var.dims if own != dim]
        changes["grid"] = hash_of_grid(archive.template_ds, others)
    return replace(known, fingerprint={**was, **changes})
