"""Whether replicas hold what the primary holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gridmill.sources.download import mask_url
from gridmill.stores import FinalStore
from gridmill.structure import structure_differences
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding
from gridmill.validation.objects import listed, published_receipts, wrong_objects
from gridmill.wording import count_of

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
        where = mask_url(replica.url)
        if replica.metadata() is None:
            repair = context.command("update")
            yield Finding(message=f"there is no archive at {where}", repair=repair)
            return
        for message in _differences(context, replica):
            yield Finding(message=f"{where}: {message}")
        for region, var, receipts in published_receipts(context):
            wrong = wrong_objects(replica, receipts, contents=self.contents)
            if wrong:
                message = f"{where}: {listed(wrong)}"
                yield context.finding(message, region, [var.name])


def _differences(context: Context, replica: FinalStore) -> Iterator[str]:
    """Say where what readers of the two see differs, but for the data."""
    dim = context.append_dim
    root = replica.metadata() or {}
    for difference in structure_differences(context.root, root, dim):
        yield difference.replace("the template", "the primary").replace("the store", "the replica")
    length = replica.published_length(dim) or 0
    if length != context.published:
        shown = count_of(length, "position")
        yield f"it shows {shown}, the primary {context.published:,}"
        return
    theirs = replica.open_dataset()
    for name, coord in context.ds.coords.items():
        if name in theirs.coords and not coord.variable.equals(theirs[name].variable):
            yield f"values of coordinate {name} differ"
