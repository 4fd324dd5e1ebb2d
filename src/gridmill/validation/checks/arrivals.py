"""Whether the completeness coordinate says what the records say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ProgressRecord
from gridmill.publishing.shares import recorded_completeness
from gridmill.stores.records import parse_notice
from gridmill.validation.context import STATIC, Context, short_label
from gridmill.validation.findings import Finding

__all__ = ["unlike_records"]


def unlike_records(context: Context) -> Iterator[Finding]:
    """Yield where the coordinate claims more than the records, or less and nobody knows of it.

    Regions whose records lack a variable are left out: what was shown of them before stays.
    """
    completeness = context.config.completeness
    if completeness is None:
        return
    restore = context.command("restore-metadata")
    behind = {parse_notice(key)[0] for key in context.store.tracker.notices()}
    for region in context.regions():
        if region == STATIC:
            continue
        at = slice(region.start, min(region.stop, context.published))
        # The coordinate first: it follows the records, and they may get ahead meanwhile.
        claimed = context.ds[completeness.name].isel({context.append_dim: at}).values
        record = context.store.tracker.read(region)
        job = context.make_job(region)
        if record is None or not _is_whole(record, job):
            continue
        recorded = recorded_completeness(job, record, completeness, context.archive.arrays)
        message = _difference(context, at, claimed, recorded, is_behind=region.start in behind)
        if message:
            yield Finding(message=message, variables=(completeness.name,), repair=restore)


def _is_whole(record: ProgressRecord, job: RegionJob[Any, Any]) -> bool:
    expected = [var.name for var in job.data_vars if not job.is_over(var)]
    return all(record.fills(name) is not None for name in expected)


def _difference(
    context: Context, at: slice, claimed: Any, recorded: Any, *, is_behind: bool
) -> str:
    """Say how the two differ; empty if they do not, or the next run is going to see to it."""
    recorded = recorded[: at.stop - at.start]
    if claimed.shape != recorded.shape:
        return f"has shape {claimed.shape} where {recorded.shape} is recorded"
    # No number is more, too.
    for what, differs in (("more", ~(claimed <= recorded)), ("less", claimed < recorded)):
        if differs.any() and (what == "more" or not is_behind):
            place = tuple(np.argwhere(differs)[0])
            label = short_label(context.labels[at.start + int(place[0])])
            return (
                f"claims {what} than is recorded at {int(differs.sum())} of {differs.size} places, "
                f"first {claimed[place]:g} instead of {recorded[place]:g} at {label}"
            )
    return ""
