"""Whether replicas hold what the primary holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridmill.model.wording import count_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.axis import published_labels
from gridmill.stores.final_store import FinalStore, readable_length
from gridmill.stores.state.beside.exchange import RETAINED, mark_of, promotion_of
from gridmill.stores.structure import structure_differences
from gridmill.validation.checks.metadata import one_line, own_differences
from gridmill.validation.checks.objects import listed, published_receipts, wrong_objects
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ReplicasEqual"]


@dataclass(frozen=True, kw_only=True)
class ReplicasEqual:
    """The dataset's replicas show the same: structure, extent, coordinates, every object.

    Parameters
    ----------
    contents
        See `ObjectsIntact`.
    """

    contents: bool = True
    name: str = "replicas"

    def check(self, context: Context) -> CheckResult:
        """Compare metadata and coordinates with the primary's, objects with its records."""
        replicas = context.dataset.replicas
        findings = [f for replica in replicas for f in self._look(context, replica)]
        examined = ", ".join(mask_url(replica.url) for replica in replicas) or "there are none"
        return CheckResult(validator=self.name, findings=tuple(findings), examined=examined)

    def _look(self, context: Context, replica: FinalStore) -> Iterator[Finding]:
        where, dim = mask_url(replica.url), context.append_dim
        update, restore = context.command("update"), context.command("restore-metadata")
        length = readable_length(replica, dim)
        if length is None and replica.tracker.read_declaration() is None:
            yield Finding(message=f"there is no archive at {where}", repair=update)
            return
        moved = _command_to_follow(context, replica)
        if moved is not None:
            command, why = moved
            yield Finding(message=f"{where}: {why}", repair=context.command(*command))
            return
        # Whatever a damaged store makes of parsers and codecs: it does not open.
        try:
            theirs = replica.open_dataset()
        except Exception as error:
            message = f"{where}: it does not open: {one_line(error)}"
            yield Finding(message=message, repair=restore)
            return
        for message in _differences(context, replica, theirs):
            yield Finding(message=f"{where}: {message}", repair=restore)
        if length != context.published:
            shown = count_of(length or 0, "position")
            message = f"{where}: it shows {shown}, the primary {context.published:,}"
            yield Finding(message=message, repair=update)
            return
        for region, var, receipts in published_receipts(context):
            wrong = wrong_objects(replica, receipts, contents=self.contents)
            if wrong:
                message = f"{where}: {listed(wrong)}"
                yield context.finding(message, region.slice, [var.name])


def _command_to_follow(context: Context, replica: FinalStore) -> tuple[tuple[str, ...], str] | None:
    """Return the command by which a replica follows its archive, and why."""
    ours, own = (s.tracker.read_declaration() or {} for s in (context.dataset.store, replica))
    is_other = promotion_of(ours) not in (None, promotion_of(own))
    if not replica.shows_uploads and (mark_of(own) or is_other):
        return ("promote",), "another version of the archive was promoted without it"
    if ours.get(RETAINED) != own.get(RETAINED) or replica.tracker.retaining.read():
        return ("retain", "--retention", "DURATION"), "the archive was retained without it"
    theirs = published_labels(replica, context.append_dim)
    labels = context.ds.get_index(context.append_dim)
    # Labels of its own are another fault.
    lacks = False
    if theirs is not None and len(theirs) and theirs.isin(labels).all():
        lacks = not labels[labels < theirs[-1]].isin(theirs).all()
    if lacks or replica.tracker.reindexing.read():
        return ("reindex", "--soon"), "late labels were inserted into the archive without it"
    return None


def _differences(context: Context, replica: FinalStore, theirs: xr.Dataset) -> Iterator[str]:
    """Say where what readers of the two see differs, but for the data and how much they see."""
    dim, root = context.append_dim, replica.metadata() or {}
    for difference in structure_differences(context.root, root, dim):
        yield difference.replace("the template", "the primary").replace("the store", "the replica")
    yield from (message for _, message in own_differences(replica, root, dim))
    both = slice(0, min(theirs.sizes.get(dim, 0), context.published))
    ours, theirs = (ds.isel({dim: both}, missing_dims="ignore") for ds in (context.ds, theirs))
    for name, coord in ours.coords.items():
        if name in theirs.coords and not coord.variable.equals(theirs[name].variable):
            yield f"values of coordinate {name} differ"
