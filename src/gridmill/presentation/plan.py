"""What a run would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridmill.presentation.layout import ends_of, facts_grid, heading, section, table_of
from gridmill.presentation.values import Content, masked
from gridmill.wording import count_of, format_nbytes, shorten_label

if TYPE_CHECKING:
    from gridmill.dataset import Plan
    from gridmill.plan import PreparedRegion

__all__ = ["plan_content", "show_plan"]


def plan_content(plan: Plan) -> Content:
    """Say what a run would do, in all and region by region."""
    regions: list[Content] = []

    def prepare(job: Any) -> PreparedRegion:
        prepared = plan.prepare(job)
        regions.append(_region_content(prepared))
        return prepared

    summary = replace(plan, prepare=prepare).summary()
    return {
        "dataset_id": plan.dataset_id,
        "store": masked(plan.store),
        **summary,
        "regions": regions,
    }


def _region_content(prepared: PreparedRegion) -> Content:
    job = prepared.job
    index = job.template_ds.get_index(job.append_dim)
    return {
        "first": None if job.is_static else str(index[job.region.start]),
        "last": None if job.is_static else str(index[job.region.stop - 1]),
        "start": job.region.start,
        "stop": job.region.stop,
        "variables": [var.name for var in job.data_vars],
        "todo": prepared.todo,
        "source_files": prepared.n_files,
    }


def show_plan(content: Content) -> RenderableType:
    """Show what a run would do."""
    to_do = content["region_jobs_to_do"]
    skipped = content["region_jobs"] - to_do
    if not to_do:
        done = f"all of {count_of(skipped, 'region')} done" if skipped else "no region is due"
        return Group(
            heading(content["dataset_id"], content["store"]),
            facts_grid({"to do": f"nothing: {done}"}),
        )
    facts = {
        "to do": f"{count_of(to_do, 'region')}"
        + (f", {skipped:,} already done" if skipped else "")
        + f"; {count_of(content['chains'], 'chain')} (one a variable and region)",
        "source files": f"{content['source_files']:,}",
        "values": f"{format_nbytes(content['raw_nbytes'])} uncompressed",
        "memory": f"{format_nbytes(content['memory_nbytes_per_worker'])} a worker, for the largest "
        "variable of a region",
        "tmp disk": f"{format_nbytes(content['tmp_disk_nbytes_per_chain'])} a chain, at most",
    }
    return Group(
        heading(content["dataset_id"], content["store"]),
        facts_grid(facts),
        section("regions to do", _regions_table(content["regions"])),
    )


def _regions_table(regions: Sequence[Content]) -> Table:
    table = table_of("region", "positions", "variables", "files", "why")
    for region in ends_of([region for region in regions if region["todo"]]):
        if isinstance(region, str):
            table.add_row(Text(region, "dim"), "", "", "", "")
        else:
            _add_region(table, region)
    return table


def _add_region(table: Table, region: Content) -> None:
    is_static = region["first"] is None
    ends = () if is_static else (shorten_label(region["first"]), shorten_label(region["last"]))
    todo = region["todo"]
    reasons = Counter(todo.values())
    why = "; ".join(
        reason if n == len(todo) else f"{reason} ({count_of(n, 'variable')})"
        for reason, n in reasons.items()
    )
    table.add_row(
        "static" if is_static else " … ".join(dict.fromkeys(ends)),
        "–" if is_static else f"{region['stop'] - region['start']:,}",
        f"{len(todo)} of {len(region['variables'])}",
        f"{region['source_files']:,}",
        why,
    )
