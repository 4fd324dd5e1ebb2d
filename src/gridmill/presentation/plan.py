"""What a run would do."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridmill.plan_page import plan_facts, region_label, why_skipped, why_to_do
from gridmill.presentation.layout import ends_of, facts_grid, heading, section, table_of
from gridmill.presentation.values import Content
from gridmill.wording import format_nbytes

__all__ = ["show_plan"]


def show_plan(content: Content) -> RenderableType:
    """Show what a run would do and need, and what it would skip; see `Plan.describe`."""
    facts = {name: said for name, said in plan_facts(content).items() if said}
    parts: list[RenderableType] = [
        heading(content["dataset_id"], content["store"]),
        facts_grid(facts),
        *(Text.assemble(("! ", "yellow"), warning) for warning in content["warnings"]),
    ]
    to_do = [region for region in content["regions"] if region["todo"]]
    skipped = [region for region in content["regions"] if region["skipped"]]
    if to_do:
        parts.append(section("regions to do", _to_do_table(to_do)))
    if skipped:
        parts.append(section("skipped", _skipped_table(skipped)))
    return Group(*parts)


def _to_do_table(regions: Sequence[Content]) -> Table:
    table = table_of("region", "positions", "variables", "files", "values", "why")
    for region in ends_of(regions):
        if isinstance(region, str):
            table.add_row(Text(region, "dim"), "", "", "", "", "")
            continue
        is_static = region["first"] is None
        table.add_row(
            region_label(region),
            "–" if is_static else f"{region['stop'] - region['start']:,}",
            f"{len(region['todo'])} of {len(region['variables'])}",
            f"{region['source_files']:,}",
            format_nbytes(region["raw_nbytes"]),
            why_to_do(region),
        )
    return table


def _skipped_table(regions: Sequence[Content]) -> Table:
    table = table_of("region", "variables", "why")
    for region in ends_of(regions):
        if isinstance(region, str):
            table.add_row(Text(region, "dim"), "", "")
            continue
        of_all = f"{len(region['skipped'])} of {len(region['variables'])}"
        table.add_row(region_label(region), of_all, why_skipped(region))
    return table
