"""What a run would do."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.facts import describe_plan, regions_skipped, regions_to_do
from gridmill.display.terminal.layout import ends_table, facts_grid, heading, section
from gridmill.display.terminal.values import Content

__all__ = ["show_plan"]


def show_plan(content: Content) -> RenderableType:
    """Show what a run would do and need, and what it would skip; see `Plan.describe`."""
    parts: list[RenderableType] = [
        heading(content["dataset_id"], content["store"]),
        facts_grid(describe_plan(content)),
        *(Text.assemble(("! ", "yellow"), warning) for warning in content["warnings"]),
    ]
    tables = {"regions to do": regions_to_do(content), "skipped": regions_skipped(content)}
    parts += [section(name, ends_table(rows)) for name, rows in tables.items() if rows.rows]
    return Group(*parts)
